//! Blocks in sixteen bytes each: by a keyed hash, so that nobody can make two with the same.

use std::hash::{BuildHasher as _, RandomState};

use perennis_shared::cid::{Cid, version_1};

/// The keys, which are drawn for each import.
#[derive(Default)]
pub(super) struct Fingerprints {
    keys: [RandomState; 2],
}

impl Fingerprints {
    /// Of a block, under whatever CID of its multihash.
    pub(super) fn of_hash(&self, cid: &Cid) -> u128 {
        self.of(&cid.hash().to_bytes())
    }

    /// Of a block under its codec, on which depends what it links to.
    pub(super) fn of_codec(&self, cid: &Cid) -> u128 {
        self.of(&version_1(cid).to_bytes())
    }

    fn of(&self, bytes: &[u8]) -> u128 {
        let [high, low] = [0, 1].map(|key: usize| self.keys[key].hash_one(bytes));
        u128::from(high) << 64 | u128::from(low)
    }
}
