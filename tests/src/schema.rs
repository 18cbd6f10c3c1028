//! Holds real output against the schema files under `docs/schema`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use jsonschema::Validator;
use serde_json::Value;

use crate::binary::workspace;

/// Commands that have commands below them.
const GROUPS: [&str; 14] = [
    "id", "label", "log", "home", "node", "store", "name", "pin", "config", "record", "car", "dag",
    "peers", "snapshot",
];

/// The folder of the command line's schemas.
#[must_use]
pub fn folder() -> PathBuf {
    workspace().join("docs/schema/cli")
}

/// The schema's name for a command line: `label list …` is `label-list`.
pub fn name_of<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    let mut words = arguments
        .iter()
        .filter_map(|argument| argument.as_ref().to_str())
        .filter(|argument| !argument.starts_with('-'));
    let command = words.next().unwrap_or_default();
    match words.next() {
        Some(below) if GROUPS.contains(&command) => {
            format!("{command}-{below}")
        }
        _ => command.to_owned(),
    }
}

/// Holds a document against the schema `name`.
///
/// # Panics
/// When there is no such schema, or the document is not what it says.
#[track_caller]
pub fn check(name: &str, document: &Value) {
    let problems = problems(name, document);
    assert!(
        problems.is_empty(),
        "not what docs/schema/cli/{name}.json says:\n{}\n{document:#}",
        problems.join("\n")
    );
}

/// Where a document is not what the schema `name` says; empty when it is.
///
/// # Panics
/// When there is no such schema.
#[must_use]
pub fn problems(name: &str, document: &Value) -> Vec<String> {
    static SCHEMAS: OnceLock<Mutex<BTreeMap<String, Validator>>> = OnceLock::new();
    let mut schemas = SCHEMAS
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let validator = schemas.entry(name.to_owned()).or_insert_with(|| load(name));
    validator
        .iter_errors(document)
        .map(|problem| format!("{}: {problem}", problem.instance_path()))
        .collect()
}

fn load(name: &str) -> Validator {
    let path = folder().join(format!("{name}.json"));
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let schema: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
