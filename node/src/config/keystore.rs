//! The settings `keystore`.

use std::path::PathBuf;

use super::setting::table;
use super::syntax::Path;

table! {
    /// The node's own key.
    pub struct KeystoreConfig at config.keystore {
        passphrase_file: Option<PathBuf> = None,
            "keystore.passphrase-file" as Path,
            "file with the passphrase that seals the node's key; without it one is made beside the key";
    }
}
