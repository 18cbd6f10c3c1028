//! The protobuf reader: it ends, within the message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::codec::protobuf::{FieldValue, Reader, Writer};

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    let mut writer = Writer::new();
    let mut only_written_kinds = true;
    let read = loop {
        match reader.next_field() {
            Ok(Some((number, FieldValue::Varint(value)))) => writer.uint(number, value),
            Ok(Some((number, FieldValue::Bytes(value)))) => writer.bytes(number, value),
            Ok(Some(_)) => only_written_kinds = false,
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(reader.offset() <= data.len());
    if read && only_written_kinds {
        assert_eq!(writer.finish(), data);
    }
});
