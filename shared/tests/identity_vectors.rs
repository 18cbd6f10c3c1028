//! Identities and IPNS records against the vectors of public specifications and other implementations.
//!
//! The vectors are not part of this repository: they are read from the folder that `PERENNIS_VECTORS` names, or from
//! `shared/vectors` beside the repository. Without it each test says so and is skipped.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use perennis_shared::did::{Did, Identity, Profile, key_document};
use perennis_shared::ipns::{Name, RecordError, UnverifiedRecord};
use perennis_shared::sign::SigningKey;
use perennis_shared::time::Millis;
use serde_json::{Value, json};

fn vectors(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PERENNIS_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"),
        PathBuf::from,
    );
    let path = root.join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!(
        "skipped: no vectors at {}; set PERENNIS_VECTORS",
        path.display()
    );
    None
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn seed(text: &Value) -> [u8; 32] {
    hex::decode(text.as_str().unwrap())
        .unwrap()
        .try_into()
        .unwrap()
}

#[test]
fn derivation_v1_is_bit_exact() {
    let Some(folder) = vectors("did") else { return };
    let table = read_json(&folder.join("derivation-v1.json"));
    let table = table.as_array().unwrap();
    assert!(table.len() >= 12);
    for row in table {
        let text = |name: &str| row[name].as_str().unwrap();
        let identity = Identity::derive_v1(text("passphrase").as_bytes()).unwrap();
        assert_eq!(*identity.root(), seed(&row["seed"]), "{row}");
        assert_eq!(
            hex::encode(identity.signer().public().to_bytes()),
            text("public_key")
        );
        assert_eq!(identity.profile(), Profile::V1);
        assert_eq!(identity.did().to_string(), text("did"));
        assert_eq!(identity.name().to_string(), text("ipns_name"));
        assert_eq!(identity.name().peer_id(), text("peer_id"));
        assert_eq!(Name::parse(text("ipns_name")), Name::parse(text("peer_id")));
        assert_eq!(Did::parse(text("did")).unwrap().name(), identity.name());
    }
}

/// The vectors give documents in the form of the suites of 2018 and 2019; ours have the same content as Multikeys. The
/// test turns ours into theirs and compares all of it.
#[test]
fn did_key_documents_say_what_the_method_specification_says() {
    let Some(folder) = vectors("did") else { return };
    let table = read_json(&folder.join("did-key-ed25519.json"));
    let table = table.as_object().unwrap();
    assert!(table.len() >= 3);
    for (did, row) in table {
        let key = SigningKey::from_seed(&seed(&row["seed"])).public();
        assert_eq!(Did::from_key(&key).to_string(), *did);
        assert_eq!(Did::parse(did).unwrap().public_key(), Some(key));
        let mut document: Value = serde_json::from_str(&key_document(&key)).unwrap();
        document["@context"] = row["didDocument"]["@context"].clone();
        let suites = ["Ed25519VerificationKey2018", "X25519KeyAgreementKey2019"];
        for (method, suite) in document["verificationMethod"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .zip(suites)
        {
            let multikey = method["publicKeyMultibase"].as_str().unwrap();
            assert_eq!(method["type"], "Multikey");
            let (_, bytes) = multibase::decode(multikey).unwrap();
            let base58 = multibase::encode(multibase::Base::Base58Btc, &bytes[2..]);
            let (id, controller) = (method["id"].clone(), method["controller"].clone());
            *method = json!({
                "id": id, "type": suite, "controller": controller, "publicKeyBase58": base58[1..]
            });
        }
        assert_eq!(document, row["didDocument"]);
    }
}

#[test]
fn records_of_the_gateway_conformance_suite_are_judged_as_it_says() {
    let Some(folder) = vectors("ipns") else {
        return;
    };
    let mut judged = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "ipns-record")
        {
            continue;
        }
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let (name, kind) = stem.split_once('_').unwrap_or((stem, ""));
        let name = Name::parse(name).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        // All are valid until 2123 or later; this is in 2026.
        let read = UnverifiedRecord::parse(&bytes)
            .and_then(|record| record.verify(&name, Millis(1_795_000_000_000)));
        if kind == "v1-v2-broken-signature-v2" {
            assert_eq!(read, Err(RecordError::BadSignature), "{stem}");
        } else {
            let record = read.unwrap_or_else(|error| panic!("{stem}: {error}"));
            let value = match kind {
                "v1-v2" => "/ipfs/bafkqaddwgevxmmraojswg33smq",
                "v2" => "/ipfs/bafkqadtwgiww63tmpeqhezldn5zgi",
                "v1-v2-broken-signature-v1" => {
                    "/ipfs/bafkqahtwgevxmmrao5uxi2bamjzg623fnyqhg2lhnzqxi5lsmuqhmmi"
                }
                _ => record.path().unwrap(),
            };
            assert_eq!(record.path(), Some(value), "{stem}");
            assert!(value.starts_with("/ipfs/"), "{stem}");
            let other =
                Name::parse("k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9")
                    .unwrap();
            let read = UnverifiedRecord::parse(&bytes)
                .unwrap()
                .verify_at_any_time(&other);
            assert_eq!(read, Err(RecordError::BadSignature), "{stem}");
        }
        judged.push(kind.to_string());
    }
    judged.sort();
    assert_eq!(
        judged,
        [
            "",
            "",
            "",
            "",
            "v1-v2",
            "v1-v2-broken-signature-v1",
            "v1-v2-broken-signature-v2",
            "v2"
        ]
    );
}
