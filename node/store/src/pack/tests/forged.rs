//! Packs that are damaged, and packs that somebody made to do harm.

use super::*;
use crate::pack::frame::{HEADER_BYTES, TRAILER_BYTES, read_header};

/// Where the footer of the pack in `bytes` begins.
fn footer_start(bytes: &[u8]) -> usize {
    let trailer = &bytes[bytes.len() - TRAILER_BYTES..];
    u64::from_le_bytes(*trailer.first_chunk().unwrap()) as usize
}

/// Puts true checksums over whatever the parts say, as somebody who makes packs can.
fn reseal(bytes: &mut [u8]) {
    let footer = footer_start(bytes);
    let trailer = bytes.len() - TRAILER_BYTES;
    let sum = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&sum.to_le_bytes());
    if footer <= trailer {
        let sum = crc32c::crc32c(&bytes[footer..trailer]);
        bytes[trailer + 16..trailer + 20].copy_from_slice(&sum.to_le_bytes());
    }
    let sum = crc32c::crc32c(&bytes[trailer..trailer + 28]);
    bytes[trailer + 28..].copy_from_slice(&sum.to_le_bytes());
}

/// The pack with another footer and all that counts it made to fit.
fn with_footer(bytes: &[u8], footer: &[u8]) -> Vec<u8> {
    let start = footer_start(bytes);
    let mut forged = bytes[..start].to_vec();
    forged.extend_from_slice(footer);
    forged.extend_from_slice(&bytes[bytes.len() - TRAILER_BYTES..]);
    let trailer = forged.len() - TRAILER_BYTES;
    forged[trailer + 8..trailer + 12].copy_from_slice(&(footer.len() as u32).to_le_bytes());
    forged[trailer + 12..trailer + 16].copy_from_slice(&footer[..4]);
    reseal(&mut forged);
    forged
}

fn footer_of(bytes: &[u8]) -> Vec<u8> {
    bytes[footer_start(bytes)..bytes.len() - TRAILER_BYTES].to_vec()
}

fn error(bytes: &[u8]) -> PackError {
    verify(&Bytes(bytes.to_vec())).unwrap_err()
}

/// Makes the pack anew from what another says it holds.
fn remade(bytes: &[u8], footer: &Footer) -> Vec<u8> {
    let samples: Vec<Sample> = footer
        .entries()
        .map(|entry| Sample {
            tag: entry.tag(),
            cid: Cid::new_v1(Codec::Raw.code(), entry.hash()),
            codecs: entry.codecs().collect(),
            body: bytes[entry.offset() as usize..][..entry.length() as usize].to_vec(),
        })
        .collect();
    let (disk, _) = disk();
    let range = read_header(bytes.first_chunk().unwrap()).unwrap();
    let mut writer = PackWriter::create(&disk, dir(), range).unwrap();
    for sample in &samples {
        writer.push(sample.block()).unwrap();
    }
    let name = writer.finish().unwrap().name;
    let file = disk.open(&name.path(dir())).unwrap();
    file.read_vec_at(file.length().unwrap() as usize, 0)
        .unwrap()
}

#[test]
fn every_flipped_bit_is_found_even_without_the_name() {
    let bytes = packed(&samples());
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        assert!(verify(&Bytes(flipped)).is_err(), "bit {at}");
    }
}

#[test]
fn a_pack_that_is_cut_or_longer_is_none() {
    let bytes = packed(&samples());
    for length in 0..bytes.len() {
        assert!(
            verify(&Bytes(bytes[..length].to_vec())).is_err(),
            "{length}"
        );
        assert!(
            verify(&Bytes(bytes[length..].to_vec())).is_err() || length == 0,
            "{length}"
        );
    }
    assert!(verify(&Bytes([bytes.as_slice(), &[0]].concat())).is_err());
    let long = Bytes(vec![0; PACK_BYTES + 1]);
    assert!(
        matches!(verify(&long), Err(PackError::Size { bytes }) if bytes == PACK_BYTES as u64 + 1)
    );
}

#[test]
fn another_pack_is_not_taken_for_the_one_that_was_asked_for() {
    let bytes = packed(&samples());
    let other = packed(&samples()[..2]);
    let expected = verify(&Bytes(bytes.clone())).unwrap().name;
    verify_pack(&Bytes(bytes), expected).unwrap();
    let error = verify_pack(&Bytes(other), expected).unwrap_err();
    assert!(matches!(error, PackError::Name { expected: asked, .. } if asked == expected));
}

#[test]
fn what_is_wrong_with_a_forged_header_or_trailer_is_named() {
    let bytes = packed(&samples());
    let trailer = bytes.len() - TRAILER_BYTES;
    let forged = |at: usize, with: &[u8]| {
        let mut forged = bytes.clone();
        forged[at..at + with.len()].copy_from_slice(with);
        reseal(&mut forged);
        error(&forged).to_string()
    };
    let table = [
        (
            0,
            b"PERNPAK2".as_slice(),
            "the header of the pack is damaged, or it is no pack",
        ),
        (8, &[2], "version 2 of packs is unknown"),
        (9, &[1], "cipher 1 of packs is unknown"),
        (
            10,
            &[1],
            "reserved bytes are not zero (byte 10 of the pack's header)",
        ),
        (
            59,
            &[1],
            "reserved bytes are not zero (byte 10 of the pack's header)",
        ),
        (
            14,
            &[3],
            "the partitions are no aligned range (byte 12 of the pack's header)",
        ),
        (
            12,
            &[8],
            "an entry is of another partition (byte 4 of the pack's footer)",
        ),
        (
            trailer + 12,
            &[2],
            "trailer and footer count other entries (byte 0 of the pack's footer)",
        ),
        (
            trailer + 12,
            &[0; 4],
            "a pack has 1 to 65,536 entries (byte 12 of the pack's trailer)",
        ),
        (
            trailer + 12,
            &[0xff; 4],
            "a pack has 1 to 65,536 entries (byte 12 of the pack's trailer)",
        ),
        (
            trailer + 8,
            &[0xff; 4],
            "the footer does not lie before the trailer (byte 0 of the pack's trailer)",
        ),
        (
            trailer,
            &[0xff; 8],
            "the footer does not lie before the trailer (byte 0 of the pack's trailer)",
        ),
        (
            trailer + 20,
            b"PERNPAKX",
            "the trailer of the pack is damaged, or it is no pack",
        ),
    ];
    for (at, with, expected) in table {
        assert_eq!(forged(at, with), expected, "{at} {with:?}");
    }
    let mut unsealed = bytes.clone();
    unsealed[footer_start(&bytes)] ^= 1;
    assert_eq!(
        error(&unsealed).to_string(),
        "the footer of the pack is damaged, or it is no pack"
    );
}

#[test]
fn what_is_wrong_with_a_forged_footer_or_body_is_named() {
    let samples = samples();
    let bytes = packed(&samples);
    let footer = footer_of(&bytes);
    let (root, leaf) = (samples[0].cid.hash(), samples[1].cid.hash());
    let at_hash = |hash: &Multihash| {
        let hash = hash.to_bytes();
        footer
            .windows(hash.len())
            .position(|part| part == hash)
            .unwrap()
    };
    let (root_at, leaf_at) = (at_hash(root), at_hash(leaf));
    // Behind the multihash: offset, length, checksum, codecs.
    let root_sum = root_at + 34 + 8;
    let root_links = root_sum + 4 + 1 + 2;
    assert_eq!(footer[root_links..root_links + 4], [0x71, 3, 2, 0x55]);
    let forged = |at: usize, with: &[u8]| {
        let mut forged = footer.clone();
        forged.splice(at..at + with.len(), with.iter().copied());
        error(&with_footer(&bytes, &forged))
    };
    assert!(matches!(forged(root_sum, &[0]), PackError::Sums { hash } if *hash == *root));
    // A link that leads elsewhere, and one that is not by its index although it leads to an entry.
    assert!(matches!(forged(root_links + 2, &[1]), PackError::Links { hash } if *hash == *root));
    assert!(matches!(forged(root_links + 2, &[3]), PackError::Links { hash } if *hash == *root));
    assert!(matches!(forged(root_links + 3, &[0x70]), PackError::Links { hash } if *hash == *root));
    let mut by_hash = footer.clone();
    by_hash.splice(
        root_links + 2..root_links + 3,
        [&[0], leaf.to_bytes().as_slice()].concat(),
    );
    assert!(matches!(
        error(&with_footer(&bytes, &by_hash)),
        PackError::Links { .. }
    ));
    // Links that are hidden as unreadable, or made up.
    let mut hidden = footer.clone();
    let links = 2 + 1 + 34 + 1;
    hidden.splice(root_links + 1..root_links + 2 + links, [0]);
    assert!(
        matches!(error(&with_footer(&bytes, &hidden)), PackError::Links { hash } if *hash == *root)
    );
    let mut made_up = footer.clone();
    made_up.splice(root_links - 1..root_links, [2, 2, 0x55]);
    assert!(
        matches!(error(&with_footer(&bytes, &made_up)), PackError::Links { hash } if *hash == *root)
    );
    // A block that is another.
    let error = forged(leaf_at + 2, &[0xee]);
    assert!(matches!(error, PackError::Block { .. }), "{error}");
    let table: [(usize, &[u8], &str); 12] = [
        (leaf_at - 1, &[33], "a multihash has another length"),
        (
            leaf_at,
            &[0x00, 33 - 1],
            "an identity multihash names no block",
        ),
        (leaf_at, &[0x92, 0x00], "no multihash"),
        (leaf_at + 1, &[0x41], "no multihash"),
        (
            leaf_at - 5,
            &[3, 3, 2, 6],
            "an entry is of another partition",
        ),
        (leaf_at - 5, &[2, 3, 2, 7], "entries are not sorted by tag"),
        (
            leaf_at + 34,
            &[0x90],
            "a body does not begin where the one before it ends",
        ),
        (leaf_at + 38, &[1, 0, 0x20], "a block is above 2 MiB"),
        (leaf_at + 46, &[0], "a block has 1 to 8 codecs"),
        (leaf_at + 46, &[9], "a block has 1 to 8 codecs"),
        (
            root_links + 2,
            &[4 + 1],
            "a link leads to an entry that is not there",
        ),
        (
            root_links,
            &[0x80, 0x00],
            "a number is cut off or not in its shortest form",
        ),
    ];
    for (at, with, expected) in table {
        let error = forged(at, with);
        assert!(
            matches!(error, PackError::Malformed { rule, .. } if rule == expected),
            "{expected}: {error}"
        );
    }
    // The codec of the root's second links, made that of its first.
    assert!(matches!(
        forged(root_links, &[0x55]),
        PackError::Malformed {
            rule: "a block has a codec twice",
            ..
        }
    ));
    let longer = [footer.as_slice(), &[0]].concat();
    let error_of = |footer: &[u8]| error_rule(&with_footer(&bytes, footer));
    assert_eq!(error_of(&longer), "bytes follow the last entry");
    assert_eq!(
        error_of(&footer[..footer.len() - 6]),
        "the footer ends inside an entry"
    );
    let mut filled = bytes.clone();
    filled[HEADER_BYTES + samples[0].body.len()] = 1;
    assert_eq!(
        error_rule(&filled),
        "the bytes between two bodies are not zero"
    );
    let twice = [samples[1].clone(), samples[1].clone()];
    let mut forged = packed(&[
        samples[1].clone(),
        Sample::new(samples[1].tag, Codec::Raw, *b"fael"),
    ]);
    forged.copy_within(64..68, 72);
    let mut footer = footer_of(&forged);
    let half = (footer.len() - 4) / 2;
    footer.copy_within(4..4 + half, 4 + half);
    footer[4 + half + 39..4 + half + 43].copy_from_slice(&72_u32.to_le_bytes());
    let error = self::error(&with_footer(&forged, &footer));
    assert!(
        matches!(&error, PackError::Twice { hash } if **hash == *twice[0].cid.hash()),
        "{error}"
    );
}

fn error_rule(bytes: &[u8]) -> &'static str {
    match error(bytes) {
        PackError::Malformed { rule, .. } => rule,
        other => panic!("{other}"),
    }
}

#[test]
fn counts_that_lie_are_refused_before_anything_is_taken_for_them() {
    let bytes = packed(&samples());
    let footer = footer_of(&bytes);
    let mut many = footer.clone();
    many[..4].copy_from_slice(&(PACK_ENTRIES as u32).to_le_bytes());
    assert_eq!(
        error_rule(&with_footer(&bytes, &many)),
        "the footer ends inside an entry"
    );
    let mut links = footer;
    let end = links.len();
    // The last codec of the last block claims as many links as a number can, and then as many as a block may have.
    links.splice(
        end - 1..,
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    );
    assert_eq!(
        error_rule(&with_footer(&bytes, &links)),
        "a block has more than 32,768 links"
    );
    links.splice(end - 1.., [0x81, 0x80, 0x02]);
    assert_eq!(
        error_rule(&with_footer(&bytes, &links)),
        "a number is cut off or not in its shortest form"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_panic_and_what_passes_is_what_a_writer_makes(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
        cut in 0..40_usize,
    ) {
        let mut bytes = packed(&samples());
        for (at, value, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = value,
                1 => bytes[at] ^= 1 << (value % 8),
                2 => bytes.insert(at, value),
                _ => drop(bytes.remove(at)),
            }
        }
        if cut > 30 {
            bytes.truncate(bytes.len() - cut);
        }
        // As it is, and with true checksums and a footer that lies before the trailer.
        let mut sealed = bytes.clone();
        let start = footer_start(&sealed).clamp(64, sealed.len() - TRAILER_BYTES);
        let trailer = sealed.len() - TRAILER_BYTES;
        sealed[trailer..trailer + 8].copy_from_slice(&(start as u64).to_le_bytes());
        sealed[trailer + 8..trailer + 12].copy_from_slice(&((trailer - start) as u32).to_le_bytes());
        reseal(&mut sealed);
        for bytes in [bytes, sealed] {
            if let Ok(pack) = verify(&Bytes(bytes.clone())) {
                prop_assert_eq!(remade(&bytes, &pack.footer), bytes);
            }
        }
    }
}
