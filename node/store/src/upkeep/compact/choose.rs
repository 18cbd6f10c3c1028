//! Which files are packed next.

use std::collections::{BTreeMap, BTreeSet};

use crate::location::FileNumber;
use crate::rows::{FileKind, FileRow};

/// Bytes of blocks that one step moves, unless a single file has more.
const JOB_BYTES: u64 = 256 << 20;
/// Smallest pack that is worth being one.
const WORTH_BYTES: u64 = 4 << 20;
/// A pack is written anew when less than this share of it is alive, in percent.
const PACK_LIVE_PERCENT: u64 = 60;
/// So many small packs are joined even where they do not make one that is worth it.
const MANY: usize = 16;

/// By what files are chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// A segment is emptied when at most this share of it is alive, in percent.
    pub(super) live_percent: u64,
    /// A pack is written anew when less than this share of its blocks is alive, in percent.
    pub(super) pack_live_percent: u64,
    /// From this many bytes on a pack is worth being one.
    pub(super) worth_bytes: u64,
    /// Most bytes that are moved in one step.
    pub(super) job_bytes: u64,
    /// Space of a segment.
    pub(super) segment_bytes: u64,
    /// What is alive of groups up to this one has outlived a collection of garbage.
    pub(super) outlived: u64,
    /// Whether the disk is full: then one file is emptied at a time, the deadest first.
    pub(super) is_full: bool,
}

impl Rules {
    /// Those of a store with segments of this size, on a disk that is not full, where nothing has outlived a collection.
    pub(super) fn new(live_percent: u8, segment_bytes: u64) -> Self {
        Self {
            live_percent: u64::from(live_percent),
            pack_live_percent: PACK_LIVE_PERCENT,
            worth_bytes: WORTH_BYTES.min(segment_bytes / 4),
            job_bytes: JOB_BYTES,
            segment_bytes,
            outlived: 0,
            is_full: false,
        }
    }
}

/// The files of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) files: Vec<FileNumber>,
    /// Whether the segment that is still written to is among them.
    pub(super) seals: bool,
    /// Whether they are small packs only: joining them is worth it where they become fewer.
    pub(super) is_join: bool,
}

/// Chooses; none where nothing is worth it. Small packs that are `settled` stay; segments that are `damaged` are emptied whatever is
/// alive in them.
pub(super) fn choose(
    rows: &BTreeMap<FileNumber, FileRow>,
    rules: &Rules,
    settled: &BTreeSet<FileNumber>,
    damaged: &BTreeSet<FileNumber>,
) -> Option<Choice> {
    let in_use = || rows.iter().filter(|(_, row)| !row.is_dropped);
    let last = in_use()
        .filter(|(_, row)| row.kind == FileKind::Log)
        .map(|(number, _)| *number)
        .next_back();
    let (mut dead, mut old, mut small) = (Vec::new(), Vec::new(), Vec::new());
    for (number, row) in in_use() {
        let is_last = Some(*number) == last;
        match row.kind {
            FileKind::Format1 => dead.push((*number, row)),
            FileKind::Log => {
                // The last is worth it only when it is large: it fills up by itself.
                let is_ready = !is_last || row.used_bytes >= rules.segment_bytes / 4;
                let is_dead = is_ready && share(row) <= rules.live_percent;
                if is_dead || damaged.contains(number) {
                    dead.push((*number, row));
                } else if !is_last && row.last_group <= rules.outlived {
                    old.push((*number, row));
                }
            }
            FileKind::Pack => {
                if row.live_bytes * 100 < row.body_bytes * rules.pack_live_percent {
                    dead.push((*number, row));
                } else if row.used_bytes < rules.worth_bytes && !settled.contains(number) {
                    small.push((*number, row));
                }
            }
        }
    }
    dead.sort_by_key(|(_, row)| share(row));
    if rules.is_full {
        dead.truncate(1);
        (old, small) = (Vec::new(), Vec::new());
    }
    let live = |files: &[(FileNumber, &FileRow)]| -> u64 {
        files.iter().map(|(_, row)| row.live_bytes).sum()
    };
    let is_join = dead.is_empty() && old.is_empty();
    let is_enough = live(&dead) + live(&old) + live(&small) >= rules.worth_bytes;
    let is_many = is_join && small.len() >= MANY;
    if !is_enough && !is_many {
        // Too little for a pack: what is not dead waits for more.
        (old, small) = (Vec::new(), Vec::new());
    }
    if is_join && small.len() < 2 {
        small.clear();
    }
    let mut bytes = 0;
    let mut files = Vec::new();
    for (number, row) in dead.into_iter().chain(old).chain(small) {
        if !files.is_empty() && bytes + row.live_bytes > rules.job_bytes {
            break;
        }
        bytes += row.live_bytes;
        files.push(number);
    }
    (!files.is_empty()).then(|| Choice {
        seals: last.is_some_and(|last| files.contains(&last)),
        is_join,
        files,
    })
}

/// How much of a file is alive, in percent.
fn share(row: &FileRow) -> u64 {
    row.live_bytes * 100 / row.used_bytes.max(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::frame::Salt;
    use crate::pack::PackName;

    const RULES: Rules = Rules {
        live_percent: 50,
        pack_live_percent: 60,
        worth_bytes: 400,
        job_bytes: 10_000,
        segment_bytes: 1600,
        outlived: 10,
        is_full: false,
    };

    fn log(live_bytes: u64, used_bytes: u64, last_group: u64) -> FileRow {
        FileRow {
            live_bytes,
            used_bytes,
            last_group,
            ..FileRow::log(Salt([0; 16]), 1)
        }
    }

    fn pack(live_bytes: u64, body_bytes: u64, used_bytes: u64) -> FileRow {
        FileRow {
            live_bytes,
            body_bytes,
            ..FileRow::pack(PackName([0; 32]), used_bytes, 1)
        }
    }

    fn chosen_by(rules: &Rules, rows: &[FileRow]) -> Option<Choice> {
        let rows = (1..).map(FileNumber).zip(rows.iter().copied()).collect();
        choose(&rows, rules, &BTreeSet::new(), &BTreeSet::new())
    }

    fn chosen(rows: &[FileRow]) -> Vec<u32> {
        let files = chosen_by(&RULES, rows).map(|choice| choice.files);
        files
            .unwrap_or_default()
            .iter()
            .map(|file| file.0)
            .collect()
    }

    /// The segment that is written to.
    fn open() -> FileRow {
        log(100, 100, 99)
    }

    #[test]
    fn what_is_young_alive_and_little_stays() {
        assert_eq!(chosen(&[]), [0; 0]);
        assert_eq!(chosen(&[open()]), [0; 0]);
        assert_eq!(chosen(&[log(900, 1000, 11), open()]), [0; 0]);
        assert_eq!(chosen(&[log(399, 600, 10), open()]), [0; 0]);
        assert_eq!(chosen(&[pack(600, 1000, 2000), open()]), [0; 0]);
        assert_eq!(chosen(&[pack(1, 1, 100), open()]), [0; 0]);
        let dropped = FileRow {
            is_dropped: true,
            ..log(0, 1000, 1)
        };
        assert_eq!(chosen(&[dropped, open()]), [0; 0]);
    }

    #[test]
    fn what_outlived_a_collection_is_packed_when_it_is_enough_together() {
        assert_eq!(
            chosen(&[
                log(300, 500, 10),
                log(300, 500, 10),
                log(300, 500, 11),
                open()
            ]),
            [1, 2]
        );
        // A small pack helps to make it enough.
        assert_eq!(
            chosen(&[log(300, 500, 10), pack(100, 100, 120), open()]),
            [1, 2]
        );
    }

    #[test]
    fn what_is_mostly_dead_is_emptied_the_deadest_first() {
        let rows = [
            log(500, 1000, 99),
            log(100, 1000, 99),
            log(510, 1000, 99),
            open(),
        ];
        assert_eq!(chosen(&rows), [2, 1]);
        let rows = [
            pack(599, 1000, 1500),
            pack(0, 1000, 1500),
            pack(600, 1000, 1500),
        ];
        assert_eq!(chosen(&rows), [2, 1]);
        // Small blocks under many headers are not dead for that.
        assert_eq!(chosen(&[pack(1000, 1000, 3000)]), [0; 0]);
        let format1 = FileRow {
            kind: FileKind::Format1,
            ..log(900, 1000, 0)
        };
        assert_eq!(chosen(&[format1, open()]), [1]);
    }

    #[test]
    fn the_last_segment_is_sealed_when_it_is_large_and_dead() {
        assert_eq!(chosen_by(&RULES, &[log(0, 399, 99)]), None);
        let choice = chosen_by(&RULES, &[log(0, 400, 99)]).unwrap();
        assert!(choice.seals && choice.files == [FileNumber(1)]);
        let choice = chosen_by(&RULES, &[log(0, 400, 99), open()]).unwrap();
        assert!(!choice.seals);
    }

    #[test]
    fn small_packs_are_joined_when_they_make_one_or_are_many() {
        let small = pack(150, 150, 200);
        assert_eq!(chosen(&[small, small, open()]), [0; 0]);
        let choice = chosen_by(&RULES, &[small, small, small, open()]).unwrap();
        assert!(choice.is_join && choice.files.len() == 3);
        let tiny = vec![pack(1, 1, 100); MANY];
        assert_eq!(chosen(&tiny[1..]), [0; 0]);
        assert_eq!(chosen(&tiny).len(), MANY);
        let rows = (1..).map(FileNumber).zip(vec![small; 3]).collect();
        let settled = BTreeSet::from([FileNumber(1), FileNumber(2)]);
        assert_eq!(choose(&rows, &RULES, &settled, &BTreeSet::new()), None);
    }

    #[test]
    fn a_store_packs_nothing_below_4_mib_and_rewrites_packs_below_60_percent() {
        const MIB: u64 = 1 << 20;
        let rules = Rules {
            outlived: 10,
            ..Rules::new(50, 16 * MIB)
        };
        let chosen = |rows: &[FileRow]| {
            let choice = chosen_by(&rules, rows);
            choice.map_or(0, |choice| choice.files.len())
        };
        assert_eq!(chosen(&[log(4 * MIB - 1, 5 * MIB, 10), open()]), 0);
        assert_eq!(chosen(&[log(4 * MIB, 5 * MIB, 10), open()]), 1);
        let halves = [log(2 * MIB, 3 * MIB, 10); 2];
        assert_eq!(chosen(&[halves[0], halves[1], open()]), 2);
        assert_eq!(chosen(&[halves[0], open()]), 0);
        let body = 10 * MIB;
        assert_eq!(chosen(&[pack(body * 60 / 100, body, body + 1)]), 0);
        assert_eq!(chosen(&[pack(body * 60 / 100 - 1, body, body + 1)]), 1);
        // What is smaller than a pack should be is only joined with others.
        let small = pack(4 * MIB - 100, 4 * MIB - 100, 4 * MIB - 1);
        assert_eq!(chosen(&[small]), 0);
        assert_eq!(chosen(&[small, small]), 2);
        let enough = pack(4 * MIB - 100, 4 * MIB - 100, 4 * MIB);
        assert_eq!(chosen(&[enough, enough]), 0);
    }

    #[test]
    fn a_damaged_segment_is_emptied_whatever_is_alive_in_it() {
        let rows = [log(900, 1000, 99), log(900, 1000, 99), open()];
        assert_eq!(chosen(&rows), [0; 0]);
        let rows = (1..).map(FileNumber).zip(rows).collect();
        let chosen = |file| {
            let damaged = BTreeSet::from([FileNumber(file)]);
            choose(&rows, &RULES, &BTreeSet::new(), &damaged).unwrap()
        };
        assert_eq!(chosen(2).files, [FileNumber(2)]);
        assert!(chosen(3).seals && !chosen(2).seals);
    }

    #[test]
    fn a_step_is_bounded_and_on_a_full_disk_one_file() {
        let old = vec![log(4000, 5000, 10); 4];
        assert_eq!(chosen(&[old.as_slice(), &[open()]].concat()), [1, 2]);
        assert_eq!(chosen(&[log(40_000, 50_000, 10), open()]), [1]);
        let full = Rules {
            is_full: true,
            ..RULES
        };
        let rows = [
            log(300, 1000, 9),
            log(200, 1000, 9),
            log(4000, 5000, 9),
            open(),
        ];
        let choice = chosen_by(&full, &rows).unwrap();
        assert_eq!(choice.files, [FileNumber(2)]);
        assert_eq!(chosen_by(&full, &rows[2..]), None);
    }
}
