//! Streams of the fetch protocol: one question and one answer on each.

use std::{io, sync::Arc, time::Duration};

use futures_util::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use perennis_rt::{self as rt, BoxFuture};
use perennis_shared::{
    codec::CodecError,
    error::{ErrorKind, Retryable},
    ipns::{Name, Record},
    limits::{FETCH_ANSWER_BYTES, FETCH_REQUEST_BYTES},
    wire,
};

use super::Shared;
use crate::{
    dht::{DhtStore, parse_key, record_key},
    framing::{read_frame, write_frame},
    protocol::{Handler, OpenError, Protocol, ServeResult, Stream, Streams},
};

/// How long a question and its answer may take. As the Go implementation.
const PATIENCE: Duration = Duration::from_secs(10);

/// The protocol of questions for the newest record. Of those of others 64 are answered at once, 8 of one peer.
pub(super) const FETCH: Protocol = Protocol::new("/libp2p/fetch", "0.0.1")
    .with_deadline(PATIENCE)
    .with_streams(64, 8);

/// Why a peer gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("no stream")]
    Stream(#[from] OpenError),
    #[error("the stream broke")]
    Broken(#[from] io::Error),
    #[error("the answer is none")]
    Answer(#[from] CodecError),
    #[error("no answer in time")]
    Deadline(#[from] rt::Elapsed),
}

impl Retryable for AskError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Stream(error) => error.kind(),
            Self::Broken(_) | Self::Deadline(_) => ErrorKind::Retry,
            Self::Answer(_) => ErrorKind::Corrupt,
        }
    }
}

/// Asks a peer for the newest record of a name. What it gives is not verified.
pub(crate) async fn ask(
    streams: &Streams,
    peer: PeerId,
    name: Name,
) -> Result<Option<Vec<u8>>, AskError> {
    let asking = async {
        let mut stream = streams.open(peer, &FETCH).await?;
        write_frame(&mut stream, &wire::fetch::request(&record_key(&name))).await?;
        stream.close().await?;
        let answer = read_frame(&mut stream, FETCH_ANSWER_BYTES).await?;
        Ok(wire::fetch::parse_answer(&answer)?.map(<[u8]>::to_vec))
    };
    rt::timeout(PATIENCE, asking).await?
}

/// Answers the questions of others: with the best record of a name that is followed, else with one that was put here
/// over the DHT.
pub(super) struct Answering {
    shared: Arc<Shared>,
    store: Arc<dyn DhtStore>,
}

impl Answering {
    pub(super) fn new(shared: Arc<Shared>, store: Arc<dyn DhtStore>) -> Self {
        Self { shared, store }
    }
}

impl Handler for Answering {
    fn serve(&self, _peer: PeerId, mut stream: Stream) -> BoxFuture<'_, ServeResult> {
        Box::pin(async move { Ok(answer(&mut stream, &self.shared, &*self.store).await?) })
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
    let bytes = record.as_ref().map(|record| &record.bytes()[..]);
    write_frame(stream, &wire::fetch::answer(bytes)).await?;
    stream.close().await?;
    Ok(())
}

fn newest(name: &Name, shared: &Shared, store: &dyn DhtStore) -> Option<Record> {
    let now = rt::now();
    if let Some(best) = shared.best(name).filter(|best| !best.is_expired(now)) {
        return Some(best);
    }
    let stored = store.record(name).filter(|stored| stored.expires > now)?;
    // It was valid when it came, but may have ended since.
    Some(stored.record).filter(|record| !record.is_expired(now))
}
