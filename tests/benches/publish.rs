//! 64 clients that publish to a node, each its own small changes, one after the other, and wait for the durable answer.
//! What they send is signed beforehand, so that the node is measured and not its clients.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use perennis_tests::{
    bench::Scratch,
    measure::say,
    node::Node,
    publisher::{Connection, Message, Publisher},
};

const CLIENTS: usize = 64;
const PUBLISHES: usize = 120;
/// Publishes at the start that are not counted: connections and caches warm up.
const WARM: usize = 10;

fn main() {
    let scratch = Scratch::new("publish").unwrap();
    let data = scratch.path().join("data");
    let mut command = Node::command(&data, None, "127.0.0.1:0");
    // Faster than anybody may by default.
    command.env("PERENNIS_ADMISSION_NAME_RATE", "1000000");
    let node = Node::start_as(command, &data);
    let address = node.admin_address().to_owned();
    let messages: Vec<Vec<Message>> = (0..CLIENTS).map(prepare).collect();
    let barrier = Barrier::new(CLIENTS + 1);
    let (time, mut waits) = thread::scope(|scope| {
        let clients: Vec<_> = messages
            .iter()
            .map(|messages| scope.spawn(|| client(&address, messages, &barrier)))
            .collect();
        barrier.wait();
        let start = Instant::now();
        let waits: Vec<Duration> = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        (start.elapsed(), waits)
    });
    waits.sort_unstable();
    say(
        "publish/rate",
        waits.len() as f64 / time.as_secs_f64(),
        "publishes/s",
    );
    let p99 = waits[waits.len() * 99 / 100];
    say("publish/p99", p99.as_secs_f64() * 1000.0, "ms");
}

/// The messages of one client.
fn prepare(client: usize) -> Vec<Message> {
    let mut publisher = Publisher::new(u8::try_from(client).unwrap());
    (0..WARM + PUBLISHES)
        .map(|_| publisher.next_message())
        .collect()
}

/// Publishes one after the other over one connection and returns how long each waited.
fn client(address: &str, messages: &[Message], barrier: &Barrier) -> Vec<Duration> {
    let mut connection = Connection::open(address).unwrap();
    let mut post = |message: &Message| {
        let start = Instant::now();
        let (status, answer) = connection.post(message).unwrap();
        let took = start.elapsed();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        took
    };
    let (warm, counted) = messages.split_at(WARM);
    for message in warm {
        post(message);
    }
    barrier.wait();
    counted.iter().map(post).collect()
}
