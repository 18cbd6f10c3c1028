//! The main job: publish, lose the client, resolve, restore, share a file.

use perennis_tests::home::Home;
use perennis_tests::node::Node;

use crate::user::{did, pairs, publish, with_identity, with_phrase};

#[test]
fn the_passphrase_alone_brings_everything_back() {
    let (user, file) = with_identity();
    let node = Node::start(&user.beside("node"));
    user.json(&["label", "add", "@one", "spam", "--note", "a remark"]);
    user.json(&["label", "add", "@two", "friend"]);
    let published = publish(&user, &file, &[&node]);
    assert_eq!(published["did"], did(&user).as_str());
    let before = user.json(&["label", "list"]);
    assert_eq!(before["staged"], 0);
    assert_eq!(before["head"], published["head"]);

    user.delete();
    let restore = ["restore", "--passphrase-file", &file, "--node", node.url()];
    let restored = user.json(&restore);
    for field in ["did", "name", "head", "sequence", "validUntil"] {
        assert_eq!(restored[field], published[field], "{field}");
    }
    assert_eq!(restored["labels"], 2);
    assert_eq!(restored["source"], node.url());
    assert_eq!(user.json(&["label", "list"]), before);

    // The restored home goes on where the lost one was.
    user.json(&["label", "add", "@three", "bot"]);
    let next = publish(&user, &file, &[&node]);
    assert!(next["sequence"].as_u64() > published["sequence"].as_u64());
}

#[test]
fn anybody_resolves_and_reads_a_published_list() {
    let (user, file) = with_identity();
    let node = Node::start(&user.beside("node"));
    user.json(&["label", "add", "@one", "spam"]);
    user.json(&["label", "add", "@other", "bot"]);
    let published = publish(&user, &file, &[&node]);
    let did = did(&user);

    let stranger = Home::new();
    for asked in [did.as_str(), published["name"].as_str().unwrap()] {
        let resolved = stranger.json(&["resolve", asked, "--node", node.url()]);
        for field in ["name", "head", "sequence", "validUntil"] {
            assert_eq!(resolved[field], published[field], "{asked} {field}");
        }
        assert_eq!(resolved["source"], node.url());
    }
    let list = stranger.json(&[
        "label",
        "list",
        "--did",
        &did,
        "--prefix",
        "@on",
        "--node",
        node.url(),
    ]);
    assert_eq!(pairs(&list), [("@one".to_owned(), "spam".to_owned())]);
    assert_eq!(list["head"], published["head"]);
}

#[test]
fn the_home_remembers_its_nodes() {
    let (user, file) = with_identity();
    let node = Node::start(&user.beside("node"));
    user.json(&["label", "add", "@one", "spam"]);
    publish(&user, &file, &[&node]);
    user.json(&["label", "add", "@two", "spam"]);
    let again = user.json(&["publish", "--passphrase-file", &file]);
    assert_eq!(again["nodes"][0]["url"], node.url());
    // So do questions that everybody may ask.
    let shown = user.json(&["name", "show", &did(&user)]);
    assert_eq!(shown["pin"], "pinned");
}

#[test]
fn one_node_of_two_is_enough_and_each_outcome_is_told() {
    let (user, file) = with_identity();
    let node = Node::start(&user.beside("one"));
    let mut down = Node::start(&user.beside("two"));
    let down_url = down.url().to_owned();
    down.kill();
    user.json(&["label", "add", "@one", "spam"]);
    let both = [
        "publish",
        "--passphrase-file",
        &file,
        "--node",
        node.url(),
        "--node",
        &down_url,
    ];
    let published = user.json(&both);
    let outcome = |url: &str| {
        let nodes = published["nodes"].as_array().unwrap();
        nodes
            .iter()
            .find(|node| node["url"] == url)
            .unwrap()
            .clone()
    };
    assert_eq!(outcome(node.url())["stored"], true);
    assert_eq!(outcome(&down_url)["stored"], false);
    assert!(outcome(&down_url)["error"]["hint"].is_string());

    down.restart();
    let later = user.json(&both);
    assert_eq!(
        later["head"], published["head"],
        "nothing was changed in between"
    );
    assert!(
        later["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .all(|node| node["stored"] == true),
        "{later:#}"
    );
    let resolved = Home::new().json(&["resolve", &did(&user), "--node", down.url()]);
    assert_eq!(resolved["head"], published["head"]);
}

#[test]
fn with_no_node_reachable_nothing_is_lost_and_the_next_publish_sends_it() {
    let (user, file) = with_identity();
    let mut node = Node::start(&user.beside("node"));
    let url = node.url().to_owned();
    node.kill();
    user.json(&["label", "add", "@one", "spam"]);
    let arguments = ["publish", "--passphrase-file", &file, "--node", &url];
    let failed = user.run_json(&arguments).document(5, &arguments);
    assert_eq!(failed["nodes"][0]["stored"], false);
    let missing = Home::new();
    let resolve = ["resolve", &did(&user), "--node", &url];
    missing.error(5, &resolve);

    node.restart();
    assert_eq!(missing.error(4, &resolve)["code"], "not_found");
    let published = user.json(&arguments);
    assert_eq!(published["nodes"][0]["stored"], true);
    assert_eq!(pairs(&user.json(&["label", "list"])).len(), 1);
}

#[test]
fn a_wrong_passphrase_names_both_identities_and_signs_nothing() {
    let (user, file) = with_identity();
    let node = Node::start(&user.beside("node"));
    user.json(&["label", "add", "@one", "spam"]);
    let wrong = user.file("wrong", "orbit velvet canyon ladder mosaic thimbles");
    let derived = user.json(&["id", "derive", "--passphrase-file", &wrong]);
    let publish_wrong = ["publish", "--passphrase-file", &wrong, "--node", node.url()];
    let error = user.error(3, &publish_wrong);
    assert_eq!(error["code"], "wrong_passphrase");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains(derived["did"].as_str().unwrap()),
        "{message}"
    );
    assert!(message.contains(&did(&user)), "{message}");
    let names = node.json("/v1/names");
    assert!(names["names"].as_array().unwrap().is_empty(), "{names}");
    publish(&user, &file, &[&node]);
}

#[test]
fn restoring_a_passphrase_nobody_knows_leaves_no_trace() {
    let user = Home::new();
    let node = Node::start(&user.beside("node"));
    let file = user.file("phrase", "thimble mosaic ladder canyon velvet orbit");
    let restore = ["restore", "--passphrase-file", &file, "--node", node.url()];
    let error = user.error(4, &restore);
    assert!(error["message"].as_str().unwrap().contains("did:ipns:"));
    assert!(
        error["message"].as_str().unwrap().contains("did:key:"),
        "v1 was not tried"
    );
    assert!(!user.path().exists(), "a home was made for nothing");
    assert_eq!(user.error(4, &["id", "show"])["code"], "no_identity");
}

#[test]
fn an_identity_of_the_extension_is_restored_without_naming_its_profile() {
    let user = Home::new();
    let node = Node::start(&user.beside("node"));
    let file = user.file("phrase", "an old passphrase of the extension");
    user.json(&["id", "new", "--profile", "v1", "--passphrase-file", &file]);
    user.json(&["label", "add", "@one", "spam"]);
    let published = publish(&user, &file, &[&node]);
    assert!(
        published["did"]
            .as_str()
            .unwrap()
            .starts_with("did:key:z6Mk")
    );
    user.delete();
    let restored = user.json(&["restore", "--passphrase-file", &file, "--node", node.url()]);
    assert_eq!(restored["profile"], "v1");
    assert_eq!(restored["head"], published["head"]);
}

#[test]
fn two_devices_of_one_identity_lose_nothing() {
    let (one, file) = with_identity();
    let node = Node::start(&one.beside("node"));
    one.json(&["label", "add", "@first", "spam"]);
    publish(&one, &file, &[&node]);
    let two = Home::new();
    two.json(&["restore", "--passphrase-file", &file, "--node", node.url()]);

    one.json(&["label", "add", "@from_one", "spam"]);
    two.json(&["label", "add", "@from_two", "bot"]);
    publish(&one, &file, &[&node]);
    publish(&two, &file, &[&node]);
    publish(&one, &file, &[&node]);
    let did = did(&one);
    let list = Home::new().json(&["label", "list", "--did", &did, "--node", node.url()]);
    let handles: Vec<String> = pairs(&list).into_iter().map(|(handle, _)| handle).collect();
    assert_eq!(handles, ["@first", "@from_one", "@from_two"]);
}

#[test]
fn one_file_holds_everything() {
    let (user, file) = with_identity();
    let node = Node::start(&user.beside("node"));
    user.json(&["label", "add", "@one", "spam"]);
    let error = user.error(3, &["export", "early.car"]);
    assert!(error["hint"].as_str().unwrap().contains("publish"));
    let published = publish(&user, &file, &[&node]);
    let capsule = user.beside("me.car");
    let path = capsule.to_str().unwrap();
    let exported = user.json(&["export", path]);
    assert_eq!(exported["head"], published["head"]);
    assert_eq!(user.error(3, &["export", path])["code"], "file_exists");
    let verdict = user.json(&["car", "verify", path]);
    assert_eq!(verdict["complete"], true);
    assert_eq!(verdict["roots"][0], published["head"]);

    let other = Home::new();
    let imported = other.json(&["import", path]);
    assert_eq!(imported["head"], published["head"]);
    assert_eq!(pairs(&other.json(&["label", "list"])).len(), 1);
    assert_eq!(other.json(&["id", "show"])["did"], published["did"]);

    let (stranger, _) = with_phrase("thimble mosaic ladder canyon velvet orbit");
    assert_eq!(
        stranger.error(3, &["import", path])["code"],
        "other_identity"
    );
    let whole = std::fs::read(&capsule).unwrap();
    let cut = user.file("cut.car", &whole[..whole.len() - 10]);
    let fresh = Home::new();
    fresh.error(3, &["import", &cut]);
    assert_eq!(fresh.error(4, &["id", "show"])["code"], "no_identity");
}
