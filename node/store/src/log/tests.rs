#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;

use perennis_shared::cid::Codec;

use super::*;
use crate::disk::Real;
use crate::group::{CLOSE_BYTES, Frame};
use crate::rows::LossKind;

const SPACE: u64 = 16 << 10;
const STORE: StoreId = StoreId([1; 16]);

/// What a start shows.
#[derive(Debug)]
struct Start {
    log: Log,
    groups: Vec<Group>,
    replay: Replay,
}

impl Start {
    fn numbers(&self) -> Vec<u64> {
        self.groups.iter().map(|group| group.end.group).collect()
    }

    fn kinds(&self) -> Vec<LossKind> {
        self.replay.losses.iter().map(|loss| loss.kind).collect()
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        let ops = self.groups.iter().flat_map(|group| &group.batches);
        ops.flat_map(|batch| &batch.ops)
            .filter_map(|op| match op {
                Op::Put(key, _) => Some(key.clone()),
                _ => None,
            })
            .collect()
    }
}

#[derive(Debug)]
enum Never {}

impl From<io::Error> for Never {
    fn from(error: io::Error) -> Self {
        panic!("{error}")
    }
}

impl From<Infallible> for Never {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

fn open(root: &Path, applied: Position) -> Start {
    let dir = root.join("segments");
    std::fs::create_dir_all(&dir).unwrap();
    let known = Known {
        store: Some(STORE),
        ..Known::default()
    };
    let files = survey_files(&Real, &dir, &known).unwrap();
    let mut groups = Vec::new();
    let heard = Heard::read(&Real, root, Some(STORE)).unwrap();
    let mut newest = Newest::new(Arc::new(Real), root, STORE);
    let replay = replay(
        &Real,
        &dir,
        applied,
        &files,
        (&heard, &mut newest),
        |group, _| {
            let batches = group.batches.iter().map(|batch| Logged {
                tag: batch.tag,
                entries: batch.entries.clone(),
                ops: batch.ops.clone(),
            });
            groups.push(Group {
                end: group.end,
                salt: group.salt,
                batches: batches.collect(),
            });
            Ok::<(), Never>(())
        },
    );
    let Ok(replay) = replay;
    let is_missed = heard
        .said
        .is_some_and(|said| said.is_missed(replay.last_group));
    let log = Log::go_on(
        Arc::new(Real),
        &dir,
        (STORE, SPACE),
        &replay,
        files.strays,
        newest,
        !is_missed,
    );
    Start {
        log,
        groups,
        replay,
    }
}

fn block(text: &str) -> Block {
    Block::new(Codec::Raw, text.as_bytes().to_vec()).unwrap()
}

fn put(key: &str) -> Op {
    Op::Put(key.as_bytes().to_vec(), b"value".to_vec())
}

fn batch(text: &str) -> LogBatch {
    LogBatch {
        owner: b"owner".to_vec(),
        tag: crate::rows::owner_tag(b"owner"),
        blocks: vec![block(text)],
        ops: vec![put(text)],
        heads: vec![(text.as_bytes().to_vec(), 7)],
    }
}

fn append(log: &mut Log, text: &str) -> Group {
    log.append(vec![batch(text)]).unwrap()
}

/// As who is killed before the group is said to be acknowledged.
fn append_unsaid(root: &Path, log: &mut Log, text: &str) -> Group {
    let said = std::fs::read(root.join("NEWEST")).unwrap();
    let group = append(log, text);
    std::fs::write(root.join("NEWEST"), said).unwrap();
    group
}

/// The file of a segment.
fn file(dir: &Path, number: FileNumber) -> PathBuf {
    number.segment_path(&dir.join("segments"))
}

fn flip(path: &Path, at: u64, mask: u8) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ mask], at).unwrap();
}

fn write(path: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

#[test]
fn what_was_appended_is_replayed_in_order_and_from_any_position() {
    let dir = tempfile::tempdir().unwrap();
    let mut start = open(dir.path(), Position::START);
    assert!(start.groups.is_empty());
    let mut ends = Vec::new();
    // More than fits into one segment.
    for round in 0..12 {
        let text = format!("{round:02} {}", "x".repeat(2900 + round));
        ends.push(append(&mut start.log, &text).end);
    }
    drop(start);
    let start = open(dir.path(), Position::START);
    assert_eq!(start.numbers(), (1..=12).collect::<Vec<_>>());
    assert!(start.replay.losses.is_empty(), "{:?}", start.replay.losses);
    let start = open(dir.path(), ends[6]);
    assert_eq!(start.numbers(), (8..=12).collect::<Vec<_>>());
    assert!(start.keys()[0].starts_with(b"07 "));
    assert_eq!(start.groups[0].batches[0].entries[0].length, 2910);
}

#[test]
fn numbers_go_on_after_a_restart_and_a_torn_group_is_moved_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut start = open(dir.path(), Position::START);
    append(&mut start.log, "one");
    let torn = append_unsaid(dir.path(), &mut start.log, "two").end;
    drop(start);
    // The end mark never reached the disk.
    write(&file(dir.path(), torn.file), torn.offset - 64, &[0; 64]);
    let mut start = open(dir.path(), Position::START);
    assert_eq!(start.numbers(), [1]);
    assert_eq!(start.kinds(), [LossKind::TornGroup]);
    assert!(start.replay.losses[0].moved_bytes > 0);
    let third = append(&mut start.log, "three").end;
    assert_eq!(third.group, 3);
    assert!(third.file > torn.file, "writing goes on in a new segment");
    drop(start);
    let start = open(dir.path(), Position::START);
    assert_eq!(start.numbers(), [1, 3]);
    assert!(start.replay.losses.is_empty(), "{:?}", start.replay.losses);
    assert_eq!(
        std::fs::read_dir(dir.path().join("lost")).unwrap().count(),
        1
    );
}

#[test]
fn a_log_that_ends_before_what_the_index_has_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut start = open(dir.path(), Position::START);
    let first = append(&mut start.log, "one").end;
    let second = append(&mut start.log, "two").end;
    drop(start);
    assert_eq!(open(dir.path(), second).kinds(), []);
    let path = file(dir.path(), first.file);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..first.offset as usize]).unwrap();
    let mut start = open(dir.path(), second);
    assert_eq!(start.kinds(), [LossKind::LogBehindIndex]);
    assert_eq!(start.replay.losses[0].group, second.group);
    assert_eq!(append(&mut start.log, "three").end.group, 3);
    drop(start);
    assert_eq!(open(dir.path(), second).numbers(), [3]);
}

#[test]
fn of_what_was_moved_away_only_the_newest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut moved = Vec::new();
    for _ in 0..20 {
        let mut start = open(dir.path(), Position::START);
        let before = append(&mut start.log, "one").end;
        let torn = append_unsaid(dir.path(), &mut start.log, "two").end;
        drop(start);
        write(&file(dir.path(), torn.file), torn.offset - 64, &[0; 64]);
        moved.push(format!("{:08x}-{:08x}.bytes", torn.file.0, before.offset));
    }
    drop(open(dir.path(), Position::START));
    let names = std::fs::read_dir(dir.path().join("lost")).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, moved[4..]);
}

#[test]
fn every_flipped_bit_of_a_proven_group_leaves_its_whole_batches_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut start = open(dir.path(), Position::START);
    let first = append(&mut start.log, "first").end;
    let second = start
        .log
        .append(vec![batch("a"), batch("b"), batch("c")])
        .unwrap()
        .end;
    append(&mut start.log, "third");
    drop(start);
    let path = file(dir.path(), first.file);
    let (mut in_head, mut in_batch, mut in_body, mut in_end) = (0, 0, 0, 0);
    for at in first.offset..second.offset {
        flip(&path, at, 1 << (at % 8));
        let start = open(dir.path(), Position::START);
        assert_eq!(start.numbers(), [1, 2, 3], "{at}");
        let keys = start.keys();
        match start.replay.losses.as_slice() {
            // One of two heads, or what fills up: nothing is missing.
            [] => {
                in_head += 1;
                assert_eq!(keys.len(), 5, "{at}");
            }
            [loss] if loss.kind == LossKind::DamagedFrames => {
                in_end += 1;
                assert_eq!(keys.len(), 5, "{at}");
            }
            [loss] if loss.kind == LossKind::DamagedGroup => {
                if loss.batches == 1 {
                    in_batch += 1;
                    assert_eq!(keys.len(), 4, "{at}");
                    let min_sequences = &start.replay.min_sequences;
                    assert_eq!(min_sequences.len(), 1, "{at}");
                    assert!(
                        !min_sequences.keys().any(|name| keys.contains(name)),
                        "{at}"
                    );
                } else if loss.blocks == 1 {
                    in_body += 1;
                    assert_eq!(start.replay.damaged.len(), 1, "{at}");
                } else {
                    panic!("{at}: {loss}");
                }
            }
            losses => panic!("{at}: {losses:?}"),
        }
        flip(&path, at, 1 << (at % 8));
    }
    assert!(in_head > 100 && in_batch > 200 && in_body == 3 && in_end > 40);
}

#[test]
fn a_lost_sector_with_both_heads_leaves_the_batches_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut start = open(dir.path(), Position::START);
    let first = append(&mut start.log, "first").end;
    start.log.append(vec![batch("a"), batch("b")]).unwrap();
    append(&mut start.log, "third");
    drop(start);
    write(&file(dir.path(), first.file), first.offset, &[0; 128]);
    let start = open(dir.path(), Position::START);
    assert_eq!(start.numbers(), [1, 2, 3]);
    assert_eq!(start.keys().len(), 4);
    assert_eq!(start.kinds(), [LossKind::DamagedGroup]);
    // None of the batches is known to be lost, and none is known to have been all.
    let loss = &start.replay.losses[0];
    assert_eq!(loss.batches, 0, "{loss}");
    assert!(loss.to_string().ends_with("is not known"), "{loss}");
}

#[test]
fn the_last_group_counts_whole_or_not_at_all_unless_it_is_proven() {
    for (is_closed, is_said) in [(false, false), (false, true), (true, false)] {
        let dir = tempfile::tempdir().unwrap();
        let mut start = open(dir.path(), Position::START);
        append(&mut start.log, "first");
        let said = std::fs::read(dir.path().join("NEWEST")).unwrap();
        let last = start.log.append(vec![batch("a"), batch("b")]).unwrap();
        if is_closed {
            start.log.seal();
        }
        drop(start);
        if !is_said {
            std::fs::write(dir.path().join("NEWEST"), said).unwrap();
        }
        let body = last.batches[1].entries[0].offset;
        flip(&file(dir.path(), last.end.file), u64::from(body), 1);
        let start = open(dir.path(), Position::START);
        if is_closed || is_said {
            assert_eq!(start.numbers(), [1, 2]);
            assert_eq!(start.kinds(), [LossKind::DamagedGroup]);
        } else {
            assert_eq!(start.numbers(), [1]);
            assert_eq!(start.kinds(), [LossKind::TornGroup]);
        }
    }
}

#[test]
fn a_clean_stop_and_start_go_on_in_the_same_segment() {
    let dir = tempfile::tempdir().unwrap();
    let mut start = open(dir.path(), Position::START);
    let first = append(&mut start.log, "first").end;
    start.log.seal();
    let mut start = open(dir.path(), first);
    assert!(start.groups.is_empty() && start.replay.losses.is_empty());
    let second = append(&mut start.log, "second").end;
    assert_eq!(second.file, first.file);
    assert!(second.offset > first.offset + CLOSE_BYTES as u64);
    drop(start);
    assert_eq!(open(dir.path(), Position::START).numbers(), [1, 2]);
}

#[test]
fn a_group_that_a_later_one_passes_over_is_not_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let mut start = open(dir.path(), Position::START);
    append(&mut start.log, "first");
    append(&mut start.log, "failed");
    // As where its sync fails: the next one names the first, in a new segment.
    start.log.last_group = 1;
    start.log.open = None;
    append(&mut start.log, "third");
    drop(start);
    let start = open(dir.path(), Position::START);
    assert_eq!(start.numbers(), [1, 3]);
    assert!(start.replay.losses.is_empty());
}

#[test]
fn a_missing_group_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut start = open(dir.path(), Position::START);
    append(&mut start.log, "first");
    let second = append(&mut start.log, &"x".repeat(12_000)).end;
    start.log.seal();
    append(&mut start.log, "third");
    drop(start);
    std::fs::remove_file(file(dir.path(), second.file)).unwrap();
    let start = open(dir.path(), Position::START);
    assert_eq!(start.kinds(), [LossKind::MissingGroups]);
    assert_eq!(start.replay.losses[0].group, 2);
}

#[test]
fn files_of_others_are_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let mut start = open(dir.path(), Position::START);
    let first = append(&mut start.log, "first").end;
    drop(start);
    let mut replay = open(other.path(), Position::START).replay;
    replay.highest_file = FileNumber(2);
    let mut foreign = Log::go_on(
        Arc::new(Real),
        &other.path().join("segments"),
        (StoreId([2; 16]), SPACE),
        &replay,
        BTreeSet::new(),
        Newest::new(Arc::new(Real), other.path(), StoreId([2; 16])),
        true,
    );
    append(&mut foreign, "foreign");
    drop(foreign);
    let theirs = std::fs::read(file(other.path(), FileNumber(3))).unwrap();
    // Our own segment under another number, one of another store, and a name at the very end.
    let own = std::fs::read(file(dir.path(), first.file)).unwrap();
    std::fs::write(file(dir.path(), FileNumber(2)), own).unwrap();
    std::fs::write(file(dir.path(), FileNumber(3)), &theirs).unwrap();
    std::fs::write(file(dir.path(), FileNumber(u32::MAX)), b"not ours").unwrap();
    let mut start = open(dir.path(), Position::START);
    assert_eq!(start.numbers(), [1]);
    let known = start.log.strays.clone();
    let strays = [2, 3, u32::MAX].map(FileNumber);
    assert_eq!(known, BTreeSet::from(strays));
    start.log.open = None;
    assert_eq!(append(&mut start.log, "second").end.file, FileNumber(4));
    assert_eq!(
        std::fs::read(file(dir.path(), FileNumber(3))).unwrap(),
        theirs
    );
}

/// Everything that looks like ours, copied from where it is right to where a publisher can put it.
fn look_alikes() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let mut start = open(dir.path(), Position::START);
    let first = append(&mut start.log, "innocent").end;
    start
        .log
        .append(vec![LogBatch {
            ops: vec![Op::Delete(b"victim".to_vec())],
            heads: vec![(b"victim".to_vec(), u64::MAX)],
            ..LogBatch::default()
        }])
        .unwrap();
    start.log.seal();
    let bytes = std::fs::read(file(dir.path(), first.file)).unwrap();
    let whole = bytes[first.offset as usize..].to_vec();
    let close = bytes[bytes.len() - CLOSE_BYTES..].to_vec();
    vec![
        whole.clone(),
        [close.clone(), whole.clone()].concat(),
        close,
        // Shifted, so that every alignment occurs.
        [vec![0; 4], whole.clone()].concat(),
        [b"PGH2".to_vec(), vec![0xff; 60]].concat().repeat(40),
        whole.repeat(4),
    ]
}

#[test]
fn a_block_that_looks_like_our_frames_is_never_taken_for_one_at_any_torn_length() {
    for (kind, bytes) in look_alikes().into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let mut start = open(dir.path(), Position::START);
        let before = append(&mut start.log, "victim").end;
        let block = Block::new(Codec::Raw, bytes.clone()).unwrap();
        let evil = LogBatch {
            blocks: vec![block],
            // Rows are chosen by publishers as well.
            ops: vec![Op::Put(b"row".to_vec(), bytes.clone())],
            heads: vec![(bytes.clone(), 3)],
            ..LogBatch::default()
        };
        let after = start.log.append(vec![evil]).unwrap().end;
        drop(start);
        let path = file(dir.path(), before.file);
        let whole = std::fs::read(&path).unwrap();
        let is_sound = |start: &Start, context: &str| {
            assert!(start.keys().contains(&b"victim".to_vec()), "{context}");
            let ops = start.groups.iter().flat_map(|group| &group.batches);
            let mut ops = ops.flat_map(|batch| &batch.ops);
            assert!(!ops.any(|op| matches!(op, Op::Delete(_))), "{context}");
            assert!(start.replay.highest_group <= 3, "{context}");
        };
        // Torn at every length: what follows never reached the disk.
        for cut in (before.offset..after.offset).step_by(8) {
            let mut torn = whole.clone();
            torn[cut as usize..].fill(0);
            std::fs::write(&path, &torn).unwrap();
            is_sound(
                &open(dir.path(), Position::START),
                &format!("{kind}: cut at {cut}"),
            );
        }
        // One sector missing, anywhere.
        for hole in (before.offset..after.offset).step_by(64) {
            let mut torn = whole.clone();
            let end = torn.len().min(hole as usize + 512);
            torn[hole as usize..end].fill(0);
            std::fs::write(&path, &torn).unwrap();
            is_sound(
                &open(dir.path(), Position::START),
                &format!("{kind}: hole at {hole}"),
            );
        }
        std::fs::remove_dir_all(dir.path().join("lost")).unwrap();
    }
}

#[test]
fn searching_takes_time_in_proportion_to_the_bytes() {
    // What begins like a frame at every place, and claims to be as long as can be.
    let candidate = [b"PBT2".as_slice(), &[0xff; 4]].concat();
    let dir = tempfile::tempdir().unwrap();
    let mut looked_at = Vec::new();
    for size in [1 << 20, 8 << 20] {
        let dir = dir.path().join(size.to_string());
        let mut start = open(&dir, Position::START);
        let first = append(&mut start.log, "first").end;
        drop(start);
        let path = file(&dir, first.file);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(first.offset as usize);
        bytes.extend(candidate.repeat(size / 8));
        std::fs::write(&path, bytes).unwrap();
        let begun = std::time::Instant::now();
        assert_eq!(open(&dir, Position::START).numbers(), [1]);
        looked_at.push(begun.elapsed());
    }
    // Eight times the bytes; sixty-four times the time would be a search in a search.
    assert!(
        looked_at[1] < looked_at[0] * 40 + std::time::Duration::from_millis(200),
        "{looked_at:?}"
    );
}

#[test]
fn a_frame_names_its_own_kind() {
    let salt = Salt([0; 16]);
    let mark = close_mark(4, salt, FileNumber(1), 8);
    assert_eq!(
        Frame::read(&mark, salt, FileNumber(1), 8),
        Some(Frame::Close(4))
    );
}

#[test]
fn a_folder_in_the_place_of_a_segment_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(file(dir.path(), FileNumber(1))).unwrap();
    std::fs::create_dir_all(file(dir.path(), FileNumber(2))).unwrap();
    let mut start = open(dir.path(), Position::START);
    assert_eq!(append(&mut start.log, "first").end.file, FileNumber(3));
    drop(start);
    let start = open(dir.path(), Position::START);
    assert_eq!(start.numbers(), [1]);
    assert_eq!(start.kinds(), []);
}

#[test]
fn a_copy_of_what_was_lost_never_takes_the_place_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let segments = dir.path().join("segments");
    let torn = file(dir.path(), FileNumber(1));
    std::fs::create_dir_all(&segments).unwrap();
    let lose = |text: String| {
        std::fs::write(&torn, text).unwrap();
        let known = Known {
            store: Some(STORE),
            ..Known::default()
        };
        let mut files = survey_files(&Real, &segments, &known).unwrap();
        move_torn(&Real, &segments, &mut files);
        assert!(!torn.exists());
    };
    for text in ["one", "another", "a third"] {
        lose(text.to_owned());
    }
    let lost = |name: &str| std::fs::read(dir.path().join("lost").join(name)).unwrap();
    assert_eq!(lost("00000001-00000000.bytes"), b"one");
    assert_eq!(lost("00000001-00000000.1.bytes"), b"another");
    assert_eq!(lost("00000001-00000000.2.bytes"), b"a third");
    // The oldest go, in the order in which they came.
    for number in 4..=30 {
        lose(number.to_string());
    }
    let mut kept: Vec<_> = std::fs::read_dir(dir.path().join("lost"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    kept.sort_unstable();
    let newest: Vec<_> = (15..=30).map(|number| number.to_string()).collect();
    assert_eq!(kept, newest);
}
