//! What the tests of records share.

use core::time::Duration;

use crate::ipns::{Name, RecordFields};
use crate::sign::SigningKey;
use crate::time::Timestamp;

pub(super) const VALUE: &str = "/ipfs/bafkqaddwgevxmmraojswg33smq";

/// Made by npm `ipns` 10.1.6: key of seed 00 01 … 1f, [`VALUE`], sequence 7, one hour TTL, with both versions.
pub(super) const NPM_RECORD: &str = concat!(
    "0a212f697066732f6261666b7161646477676576786d6d72616f6a7377673333736d711240cb1996fc4325d081daf3b7cdc4567abc2fb8",
    "63cd1fc4c0fde7934f2d77ca95ffe7d4b437fb3fb3f6bf907001d3883e6ecaac5cc19e64565840a3300ce60d42021800221e323132332d",
    "30382d31345431323a31323a30382e3339323030303030305a28073080c0e285e3684240e3fe6f24259f3e36cb4188e4bd637c5dbc664d",
    "34ab6b0bdb3b4fc6aeabc3c4cc8870ea1ca229e7131c04ddddc9bc2347ea4c9ae6a413fcc091144a92c2c9d7054a78a56354544c1b0000",
    "034630b8a0006556616c756558212f697066732f6261666b7161646477676576786d6d72616f6a7377673333736d716853657175656e63",
    "65076856616c6964697479581e323132332d30382d31345431323a31323a30382e3339323030303030305a6c56616c6964697479547970",
    "6500"
);

pub(super) fn key(byte: u8) -> SigningKey {
    SigningKey::from_seed(&[byte; 32])
}

pub(super) fn npm_key() -> SigningKey {
    SigningKey::from_seed(&core::array::from_fn(|index| index as u8))
}

pub(super) fn end() -> Timestamp {
    Timestamp::parse("2123-08-14T12:12:08.392Z").unwrap()
}

pub(super) fn fields(value: &str, sequence: u64) -> RecordFields<'_> {
    RecordFields {
        value,
        sequence,
        validity: end(),
        ttl: Duration::from_secs(3_600),
    }
}

pub(super) fn name_of(key: &SigningKey) -> Name {
    Name::from_public_key(&key.public())
}
