//! Records of names told by gossip (IPNS specification, "PubSub"; libp2p specification `gossipsub`).
//!
//! Each name has a topic, and who follows the name subscribes to it. A message is a serialized record. It is judged before
//! it goes on to anybody: what is no valid record of the name is rejected, one that is not better than the best one seen is
//! ignored, and only a newer one is accepted and passed on. Messages are signed by who sends them, as the Go
//! implementation asks for, and their ids are made as it makes them: without that, peers of both kinds would tell each
//! other of messages that neither finds.
//!
//! Gossip reaches those who are there. So who finds a peer at a topic asks it for the newest record over the fetch
//! protocol, and answers the same question.
//!
//! - `newest`: the best record of each name that is followed, and what a record is compared with it.
//! - `asks`: which peer is asked about which name, and when. Pure.
//! - `fetch`: the streams of the fetch protocol, both ends.
//! - `rendezvous`: how followers of a name find each other in the DHT.
//! - `filter`: which topics of other peers are remembered.
//! - [`Pubsub`]: the handle.
//!
//! Must never touch: the disk. What a record leads to is the business of who takes the [`Updates`].

use std::{sync::Arc, time::Duration};

use libp2p::{gossipsub, identity::Keypair};
use parking_lot::Mutex;
use perennis_shared::{
    ipns::{Name, Record},
    limits::PUBSUB_FRAME_BYTES,
};
use tokio::sync::Notify;

mod asks;
mod fetch;
mod filter;
mod handle;
mod newest;
mod rendezvous;

pub(crate) use asks::{AskOutcome, Asks, AsksInput, AsksOutput};
pub(crate) use fetch::ask;
pub(crate) use filter::NameTopics;
pub(crate) use handle::PubsubCommand;
pub use handle::{Pubsub, PubsubError, Updates};
pub(crate) use newest::{Newest, Verdict, judge};
pub use rendezvous::{meet, rendezvous};

/// How long the id of a message is known, so that it is not taken twice. As the Go implementation.
const SEEN: Duration = Duration::from_secs(120);

/// Bytes above which peers of the mesh are told that a message need not be sent again.
const WORTH_DECLINING: usize = 1_000;

/// Messages that may wait for one peer.
const WAITING: usize = 1_024;

/// What a peer is told about pubsub at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PubsubConfig {
    /// Most names that are followed at once.
    pub names: usize,
}

impl Default for PubsubConfig {
    fn default() -> Self {
        Self { names: 1_024 }
    }
}

/// The behaviour with libp2p's own routing of messages and our choice of topics.
pub(crate) type Gossip = gossipsub::Behaviour<
    gossipsub::IdentityTransform,
    gossipsub::MaxCountSubscriptionFilter<NameTopics>,
>;

/// Gossip as the Go implementation has it.
pub(crate) fn gossip(key: &Keypair) -> Gossip {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(PUBSUB_FRAME_BYTES)
        .duplicate_cache_time(SEEN)
        .flood_publish(true)
        .support_floodsub()
        .idontwant_message_size_threshold(WORTH_DECLINING)
        .connection_handler_queue_len(WAITING)
        .build()
        .expect("the parameters of the mesh are the usual ones");
    let signed = gossipsub::MessageAuthenticity::Signed(key.clone());
    gossipsub::Behaviour::new_with_subscription_filter(signed, config, filter::bounded())
        .expect("messages are signed, and signatures are asked for")
}

/// The peer that made a message and the eight bytes of its number.
fn message_id(message: &gossipsub::Message) -> gossipsub::MessageId {
    let mut id = message
        .source
        .map_or_else(Vec::new, |source| source.to_bytes());
    id.extend_from_slice(&message.sequence_number.unwrap_or_default().to_be_bytes());
    gossipsub::MessageId::new(&id)
}

/// The topic of a name.
pub(crate) fn topic_of(name: &Name) -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(name.topic())
}

/// What worker, handles and streams share.
pub(crate) struct Shared {
    newest: Mutex<Newest>,
    /// Notified when a newer record came, and at the end.
    has_updates: Notify,
}

impl Shared {
    pub(crate) fn new(config: &PubsubConfig) -> Arc<Self> {
        Arc::new(Self {
            newest: Mutex::new(Newest::new(config.names)),
            has_updates: Notify::new(),
        })
    }

    /// The best record of a name, when the name is followed; expired or not.
    pub(crate) fn best(&self, name: &Name) -> Option<Record> {
        self.newest.lock().best(name).cloned()
    }

    pub(crate) fn is_followed(&self, name: &Name) -> bool {
        self.newest.lock().is_followed(name)
    }

    pub(crate) fn follow(&self, name: Name, best: Option<Record>) -> Result<bool, PubsubError> {
        self.newest.lock().follow(name, best)
    }

    pub(crate) fn leave(&self, name: &Name) -> bool {
        self.newest.lock().leave(name)
    }

    fn names(&self) -> Vec<Name> {
        self.newest.lock().names().copied().collect()
    }

    /// Keeps a record that this peer tells itself, unless a better one is known.
    fn keep(&self, name: &Name, record: &Record) -> Result<(), PubsubError> {
        self.newest.lock().keep(name, record)
    }

    /// Judges what a peer gave as the record of a name; a newer one is kept and told.
    pub(crate) fn take(&self, name: &Name, bytes: &[u8]) -> Verdict {
        let best = self.newest.lock().best(name).cloned();
        // The signature is checked while others may look.
        let verdict = judge(name, best.as_ref(), bytes, perennis_rt::now());
        let Verdict::Newer(record) = verdict else {
            return verdict;
        };
        if !self.newest.lock().offer(name, &record) {
            return Verdict::Known;
        }
        self.has_updates.notify_one();
        Verdict::Newer(record)
    }

    /// Ends the updates.
    pub(crate) fn close(&self) {
        self.newest.lock().close();
        self.has_updates.notify_waiters();
        self.has_updates.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    #[test]
    fn message_ids_are_those_of_the_go_implementation() {
        let source = PeerId::random();
        let message = gossipsub::Message {
            source: Some(source),
            data: b"ignored".to_vec(),
            sequence_number: Some(0x0102_0304_0506_0708),
            topic: gossipsub::TopicHash::from_raw("topic"),
        };
        let wanted = [&source.to_bytes()[..], &[1, 2, 3, 4, 5, 6, 7, 8]].concat();
        assert_eq!(message_id(&message).0, wanted);
    }
}
