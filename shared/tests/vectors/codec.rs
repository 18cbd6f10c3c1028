//! One value in several codecs, named by its CIDs: `<name>/<cid>.<codec>`.

use std::{collections::BTreeMap, fs, path::Path};

use libtest_mimic::{Failed, Trial};
use perennis_shared::{
    cid::{Codec, cid_of},
    codec::{CodecError, Value, dag_cbor, dag_json, dag_pb},
};

type Decode = fn(&[u8]) -> Result<Value, CodecError>;
type Encode = fn(Value) -> Result<Vec<u8>, CodecError>;

/// Codecs by the ending of their files.
static CODECS: [(&str, Codec, Decode, Encode); 3] = [
    ("dag-cbor", Codec::DagCbor, dag_cbor::decode, |value| {
        dag_cbor::encode(&value)
    }),
    ("dag-json", Codec::DagJson, dag_json::decode, |value| {
        dag_json::encode_bytes(&value)
    }),
    (
        "dag-pb",
        Codec::DagPb,
        |bytes| dag_pb::decode(bytes).and_then(dag_pb::Node::into_value),
        |value| dag_pb::encode(&dag_pb::Node::from_value(value)?),
    ),
];

/// Adds a test for each file of the folder, and one that the folder has any.
pub(crate) fn add(folder: &Path, trials: &mut Vec<Trial>) {
    let mut names: Vec<_> = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    names.sort();
    let count = names.len();
    trials.push(Trial::test("codec vectors are there", move || {
        (count >= 50)
            .then_some(())
            .ok_or_else(|| Failed::from(format!("only {count} of them")))
    }));
    for path in names {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        trials.push(Trial::test(format!("codec {name}"), move || {
            check_folder(&path)
        }));
    }
}

/// The forms of a value by the endings of their files: the CID it is named by, and its bytes.
pub(crate) type Forms = BTreeMap<String, (String, Vec<u8>)>;

fn check_folder(folder: &Path) -> Result<(), Failed> {
    let mut forms = Forms::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let ending = path.extension().unwrap().to_string_lossy().into_owned();
        forms.insert(ending, (stem, fs::read(&path)?));
    }
    check(&forms)
}

/// Every form of the value has the CID it is named by, comes back byte for byte, and becomes every
/// other form.
pub(crate) fn check(forms: &Forms) -> Result<(), Failed> {
    if forms.len() < 2 {
        return Err("fewer than two forms".into());
    }
    for (ending, (cid, bytes)) in forms {
        let (_, number, decode, _) = codec(ending)?;
        if cid_of(*number, bytes).to_string() != *cid {
            return Err(format!("{ending}: another CID").into());
        }
        let value = decode(bytes).map_err(|error| format!("{ending}: {error}"))?;
        for (other, (_, expected)) in forms {
            let (.., encode) = codec(other)?;
            let encoded =
                encode(value.clone()).map_err(|error| format!("{ending} to {other}: {error}"))?;
            if encoded != *expected {
                return Err(format!("{ending} to {other}: {}", hex::encode(encoded)).into());
            }
        }
    }
    Ok(())
}

/// Reads bytes in the codec of this ending.
pub(crate) fn decode(ending: &str, bytes: &[u8]) -> Result<Value, Failed> {
    let (_, _, decode, _) = codec(ending)?;
    Ok(decode(bytes)?)
}

fn codec(ending: &str) -> Result<&'static (&'static str, Codec, Decode, Encode), Failed> {
    let known = CODECS.iter().find(|(name, ..)| *name == ending);
    known.ok_or_else(|| Failed::from(format!("codec {ending} is unknown")))
}
