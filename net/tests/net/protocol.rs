//! A protocol that a test adds through the door: spoken, announced, bounded, and gone when it is to go.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{AsyncReadExt, AsyncWriteExt, future::join_all};
use perennis_net::{
    AcceptError, ConnectError, Net, NetError, OpenError, PeerId,
    dht::MemoryDhtStore,
    framing::{read_frame, write_frame},
    protocol::{Handler, Protocol, ServeResult, Stream},
};
use perennis_rt::BoxFuture;
use perennis_shared::{
    error::{ErrorKind, Retryable},
    wire::write_length,
};
use tokio::sync::Semaphore;

use crate::{
    raw::Stuck,
    swarm::{address, config, peer, until},
};

/// Longest message, in bytes.
const MESSAGE_BYTES: usize = 4_096;

/// Says back what it is told.
const ECHO: Protocol = Protocol::new("/perennis-test/echo", "1.0.0").with_streams(256, 128);

/// Says nothing before it may.
const WAIT: Protocol = Protocol::new("/perennis-test/wait", "1.0.0").with_streams(4, 2);

/// Waits for a message, and not for long.
const BRIEF: Protocol = Protocol::new("/perennis-test/brief", "1.0.0")
    .with_deadline(Duration::from_millis(300))
    .with_streams(8, 1);

/// What a handler holds; it is gone when the handler is.
#[derive(Default)]
struct Held;

struct Echo(#[expect(dead_code, reason = "it is only seen to be dropped")] Arc<Held>);

impl Handler for Echo {
    fn serve(&self, _peer: PeerId, mut stream: Stream) -> BoxFuture<'_, ServeResult> {
        Box::pin(async move {
            let message = read_frame(&mut stream, MESSAGE_BYTES).await?;
            assert!(message != b"panic", "the message asks for it");
            write_frame(&mut stream, &message).await?;
            Ok(())
        })
    }
}

/// Says who asked, once it may.
struct Waiting {
    may_answer: Arc<Semaphore>,
    _held: Arc<Held>,
}

impl Handler for Waiting {
    fn serve(&self, peer: PeerId, mut stream: Stream) -> BoxFuture<'_, ServeResult> {
        Box::pin(async move {
            let _turn = self.may_answer.acquire().await?;
            write_frame(&mut stream, &peer.to_bytes()).await?;
            Ok(())
        })
    }
}

/// What a test still sees of what a handler holds.
fn held() -> (Arc<Held>, Weak<Held>) {
    let held = Arc::new(Held);
    let seen = Arc::downgrade(&held);
    (held, seen)
}

async fn pair() -> (Net, Net) {
    let (server, client) = (peer(1).await.net, peer(2).await.net);
    client.connect_to(&address(&server)).await.unwrap();
    (server, client)
}

async fn echo(net: &Net, to: PeerId, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = net.open(to, &ECHO).await.unwrap();
    write_frame(&mut stream, message).await?;
    read_frame(&mut stream, MESSAGE_BYTES).await
}

/// Whether the other end has closed or reset a stream, or does within a minute.
async fn is_ended(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut byte)).await;
    matches!(read.expect("the stream ends"), Ok(0) | Err(_))
}

/// Why a stream could not be opened for want of a connection.
fn cause(error: &OpenError) -> &ConnectError {
    match error {
        OpenError::Connect(cause) => cause,
        other => panic!("{other:?} is about no connection"),
    }
}

/// Whether a peer says to another that it speaks a protocol.
async fn is_announced(to: &Net, of: PeerId, protocol: Protocol) -> bool {
    let peers = to.peers().await.unwrap();
    let peer = peers.into_iter().find(|info| info.peer == of);
    peer.is_some_and(|info| info.protocols.contains(&protocol.to_string()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_protocol_is_spoken_and_announced_until_it_is_taken_back() {
    let (server, client) = pair().await;
    let of = server.peer_id();
    let (held, seen) = held();
    let unknown = client.open(of, &ECHO).await.unwrap_err();
    assert!(matches!(&unknown, OpenError::Unsupported { protocol } if *protocol == ECHO));
    assert_eq!(unknown.kind(), ErrorKind::Reject);

    let registration = server.accept(ECHO, Echo(held)).unwrap();
    until(|| is_announced(&client, of, ECHO)).await;
    assert_eq!(echo(&client, of, b"hello").await.unwrap(), b"hello");
    // Whoever connects later hears of it too.
    let late = peer(3).await.net;
    late.connect_to(&address(&server)).await.unwrap();
    until(|| is_announced(&late, of, ECHO)).await;

    drop(registration);
    until(|| async { seen.upgrade().is_none() }).await;
    until(|| async { !is_announced(&client, of, ECHO).await }).await;
    let gone = client.open(of, &ECHO).await.unwrap_err();
    assert!(matches!(gone, OpenError::Unsupported { .. }), "{gone:?}");
}

/// Says nothing, ever, but when it begins.
struct Silent {
    begun: Arc<Semaphore>,
}

impl Handler for Silent {
    fn serve(&self, _peer: PeerId, stream: Stream) -> BoxFuture<'_, ServeResult> {
        Box::pin(async move {
            self.begun.add_permits(1);
            std::future::pending::<()>().await;
            drop(stream);
            Ok(())
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_being_served_end_when_their_protocol_is_taken_back() {
    let (server, client) = pair().await;
    let begun = Arc::new(Semaphore::new(0));
    let silent = Silent {
        begun: Arc::clone(&begun),
    };
    let registration = server.accept(WAIT, silent).unwrap();
    let mut stream = client.open(server.peer_id(), &WAIT).await.unwrap();
    // What is opened is negotiated with the first bytes.
    write_frame(&mut stream, b"hello").await.unwrap();
    begun.acquire().await.unwrap().forget();
    drop(registration);
    assert!(is_ended(&mut stream).await);
}

#[tokio::test]
async fn one_protocol_has_one_handler() {
    let server = peer(1).await.net;
    let first = server.accept(ECHO, Echo(Arc::default())).unwrap();
    let taken = server.accept(ECHO.with_streams(1, 1), Echo(Arc::default()));
    let taken = taken.err().unwrap();
    assert!(matches!(&taken, AcceptError::Taken { protocol } if *protocol == ECHO));
    assert_eq!(taken.kind(), ErrorKind::Reject);
    // Another version is another protocol.
    let newer = Protocol::new("/perennis-test/echo", "2.0.0");
    let _newer = server.accept(newer, Echo(Arc::default())).unwrap();
    drop(first);
    let _again = server.accept(ECHO, Echo(Arc::default())).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_come_at_once_are_all_served() {
    let (server, client) = pair().await;
    let _registration = server.accept(ECHO, Echo(Arc::default())).unwrap();
    let echoes = (0..100_u32).map(|number| {
        let (client, of) = (client.clone(), server.peer_id());
        async move {
            let message = number.to_be_bytes();
            assert_eq!(echo(&client, of, &message).await.unwrap(), message);
        }
    });
    join_all(echoes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_the_bounds_are_reset() {
    let (server, first) = pair().await;
    let (second, third) = (peer(3).await.net, peer(4).await.net);
    for client in [&second, &third] {
        client.connect_to(&address(&server)).await.unwrap();
    }
    let may_answer = Arc::new(Semaphore::new(0));
    let waiting = Waiting {
        may_answer: Arc::clone(&may_answer),
        _held: Arc::default(),
    };
    let _registration = server.accept(WAIT, waiting).unwrap();
    let open = async |client: &Net| client.open(server.peer_id(), &WAIT).await.unwrap();

    let mut served = vec![
        (open(&first).await, &first),
        (open(&first).await, &first),
        (open(&second).await, &second),
        (open(&second).await, &second),
    ];
    // Each of two peers has as many as one may have; together they have all there are.
    for client in [&first, &first, &second, &third] {
        assert!(is_ended(&mut open(client).await).await);
    }
    may_answer.add_permits(4);
    for (stream, client) in &mut served {
        let told = read_frame(stream, MESSAGE_BYTES).await.unwrap();
        assert_eq!(told, client.peer_id().to_bytes());
    }
    // Places come back with the streams.
    until(|| async {
        let mut stream = open(&third).await;
        read_frame(&mut stream, MESSAGE_BYTES).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_leaves_each_its_share() {
    let (server, first) = pair().await;
    let second = peer(3).await.net;
    second.connect_to(&address(&server)).await.unwrap();
    let may_answer = Arc::new(Semaphore::new(0));
    let waiting = Waiting {
        may_answer: Arc::clone(&may_answer),
        _held: Arc::default(),
    };
    let crowded = WAIT.with_streams(6, 5).with_fair_share(1);
    let _registration = server.accept(crowded, waiting).unwrap();
    let open = async |client: &Net| client.open(server.peer_id(), &WAIT).await.unwrap();
    // One peer alone may go beyond half of the places once, and no further than that.
    let mut served = Vec::new();
    for _ in 0..4 {
        served.push(open(&first).await);
    }
    assert!(is_ended(&mut open(&first).await).await);
    // Another has its share of what is left.
    served.push(open(&second).await);
    assert!(is_ended(&mut open(&second).await).await);
    may_answer.add_permits(served.len());
    for stream in &mut served {
        read_frame(stream, MESSAGE_BYTES).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_silence_and_panics_end_their_stream_and_nothing_else() {
    let (server, client) = pair().await;
    let of = server.peer_id();
    let _echo = server.accept(ECHO, Echo(Arc::default())).unwrap();
    let _brief = server.accept(BRIEF, Echo(Arc::default())).unwrap();
    let (mut huge, mut above) = (Vec::new(), Vec::new());
    write_length(&mut huge, 1 << 27);
    write_length(&mut above, MESSAGE_BYTES + 1);
    for garbage in [&[0xff; 64][..], &huge, &above, b"\x05panic"] {
        let mut stream = client.open(of, &ECHO).await.unwrap();
        // The other end may reset while this is being written.
        let _ = stream.write_all(garbage).await;
        let _ = stream.flush().await;
        assert!(is_ended(&mut stream).await, "{garbage:?}");
        assert_eq!(echo(&client, of, b"well").await.unwrap(), b"well");
    }
    // One that says nothing is reset at the deadline, and has the only place until then.
    let mut silent = client.open(of, &BRIEF).await.unwrap();
    assert!(is_ended(&mut silent).await);
    until(|| async {
        let mut stream = client.open(of, &BRIEF).await.unwrap();
        write_frame(&mut stream, b"in time").await.is_ok()
            && read_frame(&mut stream, MESSAGE_BYTES).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_dials_where_it_has_to() {
    let (server, client) = pair().await;
    let of = server.peer_id();
    let _registration = server.accept(ECHO, Echo(Arc::default())).unwrap();
    // The other end says where it listens; then the connection closes.
    until(|| is_announced(&client, of, ECHO)).await;
    client.ban(of).await.unwrap();
    until(|| async { client.peers().await.unwrap().is_empty() }).await;
    let denied = client.open(of, &ECHO).await.unwrap_err();
    assert!(matches!(cause(&denied), ConnectError::Denied { .. }));
    assert_eq!(
        (denied.kind(), denied.code()),
        (ErrorKind::Reject, "peer_denied")
    );
    client.unban(of).await.unwrap();
    assert_eq!(echo(&client, of, b"again").await.unwrap(), b"again");

    let nowhere = client.open(PeerId::random(), &ECHO).await.unwrap_err();
    assert!(matches!(cause(&nowhere), ConnectError::NoAddress { .. }));
    assert_eq!(nowhere.kind(), ErrorKind::Retry);
    let own = client.open(client.peer_id(), &ECHO).await.unwrap_err();
    assert!(matches!(cause(&own), ConnectError::Own));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_has_one_deadline_for_all_that_it_waits_for() {
    let within = Duration::from_millis(300);
    let mut hasty = config(2, &MemoryDhtStore::new(1));
    hasty.dial = within;
    let client = Net::start(hasty).await.unwrap();
    // It is connected, and negotiates no stream any more.
    let stuck = Stuck::connected(&client).await;
    let late = client.open(stuck.peer(), &ECHO).await.unwrap_err();
    assert!(
        matches!(late, OpenError::Deadline { after } if after == within),
        "{late:?}"
    );
    assert_eq!((late.kind(), late.code()), (ErrorKind::Retry, "deadline"));
    // It listens, and takes nobody in.
    let dialled = client
        .connect(PeerId::random(), vec![stuck.address()])
        .await;
    let late = dialled.unwrap_err();
    assert!(
        matches!(late, ConnectError::Deadline { after } if after == within),
        "{late:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_with_the_peer() {
    let (server, client) = pair().await;
    let (held, seen) = held();
    let waiting = Waiting {
        may_answer: Arc::new(Semaphore::new(0)),
        _held: held,
    };
    let _registration = server.accept(WAIT, waiting).unwrap();
    let mut stream = client.open(server.peer_id(), &WAIT).await.unwrap();
    server.stop().await;
    assert!(seen.upgrade().is_none(), "a handler outlives its peer");
    assert!(is_ended(&mut stream).await);
    let refused = server.accept(ECHO, Echo(Arc::default())).err().unwrap();
    assert!(matches!(refused, AcceptError::Net(NetError::Stopped)));
    let refused = server.open(client.peer_id(), &ECHO).await.unwrap_err();
    assert!(matches!(refused, OpenError::Net(NetError::Stopped)));
    assert_eq!(refused.kind(), ErrorKind::Fatal);
}
