//! CARv1: a file in memory and the same file in pieces give the same blocks and the same error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    cid::Block,
    codec::car::{CarError, Decoder, Event, Header, Reader},
};

type File = Result<(Header, Vec<Block>), CarError>;

fuzz_target!(|data: &[u8]| {
    let Some((&size, file)) = data.split_first() else {
        return;
    };
    assert_eq!(whole(file), in_pieces(file, usize::from(size) + 1));
});

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
