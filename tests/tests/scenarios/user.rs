//! What several scenarios do: a user with an identity, labels, and a node to publish to.

use perennis_tests::home::Home;
use perennis_tests::node::Node;
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

/// Publishes and returns the document; every named node must have stored it.
#[track_caller]
pub(crate) fn publish(user: &Home, file: &str, nodes: &[&Node]) -> Value {
    let mut arguments = vec!["publish", "--passphrase-file", file];
    for node in nodes {
        arguments.extend(["--node", node.url()]);
    }
    let published = user.json(&arguments);
    for node in published["nodes"].as_array().unwrap() {
        assert_eq!(node["stored"], true, "{published:#}");
    }
    published
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
