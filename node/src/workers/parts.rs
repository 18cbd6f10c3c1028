//! The parts of a node that its workers are made of.
//!
//! Each worker takes what it needs in its own `new(parts)`, so that who starts it knows nothing of that. Must never touch:
//! what the parts do.

use std::sync::Arc;

use tokio::sync::Notify;

use super::gossip::Gossip;
use super::reprovide::Reprovide;
use super::republish::Republish;
use crate::clock::Clock;
use crate::config::Config;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::probe::Probe;
use crate::read::Read;
use crate::routes::Routes;
use crate::storage::Storage;

/// What workers are made of.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) clock: &'a Arc<Clock>,
    pub(crate) storage: &'a Storage,
    pub(crate) read: &'a Arc<Read>,
    pub(crate) ingest: &'a Arc<Ingest>,
    pub(crate) routes: &'a Arc<Routes>,
    pub(crate) metrics: &'a Arc<Metrics>,
    pub(crate) republish: &'a Arc<Republish>,
    pub(crate) reprovide: &'a Arc<Reprovide>,
    pub(crate) probe: &'a Arc<Probe>,
    /// None where the node does not gossip.
    pub(crate) gossip: Option<&'a Arc<Gossip>>,
    /// Notified when nobody has a block that was found damaged: a round of the pin scan begins at once, to find out
    /// whose it is.
    pub(crate) scan_wanted: Arc<Notify>,
}
