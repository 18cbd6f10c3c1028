//! The client of an identity: its list, its log, its name, and the nodes that keep them.
//!
//! A client has one store and one current identity, of which it keeps public facts only: whatever signs is
//! handed the [`Identity`] for that call. Changes are staged without it. What each call promises:
//!
//! - [`Client::stage`]: the changes survive a crash and are visible in [`Client::labels`] at once.
//! - [`Client::publish`]: what the network has newer is merged first; then one log entry and one record are signed
//!   and kept here durably, before anything is sent. From then on any number of crashes and failed
//!   nodes only delay delivery: [`Client::deliver`] goes on without the identity.
//! - [`Client::resolve`]: the best valid record among all who were asked, never older than what this client has seen.
//!
//! The network is reached through [`router`] and [`exchange`](crate::exchange); nothing unverified
//! leaves them. The state rows are described in `rows`; nothing is signed while one of them is damaged, see `damage`.

use std::{sync::Arc, time::Duration};

use futures_util::lock::Mutex;
use perennis_rt::http::{Http, HttpError, HttpTimes};
use perennis_shared::{
    backoff::Backoff,
    cid::Cid,
    did::Identity,
    error::{ErrorKind, Retryable},
    ipns::Name,
};

use crate::{
    exchange::{Exchange, FetchLimits},
    node_url::NodeUrl,
    router::{self, Composite, CompositeTimes, Local, Router},
    store::{
        BlockStore, Changes, StoreError,
        row::{HEAD, OUTBOX, STAGED},
    },
    tokens::NodeTokens,
};

mod backup;
mod capsule;
mod clock;
mod compaction;
mod damage;
mod deliver;
mod documents;
mod labels;
mod ledger;
mod message;
mod proofs;
mod publish;
mod resolve;
mod rows;
mod stage;
mod undone;
mod view;

pub use backup::{Backup, BackupCheck, NodeBackup};
pub use capsule::{CapsuleReader, CapsuleSummary, Export, ExportError, RestoreError};
pub use clock::MendedClock;
pub use compaction::{CHECK_EVERY, DEAD_PERCENT, KEEP_REMOVED};
pub use damage::{StateCheck, StateDamage};
pub use deliver::{DeliverError, NodeOutcome, PublishOutcome};
pub use documents::PublishedDocument;
pub use labels::{ForeignLabels, LabelFilter, LabelPage, LabelQuery, LabelScan, ListedLabel};
pub use ledger::ListError;
pub use publish::{PublishError, PublishOptions};
pub use resolve::{Refused, ResolveError, ResolveStep, Resolved, ResolvedName};
pub use rows::IdentityFacts;
pub use stage::StageError;

use rows::RowValue;

/// Where a client finds the network, and its patience.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Nodes that are asked for records and blocks, best first. Publishing names its own.
    pub nodes: Vec<NodeUrl>,
    /// Further Delegated Routing V1 endpoints that are asked for records.
    pub routers: Vec<NodeUrl>,
    /// Further trustless gateways that are asked for blocks.
    pub gateways: Vec<NodeUrl>,
    /// The tokens that nodes ask for who publishes, where they do.
    pub tokens: NodeTokens,
    /// Retries of one request.
    pub backoff: Backoff,
    /// Deadlines of one request.
    pub http: HttpTimes,
    /// Deadlines of asking everybody for a record.
    pub resolve: CompositeTimes,
    /// Bounds of what is fetched.
    pub fetch: FetchLimits,
    /// The time one publish message may take.
    pub publish_time: Duration,
    /// Most changes that are signed as one entry; more are published as several, each with a message of its own. Fewer where
    /// the message would be larger than nodes take by default. At least 1,000 are.
    pub publish_changes: usize,
}

impl Default for ClientConfig {
    /// Nobody to ask, usual patience, two minutes and 100,000 changes for a message.
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            routers: Vec::new(),
            gateways: Vec::new(),
            tokens: NodeTokens::default(),
            backoff: Backoff::default(),
            http: HttpTimes::default(),
            resolve: CompositeTimes::default(),
            fetch: FetchLimits::default(),
            publish_time: Duration::from_secs(120),
            publish_changes: 100_000,
        }
    }
}

/// A client. Clones share one store and one queue of writes.
pub struct Client<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    store: Arc<S>,
    local: Local<S>,
    http: Http,
    config: ClientConfig,
    /// Held for a whole publish, delivery, import or compaction; taken before `writing`.
    publishing: Mutex<()>,
    /// Held by whatever reads the own list's rows to replace them; never while waiting for the network.
    writing: Mutex<()>,
}

impl<S> Clone for Client<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// Why an identity cannot be the current one.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another identity is the current one: most likely the passphrase was another.
    #[error("this is {given}, but the identity here is {known}")]
    Other {
        /// The DID of the identity that was given.
        given: String,
        /// The DID of the current identity.
        known: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IdentityError {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Other { .. } => "other_identity",
            Self::Store(error) => error.code(),
        }
    }
}

impl Retryable for IdentityError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Other { .. } => ErrorKind::Reject,
            Self::Store(error) => error.kind(),
        }
    }
}

impl<S: BlockStore + 'static> Client<S> {
    /// A client on `store`. Nothing is read or sent yet.
    ///
    /// # Errors
    /// The platform has no working HTTP client.
    pub fn new(store: S, config: ClientConfig) -> Result<Self, HttpError> {
        let store = Arc::new(store);
        let http = Http::new(config.http)?;
        let shared = Shared {
            local: Local::new(Arc::clone(&store)),
            store,
            http,
            config,
            publishing: Mutex::new(()),
            writing: Mutex::new(()),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.shared.store
    }

    /// Public facts of the current identity, if there is one. Where their row is damaged, the own list's DID document
    /// says them as well.
    ///
    /// # Errors
    /// The store fails.
    pub async fn identity(&self) -> Result<Option<IdentityFacts>, StoreError> {
        match self.kept_identity().await {
            Err(error) if error.is_damage() => match self.facts_of_head().await? {
                Some(facts) => Ok(Some(facts)),
                None => Err(error),
            },
            read => read,
        }
    }

    async fn kept_identity(&self) -> Result<Option<IdentityFacts>, StoreError> {
        let row = self.shared.store.state(rows::ME).await?;
        row.map(|bytes| IdentityFacts::from_row(rows::ME, &bytes))
            .transpose()
    }

    /// Makes `identity` the current one. Nothing secret is kept.
    ///
    /// # Errors
    /// [`IdentityError::Other`] when there is another one already: a store belongs to one identity.
    pub async fn adopt(&self, identity: &Identity) -> Result<IdentityFacts, IdentityError> {
        let _writing = self.shared.writing.lock().await;
        self.recognise(identity).await
    }

    /// Checks that `identity` is the current one, or makes it so when there is none.
    async fn recognise(&self, identity: &Identity) -> Result<IdentityFacts, IdentityError> {
        let given = IdentityFacts::from(identity);
        match self.identity().await? {
            Some(known) if known == given => Ok(given),
            Some(known) => Err(IdentityError::Other {
                given: given.did.to_string(),
                known: known.did.to_string(),
            }),
            None => {
                self.expect_nobody_else(&given).await?;
                let changes = Changes::new().set(rows::ME, given.to_row(rows::ME)?);
                self.shared.store.commit(changes).await?;
                Ok(given)
            }
        }
    }

    /// Where the facts of the identity were lost, what else is here still says whose store it is.
    async fn expect_nobody_else(&self, given: &IdentityFacts) -> Result<(), IdentityError> {
        for prefix in [HEAD, STAGED, OUTBOX] {
            for row in self.shared.store.state_keys(prefix).await? {
                let name = row[prefix.len()..].split('/').next().unwrap_or_default();
                if name != given.name.to_string() {
                    return Err(IdentityError::Other {
                        given: given.did.to_string(),
                        known: name.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Everybody who may know a record: the configured nodes and routers, and `more`.
    fn routers(&self, more: &[NodeUrl]) -> Composite {
        let config = &self.shared.config;
        let endpoints = distinct(more.iter().chain(&config.nodes).chain(&config.routers));
        let routers = endpoints.into_iter().map(|endpoint| {
            let http = self.shared.http.clone();
            Arc::new(router::Http::new(http, endpoint, config.backoff)) as Arc<dyn Router>
        });
        Composite::new(routers.collect(), config.resolve)
    }

    /// Everybody who may have blocks: `more`, the configured nodes and gateways.
    fn sources(&self, more: &[NodeUrl]) -> Exchange {
        let config = &self.shared.config;
        let sources = distinct(more.iter().chain(&config.nodes).chain(&config.gateways));
        Exchange::new(
            self.shared.http.clone(),
            sources,
            config.backoff,
            config.fetch,
        )
    }

    /// The newest own entry that is here whole.
    async fn own_head(&self, name: &Name) -> Result<Option<Cid>, StoreError> {
        let key = rows::head_key(name);
        let row = self.shared.store.state(&key).await?;
        row.map(|bytes| rows::parse_head(&key, &bytes)).transpose()
    }
}

fn distinct<'a>(urls: impl Iterator<Item = &'a NodeUrl>) -> Vec<NodeUrl> {
    let mut distinct: Vec<NodeUrl> = Vec::new();
    for url in urls {
        if !distinct.contains(url) {
            distinct.push(url.clone());
        }
    }
    distinct
}
