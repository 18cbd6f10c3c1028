//! The settings `fetch`.

use super::setting::table;
use super::syntax::{GIB, MIB, Size, TIB};

table! {
    /// Fetching what somebody asks for.
    pub struct FetchConfig at config.fetch {
        max_bytes: u64 = 64 * GIB,
            "fetch.max-size" as Size(MIB, TIB),
            "most bytes that one fetch on demand brings, 1MiB to 1TiB";
    }
}
