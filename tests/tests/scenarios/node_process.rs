//! The node as its operator sees it: start, stop, and every reason not to start.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use perennis_tests::home::{Home, Ran};
use perennis_tests::node::{Answer, Node};

use crate::user::{did, publish, with_identity};

/// Starts a node that must refuse, and returns its error.
fn refused(user: &Home, code: i32, arguments: &[&str]) -> serde_json::Value {
    let all = [&["node", "run"], arguments].concat();
    let ran: Ran = user.run_json(&all);
    ran.error(code)
}

#[test]
fn a_node_tells_how_it_is_and_stops_when_asked() {
    let user = Home::new();
    let mut node = Node::start(&user.beside("node"));
    let status = user.json(&["node", "status", "--node", node.admin()]);
    assert_eq!(status["live"], true);
    assert_eq!(status["ready"], true);
    assert!(node.stop().success());
    let error = user.error(5, &["node", "status", "--node", node.admin()]);
    assert_eq!(error["code"], "not_reachable");
}

#[test]
fn a_closed_terminal_stops_a_node_in_order_unless_it_was_started_to_outlive_it() {
    let user = Home::new();
    // Whatever started the tests may have had them outlive its terminal.
    let by = |words: &[&str], data: &Path| {
        let started = Node::command(data, None, "127.0.0.1:0");
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP").args(words);
        command.arg(started.get_program()).args(started.get_args());
        Node::start_as(command, data)
    };
    let mut node = by(&[], &user.beside("node"));
    node.hang_up();
    assert!(node.wait().success());

    let mut node = by(&["nohup"], &user.beside("outlives"));
    node.hang_up();
    let status = user.json(&["node", "status", "--node", node.admin()]);
    assert_eq!(status["live"], true);
    assert!(node.stop().success());
}

#[test]
fn names_and_pins_are_listed_and_shown() {
    let (user, file) = with_identity();
    let node = Node::start(&user.beside("node"));
    let empty = user.json(&["name", "list", "--node", node.admin()]);
    assert!(empty["names"].as_array().unwrap().is_empty());
    user.json(&["label", "add", "@one", "spam"]);
    let published = publish(&user, &file, &[&node]);
    let names = user.json(&["name", "list", "--node", node.admin()]);
    assert_eq!(names["names"][0]["name"], published["name"]);
    assert_eq!(names["names"][0]["sequence"], published["sequence"]);
    let shown = user.json(&["name", "show", &did(&user), "--node", node.url()]);
    assert_eq!(shown["head"], published["head"]);
    let pins = user.json(&["pin", "list", "--node", node.admin()]);
    assert_eq!(pins["pins"][0]["cid"], published["head"]);
    let nobody = "k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9";
    user.error(4, &["name", "show", nobody, "--node", node.url()]);
}

#[test]
fn a_port_in_use_is_named() {
    let user = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = user.beside("node");
    let error = refused(
        &user,
        1,
        &["--data", data.to_str().unwrap(), "--listen", &address],
    );
    assert_eq!(error["code"], "port_in_use");
    assert!(error["message"].as_str().unwrap().contains(&address));
}

/// What `/health/ready` says once the data folder is gone.
fn told_that_its_folder_is_gone(node: &Node) {
    let ready = node.eventually("/health/ready", |answer| answer.status == 503);
    assert!(
        ready.text().contains("data_folder_gone"),
        "{}",
        ready.text()
    );
}

#[test]
fn a_node_whose_data_folder_is_removed_takes_nothing_more_and_ends() {
    let (user, file) = with_identity();
    let data = user.beside("node");
    let mut node = Node::start(&data);
    user.json(&["label", "add", "@one", "spam"]);
    let published = publish(&user, &file, &[&node]);
    let capsule = user.beside("me.car");
    user.json(&["export", capsule.to_str().unwrap()]);
    let message = std::fs::read(&capsule).unwrap();
    let path = format!("/v1/names/{}/publish", published["name"].as_str().unwrap());
    let kind = ["content-type: application/vnd.ipld.car"];
    assert_eq!(node.request("POST", &path, &kind, &message).status, 200);
    std::fs::remove_dir_all(&data).unwrap();
    // At once, and not only when it was noticed: nothing is acknowledged that nobody will find again.
    let answer = node.request("POST", &path, &kind, &message);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(
        answer.text().contains("data_folder_gone"),
        "{}",
        answer.text()
    );
    told_that_its_folder_is_gone(&node);
    assert_eq!(node.wait().code(), Some(1));
    assert!(!data.exists(), "nothing of it came back");
}

#[test]
fn a_node_whose_folder_of_the_log_is_removed_takes_nothing_more_and_ends() {
    let (user, file) = with_identity();
    let data = user.beside("node");
    let mut node = Node::start(&data);
    user.json(&["label", "add", "@one", "spam"]);
    let published = publish(&user, &file, &[&node]);
    let capsule = user.beside("me.car");
    user.json(&["export", capsule.to_str().unwrap()]);
    let message = std::fs::read(&capsule).unwrap();
    let path = format!("/v1/names/{}/publish", published["name"].as_str().unwrap());
    let kind = ["content-type: application/vnd.ipld.car"];
    std::fs::remove_dir_all(data.join("segments")).unwrap();
    let answer = node.request("POST", &path, &kind, &message);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(
        answer.text().contains("data_folder_gone"),
        "{}",
        answer.text()
    );
    told_that_its_folder_is_gone(&node);
    assert_eq!(node.wait().code(), Some(1));
    assert!(!data.join("segments").exists(), "nothing of it came back");
}

#[test]
fn a_node_whose_index_was_renamed_ends_and_starts_again_once_it_is_back() {
    let user = Home::new();
    let (data, aside) = (user.beside("node"), user.beside("aside"));
    let mut node = Node::start(&data);
    std::fs::rename(data.join("index"), &aside).unwrap();
    told_that_its_folder_is_gone(&node);
    assert_eq!(node.wait().code(), Some(1));
    std::fs::rename(&aside, data.join("index")).unwrap();
    assert!(Node::start(&data).stop().success());
}

#[test]
fn a_node_whose_data_folder_was_swapped_leaves_the_other_alone_and_ends() {
    let user = Home::new();
    let (data, aside) = (user.beside("node"), user.beside("aside"));
    let mut node = Node::start(&data);
    std::fs::rename(&data, &aside).unwrap();
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("LOCK"), "").unwrap();
    told_that_its_folder_is_gone(&node);
    assert_eq!(node.wait().code(), Some(1));
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
    // Put back, it is as after a crash.
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&aside, &data).unwrap();
    assert!(Node::start(&data).stop().success());
}

#[test]
fn a_data_folder_that_comes_back_at_once_is_gone_on_with() {
    let (user, file) = with_identity();
    let (data, aside) = (user.beside("node"), user.beside("aside"));
    let mut node = Node::start(&data);
    user.json(&["label", "add", "@one", "spam"]);
    std::fs::rename(&data, &aside).unwrap();
    told_that_its_folder_is_gone(&node);
    std::fs::rename(&aside, &data).unwrap();
    node.eventually("/health/ready", |answer| answer.status == 200);
    publish(&user, &file, &[&node]);
    assert!(node.stop().success());
}

#[test]
fn two_nodes_on_one_directory_is_refused() {
    let user = Home::new();
    let data = user.beside("node");
    let node = Node::start(&data);
    let path = data.to_str().unwrap();
    let error = refused(
        &user,
        1,
        &[
            "--data",
            path,
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ],
    );
    assert!(error["message"].as_str().unwrap().contains(path), "{error}");
    assert_eq!(node.json("/health/ready")["error"], serde_json::Value::Null);
}

#[test]
fn a_data_directory_that_is_a_file_is_named() {
    let user = Home::new();
    let file = user.file("blocked", "not a directory");
    let error = refused(
        &user,
        1,
        &[
            "--data",
            &file,
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ],
    );
    assert!(
        error["message"].as_str().unwrap().contains("blocked"),
        "{error}"
    );
}

#[test]
fn a_corrupt_configuration_is_refused_with_its_line() {
    let user = Home::new();
    let file = user.file("node.toml", "[http]\nlisten = \"nonsense\"\n");
    let check = ["config", "check", &file];
    let verdict = user.run_json(&check).document(3, &check);
    assert_eq!(verdict["valid"], false);
    assert_eq!(verdict["problems"][0]["line"], 2);
    assert_eq!(verdict["problems"][0]["setting"], "http.listen");
    let error = refused(&user, 3, &["--config", &file]);
    assert_eq!(error["code"], "invalid_config");
    assert!(error["message"].as_str().unwrap().contains(":2"), "{error}");

    for broken in ["[http\n", "no-such-setting = 1\n", "[http]\nlisten = 5\n"] {
        let file = user.file("broken.toml", broken);
        let check = ["config", "check", &file];
        let verdict = user.run_json(&check).document(3, &check);
        assert!(
            verdict["problems"][0]["line"].is_u64(),
            "{broken}: {verdict}"
        );
    }
    let missing = ["config", "check", "no-such.toml"];
    user.run_json(&missing).document(3, &missing);
}

#[test]
fn a_good_configuration_shows_what_each_setting_comes_to() {
    let user = Home::new();
    let file = user.file("node.toml", "[http]\nlisten = \"127.0.0.1:0\"\n");
    let verdict = user.json(&["config", "check", &file]);
    assert_eq!(verdict["valid"], true);
    assert_eq!(verdict["settings"]["http.listen"]["value"], "127.0.0.1:0");
    let period = &verdict["settings"]["ipns.republish-period"];
    assert_eq!(period["origin"], "default", "{verdict:#}");
}

/// The result and the message of one check of a doctor's report.
#[track_caller]
fn check_of<'a>(report: &'a serde_json::Value, name: &str) -> (&'a str, &'a str) {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == name);
    let check = check.unwrap_or_else(|| panic!("no check {name}: {report:#}"));
    let text = |field: &str| check[field].as_str().unwrap();
    if check["result"] != "ok" {
        assert!(!text("hint").is_empty());
    }
    (text("result"), text("message"))
}

#[test]
fn the_doctor_looks_at_the_store_and_changes_nothing() {
    let (user, file) = with_identity();
    let data = user.beside("node");
    let path = data.to_str().unwrap();
    let mut node = Node::start(&data);
    user.json(&["label", "add", "@one", "spam"]);
    let published = publish(&user, &file, &[&node]);
    let doctor = ["node", "doctor", "--data", path];
    let report = user.json(&doctor);
    assert_eq!(check_of(&report, "running").0, "warning");
    assert!(node.stop().success());

    let report = user.json(&doctor);
    assert_eq!(report["healthy"], true, "{report:#}");
    for check in ["format", "store", "clock", "free space", "configuration"] {
        assert_eq!(check_of(&report, check).0, "ok", "{report:#}");
    }
    assert!(check_of(&report, "key").1.contains("did:key:z6Mk"));
    // What it has looked at is as it was: the node goes on.
    let mut node = Node::start(&data);
    let head = published["head"].as_str().unwrap();
    let block = node.request("GET", &format!("/ipfs/{head}"), &[], b"");
    assert_eq!(block.status, 200);
    assert!(node.stop().success());

    let segment = data.join("segments/00000001.seg");
    let sound = std::fs::read(&segment).unwrap();
    let mut damaged = sound.clone();
    damaged[100..].fill(0xff);
    std::fs::write(&segment, damaged).unwrap();
    let report = user.run_json(&doctor).document(3, &doctor);
    let (result, message) = check_of(&report, "store");
    assert_eq!(result, "failed", "{message}");
    assert!(message.contains("damaged"), "{message}");
    std::fs::write(&segment, sound).unwrap();

    let key = data.join("node.key");
    let mut flipped = std::fs::read(&key).unwrap();
    flipped[20] ^= 1;
    std::fs::write(&key, flipped).unwrap();
    std::fs::write(data.join("FORMAT"), "perennis-store 99\n").unwrap();
    let report = user.run_json(&doctor).document(3, &doctor);
    assert_eq!(check_of(&report, "key").0, "failed");
    let (result, message) = check_of(&report, "format");
    assert_eq!(result, "failed");
    assert!(message.contains("99"), "{message}");
}

#[test]
fn the_doctor_says_what_is_well_and_what_is_not() {
    let user = Home::new();
    let data = user.beside("node");
    let path = data.to_str().unwrap();
    let doctor = ["node", "doctor", "--data", path];
    let report = user.json(&doctor);
    assert_eq!(report["healthy"], true);
    let file = user.file("blocked", "not a directory");
    let below = format!("{file}/node");
    let doctor = ["node", "doctor", "--data", &below];
    let report = user.run_json(&doctor).document(3, &doctor);
    assert_eq!(report["healthy"], false);
}

#[test]
fn a_node_without_json_speaks_to_people() {
    let user = Home::new();
    let data = user.beside("node");
    let mut child = user
        .command(&[
            "node",
            "run",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut reader = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    assert!(line.contains("http://127.0.0.1:"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn garbage_is_refused_and_stored_nowhere() {
    let (user, file) = with_identity();
    let node = Node::start(&user.beside("node"));
    user.json(&["label", "add", "@one", "spam"]);
    let published = publish(&user, &file, &[&node]);
    let name = published["name"].as_str().unwrap();
    let path = format!("/v1/names/{name}/publish");
    let capsule = user.beside("me.car");
    user.json(&["export", capsule.to_str().unwrap()]);
    let whole = std::fs::read(&capsule).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let kind = ["content-type: application/vnd.ipld.car"];
    for (what, body) in [
        ("nothing", &b""[..]),
        ("noise", b"this is no CAR file"),
        ("a cut file", &whole[..whole.len() - 7]),
        ("a flipped bit", &flipped),
    ] {
        let answer = node.request("POST", &path, &kind, body);
        assert!(
            (400..500).contains(&answer.status),
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
        let error: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(error["error"]["code"].is_string(), "{what}: {error}");
    }
    let other = "k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9";
    let answer = node.request("POST", &format!("/v1/names/{other}/publish"), &kind, &whole);
    assert!(
        (400..500).contains(&answer.status),
        "another's name: {}",
        answer.text()
    );
    let status = node.json(&format!("/v1/names/{name}"));
    assert_eq!(status["head"], published["head"]);
}

#[test]
fn a_body_without_end_does_not_hold_the_node() {
    let user = Home::new();
    let node = Node::start(&user.beside("node"));
    let name = "k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9";
    let announce = |length: &str| {
        let mut stream = TcpStream::connect(node.address()).unwrap();
        write!(
            stream,
            "POST /v1/names/{name}/publish HTTP/1.1\r\nhost: localhost\r\n\
             content-type: application/vnd.ipld.car\r\ncontent-length: {length}\r\n\r\n"
        )
        .unwrap();
        stream
    };
    // Announced far beyond the limit: refused by its length alone.
    let mut huge = announce("1099511627776");
    assert_eq!(Answer::read(&mut huge).status, 413);
    // Announced and never sent: others are served meanwhile.
    let _silent: Vec<TcpStream> = (0..8).map(|_| announce("1000")).collect();
    assert_eq!(node.request("GET", "/health/live", &[], b"").status, 200);
}
