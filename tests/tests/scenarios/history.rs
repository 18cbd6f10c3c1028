//! The signed log: what was changed when, what differs, and how it is compacted.

use perennis_tests::node::Node;

use crate::user::{did, pairs, publish, with_identity};

#[test]
fn the_log_tells_what_changed_and_compaction_keeps_every_label() {
    let (user, file) = with_identity();
    let node = Node::start(&user.beside("node"));
    user.json(&["label", "add", "@one", "spam"]);
    let first = publish(&user, &file, &[&node]);
    user.json(&["label", "add", "@two", "bot"]);
    user.json(&["label", "remove", "@one", "spam"]);
    let second = publish(&user, &file, &[&node]);

    let log = user.json(&["log", "show"]);
    assert_eq!(log["complete"], true);
    assert_eq!(log["entries"][0]["cid"], second["head"]);
    assert_eq!(log["entries"][1]["cid"], first["head"]);
    assert_eq!(log["entries"][0]["changes"], 2);

    let (old, new) = (&first["head"], &second["head"]);
    let (old, new) = (old.as_str().unwrap(), new.as_str().unwrap());
    let diff = user.json(&["diff", old, new]);
    assert_eq!(diff["added"], 1);
    assert_eq!(diff["removed"], 1);
    assert_eq!(user.json(&["diff", old]), diff, "`head` is the newest");
    user.error(2, &["diff", "nonsense"]);

    let compacted = user.json(&["log", "compact", "--passphrase-file", &file]);
    assert_eq!(compacted["before"], second["head"]);
    let log = user.json(&["log", "show"]);
    assert_eq!(log["entries"].as_array().unwrap().len(), 1);
    assert_eq!(log["entries"][0]["kind"], "compaction");
    let did = did(&user);
    let list = user.json(&["label", "list", "--did", &did, "--node", node.url()]);
    assert_eq!(pairs(&list), [("@two".to_owned(), "bot".to_owned())]);
}
