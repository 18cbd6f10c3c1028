#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use perennis_shared::cid::{Block, Codec};

use super::*;
use crate::migrate::format1::maker::{Maker, group_end, record};
use crate::testing::{LyingDisk, Power};

fn block(text: &str) -> Block {
    Block::new(Codec::Raw, text.as_bytes().to_vec()).unwrap()
}

fn put(key: u8) -> Format1Change {
    Format1Change::Put(vec![key], vec![key; 3])
}

/// Reads the tail of what was made.
fn read(maker: &Maker, applied: Position) -> (Vec<Group>, Tail) {
    let disk = LyingDisk::new(&Power::default());
    let dir = Path::new("/segments");
    maker.write(&disk, dir);
    let mut groups = Vec::new();
    let tail = read_tail(&disk, dir, &maker.numbers(), applied, |group| {
        groups.push(group);
        Ok::<_, io::Error>(())
    });
    (groups, tail.unwrap())
}

fn numbers(groups: &[Group]) -> Vec<u64> {
    groups.iter().map(|group| group.number).collect()
}

/// Groups 1 to 9 in segments 1, 2 and 4.
fn nine() -> (Maker, Vec<Position>) {
    let mut maker = Maker::new();
    let mut ends = Vec::new();
    for number in 1..=9 {
        match number {
            4 => maker.begin(2),
            7 => maker.begin(4),
            _ => {}
        }
        let blocks = [
            block(&format!("block {number}")),
            block(&"x".repeat(number as usize)),
        ];
        ends.push(maker.commit(&blocks, &[put(number as u8)]).end);
    }
    (maker, ends)
}

#[test]
fn groups_are_read_in_order_and_from_any_position() {
    let (maker, ends) = nine();
    let (groups, tail) = read(&maker, Position::START);
    assert_eq!(numbers(&groups), (1..=9).collect::<Vec<_>>());
    assert_eq!((tail.last_group, tail.groups), (9, 9));
    assert_eq!(groups[4].changes, [put(5)]);
    assert_eq!(groups[4].blocks[0].0, block("block 5").cid().to_bytes());
    assert_eq!(groups[4].blocks[0].1.file, FileNumber(2));
    for (at, end) in ends.iter().take(6).enumerate() {
        let (groups, tail) = read(&maker, *end);
        assert_eq!(numbers(&groups), (at as u64 + 2..=9).collect::<Vec<_>>());
        assert!(tail.gaps.is_empty() && tail.unread.is_empty() && tail.cut.is_none());
    }
}

#[test]
fn groups_that_failed_are_passed_over_and_are_no_loss() {
    let mut maker = Maker::new();
    maker.commit(&[block("one")], &[]);
    maker.fail(&[block("two")], &[put(2)]);
    maker.begin(2);
    // Two in a row, the second torn.
    maker.fail(&[block("three")], &[put(3)]);
    maker.begin(3);
    maker.fail(&[block("four")], &[put(4)]);
    maker.segments[2].1.truncate(90);
    maker.begin(4);
    maker.commit(&[block("five")], &[put(5)]);
    let (groups, tail) = read(&maker, Position::START);
    assert_eq!(numbers(&groups), [1, 5]);
    assert!(tail.gaps.is_empty() && tail.unread.is_empty());
    // Of the last nobody knows; it counts.
    maker.begin(5);
    maker.fail(&[block("six")], &[put(6)]);
    let (groups, tail) = read(&maker, Position::START);
    assert_eq!((numbers(&groups), tail.last_group), (vec![1, 5, 6], 6));
}

#[test]
fn a_group_that_is_cut_anywhere_is_not_there_and_is_told() {
    let (mut maker, ends) = nine();
    let whole = maker.segments[2].1.clone();
    let start = ends[7].offset as usize;
    for length in start..whole.len() {
        // As a file that ends, and as one whose last sectors were not written.
        for fill in [length, whole.len()] {
            maker.segments[2].1.truncate(length);
            maker.segments[2].1.resize(fill, 0);
            let (groups, tail) = read(&maker, ends[2]);
            assert_eq!(numbers(&groups), [4, 5, 6, 7, 8], "{length}");
            assert!(tail.gaps.is_empty());
            let unread: Vec<_> = tail.unread.iter().map(|unread| unread.offset).collect();
            // The last bytes that were written may be zeros.
            let is_told = whole[start..length].iter().any(|byte| *byte != 0);
            assert_eq!(unread == [start as u64], is_told, "{length}");
            maker.segments[2].1.clone_from(&whole);
        }
    }
}

#[test]
fn a_flip_anywhere_loses_what_follows_in_its_segment_only_and_never_silently() {
    let (mut maker, _) = nine();
    let (all, _) = read(&maker, Position::START);
    let firsts = [1, 4, 7, 10];
    for which in 0..3 {
        for at in HEADER_BYTES as usize..maker.segments[which].1.len() {
            maker.segments[which].1[at] ^= 1 << (at % 8);
            let (groups, tail) = read(&maker, Position::START);
            let lost: Vec<u64> = (1..=9)
                .filter(|number| !numbers(&groups).contains(number))
                .collect();
            let until = firsts[which + 1] - 1;
            assert_eq!(lost.last(), Some(&until), "{at}");
            assert_eq!(lost.len() as u64, until - lost[0] + 1);
            assert!(lost[0] >= firsts[which]);
            for group in &groups {
                assert!(all.contains(group));
            }
            if which == 2 {
                assert_eq!(tail.unread.len(), 1);
            } else {
                let [gap] = tail.gaps.as_slice() else {
                    panic!("{:?}", tail.gaps)
                };
                assert_eq!((gap.after + 1, gap.until), (lost[0], until));
                assert_eq!(gap.unread.len(), 1);
                assert!(tail.unread.is_empty());
            }
            maker.segments[which].1[at] ^= 1 << (at % 8);
        }
    }
}

/// A block whose bytes are records of a group with any number, at any place.
fn forged(group: u64, previous: u64) -> Block {
    let change = Format1Change::Delete(b"somebody's".to_vec());
    let mut bytes = b"before ".to_vec();
    bytes.extend_from_slice(&record(
        1,
        group,
        block("x").cid().to_bytes().as_slice(),
        b"x",
    ));
    bytes.extend_from_slice(&record(
        2,
        group,
        &[],
        &group_end(previous, 1, std::slice::from_ref(&change)),
    ));
    bytes.extend_from_slice(&record(2, group, &[], &group_end(previous, 0, &[change])));
    Block::new(Codec::Raw, bytes).unwrap()
}

#[test]
fn nothing_that_a_publisher_stored_is_read_as_a_group_whatever_is_torn_or_flipped() {
    for number in [4, 5, 1 << 40, u64::MAX] {
        let mut maker = Maker::new();
        for text in ["one", "two", "three"] {
            maker.commit(&[block(text)], &[put(1)]);
        }
        let made = maker.commit(&[forged(number, 3), block("behind")], &[put(2)]);
        maker.commit(&[block("last")], &[put(3)]);
        let (all, _) = read(&maker, Position::START);
        assert_eq!(numbers(&all), [1, 2, 3, 4, 5]);
        let whole = maker.segments[0].1.clone();
        for at in made.start..whole.len() {
            for is_torn in [false, true] {
                if is_torn {
                    maker.segments[0].1[at..].fill(0);
                } else {
                    maker.segments[0].1[at] ^= 1 << (at % 8);
                }
                let (groups, _) = read(&maker, Position::START);
                assert!(
                    groups.iter().all(|group| all.contains(group)),
                    "{number} {at}"
                );
                maker.segments[0].1.clone_from(&whole);
            }
        }
    }
}

#[test]
fn a_group_with_the_highest_number_is_one_like_another() {
    let mut maker = Maker::new();
    maker.commit(&[], &[put(1)]);
    let last = record(2, u64::MAX, &[], &group_end(1, 0, &[put(2)]));
    maker.segments[0].1.extend_from_slice(&last);
    let (groups, tail) = read(&maker, Position::START);
    assert_eq!(numbers(&groups), [1, u64::MAX]);
    assert_eq!(tail.last_group, u64::MAX);
    let applied = Position {
        file: FileNumber(1),
        offset: HEADER_BYTES,
        group: u64::MAX,
    };
    assert!(read(&maker, applied).0.is_empty());
}

#[test]
fn a_group_that_does_not_follow_is_none_of_this_log() {
    let (mut maker, ends) = nine();
    // A copy of an old segment under a high number, and groups that name what cannot be.
    let old = maker.segments[0].1.clone();
    maker.segments.push((FileNumber(u32::MAX), old));
    for (group, previous) in [(10, 3), (10, 10), (10, 11), (9, 9), (2, 9)] {
        maker.begin(9);
        let record = record(2, group, &[], &group_end(previous, 0, &[put(9)]));
        maker
            .segments
            .last_mut()
            .unwrap()
            .1
            .extend_from_slice(&record);
        maker.segments.sort_by_key(|(number, _)| *number);
        let (groups, tail) = read(&maker, ends[2]);
        assert_eq!(numbers(&groups), [4, 5, 6, 7, 8, 9], "{group} {previous}");
        let unread: Vec<_> = tail.unread.iter().map(|unread| unread.file.0).collect();
        assert_eq!(unread, [9, u32::MAX]);
        maker.segments.retain(|(number, _)| number.0 != 9);
    }
}

#[test]
fn a_missing_segment_and_a_log_that_is_cut_are_told() {
    let (mut maker, ends) = nine();
    maker.segments.remove(1);
    let (groups, tail) = read(&maker, ends[1]);
    assert_eq!(numbers(&groups), [3, 7, 8, 9]);
    assert_eq!(
        tail.gaps,
        [Gap {
            after: 3,
            until: 6,
            unread: vec![]
        }]
    );
    let far = Position {
        offset: 1 << 20,
        ..ends[8]
    };
    let (groups, tail) = read(&nine().0, far);
    assert!(groups.is_empty());
    assert_eq!(tail.cut, Some(far));
}
