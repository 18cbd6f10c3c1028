//! What keeps a node from starting, and what it says about it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use perennis_node::app::{RunningNode, StartError};

use crate::support::{TestNode, config};

async fn refused(config: perennis_node::config::Config) -> StartError {
    match RunningNode::start(config).await {
        Ok(node) => panic!("it runs at {}", node.url()),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_and_nothing_is_written() {
    let node = TestNode::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut other = config(&dir.path().join("data"));
    other.http.listen = node.addr();
    let error = refused(other).await;
    assert_eq!(error.code(), "port_in_use");
    assert!(error.to_string().contains(&node.addr().to_string()));
    assert!(error.hint().contains("--listen"));
    assert!(!dir.path().join("data").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_cannot_use_one_directory() {
    let node = TestNode::start().await;
    let error = refused(config(node.dir.path())).await;
    assert_eq!(error.code(), "data_in_use");
    let directory = node.dir.path().display().to_string();
    assert!(error.to_string().contains(&directory), "{error}");
    node.get("/health/ready").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_a_newer_version_are_left_alone() {
    let node = TestNode::start().await;
    node.node.shutdown().await;
    let file = node.dir.path().join("FORMAT");
    let format = std::fs::read_to_string(&file).unwrap();
    let (words, _) = format.trim().rsplit_once(' ').unwrap();
    let newer = format!("{words} 99\n");
    std::fs::write(&file, &newer).unwrap();
    let error = refused(config(node.dir.path())).await;
    assert_eq!(error.code(), "newer_format");
    assert!(error.to_string().contains("99"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), newer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = refused(config(&file.join("data"))).await;
    assert_eq!(error.code(), "data_directory");
    assert!(error.hint().contains("--data"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_another_machine_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.http.listen = SocketAddr::from(([192, 0, 2, 1], 0));
    let error = refused(config).await;
    assert_eq!(error.code(), "cannot_listen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_key_file_stops_the_start() {
    let node = TestNode::start().await;
    node.node.shutdown().await;
    let file = node.dir.path().join("node.key");
    let mut key = std::fs::read(&file).unwrap();
    key[20] ^= 1;
    std::fs::write(&file, key).unwrap();
    let error = refused(config(node.dir.path())).await;
    assert_eq!(error.code(), "node_key");
    assert!(error.hint().contains("node.key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_keeps_its_key_and_its_files_to_itself() {
    let node = TestNode::start().await;
    let id = node.get("/v1/status").await.ok().json()["node"].clone();
    node.node.shutdown().await;
    for name in ["node.key", "node.passphrase"] {
        let path = node.dir.path().join(name);
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let again = RunningNode::start(config(node.dir.path())).await.unwrap();
    let again = TestNode {
        dir: node.dir,
        node: again,
    };
    assert_eq!(again.get("/v1/status").await.ok().json()["node"], id);
}
