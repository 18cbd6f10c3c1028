//! Resolving a DID or a name to its newest head.

use futures_util::future::join_all;
use perennis_rt as rt;
use perennis_shared::{
    cid::Cid,
    did::Did,
    error::{ErrorKind, Retryable, chain},
    ipns::{self, Equivocation, Name, NameChain, NameChainError, NameStep, Record},
    time::Timestamp,
};

use super::{Client, distinct};
use crate::{
    node_url::NodeUrl,
    router::{self, Gathered, RouteError, Router, Verdict, has_none_valid},
    store::{BlockStore, StoreError},
};

/// Where a name points, and how that is known.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The identity that was asked for.
    pub did: Did,
    /// Its name.
    pub name: Name,
    /// The newest log entry; of somebody else's record the root of what it points at.
    pub head: Cid,
    /// What follows the root in the record's value, without the slash before it; empty where it is the root itself. Where
    /// several names lead to it, the paths of all their records are put together.
    pub path: String,
    /// The record's sequence.
    pub sequence: u64,
    /// Until when the record is valid.
    pub valid_until: Timestamp,
    /// Who gave the record: a URL, or `cache`.
    pub source: String,
    /// The record of the name that was asked for.
    pub record: Record,
    /// Two records that contradict each other at this sequence, when that was seen now.
    pub equivocation: Option<Equivocation>,
    /// A replay that was offered and refused now.
    pub refused: Option<Refused>,
    /// The names on the way to the head, in their order: the name itself, and where its record points at another name, that
    /// one, and so on.
    pub steps: Vec<ResolveStep>,
}

/// Where a name leads that need not be of an identity.
#[derive(Clone, Debug)]
pub struct ResolvedName {
    /// The root of what its record, or the last of the names behind it, points at.
    pub head: Cid,
    /// As [`Resolved::path`].
    pub path: String,
    /// As [`Resolved::steps`]: the name itself is the first.
    pub steps: Vec<ResolveStep>,
}

/// One name on the way to content, and its newest record.
#[derive(Clone, Debug)]
pub struct ResolveStep {
    /// The name.
    pub name: Name,
    /// Its best record. What it points at is the next step, or the content.
    pub record: Record,
    /// Who gave the record: a URL, or `cache`.
    pub source: String,
    /// Two records of this name that contradict each other at this sequence, when that was seen now.
    pub equivocation: Option<Equivocation>,
    /// A replay that was offered and refused now.
    pub refused: Option<Refused>,
}

/// A valid record that is older than one seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Who offered it.
    pub source: String,
    /// Its sequence.
    pub sequence: u64,
}

/// Why a DID or name was not resolved.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nobody had a valid record, and none seen before is still valid; [`RouteError::Ended`] where a node holds one that has ended.
    #[error(transparent)]
    Route(Box<RouteError>),
    /// The record is valid, but leads to no content.
    #[error(transparent)]
    Chain(#[from] NameChainError),
    /// The record is valid and points at another name, where the list of the identity itself is needed.
    #[error("the name points at another name, {path}, and a list of that is not of this identity")]
    OtherName {
        /// What the record says.
        path: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ResolveError {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Route(error) => error.code(),
            Self::Chain(error) => error.code(),
            Self::OtherName { .. } => "other_name",
            Self::Store(error) => error.code(),
        }
    }
}

impl From<RouteError> for ResolveError {
    fn from(error: RouteError) -> Self {
        Self::Route(Box::new(error))
    }
}

impl Retryable for ResolveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Route(error) => error.kind(),
            Self::Chain(error) => error.kind(),
            Self::OtherName { .. } => ErrorKind::Reject,
            Self::Store(error) => error.kind(),
        }
    }
}

impl<S: BlockStore + 'static> Client<S> {
    /// Asks everybody for the newest record of `did` and remembers it, so that no later answer can go back
    /// behind it. When nobody answers, a record seen before is used while it is valid. A record that points at another name is
    /// followed, for as many names as [`NAME_CHAIN`](perennis_shared::limits::NAME_CHAIN) says and none twice; all names behind
    /// the first have together as much time as one.
    ///
    /// # Errors
    /// No valid record was found, the only one found is a replay of an old one, or the names lead in a circle, on too far, or
    /// to no content.
    pub async fn resolve(&self, did: &Did) -> Result<Resolved, ResolveError> {
        self.resolve_with(did, &[]).await
    }

    /// [`Client::resolve`], with `more` nodes to ask besides the configured ones.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub async fn resolve_with(
        &self,
        did: &Did,
        more: &[NodeUrl],
    ) -> Result<Resolved, ResolveError> {
        let ResolvedName { head, path, steps } = self.resolve_name(did.name(), more).await?;
        Ok(resolved(did, head, path, steps))
    }

    /// [`Client::resolve_with`] for a name of any key, also one that is of no identity: those of RSA, secp256k1 and ECDSA keys.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub async fn resolve_name(
        &self,
        name: Name,
        more: &[NodeUrl],
    ) -> Result<ResolvedName, ResolveError> {
        let mut chain = NameChain::new(name, "");
        let first = self.newest(name, more).await?;
        let mut step = chain.follow(first.record.value())?;
        let mut steps = vec![first];
        let after = self.shared.config.resolve.deadline;
        let walk = async {
            loop {
                match step {
                    NameStep::Content { root, rest } => return Ok((root, rest)),
                    NameStep::Name(next) => {
                        let found = self.newest(next, more).await?;
                        step = chain.follow(found.record.value())?;
                        steps.push(found);
                    }
                }
            }
        };
        let walked: Result<Result<_, ResolveError>, _> = rt::timeout(after, walk).await;
        let (head, path) = walked.unwrap_or_else(|_| Err(RouteError::Deadline { after }.into()))?;
        Ok(ResolvedName { head, path, steps })
    }

    /// As [`Client::resolve_with`], where the list of the identity itself is meant: a record that points at another name is not
    /// followed, since the list there is signed by somebody else.
    ///
    /// # Errors
    /// As [`Client::resolve`]; [`ResolveError::OtherName`] for a record that points at another name.
    pub async fn resolve_list(
        &self,
        did: &Did,
        more: &[NodeUrl],
    ) -> Result<Resolved, ResolveError> {
        list_of(did, self.newest(did.name(), more).await?)
    }

    /// The newest record of a name, of all who were asked and of those seen before.
    async fn newest(&self, name: Name, more: &[NodeUrl]) -> Result<ResolveStep, ResolveError> {
        let local = &self.shared.local;
        let gathered = match self.routers(more).gather(&name).await {
            Ok(gathered) => gathered,
            Err(error) => {
                let Ok(seen) = local.resolve(&name).await else {
                    return Err(match self.held_ended(&name, more, &error).await {
                        Some((record, holder)) => ResolveError::from(RouteError::Ended {
                            name,
                            record: Box::new(record),
                            holder,
                        }),
                        None => error.into(),
                    });
                };
                tracing::debug!(%name, %error, "nobody answered; a record seen before is used");
                return Ok(ResolveStep::new(name, seen, local.label()));
            }
        };
        self.judged(name, gathered).await
    }

    /// The newest of the records that have ended and that nodes still hold, where they said that they have none that is valid; and who
    /// holds it.
    pub(super) async fn held_ended(
        &self,
        name: &Name,
        more: &[NodeUrl],
        error: &RouteError,
    ) -> Option<(Record, String)> {
        let config = &self.shared.config;
        let has_none = |url: &NodeUrl| match error {
            RouteError::Nobody { failures, .. } => failures
                .iter()
                .any(|(label, error)| *label == url.to_string() && has_none_valid(error)),
            error => has_none_valid(error),
        };
        let mut nodes = distinct(more.iter().chain(&config.nodes));
        nodes.retain(has_none);
        let asked = nodes.into_iter().map(|node| async move {
            let label = node.to_string();
            let http = self.shared.http.clone();
            let router = router::Http::new(http, node, config.backoff);
            match rt::timeout(config.resolve.deadline, router.held(name)).await {
                Ok(Ok(held)) => held.map(|record| (record, label)),
                Ok(Err(error)) => {
                    tracing::debug!(%name, node = label, error = %chain(&error), "a node does not say whether it holds a record that has ended");
                    None
                }
                Err(_) => None,
            }
        });
        let held = join_all(asked).await.into_iter().flatten();
        held.filter(|(record, _)| record.is_expired(rt::now()))
            .max_by(|(one, _), (other, _)| ipns::compare(one, other))
    }

    /// Holds what was gathered for the list of an identity against what was seen before, and remembers it.
    pub(super) async fn judge(
        &self,
        did: &Did,
        gathered: Gathered,
    ) -> Result<Resolved, ResolveError> {
        list_of(did, self.judged(did.name(), gathered).await?)
    }

    async fn judged(&self, name: Name, gathered: Gathered) -> Result<ResolveStep, ResolveError> {
        let local = &self.shared.local;
        let of = |record: Record, source: String| ResolveStep::new(name, record, source);
        let offered = gathered.best;
        let observation = local.observe(&name, &offered).await?;
        let mut answer = match observation.verdict {
            Verdict::Newer | Verdict::Same => of(observation.best, gathered.source),
            Verdict::Equivocation(equivocation) => ResolveStep {
                equivocation: Some(*equivocation),
                ..of(observation.best, gathered.source)
            },
            Verdict::Stale => {
                let (seen, sequence) = (observation.best, offered.sequence());
                if seen.is_expired(rt::now()) {
                    return Err(ResolveError::from(RouteError::Stale {
                        seen: seen.sequence(),
                        offered: sequence,
                    }));
                }
                let source = gathered.source;
                ResolveStep {
                    refused: Some(Refused { source, sequence }),
                    ..of(seen, local.label())
                }
            }
        };
        if let Some(pair) = gathered.equivocation {
            // Kept as evidence too, whichever of the two was observed first.
            local.observe(&name, &pair.other).await?;
            answer.equivocation.get_or_insert(pair);
        }
        Ok(answer)
    }
}

impl ResolveStep {
    fn new(name: Name, record: Record, source: String) -> ResolveStep {
        ResolveStep {
            name,
            record,
            source,
            equivocation: None,
            refused: None,
        }
    }
}

/// Where the list of an identity is, by a record of it that was not held against others yet.
pub(super) fn offered_list(
    did: &Did,
    record: Record,
    source: String,
) -> Result<Resolved, ResolveError> {
    list_of(did, ResolveStep::new(did.name(), record, source))
}

fn list_of(did: &Did, found: ResolveStep) -> Result<Resolved, ResolveError> {
    match NameChain::new(did.name(), "").follow(found.record.value())? {
        NameStep::Content { root, rest } => Ok(resolved(did, root, rest, vec![found])),
        NameStep::Name(_) => Err(ResolveError::OtherName {
            path: found.record.path().unwrap_or_default().to_owned(),
        }),
    }
}

/// What the names lead to; `steps` begins with that of the identity.
fn resolved(did: &Did, head: Cid, path: String, steps: Vec<ResolveStep>) -> Resolved {
    let first = steps[0].clone();
    Resolved {
        did: *did,
        name: first.name,
        head,
        path,
        sequence: first.record.sequence(),
        valid_until: first.record.validity(),
        source: first.source,
        record: first.record,
        equivocation: first.equivocation,
        refused: first.refused,
        steps,
    }
}
