//! Resolving a DID or a name to its newest head.

use perennis_rt as rt;
use perennis_shared::{
    cid::Cid,
    did::Did,
    error::{ErrorKind, Retryable},
    ipns::{Equivocation, Name, PathRoot, Record},
    time::Timestamp,
};

use super::Client;
use crate::{
    node_url::NodeUrl,
    router::{Gathered, RouteError, Router, Verdict},
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
    /// What follows the root in the record's value, without the slash before it; empty where it is the root itself.
    pub path: String,
    /// The record's sequence.
    pub sequence: u64,
    /// Until when the record is valid.
    pub valid_until: Timestamp,
    /// Who gave the record: a URL, or `cache`.
    pub source: String,
    /// The record.
    pub record: Record,
    /// Two records that contradict each other at this sequence, when that was seen now.
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
    /// Nobody had a valid record, and none seen before is still valid.
    #[error(transparent)]
    Route(Box<RouteError>),
    /// The record is valid but points at something else than content.
    #[error("the name points at {value:?}, {what}")]
    NoHead {
        /// What the record says.
        value: String,
        /// What that is.
        what: &'static str,
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
            Self::NoHead { .. } => "no_head",
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
            Self::NoHead { .. } => ErrorKind::Reject,
            Self::Store(error) => error.kind(),
        }
    }
}

impl<S: BlockStore + 'static> Client<S> {
    /// Asks everybody for the newest record of `did` and remembers it, so that no later answer can go back
    /// behind it. When nobody answers, a record seen before is used while it is valid.
    ///
    /// # Errors
    /// No valid record was found, the only one found is a replay of an old one, or it does not point at content.
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
        let name = did.name();
        let local = &self.shared.local;
        let gathered = match self.routers(more).gather(&name).await {
            Ok(gathered) => gathered,
            Err(error) => {
                let Ok(seen) = local.resolve(&name).await else {
                    return Err(error.into());
                };
                tracing::debug!(%name, %error, "nobody answered; a record seen before is used");
                return resolved(did, seen, local.label());
            }
        };
        self.judge(did, gathered).await
    }

    /// Holds what was gathered against what was seen before, and remembers it.
    pub(super) async fn judge(
        &self,
        did: &Did,
        gathered: Gathered,
    ) -> Result<Resolved, ResolveError> {
        let name = did.name();
        let local = &self.shared.local;
        let offered = gathered.best;
        let observation = local.observe(&name, &offered).await?;
        let mut answer = match observation.verdict {
            Verdict::Newer | Verdict::Same => resolved(did, observation.best, gathered.source)?,
            Verdict::Equivocation(equivocation) => {
                let mut answer = resolved(did, observation.best, gathered.source)?;
                answer.equivocation = Some(*equivocation);
                answer
            }
            Verdict::Stale => {
                let (seen, sequence) = (observation.best, offered.sequence());
                if seen.is_expired(rt::now()) {
                    return Err(ResolveError::from(RouteError::Stale {
                        seen: seen.sequence(),
                        offered: sequence,
                    }));
                }
                let mut answer = resolved(did, seen, local.label())?;
                answer.refused = Some(Refused {
                    source: gathered.source,
                    sequence,
                });
                answer
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

pub(super) fn resolved(
    did: &Did,
    record: Record,
    source: String,
) -> Result<Resolved, ResolveError> {
    let no_head = |what| ResolveError::NoHead {
        value: String::from_utf8_lossy(record.value()).into_owned(),
        what,
    };
    let path = record.content_path();
    let path = path.map_err(|_| no_head("which is no content path"))?;
    let head = match path.root {
        PathRoot::Cid(root) => root,
        PathRoot::Name(_) => return Err(no_head("another name: resolve that one")),
        PathRoot::Domain => return Err(no_head("a domain, which is not followed")),
    };
    Ok(Resolved {
        did: *did,
        name: did.name(),
        head,
        path: path.rest,
        sequence: record.sequence(),
        valid_until: record.validity(),
        source,
        record,
        equivocation: None,
        refused: None,
    })
}
