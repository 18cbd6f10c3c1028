//! Commands that only read work where nothing can be written, and those that write say what is in the way.

use perennis_tests::home::Home;
use perennis_tests::node::Node;
use perennis_tests::small_disk::SmallDisk;

use crate::user::{pairs, publish, with_identity};

#[test]
fn what_only_reads_works_in_a_home_on_a_file_system_that_is_read_only() {
    let (user, phrase) = with_identity();
    let node = Node::start(&user.beside("data"));
    user.json(&["label", "add", "@one", "spam"]);
    publish(&user, &phrase, &[&node]);
    user.json(&["label", "add", "@two", "friend"]);
    let Some(disk) = SmallDisk::of_read_only(&user.path()) else {
        return;
    };
    let run = |arguments: &[&str]| user.run_json_inside(&disk, arguments);
    let read = |arguments: &[&str]| run(arguments).document(0, arguments);
    let listed = read(&["label", "list"]);
    assert_eq!(pairs(&listed).len(), 2, "{listed:#}");
    assert_eq!(
        read(&["log", "show"])["entries"].as_array().unwrap().len(),
        1
    );
    let shown = read(&["id", "show"]);
    let resolved = read(&["resolve", "--node", node.url()]);
    assert_eq!(resolved["did"], shown["did"]);
    for (file, arguments) in [
        ("list.csv", ["label", "export"].as_slice()),
        ("list.car", ["export"].as_slice()),
    ] {
        let to = user.beside(file).to_str().unwrap().to_owned();
        let arguments = [arguments, &[&to]].concat();
        read(&arguments);
        assert!(user.beside(file).metadata().unwrap().len() > 0, "{file}");
    }
    read(&["home", "check"]);
    // What writes does not pretend to have.
    let refused = run(&["label", "add", "@three", "spam"]).error(1);
    assert_eq!(refused["code"], "not_permitted", "{refused:#}");
    drop(disk);
    assert_eq!(pairs(&user.json(&["label", "list"])).len(), 2);
}

#[test]
fn a_home_that_is_not_there_and_cannot_be_made_keeps_nobody_from_reading_others() {
    let (user, phrase) = with_identity();
    let node = Node::start(&user.beside("data"));
    user.json(&["label", "add", "@one", "spam"]);
    let name = publish(&user, &phrase, &[&node])["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let reader = Home::new();
    let Some(disk) = SmallDisk::read_only(&reader.beside("disk")) else {
        return;
    };
    let home = reader.beside("disk/home");
    let arguments = [
        "--home",
        home.to_str().unwrap(),
        "resolve",
        &name,
        "--node",
        node.url(),
    ];
    let ran = reader.run_json_inside(&disk, &arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}
