//! DID documents in DAG-CBOR; the first byte chooses DAG-JSON instead.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    cid::{Block, Codec},
    did::DidDocument,
};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let is_json = choice & 1 == 1;
    let codec = if is_json {
        Codec::DagJson
    } else {
        Codec::DagCbor
    };
    let Ok(block) = Block::new(codec, bytes.to_vec()) else {
        return;
    };
    if let Ok(document) = DidDocument::from_block(&block) {
        let again = if is_json {
            document.to_dag_json()
        } else {
            document.to_block()
        };
        let again = again.expect("what was read can be written");
        assert_eq!(again.bytes(), block.bytes());
    }
});
