//! Writing on a disk that lies.

use super::*;

#[test]
fn what_the_disk_did_not_keep_gets_no_name() {
    let length = packed(&samples()).len();
    for offset in 0..length {
        let (disk, _) = disk();
        disk.set_sync_damage(Some((offset, 0x10)));
        write(&disk, &samples()).unwrap_err();
        assert_eq!(disk.list(dir()).unwrap(), [""; 0], "byte {offset}");
    }
    let (disk, _) = disk();
    disk.set_sync_damage(Some((length, 0x10)));
    write(&disk, &samples()).unwrap();
}

#[test]
fn a_power_cut_leaves_a_whole_pack_or_none() {
    let mut finished = 0;
    for point in 0.. {
        let (disk, power) = disk();
        power.cut_after(point);
        let written = write(&disk, &samples());
        for loss in [
            Loss::Everything,
            Loss::Nothing,
            Loss::Some(point),
            Loss::Some(point + 999),
        ] {
            let left = disk.survivors(loss, &Power::default());
            let names = left.list(dir()).unwrap();
            let (packs, others): (Vec<_>, Vec<_>) = names
                .iter()
                .partition(|name| PackName::parse(name).is_some());
            assert!(others.iter().all(|name| is_remains(name)), "{others:?}");
            for name in &packs {
                let file = left.open(&dir().join(name)).unwrap();
                verify_pack(file.as_ref(), PackName::parse(name).unwrap()).unwrap();
            }
            if written.is_ok() {
                assert_eq!(
                    (packs.len(), others.len()),
                    (1, 0),
                    "cut after {point}, {loss:?}"
                );
            }
        }
        if written.is_ok() {
            finished += 1;
            break;
        }
    }
    assert_eq!(finished, 1);
}

#[test]
fn a_failure_is_told_leaves_nothing_and_can_be_tried_again() {
    for point in 0.. {
        let (disk, power) = disk();
        power.fail_at(point, io::ErrorKind::StorageFull);
        match write(&disk, &samples()) {
            Ok(_) => break,
            Err(PackError::Disk(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
            Err(other) => panic!("{other}"),
        }
        let names = disk.list(dir()).unwrap();
        assert!(
            names.iter().all(|name| PackName::parse(name).is_some()),
            "{names:?}"
        );
        write(&disk, &samples()).unwrap();
        assert_eq!(disk.list(dir()).unwrap().len(), 1);
    }
}

#[test]
fn a_pack_that_is_there_already_is_replaced_by_its_like() {
    let (disk, _) = disk();
    let name = write(&disk, &samples()).unwrap().name;
    disk.damage(&name.path(dir()), 70, 1);
    let again = write(&disk, &samples()).unwrap();
    assert_eq!(again.name, name);
    let file = disk.open(&name.path(dir())).unwrap();
    assert_eq!(again.bytes, file.length().unwrap());
    verify_pack(file.as_ref(), name).unwrap();
}

#[test]
fn blocks_that_do_not_belong_are_refused() {
    let (disk, _) = disk();
    let range = Partitions::new(2, 2).unwrap();
    let good = Sample::new(0x0301_0000, Codec::Raw, *b"good");
    let sample = |tag, codecs: &[u64]| Sample {
        codecs: codecs.to_vec(),
        ..Sample::new(tag, Codec::Raw, *b"bad")
    };
    let bad = [
        (
            sample(0x0300_ffff, &[0x55]),
            "entries are not sorted by tag",
        ),
        (
            sample(0x0400_0000, &[0x55]),
            "an entry is of another partition",
        ),
        (sample(0x0301_0000, &[]), "a block has 1 to 8 codecs"),
        (
            sample(0x0301_0000, &(0..9).collect::<Vec<_>>()),
            "a block has 1 to 8 codecs",
        ),
        (
            sample(0x0301_0000, &[0x71, 0x55, 0x71]),
            "a block has a codec twice",
        ),
        (
            Sample::new(0x0301_0000, Codec::Raw, vec![0; (2 << 20) + 1]),
            "a block is above 2 MiB",
        ),
    ];
    for (bad, expected) in &bad {
        let mut writer = PackWriter::create(&disk, dir(), range).unwrap();
        writer.push(good.block()).unwrap();
        let error = writer.push(bad.block()).unwrap_err();
        assert!(
            matches!(error, PackError::Malformed { rule, .. } if rule == *expected),
            "{error}"
        );
    }
    let mut writer = PackWriter::create(&disk, dir(), range).unwrap();
    writer.push(good.block()).unwrap();
    writer.push(good.block()).unwrap();
    assert!(matches!(writer.finish(), Err(PackError::Twice { hash }) if *hash == *good.cid.hash()));
    let empty = PackWriter::create(&disk, dir(), range).unwrap();
    assert!(matches!(
        empty.finish(),
        Err(PackError::Malformed {
            part: "trailer",
            ..
        })
    ));
    // Bytes that are not those of the multihash are found when they are read back.
    let mut wrong = good;
    wrong.body = b"other".to_vec();
    assert!(matches!(
        write(&disk, &[wrong]),
        Err(PackError::Block { .. })
    ));
    assert_eq!(disk.list(dir()).unwrap(), [""; 0]);
}

#[test]
fn a_pack_takes_no_more_than_its_limits() {
    let (disk, _) = disk();
    let range = Partitions::new(0, 1).unwrap();
    let mut writer = PackWriter::create(&disk, dir(), range).unwrap();
    let large = |number: u8| Sample::new(0, Codec::Raw, vec![number; 2 << 20]);
    for number in 0..7 {
        writer.push(large(number).block()).unwrap();
    }
    assert!(matches!(
        writer.push(large(7).block()),
        Err(PackError::Size { .. })
    ));
    writer.finish().unwrap();
    let mut writer = PackWriter::create(&disk, dir(), range).unwrap();
    for number in 0..PACK_ENTRIES as u32 {
        writer
            .push(Sample::new(0, Codec::Raw, number.to_le_bytes()).block())
            .unwrap();
    }
    let more = Sample::new(0, Codec::Raw, *b"more");
    assert!(matches!(
        writer.push(more.block()),
        Err(PackError::Malformed { .. })
    ));
    assert_eq!(writer.finish().unwrap().footer.len() as usize, PACK_ENTRIES);
}
