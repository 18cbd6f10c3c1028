//! A node that takes changes only with its token: every command that changes something there, with it and without.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use perennis_tests::home::{Home, Ran};
use perennis_tests::node::Node;

use crate::user::{publish, with_identity};

const TOKEN: &str = "a-token-of-some-length";

/// A block that nobody has.
const ABSENT: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";

/// A peer that does not run.
const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

/// What a command has printed.
fn printed(ran: &Ran) -> String {
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// A node with a token, and the file that holds it.
fn guarded(user: &Home) -> (Node, String) {
    let token = user.file("token", format!("{TOKEN}\n"));
    let config = format!("[http]\ntoken-file = {token:?}\npublish = \"token\"\n");
    let config = user.file("node.toml", config);
    let node = Node::start_with(&user.beside("guarded"), config.as_ref());
    (node, token)
}

#[test]
fn every_command_for_which_a_node_wants_a_token_carries_it() {
    let (user, phrase) = with_identity();
    let (node, token) = guarded(&user);
    let other = Node::start(&user.beside("other"));
    user.json(&["label", "add", "@one", "spam"]);
    let name = publish(&user, &phrase, &[&other])["name"]
        .as_str()
        .unwrap()
        .to_owned();
    // What each of them comes to once the node lets it in.
    let commands: &[(&[&str], i32)] = &[
        (&["peers", "connect", other.peer()], 0),
        (&["peers", "ban", PEER], 0),
        (&["peers", "unban", PEER], 0),
        (&["provide", ABSENT], 4),
        (&["fetch", ABSENT], 4),
        // What a fetch that failed has begun to keep is let go of.
        (&["pin", "remove", ABSENT], 0),
        (&["name", "follow", &name, "--source", other.url()], 0),
        (&["name", "unfollow", &name], 0),
        (&["name", "remove", &name, "--yes"], 4),
        (&["name", "allow", &name], 4),
        (&["store", "losses", "--dismiss"], 0),
        (&["node", "probe", "--now"], 0),
        (&["publish", "--passphrase-file", &phrase], 0),
        (&["log", "compact", "--passphrase-file", &phrase], 0),
        (&["peers", "list"], 0),
        (&["name", "list"], 0),
        (&["pin", "list"], 0),
        (&["pin", "list", "--fetched"], 0),
        (&["pin", "list", "--imported"], 0),
        (&["node", "probe"], 0),
        (&["store", "losses"], 0),
    ];
    for (command, code) in commands {
        let at = [command, &["--node", node.url()][..]].concat();
        let refused = user.run_json(&at);
        assert_eq!(refused.code, Some(3), "{command:?}: {}", printed(&refused));
        assert!(printed(&refused).contains("unauthorized"), "{command:?}");
        let with_token = [&at[..], &["--token-file", &token]].concat();
        let done = user.run_json(&with_token);
        assert_eq!(done.code, Some(*code), "{command:?}: {}", printed(&done));
        assert!(!printed(&done).contains("unauthorized"), "{command:?}");
        let by_variable = user
            .command(&[&["--json"], &at[..]].concat())
            .env("PERENNIS_TOKEN_FILE", &token)
            .output()
            .unwrap();
        assert!(
            !String::from_utf8_lossy(&by_variable.stdout).contains("unauthorized"),
            "{command:?}"
        );
    }
}

#[test]
fn a_token_is_drawn_shown_once_grants_its_scopes_and_is_taken_away() {
    let user = Home::new();
    let tokens = user.beside("tokens");
    let config = format!("[http]\ntokens = {:?}\n", tokens.to_str().unwrap());
    let config = user.file("node.toml", config);
    let token = |arguments: &[&'static str]| {
        let rest = arguments.iter().map(|word| (*word).to_owned());
        let words = ["node", "token"].map(str::to_owned).into_iter().chain(rest);
        words
            .chain(["--config".to_owned(), config.clone()])
            .collect::<Vec<String>>()
    };
    let drawn = user.json(&token(&["watcher", "--scope", "read"]));
    let drawn = drawn["token"].as_str().unwrap().to_owned();
    let out = user.beside("alice.token");
    let out = out.to_str().unwrap();
    let mut drawing = token(&["alice", "--scope", "read,pin"]);
    drawing.extend(["--out".to_owned(), out.to_owned()]);
    let told = user.json(&drawing);
    assert!(told["token"].is_null());
    assert_eq!(told["out"], out);
    for path in [tokens.to_str().unwrap(), out] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
    let text = fs::read_to_string(&tokens).unwrap();
    let alice = fs::read_to_string(out).unwrap();
    assert!(
        !text.contains(&drawn) && !text.contains(alice.trim()),
        "{text}"
    );
    let taken = user.error(3, &token(&["alice", "--scope", "read"]));
    assert_eq!(taken["code"], "name_taken");
    user.error(2, &token(&["bob", "--scope", "everything"]));
    user.error(2, &["node", "token", "bob", "--scope", "read"]);
    let list = user.json(&token(&["list"]));
    assert_eq!(
        list["tokens"][1]["scopes"],
        serde_json::json!(["read", "pin"])
    );

    let node = Node::start_with(&user.beside("node"), config.as_ref());
    let watcher = user.file("watcher.token", &drawn);
    let peers =
        |file: &str| user.run_json(&["peers", "list", "--node", node.url(), "--token-file", file]);
    let release = |file: &str| {
        user.run_json(&[
            "pin",
            "remove",
            ABSENT,
            "--node",
            node.url(),
            "--token-file",
            file,
        ])
    };
    assert_eq!(peers(&watcher).code, Some(0));
    let refused = release(&watcher);
    assert_eq!(refused.code, Some(3));
    assert!(
        printed(&refused).contains(node.admin()),
        "{}",
        printed(&refused)
    );
    // It is let in, and nothing of that is kept.
    assert_eq!(release(out).code, Some(4));

    user.json(&token(&["remove", "alice"]));
    user.error(4, &token(&["remove", "alice"]));
    let give_up = Instant::now() + Duration::from_secs(20);
    while peers(out).code != Some(3) {
        assert!(Instant::now() < give_up, "the token still grants something");
    }
    assert_eq!(peers(&watcher).code, Some(0));
}

#[test]
fn a_token_is_never_sent_where_others_read_it() {
    let user = Home::new();
    let token = user.file("token", TOKEN);
    let line = [
        "peers",
        "list",
        "--node",
        "http://node.example",
        "--token-file",
        &token,
    ];
    let message = user.error(2, &line)["message"].as_str().unwrap().to_owned();
    assert!(message.contains("without encryption"), "{message}");
}

#[test]
fn a_token_goes_to_the_one_node_that_was_named() {
    let (user, phrase) = with_identity();
    let (node, token) = guarded(&user);
    user.json(&["label", "add", "@one", "spam"]);
    let publish = [
        "publish",
        "--passphrase-file",
        &phrase,
        "--token-file",
        &token,
    ];
    let to = |urls: &[&str]| {
        let nodes = urls.iter().flat_map(|url| ["--node", *url]);
        let line: Vec<&str> = publish.iter().copied().chain(nodes).collect();
        user.error(2, &line)["message"].as_str().unwrap().to_owned()
    };
    let message = to(&[node.url(), "http://127.0.0.1:9"]);
    assert!(message.contains("of one node"), "{message}");
    fs::write(&token, "\n").unwrap();
    let message = to(&[node.url()]);
    assert!(message.contains("holds no token"), "{message}");
}

#[test]
fn a_node_that_refuses_connections_is_told_soon() {
    let (user, phrase) = with_identity();
    user.json(&["label", "add", "@one", "spam"]);
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", refusing.local_addr().unwrap());
    drop(refusing);
    let started = Instant::now();
    let told = user.run_json(&["publish", "--passphrase-file", &phrase, "--node", &url]);
    assert_eq!(told.code, Some(5), "{}", printed(&told));
    assert!(printed(&told).contains("unreachable"), "{}", printed(&told));
    // Up to 3 s of pauses; the rest is the passphrase and a slow machine.
    assert!(started.elapsed() < Duration::from_secs(12));
}
