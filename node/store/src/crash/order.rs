//! In which order a pack holds blocks.

use std::path::Path;

use perennis_shared::cid::{Block, Codec, Multihash};

use super::{DIR, Machine, Step, options, run};
use crate::Batch;
use crate::pack::Footer;
use crate::rows::FileKind;
use crate::testing::Power;

#[test]
fn blocks_of_an_owner_lie_in_a_pack_as_they_were_stored() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let stored: Vec<Block> = (0..24_u8)
        .map(|number| Block::new(Codec::Raw, vec![number; 100]).unwrap())
        .collect();
    let mut batch = Batch::new();
    batch.owner(b"owner");
    for block in &stored {
        batch.pin(&block.bytes()[..1], *block.cid());
        batch.put_block(block.clone());
    }
    store.commit(batch).unwrap();
    for step in [Step::Collect, Step::Compact] {
        run(&store, step).unwrap();
    }
    let rows = store.inner().file_rows().into_iter();
    let mut packs = rows.filter(|(_, row)| row.kind == FileKind::Pack && !row.is_dropped);
    let (number, row) = packs.next().unwrap();
    let path = row.path(number, Path::new(DIR));
    let file = store.inner().disk.open(&path).unwrap();
    let footer = Footer::read(file.as_ref()).unwrap();
    let packed: Vec<Multihash> = footer.entries().map(|entry| entry.hash()).collect();
    let stored: Vec<Multihash> = stored.iter().map(|block| *block.cid().hash()).collect();
    assert_eq!(packed, stored);
    assert!(!packed.is_sorted(), "by chance they are sorted as well");
}
