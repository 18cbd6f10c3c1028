//! The clock of the store, for the rows that it writes by itself. What a caller commits has the caller's time.
//!
//! Nothing is decided by it but when something was found, and for how long it waits.

use std::time::{SystemTime, UNIX_EPOCH};

use perennis_shared::time::Millis;

/// The time for the rows the store writes by itself.
pub(crate) fn wall_clock() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
