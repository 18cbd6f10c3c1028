//! Why a root is kept: one table from reasons to roots, in which everything that holds blocks stands.
//!
//! Each reason is a pin of the store whose key says what it is; whatever hangs below its root is kept as long as there is one.
//! A new reason is one more variant here. Must never touch: what is kept beside a root, which is with its name or its
//! fetch.
//!
//! | reason | key | root |
//! |---|---|---|
//! | [`PinReason::Head`] | `h/`, name | its head |
//! | [`PinReason::Fetched`] | `x/`, CID | the CID |
//! | [`PinReason::Imported`] | `i/`, multihash, codec, name | the CID of version 1, or of version 0 |

use perennis_shared::cid::{Cid, parse_cid_bytes};
use perennis_shared::ipns::Name;
use perennis_store::Batch;

use super::keys::{FETCHED, IMPORTED};
use super::{Pin, Storage, StorageError, hex, imported, key};

const HEAD: &[u8] = b"h/";

/// Roots that are read at once.
const PAGE: usize = 4_096;

/// Rows that are looked through for pins to mend.
const MENDED: usize = 65_536;

/// Why a root is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PinReason {
    /// It is the head of a name that was published here or is followed.
    Head(Name),
    /// It was fetched on demand, and is kept until it is released.
    Fetched(Cid),
    /// It is a root of a file that was imported, and is kept under that name until it is removed.
    Imported(Cid, String),
}

impl PinReason {
    /// The key of its pin.
    pub(super) fn key(&self) -> Vec<u8> {
        match self {
            PinReason::Head(name) => key(HEAD, name.as_bytes()),
            PinReason::Fetched(root) => key(FETCHED, &root.to_bytes()),
            PinReason::Imported(root, name) => imported::key_of(root, name),
        }
    }

    /// The reason that a key tells; none where it is of no form that is known here.
    pub(super) fn parse(key: &[u8]) -> Option<PinReason> {
        if let Some(root) = key.strip_prefix(FETCHED) {
            return parse_cid_bytes(root).ok().map(PinReason::Fetched);
        }
        if let Some(rest) = key.strip_prefix(IMPORTED) {
            let (root, name) = imported::parse_key(rest)?;
            return Some(PinReason::Imported(root, name));
        }
        let name = Name::from_bytes(key.strip_prefix(HEAD)?).ok()?;
        Some(PinReason::Head(name))
    }

    /// Whom the blocks below the root are counted for, and lie together with.
    fn owner(&self) -> Vec<u8> {
        match self {
            PinReason::Head(name) => name.to_bytes(),
            PinReason::Fetched(root) | PinReason::Imported(root, _) => root.hash().to_bytes(),
        }
    }

    /// A batch of what is kept for this reason.
    pub(super) fn batch(&self) -> Batch {
        let mut batch = Batch::new();
        batch.owner(&self.owner());
        batch
    }

    /// Keeps a root that is here, with all that is below it.
    pub(super) fn pin(&self, batch: &mut Batch, root: Cid) {
        batch.pin(&self.key(), root);
    }

    /// Keeps what is here of a root, and what comes in.
    pub(super) fn pin_unstored(&self, batch: &mut Batch, root: Cid) {
        batch.pin_unstored(&self.key(), root);
    }

    /// Keeps its root for this reason no longer.
    pub(super) fn unpin(&self, batch: &mut Batch) {
        batch.unpin(&self.key());
    }
}

impl Storage {
    /// Tells of every root that is kept, once for each reason. Waits for the disk.
    pub(super) fn each_root(&self, mut take: impl FnMut(Cid)) -> Result<(), StorageError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let pins = self.store.pins(after.as_deref(), PAGE)?;
            // A page may lack rows that cannot be read: only an empty one is the end.
            let Some((last, _)) = pins.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            pins.into_iter().for_each(|(_, root)| take(root));
        }
    }

    /// Tells of the reasons whose keys begin so, once for each pin that can be read. Waits for the disk.
    pub(super) fn each_pin(
        &self,
        prefix: &[u8],
        mut take: impl FnMut(PinReason),
    ) -> Result<(), StorageError> {
        let mut after = prefix.to_vec();
        loop {
            let pins = self.store.pins(Some(&after), PAGE)?;
            let Some((last, _)) = pins.last() else {
                return Ok(());
            };
            let is_beyond = !last.starts_with(prefix);
            after.clone_from(last);
            let keys = pins.iter().filter(|(key, _)| key.starts_with(prefix));
            keys.filter_map(|(key, _)| PinReason::parse(key))
                .for_each(&mut take);
            if is_beyond {
                return Ok(());
            }
        }
    }

    /// Pins anew what pins have kept whose rows cannot be read: what it was stands in their keys, or follows from the name.
    pub(crate) async fn mend_pins(&self) -> Result<(), StorageError> {
        let batches = self.blocking(|this| {
            let rows = this.store.rows_set_aside(MENDED)?;
            let pins = rows.iter().filter_map(|row| row.key.strip_prefix(b"p"));
            let mut batches = Vec::new();
            for reason in pins.filter_map(PinReason::parse) {
                batches.extend(this.mended(reason)?);
            }
            Ok(batches)
        });
        for batch in batches.await? {
            self.write(batch).await?;
        }
        Ok(())
    }

    /// The batch that writes a pin anew; none where it is not known yet what it kept.
    fn mended(&self, reason: PinReason) -> Result<Option<Batch>, StorageError> {
        let mut batch = reason.batch();
        match &reason {
            PinReason::Fetched(root) | PinReason::Imported(root, _) => {
                reason.pin_unstored(&mut batch, *root);
            }
            PinReason::Head(name) => {
                let Some(head) = self.store.head(name)? else {
                    return Ok(None);
                };
                let Some(kept) = self.name_state(name, head)? else {
                    return Ok(None);
                };
                match kept.head.filter(|_| kept.facts.pin != Pin::RecordOnly) {
                    Some(head) => reason.pin_unstored(&mut batch, head),
                    None => reason.unpin(&mut batch),
                }
            }
        }
        tracing::info!(
            key = hex(&reason.key()),
            "a pin whose row was damaged is written anew"
        );
        Ok(Some(batch))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::cid::{Codec, cid_of};
    use perennis_shared::sign::SigningKey;

    use super::*;

    #[test]
    fn golden_keys_are_read_back() {
        let name = Name::from_public_key(&SigningKey::from_seed(&[1; 32]).public());
        let root = cid_of(Codec::Raw, b"root");
        let golden = [
            (
                PinReason::Head(name),
                format!("682f{}", hex::encode(name.as_bytes())),
            ),
            (
                PinReason::Fetched(root),
                format!("782f{}", hex::encode(root.to_bytes())),
            ),
            (
                PinReason::Imported(root, "a name".to_owned()),
                format!("692f{}5561206e616d65", hex::encode(root.hash().to_bytes())),
            ),
        ];
        for (reason, key) in golden {
            assert_eq!(hex::encode(reason.key()), key);
            assert_eq!(PinReason::parse(&reason.key()), Some(reason));
        }
        for key in [b"pin".as_slice(), b"h/no name", b"x/no CID", b"i/none", b""] {
            assert_eq!(PinReason::parse(key), None);
        }
    }

    #[tokio::test]
    async fn every_root_is_told_of_whatever_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let name = Name::from_public_key(&SigningKey::from_seed(&[1; 32]).public());
        let (head, root) = (cid_of(Codec::Raw, b"head"), cid_of(Codec::Raw, b"root"));
        let reasons = [
            (PinReason::Head(name), head),
            (PinReason::Fetched(root), root),
        ];
        for (reason, root) in &reasons {
            let mut batch = reason.batch();
            reason.pin_unstored(&mut batch, *root);
            storage.write(batch).await.unwrap();
        }
        let mut roots = Vec::new();
        storage.each_root(|root| roots.push(root)).unwrap();
        assert_eq!(roots, [head, root]);
        let mut batch = reasons[0].0.batch();
        reasons[0].0.unpin(&mut batch);
        storage.write(batch).await.unwrap();
        roots.clear();
        storage.each_root(|root| roots.push(root)).unwrap();
        assert_eq!(roots, [root]);
    }
}
