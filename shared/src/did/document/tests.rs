use alloc::format;

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::codec::Value;
use crate::did::Profile;
use crate::sign::SigningKey;

const CREATED: Millis = Millis(1_795_253_220_123);

fn identity(profile: Profile) -> Identity {
    Identity::from_root(profile, Zeroizing::new([7; 32]))
}

fn document() -> DidDocument {
    let mut document = DidDocument::new(&identity(Profile::V2), CREATED);
    let urls = ["https://a.example".into(), "http://[::1]:4780/x".into()];
    document.set_sources(&urls, Millis(CREATED.0 + 1)).unwrap();
    document
}

/// What [`document`] is in DAG-JSON.
const GOLDEN_JSON: &str = concat!(
    r#"{"@context":["https://www.w3.org/ns/did/v1","https://w3id.org/security/multikey/"#,
    r#"v1"],"alsoKnownAs":["did:key:z6MkkQicV1PyeuVL1bceeTADx9jRsFzMc863Sn3J7iUaKeTY"],"#,
    r#""assertionMethod":["did:ipns:k51qzi5uqu5dkf2dax21a6g7dpcp1aaqg8vvo6q2v7u9fnsfuun"#,
    r#"i56v9voxmfb#z6MkkQicV1PyeuVL1bceeTADx9jRsFzMc863Sn3J7iUaKeTY"],"authentication":"#,
    r#"["did:ipns:k51qzi5uqu5dkf2dax21a6g7dpcp1aaqg8vvo6q2v7u9fnsfuuni56v9voxmfb#z6MkkQ"#,
    r#"icV1PyeuVL1bceeTADx9jRsFzMc863Sn3J7iUaKeTY"],"created":"2026-11-21T09:27:00.123Z"#,
    r#"","id":"did:ipns:k51qzi5uqu5dkf2dax21a6g7dpcp1aaqg8vvo6q2v7u9fnsfuuni56v9voxmfb""#,
    r#","service":[{"id":"did:ipns:k51qzi5uqu5dkf2dax21a6g7dpcp1aaqg8vvo6q2v7u9fnsfuuni"#,
    r#"56v9voxmfb#sources","serviceEndpoint":["https://a.example","http://[::1]:4780/x""#,
    r#"],"type":"PerennisSources"}],"updated":"2026-11-21T09:27:00.124Z","verificationM"#,
    r#"ethod":[{"controller":"did:ipns:k51qzi5uqu5dkf2dax21a6g7dpcp1aaqg8vvo6q2v7u9fnsf"#,
    r#"uuni56v9voxmfb","id":"did:ipns:k51qzi5uqu5dkf2dax21a6g7dpcp1aaqg8vvo6q2v7u9fnsfu"#,
    r#"uni56v9voxmfb#z6MkkQicV1PyeuVL1bceeTADx9jRsFzMc863Sn3J7iUaKeTY","publicKeyMultib"#,
    r#"ase":"z6MkkQicV1PyeuVL1bceeTADx9jRsFzMc863Sn3J7iUaKeTY","type":"Multikey"}]}"#
);

/// The CID of the same value in DAG-CBOR, computed with the JavaScript packages `cborg` and
/// `multiformats` from [`GOLDEN_JSON`].
const GOLDEN_CBOR_CID: &str = "bafyreib3qjahk3egp3xwdkt5wtgghdqlbd6cgufewqdu35w52i24p5p7xq";

#[test]
fn documents_have_their_known_bytes() {
    let document = document();
    assert_eq!(document.to_json().unwrap(), GOLDEN_JSON);
    assert_eq!(
        document.to_dag_json().unwrap().bytes(),
        GOLDEN_JSON.as_bytes()
    );
    assert_eq!(
        document.to_block().unwrap().cid().to_string(),
        GOLDEN_CBOR_CID
    );
}

#[test]
fn documents_are_read_from_both_codecs() {
    for document in [
        document(),
        DidDocument::new(&identity(Profile::V1), CREATED),
    ] {
        for block in [
            document.to_block().unwrap(),
            document.to_dag_json().unwrap(),
        ] {
            assert_eq!(DidDocument::from_block(&block), Ok(document.clone()));
        }
    }
}

#[test]
fn a_document_tells_keys_names_and_sources() {
    let identity = identity(Profile::V2);
    let mut document = document();
    assert_eq!(*document.id(), identity.did());
    assert_eq!(document.also_known_as(), [identity.did_key_uri()]);
    assert!(document.authorizes(&identity.signer().public()));
    assert!(!document.authorizes(&identity.ipns_signer().public()));
    let sources: Vec<&str> = document.sources().collect();
    assert_eq!(sources, ["https://a.example", "http://[::1]:4780/x"]);
    assert_eq!(document.created(), CREATED);
    assert_eq!(document.updated(), Millis(CREATED.0 + 1));
    document.set_sources(&[], CREATED).unwrap();
    assert_eq!(
        (document.sources().count(), document.services().len()),
        (0, 0)
    );
    assert_eq!(document, DidDocument::new(&identity, CREATED));
}

#[test]
fn sources_that_are_no_addresses_are_refused_and_change_nothing() {
    let mut changed = document();
    let long = format!("https://{}", "x".repeat(DID_URI_BYTES));
    for url in [
        "",
        "a.example",
        "ftp://a",
        "https://",
        "http:///x",
        "https://a b",
        "https://a\n",
        &long,
    ] {
        assert!(
            changed.set_sources(&[url.into()], CREATED).is_err(),
            "{url}"
        );
    }
    let many: Vec<String> = (0..=DID_ENDPOINTS)
        .map(|n| format!("https://{n}.example"))
        .collect();
    assert!(matches!(
        changed.set_sources(&many, CREATED),
        Err(DocumentError::Limit(_))
    ));
    assert_eq!(changed, document());
}

/// The document as a value, changed, as a DAG-CBOR block.
fn changed(change: impl FnOnce(&mut alloc::collections::BTreeMap<String, Value>)) -> Block {
    let Value::Map(mut map) = document().to_value() else {
        panic!("a document is a map");
    };
    change(&mut map);
    Block::new(Codec::DagCbor, dag_cbor::encode(&Value::Map(map)).unwrap()).unwrap()
}

#[test]
fn malformed_documents_are_refused() {
    assert!(DidDocument::from_block(&changed(|_| ())).is_ok());
    for name in [
        "id",
        "verificationMethod",
        "created",
        "updated",
        "@context",
        "authentication",
        "assertionMethod",
    ] {
        let block = changed(|map| drop(map.remove(name)));
        assert!(DidDocument::from_block(&block).is_err(), "without {name}");
        let block = changed(|map| drop(map.insert(name.into(), Value::Int(1))));
        assert!(
            DidDocument::from_block(&block).is_err(),
            "{name} of another kind"
        );
    }
    let block = changed(|map| drop(map.insert("more".into(), Value::Null)));
    assert_eq!(
        DidDocument::from_block(&block),
        Err(DocumentError::NotCanonical)
    );
    let block = changed(|map| drop(map.insert("authentication".into(), Value::List(Vec::new()))));
    assert_eq!(
        DidDocument::from_block(&block),
        Err(DocumentError::NotCanonical)
    );
    let block =
        changed(|map| drop(map.insert("created".into(), "2026-11-21T10:27:00+01:00".into())));
    assert_eq!(
        DidDocument::from_block(&block),
        Err(DocumentError::NotCanonical)
    );
    let block =
        changed(|map| drop(map.insert("verificationMethod".into(), Value::List(Vec::new()))));
    assert_eq!(
        DidDocument::from_block(&block),
        Err(DocumentError::KeyMissing)
    );
    let other = identity(Profile::V1).did().to_string();
    let block = changed(|map| drop(map.insert("id".into(), other.into())));
    assert!(
        DidDocument::from_block(&block).is_err(),
        "services and keys of another id"
    );
    let raw = Block::new(Codec::Raw, document().to_block().unwrap().bytes().clone()).unwrap();
    assert!(matches!(
        DidDocument::from_block(&raw),
        Err(DocumentError::Codec(_))
    ));
}

#[test]
fn a_did_key_document_must_list_its_key() {
    let mut document = DidDocument::new(&identity(Profile::V1), CREATED);
    document.keys = Vec::from([SigningKey::from_seed(&[1; 32]).public()]);
    let block = document.to_block().unwrap();
    assert_eq!(
        DidDocument::from_block(&block),
        Err(DocumentError::KeyMissing)
    );
}

#[test]
fn documents_above_their_limits_are_refused() {
    let limit = |document: &DidDocument| {
        let read = DidDocument::from_block(&document.to_block().unwrap());
        assert!(matches!(read, Err(DocumentError::Limit(_))), "{read:?}");
    };
    let mut keys = document();
    keys.keys = (0..=DID_KEYS as u8)
        .map(|n| SigningKey::from_seed(&[n; 32]).public())
        .collect();
    limit(&keys);
    let mut names = document();
    names.also_known_as = alloc::vec!["did:web:a".into(); DID_NAMES + 1];
    limit(&names);
    let mut services = document();
    services.services = alloc::vec![services.services[0].clone(); DID_SERVICES + 1];
    limit(&services);
    let mut large = document();
    large.services[0].kind = "x".repeat(DID_DOCUMENT_BYTES);
    limit(&large);
    let mut named = document();
    named.services[0].name = "a/b".into();
    let read = DidDocument::from_block(&named.to_block().unwrap());
    assert_eq!(read, Err(DocumentError::ServiceName { name: "a/b".into() }));
}

proptest! {
    #[test]
    fn any_damage_is_read_without_panic(at in 0usize..900, byte: u8, cut in 0usize..900) {
        for block in [document().to_block().unwrap(), document().to_dag_json().unwrap()] {
            let codec = Codec::from_code(block.cid().codec()).unwrap();
            let mut bytes = block.bytes().to_vec();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(bytes.len().saturating_sub(cut % 7));
            if let Ok(read) = DidDocument::from_block(&Block::new(codec, bytes.clone()).unwrap()) {
                let again = match codec {
                    Codec::DagCbor => read.to_block(),
                    _ => read.to_dag_json(),
                };
                let (_, again) = again.unwrap().into_parts();
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
