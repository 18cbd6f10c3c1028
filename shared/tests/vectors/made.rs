//! The vectors that lie here: what other implementations made of values, records, identities and documents.

use libtest_mimic::{Failed, Trial};
use multibase::Base;
use perennis_shared::codec::dag_json;
use perennis_shared::did::{Core, Did, Identity, KeyDid, Profile, Purpose};
use perennis_shared::ipns::{Name, Record, UnverifiedRecord, select};
use perennis_shared::sign::SigningKey;
use perennis_shared::time::Millis;
use serde_json::{Value, json};

use crate::codec;
use crate::did::seed;

/// In 2026; the records that are not to have ended do so in 2050 or later.
const NOW: Millis = Millis(1_795_000_000_000);

/// Adds one test for each vector.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    let values = read(include_str!("made/values.json"));
    let records = read(include_str!("made/records.json"));
    let identities = read(include_str!("made/identities.json"));
    for (name, vector) in each("value", &values["values"]) {
        trials.push(Trial::test(name, move || value_in_every_codec(&vector)));
    }
    for (name, vector) in each("bytes", &values["refused"]) {
        trials.push(Trial::test(name, move || bytes_are_refused(&vector)));
    }
    for (name, vector) in each("record", &records["records"]) {
        trials.push(Trial::test(name, move || record_is_judged(&vector)));
    }
    for (name, vector) in each("records", &records["selections"]) {
        trials.push(Trial::test(name, move || best_record_is_selected(&vector)));
    }
    for (name, vector) in each("identity", &identities["identities"]) {
        trials.push(Trial::test(name, move || identity_is_derived(&vector)));
    }
    for (name, vector) in each("document", &identities["documents"]) {
        trials.push(Trial::test(name, move || document_is_the_same(&vector)));
    }
}

/// Vectors of one kind, each with the name of its test.
fn each(kind: &str, list: &Value) -> Vec<(String, Value)> {
    let list = list.as_array().unwrap().iter().enumerate();
    let named = list.map(|(index, vector)| {
        let what = vector["what"].as_str().unwrap_or_default();
        (format!("made {kind} {index} {what}"), vector.clone())
    });
    named.collect()
}

fn value_in_every_codec(vector: &Value) -> Result<(), Failed> {
    let mut forms = codec::Forms::new();
    for (ending, form) in vector.as_object().unwrap() {
        if ending == "what" {
            continue;
        }
        let (cid, written) = (text(&form[0]), text(&form[1]));
        let bytes = match ending.as_str() {
            "dag-json" => written.as_bytes().to_vec(),
            _ => hex::decode(written)?,
        };
        forms.insert(ending.clone(), (cid.to_owned(), bytes));
    }
    codec::check(&forms)
}

fn bytes_are_refused(vector: &Value) -> Result<(), Failed> {
    let bytes = hex::decode(text(&vector["bytes"]))?;
    match codec::decode(text(&vector["codec"]), &bytes) {
        Ok(value) => Err(format!("read as {value:?}").into()),
        Err(_) => Ok(()),
    }
}

fn record_of(name: &Value, record: &Value) -> Result<Record, perennis_shared::ipns::RecordError> {
    let name = Name::parse(text(name)).unwrap();
    UnverifiedRecord::parse(&bytes_of(record))?.verify(&name, NOW)
}

fn record_is_judged(vector: &Value) -> Result<(), Failed> {
    let read = record_of(&vector["name"], &vector["record"]);
    if let Some(refused) = vector["refused"].as_str() {
        return match read {
            Ok(_) => Err("it is accepted".into()),
            Err(error) if error.code() == refused => Ok(()),
            Err(error) => Err(format!("refused as {}: {error}", error.code()).into()),
        };
    }
    let record = read?;
    let unverified = UnverifiedRecord::parse(record.bytes())?;
    let told = json!({
        "what": vector["what"],
        "name": vector["name"],
        "key": vector["key"],
        "record": vector["record"],
        "v1": unverified.has_v1(),
        "value": std::str::from_utf8(record.value())?,
        "sequence": record.sequence().to_string(),
        "validity": vector["validity"],
        "ttl": record.ttl_ns().to_string(),
    });
    assert_eq!(&told, vector);
    // One has as many nanoseconds as it needs, the other all nine.
    let (ours, theirs) = (record.validity().to_string(), text(&vector["validity"]));
    let plain = |time: &str| time.trim_end_matches('Z').trim_end_matches('0').to_owned();
    assert_eq!(plain(&ours), plain(theirs));
    let stranger = Name::parse("k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9")?;
    let of_stranger = unverified.verify_at_any_time(&stranger);
    assert!(of_stranger.is_err(), "it is one of any name");
    Ok(())
}

fn best_record_is_selected(vector: &Value) -> Result<(), Failed> {
    let list = vector["records"].as_array().unwrap();
    let records: Vec<Record> = list
        .iter()
        .map(|record| record_of(&vector["name"], record))
        .collect::<Result<_, _>>()?;
    let best = usize::try_from(vector["best"].as_u64().unwrap())?;
    assert_eq!(select(&records), Some(&records[best]));
    assert_eq!(select(records.iter().rev()), Some(&records[best]));
    Ok(())
}

fn identity_is_derived(vector: &Value) -> Result<(), Failed> {
    let (passphrase, account) = (text(&vector["passphrase"]), text(&vector["account"]));
    let identity = match Profile::parse(text(&vector["profile"])) {
        Some(Profile::V1) => Identity::derive_v1(passphrase.as_bytes())?,
        Some(Profile::V2) => Identity::derive_v2(passphrase, account)?,
        None => return Err("another profile".into()),
    };
    let told = json!({
        "profile": identity.profile().as_str(),
        "passphrase": passphrase,
        "account": account,
        "root": hex::encode(identity.root()),
        "didSeed": hex::encode(*identity.secret(Purpose::Did)),
        "ipnsSeed": hex::encode(*identity.secret(Purpose::Ipns)),
        "publicKey": hex::encode(identity.signer().public().to_bytes()),
        "didKey": identity.did_key_uri(),
        "name": identity.name().to_string(),
        "peerId": identity.name().peer_id(),
        "did": identity.did().to_string(),
    });
    assert_eq!(&told, vector);
    Ok(())
}

/// The document of the method, and the key for agreement, which comes from an implementation that has no document of this form.
fn document_is_the_same(vector: &Value) -> Result<(), Failed> {
    let key = SigningKey::from_seed(&seed(&vector["seed"])).public();
    let mut document: Value = {
        let document = KeyDid::from_ed25519(&key).document(Core::V1);
        serde_json::from_str(&dag_json::encode(&document)?)?
    };
    let agreement = document["verificationMethod"]
        .as_array_mut()
        .unwrap()
        .remove(1);
    assert_eq!(agreement["publicKeyMultibase"], vector["agreement"]);
    let references = document.as_object_mut().unwrap().remove("keyAgreement");
    assert_eq!(references, Some(json!([agreement["id"]])));
    assert_eq!(document, vector["didDocument"]);
    assert_eq!(Did::parse(text(&document["id"]))?.public_key(), Some(key));
    Ok(())
}

fn read(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Bytes that are written in base64.
fn bytes_of(value: &Value) -> Vec<u8> {
    Base::Base64Pad.decode(text(value)).unwrap()
}
