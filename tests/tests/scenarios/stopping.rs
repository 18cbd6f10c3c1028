//! The node is asked to stop while a client is in the middle of a request.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use perennis_tests::home::Home;
use perennis_tests::node::{Answer, Node};
use perennis_tests::publisher::{Message, Publisher};

/// A node that waits long for a body, and a request whose body has only begun.
fn with_stalled_request(user: &Home) -> (Node, TcpStream, Message) {
    let config = user.file("node.toml", "[http]\nidle-timeout = \"5m\"\n");
    let node = Node::start_with(&user.beside("node"), config.as_ref());
    let message = Publisher::new(1).next_message();
    let mut stream = TcpStream::connect(node.address()).unwrap();
    write!(
        stream,
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/vnd.ipld.car\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        message.path,
        message.body.len()
    )
    .unwrap();
    // The node says that it reads: from here on the request is one that it has begun.
    let mut told = [0; 25];
    std::io::Read::read_exact(&mut stream, &mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&message.body[..10]).unwrap();
    (node, stream, message)
}

/// Asks the node to stop and waits until it takes no more connections: then it has heard.
fn ask_to_stop(node: &Node) {
    node.ask_to_stop();
    let give_up = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(node.address()).is_ok() {
        assert!(Instant::now() < give_up, "the node still accepts");
        thread::yield_now();
    }
}

#[test]
fn asked_once_a_node_finishes_what_it_has_begun() {
    let user = Home::new();
    let (mut node, mut stream, message) = with_stalled_request(&user);
    ask_to_stop(&node);
    assert!(node.is_running(), "it did not wait for the request");
    stream.write_all(&message.body[10..]).unwrap();
    let answer = Answer::read(&mut stream);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(node.wait().success());
    // And what it has acknowledged on the way out is there.
    let node = Node::start(&user.beside("node"));
    let answer = node.request("GET", &format!("/ipfs/{}", message.head), &[], b"");
    assert_eq!(answer.status, 200);
}

#[test]
fn asked_twice_a_node_quits_at_once() {
    let user = Home::new();
    let (mut node, stream, _) = with_stalled_request(&user);
    ask_to_stop(&node);
    assert!(node.is_running(), "it did not wait for the request");
    node.ask_to_stop();
    // The request is still stalled: whoever waits for it does not end with 1.
    assert_eq!(node.wait().code(), Some(1));
    drop(stream);
    // Quitting is a crash like any other: the next start is fine.
    assert!(Node::start(&user.beside("node")).is_running());
}
