//! What is kept is its owner's only, from the moment it is there; what a person asks for by name is as they like it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use perennis_tests::home::Home;
use perennis_tests::node::Node;
use perennis_tests::umask;

use crate::user::{PHRASE, publish};

/// Everything below a folder, and it itself, that others than its owner may do anything with.
fn open_to_others(folder: &Path) -> Vec<String> {
    let mut open = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(path) = folders.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            open.push(format!("{} {mode:o}", path.display()));
        }
        if found.is_dir() {
            let inside = fs::read_dir(&path).unwrap();
            folders.extend(inside.map(|entry| entry.unwrap().path()));
        }
    }
    open
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Runs a command of the user under a umask that shuts nobody out.
fn run(user: &Home, umask: &str, arguments: &[&str]) {
    let done = umask::under(umask, &user.command(arguments))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {told}");
}

#[test]
fn nothing_of_a_home_or_of_a_node_is_open_to_others_whatever_the_umask() {
    let user = Home::new();
    let data = user.beside("data/of/the/node");
    let command = Node::command(&data, None, "127.0.0.1:0");
    let mut node = Node::start_as(umask::under("000", &command), &data);
    let file = user.file("phrase", PHRASE);
    run(
        &user,
        "000",
        &["id", "new", "--passphrase-file", &file, "--save"],
    );
    run(&user, "000", &["label", "add", "@one", "spam"]);
    publish(&user, &file, &[&node]);
    run(&user, "000", &["label", "list"]);
    for folder in [user.path(), user.beside("data")] {
        assert_eq!(open_to_others(&folder), [""; 0]);
    }
    // Files that come later, and those that closing makes.
    assert!(node.stop().success());
    assert_eq!(open_to_others(&data), [""; 0]);
}

#[test]
fn what_a_person_exports_is_as_open_as_their_umask_says() {
    let user = Home::new();
    let node = Node::start(&user.beside("node"));
    let file = user.file("phrase", PHRASE);
    let sheet = user.beside("sheet.txt");
    let new = ["id", "new", "--passphrase-file", &file, "--recovery-sheet"];
    run(
        &user,
        "000",
        &[&new[..], &[sheet.to_str().unwrap()]].concat(),
    );
    run(&user, "022", &["label", "add", "@one", "spam"]);
    publish(&user, &file, &[&node]);
    assert_eq!(mode(&sheet), 0o600, "a secret stays one");
    for (umask, expected) in [("022", 0o644), ("002", 0o664), ("077", 0o600)] {
        let (car, csv) = (user.beside("me.car"), user.beside("labels.csv"));
        run(&user, umask, &["export", "--force", car.to_str().unwrap()]);
        run(
            &user,
            umask,
            &["label", "export", "--force", csv.to_str().unwrap()],
        );
        assert_eq!((mode(&car), mode(&csv)), (expected, expected), "{umask}");
    }
}
