//! How a damaged block is set aside: its place is forgotten, and a row of its own says what was known of it.

use perennis_shared::cid::Multihash;
use perennis_shared::time::Millis;

use crate::group::Op;
use crate::keys;
use crate::rows::{Place, Quarantined, Row as _};

/// What sets a damaged block aside.
pub(crate) fn quarantine_ops(
    hash: &Multihash,
    place: Place,
    reason: String,
    now: Millis,
) -> [Op; 2] {
    let row = Quarantined {
        at: now,
        location: place.location,
        tag: place.tag,
        codecs: place.codecs,
        reason,
    };
    [
        Op::Forget(*hash),
        Op::Put(keys::quarantine(hash), row.to_bytes()),
    ]
}
