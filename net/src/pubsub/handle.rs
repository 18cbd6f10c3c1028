//! The handle on the topics of a peer.

use std::sync::Arc;

use futures_util::{StreamExt, stream::FuturesUnordered};
use libp2p::PeerId;
use perennis_rt as rt;
use perennis_shared::{
    error::{ErrorKind, Retryable},
    ipns::{Name, Record, RecordError, UnverifiedRecord, compare},
};
use tokio::sync::oneshot;

use super::{
    AskOutcome, PubsubConfig, Shared, Verdict, ask,
    fetch::{Answering, FETCH},
    judge,
};
use crate::{
    command::Commands,
    dht::DhtStore,
    error::NetError,
    protocol::{AcceptError, Registration, Streams},
};

/// Peers that [`Pubsub::find`] asks.
const ASKED: usize = 8;

/// A handle on the topics of a peer; clones are handles on the same ones. It does not keep the peer running.
#[derive(Clone)]
pub struct Pubsub {
    pub(crate) shared: Arc<Shared>,
    pub(crate) streams: Streams,
    pub(crate) commands: Commands<PubsubCommand>,
}

/// Newer records of followed names, as they come. Of a name that has several, the best is given once.
pub struct Updates {
    shared: Arc<Shared>,
}

/// What the handle asks of the worker.
pub(crate) enum PubsubCommand {
    /// Subscribe to the topic of a name that was put among those followed.
    Join {
        name: Name,
        reply: oneshot::Sender<()>,
    },
    /// Subscribe no more.
    Leave {
        name: Name,
        reply: oneshot::Sender<()>,
    },
    /// Send a record to those who follow the name; the answer is how many are connected.
    Tell {
        name: Name,
        record: Record,
        reply: oneshot::Sender<Result<usize, PubsubError>>,
    },
    /// Connected peers that follow a name.
    Listeners {
        name: Name,
        reply: oneshot::Sender<Vec<PeerId>>,
    },
    /// A question to a peer has ended.
    Asked { peer: PeerId, outcome: AskOutcome },
}

/// Why pubsub does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PubsubError {
    /// As many names are followed as may be.
    #[error("{most} names are followed over pubsub already")]
    TooMany {
        /// Most names.
        most: usize,
    },
    /// A better record was seen.
    #[error("the record has sequence {offered}, but {seen} was seen before")]
    Stale {
        /// The sequence of the best one.
        seen: u64,
        /// The sequence of the record.
        offered: u64,
    },
    /// No connected peer that follows the name has a record of it.
    #[error("no record of {name} was found among the peers that follow it")]
    NotFound {
        /// The name.
        name: Name,
    },
    /// Peers gave only what is no valid record.
    #[error("the record is not valid")]
    Record(#[from] RecordError),
    /// The queues to all peers that follow the name are full.
    #[error("the queues to all {peers} peers that follow the name are full")]
    Busy {
        /// How many they are.
        peers: usize,
    },
    /// The message cannot be signed.
    #[error("the message cannot be sent")]
    Send(#[source] libp2p::gossipsub::PublishError),
    /// This peer gives no answer.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl PubsubError {
    /// A stable name for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooMany { .. } => "too_many_names",
            Self::Stale { .. } => "stale_record",
            Self::NotFound { .. } => "not_found",
            Self::Record(error) => error.code(),
            Self::Busy { .. } => "busy",
            Self::Send(_) => "not_sent",
            Self::Net(_) => "stopped",
        }
    }
}

impl Retryable for PubsubError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooMany { .. } | Self::Stale { .. } | Self::NotFound { .. } => ErrorKind::Reject,
            Self::Record(_) => ErrorKind::Corrupt,
            Self::Busy { .. } => ErrorKind::Retry,
            Self::Send(_) => ErrorKind::Fatal,
            Self::Net(error) => error.kind(),
        }
    }
}

impl Pubsub {
    pub(crate) fn new(
        config: &PubsubConfig,
        streams: Streams,
        commands: Commands<PubsubCommand>,
    ) -> Self {
        Self {
            shared: Shared::new(config),
            streams,
            commands,
        }
    }

    /// Answers the questions of others until the registration is dropped.
    pub(crate) fn answer(&self, store: Arc<dyn DhtStore>) -> Result<Registration, AcceptError> {
        let answering = Answering::new(Arc::clone(&self.shared), store);
        self.streams.accept(FETCH, answering)
    }

    /// Follows a name: hears of newer records than `newest`, passes them on, and gives the best to who asks. False when
    /// it was followed already; a better `newest` is taken all the same.
    ///
    /// # Errors
    /// `newest` is no record of this name, as many names are followed as may be, or the peer has stopped.
    pub async fn follow(&self, name: Name, newest: Option<Record>) -> Result<bool, PubsubError> {
        if let Some(newest) = &newest {
            UnverifiedRecord::parse(newest.bytes())?.verify_at_any_time(&name)?;
        }
        let is_new = self.shared.follow(name, newest)?;
        if is_new {
            self.commands
                .ask(|reply| PubsubCommand::Join { name, reply })
                .await?;
        }
        Ok(is_new)
    }

    /// Follows a name no more; false when it was not followed.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn leave(&self, name: Name) -> Result<bool, PubsubError> {
        let was_followed = self.shared.leave(&name);
        if was_followed {
            self.commands
                .ask(|reply| PubsubCommand::Leave { name, reply })
                .await?;
        }
        Ok(was_followed)
    }

    /// Tells those who follow a name of a record, and keeps it as the newest where the name is followed here too. Returns
    /// how many of them are connected; with none it reaches those who join later and ask.
    ///
    /// # Errors
    /// The name is followed here and the record is not valid or a better one is known, no queue has room, or the peer has stopped.
    pub async fn tell(&self, name: Name, record: &Record) -> Result<usize, PubsubError> {
        if self.shared.is_followed(&name) {
            UnverifiedRecord::parse(record.bytes())?.verify(&name, rt::now())?;
            self.shared.keep(&name, record)?;
        }
        let record = record.clone();
        self.commands
            .ask(|reply| PubsubCommand::Tell {
                name,
                record,
                reply,
            })
            .await?
    }

    /// The best record of a name that is followed here; it may have expired.
    #[must_use]
    pub fn newest(&self, name: &Name) -> Option<Record> {
        self.shared.best(name)
    }

    /// How many connected peers follow a name, as far as they say; some of very many.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn followers(&self, name: Name) -> Result<usize, NetError> {
        let listeners = self
            .commands
            .ask(|reply| PubsubCommand::Listeners { name, reply });
        Ok(listeners.await?.len())
    }

    /// The names that are followed.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        self.shared.names()
    }

    /// The best valid record that is known here or that connected peers who follow the name give.
    ///
    /// # Errors
    /// Nobody has one, or the peer has stopped.
    pub async fn find(&self, name: &Name) -> Result<Record, PubsubError> {
        let (best, _) = self.search(name).await?;
        Ok(best)
    }

    /// As [`Pubsub::find`], where a connected peer gives a valid record too: what is known here alone does not count.
    ///
    /// # Errors
    /// As [`Pubsub::find`].
    pub async fn find_at_peers(&self, name: &Name) -> Result<Record, PubsubError> {
        match self.search(name).await? {
            (best, answers) if answers > 0 => Ok(best),
            _ => Err(PubsubError::NotFound { name: *name }),
        }
    }

    /// The best record, and how many peers gave a valid one.
    async fn search(&self, name: &Name) -> Result<(Record, usize), PubsubError> {
        let now = rt::now();
        let name = *name;
        let mut answers = 0;
        let mut best = self.newest(&name).filter(|best| !best.is_expired(now));
        let mut invalid = None;
        let listeners = self
            .commands
            .ask(|reply| PubsubCommand::Listeners { name, reply })
            .await?;
        let mut asks: FuturesUnordered<_> = listeners
            .into_iter()
            .take(ASKED)
            .map(|peer| ask(&self.streams, peer, name))
            .collect();
        while let Some(answer) = asks.next().await {
            let Ok(Some(bytes)) = answer else { continue };
            match judge(&name, best.as_ref(), &bytes, now) {
                Verdict::Newer(record) => {
                    answers += 1;
                    best = Some(record);
                }
                Verdict::Invalid(error) => invalid = Some(error),
                Verdict::Known | Verdict::Older => answers += 1,
            }
        }
        match (best, invalid) {
            (Some(best), _) => {
                let seen = self.newest(&name);
                match seen {
                    // A name does not go back, also when the best record of it has ended.
                    Some(seen) if compare(&best, &seen).is_lt() => Err(PubsubError::Stale {
                        seen: seen.sequence(),
                        offered: best.sequence(),
                    }),
                    _ => Ok((best, answers)),
                }
            }
            (None, Some(error)) => Err(error.into()),
            (None, None) => Err(PubsubError::NotFound { name }),
        }
    }

    /// Newer records of followed names from now on. Where it is called several times, each record comes out of one.
    #[must_use]
    pub fn updates(&self) -> Updates {
        Updates {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Updates {
    /// The next name with a newer record, and the record: valid when it came. `None` when the peer has stopped.
    pub async fn next(&mut self) -> Option<(Name, Record)> {
        loop {
            let notified = self.shared.has_updates.notified();
            {
                let mut newest = self.shared.newest.lock();
                if let Some(update) = newest.next_update() {
                    return Some(update);
                }
                if newest.is_closed() {
                    return None;
                }
            }
            notified.await;
        }
    }
}
