//! Peers that break the rules, on raw streams.

use futures_util::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Stream, StreamProtocol};
use perennis_shared::limits::BITSWAP_MESSAGE_BYTES;
use perennis_shared::wire::{
    LENGTH_BYTES,
    bitswap::{Message, PROTOCOL, Payload, Presence, Want, WantKind},
    read_length, write_length,
};

use super::*;

const STREAM: StreamProtocol = StreamProtocol::new(PROTOCOL);

/// A peer on raw streams: what is sent to it can be accepted, and anything can be sent.
pub(super) async fn raw_peer(peers: &[&Node]) -> (Node, libp2p_stream::Control) {
    let behaviour = libp2p_stream::Behaviour::new();
    let control = behaviour.new_control();
    let mut swarm = new_swarm(behaviour);
    let peer = *swarm.local_peer_id();
    let address = listen(&mut swarm, peers).await;
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let handle = Behaviour::new(NoBlocks, Config::default()).handle();
    let (_, events) = mpsc::unbounded_channel();
    let node = Node {
        peer,
        address,
        handle,
        events,
    };
    (node, control)
}

/// Takes every message and says nothing.
pub(super) async fn silent() -> (Node, mpsc::UnboundedReceiver<Message>) {
    let (node, mut control) = raw_peer(&[]).await;
    let mut streams = control.accept(STREAM).unwrap();
    let (tell, messages) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some((_, mut stream)) = streams.next().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                while let Some(message) = next(&mut stream).await {
                    drop(tell.send(message));
                }
            });
        }
    });
    (node, messages)
}

/// Says it has everything, and sends other bytes than those of the block.
pub(super) async fn liar(blocks: &[Block]) -> Node {
    let (node, mut control) = raw_peer(&[]).await;
    let mut streams = control.accept(STREAM).unwrap();
    let known: HashMap<Cid, usize> = blocks
        .iter()
        .map(|block| (*block.cid(), block.bytes().len()))
        .collect();
    tokio::spawn(async move {
        while let Some((peer, mut stream)) = streams.next().await {
            let mut control = control.clone();
            let known = known.clone();
            tokio::spawn(async move {
                let mut out = control.open_stream(peer, STREAM).await.unwrap();
                while let Some(message) = next(&mut stream).await {
                    let mut lie = Message::default();
                    for want in message.wants.iter().filter(|want| !want.is_cancel) {
                        let size = known.get(&want.cid).copied().unwrap_or_default();
                        match want.kind {
                            WantKind::Have => lie.presences.push(Presence {
                                cid: want.cid,
                                is_here: true,
                            }),
                            WantKind::Block => {
                                let wrong = vec![0xee; size].into();
                                lie.payload.push(Payload::unchecked(&want.cid, wrong));
                            }
                        }
                    }
                    if send(&mut out, &lie).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    node
}

/// Answers as the Go implementation does: each block in a message of its own, each message on a stream of its own, and those of a
/// wantlist all at once. The first `lost` answers never come: their streams are reset in the middle.
async fn stream_for_each(blocks: &[Block], lost: usize) -> Node {
    let (node, mut control) = raw_peer(&[]).await;
    let mut streams = control.accept(STREAM).unwrap();
    let known: HashMap<Cid, Block> = blocks
        .iter()
        .map(|block| (*block.cid(), block.clone()))
        .collect();
    let lost = Arc::new(AtomicU64::new(lost as u64));
    tokio::spawn(async move {
        while let Some((peer, mut stream)) = streams.next().await {
            let (control, known, lost) = (control.clone(), known.clone(), Arc::clone(&lost));
            tokio::spawn(async move {
                while let Some(message) = next(&mut stream).await {
                    let wants = message.wants.iter().filter(|want| !want.is_cancel);
                    for block in wants.filter_map(|want| known.get(&want.cid)) {
                        let answer = Message {
                            payload: vec![Payload::new(block)],
                            ..Message::default()
                        };
                        let is_lost = |left: u64| left.checked_sub(1);
                        let order = Ordering::Relaxed;
                        let is_lost = lost.fetch_update(order, order, is_lost).is_ok();
                        let mut control = control.clone();
                        tokio::spawn(async move {
                            let mut out = control.open_stream(peer, STREAM).await.unwrap();
                            let bytes = answer.encode().concat();
                            let end = if is_lost {
                                bytes.len() / 2
                            } else {
                                bytes.len()
                            };
                            drop(out.write_all(&bytes[..end]).await);
                            drop(out.flush().await);
                            if !is_lost {
                                drop(out.close().await);
                            }
                        });
                    }
                }
            });
        }
    });
    node
}

pub(super) async fn next(stream: &mut Stream) -> Option<Message> {
    let mut prefix = Vec::with_capacity(LENGTH_BYTES);
    let length = loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.ok()?;
        prefix.extend_from_slice(&byte);
        if let Some((length, _)) = read_length(&prefix, BITSWAP_MESSAGE_BYTES).ok()? {
            break length;
        }
    };
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await.ok()?;
    Message::decode(&message.into()).ok()
}

async fn send(stream: &mut Stream, message: &Message) -> std::io::Result<()> {
    // Its length stands in front of it already.
    stream.write_all(&message.encode().concat()).await?;
    stream.flush().await
}

fn wants(cids: impl IntoIterator<Item = Cid>) -> Message {
    let want = |cid| Want::new(cid, WantKind::Block, 1);
    Message {
        wants: cids.into_iter().map(want).collect(),
        ..Message::default()
    }
}

async fn serves(server: &Node, block: &Block) {
    let client = node(Blocks::default(), test_config(), &[server]).await;
    let got = within(client.handle.block(block.cid(), &[server.peer])).await;
    assert_eq!(got.as_ref(), Ok(block), "a healthy client is served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wantlists_without_end_are_bounded_and_hold_nobody_up() {
    let block = raw(vec![1; 50_000]);
    let mut server = node(Blocks::of([&block]), test_config(), &[]).await;
    let (_flooder, mut control) = raw_peer(&[&server]).await;
    let mut stream = control.open_stream(server.peer, STREAM).await.unwrap();
    let mut told = 0;
    for round in 0..10_u64 {
        let cid = |number: u64| *raw(format!("{round} {number}")).cid();
        let message = wants((0..80_000).map(cid));
        if send(&mut stream, &message).await.is_err() {
            break;
        }
        serves(&server, &block).await;
        while let Ok(event) = server.events.try_recv() {
            told += usize::from(
                matches!(event, Event::TooManyWants { left_out, .. } if left_out > 70_000),
            );
        }
    }
    assert!(told > 0, "the owner of the swarm is told");
}

#[tokio::test]
async fn a_million_entries_are_refused_before_anything_is_kept_of_them() {
    let block = raw("served");
    let mut server = node(Blocks::of([&block]), test_config(), &[]).await;
    let (_flooder, mut control) = raw_peer(&[&server]).await;
    let mut stream = control.open_stream(server.peer, STREAM).await.unwrap();
    let entry = [0x0a, 6, 0x0a, 4, 1, 0x55, 0, 0];
    let list = entry.repeat(1_000_000);
    let mut bytes = Vec::new();
    // The tag and the length of the list stand in front of it: five bytes.
    write_length(&mut bytes, list.len() + 5);
    bytes.push(0x0a);
    write_length(&mut bytes, list.len());
    bytes.extend(list);
    drop(stream.write_all(&bytes).await);
    let event = within(server.events.recv()).await.unwrap();
    assert!(matches!(event, Event::Garbage { .. }), "{event:?}");
    serves(&server, &block).await;
}

#[tokio::test]
async fn garbage_and_messages_that_are_too_large_are_told_and_end_their_stream_alone() {
    let block = raw("served");
    let mut server = node(Blocks::of([&block]), test_config(), &[]).await;
    let (peer, mut control) = raw_peer(&[&server]).await;
    let garbage: [&[u8]; 4] = [
        &[0xff; 32],
        &[0x85, 0x80, 0x80, 0x02, 1, 2, 3],
        &[3, 0x0b, 0, 0],
        &[4, 0x0a, 2, 0x0a, 0],
    ];
    for bytes in garbage {
        let mut stream = control.open_stream(server.peer, STREAM).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        let event = within(server.events.recv()).await.unwrap();
        let Event::Garbage { peer: by, .. } = event else {
            panic!("{event:?}");
        };
        assert_eq!(by, peer.peer);
        let mut end = [0; 1];
        let ended = within(stream.read(&mut end)).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "the stream has ended");
    }
    serves(&server, &block).await;
}

#[tokio::test]
async fn streams_that_stall_are_cut_and_hold_nobody_up() {
    let block = raw(vec![2; 100_000]);
    let server = node(Blocks::of([&block]), test_config(), &[]).await;
    let (_peer, mut control) = raw_peer(&[&server]).await;
    let mut stalled = Vec::new();
    for _ in 0..16 {
        let mut stream = control.open_stream(server.peer, STREAM).await.unwrap();
        // 4 MiB less one are announced, 100 bytes come.
        stream.write_all(&[0xff, 0xff, 0xff, 0x01]).await.unwrap();
        stream.write_all(&[0x1a; 100]).await.unwrap();
        stream.flush().await.unwrap();
        stalled.push(stream);
    }
    serves(&server, &block).await;
    for mut stream in stalled {
        let mut end = [0; 1];
        let ended = within(stream.read(&mut end)).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "the stream has ended");
    }
    serves(&server, &block).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_nothing_holds_no_more_than_its_share() {
    let blocks: Vec<Block> = (0..64_u8).map(|n| raw(vec![n; 1 << 20])).collect();
    let source = Blocks::of(&blocks);
    let mut server = node(source.clone(), test_config(), &[]).await;
    let (peer, mut control) = raw_peer(&[&server]).await;
    // It accepts the stream of answers and never reads it.
    let mut answers = control.accept(STREAM).unwrap();
    let mut stream = control.open_stream(server.peer, STREAM).await.unwrap();
    let all = wants(blocks.iter().map(|block| *block.cid()));
    send(&mut stream, &all).await.unwrap();
    let _unread = within(answers.next()).await.unwrap();
    serves(&server, &blocks[3]).await;
    let event = within(server.events.recv()).await.unwrap();
    let Event::Unreachable { peer: who, .. } = event else {
        panic!("{event:?}");
    };
    assert_eq!(who, peer.peer);
    assert!(
        source.reads() < 20,
        "most were never read: {}",
        source.reads()
    );
    serves(&server, &blocks[4]).await;
}

#[tokio::test]
async fn blocks_nobody_asked_for_are_dropped_and_their_sender_is_told_of() {
    let block = raw("wanted");
    let server = node(Blocks::of([&block]), test_config(), &[]).await;
    let mut client = node(Blocks::default(), test_config(), &[&server]).await;
    let (peer, mut control) = raw_peer(&[&client]).await;
    let mut stream = control.open_stream(client.peer, STREAM).await.unwrap();
    let pushed = Message {
        payload: vec![Payload::new(&raw(vec![9; 100_000])); 10],
        ..Message::default()
    };
    for _ in 0..13 {
        send(&mut stream, &pushed).await.unwrap();
    }
    for expected in [70, 130] {
        let event = within(client.events.recv()).await.unwrap();
        let Event::Unrequested { peer: who, blocks } = event else {
            panic!("{event:?}");
        };
        assert_eq!((who, blocks), (peer.peer, expected));
    }
    let counts = client.handle.counts().await.unwrap();
    assert_eq!((counts.unrequested, counts.blocks), (130, 0));
    let got = within(client.handle.block(block.cid(), &[server.peer])).await;
    assert_eq!(got.unwrap(), block);
}

/// Wants all of them at once, and gets each.
async fn all_come(server: &Node, blocks: &[Block]) {
    let client = node(Blocks::default(), test_config(), &[server]).await;
    let session = client.handle.session(&[server.peer]);
    let wanted: Vec<_> = blocks
        .iter()
        .map(|block| session.block(block.cid()))
        .collect();
    for (block, wanted) in blocks.iter().zip(wanted) {
        let size = block.bytes().len();
        assert_eq!(within(wanted).await.as_ref(), Ok(block), "{size} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_on_hundreds_of_streams_at_once_all_come() {
    for size in [1_000, 66_000, 300_000] {
        let blocks: Vec<Block> = (0..300_u32)
            .map(|number| raw([number.to_le_bytes().as_slice(), &vec![7; size]].concat()))
            .collect();
        let server = stream_for_each(&blocks, 0).await;
        all_come(&server, &blocks).await;
    }
}

#[tokio::test]
async fn answers_that_break_off_are_asked_for_again_and_come() {
    let blocks: Vec<Block> = (0..40_u8).map(|number| raw(vec![number; 5_000])).collect();
    let server = stream_for_each(&blocks, 10).await;
    all_come(&server, &blocks).await;
}

#[tokio::test]
async fn more_streams_than_allowed_are_dropped() {
    let block = raw("served");
    let server = node(Blocks::of([&block]), test_config(), &[]).await;
    let (_peer, mut control) = raw_peer(&[&server]).await;
    let mut streams = Vec::new();
    for _ in 0..Config::default().inbound_streams + 8 {
        let Ok(mut stream) = control.open_stream(server.peer, STREAM).await else {
            continue;
        };
        drop(stream.write_all(&[0]).await);
        drop(stream.flush().await);
        streams.push(stream);
    }
    let mut dropped = 0;
    for stream in &mut streams[Config::default().inbound_streams..] {
        let mut end = [0; 1];
        dropped += usize::from(matches!(
            within(stream.read(&mut end)).await,
            Ok(0) | Err(_)
        ));
    }
    assert_eq!(dropped, 8);
    serves(&server, &block).await;
}

#[tokio::test]
async fn a_peer_that_speaks_something_else_is_not_asked() {
    let (other, _control) = raw_peer(&[]).await;
    let mut client = node(Blocks::default(), test_config(), &[&other]).await;
    let cid = *raw("x").cid();
    let error = within(client.handle.block(&cid, &[other.peer]))
        .await
        .unwrap_err();
    assert_eq!(error, BitswapError::NoPeers { cid: Box::new(cid) });
    let event = within(client.events.recv()).await.unwrap();
    let error = match event {
        Event::Unreachable { error, .. } => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(error, SendError::Unsupported), "{error:?}");
}
