//! What the keys of the node's own rows begin with. The table in the head of [`storage`](super) says what each row is.

pub(super) const FACTS: &[u8] = b"n/";
pub(super) const PUT: &[u8] = b"p/";
pub(super) const ROUTER: &[u8] = b"r/";
pub(super) const FETCHES: &[u8] = b"f/";
pub(super) const RUNGS: &[u8] = b"l/";
pub(super) const FOLLOWED: &[u8] = b"w/";
pub(super) const SCAN: &[u8] = b"scan";
pub(super) const SCRUBBED: &[u8] = b"scrubbed";
pub(super) const RECLAIMED: &[u8] = b"reclaimed";
pub(super) const RECORD: &[u8] = b"d/";
pub(super) const PROVIDER: &[u8] = b"v/";
pub(super) const FETCHED: &[u8] = b"x/";
pub(super) const IMPORTED: &[u8] = b"i/";
pub(super) const PROVIDED: &[u8] = b"provided";
pub(super) const CLOCK: &[u8] = b"clock";
pub(super) const UNCLAIMED_ROW: &[u8] = b"u/";
pub(super) const DENIED: &[u8] = b"b/";
