//! Changes that were made before they are signed.

use super::*;

/// A change made at a moment.
fn made(op: Op, clock: Hlc) -> DatedOp {
    DatedOp { op, clock }
}

fn noted(handle: &str, note: &str) -> Op {
    let mut label = label(handle, "x");
    label.note = Some(crate::taglist::Note::parse(note).unwrap());
    Op::Set(label)
}

fn note_of(world: &World, entry: &Entry, handle: &str) -> Option<std::string::String> {
    let rows = world.rows(entry).into_iter();
    rows.filter_map(|row| row.label)
        .find(|label| label.subject.handle.as_str() == handle)
        .and_then(|label| label.note.map(|note| note.as_str().to_string()))
}

impl World {
    fn append_dated(&mut self, head: Option<&Entry>, made: Vec<DatedOp>, now: Millis) -> Entry {
        let appended = append_dated(&self.author(), head, made, now, &self.store).unwrap();
        self.keep(appended)
    }
}

#[test]
fn an_early_edit_published_late_loses_to_a_newer_one_of_the_same_label() {
    let mut world = World::new(1);
    let first = world.append(None, vec![set("a", "x")], NOW);
    let early = Hlc::tick(first.clock(), later(10)).unwrap();
    let newer = Hlc::tick(first.clock(), later(20)).unwrap();
    let other = world.append_dated(
        Some(&first),
        vec![made(noted("a", "newer"), newer)],
        later(21),
    );
    let staged = vec![
        made(noted("a", "early"), early),
        made(noted("b", "mine"), early),
    ];
    let late = world.append_dated(Some(&other), staged, later(90));
    assert_eq!(note_of(&world, &late, "a").unwrap(), "newer");
    assert_eq!(note_of(&world, &late, "b").unwrap(), "mine");
    assert_eq!(late.changes(), 1, "what did not take effect is not listed");
    assert_eq!(late.ops().unwrap()[0].clock, early);
    follows(&late, &world.store).unwrap();
    assert_eq!(&world.verify(late.block()).unwrap(), &late);
    // The same the other way round: the newer edit is the one that waited.
    let other = world.append_dated(
        Some(&first),
        vec![made(noted("a", "early"), early)],
        later(21),
    );
    let late = world.append_dated(
        Some(&other),
        vec![made(noted("a", "newer"), newer)],
        later(90),
    );
    assert_eq!(note_of(&world, &late, "a").unwrap(), "newer");
}

#[test]
fn a_change_is_never_dated_after_its_entry() {
    let mut world = World::new(1);
    // A little ahead: the entry is dated behind it. Far ahead: the clock was wrong, and the entry's counts.
    for (ahead, kept) in [(1_000, true), (MAX_DRIFT.as_millis() as u64 + 1, false)] {
        let clock = Hlc::at(later(ahead));
        let entry = world.append_dated(None, vec![made(set("a", "x"), clock)], NOW);
        let listed = entry.ops().unwrap()[0].clock;
        assert_eq!(listed == clock, kept);
        assert!(listed <= entry.clock());
        entry.clock().check_drift(NOW).unwrap();
        assert_eq!(&world.verify(entry.block()).unwrap(), &entry);
    }
}

#[test]
fn golden_bytes_of_an_entry_with_changes_made_before() {
    let mut world = World::new(7);
    let staged = vec![made(set("alice", "spam"), Hlc::at(NOW))];
    let entry = world.append_dated(None, staged, later(1_000));
    assert_eq!(entry.cid().to_string(), GOLDEN_DATED);
}

const GOLDEN_DATED: &str = "bafyreihpxsi5qtnj7z3ztairimvnrfihioatd4kzg2u4x34uwc5tzaipvi";

/// What two devices do: stage a change of a handle, sign while no node is reachable, publish; and how far the
/// device's clock goes on.
fn any_steps() -> impl Strategy<Value = Vec<(usize, u8, u8, u64)>> {
    proptest::collection::vec((0usize..2, 0u8..6, 0u8..6, 0u64..40), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two devices stage offline and publish at any time, each publish on top of, or merged with, what the other
    /// has published. Every label ends as the newest edit by clock left it; no edit of another label is lost.
    #[test]
    fn the_newest_edit_wins_whenever_it_is_published(steps in any_steps()) {
        let mut world = World::new(1);
        let keys = [[11; 32], [12; 32]].map(|seed| SigningKey::from_seed(&seed));
        let mut clocks = [0, 5];
        let mut own: [Option<Entry>; 2] = [None, None];
        let mut staged: [Vec<DatedOp>; 2] = [vec![], vec![]];
        let mut published: Option<Entry> = None;
        let mut newest: BTreeMap<Key, Row> = BTreeMap::new();
        let last = [(0, 0, 5, 0), (1, 0, 5, 0)];
        for (step, (device, handle, action, passed)) in steps.into_iter().chain(last).enumerate() {
            clocks[device] += passed;
            let now = later(clocks[device]);
            let author = Author {
                did: world.identity.did(),
                signer: &keys[device],
                document: *world.document.cid(),
            };
            if action < 4 {
                let handle = format!("u{handle}");
                let op = match action {
                    0 => remove(&handle, "x"),
                    _ => noted(&handle, &format!("edit {step}")),
                };
                // As a client does: after everything this device has seen or made.
                let seen = own[device].as_ref().map_or(Hlc::ZERO, Entry::clock);
                let made_last = staged[device].last().map_or(Hlc::ZERO, |change| change.clock);
                let clock = Hlc::tick(seen.max(made_last), now).unwrap();
                let change = made(op, clock);
                let row = change.op.clone().into_row(change.stamp(author.device()));
                if newest.get(&row.key).is_none_or(|known| row.replaces(known)) {
                    newest.insert(row.key, row);
                }
                staged[device].push(change);
                continue;
            }
            // Publish: what the other has published first, then the own changes.
            let is_reachable = action == 5;
            let theirs = if is_reachable { published.take() } else { None };
            let head = match (own[device].take(), theirs) {
                (None, head) | (head, None) => head,
                (Some(own), Some(theirs)) => Some(
                    match relation(&own, &theirs, &world.store).unwrap() {
                        Relation::Same | Relation::Older => own,
                        Relation::Newer => theirs,
                        _ => {
                            let both = [own, theirs];
                            let merged = merge(&author, &both, now, &world.store).unwrap();
                            for block in &merged.added {
                                world.store.insert(*block.cid(), block.bytes().clone());
                            }
                            merged.entry
                        }
                    },
                ),
            };
            let changes = core::mem::take(&mut staged[device]);
            let appended = append_dated(&author, head.as_ref(), changes, now, &world.store).unwrap();
            let entry = world.keep(appended);
            follows(&entry, &world.store).unwrap();
            own[device] = Some(entry.clone());
            if is_reachable {
                published = Some(entry);
            }
        }
        let expected: Vec<Row> = newest.into_values().collect();
        prop_assert_eq!(world.rows(&published.unwrap()), expected);
    }
}
