use super::*;
use crate::{
    cid::{Block, Codec},
    did::{DidDocument, Identity, Profile},
    limits::ENTRY_CHANGES,
    sign::SigningKey,
    taglist::{
        DatedOp, Handle, Hlc, Key, KeyPrefix, Label, MAX_DRIFT, Op, Row, Tag,
        tree::{self, rows},
    },
    time::Millis,
};
use alloc::collections::BTreeMap;
use bytes::Bytes;
use core::time::Duration;
use proptest::prelude::*;
use std::{format, string::ToString, vec, vec::Vec};
use zeroize::Zeroizing;

mod proofs;
mod staged;

const NOW: Millis = Millis(1_795_253_220_000);
const KEEP: Duration = Duration::from_secs(90 * 24 * 3_600);

/// An identity, its document and every block there is.
struct World {
    identity: Identity,
    document: Block,
    store: BTreeMap<Cid, Bytes>,
}

impl World {
    fn new(seed: u8) -> World {
        World::of(Profile::V2, seed)
    }

    fn of(profile: Profile, seed: u8) -> World {
        let identity = Identity::from_root(profile, Zeroizing::new([seed; 32]));
        let document = DidDocument::new(&identity, NOW).to_block().unwrap();
        World {
            identity,
            document,
            store: BTreeMap::new(),
        }
    }

    fn author(&self) -> Author<'_> {
        Author {
            did: self.identity.did(),
            signer: self.identity.signer(),
            document: *self.document.cid(),
        }
    }

    fn keep(&mut self, appended: Appended) -> Entry {
        for block in appended.added {
            let (cid, bytes) = block.into_parts();
            self.store.insert(cid, bytes);
        }
        appended.entry
    }

    fn append(&mut self, head: Option<&Entry>, ops: Vec<Op>, now: Millis) -> Entry {
        let appended = append(&self.author(), head, ops, now, &self.store).unwrap();
        self.keep(appended)
    }

    fn merge(&mut self, heads: &[Entry], now: Millis) -> Entry {
        let appended = merge(&self.author(), heads, now, &self.store).unwrap();
        self.keep(appended)
    }

    fn verify(&self, block: &Block) -> Result<Entry, EntryError> {
        UnverifiedEntry::parse(block)?.verify(&self.identity.name(), &self.document, later(0))
    }

    fn rows(&self, entry: &Entry) -> Vec<Row> {
        let page = rows(entry.root(), &KeyPrefix::ALL, None, usize::MAX, &self.store);
        page.unwrap().items
    }

    fn labels(&self, entry: &Entry) -> Vec<std::string::String> {
        let rows = self.rows(entry).into_iter();
        rows.filter_map(|row| row.label)
            .map(|label| format!("{} {}", label.subject.handle, label.label))
            .collect()
    }
}

fn later(millis: u64) -> Millis {
    Millis(NOW.0 + millis)
}

fn label(handle: &str, tag: &str) -> Label {
    Label::new(
        Handle::parse(handle).unwrap(),
        Tag::parse(tag).unwrap(),
        NOW,
    )
}

fn set(handle: &str, tag: &str) -> Op {
    Op::Set(label(handle, tag))
}

fn remove(handle: &str, tag: &str) -> Op {
    Op::Remove(label(handle, tag).key())
}

#[test]
fn entries_follow_each_other_and_come_back_from_their_blocks() {
    let mut world = World::new(1);
    let first = world.append(None, vec![set("Bob", "spam"), set("al", "bot")], NOW);
    assert_eq!((first.seq(), first.kind()), (1, EntryKind::Change));
    assert_eq!(first.changes(), 2);
    let second = world.append(Some(&first), vec![remove("bob", "spam")], NOW);
    assert_eq!(second.prev(), [*first.cid()]);
    assert!(second.clock() > first.clock());
    assert_eq!(world.labels(&second), ["@al bot"]);
    for entry in [&first, &second] {
        assert_eq!(&world.verify(entry.block()).unwrap(), entry);
        follows(entry, &world.store).unwrap();
    }
    let found = history(&second, 10, &world.store).unwrap();
    assert_eq!(found, [second.clone(), first.clone()]);
    assert_eq!(history(&second, 1, &world.store).unwrap(), [second]);
    // Of two changes of one label in one entry the last one counts.
    let third = world.append(None, vec![set("x", "a"), remove("x", "a")], NOW);
    assert!(world.labels(&third).is_empty());
    assert_eq!(third.changes(), 1);
}

#[test]
fn golden_bytes_of_entries() {
    let mut world = World::new(7);
    let first = world.append(None, vec![set("alice", "spam")], NOW);
    assert_eq!(hex::encode(first.block().bytes()), GOLDEN_ENTRY);
    assert_eq!(&world.verify(first.block()).unwrap(), &first);
    let compacted = compact(&world.author(), &first, KEEP, NOW, &world.store).unwrap();
    assert_eq!(compacted.entry.cid().to_string(), GOLDEN_COMPACTION);
}

const GOLDEN_ENTRY: &str = "a26373696758408566bc1cebe692c0ec18be92d2da77eea28b44a342874bb7cf0c2f8d061a236e828a64e402ae14879ede15c7fd1c9b16aacffd9e0f436073b9af72438de77a0a64626f6479aa6364696478476469643a69706e733a6b3531717a693575717535646b66326461783231613667376470637031616171673876766f36713276377539666e736675756e6935367639766f786d666263646f63d82a582500017112200834766a0687f3add55e20230f4509504e4cae6f48fb53f57f879b1ddc2f0e10636b65795820587f6b2d3c2c9c41a10d82e1e6557d5a8ba3763e0aa7484aa7eb64957ae47a37636f707381814a616c696365007370616d637365710164707265768064726f6f74d82a582500017112201e40beaea8572486ee80647ea8ee6fd52c9ce9b61b020624d5f6620cd3a6630765636c6f636b1b01a1fd6e32a00000676368616e676573016776657273696f6e01";
const GOLDEN_COMPACTION: &str = "bafyreih4w7hkucy7cslsvmciqftznl4q53pjosvkhmm6mftj24nrt54lfu";

#[test]
fn an_import_too_large_to_list_is_carried_by_the_root() {
    let mut world = World::new(1);
    let ops =
        |count: usize| -> Vec<Op> { (0..count).map(|n| set(&format!("u{n}"), "spam")).collect() };
    let listed = world.append(None, ops(ENTRY_CHANGES), NOW);
    assert_eq!(listed.ops().unwrap().len(), ENTRY_CHANGES);
    let large = world.append(Some(&listed), ops(5_000), later(1));
    assert_eq!((large.ops(), large.changes()), (None, 5_000));
    assert_eq!(world.rows(&large).len(), 5_000);
    assert_eq!(&world.verify(large.block()).unwrap(), &large);
    follows(&large, &world.store).unwrap();
    // A few labels with long notes are more bytes than many short ones.
    let noted = (0..40).map(|n| {
        let mut label = label(&format!("n{n}"), "spam");
        label.note = Some(crate::taglist::Note::parse(&"€".repeat(280)).unwrap());
        Op::Set(label)
    });
    let noted = world.append(Some(&large), noted.collect(), later(2));
    assert_eq!((noted.ops(), noted.changes()), (None, 40));
}

#[test]
fn only_the_identity_of_the_name_can_sign() {
    let mut world = World::new(1);
    let entry = world.append(None, vec![set("a", "b")], NOW);
    let other = World::new(2);
    let parsed = || UnverifiedEntry::parse(entry.block()).unwrap();
    let name = world.identity.name();
    assert!(matches!(
        parsed().verify(&other.identity.name(), &world.document, NOW),
        Err(EntryError::OtherIdentity(did)) if did == world.identity.did()
    ));
    assert_eq!(
        parsed().verify(&name, &other.document, NOW).unwrap_err(),
        EntryError::OtherDocument
    );
    assert!(matches!(
        parsed().verify(&name, &world.document, Millis(0)),
        Err(EntryError::Clock(_))
    ));
    // Another key signs under the document of the identity.
    let thief = SigningKey::from_seed(&[9; 32]);
    let author = Author {
        signer: &thief,
        ..world.author()
    };
    let forged = append(
        &author,
        Some(&entry),
        vec![set("x", "y")],
        NOW,
        &world.store,
    )
    .unwrap();
    assert_eq!(
        world.verify(forged.entry.block()).unwrap_err(),
        EntryError::KeyNotAuthorized
    );
    // And under a document of its own that claims the identity's DID.
    let claimed = Identity::from_root(Profile::V2, Zeroizing::new([2; 32]));
    let document = DidDocument::new(&claimed, NOW).to_block().unwrap();
    let author = Author {
        signer: claimed.signer(),
        document: *document.cid(),
        ..world.author()
    };
    let forged = append(&author, None, vec![set("x", "y")], NOW, &world.store).unwrap();
    let parsed = UnverifiedEntry::parse(forged.entry.block()).unwrap();
    assert!(matches!(
        parsed.verify(&name, &document, NOW),
        Err(EntryError::OtherIdentity(_))
    ));
}

#[test]
fn an_entry_belongs_to_the_log_that_builds_on_it() {
    let mut world = World::new(1);
    let first = world.append(None, vec![set("a", "x")], NOW);
    let second = world.append(Some(&first), vec![set("b", "x")], later(1));
    let aside = world.append(Some(&first), vec![set("c", "x")], later(2));
    let compacted = compact(&world.author(), &second, KEEP, later(3), &world.store).unwrap();
    let compacted = world.keep(compacted);
    let last = world.append(Some(&compacted), vec![set("d", "x")], later(4));
    for (entry, expected) in [
        (&last, true),
        (&second, true),
        (&first, true),
        (&aside, false),
    ] {
        assert_eq!(builds_on(&last, entry, &world.store), Ok(expected));
    }
    assert_eq!(builds_on(&first, &last, &world.store), Ok(false));
    // Where the log before the compaction is not there, it is asked for: nothing is taken on trust.
    let mut without = world.store.clone();
    without.remove(second.cid());
    let error = builds_on(&last, &first, &without).unwrap_err();
    assert_eq!(error.missing(), Some(*second.cid()));
}

#[test]
fn a_log_of_another_identity_is_not_continued() {
    let mut world = World::new(1);
    let entry = world.append(None, vec![set("a", "b")], NOW);
    let other = World::new(2);
    let refused = append(&other.author(), Some(&entry), vec![], NOW, &world.store).unwrap_err();
    assert_eq!(refused, LogError::OtherIdentity);
}

#[test]
fn clocks_that_are_far_apart_are_refused() {
    let mut world = World::new(1);
    let ahead = NOW + MAX_DRIFT + Duration::from_secs(1);
    let entry = world.append(None, vec![set("a", "b")], ahead);
    let refused = append(&world.author(), Some(&entry), vec![], NOW, &world.store).unwrap_err();
    assert!(matches!(refused, LogError::Clock(_)), "{refused}");
    assert!(matches!(
        world.verify(entry.block()),
        Err(EntryError::Clock(_))
    ));
}

#[test]
fn heads_are_told_apart_from_replays() {
    let mut world = World::new(1);
    let first = world.append(None, vec![set("a", "x")], NOW);
    let second = world.append(Some(&first), vec![set("b", "x")], later(1));
    let third = world.append(Some(&second), vec![set("c", "x")], later(2));
    let fork = world.append(Some(&first), vec![set("d", "x")], later(3));
    let merged = world.merge(&[third.clone(), fork.clone()], later(4));
    let table = [
        (&second, &second, Relation::Same),
        (&first, &third, Relation::Newer),
        (&third, &first, Relation::Older),
        (&third, &fork, Relation::Concurrent),
        (&fork, &second, Relation::Concurrent),
        (&fork, &merged, Relation::Newer),
        (&merged, &fork, Relation::Older),
    ];
    for (known, candidate, expected) in table {
        assert_eq!(relation(known, candidate, &world.store).unwrap(), expected);
    }
    let other = World::new(2).append(None, vec![], NOW);
    assert!(relation(&first, &other, &world.store).is_err());
    assert_eq!(
        common_root(&third, &fork, &world.store).unwrap(),
        Some(first.root())
    );
    let mut without = world.store.clone();
    without.remove(second.cid());
    let error = relation(&first, &merged, &without).unwrap_err();
    assert_eq!(error.missing(), Some(*second.cid()));
}

#[test]
fn readers_of_a_compacted_log_follow() {
    let mut world = World::new(1);
    let first = world.append(None, vec![set("a", "x"), set("b", "x")], NOW);
    let mut expiring = label("e", "x");
    expiring.expires = Some(later(10));
    let old = world.append(
        Some(&first),
        vec![remove("a", "x"), Op::Set(expiring)],
        later(1),
    );
    let soon = compact(&world.author(), &old, KEEP, later(9), &world.store).unwrap();
    assert_eq!(soon.entry.root(), old.root(), "nothing has ended yet");
    let after = later(10) + KEEP;
    let appended = compact(&world.author(), &old, KEEP, after, &world.store).unwrap();
    assert_eq!(appended.entry.changes(), 2);
    let compacted = world.keep(appended);
    assert_eq!(compacted.kind(), EntryKind::Compaction);
    assert_eq!(world.labels(&compacted), ["@b x"]);
    assert_eq!(world.rows(&compacted).len(), 1);
    assert_eq!(compacted.compacts(), Some(old.cid()));
    assert!(compacted.seq() > old.seq());
    // The old log is not linked: pinning the new one does not keep it.
    let links = crate::codec::links(compacted.cid(), compacted.block().bytes()).unwrap();
    assert!(!links.contains(old.cid()));
    let new = world.append(Some(&compacted), vec![set("c", "x")], after);
    assert_eq!(relation(&old, &new, &world.store).unwrap(), Relation::Newer);
    assert_eq!(
        relation(&first, &new, &world.store).unwrap(),
        Relation::Newer
    );
    assert_eq!(relation(&new, &old, &world.store).unwrap(), Relation::Older);
    assert_eq!(
        history(&new, 10, &world.store).unwrap(),
        [new.clone(), compacted.clone()]
    );
    // Once the old log is gone, its head is still known by its name, and older entries as older.
    world.store.remove(old.cid());
    assert_eq!(relation(&old, &new, &world.store).unwrap(), Relation::Newer);
    assert_eq!(
        relation(&first, &new, &world.store).unwrap(),
        Relation::NewerCompacted
    );
    assert_eq!(
        relation(&new, &first, &world.store).unwrap(),
        Relation::Older
    );
}

#[test]
fn a_device_that_was_away_does_not_undo_a_compaction() {
    let mut world = World::new(1);
    let first = world.append(None, vec![set("a", "x"), set("b", "x")], NOW);
    let old = world.append(Some(&first), vec![remove("a", "x")], later(1));
    let long_after = later(2) + KEEP;
    let compacted = compact(&world.author(), &old, KEEP, long_after, &world.store).unwrap();
    let compacted = world.keep(compacted);
    let away = world.append(Some(&first), vec![set("c", "x")], later(5));
    let merged = world.merge(&[compacted.clone(), away.clone()], long_after);
    assert_eq!(world.labels(&merged), ["@b x", "@c x"]);
    assert_eq!(merged.kind(), EntryKind::Merge);
    follows(&merged, &world.store).unwrap();
    // Without the old log nobody can tell; then a label rather comes back than is lost.
    world.store.remove(old.cid());
    let merged = world.merge(&[compacted, away], long_after);
    assert_eq!(world.labels(&merged), ["@a x", "@b x", "@c x"]);
}

#[test]
fn a_merge_needs_two_heads() {
    let mut world = World::new(1);
    let entry = world.append(None, vec![], NOW);
    for heads in [vec![], vec![entry.clone()], vec![entry.clone(), entry]] {
        let refused = merge(&world.author(), &heads, NOW, &world.store).unwrap_err();
        assert_eq!(refused, LogError::NothingToMerge);
    }
}

#[test]
fn an_entry_whose_tree_does_not_follow_is_found() {
    let mut world = World::new(1);
    let first = world.append(None, vec![set("a", "x")], NOW);
    let author = world.author();
    let next = author.next([&first], Hlc::ZERO, NOW).unwrap();
    let dated = |op, clock| vec![DatedOp { op, clock }];
    let seal = |made: &[DatedOp], listed| {
        let update = tree::apply(first.root(), made, author.device(), &world.store).unwrap();
        author
            .seal(next, vec![*first.cid()], Some(listed), 1, None, update)
            .unwrap()
            .entry
    };
    let honest = dated(set("b", "x"), next.clock);
    follows(&seal(&honest, honest.clone()), &world.store).unwrap();
    let other = dated(set("c", "x"), next.clock);
    // A change that is older than what the list says must not take its place.
    let older = dated(remove("a", "x"), Hlc::from_u64(first.clock().as_u64() - 1));
    for entry in [seal(&honest, other), seal(&older, older.clone())] {
        let error = follows(&entry, &world.store).unwrap_err();
        assert!(matches!(error, LogError::Entry { source, .. } if *source == EntryError::Root));
    }
}

#[test]
fn a_link_to_something_else_is_refused() {
    let mut world = World::new(1);
    let first = world.append(None, vec![set("a", "x")], NOW);
    let second = world.append(Some(&first), vec![], NOW);
    let junk = Block::new(Codec::DagCbor, vec![0xf6]).unwrap();
    world.store.insert(*first.cid(), junk.bytes().clone());
    let error = history(&second, 5, &world.store).unwrap_err();
    assert!(matches!(error, LogError::Entry { cid, .. } if cid == *first.cid()));
}

/// What three devices do: which device, handle, set or removed, or fetch the log of another device and merge.
fn any_steps() -> impl Strategy<Value = Vec<(usize, u8, u8, usize)>> {
    proptest::collection::vec((0usize..3, 0u8..12, 0u8..5, 0usize..3), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Devices write and merge in any order. In the end they merge with each other in different orders and
    /// agree, and each label is what the last change of it, by stamp, has made of it.
    #[test]
    fn devices_agree_and_lose_nothing(steps in any_steps()) {
        let mut world = World::new(1);
        let seeds = [[11; 32], [12; 32], [13; 32]];
        let keys = seeds.map(|seed| SigningKey::from_seed(&seed));
        let origin = world.append(None, vec![], NOW);
        let mut heads = [origin.clone(), origin.clone(), origin];
        let mut last: BTreeMap<Key, Row> = BTreeMap::new();
        for (time, (device, handle, action, other)) in steps.into_iter().enumerate() {
            // Clocks of devices differ and stand still now and then.
            let now = later((time / 3) as u64 * (device as u64 + 1));
            let author = Author {
                did: world.identity.did(),
                signer: &keys[device],
                document: *world.document.cid(),
            };
            let appended = match action {
                0 | 1 => {
                    let ops = vec![if action == 0 {
                        remove(&format!("u{handle}"), "x")
                    } else {
                        set(&format!("u{handle}"), "x")
                    }];
                    append(&author, Some(&heads[device]), ops, now, &world.store).unwrap()
                }
                2 => {
                    let mut changed = label(&format!("u{handle}"), "x");
                    changed.created = Millis(time as u64);
                    append(&author, Some(&heads[device]), vec![Op::Set(changed)], now, &world.store)
                        .unwrap()
                }
                _ => match relation(&heads[device], &heads[other], &world.store).unwrap() {
                    Relation::Newer => {
                        heads[device] = heads[other].clone();
                        continue;
                    }
                    Relation::Concurrent => {
                        let both = [heads[device].clone(), heads[other].clone()];
                        merge(&author, &both, now, &world.store).unwrap()
                    }
                    _ => continue,
                },
            };
            for op in appended.entry.ops().unwrap_or_default() {
                let row = op.op.clone().into_row(op.stamp(appended.entry.device()));
                if last.get(&row.key).is_none_or(|known| row.replaces(known)) {
                    last.insert(row.key, row);
                }
            }
            heads[device] = world.keep(appended);
            follows(&heads[device], &world.store).unwrap();
        }
        let expected: Vec<Row> = last.into_values().collect();
        let [a, b, c] = heads;
        let join = |world: &mut World, one: &Entry, two: &Entry| {
            match relation(one, two, &world.store).unwrap() {
                Relation::Newer => two.clone(),
                Relation::Same | Relation::Older => one.clone(),
                _ => world.merge(&[one.clone(), two.clone()], later(1_000)),
            }
        };
        let ab = join(&mut world, &a, &b);
        let one = join(&mut world, &ab, &c);
        let bc = join(&mut world, &b, &c);
        let two = join(&mut world, &bc, &a);
        prop_assert_eq!(one.root(), two.root());
        prop_assert_eq!(world.rows(&one), expected);
        let both = join(&mut world, &one, &two);
        prop_assert_eq!(both.root(), one.root());
        // All three at once.
        let unique: BTreeMap<Cid, Entry> =
            [a, b, c].into_iter().map(|head| (*head.cid(), head)).collect();
        if unique.len() > 1 {
            let heads: Vec<Entry> = unique.into_values().collect();
            prop_assert_eq!(world.merge(&heads, later(1_000)).root(), one.root());
        }
    }

    #[test]
    fn mutated_entries_are_refused(
        count in 0usize..6,
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut world = World::new(1);
        let ops = (0..count).map(|n| set(&format!("U{n}"), "x")).collect();
        let first = world.append(None, ops, NOW);
        let entry = world.append(Some(&first), vec![remove("u0", "x")], NOW);
        let mut bytes = entry.block().bytes().to_vec();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let block = Block::new(Codec::DagCbor, bytes).unwrap();
        prop_assert!(world.verify(&block).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let block = Block::new(Codec::DagCbor, bytes).unwrap();
        prop_assert!(UnverifiedEntry::parse(&block).is_err());
    }
}

#[test]
fn a_clock_at_its_end_is_refused() {
    assert!(Hlc::tick(Hlc::from_u64(u64::MAX), Millis(u64::MAX)).is_err());
    let world = World::new(1);
    let refused = append(
        &world.author(),
        None,
        vec![],
        Millis(u64::MAX),
        &world.store,
    );
    assert!(
        refused.is_ok(),
        "the last reading there is can be used once"
    );
    let last = refused.unwrap().entry;
    assert!(
        append(
            &world.author(),
            Some(&last),
            vec![],
            Millis(u64::MAX),
            &world.store
        )
        .is_err()
    );
}
