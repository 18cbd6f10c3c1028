//! What several scenarios do: a user with an identity and labels.

use perennis_tests::home::Home;
use serde_json::Value;

/// A passphrase that passes the gate.
pub(crate) const PHRASE: &str = "orbit velvet canyon ladder mosaic thimble";

/// A user who has an identity from [`PHRASE`], and the file that holds the phrase.
pub(crate) fn with_identity() -> (Home, String) {
    with_phrase(PHRASE)
}

/// A user who has an identity from a phrase, and the file that holds it.
pub(crate) fn with_phrase(phrase: &str) -> (Home, String) {
    let user = Home::new();
    let file = user.file("phrase", format!("{phrase}\n"));
    user.json(&["id", "new", "--passphrase-file", &file]);
    (user, file)
}

/// The DID of the user's identity.
pub(crate) fn did(user: &Home) -> String {
    user.json(&["id", "show"])["did"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Handle and label of every label in a list document.
pub(crate) fn pairs(list: &Value) -> Vec<(String, String)> {
    list["labels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|label| {
            let text = |field: &str| label[field].as_str().unwrap().to_owned();
            (text("handle"), text("label"))
        })
        .collect()
}
