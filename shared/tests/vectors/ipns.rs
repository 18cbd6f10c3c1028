//! IPNS records of the gateway conformance suite, `<name>[_<kind>].ipns-record`.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use perennis_shared::ipns::{Name, RecordError, UnverifiedRecord};
use perennis_shared::time::Millis;

/// In 2026; all records are valid until 2123 or later.
const NOW: Millis = Millis(1_795_000_000_000);

/// Adds one test for each record.
pub(crate) fn add(folder: &Path, trials: &mut Vec<Trial>) {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "ipns-record")
        })
        .collect();
    paths.sort();
    assert!(
        paths.len() >= 8,
        "some records are missing from {}",
        folder.display()
    );
    for path in paths {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_string();
        trials.push(Trial::test(format!("ipns {stem}"), move || {
            is_judged_as_the_suite_says(&stem, &fs::read(&path)?)
        }));
    }
}

fn is_judged_as_the_suite_says(stem: &str, bytes: &[u8]) -> Result<(), Failed> {
    let (name, kind) = stem.split_once('_').unwrap_or((stem, ""));
    let name = Name::parse(name)?;
    let read = UnverifiedRecord::parse(bytes).and_then(|record| record.verify(&name, NOW));
    let value = match kind {
        "v1-v2-broken-signature-v2" => {
            assert_eq!(read, Err(RecordError::BadSignature));
            return Ok(());
        }
        "v1-v2" => Some("/ipfs/bafkqaddwgevxmmraojswg33smq"),
        "v2" => Some("/ipfs/bafkqadtwgiww63tmpeqhezldn5zgi"),
        "v1-v2-broken-signature-v1" => {
            Some("/ipfs/bafkqahtwgevxmmrao5uxi2bamjzg623fnyqhg2lhnzqxi5lsmuqhmmi")
        }
        "" => None,
        other => return Err(format!("no rule for records of kind {other}").into()),
    };
    let record = read?;
    let path = record.path().unwrap();
    assert_eq!(path, value.unwrap_or(path));
    assert!(path.starts_with("/ipfs/"), "{path}");
    let stranger = Name::parse("k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9")?;
    let read = UnverifiedRecord::parse(bytes)?.verify_at_any_time(&stranger);
    assert_eq!(read, Err(RecordError::BadSignature));
    Ok(())
}
