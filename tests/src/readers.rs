//! Clients that take a graph a few bytes at a time, and the graph.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use perennis_shared::cid::{Block, Codec};
use perennis_shared::codec::{Value, dag_cbor};

use crate::measure::bytes;
use crate::node::Node;
use crate::publisher::Publisher;

/// Lets a node keep a graph of a root and so many leaves; gives the path of its CAR.
///
/// # Panics
/// When the node does not take it.
#[must_use]
pub fn keep_graph(node: &Node, leaves: u64, leaf_bytes: usize) -> String {
    let leaves: Vec<Block> = (0..leaves)
        .map(|seed| Block::new(Codec::Raw, bytes(leaf_bytes, seed)).expect("a block in its limit"))
        .collect();
    let links = leaves.iter().map(|leaf| Value::Link(*leaf.cid())).collect();
    let root = dag_cbor::encode(&Value::List(links)).expect("a list of links");
    let root = Block::new(Codec::DagCbor, root).expect("a block in its limit");
    let cid = *root.cid();
    let message = Publisher::new(1).graph_message(&cid, [&root].into_iter().chain(&leaves));
    let headers = ["content-type: application/vnd.ipld.car"];
    let answer = node.request("PUT", &message.path, &headers, &message.body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    format!("/ipfs/{cid}?format=car")
}

/// A client that has asked for something and takes it slowly.
#[derive(Debug)]
pub struct SlowReader {
    stream: TcpStream,
}

impl SlowReader {
    /// Asks, and takes nothing yet.
    ///
    /// # Panics
    /// When the node does not accept.
    #[must_use]
    pub fn ask(node: &Node, path: &str) -> Self {
        let mut stream = TcpStream::connect(node.address()).expect("the node accepts");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\n\r\n",
            node.address()
        );
        stream
            .write_all(request.as_bytes())
            .expect("a short request");
        stream.set_nonblocking(true).expect("a socket that is open");
        Self { stream }
    }

    /// Takes a few bytes when some are there; false when the node has ended the connection.
    ///
    /// # Panics
    /// When the socket fails.
    pub fn take_a_little(&mut self) -> bool {
        match self.stream.read(&mut [0; 16]) {
            Ok(read) => read > 0,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => true,
                ErrorKind::ConnectionReset => false,
                _ => panic!("{error}"),
            },
        }
    }
}
