//! Links as version 1 of the packs of a node's store finds them: in blocks that follow every rule of their codec.
//!
//! What a pack says of its blocks is compared byte for byte with what is computed from them, so these rules never change.
//! Readers that want to know what a block of anybody leads to use [`links`](super::links).

use alloc::vec::Vec;

use super::super::{CodecError, Value, dag_cbor::Decoder, dag_json, dag_pb};
use crate::{
    cid::{Cid, Codec, is_identity},
    limits::{BLOCK_LINKS, LimitExceeded},
};

/// The links of a block that follows every rule of its codec, in the order they stand in: what packs of version 1 hold.
///
/// Where it has links, [`links`](super::links) gives the same. A link that holds its content itself (an identity CID)
/// names no block to fetch: in its place stand the links of its content.
///
/// # Errors
/// Refuses codecs other than raw, keys, DAG-PB, DAG-CBOR and DAG-JSON, blocks that break a rule of their codec, and
/// blocks with more than [`BLOCK_LINKS`] links. It does not compare `bytes` with the digest of `cid`.
pub fn links_of_version_1(cid: &Cid, bytes: &[u8]) -> Result<Vec<Cid>, CodecError> {
    let mut found = Vec::new();
    collect(cid, bytes, &mut found)?;
    Ok(found)
}

fn collect(cid: &Cid, bytes: &[u8], found: &mut Vec<Cid>) -> Result<(), CodecError> {
    let codec =
        Codec::from_code(cid.codec()).ok_or_else(|| CodecError::UnknownCodec(cid.codec()))?;
    match codec {
        Codec::Raw | Codec::Libp2pKey => Ok(()),
        Codec::DagCbor => {
            let mut decoder = Decoder::new(bytes)?;
            decoder.skip(&mut |link| push(link, found))?;
            decoder.finish()
        }
        Codec::DagPb => dag_pb::read(bytes, &mut |part| match part {
            dag_pb::Part::Link(link) => push(link.hash, found),
            dag_pb::Part::Data(_) => Ok(()),
        }),
        Codec::DagJson => collect_from(&dag_json::decode(bytes)?, found),
        Codec::Cbor | Codec::Json | Codec::GitRaw | Codec::DagJose => {
            Err(CodecError::UnknownCodec(codec.code()))
        }
    }
}

/// An identity CID is at most 64 bytes long and its content shorter, so this ends after few steps.
fn push(link: Cid, found: &mut Vec<Cid>) -> Result<(), CodecError> {
    if is_identity(&link) {
        return collect(&link, link.hash().digest(), found);
    }
    LimitExceeded::check("links in a block", BLOCK_LINKS, found.len() + 1)?;
    found.push(link);
    Ok(())
}

fn collect_from(value: &Value, found: &mut Vec<Cid>) -> Result<(), CodecError> {
    match value {
        Value::Link(link) => push(*link, found),
        Value::List(items) => items.iter().try_for_each(|item| collect_from(item, found)),
        Value::Map(entries) => entries
            .values()
            .try_for_each(|value| collect_from(value, found)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cid::{HashFn, Multihash, cid_of},
        codec::dag_cbor,
    };
    use alloc::vec;
    use proptest::prelude::*;
    use std::string::ToString;

    fn inline(codec: Codec, content: &[u8]) -> Cid {
        let hash = Multihash::wrap(HashFn::Identity.code(), content).unwrap();
        Cid::new_v1(codec.code(), hash)
    }

    #[test]
    fn links_are_found_in_order_in_every_codec() {
        let (a, b) = (cid_of(Codec::Raw, b"a"), cid_of(Codec::DagPb, b"b"));
        let value = Value::map([
            ("x", Value::List(vec![b.into(), Value::Null, a.into()])),
            ("y", Value::map([("z", Value::from(b))])),
        ]);
        let expected = vec![b, a, b];
        let bytes = dag_cbor::encode(&value).unwrap();
        assert_eq!(
            links_of_version_1(&cid_of(Codec::DagCbor, &bytes), &bytes),
            Ok(expected.clone())
        );
        let text = dag_json::encode_bytes(&value).unwrap();
        assert_eq!(
            links_of_version_1(&cid_of(Codec::DagJson, &text), &text),
            Ok(expected)
        );
        let node = dag_pb::Node {
            links: [a, b]
                .map(|hash| dag_pb::Link {
                    hash,
                    name: None,
                    size_claimed: None,
                })
                .into(),
            data: Some(vec![1]),
        };
        let bytes = dag_pb::encode(&node).unwrap();
        assert_eq!(
            links_of_version_1(&cid_of(Codec::DagPb, &bytes), &bytes),
            Ok(vec![a, b])
        );
        assert_eq!(
            links_of_version_1(&cid_of(Codec::Raw, &bytes), &bytes),
            Ok(vec![])
        );
    }

    #[test]
    fn links_inside_inline_content_are_found() {
        let target = cid_of(Codec::Raw, b"a");
        let inner = dag_cbor::encode(&Value::from(target)).unwrap();
        let value = Value::List(vec![
            inline(Codec::DagCbor, &inner).into(),
            inline(Codec::Raw, b"text").into(),
        ]);
        let bytes = dag_cbor::encode(&value).unwrap();
        assert_eq!(
            links_of_version_1(&cid_of(Codec::DagCbor, &bytes), &bytes),
            Ok(vec![target])
        );
    }

    #[test]
    fn broken_blocks_and_unknown_codecs_are_refused() {
        let cid = cid_of(Codec::DagCbor, b"");
        assert!(links_of_version_1(&cid, b"\x00\x00").is_err());
        assert!(links_of_version_1(&cid, b"\x9f\xff").is_err());
        let unknown = Cid::new_v1(0x78, *cid.hash());
        let error = links_of_version_1(&unknown, b"").unwrap_err();
        assert_eq!(error.to_string(), "codec 0x78 is unknown");
    }

    #[test]
    fn links_are_counted() {
        let link = cid_of(Codec::Raw, b"a");
        let value = Value::List(vec![link.into(); BLOCK_LINKS + 1]);
        let bytes = dag_cbor::encode(&value).unwrap();
        let error = links_of_version_1(&cid_of(Codec::DagCbor, &bytes), &bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "links in a block: 32769 is above the limit of 32768"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_of_any_codec_never_panic(
            codec in prop::sample::select(&[0x55, 0x70, 0x71, 0x72, 0x0129, 0x78][..]),
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let cid = Cid::new_v1(codec, *cid_of(Codec::Raw, &bytes).hash());
            if let Ok(found) = links_of_version_1(&cid, &bytes) {
                prop_assert!(!found.iter().any(is_identity));
            }
        }

        #[test]
        fn the_links_are_those_of_the_value(value in dag_cbor::tests::any_value()) {
            let bytes = dag_cbor::encode(&value).unwrap();
            let mut expected = Vec::new();
            collect_from(&dag_cbor::decode(&bytes).unwrap(), &mut expected).unwrap();
            let mut found = links_of_version_1(&cid_of(Codec::DagCbor, &bytes), &bytes).unwrap();
            // The names of maps are in another order in a value than in its bytes.
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }
}
