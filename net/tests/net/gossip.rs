//! Peers that break the rules: made of libp2p's parts, without our checks.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, SwarmBuilder, Transport,
    core::{transport::MemoryTransport, upgrade},
    gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode},
    noise,
    swarm::{NetworkBehaviour, SwarmEvent},
    yamux,
};
use perennis_net::{
    Net, NetConfig, PubsubConfig, PubsubError,
    config::identity_of,
    dht::{MemoryDhtStore, record_key},
    framing::{read_frame, write_frame},
};
use perennis_rt as rt;
use perennis_shared::{
    ipns::{Name, Record, RecordFields, create},
    limits::FETCH_ANSWER_BYTES,
    sign::SigningKey,
    time::{Millis, Timestamp},
    wire,
};
use tokio::sync::mpsc;

/// The protocol of questions for the newest record.
const FETCH: StreamProtocol = StreamProtocol::new("/libp2p/fetch/0.0.1");

/// The end of every record, so that one made again is the same.
static END: LazyLock<Millis> = LazyLock::new(|| Millis(rt::now().0 + 86_400_000));

fn key() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

fn name() -> Name {
    Name::from_public_key(&key().public())
}

fn record_of(key: &SigningKey, sequence: u64) -> Record {
    let fields = RecordFields {
        value: "/ipfs/bafkqaaa",
        sequence,
        validity: Timestamp::from(*END),
        ttl: Duration::from_secs(60),
    };
    create(key, &fields).unwrap()
}

fn record(sequence: u64) -> Record {
    record_of(&key(), sequence)
}

async fn peer(number: u8) -> Net {
    let store = Arc::new(MemoryDhtStore::new(10));
    let mut config = NetConfig::new(identity_of(&[number; 32]), store);
    config.listen = vec!["/memory/0".parse().unwrap()];
    config.pubsub = Some(PubsubConfig::default());
    Net::start(config).await.unwrap()
}

/// The id of a message as the Go implementation makes it.
fn message_id(message: &gossipsub::Message) -> gossipsub::MessageId {
    let source = message.source.map(PeerId::to_bytes).unwrap_or_default();
    let number = message.sequence_number.unwrap_or_default().to_be_bytes();
    gossipsub::MessageId::new(&[&source[..], &number].concat())
}

/// Asks for the newest record of a name, and reads the answer whatever it is.
async fn ask(streams: &mut libp2p_stream::Control, peer: PeerId, name: Name) -> Option<Vec<u8>> {
    let mut stream = streams.open_stream(peer, FETCH).await.unwrap();
    let question = wire::fetch::request(&record_key(&name));
    write_frame(&mut stream, &question).await.unwrap();
    stream.close().await.unwrap();
    let answer = read_frame(&mut stream, FETCH_ANSWER_BYTES).await.unwrap();
    wire::fetch::parse_answer(&answer)
        .unwrap()
        .map(<[u8]>::to_vec)
}

#[derive(NetworkBehaviour)]
struct Parts {
    gossip: gossipsub::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// A peer that subscribes to the topic, tells what it is told to, and hears all without judging it.
struct Raw {
    peer: PeerId,
    say: mpsc::UnboundedSender<Vec<u8>>,
    heard: mpsc::UnboundedReceiver<Vec<u8>>,
    streams: libp2p_stream::Control,
    ended: mpsc::UnboundedReceiver<()>,
}

/// Connects to a peer that follows the name, and follows it too.
async fn raw(address: Multiaddr) -> Raw {
    raw_answering(address, None).await
}

/// The same, and gives one answer to every question.
async fn raw_answering(address: Multiaddr, answer: Option<Vec<u8>>) -> Raw {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_other_transport(|key| {
            let noise = noise::Config::new(key)?;
            let memory = MemoryTransport::default()
                .upgrade(upgrade::Version::V1Lazy)
                .authenticate(noise)
                .multiplex(yamux::Config::default());
            Ok(memory)
        })
        .unwrap()
        .with_behaviour(|key| Parts {
            gossip: gossipsub::Behaviour::new(
                MessageAuthenticity::Signed(key.clone()),
                gossipsub::ConfigBuilder::default()
                    .validation_mode(ValidationMode::Strict)
                    .message_id_fn(message_id)
                    .build()
                    .unwrap(),
            )
            .unwrap(),
            streams: libp2p_stream::Behaviour::new(),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    let topic = IdentTopic::new(name().topic());
    swarm.behaviour_mut().gossip.subscribe(&topic).unwrap();
    let mut streams = swarm.behaviour().streams.new_control();
    if let Some(answer) = answer {
        let mut incoming = streams.accept(FETCH).unwrap();
        tokio::spawn(async move {
            while let Some((_, mut stream)) = incoming.next().await {
                let _ = write_frame(&mut stream, &answer).await;
                let _ = stream.close().await;
            }
        });
    }
    swarm.dial(address).unwrap();
    let peer = *swarm.local_peer_id();
    let (say, mut said) = mpsc::unbounded_channel::<Vec<u8>>();
    let (hears, heard) = mpsc::unbounded_channel();
    let (ends, ended) = mpsc::unbounded_channel();
    let (joined, mut is_joined) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                event = swarm.select_next_some() => match event {
                    SwarmEvent::Behaviour(PartsEvent::Gossip(gossipsub::Event::Message { message, .. })) => {
                        let _ = hears.send(message.data);
                    }
                    SwarmEvent::Behaviour(PartsEvent::Gossip(gossipsub::Event::Subscribed { .. })) => {
                        let _ = joined.send(());
                    }
                    SwarmEvent::ConnectionClosed { .. } => {
                        let _ = ends.send(());
                    }
                    _ => {}
                },
                message = said.recv() => match message {
                    Some(message) => {
                        // After it was let go there is nobody to tell.
                        let _ = swarm.behaviour_mut().gossip.publish(topic.hash(), message);
                    }
                    None => return,
                },
            }
        }
    });
    is_joined.recv().await.unwrap();
    Raw {
        peer,
        say,
        heard,
        streams,
        ended,
    }
}

fn address(net: &Net) -> Multiaddr {
    net.addresses()[0].clone()
}

/// Fails after a minute instead of waiting for ever.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    rt::timeout(Duration::from_secs(60), future).await.unwrap()
}

#[tokio::test]
async fn only_a_newer_valid_record_goes_on() {
    let net = peer(1).await;
    let pubsub = net.pubsub().unwrap();
    pubsub.follow(name(), Some(record(5))).await.unwrap();
    let speaker = raw(address(&net)).await;
    let mut listener = raw(address(&net)).await;
    let foreign = SigningKey::from_seed(&[8; 32]);
    let bad = [
        record_of(&foreign, 9).bytes().to_vec(),
        b"garbage".to_vec(),
        Vec::new(),
        vec![0; 10_241],
        record(4).bytes().to_vec(),
        record(5).bytes().to_vec(),
    ];
    for message in bad {
        speaker.say.send(message).unwrap();
    }
    let newer = record(6);
    speaker.say.send(newer.bytes().to_vec()).unwrap();
    // Messages of one peer come in order: whatever went on of the others would have been heard before.
    assert_eq!(soon(listener.heard.recv()).await.unwrap(), *newer.bytes());
    let mut updates = pubsub.updates();
    assert_eq!(soon(updates.next()).await.unwrap(), (name(), newer));
}

#[tokio::test]
async fn who_tells_nothing_but_garbage_is_let_go() {
    let net = peer(2).await;
    net.pubsub().unwrap().follow(name(), None).await.unwrap();
    let mut flood = raw(address(&net)).await;
    for number in 0..64_u8 {
        flood.say.send(vec![number; 100]).unwrap();
    }
    soon(flood.ended.recv()).await.unwrap();
    // Others are served as before.
    let honest = raw(address(&net)).await;
    honest.say.send(record(1).bytes().to_vec()).unwrap();
    let mut updates = net.pubsub().unwrap().updates();
    assert_eq!(soon(updates.next()).await.unwrap().1.sequence(), 1);
    assert_ne!(honest.peer, flood.peer);
}

#[tokio::test]
async fn garbage_in_a_question_ends_its_stream_and_nothing_else() {
    let net = peer(3).await;
    let pubsub = net.pubsub().unwrap();
    pubsub.follow(name(), Some(record(7))).await.unwrap();
    let mut asker = raw(address(&net)).await;
    let mut huge = Vec::new();
    wire::write_length(&mut huge, 1 << 27);
    for garbage in [
        &[0xff; 64][..],
        &huge,
        &[9, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7],
    ] {
        let mut stream = asker
            .streams
            .open_stream(net.peer_id(), FETCH)
            .await
            .unwrap();
        // The other end may close while this is being written.
        let _ = stream.write_all(garbage).await;
        let _ = stream.flush().await;
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty(), "{garbage:?}");
    }
    let answer = soon(ask(&mut asker.streams, net.peer_id(), name())).await;
    assert_eq!(answer.unwrap(), *record(7).bytes());
    let unknown = Name::from_public_key(&SigningKey::from_seed(&[8; 32]).public());
    let answer = soon(ask(&mut asker.streams, net.peer_id(), unknown)).await;
    assert_eq!(answer, None);
}

#[tokio::test]
async fn many_questions_that_stall_leave_room_for_others() {
    let net = peer(4).await;
    let pubsub = net.pubsub().unwrap();
    pubsub.follow(name(), Some(record(7))).await.unwrap();
    let mut stalls = raw(address(&net)).await;
    let mut held = Vec::new();
    for _ in 0..32 {
        let mut stream = stalls
            .streams
            .open_stream(net.peer_id(), FETCH)
            .await
            .unwrap();
        let _ = stream.write_all(&[40]).await;
        let _ = stream.flush().await;
        held.push(stream);
    }
    let mut healthy = raw(address(&net)).await;
    let answer = soon(ask(&mut healthy.streams, net.peer_id(), name())).await;
    assert_eq!(answer.unwrap(), *record(7).bytes());
}

#[tokio::test]
async fn answers_that_are_no_records_are_not_believed() {
    let net = peer(5).await;
    let pubsub = net.pubsub().unwrap();
    let foreign = record_of(&SigningKey::from_seed(&[8; 32]), 9);
    let answers = [
        wire::fetch::answer(Some(foreign.bytes())),
        wire::fetch::answer(Some(b"garbage")),
        vec![0xff; 40],
    ];
    pubsub.follow(name(), None).await.unwrap();
    let mut liars = Vec::new();
    for answer in answers {
        // Each is asked as soon as it is found to follow the name.
        liars.push(raw_answering(address(&net), Some(answer)).await);
    }
    let nothing = soon(pubsub.find(&name())).await.unwrap_err();
    assert!(
        matches!(
            nothing,
            PubsubError::NotFound { .. } | PubsubError::Record(_)
        ),
        "{nothing:?}"
    );
    assert_eq!(pubsub.newest(&name()), None);
    // One that tells the truth among them is heard.
    let truth = wire::fetch::answer(Some(record(3).bytes()));
    let _honest = raw_answering(address(&net), Some(truth)).await;
    let mut updates = pubsub.updates();
    assert_eq!(soon(updates.next()).await.unwrap().1, record(3));
}
