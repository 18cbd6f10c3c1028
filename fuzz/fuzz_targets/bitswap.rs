//! Bitswap messages: what is read is within its limits, and reads the same once written.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    cid::Prefix,
    limits::{BITSWAP_PAYLOAD_BLOCKS, BITSWAP_PRESENCES, BITSWAP_WANTS},
    wire::{bitswap::Message, read_length},
};

fuzz_target!(|data: &[u8]| {
    let frame = Bytes::copy_from_slice(data);
    let Ok(mut message) = Message::decode(&frame) else {
        return;
    };
    assert!(message.wants.len() <= BITSWAP_WANTS);
    assert!(message.presences.len() <= BITSWAP_PRESENCES);
    assert!(message.payload.len() <= BITSWAP_PAYLOAD_BLOCKS);
    message.left_out = 0;
    let written: Bytes = message.encode().concat().into();
    let length = read_length(&written, usize::MAX).expect("our own length is sound");
    let (length, prefix) = length.expect("our own length is whole");
    assert_eq!(prefix + length, written.len());
    // What an old peer sent in short form may be longer once written, beyond what may be read.
    if let Ok(again) = Message::decode(&written.slice(prefix..)) {
        assert_eq!(again, message);
    }
    for payload in message.payload {
        let prefix = payload.prefix();
        if let Ok(block) = payload.into_block() {
            assert_eq!(Prefix::of(block.cid()), prefix);
        }
    }
});
