use super::*;
use crate::{
    cid::{Block, Cid, Codec, cid_len, cid_of, write_cid},
    codec::car::{Writer, write},
    limits::{CAR_FILE_ROOTS, CAR_ROOTS},
    varint,
};
use alloc::vec;
use proptest::prelude::*;
use std::string::ToString;

const INDEXED: &[u8] = include_bytes!("made/v2-indexed.car");
const PADDED: &[u8] = include_bytes!("made/v2-padded-full-index.car");
const UNFINISHED: &[u8] = include_bytes!("made/v2-unfinished.car");

/// What a file came to.
#[derive(Debug, Default, PartialEq)]
struct File {
    roots: Option<Vec<Cid>>,
    blocks: Vec<Block>,
    refused: Vec<CarError>,
    version: u64,
    empty_sections: u64,
    lacks_index: bool,
    end: Option<CarError>,
}

fn read_in_pieces(file: &[u8], size: usize) -> File {
    let mut found = File::default();
    let mut decoder = FileDecoder::new();
    'pieces: for piece in file.chunks(size) {
        decoder.push(piece);
        loop {
            match decoder.next_event() {
                Ok(None) => break,
                Ok(Some(Event::Header(header))) => {
                    assert_eq!(found.roots.replace(header.roots), None);
                }
                Ok(Some(Event::Block(block))) => found.blocks.push(block),
                Err(error @ (CarError::Block { .. } | CarError::Cid { .. })) => {
                    found.refused.push(error);
                }
                Err(error) => {
                    assert_eq!(decoder.next_event(), Err(error));
                    break 'pieces;
                }
            }
        }
        assert!(decoder.held() <= CAR_FILE_HEADER_BYTES + 4);
    }
    found.version = decoder.version();
    found.empty_sections = decoder.empty_sections();
    found.lacks_index = decoder.lacks_index();
    found.end = decoder.finish().err();
    found
}

/// The same whatever the pieces.
fn read(file: &[u8]) -> File {
    let whole = read_in_pieces(file, usize::MAX);
    for size in [1, 7, 50] {
        assert_eq!(read_in_pieces(file, size), whole, "pieces of {size}");
    }
    whole
}

fn block(content: &[u8]) -> Block {
    Block::new(Codec::Raw, content.to_vec()).unwrap()
}

fn section(cid: &[u8], content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write(&mut out, (cid.len() + content.len()) as u64);
    out.extend_from_slice(cid);
    out.extend_from_slice(content);
    out
}

fn with_header(header: &[u8], rest: &[u8]) -> Vec<u8> {
    [&section(&[], header), rest].concat()
}

fn version_2(data: u64, size: u64, index: u64) -> Vec<u8> {
    let mut file = b"\x0a\xa1\x67version\x02".to_vec();
    file.extend_from_slice(&[0; 16]);
    for number in [data, size, index] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    file
}

#[test]
fn files_of_version_2_that_go_car_made_are_read() {
    let directory = "QmV9s4aHWWibKg6CHNSUWd6ESMtnM6axEXGmwp5wWoPFDn";
    let leaf = "bafkreihtq57iupmy7ae5t6ceayh35iugjjfwngakel7seklqctimc2g3fy";
    for file in [INDEXED, PADDED] {
        let found = read(file);
        assert_eq!((found.version, &found.end), (2, &None));
        assert_eq!(found.refused, []);
        assert!(!found.lacks_index);
        let texts = |cids: &[Cid]| cids.iter().map(Cid::to_string).collect::<Vec<_>>();
        assert_eq!(texts(&found.roots.unwrap()), [directory, leaf]);
        let cids: Vec<Cid> = found.blocks.iter().map(|block| *block.cid()).collect();
        // What the long CID holds is no block; the short one is.
        assert_eq!(texts(&cids)[..2], [directory, leaf]);
        assert_eq!(found.blocks.len(), 3);
        assert_eq!(found.blocks[1].bytes(), &b"hello file"[..]);
    }
    let found = read(UNFINISHED);
    assert!(matches!(found.end, Some(CarError::Version2 { .. })));
    assert_eq!((found.roots, found.blocks), (None, vec![]));
}

#[test]
fn a_file_of_version_2_that_is_cut_at_any_byte_names_the_place() {
    let number = |at: usize| u64::from_le_bytes(*INDEXED[at..].first_chunk().unwrap()) as usize;
    let (data, index) = (number(27), number(43));
    let end = data + number(35);
    for length in 0..INDEXED.len() {
        let found = read(&INDEXED[..length]);
        if length >= end {
            assert_eq!(found.end, None, "{length}");
            assert_eq!(found.lacks_index, length <= index, "{length}");
            assert_eq!(found.blocks.len(), 3);
            continue;
        }
        let Some(CarError::Truncated { offset, section }) = found.end else {
            panic!("{length}: {found:?}");
        };
        assert_eq!(offset, length as u64);
        assert!(section <= offset);
        // The section that is named begins where the last whole block ends.
        assert!(length < data || section >= data as u64);
    }
}

#[test]
fn what_a_header_of_version_2_must_not_say_is_refused() {
    let data = write(&[], &[block(b"a")]).unwrap();
    let size = data.len() as u64;
    let of = |header: Vec<u8>| read(&[header, data.clone()].concat());
    let good = of(version_2(51, size, 0));
    assert_eq!((good.end, good.blocks.len()), (None, 1));
    for (offset, size, index, what) in [
        (0, 0, 0, "did not finish"),
        (50, size, 0, "inside of it"),
        (51, u64::MAX, 0, "behind every file"),
        (51, size, 60, "before the end of its data"),
    ] {
        let refused = of(version_2(offset, size, index)).end.unwrap().to_string();
        assert!(refused.contains(what), "{refused}");
    }
    // Data that end inside a section, and data that are announced and do not come.
    let cut = of(version_2(51, size - 1, 0)).end;
    let expected = CarError::Truncated {
        offset: 51 + size - 1,
        section: 51 + 18,
    };
    assert_eq!(cut, Some(expected));
    for (data_offset, length) in [(u64::MAX - 200, 100), (51, u64::MAX - 51)] {
        let found = of(version_2(data_offset, length, 0));
        let is_truncated = matches!(found.end, Some(CarError::Truncated { .. }));
        assert!(is_truncated, "{:?}", found.end);
    }
    // A pragma of another length, and a version 2 within a version 2.
    let spaced = b"\x0c\xa1\x67version\x19\x00\x02".to_vec();
    assert_eq!(read(&spaced).end, Some(CarError::Version(2)));
    let nested = [version_2(51, 11, 0), version_2(51, 11, 0)].concat();
    assert_eq!(read(&nested).end, Some(CarError::Version(2)));
    assert_eq!(
        read(b"\x0b\xa1\x67version\x18\x2a").end,
        Some(CarError::Version(42))
    );
}

#[test]
fn headers_of_any_form_are_read() {
    let root = cid_of(Codec::Raw, b"a");
    let link = [&[0xd8, 42, 0x58, 37, 0][..], &root.to_bytes()].concat();
    let one = [&[0x81][..], &link].concat();
    let endless = [&[0x9f][..], &link, &[0xff]].concat();
    let (roots, version) = (&b"\x65roots"[..], &b"\x67version\x01"[..]);
    let table = [
        ([&[0xa2], roots, &one, version].concat(), vec![root]),
        ([&[0xa2], version, roots, &one].concat(), vec![root]),
        (
            [&[0xbf], roots, &endless, version, &[0xff]].concat(),
            vec![root],
        ),
        ([&[0xa2], roots, &[0x80], version].concat(), vec![]),
        // As Go writes no roots.
        ([&[0xa2], roots, &[0xf6], version].concat(), vec![]),
        (
            [&[0xa3], roots, &[0x80], version, b"\x64more\x81\x01"].concat(),
            vec![],
        ),
    ];
    for (header, expected) in table {
        let found = read(&with_header(&header, &[]));
        assert_eq!(found.end, None, "{header:02x?}");
        assert_eq!(found.roots, Some(expected), "{header:02x?}");
    }
    for header in [
        [&[0xa1], version].concat(),
        [&[0xa1], roots, &[0x80]].concat(),
        [&[0xa2], roots, &[0x81, 1], version].concat(),
        [&[0xa2], roots, &[0x80], b"\x67version\x61x"].concat(),
        vec![0x80],
    ] {
        let found = read(&with_header(&header, &[]));
        let is_header = matches!(found.end, Some(CarError::Header { .. }));
        assert!(is_header, "{header:02x?}: {:?}", found.end);
    }
}

/// A header that names a root so many times, in a list without a length.
fn many_roots(root: &Cid, count: usize) -> Vec<u8> {
    let link = [&[0xd8, 42, 0x58, 37, 0][..], &root.to_bytes()].concat();
    let roots = link.repeat(count);
    [b"\xa2\x65roots\x9f", &roots[..], b"\xff\x67version\x01"].concat()
}

#[test]
fn more_roots_than_a_message_has_are_read_up_to_a_limit() {
    let root = cid_of(Codec::Raw, b"a");
    for count in [CAR_ROOTS + 1, CAR_FILE_ROOTS] {
        let header = many_roots(&root, count);
        let found = read_in_pieces(&with_header(&header, &[]), 1 << 20);
        assert_eq!((found.end, found.roots.unwrap().len()), (None, count));
    }
    let header = many_roots(&root, CAR_FILE_ROOTS + 1);
    let found = read_in_pieces(&with_header(&header, &[]), 1 << 20);
    let error = found.end.unwrap().to_string();
    assert!(
        error.contains("65537 is above the limit of 65536"),
        "{error}"
    );
    let mut long = Vec::new();
    varint::write(&mut long, CAR_FILE_HEADER_BYTES as u64 + 1);
    assert!(matches!(read(&long).end, Some(CarError::Limit { .. })));
}

#[test]
fn sections_of_length_zero_are_passed_over_and_counted() {
    let (first, second) = (block(b"first"), block(b"second"));
    let mut writer = Writer::new(&[]).unwrap();
    let header = writer.take();
    let sections = [&first, &second].map(|block| {
        writer.push(block);
        writer.take()
    });
    let file = [
        &header,
        &[0][..],
        &sections[0],
        &[0, 0],
        &sections[1],
        &[0; 100],
    ]
    .concat();
    let found = read(&file);
    assert_eq!(found.end, None);
    assert_eq!(found.blocks, [first, second]);
    assert_eq!(found.empty_sections, 103);
}

#[test]
fn what_is_wrong_with_one_section_does_not_end_the_reading() {
    let (good, wrong) = (block(b"good"), cid_of(Codec::Raw, b"other"));
    let header = Writer::new(&[]).unwrap().take();
    let good_section = section(&good.cid().to_bytes(), good.bytes());
    let large = cid_of(Codec::Raw, &[]);
    let table: [(Vec<u8>, &str); 4] = [
        (
            section(&wrong.to_bytes(), b"not it"),
            "the content does not match its CID",
        ),
        (section(&[1, 0x55], b""), "does not begin with a CID"),
        (
            section(&large.to_bytes(), &vec![7; WIRE_BLOCK_BYTES + 1]),
            "block bytes: 2097153 is above the limit of 2097152",
        ),
        (
            section(&large.to_bytes(), &vec![7; 3 * WIRE_BLOCK_BYTES]),
            "block bytes: 6291456 is above the limit of 2097152",
        ),
    ];
    for (bad, reason) in table {
        let file = [&header, &bad[..], &good_section].concat();
        for size in [4_096, usize::MAX] {
            let found = read_in_pieces(&file, size);
            assert_eq!(found.end, None, "{reason}");
            assert_eq!(found.blocks, core::slice::from_ref(&good), "{reason}");
            let [refused] = &found.refused[..] else {
                panic!("{:?}", found.refused);
            };
            let told = refused.to_string();
            assert!(told.contains(reason) && told.contains("byte 18"), "{told}");
        }
    }
    // A length that no file can have is an end that is missing, and takes no memory.
    let endless = [
        &header,
        &[0xff; 8][..],
        &[0x7f],
        &large.to_bytes(),
        &[0; 500],
    ]
    .concat();
    let found = read(&endless);
    assert!(matches!(found.refused[..], [CarError::Block { .. }]));
    let expected = CarError::Truncated {
        offset: endless.len() as u64,
        section: 18,
    };
    assert_eq!(found.end, Some(expected));
}

#[test]
fn content_that_its_cid_holds_is_compared_with_it() {
    let content = [b'x'; 100];
    let mut cid = vec![1, 0x55, 0, 100];
    cid.extend_from_slice(&content);
    let header = Writer::new(&[]).unwrap().take();
    let found = read(&[&header, &section(&cid, &content)[..]].concat());
    assert_eq!((found.end, found.refused), (None, vec![]));
    let found = read(&[&header, &section(&cid, b"other")[..]].concat());
    assert!(matches!(found.refused[..], [CarError::Cid { .. }]));
}

proptest! {
    #[test]
    fn every_file_is_read_in_either_version(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..8),
        padding in 0usize..60,
        index in proptest::collection::vec(any::<u8>(), 0..60),
        size in 1usize..300,
    ) {
        let blocks: Vec<_> = contents.iter().map(|content| block(content)).collect();
        let roots: Vec<_> = blocks.iter().take(2).map(|block| *block.cid()).collect();
        let data = write(&roots, &blocks).unwrap();
        let begins = 51 + padding as u64;
        let ends = begins + data.len() as u64;
        let header = version_2(begins, data.len() as u64, if index.is_empty() { 0 } else { ends });
        let second = [header, vec![0; padding], data.clone(), index].concat();
        for (file, version) in [(data, 1), (second, 2)] {
            let found = read_in_pieces(&file, size);
            prop_assert_eq!(found.end, None);
            prop_assert_eq!(found.version, version);
            prop_assert_eq!(found.roots.as_ref(), Some(&roots));
            prop_assert_eq!(&found.blocks, &blocks);
            prop_assert!(!found.lacks_index);
        }
    }

    #[test]
    fn changed_files_never_panic_and_tell_the_same_in_any_pieces(
        at: prop::sample::Index,
        byte: u8,
        size in 1usize..60,
        cut: prop::sample::Index,
    ) {
        for file in [INDEXED, PADDED] {
            let mut file = file[..=cut.index(file.len())].to_vec();
            let at = at.index(file.len());
            file[at] = byte;
            let found = read_in_pieces(&file, size);
            prop_assert_eq!(&found, &read_in_pieces(&file, usize::MAX));
            // Whatever was taken is what its CID says.
            for block in &found.blocks {
                prop_assert!(crate::cid::verify(block.cid(), block.bytes()).is_ok());
            }
        }
    }

    #[test]
    fn any_bytes_never_panic(file in proptest::collection::vec(any::<u8>(), 0..200), size in 1usize..60) {
        prop_assert_eq!(read_in_pieces(&file, size), read_in_pieces(&file, usize::MAX));
    }
}

#[test]
fn a_block_that_fills_its_limit_is_read_whatever_its_cid() {
    let content = vec![7; WIRE_BLOCK_BYTES];
    let cid = cid_of(Codec::Raw, &content);
    let mut file = Writer::new(&[]).unwrap().take();
    varint::write(&mut file, (cid_len(&cid) + content.len()) as u64);
    write_cid(&mut file, &cid);
    file.extend_from_slice(&content);
    let found = read_in_pieces(&file, 65_536);
    assert_eq!((found.end, found.blocks.len()), (None, 1));
}
