//! A client that publishes now and then, alone and while one address floods the node with publishes: what it waits for.
//! What they send is signed beforehand.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use perennis_tests::{
    bench::Scratch,
    measure::say,
    node::Node,
    publisher::{Connection, Message, Publisher},
};
use tokio::net::TcpSocket;

/// Connections of the flood, each with a name of its own.
const FLOOD: usize = 64;
/// Messages that each of them sends, over and over where they run out.
const MESSAGES: usize = 400;
/// Publishes of the client in each round, and those at its start that are not counted.
const PUBLISHES: usize = 300;
const WARM: usize = 20;
/// Between two of its publishes.
const PAUSE: Duration = Duration::from_millis(10);

fn main() {
    let scratch = Scratch::new("flood").unwrap();
    let data = scratch.path().join("data");
    let mut command = Node::command(&data, None, "127.0.0.1:0");
    // The flood is not to be ended by the rates: it comes from loopback, and each name writes as fast as it can.
    command.env("PERENNIS_ADMISSION_NAME_RATE", "1000000");
    let node = Node::start_as(command, &data);
    let address = node.address().to_owned();
    let flood: Vec<Vec<Message>> = (0..FLOOD).map(|number| prepare(number, MESSAGES)).collect();
    let messages = prepare(FLOOD, 2 * (WARM + PUBLISHES));
    let (alone, beside) = messages.split_at(WARM + PUBLISHES);
    let alone = p99(&address, alone);
    let stop = AtomicBool::new(false);
    let (beside, sent) = thread::scope(|scope| {
        let floods: Vec<_> = flood
            .iter()
            .map(|messages| scope.spawn(|| pour(&address, messages, &stop)))
            .collect();
        let beside = p99(&address, beside);
        stop.store(true, Ordering::Relaxed);
        let sent: usize = floods.into_iter().map(|flood| flood.join().unwrap()).sum();
        (beside, sent)
    });
    let millis = |wait: Duration| wait.as_secs_f64() * 1000.0;
    say("flood/alone", millis(alone), "ms");
    say("flood/beside", millis(beside), "ms");
    say(
        "flood/times",
        beside.as_secs_f64() / alone.as_secs_f64(),
        "x",
    );
    say("flood/sent", sent as f64, "publishes");
}

/// A connection from an address of this machine: the node counts addresses.
fn open_from(from: [u8; 4], address: &str) -> io::Result<Connection> {
    let to: SocketAddr = address.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((from, 0)))?;
        socket.connect(to).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    Connection::over(address, stream)
}

/// The messages of one client.
fn prepare(client: usize, number: usize) -> Vec<Message> {
    let mut publisher = Publisher::new(u8::try_from(client).unwrap());
    (0..number).map(|_| publisher.next_message()).collect()
}

/// Publishes one after the other from an address of its own, and gives the wait that 99 of 100 stay below.
fn p99(address: &str, messages: &[Message]) -> Duration {
    let mut connection = open_from([127, 0, 0, 3], address).unwrap();
    let mut waits = Vec::new();
    for message in messages {
        thread::sleep(PAUSE);
        let start = Instant::now();
        let (status, answer) = connection.post(message).unwrap();
        waits.push(start.elapsed());
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    }
    let mut counted = waits.split_off(WARM);
    counted.sort_unstable();
    counted[counted.len() * 99 / 100]
}

/// Publishes as fast as it can, whatever the node says, and tells how often.
fn pour(address: &str, messages: &[Message], stop: &AtomicBool) -> usize {
    let mut sent = 0;
    let mut connection = None;
    for message in messages.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let open = match &mut connection {
            Some(open) => open,
            None => match open_from([127, 0, 0, 2], address) {
                Ok(open) => connection.insert(open),
                Err(_) => continue,
            },
        };
        match open.post(message) {
            Ok(_) => sent += 1,
            // Refusals close the connection.
            Err(_) => connection = None,
        }
    }
    sent
}
