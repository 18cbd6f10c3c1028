//! Roots of files that were imported: the row beside the pin of each.
//!
//! A root is kept under a name of the operator's, which may be empty, and under several names more than once. Its key begins with
//! its multihash, so that it is found under whatever CID of that.

use perennis_shared::cid::{
    Block, Cid, Multihash, is_identity, parse_cid_bytes, read_multihash, version_1,
};
use perennis_shared::codec::{CodecError, FieldProblem, Fields, Value, dag_cbor};
use perennis_shared::time::Millis;
use perennis_store::Batch;

use super::keys::IMPORTED;
use super::nullable::nullable;
use super::roots::PinReason;
use super::{Pin, Storage, StorageError, key};

/// Rows that are read at once.
const PAGE: usize = 1_024;

/// A root of a file that was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Imported {
    pub(crate) root: Cid,
    /// The operator's word for it.
    pub(crate) name: String,
    pub(crate) at: Millis,
    pub(crate) state: ImportedState,
}

/// Whether everything below a root was here when it was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImportedState {
    /// All of it.
    Pinned,
    /// All that can be found. The links of this block cannot be read, nor perhaps those of others.
    Opaque(Cid),
    /// Not this block, nor perhaps others.
    Incomplete(Cid),
}

impl ImportedState {
    /// The word for documents, as of names.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            ImportedState::Pinned => Pin::Pinned.name(),
            ImportedState::Opaque(_) => Pin::Opaque.name(),
            ImportedState::Incomplete(_) => Pin::Incomplete { missing: 0 }.name(),
        }
    }

    /// The block that it is about.
    pub(crate) const fn block(self) -> Option<Cid> {
        match self {
            ImportedState::Pinned => None,
            ImportedState::Opaque(block) | ImportedState::Incomplete(block) => Some(block),
        }
    }
}

impl Imported {
    /// The key of its row.
    pub(crate) fn key(&self) -> Vec<u8> {
        key_of(&self.root, &self.name)
    }

    /// Whether these bytes are the key of such a row.
    pub(crate) fn is_key(key: &[u8]) -> bool {
        key.strip_prefix(IMPORTED).and_then(parse_key).is_some()
    }

    fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let value = Value::map([
            ("v", Value::from(1_u64)),
            ("at", Value::from(self.at.0)),
            ("root", Value::Link(self.root)),
            ("pin", Value::from(self.state.name())),
            ("block", self.state.block().map_or(Value::Null, Value::Link)),
        ]);
        dag_cbor::encode(&value)
    }

    fn parse(name: String, bytes: &[u8]) -> Result<Imported, CodecError> {
        let mut fields = Fields::new(dag_cbor::decode(bytes)?)?;
        if fields.take_u64("v")? != 1 {
            return Err(CodecError::field("v", FieldProblem::Range));
        }
        let at = Millis(fields.take_u64("at")?);
        let root = fields.take_link("root")?;
        let pin = fields.take_text("pin")?;
        let block: Option<Cid> = nullable(&mut fields, "block")?;
        fields.finish()?;
        let state = match (pin.as_str(), block) {
            ("pinned", None) => ImportedState::Pinned,
            ("opaque", Some(block)) => ImportedState::Opaque(block),
            ("incomplete", Some(block)) => ImportedState::Incomplete(block),
            _ => return Err(CodecError::field("pin", FieldProblem::Invalid("no state"))),
        };
        Ok(Imported {
            root,
            name,
            at,
            state,
        })
    }
}

/// The key of a root under a name, of its pin and of its row. The version of its CID makes no difference.
pub(super) fn key_of(root: &Cid, name: &str) -> Vec<u8> {
    let mut key = key(IMPORTED, &root.hash().to_bytes());
    // Behind a CID of version 1 without its multihash stands nothing else than its version and its codec.
    let cid = version_1(root).to_bytes();
    let codec = &cid[1..cid.len() - root.hash().to_bytes().len()];
    key.extend_from_slice(codec);
    key.extend_from_slice(name.as_bytes());
    key
}

/// The root, as a CID of version 1, and the name, of what stands behind the first letters of a key.
pub(super) fn parse_key(rest: &[u8]) -> Option<(Cid, String)> {
    let (hash, length) = read_multihash(rest).ok()?;
    let rest = &rest[length..];
    let codec_bytes = rest.iter().position(|byte| *byte < 0x80)? + 1;
    let (codec, name) = rest.split_at_checked(codec_bytes)?;
    let cid = [&[1], codec, &hash.to_bytes()].concat();
    let root = parse_cid_bytes(&cid).ok()?;
    Some((root, std::str::from_utf8(name).ok()?.to_owned()))
}

fn of_multihash(hash: &Multihash) -> Vec<u8> {
    key(IMPORTED, &hash.to_bytes())
}

impl Storage {
    /// Stores blocks of a file that is being imported. Nothing holds them yet.
    pub(crate) async fn keep_imported(
        &self,
        owner: &Cid,
        blocks: Vec<Block>,
    ) -> Result<(), StorageError> {
        let mut batch = PinReason::Imported(*owner, String::new()).batch();
        for block in blocks {
            batch.put_block(block);
        }
        self.write(batch).await
    }

    /// Keeps roots with all of them that is here, in one batch. One that is kept under this name since earlier stays so since then.
    pub(crate) async fn pin_imported(&self, roots: Vec<Imported>) -> Result<(), StorageError> {
        let known = roots.clone();
        let rows = self.blocking(move |this| {
            known
                .into_iter()
                .map(|root| {
                    let name = root.name.clone();
                    let before = this.row(&root.key(), |value| Imported::parse(name, value))?;
                    Ok(Imported {
                        at: before.map_or(root.at, |before| before.at),
                        ..root
                    })
                })
                .collect::<Result<Vec<_>, _>>()
        });
        let mut batch = Batch::new();
        for row in rows.await? {
            let reason = PinReason::Imported(row.root, row.name.clone());
            match row.state {
                // What a CID holds itself is stored nowhere.
                ImportedState::Pinned | ImportedState::Opaque(_) if !is_identity(&row.root) => {
                    reason.pin(&mut batch, row.root);
                }
                _ => reason.pin_unstored(&mut batch, row.root),
            }
            batch.put_meta(&reason.key(), row.to_bytes()?);
        }
        self.write(batch).await
    }

    /// Roots of files that were imported, behind the one with that key, in the order of their keys.
    pub(crate) async fn imported(
        &self,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Imported>, StorageError> {
        self.blocking(move |this| this.imported_rows(IMPORTED, after.as_deref(), limit))
            .await
    }

    fn imported_rows(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Imported>, StorageError> {
        let mut after = after.map(<[u8]>::to_vec);
        loop {
            let rows = self.store.metas(prefix, after.as_deref(), limit)?;
            let Some((last, _)) = rows.last() else {
                return Ok(Vec::new());
            };
            after = Some(last.clone());
            let read = |(row, value): (Vec<u8>, Vec<u8>)| {
                let Some((root, name)) = row.strip_prefix(IMPORTED).and_then(parse_key) else {
                    self.set_aside(&row, value, None, &"its key is of no root");
                    return None;
                };
                match Imported::parse(name.clone(), &value) {
                    Ok(imported) => Some(imported),
                    // Which root it is of stands in its key; that it is whole is not known any more.
                    Err(error) => {
                        let imported = Imported {
                            root,
                            name,
                            at: Millis(0),
                            state: ImportedState::Incomplete(root),
                        };
                        self.set_aside(&row, value, imported.to_bytes().ok(), &error);
                        Some(imported)
                    }
                }
            };
            let read: Vec<Imported> = rows.into_iter().filter_map(read).collect();
            // Only an empty page is the end.
            if !read.is_empty() {
                return Ok(read);
            }
        }
    }

    /// Notes that a root which was imported is whole now, under each of its names.
    pub(super) async fn complete_imported(
        &self,
        batch: &mut Batch,
        root: Cid,
    ) -> Result<(), StorageError> {
        let rows = self.blocking(move |this| {
            let prefix = key_of(&root, "");
            let mut rows = Vec::new();
            loop {
                let after = rows.last().map(Imported::key);
                let page = this.imported_rows(&prefix, after.as_deref(), PAGE)?;
                if page.is_empty() {
                    return Ok(rows);
                }
                rows.extend(page);
            }
        });
        for row in rows.await? {
            let whole = Imported {
                state: ImportedState::Pinned,
                ..row
            };
            batch.put_meta(&whole.key(), whole.to_bytes()?);
        }
        Ok(())
    }

    /// Keeps a root no longer for having been imported: under one name, or under all; under whichever CID of its multihash. Tells how
    /// many pins that were.
    pub(crate) async fn remove_imported(
        &self,
        root: &Cid,
        name: Option<String>,
    ) -> Result<usize, StorageError> {
        let prefix = of_multihash(root.hash());
        let keys = self.blocking(move |this| {
            let mut keys = Vec::new();
            // A row may be there without its pin, or a pin without its row, where one was damaged.
            this.each_pin(&prefix, |reason| keys.push(reason.key()))?;
            let mut after: Option<Vec<u8>> = None;
            loop {
                let rows = this.store.metas(&prefix, after.as_deref(), PAGE)?;
                let Some((last, _)) = rows.last() else {
                    break;
                };
                after = Some(last.clone());
                keys.extend(rows.into_iter().map(|(key, _)| key));
            }
            keys.sort_unstable();
            keys.dedup();
            Ok(keys)
        });
        let mut removed = 0;
        let mut batch = Batch::new();
        for key in keys.await? {
            let Some(PinReason::Imported(root, of)) = PinReason::parse(&key) else {
                continue;
            };
            if name.as_ref().is_none_or(|name| *name == of) {
                PinReason::Imported(root, of).unpin(&mut batch);
                batch.delete_meta(&key);
                removed += 1;
            }
        }
        if removed > 0 {
            self.write(batch).await?;
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::cid::{Codec, cid_of};

    use super::*;

    fn imported(root: Cid, name: &str, state: ImportedState) -> Imported {
        Imported {
            root,
            name: name.to_owned(),
            at: Millis(7),
            state,
        }
    }

    #[test]
    fn golden_bytes_are_read_back() {
        let root = cid_of(Codec::Raw, b"root");
        let golden = concat!(
            "a5617601626174076370696e6670696e6e656464726f",
            "6f74d82a582500015512204813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d73",
            "7677b265626c6f636bf6",
        );
        let row = imported(root, "a", ImportedState::Pinned);
        let bytes = row.to_bytes().unwrap();
        assert_eq!(hex::encode(&bytes), golden);
        assert_eq!(Imported::parse("a".to_owned(), &bytes).unwrap(), row);
        for state in [ImportedState::Opaque(root), ImportedState::Incomplete(root)] {
            let row = imported(root, "", state);
            let bytes = row.to_bytes().unwrap();
            assert_eq!(Imported::parse(String::new(), &bytes).unwrap(), row);
        }
    }

    async fn listed(storage: &Storage) -> Vec<Imported> {
        storage.imported(None, 100).await.unwrap()
    }

    #[tokio::test]
    async fn a_root_is_kept_under_each_name_and_removed_under_any_cid_of_its_multihash() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let block = Block::new(Codec::DagPb, Vec::new()).unwrap();
        let old = Cid::new_v0(*block.cid().hash()).unwrap();
        storage
            .keep_imported(&old, vec![block.clone()])
            .await
            .unwrap();
        let pinned = |name| imported(old, name, ImportedState::Pinned);
        let (one, two) = (pinned("one"), pinned("two"));
        storage
            .pin_imported(vec![one.clone(), two.clone()])
            .await
            .unwrap();
        assert_eq!(listed(&storage).await, [one.clone(), two.clone()]);
        // Again, and under the other version: nothing new, and since when it was.
        let again = Imported {
            root: *block.cid(),
            at: Millis(9),
            ..one.clone()
        };
        storage.pin_imported(vec![again]).await.unwrap();
        let rows = listed(&storage).await;
        assert_eq!(
            (rows.len(), rows[0].at, rows[0].root),
            (2, Millis(7), *block.cid())
        );

        let raw = Cid::new_v1(Codec::Raw.code(), *old.hash());
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(
            storage.remove_imported(&raw, named("three")).await.unwrap(),
            0
        );
        assert_eq!(
            storage.remove_imported(&raw, named("one")).await.unwrap(),
            1
        );
        assert_eq!(listed(&storage).await, [two]);
        assert_eq!(storage.remove_imported(&raw, None).await.unwrap(), 1);
        assert_eq!(storage.remove_imported(&raw, None).await.unwrap(), 0);
        let mut roots = 0;
        storage.each_root(|_| roots += 1).unwrap();
        assert_eq!(roots, 0);
    }

    #[tokio::test]
    async fn what_was_incomplete_is_whole_once_it_was_fetched() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let block = Block::new(Codec::Raw, b"root".to_vec()).unwrap();
        let root = *block.cid();
        let incomplete = |name| imported(root, name, ImportedState::Incomplete(root));
        storage
            .pin_imported(vec![incomplete("a"), incomplete("b")])
            .await
            .unwrap();
        storage.begin_fetch(&root).await.unwrap();
        storage.keep_fetched(&root, vec![block]).await.unwrap();
        let fetched = |opaque| crate::storage::Fetched {
            root,
            at: Millis(8),
            blocks: 1,
            bytes: 4,
            opaque,
        };
        storage.finish_fetch(fetched(1)).await.unwrap();
        assert_eq!(
            listed(&storage).await[0].state,
            ImportedState::Incomplete(root)
        );
        storage.finish_fetch(fetched(0)).await.unwrap();
        let states = listed(&storage)
            .await
            .into_iter()
            .map(|row| (row.state, row.at));
        let pinned = (ImportedState::Pinned, Millis(7));
        assert_eq!(states.collect::<Vec<_>>(), [pinned, pinned]);
    }

    #[tokio::test]
    async fn pages_go_on_where_the_one_before_ended() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let missing = |number: u8| {
            let root = cid_of(Codec::Raw, &[number]);
            imported(root, "a name", ImportedState::Incomplete(root))
        };
        storage
            .pin_imported((0..5).map(missing).collect())
            .await
            .unwrap();
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = storage.imported(after, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.key());
            seen.extend(page);
        }
        assert_eq!(seen.len(), 5);
        assert_eq!(seen, listed(&storage).await);
    }
}
