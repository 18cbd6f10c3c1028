//! What runs here for tests and the demo reaches nobody outside of this machine, whatever it is asked for.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use perennis_tests::binary;
use perennis_tests::dialled::Dialled;
use perennis_tests::home::Home;
use perennis_tests::node::Node;

use crate::user::{publish, with_identity};

/// Somebody was dialled, so that the look is not blind, and nobody who is not here.
#[track_caller]
fn only_here(dialled: &Dialled, process: u32) {
    let addresses = dialled.addresses(process).unwrap();
    assert!(addresses.iter().any(IpAddr::is_loopback), "{addresses:?}");
    let strangers: Vec<_> = addresses
        .iter()
        .filter(|address| !address.is_loopback() && !address.is_unspecified())
        .collect();
    assert!(strangers.is_empty(), "dialled: {strangers:?}");
}

#[test]
fn a_node_of_the_tests_dials_nobody_for_what_nobody_has() {
    let (user, file) = with_identity();
    let other = Node::start(&user.beside("other"));
    let data = user.beside("node");
    let command = Node::command(&data, None, "127.0.0.1:0");
    let Some((dialled, watched)) = Dialled::by(&command, &user.beside("dialled")) else {
        return;
    };
    let mut node = Node::start_as(watched, &data);
    user.json(&["peers", "connect", other.peer(), "--node", node.admin()]);
    user.json(&["label", "add", "@one", "spam"]);
    publish(&user, &file, &[&node]);
    let name = "k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w";
    let cid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    for arguments in [&["resolve", name][..], &["providers", cid]] {
        user.run(&[arguments, &["--node", node.url()]].concat());
    }
    let process = node.process_id();
    assert!(node.stop().success());
    only_here(&dialled, process);
}

#[test]
fn the_tour_dials_nobody() {
    let user = Home::new();
    let folder = user.beside("tour");
    let mut tour = Command::new(env!("CARGO_BIN_EXE_tour"));
    tour.env("PERENNIS_BIN", binary::perennis());
    tour.arg("--dir").arg(&folder);
    let Some((dialled, mut watched)) = Dialled::by(&tour, &user.beside("dialled")) else {
        return;
    };
    watched.stdin(Stdio::null()).stdout(Stdio::piped());
    let tour = watched.stderr(Stdio::piped()).spawn().unwrap();
    let process = tour.id();
    let output = tour.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(Path::new(&folder).join("me.car").is_file());
    only_here(&dialled, process);
}
