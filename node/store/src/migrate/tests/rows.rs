//! Rows other than blocks.

use super::*;

#[test]
fn rows_of_every_table_are_taken_over_as_they_are_now() {
    let mut folder = Folder::new();
    let root = raw("root");
    let head_key = keys::head(&name());
    let evidence_key = keys::evidence(&name(), 7);
    let pin_key = b"ppin".to_vec();
    let queue = row::queue_row(3, Millis(9), b"entry");
    let by_key = row::queue_key(3, b"entry");
    folder.commit(
        std::slice::from_ref(&root),
        &[
            put(&head_key, &head(1)),
            put(&evidence_key, b"record"),
            put(&pin_key, &root.cid().to_bytes()),
            put(&queue, b"payload"),
            put(&by_key, &9_u64.to_le_bytes()),
            put(b"mfacts", b"\x07bytes of the caller's"),
            put(b"u", b"place of the scrub"),
        ],
    );
    folder.write();
    let (rows, losses) = folder.migrate();
    let location = Location {
        file: FileNumber(1),
        offset: 64 + 20 + 36,
        length: 4,
    };
    let written = folder.maker.segments[0].1.len() as u64;
    let pin = PinRow {
        root: *root.cid(),
        tag: 0,
    };
    let applied = Position {
        file: FileNumber(1),
        offset: 0,
        group: 1,
    };
    let wanted = [
        (block_row(&root), place(location, &[0x55], &root)),
        (head_key, head(1)),
        (evidence_key, b"\x01record".to_vec()),
        (pin_key, pin.to_bytes()),
        (queue, write_payload(b"payload")),
        (by_key, write_due(Millis(9))),
        (b"mfacts".to_vec(), b"\x07bytes of the caller's".to_vec()),
        (keys::file(FileNumber(1)), file(false, 4, written)),
        (vec![keys::TOTAL], 1_u64.to_le_bytes().to_vec()),
        (vec![keys::APPLIED], applied.to_bytes()),
    ];
    assert_eq!(rows, Map::from(wanted));
    assert_eq!(losses, []);
    let entries = folder.table(1).unwrap().entries;
    assert_eq!(entries, [table_entry(location, &[0x55], &root)]);
    // All rows but those of blocks are in a checkpoint.
    let disk: Arc<dyn Disk> = Arc::new(folder.disk.clone());
    let checkpoints = Checkpoints::new(disk, Path::new(DIR), None);
    let checkpoint = checkpoints.open(1).unwrap();
    assert_eq!(checkpoint.header.position(), applied);
    let mut kept = Map::new();
    for chunk in checkpoint.chunks() {
        for (key, value) in chunk.unwrap().rows() {
            kept.insert(key.to_vec(), value.to_vec());
        }
    }
    kept.remove([keys::STORE].as_slice());
    let mut wanted = rows;
    wanted.retain(|key, _| key[0] != keys::BLOCK);
    assert_eq!(kept, wanted);
}

#[test]
fn a_block_in_quarantine_stays_there_unless_it_is_there_under_another_cid() {
    let mut folder = Folder::new();
    let (lost, healed) = (raw("lost"), raw("healed"));
    let key = |block: &Block| [b"x".as_slice(), &block.cid().to_bytes()].concat();
    let queue = |block: &Block, due| row::queue_row(0, Millis(due), &block.cid().to_bytes());
    let by_key = |block: &Block| row::queue_key(0, &block.cid().to_bytes());
    let value = b"\x07\0\0\0\0\0\0\0why";
    let lost_v0 = under(&lost, 0x70, true);
    folder.commit(
        &[under(&healed, 0x71, false)],
        &[
            put(&key(&lost_v0), value),
            put(&key(&lost), value),
            put(&key(&healed), value),
            // Both of one content wait, each for its time.
            put(&queue(&lost_v0, 9), b""),
            put(&by_key(&lost_v0), &9_u64.to_le_bytes()),
            put(&queue(&lost, 8), b""),
            put(&by_key(&lost), &8_u64.to_le_bytes()),
        ],
    );
    folder.write();
    let (rows, losses) = folder.migrate();
    assert_eq!(losses, []);
    assert_eq!(rows[[keys::TOTAL].as_slice()], 1_u64.to_le_bytes());
    let wanted = quarantined(Millis(7), None, &[0x55, 0x70], "why");
    assert_eq!(rows[&keys::quarantine(lost.cid().hash())], wanted);
    assert!(!rows.contains_key(&keys::quarantine(healed.cid().hash())));
    assert!(rows.contains_key(&block_row(&healed)));
    let queued: Vec<_> = rows
        .keys()
        .filter(|key| matches!(key[0], b'q' | b'k'))
        .collect();
    let wanted = [
        row::queue_key(0, &entry(&lost)),
        row::queue_row(0, Millis(8), &entry(&lost)),
    ];
    assert_eq!(queued, wanted.iter().collect::<Vec<_>>());
    assert_eq!(rows[&wanted[0]], write_due(Millis(8)));
}

#[test]
fn rows_that_cannot_be_read_are_set_aside_and_the_rest_goes_on() {
    let mut folder = Folder::new();
    let block = raw("block");
    let cid = block.cid().to_bytes();
    let bad: [(Vec<u8>, &[u8]); 14] = [
        (b"".to_vec(), b"v"),
        (b"?key".to_vec(), b"v"),
        (b"bno cid".to_vec(), &[0; 12]),
        (
            block_key(&under(&block, 0x71, false).cid().to_bytes()),
            &[0; 11],
        ),
        (b"xno cid".to_vec(), &[0; 8]),
        ([b"x", cid.as_slice()].concat(), &[0; 7]),
        (b"hno name".to_vec(), b""),
        (keys::head(&name()), b"\x02"),
        (b"eno name and sequence".to_vec(), b""),
        (b"ppin".to_vec(), b"no cid"),
        (b"q".to_vec(), b""),
        (row::queue_row(0, Millis(1), b"no cid"), b""),
        (b"k".to_vec(), b""),
        (b"k\x03entry".to_vec(), b"no time"),
    ];
    let changes: Vec<_> = bad.iter().map(|(key, value)| put(key, value)).collect();
    folder.commit(std::slice::from_ref(&block), &changes);
    folder.write();
    let (rows, losses) = folder.migrate();
    assert_eq!(losses, []);
    assert!(rows.contains_key(&block_row(&block)));
    for (key, value) in &bad {
        let row = SetAside::from_row(&keys::set_aside(key), &rows[&keys::set_aside(key)]);
        assert_eq!(
            (row.key.as_slice(), row.value.as_slice()),
            (key.as_slice(), *value)
        );
        assert_eq!(row.at, NOW);
        assert!(row.reason.len() > 8);
        assert!(!rows.contains_key(key));
    }
    assert_eq!(
        rows.keys().filter(|key| key[0] == keys::SET_ASIDE).count(),
        bad.len()
    );
}

#[test]
fn entries_of_queues_with_one_row_of_two_are_mended() {
    let mut folder = Folder::new();
    let queue = |due: u64, entry: &[u8]| row::queue_row(3, Millis(due), entry);
    let by_key = |entry: &[u8]| row::queue_key(3, entry);
    let time = |due: u64| due.to_le_bytes();
    folder.commit(
        &[],
        &[
            // Whole; put in again with the old row left; without the one or the other; with one that names nothing.
            put(&queue(1, b"whole"), b"a"),
            put(&by_key(b"whole"), &time(1)),
            put(&queue(2, b"again"), b"old"),
            put(&queue(3, b"again"), b"new"),
            put(&by_key(b"again"), &time(3)),
            put(&queue(4, b"nameless"), b"first"),
            put(&queue(5, b"nameless"), b"second"),
            put(&by_key(b"empty"), &time(6)),
            put(&queue(7, b"elsewhere"), b"b"),
            put(&by_key(b"elsewhere"), &time(8)),
        ],
    );
    folder.write();
    let (rows, _) = folder.migrate();
    let shown: Vec<_> = rows
        .iter()
        .filter(|(key, _)| matches!(key[0], b'q' | b'k'))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut wanted = Vec::new();
    for (entry, due, payload) in [
        (b"whole".as_slice(), 1, b"a".as_slice()),
        (b"again", 3, b"new"),
        (b"nameless", 4, b"first"),
        (b"elsewhere", 7, b"b"),
    ] {
        wanted.push((by_key(entry), write_due(Millis(due))));
        wanted.push((queue(due, entry), write_payload(payload)));
    }
    wanted.sort();
    assert_eq!(shown, wanted);
    let aside: Vec<_> = rows
        .keys()
        .filter(|key| key[0] == keys::SET_ASIDE)
        .collect();
    let mut wanted = [
        queue(2, b"again"),
        queue(5, b"nameless"),
        by_key(b"empty"),
        by_key(b"elsewhere"),
    ]
    .map(|key| keys::set_aside(&key));
    wanted.sort();
    assert_eq!(aside, wanted.iter().collect::<Vec<_>>());
}
