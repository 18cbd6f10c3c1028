//! What others ask is answered here, one question behind the other on each of their streams.
//!
//! libp2p's own behaviour answers nothing: it resets what it refuses without waking the stream, so that whoever put a bad
//! record waits for seconds. Here a record that is refused resets its stream at once, which every implementation takes for
//! the refusal that it is; the wire format knows no other. A provider that is refused is passed over, since its message is
//! never answered. A peer may keep a stream for the next question, as the Go implementation does, or open many for one each.
//!
//! Must never touch: what is answered (`local`), or how many streams there may be (the [`Protocol`] below).

use std::{io, sync::Arc, time::Duration};

use futures_util::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use perennis_rt::{self as rt, BoxFuture};
use perennis_shared::{codec::CodecError, limits::KAD_REQUEST_BYTES, wire::kad::Request};

use super::{DhtProtocol, Local, Network, records::Refused};
use crate::{
    framing::{read_frame, write_frame},
    protocol::{Handler, Protocol, ServeResult, Stream},
};

/// How long a stream may say nothing at first. One that is opened for a question says it at once.
const FIRST: Duration = Duration::from_secs(10);

/// How long a stream without questions is kept, as in the Go implementation.
const IDLE: Duration = Duration::from_secs(60);

/// How long a peer may take to read an answer.
const WRITING: Duration = Duration::from_secs(10);

/// How long a stream lasts, however much is asked.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Questions on one stream after which others are let pass.
const TURN: u32 = 32;

/// How the protocol of a network is negotiated. Of the streams of others 4,096 are served at once, 256 of one peer, and 32
/// when half of all places are taken: each holds 16 KiB at most.
pub(crate) fn protocol_of(dht: &DhtProtocol, network: Network) -> Protocol {
    Protocol::named(&dht.name(network))
        .with_deadline(LONGEST)
        .with_streams(4_096, 256)
        .with_fair_share(32)
}

/// Answers the questions of one network.
pub(crate) struct Server {
    local: Arc<Local>,
    network: Network,
}

/// Why a stream is reset.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("the stream broke")]
    Broken(#[from] io::Error),
    #[error("it is no request")]
    Request(#[from] CodecError),
    #[error("the record is refused")]
    Refused(#[from] Refused),
    #[error("nothing came, or nothing was taken, in time")]
    Deadline(#[from] rt::Elapsed),
}

impl Server {
    pub(crate) fn new(local: Arc<Local>, network: Network) -> Self {
        Self { local, network }
    }
}

impl Handler for Server {
    fn serve(&self, peer: PeerId, stream: Stream) -> BoxFuture<'_, ServeResult> {
        Box::pin(async move { Ok(serve(&self.local, self.network, peer, stream).await?) })
    }
}

async fn serve(
    local: &Local,
    network: Network,
    peer: PeerId,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<(), ServeError> {
    let mut patience = FIRST;
    let mut asked = 0_u32;
    loop {
        let message =
            match rt::timeout(patience, read_frame(&mut stream, KAD_REQUEST_BYTES)).await? {
                Ok(message) => message,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(rt::timeout(WRITING, stream.close()).await??);
                }
                Err(error) => return Err(error.into()),
            };
        patience = IDLE;
        let request = Request::parse(&message)?;
        if let Some(answer) = local.answer_to(network, &peer, &request)? {
            rt::timeout(WRITING, write_frame(&mut stream, &answer)).await??;
        }
        asked = asked.wrapping_add(1);
        if asked.is_multiple_of(TURN) {
            rt::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::{
        pin::Pin,
        task::{Context, Poll},
        time::Instant,
    };

    use futures_util::FutureExt;
    use perennis_shared::wire::kad::{Answer, Question, add_provider, pong};

    use super::*;
    use crate::{
        dht::{Contact, MemoryDhtStore},
        framing::framed,
    };

    /// Has been sent these bytes and their end, and takes what is answered.
    struct Pipe {
        sent: futures_util::io::Cursor<Vec<u8>>,
        answered: Vec<u8>,
        is_closed: bool,
    }

    impl Pipe {
        fn new(messages: &[Vec<u8>]) -> Self {
            let sent: Vec<u8> = messages
                .iter()
                .flat_map(|message| framed(message))
                .collect();
            Self {
                sent: futures_util::io::Cursor::new(sent),
                answered: Vec::new(),
                is_closed: false,
            }
        }
    }

    impl AsyncRead for Pipe {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            to: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.sent).poll_read(cx, to)
        }
    }

    impl AsyncWrite for Pipe {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            from: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.answered.extend_from_slice(from);
            Poll::Ready(Ok(from.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.is_closed = true;
            Poll::Ready(Ok(()))
        }
    }

    /// What a peer of a large network knows: as many peers as a table has there.
    fn local() -> Local {
        let store = Arc::new(MemoryDhtStore::new(100));
        let local = Local::new(PeerId::random(), true, store, Arc::default());
        for number in 1..=300 {
            let at = |transport| format!("/ip4/10.0.{}.1/{transport}", number % 250);
            let addresses = ["tcp/4001", "udp/4001/quic-v1", "udp/4001/webrtc-direct"];
            let contact = Contact {
                peer: PeerId::random(),
                addresses: addresses
                    .map(|transport| at(transport).parse().unwrap())
                    .into(),
            };
            local.tell_peer(Network::Lan, contact);
        }
        local
    }

    fn first_answer(pipe: &Pipe) -> Vec<u8> {
        let mut answered = futures_util::io::Cursor::new(&pipe.answered);
        let reading = read_frame(&mut answered, KAD_REQUEST_BYTES);
        reading.now_or_never().unwrap().unwrap()
    }

    #[tokio::test]
    async fn the_twenty_closest_are_told_and_the_end_is_answered_with_the_end() {
        let local = local();
        let mut pipe = Pipe::new(&[Question::Closest.message(b"key"), pong()]);
        let peer = PeerId::random();
        serve(&local, Network::Lan, peer, &mut pipe).await.unwrap();
        assert!(pipe.is_closed);
        let answer = first_answer(&pipe);
        let told = Answer::parse(&answer, Question::Closest, b"key").unwrap();
        assert_eq!(told.closer.len(), 20);
        assert!(pipe.answered.ends_with(&framed(&pong())));
        // Asked for itself, it names itself first.
        let own = local.own.to_bytes();
        let mut pipe = Pipe::new(&[Question::Closest.message(&own)]);
        serve(&local, Network::Lan, peer, &mut pipe).await.unwrap();
        let answer = first_answer(&pipe);
        let told = Answer::parse(&answer, Question::Closest, &own).unwrap();
        assert_eq!((told.closer.len(), told.closer[0].peer), (20, &own[..]));
        // The other network has a table of its own.
        let mut pipe = Pipe::new(&[Question::Closest.message(b"key")]);
        serve(&local, Network::Public, peer, &mut pipe)
            .await
            .unwrap();
        let answer = first_answer(&pipe);
        let told = Answer::parse(&answer, Question::Closest, b"key").unwrap();
        assert!(told.closer.is_empty());
    }

    #[tokio::test]
    async fn who_provides_a_key_itself_says_so_until_it_is_withdrawn() {
        let local = local();
        let asked = [Question::Providers.message(b"key")];
        let peer = PeerId::random();
        let told = async || {
            let mut pipe = Pipe::new(&asked);
            serve(&local, Network::Lan, peer, &mut pipe).await.unwrap();
            let answer = first_answer(&pipe);
            let told = Answer::parse(&answer, Question::Providers, b"key").unwrap();
            told.providers.len()
        };
        assert_eq!(told().await, 0);
        local.provide(b"key");
        local.tell_external(vec!["/ip4/8.8.8.8/tcp/1".parse().unwrap()]);
        assert_eq!(told().await, 1);
        // Another says the same of itself, and nobody of another.
        let other = PeerId::random();
        let provide = [peer, other].map(|peer| add_provider(b"key", &peer.to_bytes(), []));
        let mut pipe = Pipe::new(&provide);
        serve(&local, Network::Lan, other, &mut pipe).await.unwrap();
        assert!(pipe.answered.is_empty());
        assert_eq!(told().await, 2);
        local.withdraw(b"key");
        assert_eq!(told().await, 1);
    }

    #[tokio::test]
    async fn private_addresses_of_a_provider_are_not_told_in_public() {
        let local = local();
        let provider = PeerId::random();
        let addresses = ["/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1"]
            .map(|address| address.parse::<libp2p::Multiaddr>().unwrap());
        let told = addresses.iter().map(AsRef::as_ref);
        let provide = [add_provider(b"key", &provider.to_bytes(), told)];
        let mut pipe = Pipe::new(&provide);
        serve(&local, Network::Lan, provider, &mut pipe)
            .await
            .unwrap();
        for (network, wanted) in [(Network::Lan, 2), (Network::Public, 1)] {
            let mut pipe = Pipe::new(&[Question::Providers.message(b"key")]);
            serve(&local, network, PeerId::random(), &mut pipe)
                .await
                .unwrap();
            let answer = first_answer(&pipe);
            let told = Answer::parse(&answer, Question::Providers, b"key").unwrap();
            let told = &told.providers[0].addresses;
            assert_eq!(told.len(), wanted);
            assert!(told.contains(&addresses[1].as_ref()));
        }
    }

    #[tokio::test]
    async fn what_is_no_request_ends_a_stream_that_is_not_closed() {
        let local = local();
        for message in [
            vec![0xff; 9],
            vec![0; KAD_REQUEST_BYTES + 1],
            vec![0x08, 0x63],
        ] {
            let mut pipe = Pipe::new(&[message, pong()]);
            let peer = PeerId::random();
            serve(&local, Network::Lan, peer, &mut pipe)
                .await
                .unwrap_err();
            assert!(!pipe.is_closed && pipe.answered.is_empty());
        }
    }

    /// Prints the time that a question takes of a processor, without what carries it.
    #[tokio::test]
    async fn a_question_is_answered_in_microseconds() {
        const QUESTIONS: u32 = 2_000;
        let local = local();
        let questions: Vec<Vec<u8>> = (0..QUESTIONS)
            .map(|number| Question::Closest.message(&number.to_be_bytes()))
            .collect();
        let mut pipe = Pipe::new(&questions);
        let started = Instant::now();
        serve(&local, Network::Lan, PeerId::random(), &mut pipe)
            .await
            .unwrap();
        let each = started.elapsed() / QUESTIONS;
        eprintln!("a question: {:.1} µs", each.as_secs_f64() * 1e6);
    }
}
