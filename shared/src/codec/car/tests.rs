use super::*;
use crate::{
    cid::{Codec, cid_of},
    limits::WIRE_BLOCK_BYTES,
};
use alloc::{boxed::Box, string::String, vec};
use proptest::prelude::*;
use std::string::ToString;

fn block(content: &[u8]) -> Block {
    Block::new(Codec::Raw, content.to_vec()).unwrap()
}

fn read_all(file: &[u8]) -> Result<(Header, Vec<Block>), CarError> {
    let reader = Reader::new(file)?;
    let header = reader.header().clone();
    Ok((header, reader.collect::<Result<_, _>>()?))
}

fn decode_in_pieces(file: &[u8], size: usize) -> Result<(Header, Vec<Block>), CarError> {
    let mut decoder = Decoder::new();
    let (mut header, mut blocks) = (None, Vec::new());
    for piece in file.chunks(size) {
        decoder.push(piece);
        while let Some(event) = decoder.next_event()? {
            match event {
                Event::Header(found) => assert!(header.replace(found).is_none()),
                Event::Block(block) => blocks.push(block),
            }
        }
    }
    decoder.finish()?;
    Ok((header.expect("a file that ends well has a header"), blocks))
}

fn reason(file: &[u8]) -> String {
    let whole = read_all(file).map(drop);
    for size in [1, 7, usize::MAX] {
        assert_eq!(
            decode_in_pieces(file, size).map(drop),
            whole,
            "pieces of {size}"
        );
    }
    whole.expect_err("must be refused").to_string()
}

#[test]
fn a_file_has_its_known_bytes() {
    let first = block(b"a");
    let root = *first.cid();
    let file = write(&[root], [&first]).unwrap();
    assert_eq!(
        hex::encode(&file),
        concat!(
            "3a",
            "a265726f6f747381d82a58250001551220ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
            "6776657273696f6e01",
            "25",
            "01551220ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
            "61",
        )
    );
    let (header, blocks) = read_all(&file).unwrap();
    assert_eq!(header.roots, [root]);
    assert_eq!(blocks, [first]);
    assert_eq!(read_all(&write(&[], []).unwrap()).unwrap().0.roots, []);
}

#[test]
fn a_file_cut_at_any_byte_names_the_place() {
    let blocks = [block(b"first"), block(b""), block(b"third")];
    let file = write(&[*blocks[0].cid()], &blocks).unwrap();
    let mut ends = vec![];
    let mut reader = Reader::new(&file).unwrap();
    ends.push(reader.offset());
    while reader.next().is_some() {
        ends.push(reader.offset());
    }
    for length in 0..file.len() {
        let cut = &file[..length];
        if ends.contains(&(length as u64)) {
            assert!(read_all(cut).is_ok());
            assert!(decode_in_pieces(cut, 3).is_ok());
            continue;
        }
        let section = ends.iter().rfind(|&&end| end < length as u64);
        let expected = CarError::Truncated {
            offset: length as u64,
            section: section.copied().unwrap_or(0),
        };
        assert_eq!(read_all(cut), Err(expected.clone()));
        assert_eq!(decode_in_pieces(cut, 3), Err(expected));
    }
}

#[test]
fn a_block_that_does_not_match_is_named_and_the_others_follow() {
    let blocks = [block(b"first"), block(b"second")];
    let mut file = write(&[], &blocks).unwrap();
    let at = file.len() - b"second".len() - 37 - 1;
    assert_eq!(file[at], b't');
    file[at] = b'T';
    let mut reader = Reader::new(&file).unwrap();
    let error = reader.next().unwrap().unwrap_err();
    let expected = CarError::Block {
        offset: 18,
        cid: Box::new(*blocks[0].cid()),
        source: VerifyError::Mismatch,
    };
    assert_eq!(error, expected);
    assert_eq!(reader.next(), Some(Ok(blocks[1].clone())));
    assert_eq!(reader.next(), None);
    let mut decoder = Decoder::new();
    decoder.push(&file);
    assert!(matches!(decoder.next_event(), Ok(Some(Event::Header(_)))));
    assert_eq!(decoder.next_event(), Err(expected));
    assert_eq!(
        decoder.next_event(),
        Ok(Some(Event::Block(blocks[1].clone())))
    );
    assert_eq!(decoder.finish(), Ok(()));
}

#[test]
fn what_breaks_a_rule_is_refused() {
    let good = write(&[], []).unwrap();
    let with = |section: &[u8]| [&good, section].concat();
    let table: [(Vec<u8>, &str); 13] = [
        (
            vec![],
            "the file ends at byte 0, inside the section that begins at byte 0",
        ),
        (
            vec![0],
            "the section at byte 0 has a length that is zero or not in its shortest form",
        ),
        (
            vec![0x81, 0x00],
            "the section at byte 0 has a length that is zero or not in its shortest form",
        ),
        (
            b"\x0a\xa1\x67version\x01".to_vec(),
            "the header is not one of CARv1: field `roots` is missing",
        ),
        (
            b"\x0a\xa1\x67version\x02".to_vec(),
            "the file is a CAR of version 2, which is not read here",
        ),
        (
            b"\x11\xa2\x65roots\x80\x67versiom\x01".to_vec(),
            "the header is not one of CARv1: field `version` is missing",
        ),
        (
            b"\x11\xa2\x67version\x01\x65roots\x80".to_vec(),
            "the header is not one of CARv1: a map key that is not in canonical order at byte 10",
        ),
        (
            vec![1, 0x80],
            "the header is not one of CARv1: not a map, which is required at byte 0",
        ),
        (
            with(&[0]),
            "the section at byte 18 has a length that is zero or not in its shortest form",
        ),
        (
            with(&[0x80, 0x00]),
            "the section at byte 18 has a length that is zero or not in its shortest form",
        ),
        (
            with(&[2, 1, 0x55]),
            "the section at byte 18 does not begin with a CID: not a CID: it ends too early",
        ),
        (
            with(&[0xff, 0xff, 0xff, 0x7f]),
            "at byte 18: CAR section bytes: 268435455 is above the limit of 2097252",
        ),
        (
            vec![0x81, 0x20],
            "at byte 0: CAR header bytes: 4097 is above the limit of 4096",
        ),
    ];
    for (file, expected) in table {
        assert_eq!(reason(&file), expected, "{file:02x?}");
    }
}

#[test]
fn roots_are_bounded_on_both_ways() {
    let root = cid_of(Codec::Raw, b"a");
    assert!(write(&[root; CAR_ROOTS], []).is_ok());
    let error = write(&[root; CAR_ROOTS + 1], []).unwrap_err();
    assert_eq!(
        error.to_string(),
        "at byte 0: CAR roots: 33 is above the limit of 32"
    );
    let header = encode_header(&[root; CAR_ROOTS + 1]).unwrap();
    let mut file = Vec::new();
    varint::write(&mut file, header.len() as u64);
    file.extend_from_slice(&header);
    assert_eq!(
        reason(&file),
        "the header is not one of CARv1: CAR roots: 33 is above the limit of 32"
    );
}

#[test]
fn an_oversized_block_is_refused_by_name() {
    let content = vec![0; WIRE_BLOCK_BYTES + 1];
    let mut file = write(&[], []).unwrap();
    let cid = cid_of(Codec::Raw, &content);
    varint::write(&mut file, (cid_len(&cid) + content.len()) as u64);
    write_cid(&mut file, &cid);
    file.extend_from_slice(&content);
    let error = read_all(&file).unwrap_err();
    let expected = "block bytes: 2097153 is above the limit of 2097152";
    assert!(error.to_string().ends_with(expected), "{error}");
}

#[test]
fn a_decoder_holds_no_more_than_a_section_and_a_piece() {
    let mut writer = Writer::new(&[]).unwrap();
    let mut decoder = Decoder::new();
    let (content, mut blocks) = (vec![7u8; 100_000], 0);
    for _ in 0..50 {
        writer.push(&block(&content));
        for piece in writer.take().chunks(4_096) {
            decoder.push(piece);
            while let Some(event) = decoder.next_event().unwrap() {
                blocks += usize::from(matches!(event, Event::Block(_)));
            }
            assert!(decoder.held() < content.len() + 40);
        }
    }
    decoder.finish().unwrap();
    assert_eq!(blocks, 50);
}

proptest! {
    #[test]
    fn every_file_comes_back_in_any_pieces(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..8),
        size in 1usize..300,
    ) {
        let blocks: Vec<_> = contents.iter().map(|content| block(content)).collect();
        let roots: Vec<_> = blocks.iter().take(2).map(|block| *block.cid()).collect();
        let file = write(&roots, &blocks).unwrap();
        let expected = Ok((Header { roots }, blocks));
        prop_assert_eq!(&read_all(&file), &expected);
        prop_assert_eq!(&decode_in_pieces(&file, size), &expected);
    }

    #[test]
    fn changed_files_never_panic_and_both_readers_agree(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4),
        at: prop::sample::Index,
        byte: u8,
        size in 1usize..60,
    ) {
        let blocks: Vec<_> = contents.iter().map(|content| block(content)).collect();
        let mut file = write(&[], &blocks).unwrap();
        let at = at.index(file.len());
        file[at] = byte;
        prop_assert_eq!(read_all(&file), decode_in_pieces(&file, size));
    }

    #[test]
    fn any_bytes_never_panic(file in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = read_all(&file);
    }
}
