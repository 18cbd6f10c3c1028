//! CAR: a file in memory and the same file in pieces give the same blocks and the same error, and what our own strict reader takes
//! the reader of anybody's files takes as well.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    cid::Block,
    codec::car::{CarError, Decoder, Event, FileDecoder, Header, Reader},
};

type File = Result<(Header, Vec<Block>), CarError>;

fuzz_target!(|data: &[u8]| {
    let Some((&size, file)) = data.split_first() else {
        return;
    };
    let size = usize::from(size) + 1;
    let strict = whole(file);
    assert_eq!(strict, in_pieces(file, size));
    let lenient = of_anybody(file, size);
    assert_eq!(lenient, of_anybody(file, usize::MAX));
    if let Ok((header, blocks)) = strict {
        assert_eq!(lenient, (Some(header), blocks, 0, None));
    }
});

/// Header, blocks, sections that were refused, and why the reading ended.
fn of_anybody(file: &[u8], size: usize) -> (Option<Header>, Vec<Block>, usize, Option<CarError>) {
    let mut decoder = FileDecoder::new();
    let (mut header, mut blocks, mut refused) = (None, Vec::new(), 0);
    for piece in file.chunks(size) {
        decoder.push(piece);
        loop {
            match decoder.next_event() {
                Ok(Some(Event::Header(found))) => assert!(header.replace(found).is_none()),
                Ok(Some(Event::Block(block))) => blocks.push(block),
                Ok(None) => break,
                Err(CarError::Block { .. } | CarError::Cid { .. }) => refused += 1,
                Err(error) => return (header, blocks, refused, Some(error)),
            }
        }
    }
    (header, blocks, refused, decoder.finish().err())
}

fn whole(file: &[u8]) -> File {
    let reader = Reader::new(file)?;
    let header = reader.header().clone();
    Ok((header, reader.collect::<Result<_, _>>()?))
}

fn in_pieces(file: &[u8], size: usize) -> File {
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
