//! The settings `import`.

use super::setting::table;
use super::syntax::{GIB, MIB, Size, TIB};

table! {
    /// Importing files of the operator's.
    pub struct ImportConfig at config.import {
        max_bytes: u64 = 64 * GIB,
            "import.max-size" as Size(MIB, 16 * TIB),
            "largest CAR file that is imported, 1MiB to 16TiB";
    }
}
