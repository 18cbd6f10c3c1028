//! Derivation and DIDs: `derivation-v1.json` and `did-key-ed25519.json`.

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use perennis_shared::codec::dag_json;
use perennis_shared::did::{Core, Did, Identity, KeyDid, Profile};
use perennis_shared::ipns::Name;
use perennis_shared::sign::SigningKey;
use serde_json::{Value, json};

/// Adds one test for each row of the two files.
pub(crate) fn add(folder: &Path, trials: &mut Vec<Trial>) {
    let rows = read_json(&folder.join("derivation-v1.json"));
    for row in rows.as_array().unwrap().clone() {
        let name = format!("did derivation-v1 {}", row["did"].as_str().unwrap());
        trials.push(Trial::test(name, move || derivation_v1_is_bit_exact(&row)));
    }
    let documents = read_json(&folder.join("did-key-ed25519.json"));
    for (did, row) in documents.as_object().unwrap().clone() {
        let name = format!("did did-key {did}");
        trials.push(Trial::test(name, move || {
            document_is_that_of_the_method(&did, &row)
        }));
    }
}

fn derivation_v1_is_bit_exact(row: &Value) -> Result<(), Failed> {
    let text = |name: &str| row[name].as_str().unwrap();
    let identity = Identity::derive_v1(text("passphrase").as_bytes())?;
    assert_eq!(*identity.root(), seed(&row["seed"]));
    let public = identity.signer().public();
    assert_eq!(hex::encode(public.to_bytes()), text("public_key"));
    assert_eq!(identity.profile(), Profile::V1);
    assert_eq!(identity.did().to_string(), text("did"));
    assert_eq!(identity.name().to_string(), text("ipns_name"));
    assert_eq!(identity.name().peer_id(), text("peer_id"));
    assert_eq!(Name::parse(text("ipns_name")), Name::parse(text("peer_id")));
    assert_eq!(Did::parse(text("did"))?.name(), identity.name());
    Ok(())
}

/// The vectors give documents in the form of the suites of 2018 and 2019; ours have the same content
/// as Multikeys. This turns ours into theirs and compares all of it.
fn document_is_that_of_the_method(did: &str, row: &Value) -> Result<(), Failed> {
    let key = SigningKey::from_seed(&seed(&row["seed"])).public();
    assert_eq!(Did::from_key(&key).to_string(), did);
    assert_eq!(Did::parse(did)?.public_key(), Some(key));
    let mut document: Value = {
        let document = KeyDid::from_ed25519(&key).document(Core::V1);
        serde_json::from_str(&dag_json::encode(&document)?)?
    };
    document["@context"] = row["didDocument"]["@context"].clone();
    let methods = document["verificationMethod"].as_array_mut().unwrap();
    let suites = ["Ed25519VerificationKey2018", "X25519KeyAgreementKey2019"];
    for (method, suite) in methods.iter_mut().zip(suites) {
        assert_eq!(method["type"], "Multikey");
        let (_, bytes) = multibase::decode(method["publicKeyMultibase"].as_str().unwrap())?;
        let base58 = multibase::encode(multibase::Base::Base58Btc, &bytes[2..]);
        *method = json!({
            "id": method["id"],
            "type": suite,
            "controller": method["controller"],
            "publicKeyBase58": base58[1..],
        });
    }
    assert_eq!(document, row["didDocument"]);
    Ok(())
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The seed that is written in hexadecimal.
pub(crate) fn seed(text: &Value) -> [u8; 32] {
    hex::decode(text.as_str().unwrap())
        .unwrap()
        .try_into()
        .unwrap()
}
