//! What a person at a terminal is asked, and what typing wrong or giving up leads to.

use perennis_tests::home::Home;
use perennis_tests::node::Node;
use perennis_tests::terminal::Terminal;

use crate::user::{PHRASE, did, publish};

const OTHER: &str = "thimble mosaic ladder canyon velvet orbit";

fn at_terminal(user: &Home, arguments: &[&str]) -> Terminal {
    Terminal::start(user.command(arguments))
}

#[test]
fn a_new_passphrase_is_asked_for_twice_and_never_shown() {
    let user = Home::new();
    let mut terminal = at_terminal(&user, &["id", "new"]);
    terminal.shows("Passphrase");
    terminal.types(PHRASE);
    terminal.shows("again");
    terminal.types(PHRASE);
    let rest = terminal.rest();
    assert_eq!(terminal.code(), Some(0), "{rest}");
    assert!(!rest.contains(PHRASE), "the passphrase is on the screen");
    let file = user.file("phrase", PHRASE);
    let derived = user.json(&["id", "derive", "--passphrase-file", &file]);
    assert_eq!(derived["did"], did(&user).as_str());
    assert!(rest.contains(&did(&user)), "{rest}");
}

#[test]
fn a_repeat_that_differs_is_told_and_makes_no_identity() {
    let user = Home::new();
    let mut terminal = at_terminal(&user, &["id", "new"]);
    terminal.shows("Passphrase");
    terminal.types(PHRASE);
    terminal.shows("again");
    terminal.types(OTHER);
    let rest = terminal.rest();
    assert!(rest.contains("not the same"), "{rest}");
    assert!(rest.contains("next:"), "{rest}");
    assert_eq!(terminal.code(), Some(3));
    assert!(!user.path().exists(), "something was left behind");
}

#[test]
fn an_empty_answer_has_a_passphrase_made_and_shown_once() {
    let user = Home::new();
    let mut terminal = at_terminal(&user, &["id", "new"]);
    terminal.shows("Passphrase");
    terminal.types("");
    let rest = terminal.rest();
    assert_eq!(terminal.code(), Some(0), "{rest}");
    assert!(rest.contains("Write it down"), "{rest}");
    assert!(rest.contains(&did(&user)));
}

#[test]
fn a_weak_passphrase_is_refused_with_the_way_out() {
    let user = Home::new();
    let mut terminal = at_terminal(&user, &["id", "new"]);
    terminal.shows("Passphrase");
    terminal.types("password1");
    terminal.shows("again");
    terminal.types("password1");
    let rest = terminal.rest();
    assert!(rest.contains("--allow-weak"), "{rest}");
    assert_eq!(terminal.code(), Some(3));
    assert!(!user.path().exists());
}

#[test]
fn ctrl_c_at_a_prompt_leaves_nothing() {
    for typed_before in [false, true] {
        let user = Home::new();
        let mut terminal = at_terminal(&user, &["id", "new"]);
        terminal.shows("Passphrase");
        if typed_before {
            terminal.types(PHRASE);
            terminal.shows("again");
        }
        terminal.interrupts();
        terminal.rest();
        assert_ne!(terminal.code(), Some(0));
        assert!(!user.path().exists(), "something was left behind");
    }
    let user = Home::new();
    let mut terminal = at_terminal(&user, &["restore"]);
    terminal.shows("Passphrase");
    terminal.interrupts();
    terminal.rest();
    assert_ne!(terminal.code(), Some(0));
    assert!(!user.path().exists(), "something was left behind");
}

#[test]
fn restore_asks_once_and_publish_names_whose_passphrase_it_wants() {
    let user = Home::new();
    let node = Node::start(&user.beside("node"));
    let file = user.file("phrase", PHRASE);
    user.json(&["id", "new", "--passphrase-file", &file]);
    user.json(&["label", "add", "@one", "spam"]);
    publish(&user, &file, &[&node]);
    let did = did(&user);
    user.delete();

    let mut terminal = at_terminal(&user, &["restore", "--node", node.url()]);
    terminal.shows("Passphrase");
    terminal.types(PHRASE);
    let rest = terminal.rest();
    assert_eq!(terminal.code(), Some(0), "{rest}");
    assert!(!rest.contains("again"), "{rest}");
    assert!(rest.contains(&did), "{rest}");

    user.json(&["label", "add", "@two", "spam"]);
    let mut terminal = at_terminal(&user, &["publish", "--node", node.url()]);
    terminal.shows(&did);
    terminal.types(OTHER);
    let rest = terminal.rest();
    assert_eq!(terminal.code(), Some(3), "{rest}");
    assert!(rest.contains("this passphrase gives did:ipns:"), "{rest}");

    let mut terminal = at_terminal(&user, &["publish", "--node", node.url()]);
    terminal.shows(&did);
    terminal.types(PHRASE);
    let rest = terminal.rest();
    assert_eq!(terminal.code(), Some(0), "{rest}");
    assert!(rest.contains("alive until"), "{rest}");
}
