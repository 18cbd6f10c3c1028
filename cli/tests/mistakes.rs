//! The mistakes that people make most often, and the whole text that each is answered with: what failed, one cause, one step.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A home without an identity, and files in its folder `HERE`.
struct Person {
    folder: tempfile::TempDir,
}

impl Person {
    fn new() -> Person {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("phrase", "orbit velvet canyon ladder mosaic thimble\n");
        write("lines", "one\ntwo\n");
        write("empty", "");
        write("weak", "password1");
        write("table.csv", "handle,label\n@alice,spam\n@al ice,spam\n");
        write("text", "no CAR file\n");
        Person { folder }
    }

    fn home(&self) -> std::path::PathBuf {
        self.folder.path().join("home")
    }

    /// What a command writes to stderr, with `HERE` for the folder and `NODE` for an address where nobody listens.
    fn run(&self, line: &str) -> (Option<i32>, String) {
        let here = self.folder.path().display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_perennis"));
        command.env_remove("PERENNIS_HOME").stdin(Stdio::null());
        for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(proxy);
        }
        command.arg("--home").arg(self.home());
        for word in line.split(' ') {
            command.arg(
                word.replace("HERE", &here)
                    .replace("NODE", NODE)
                    .replace('_', " "),
            );
        }
        let told = command.output().unwrap();
        let text = String::from_utf8(told.stderr).unwrap();
        (told.status.code(), text.replace(&here, "HERE"))
    }
}

/// Nobody listens on the port for discarding.
const NODE: &str = "http://127.0.0.1:9";

const NEW: &str =
    "next: make one with `perennis id new`, or bring yours back with `perennis restore`";

/// Commands, the exit code, and what is told.
const WITHOUT_IDENTITY: &[(&str, i32, &str)] = &[
    ("publish", 4, "HERE/home holds no identity"),
    ("label list", 4, "HERE/home holds no identity"),
    ("log show", 4, "HERE/home holds no identity"),
    ("export HERE/x.car", 4, "HERE/home holds no identity"),
    ("label undo", 4, "HERE/home holds no identity"),
    ("label add @alice spam", 3, "there is no identity here yet"),
];

const MISTAKES: &[(&str, i32, &str)] = &[
    (
        "resolve nonsense",
        2,
        "error: not a DID or IPNS name: nonsense\n next: write it as did:ipns:k51…, did:key:z6Mk…, k51… or ipns://k51…\n",
    ),
    (
        "resolve did:web:a.example",
        2,
        "error: not a DID or IPNS name: did:web:a.example: this DID method is not known; did:key and did:ipns are\n next: write it as did:ipns:k51…, did:key:z6Mk…, k51… or ipns://k51…\n",
    ),
    (
        "resolve did:web:a.example --document",
        2,
        "error: did:web:a.example: the method web is not known here; key and ipns are\n next: ask a resolver of that method\n",
    ),
    (
        "node status --node NODE",
        5,
        "error: the node http://127.0.0.1:9 does not answer: Connection refused\n next: start it with `perennis node run`, or name another one with --node\n",
    ),
    (
        "node status --node here",
        2,
        "error: not the address of a node: here: not a URL such as http://127.0.0.1:4780\n next: write it as http://HOST:PORT\n",
    ),
    (
        "car verify HERE/none.car",
        4,
        "error: cannot read HERE/none.car: No such file or directory\n next: check the path\n",
    ),
    (
        "car verify HERE",
        3,
        "error: HERE is a directory, and has to be a file\n next: name a file in it\n",
    ),
    (
        "id derive",
        2,
        "error: a passphrase is needed and there is no terminal to ask on\n next: give --passphrase-file FILE, or --passphrase-file - and write it to stdin\n",
    ),
    (
        "--passphrase-file HERE/none id derive",
        4,
        "error: cannot read the passphrase from HERE/none: No such file or directory\n next: check the path\n",
    ),
    (
        "--passphrase-file HERE/lines id derive",
        3,
        "error: the passphrase from HERE/lines has more than one line\n next: put the passphrase on the only line, with nothing below it; or say with --passphrase-lines that it has several\n",
    ),
    (
        "--passphrase-file HERE/empty id derive",
        3,
        "error: the passphrase from HERE/empty is empty\n next: put the passphrase on the first line\n",
    ),
    (
        "label add @al_ice spam",
        3,
        "error: not a handle: @al ice\n next: write it as @name: letters, digits and underscores, at most 15; or # and the account's number\n",
    ),
    (
        "label add @alice Spam!",
        3,
        "error: not a label: Spam!\n next: write lower-case letters, digits and hyphens, at most 50: spam, crypto-scam\n",
    ),
    (
        "label add @alice spam --colour red",
        3,
        "error: colour cannot be red: a colour is written #rrggbb\n next: write it as #rrggbb, such as #cc0000\n",
    ),
    (
        "label add @alice spam --expires yesterday",
        2,
        "error: --expires is not a time: \"yesterday\"\n next: write 90d, 12h, 4w, a date such as 2027-01-31, or 2027-01-31T12:00:00Z\n",
    ),
    (
        "label add @alice spam --expires 2020-01-01",
        2,
        "error: --expires lies in the past: 2020-01-01\n next: give a time to come, such as 90d\n",
    ),
    (
        "label remove @bob spam",
        4,
        "error: @bob has no label spam\n next: see `perennis label list @bob`; nothing was removed\n",
    ),
    (
        "label import HERE/none.csv",
        4,
        "error: cannot read HERE/none.csv: No such file or directory\n next: check the path\n",
    ),
    (
        "export HERE/text",
        3,
        "error: HERE/text is there already\n next: name another file, or write over this one with --force\n",
    ),
    (
        "export HERE",
        3,
        "error: HERE is a directory, and has to be a file\n next: name a file in it\n",
    ),
    (
        "resolve --node NODE",
        5,
        "error: no valid record of NAME: http://127.0.0.1:9: no connection\n next: check that the node runs (`perennis node status --node URL`) and try again\n",
    ),
    (
        "fetch bafy --node NODE",
        2,
        "error: \"bafy\" is no CID: not in the base that its first letter says\n next: write it as bafy…, Qm… or ipfs://bafy…\n",
    ),
    (
        "import HERE/text --node NODE",
        5,
        "error: the node http://127.0.0.1:9 does not answer: ",
    ),
    (
        "man nonsense",
        2,
        "error: perennis has no command \"nonsense\"\n",
    ),
];

#[test]
fn a_home_without_an_identity_says_how_to_get_one() {
    for (line, exit, cause) in WITHOUT_IDENTITY {
        let person = Person::new();
        let (code, text) = person.run(line);
        assert_eq!(
            (code, text),
            (Some(*exit), format!("error: {cause}\n {NEW}\n")),
            "{line}"
        );
    }
}

#[test]
fn a_mistake_is_answered_with_one_cause_and_one_step() {
    let person = Person::new();
    let (code, text) = person.run("--passphrase-file HERE/phrase id new --quiet");
    assert_eq!(code, Some(0), "{text}");
    let identity = fs::read_to_string(person.home().join("identity.json")).unwrap();
    let identity: serde_json::Value = serde_json::from_str(&identity).unwrap();
    let name = identity["ipnsName"].as_str().unwrap();
    let mut wrong = Vec::new();
    for (line, exit, expected) in MISTAKES {
        let (code, text) = person.run(line);
        let text = text.replace(name, "NAME");
        let is_right = match expected.contains("next:") {
            true => text == *expected,
            false => text.starts_with(expected),
        };
        if code != Some(*exit) || !is_right {
            wrong.push(format!(
                "{line}\n  {code:?} {text}  expected {exit} {expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_step_is_missing_and_no_table_is_cut_without_a_terminal() {
    let person = Person::new();
    person.run("--passphrase-file HERE/phrase id new --quiet");
    let note = "a_note_that_is_far_longer_than_any_terminal_is_wide_".repeat(5);
    let (code, text) = person.run(&format!("label add @alice spam --note {note}"));
    assert_eq!(code, Some(0), "{text}");
    let list = Command::new(env!("CARGO_BIN_EXE_perennis"))
        .arg("--home")
        .arg(person.home())
        .args(["label", "list"])
        .env("COLUMNS", "20")
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains(note.replace('_', " ").trim()), "{list}");
    assert!(!list.contains('…'), "{list}");
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let person = Person::new();
    let (code, text) = person.run("man --all HERE/man");
    assert_eq!(code, Some(0), "{text}");
    let pages =
        |name: &str| fs::read_to_string(Path::new(&person.folder.path().join("man")).join(name));
    for name in [
        "perennis.1",
        "perennis-label.1",
        "perennis-label-add.1",
        "perennis-node-run.1",
    ] {
        let page = pages(name).unwrap();
        assert!(
            page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"),
            "{name}: {page}"
        );
    }
    assert!(pages("perennis-man.1").unwrap().contains("DIR"));
}
