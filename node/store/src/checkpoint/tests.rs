#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use perennis_shared::time::Millis;
use proptest::prelude::*;

use super::format::{CHUNK_BYTES, END_BYTES, Flaw, HEADER_BYTES, VALUE_BYTES};
use super::*;
use crate::testing::{Loss, LyingDisk, Power};

const STORE: [u8; 16] = *b"the store's id..";
const DIR: &str = "/store";

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn header(group: u64) -> Header {
    Header {
        store: STORE,
        group,
        file: 7,
        offset: 0x0102,
        written_at: Millis(0x0304),
    }
}

fn encode(group: u64, rows: &Rows) -> Vec<u8> {
    let mut encoder = Encoder::new(header(group));
    for (key, value) in rows {
        encoder.push(key, value).unwrap();
    }
    let mut bytes = encoder.take();
    bytes.extend(encoder.finish().0);
    bytes
}

fn decode(bytes: &[u8]) -> Result<(Header, Rows), FormatError> {
    let read = |length: usize, offset: u64| {
        let start = usize::try_from(offset).unwrap();
        Ok(bytes[start..start + length].to_vec())
    };
    let (mut decoder, header) = Decoder::new(read, bytes.len() as u64)?;
    let mut rows = Rows::new();
    loop {
        match decoder.next_part()? {
            Part::Chunk(chunk) => rows.extend(
                chunk
                    .rows()
                    .map(|(key, value)| (key.to_vec(), value.to_vec())),
            ),
            Part::End(summary) => {
                assert_eq!(summary.rows, rows.len() as u64);
                return Ok((header, rows));
            }
        }
    }
}

fn flaw(bytes: &[u8]) -> Flaw {
    match decode(bytes) {
        Err(FormatError::Damaged { flaw, .. }) => flaw,
        other => panic!("{other:?}"),
    }
}

fn some_rows(salt: u8) -> Rows {
    let sizes = [0, 1, 300, CHUNK_BYTES - 20, CHUNK_BYTES, 3 * CHUNK_BYTES, 5];
    let rows = sizes.iter().enumerate().map(|(number, size)| {
        let number = u8::try_from(number).unwrap();
        (vec![b'm', number], vec![salt ^ number; *size])
    });
    rows.collect()
}

#[test]
fn golden_bytes() {
    let rows = Rows::from([
        (b"a".to_vec(), b"1".to_vec()),
        (b"mkey".to_vec(), b"".to_vec()),
    ]);
    let golden = concat!(
        "5045524e434b50317468652073746f726527732069642e2e0500000000000000",
        "070000000000000002010000000000000403000000000000000000003835b1b5",
        "5043433100000000020000001200000080e6080d8e65caf60100010000006131",
        "0400000000006d6b657950434531010000000200000000000000120000000000",
        "0000feae537a57dd1640d6de2d7e6486dfe1b20f003d62bed3c482a8a65aa99d",
        "d23a00000000ed21160f",
    );
    let hex: String = encode(5, &rows)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex, golden);
}

#[test]
fn what_was_written_is_read_whatever_its_size() {
    let one = Rows::from([(vec![], vec![])]);
    for rows in [Rows::new(), one, some_rows(3)] {
        let bytes = encode(9, &rows);
        assert_eq!(decode(&bytes).unwrap(), (header(9), rows));
    }
}

#[test]
fn rows_that_do_not_belong_are_refused() {
    let mut encoder = Encoder::new(header(1));
    encoder.push(b"b", b"").unwrap();
    for (key, value) in [
        (b"a".to_vec(), 0),
        (b"b".to_vec(), 0),
        (vec![b'c'; 1 << 16], 0),
        (b"c".to_vec(), VALUE_BYTES + 1),
    ] {
        let refused = encoder.push(&key, &vec![0; value]);
        assert!(matches!(refused, Err(FormatError::Row)));
    }
    encoder.push(&vec![b'c'; (1 << 16) - 1], b"").unwrap();
}

#[test]
fn every_flipped_bit_every_cut_and_every_byte_behind_is_found() {
    let rows = Rows::from([
        (b"k1".to_vec(), b"value".to_vec()),
        (b"k2".to_vec(), b"another".to_vec()),
    ]);
    let whole = encode(1, &rows);
    for offset in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[offset] ^= 1 << bit;
            assert!(decode(&bytes).is_err(), "bit {bit} of {offset}");
        }
        assert_eq!(flaw(&whole[..offset]), Flaw::Cut, "{offset}");
    }
    let behind = [whole.as_slice(), &[0]].concat();
    assert_eq!(flaw(&behind), Flaw::Behind);
}

#[test]
fn damage_is_named_for_what_it_is() {
    let whole = encode(1, &some_rows(1));
    let flipped = |offset: usize| {
        let mut bytes = whole.clone();
        bytes[offset] ^= 1;
        flaw(&bytes)
    };
    assert_eq!(flipped(8), Flaw::Header);
    assert_eq!(flipped(HEADER_BYTES + 5), Flaw::Mark);
    assert_eq!(flipped(HEADER_BYTES + 24), Flaw::Payload);
    assert_eq!(flipped(whole.len() - END_BYTES + 30), Flaw::Mark);
    // Chunks that are whole by themselves and not where they were.
    let rows = Rows::from([(b"k".to_vec(), vec![0; 10])]);
    let (short, long) = (encode(1, &Rows::new()), encode(1, &rows));
    let end = long.len() - END_BYTES;
    let without = [&long[..HEADER_BYTES], &long[end..]].concat();
    assert_eq!(flaw(&without), Flaw::Rows);
    let with = [&long[..end], &short[HEADER_BYTES..]].concat();
    assert_eq!(flaw(&with), Flaw::Rows);
    let twice = [&long[..end], &long[HEADER_BYTES..end], &long[end..]].concat();
    assert_eq!(flaw(&twice), Flaw::Mark);
    let other = encode(2, &rows);
    let swapped = [&other[..end], &long[end..]].concat();
    assert_eq!(flaw(&swapped), Flaw::Hash);
}

#[test]
fn a_length_that_lies_takes_no_memory() {
    let rows = Rows::from([(b"k".to_vec(), vec![0; 10])]);
    let whole = encode(1, &rows);
    for (length, expected) in [(u32::MAX, Flaw::Length), (64 << 20, Flaw::Cut)] {
        let mut bytes = whole.clone();
        let head = &mut bytes[HEADER_BYTES..HEADER_BYTES + 24];
        head[12..16].copy_from_slice(&length.to_le_bytes());
        let sum = crc32c::crc32c(&head[..20]).to_le_bytes();
        head[20..].copy_from_slice(&sum);
        assert_eq!(flaw(&bytes), expected);
    }
}

proptest! {
    #[test]
    fn any_rows_are_kept_and_any_damage_is_found(
        rows in proptest::collection::btree_map(
            proptest::collection::vec(any::<u8>(), 0..40),
            proptest::collection::vec(any::<u8>(), 0..3000),
            0..50,
        ),
        at in any::<prop::sample::Index>(),
        mask in 1_u8..,
        group in any::<u64>(),
    ) {
        let mut bytes = encode(group, &rows);
        let read = decode(&bytes).unwrap();
        prop_assert_eq!(read, (header(group), rows));
        let offset = at.index(bytes.len());
        bytes[offset] ^= mask;
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes).is_err());
    }
}

/// A folder of checkpoints on a disk that lies.
struct Folder {
    power: Power,
    disk: LyingDisk,
}

impl Folder {
    fn new(power: Power) -> Self {
        let disk = LyingDisk::new(&power);
        disk.create_dir(Path::new(DIR)).unwrap();
        Self { power, disk }
    }

    fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(
            Arc::new(self.disk.clone()),
            Path::new(DIR),
            Some(StoreId(STORE)),
        )
    }

    fn write(&self, group: u64) -> Result<Kept, CheckpointError> {
        let rows = some_rows(u8::try_from(group).unwrap());
        self.checkpoints()
            .write(header(group), rows.into_iter().map(Ok))
    }

    /// The newest that is whole, and why those before it are not.
    fn look(&self) -> (Option<Checkpoint>, Vec<CheckpointError>) {
        let checkpoints = self.checkpoints();
        let mut errors = Vec::new();
        for group in checkpoints.groups().unwrap() {
            match checkpoints.open(group) {
                Ok(newest) => return (Some(newest), errors),
                Err(error) => errors.push(error),
            }
        }
        (None, errors)
    }

    fn newest(&self) -> Option<u64> {
        let newest = self.look().0?;
        let group = newest.header.group;
        assert_eq!(
            rows(&newest).unwrap(),
            some_rows(u8::try_from(group).unwrap())
        );
        Some(group)
    }

    fn path(group: u64) -> PathBuf {
        Path::new(DIR).join(format!("checkpoints/{group:016x}.ckpt"))
    }

    fn restart(self, loss: Loss) -> Self {
        self.power.cut();
        let power = Power::default();
        let disk = self.disk.survivors(loss, &power);
        Self { power, disk }
    }
}

fn rows(checkpoint: &Checkpoint) -> Result<Rows, CheckpointError> {
    let mut rows = Rows::new();
    for chunk in checkpoint.chunks() {
        let chunk = chunk?;
        rows.extend(
            chunk
                .rows()
                .map(|(key, value)| (key.to_vec(), value.to_vec())),
        );
    }
    Ok(rows)
}

#[test]
fn the_two_newest_are_kept_and_the_older_is_told() {
    let folder = Folder::new(Power::default());
    assert_eq!(folder.newest(), None);
    let older: Vec<_> = [3, 5, 8, 200]
        .map(|group| folder.write(group).unwrap().older)
        .into();
    assert_eq!(older, [None, Some(3), Some(5), Some(8)]);
    assert_eq!(folder.newest(), Some(200));
    assert_eq!(folder.checkpoints().groups().unwrap(), [200, 8]);
    assert_eq!(folder.disk.files().len(), 2);
}

#[test]
fn a_damaged_one_is_passed_over_told_and_not_counted_as_kept() {
    let folder = Folder::new(Power::default());
    folder.write(1).unwrap();
    folder.write(2).unwrap();
    assert!(folder.disk.damage(&Folder::path(2), 100, 1));
    let (newest, errors) = folder.look();
    assert_eq!(newest.unwrap().header.group, 1);
    assert!(errors[0].is_damage());
    assert_eq!(folder.checkpoints().in_both().unwrap(), None);
    let kept = folder.write(3).unwrap();
    assert_eq!((kept.older, kept.damaged.len()), (Some(1), 1));
    assert_eq!(folder.checkpoints().groups().unwrap(), [3, 1]);
    assert_eq!(folder.checkpoints().in_both().unwrap(), Some(1));
    // Where a read fails, nothing is known.
    folder.disk.set_read_fault(Some(io::ErrorKind::Other));
    let (newest, errors) = folder.look();
    assert!(newest.is_none() && !errors[0].is_damage());
    assert!(folder.checkpoints().in_both().is_err());
}

#[test]
fn damage_that_comes_while_it_is_read_is_told() {
    let folder = Folder::new(Power::default());
    folder.write(1).unwrap();
    let checkpoint = folder.checkpoints().open(1).unwrap();
    let length = folder.disk.files()[0].1;
    for offset in [100, length / 2, length - 1] {
        folder.disk.damage(&Folder::path(1), offset, 4);
        assert!(rows(&checkpoint).is_err(), "{offset}");
        folder.disk.damage(&Folder::path(1), offset, 4);
    }
    assert!(rows(&checkpoint).is_ok());
}

#[test]
fn another_stores_and_a_renamed_one_are_not_used() {
    let folder = Folder::new(Power::default());
    folder.write(1).unwrap();
    let disk = Arc::new(folder.disk.clone());
    let foreign = Checkpoints::new(disk, Path::new(DIR), Some(StoreId([9; 16])));
    assert!(foreign.open(1).unwrap_err().is_damage());
    folder
        .disk
        .rename(&Folder::path(1), &Folder::path(4))
        .unwrap();
    assert_eq!(folder.newest(), None);
}

#[test]
fn other_names_are_nobodys_checkpoint() {
    for name in [
        "1.ckpt",
        "+000000000000001.ckpt",
        "000000000000000A.ckpt",
        "00000000000000001.ckpt",
        "0000000000000001.ckpt.new",
        "0000000000000001",
    ] {
        assert_eq!(parse_name(name), None, "{name}");
    }
    assert_eq!(parse_name("000000000000000a.ckpt"), Some(10));
}

#[test]
fn what_the_disk_does_not_keep_is_found_before_it_counts() {
    let folder = Folder::new(Power::default());
    folder.write(1).unwrap();
    folder.disk.set_sync_damage(Some((70, 8)));
    let error = folder.write(2).unwrap_err();
    assert!(matches!(error, CheckpointError::NotKept { group: 2 }));
    folder.disk.set_sync_damage(None);
    assert_eq!(folder.newest(), Some(1));
    assert_eq!(folder.disk.files().len(), 1);
}

#[test]
fn a_full_disk_costs_the_new_one_only() {
    let folder = Folder::new(Power::default());
    folder.write(1).unwrap();
    let used = folder.disk.used_bytes();
    folder.disk.set_space(Some(used + 4096));
    let error = folder.write(2).unwrap_err();
    assert!(!error.is_damage(), "{error}");
    assert_eq!(folder.disk.used_bytes(), used);
    assert_eq!(folder.newest(), Some(1));
}

#[test]
fn an_index_that_fails_leaves_what_was_there() {
    let folder = Folder::new(Power::default());
    folder.write(1).unwrap();
    let failing = some_rows(2).into_iter().map(Ok);
    let failing = failing.chain([Err(io::Error::other("the index").into())]);
    let error = folder.checkpoints().write(header(2), failing).unwrap_err();
    assert!(matches!(error, CheckpointError::Index(_)));
    assert_eq!(folder.newest(), Some(1));
    assert_eq!(folder.disk.files().len(), 1);
}

#[test]
fn a_power_cut_at_any_point_leaves_the_one_before_or_the_new_one() {
    let points = {
        let folder = Folder::new(Power::default());
        for group in 1..=4 {
            folder.write(group).unwrap();
        }
        folder.power.points()
    };
    for point in 0..points {
        for loss in [
            Loss::Everything,
            Loss::Nothing,
            Loss::Some(point),
            Loss::Some(99),
        ] {
            let folder = Folder::new(Power::cut_at(point));
            let done = (1..=4)
                .take_while(|group| folder.write(*group).is_ok())
                .count() as u64;
            let folder = folder.restart(loss);
            let newest = folder.newest().unwrap_or(0);
            // Who fails may have been done all the same.
            assert!((done..=done + 1).contains(&newest), "{point} {loss:?}");
            assert!(folder.write(5).unwrap().older >= Some(done).filter(|done| *done > 0));
            assert_eq!(folder.newest(), Some(5));
            assert!(folder.disk.files().len() <= KEPT, "{point} {loss:?}");
        }
    }
}

#[test]
fn an_error_at_any_point_is_told_and_the_next_one_succeeds() {
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        for point in 0.. {
            let folder = Folder::new(Power::default());
            folder.write(1).unwrap();
            folder.write(2).unwrap();
            let before = folder.power.points();
            folder.power.fail_at(before + point, kind);
            let result = folder.write(3);
            assert!(folder.newest() >= Some(2), "{kind} at {point}");
            if folder.power.points() <= before + point {
                // All points of it went well.
                assert_eq!(result.unwrap().older, Some(2));
                assert!(point >= 6, "{point}");
                break;
            }
            folder.write(4).unwrap();
            assert_eq!(folder.newest(), Some(4));
            assert!(folder.disk.files().len() <= KEPT, "{kind} at {point}");
        }
    }
}
