//! Streams of the fetch protocol: one question and one answer on each.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use futures_util::{AsyncRead, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::PeerId;
use libp2p_stream::{Control, IncomingStreams, OpenStreamError};
use parking_lot::Mutex;
use perennis_rt as rt;
use perennis_shared::{
    codec::CodecError,
    ipns::{Name, UnverifiedRecord},
    limits::{FETCH_ANSWER_BYTES, FETCH_REQUEST_BYTES},
    time::Timestamp,
    wire,
};

use super::{FETCH, Shared};
use crate::{
    dht::{DhtStore, parse_key, record_key},
    framing::{framed, read_frame},
};

/// How long a question and its answer may take. As the Go implementation.
const PATIENCE: Duration = Duration::from_secs(10);

/// Questions of others that are answered at once.
const ANSWERING: usize = 64;

/// Of these, questions of one peer.
const ANSWERING_PEER: usize = 8;

/// Why a peer gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("no stream")]
    Stream(#[from] OpenStreamError),
    #[error("the stream broke")]
    Broken(#[from] io::Error),
    #[error("the answer is none")]
    Answer(#[from] CodecError),
    #[error("no answer in time")]
    Deadline(#[from] rt::Elapsed),
}

impl AskError {
    /// Whether the peer does not speak the protocol at all.
    pub(crate) fn is_deaf(&self) -> bool {
        matches!(self, Self::Stream(OpenStreamError::UnsupportedProtocol(_)))
    }
}

/// Asks a peer for the newest record of a name. What it gives is not verified.
pub(crate) async fn ask(
    mut control: Control,
    peer: PeerId,
    name: Name,
) -> Result<Option<Vec<u8>>, AskError> {
    let asking = async {
        let mut stream = control.open_stream(peer, FETCH).await?;
        write_frame(&mut stream, &wire::fetch::request(&record_key(&name))).await?;
        stream.close().await?;
        let answer = read_frame(&mut stream, FETCH_ANSWER_BYTES).await?;
        Ok(wire::fetch::parse_answer(&answer)?.map(<[u8]>::to_vec))
    };
    rt::timeout(PATIENCE, asking).await?
}

/// Answers the questions of others until the peer ends: with the best record of a name that is followed, else with one
/// that was put here over the DHT. Who asks too much at once is not answered. Nothing outlives the future.
pub(crate) async fn serve(streams: IncomingStreams, shared: Arc<Shared>, store: Arc<dyn DhtStore>) {
    let places = Places::default();
    let answered = streams.for_each_concurrent(None, |(peer, mut stream)| {
        let (places, shared, store) = (&places, &*shared, &*store);
        async move {
            let Some(_place) = places.take(peer) else {
                return;
            };
            let answering = answer(&mut stream, shared, store);
            match rt::timeout(PATIENCE, answering).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a question was not answered"),
                Err(_) => tracing::debug!(%peer, "a question did not come in time"),
            }
        }
    });
    answered.await;
}

/// How many questions are being answered, of all peers and of each.
#[derive(Default)]
struct Places {
    taken: Mutex<HashMap<PeerId, usize>>,
}

impl Places {
    fn take(&self, peer: PeerId) -> Option<Place<'_>> {
        let mut taken = self.taken.lock();
        if taken.values().sum::<usize>() >= ANSWERING {
            return None;
        }
        let of_peer = taken.entry(peer).or_default();
        if *of_peer >= ANSWERING_PEER {
            return None;
        }
        *of_peer += 1;
        Some(Place { places: self, peer })
    }
}

/// Given back when dropped.
struct Place<'a> {
    places: &'a Places,
    peer: PeerId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        if let Some(of_peer) = taken.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    shared: &Shared,
    store: &dyn DhtStore,
) -> Result<(), AskError> {
    let request = read_frame(stream, FETCH_REQUEST_BYTES).await?;
    let name = parse_key(wire::fetch::parse_request(&request)?);
    let record = name.and_then(|name| newest(&name, shared, store));
    write_frame(stream, &wire::fetch::answer(record.as_deref())).await?;
    stream.close().await?;
    Ok(())
}

fn newest(name: &Name, shared: &Shared, store: &dyn DhtStore) -> Option<Vec<u8>> {
    let now = rt::now();
    if let Some(best) = shared.best(name).filter(|best| !best.is_expired(now)) {
        return Some(best.bytes().to_vec());
    }
    let stored = store.record(name).filter(|stored| stored.expires > now)?;
    // It was verified when it came, but may have ended since.
    let record = UnverifiedRecord::parse(&stored.bytes).ok()?;
    (record.validity() >= Timestamp::from(now)).then(|| stored.bytes.to_vec())
}

async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    stream.write_all(&framed(message)).await?;
    stream.flush().await
}
