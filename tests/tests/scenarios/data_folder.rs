//! What is wrong with the data folder of a node, or with how it was named, is said by name, and nothing is done to another's.

use std::fs;
use std::path::Path;
use std::process::Command;

use perennis_tests::binary::workspace;
use perennis_tests::home::Home;
use perennis_tests::node::Node;
use perennis_tests::publisher::{Connection, Publisher};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

/// The result, the message and the hint of one check of a doctor's report.
fn checked<'a>(report: &'a Value, name: &str) -> [&'a str; 3] {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == name);
    let check = check.unwrap_or_else(|| panic!("no check {name}: {report}"));
    ["result", "message", "hint"].map(|field| check[field].as_str().unwrap_or_default())
}

fn store_something(node: &Node) {
    let mut connection = Connection::open(node.admin_address()).unwrap();
    let message = Publisher::new(1).next_message();
    assert_eq!(connection.post(&message).unwrap().0, 200);
}

#[test]
fn another_nodes_losses_are_neither_shown_nor_dismissed() {
    let user = Home::new();
    let (mine, others) = (user.beside("mine"), user.beside("others"));
    let path = mine.to_str().unwrap();
    let (node, other) = (Node::start(&mine), Node::start(&others));
    for node in [&node, &other] {
        store_something(node);
    }
    let listens = |node: &Node, name: &str| {
        let config = format!("[http]\nadmin-listen = \"{}\"\n", node.admin_address());
        user.file(name, config)
    };
    let wrong = listens(&other, "wrong.toml");
    for dismiss in [&[][..], &["--dismiss"]] {
        let arguments = [
            &["store", "losses", "--data", path, "--config", &wrong],
            dismiss,
        ]
        .concat();
        let error = user.error(1, &arguments);
        assert_eq!(error["code"], "other_store");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(path) && message.contains(other.admin()),
            "{message}"
        );
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.contains("--node URL"), "{hint}");
    }
    // A folder and a node that does not run on it: neither is taken for what was meant.
    for arguments in [
        ["store", "losses", "--quiet", path, "--node", other.admin()],
        [
            "store",
            "losses",
            path,
            "--dismiss",
            "--node",
            other.admin(),
        ],
    ] {
        assert_eq!(user.error(1, &arguments)["code"], "other_store");
    }
    user.json(&["store", "losses", path, "--node", node.admin()]);
    let doctor = |config: &str| user.json(&["node", "doctor", "--data", path, "--config", config]);
    let report = doctor(&wrong);
    let [result, message, hint] = checked(&report, "damage");
    assert_eq!(result, "warning");
    assert!(message.contains(other.admin()), "{message}");
    assert!(hint.contains("--node URL"), "{hint}");

    // Nobody listens there, and yet a node runs.
    let free = user.file("free.toml", "[http]\nadmin-listen = \"127.0.0.1:1\"\n");
    let error = user.error(
        5,
        &[
            "store",
            "losses",
            "--data",
            path,
            "--config",
            &free,
            "--dismiss",
        ],
    );
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains(path) && message.contains("127.0.0.1:1"),
        "{message}"
    );
    let hint = error["hint"].as_str().unwrap();
    assert!(!hint.contains("start it"), "{hint}");

    let right = listens(&node, "right.toml");
    assert_eq!(checked(&doctor(&right), "damage")[0], "ok");
    let arguments = ["store", "losses", "--data", path, "--config", &right];
    let told = user.json(&[&arguments[..], &["--dismiss"]].concat());
    assert_eq!(
        (&told["url"], &told["dismissed"]),
        (&json!(node.admin()), &json!(true))
    );
    let asked = user.json(&["store", "losses", "--node", other.admin()]);
    assert_ne!(asked["store"], told["store"]);
}

#[test]
fn a_node_whose_key_is_gone_is_told_that_it_becomes_another_peer() {
    let user = Home::new();
    let data = user.beside("node");
    let path = data.to_str().unwrap();
    let log = user.beside("log");
    let start = || {
        let mut command = Node::command(&data, None, "127.0.0.1:0");
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let loud = arguments.iter().filter(|argument| *argument != "--quiet");
        command = Command::new(command.get_program());
        command.args(loud).stderr(fs::File::create(&log).unwrap());
        Node::start_as(command, &data)
    };
    let told = "node.key was missing";
    let mut node = start();
    let first = node.peer().to_owned();
    store_something(&node);
    assert!(node.stop().success());
    assert!(!fs::read_to_string(&log).unwrap().contains(told));

    let key = fs::read(data.join("node.key")).unwrap();
    fs::remove_file(data.join("node.key")).unwrap();
    let report = user.json(&["node", "doctor", "--data", path]);
    let [result, message, hint] = checked(&report, "key");
    assert_eq!(result, "warning");
    assert!(
        message.contains("another peer id") && hint.contains("backup"),
        "{message}: {hint}"
    );
    let mut node = start();
    assert_ne!(node.peer().rsplit('/').next(), first.rsplit('/').next());
    assert!(node.stop().success());
    let lines = fs::read_to_string(&log).unwrap();
    let line = lines.lines().find(|line| line.contains(told)).unwrap();
    assert!(line.contains("WARN") && line.contains("backup"), "{line}");

    fs::write(data.join("node.key"), key).unwrap();
    let mut node = start();
    assert_eq!(node.peer().rsplit('/').next(), first.rsplit('/').next());
    assert!(node.stop().success());
    assert!(!fs::read_to_string(&log).unwrap().contains(told));
}

#[test]
fn what_is_missing_or_in_the_way_in_a_folder_is_named() {
    let user = Home::new();
    let data = user.beside("node");
    let path = data.to_str().unwrap();
    let mut node = Node::start(&data);
    store_something(&node);
    assert!(node.stop().success());
    let verify = ["store", "verify", path];

    fs::rename(data.join("segments"), user.beside("segments")).unwrap();
    let wrong = user.run_json(&verify).document(3, &verify);
    let found = wrong["found"].as_array().unwrap();
    assert!(
        found.iter().any(|found| found["place"] == "segments"),
        "{wrong}"
    );
    let missing = "segments, is not there";
    for dismiss in [&[][..], &["--dismiss"]] {
        let error = user.error(1, &[&["store", "losses", path], dismiss].concat());
        assert_eq!(error["code"], "log_missing");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(missing), "{message}");
    }
    let doctor = ["node", "doctor", "--data", path];
    let report = user.run_json(&doctor).document(3, &doctor);
    let [result, message, hint] = checked(&report, "store");
    assert_eq!(result, "failed");
    assert!(
        message.contains(missing) && hint.contains("snapshot"),
        "{message}"
    );
    assert!(!data.join("segments").exists());
    fs::rename(user.beside("segments"), data.join("segments")).unwrap();

    fs::remove_dir_all(data.join("packs")).unwrap();
    fs::write(data.join("packs"), "").unwrap();
    let run = [
        "node",
        "run",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--data",
        path,
    ];
    for arguments in [&verify[..], &["store", "losses", path], &run] {
        let error = user.error(1, arguments);
        assert_eq!(error["code"], "not_a_directory");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("packs is a file"), "{message}");
    }
    let report = user.run_json(&doctor).document(3, &doctor);
    assert!(checked(&report, "store")[1].contains("packs is a file"));
    fs::remove_file(data.join("packs")).unwrap();

    // Nothing waits for somebody who writes into the pipe.
    for file in ["FORMAT", "NEWEST", "LOCK", "reserve", "node.key"] {
        let (place, aside) = (data.join(file), user.beside(file));
        fs::rename(&place, &aside).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &place, FileType::Fifo, mode, 0).unwrap();
        for arguments in [&verify[..], &["store", "losses", path], &run] {
            let error = user.error(1, arguments);
            assert_eq!(error["code"], "not_a_file");
            let message = error["message"].as_str().unwrap();
            let told = format!("{file} is a named pipe");
            assert!(message.contains(&told), "{message}");
        }
        let report = user.run_json(&doctor).document(3, &doctor);
        assert!(checked(&report, "store")[1].contains("is a named pipe"));
        fs::remove_file(&place).unwrap();
        fs::rename(&aside, &place).unwrap();
    }

    for file in ["LOCK", "reserve"] {
        fs::remove_file(data.join(file)).unwrap();
        fs::create_dir(data.join(file)).unwrap();
        for arguments in [&verify[..], &run] {
            let error = user.error(1, arguments);
            assert_eq!(error["code"], "not_a_file");
        }
        fs::remove_dir(data.join(file)).unwrap();
    }

    fs::remove_file(data.join("FORMAT")).unwrap();
    for command in ["verify", "losses", "rebuild"] {
        let error = user.error(1, &["store", command, path]);
        assert_eq!(error["code"], "format_missing");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("FORMAT"), "{message}");
    }
    assert_eq!(checked(&user.json(&doctor), "format")[0], "warning");
    // As the hint says.
    let mut node = Node::start(&data);
    assert!(node.stop().success());
    assert_eq!(user.json(&verify)["whole"], true);
}

#[test]
fn an_index_that_is_gone_or_damaged_is_told_and_nothing_is_said_for_it() {
    let user = Home::new();
    let data = user.beside("node");
    let path = data.to_str().unwrap();
    let mut node = Node::start(&data);
    store_something(&node);
    assert!(node.stop().success());
    let doctor = ["node", "doctor", "--data", path];
    assert_eq!(checked(&user.json(&doctor), "store")[0], "ok");

    let (index, aside) = (data.join("index"), user.beside("index"));
    fs::rename(&index, &aside).unwrap();
    let told = |trouble: &str| {
        let report = user.json(&doctor);
        let [result, message, hint] = checked(&report, "store");
        assert_eq!(result, "warning");
        let made = "anew from 0 checkpoints and 1 file of blocks";
        assert!(
            message.contains(trouble) && message.contains(made),
            "{message}"
        );
        assert!(!message.contains("0 blocks"), "{message}");
        assert!(hint.contains("start the node"), "{hint}");
        assert_eq!(checked(&report, "damage")[0], "warning");
        for dismiss in [&[][..], &["--dismiss"]] {
            let error = user.error(1, &[&["store", "losses", path], dismiss].concat());
            assert_eq!(error["code"], "index_damaged");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(trouble), "{message}");
        }
    };
    told("the index is not there");
    fs::rename(&aside, &index).unwrap();
    fs::remove_file(index.join("CURRENT")).unwrap();
    told("the index is damaged");

    let mut node = Node::start(&data);
    assert!(node.stop().success());
    let report = user.json(&doctor);
    assert_eq!(checked(&report, "store")[0], "ok");
    assert_eq!(checked(&report, "damage")[0], "ok");
}

#[test]
fn what_was_lost_before_is_told_of_a_store_whose_files_are_whole() {
    let user = Home::new();
    let golden = workspace().join("node/store/tests/golden");
    for (folder, losses, blocks) in [("v1-damaged", true, false), ("v1-quarantined", false, true)] {
        let data = user.beside(folder);
        copy(&golden.join(folder), &data);
        let path = data.to_str().unwrap();
        let mut node = Node::start(&data);
        assert!(node.stop().success());
        let verified = user.json(&["store", "verify", path]);
        assert_eq!(
            (&verified["whole"], &verified["losses"]),
            (&json!(true), &json!(0))
        );
        let known = &verified["known"];
        assert_eq!(known["losses"].as_u64() > Some(0), losses, "{known}");
        let told = known["quarantinedBlocks"].as_u64() > Some(0);
        assert_eq!(told, blocks, "{known}");
        let text = user.run(&["store", "verify", path]).expect(0).text();
        assert!(text.contains("store losses"), "{text}");
        assert!(text.starts_with("what is there is whole\nnot "), "{text}");
    }
    let data = user.beside("sound");
    let path = data.to_str().unwrap();
    let mut node = Node::start(&data);
    store_something(&node);
    assert!(node.stop().success());
    let verified = user.json(&["store", "verify", path]);
    let none = json!({ "losses": 0, "quarantinedBlocks": 0, "rowsSetAside": 0 });
    assert_eq!(verified["known"], none);
    let text = user.run(&["store", "verify", path]).expect(0).text();
    assert!(!text.contains("store losses"), "{text}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_file_given_as_the_data_folder_is_named() {
    let user = Home::new();
    let file = user.file("file", "");
    for arguments in [
        &[
            "node",
            "run",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--data",
            &file,
        ][..],
        &["store", "verify", &file],
        &["store", "rebuild", "--data", &file],
        &["store", "losses", &file],
    ] {
        let error = user.error(1, arguments);
        assert_eq!(error["code"], "not_a_directory");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&file), "{message}");
    }
}

#[test]
fn a_link_to_nothing_given_as_the_data_folder_is_named() {
    let user = Home::new();
    let link = user.beside("link");
    std::os::unix::fs::symlink(user.beside("nothing"), &link).unwrap();
    let path = link.to_str().unwrap();
    let run = [
        "node",
        "run",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--data",
        path,
    ];
    let error = user.error(1, &run);
    assert_eq!(error["code"], "not_a_directory");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("a symbolic link to nothing"), "{message}");
    let doctor = ["node", "doctor", "--data", path];
    let report = user.run_json(&doctor).document(3, &doctor);
    assert_eq!(checked(&report, "store")[0], "failed");
}

#[test]
fn an_index_that_is_made_anew_of_nothing_says_so() {
    let user = Home::new();
    let data = user.beside("node");
    fs::create_dir_all(data.join("segments")).unwrap();
    fs::write(data.join("FORMAT"), "perennis-store 2\n").unwrap();
    let rebuild = ["store", "rebuild", data.to_str().unwrap()];
    // The first makes an index, the second makes it anew.
    user.json(&rebuild);
    let told = user.json(&rebuild);
    assert_eq!(told["blocks"], 0);
    assert_eq!(
        told["found"][0]["message"],
        "the index was made anew from the log"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_node_takes_the_open_files_that_the_system_allows() {
    let user = Home::new();
    let data = user.beside("node");
    let node = Node::command(&data, None, "127.0.0.1:0");
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -Sn 256; exec \"$0\" \"$@\""])
        .arg(node.get_program())
        .args(node.get_args());
    let node = Node::start_as(command, &data);
    let limits = fs::read_to_string(format!("/proc/{}/limits", node.process_id())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let mut figures = line.unwrap().split_whitespace().skip(3);
    let [soft, hard] = [(); 2].map(|()| figures.next().unwrap().parse().unwrap_or(u64::MAX));
    assert!(soft > 256 && soft == hard.min(1 << 20), "{limits}");
}
