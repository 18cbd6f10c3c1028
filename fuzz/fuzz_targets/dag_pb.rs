//! DAG-PB: what is accepted comes back as the same node.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::codec::dag_pb::{Node, decode, encode};

fuzz_target!(|data: &[u8]| {
    if let Ok(node) = decode(data) {
        let bytes = encode(&node).expect("what was read can be written");
        assert_eq!(bytes.len(), data.len());
        assert_eq!(decode(&bytes).as_ref(), Ok(&node));
        if let Ok(value) = node.clone().into_value() {
            assert_eq!(Node::from_value(value), Ok(node));
        }
    }
});
