//! Which topics of other peers are remembered: those of names, and not more than a limit of one peer.

use libp2p::gossipsub::{MaxCountSubscriptionFilter, TopicHash, TopicSubscriptionFilter};
use perennis_shared::{ipns::Name, limits::PUBSUB_PEER_TOPICS};

/// Remembers the topics of names alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameTopics;

impl TopicSubscriptionFilter for NameTopics {
    fn can_subscribe(&mut self, topic: &TopicHash) -> bool {
        Name::from_topic(topic.as_str()).is_some()
    }
}

/// The same, and at most [`PUBSUB_PEER_TOPICS`] of one peer: a message that tells of more changes nothing.
pub(super) fn bounded() -> MaxCountSubscriptionFilter<NameTopics> {
    MaxCountSubscriptionFilter {
        filter: NameTopics,
        max_subscribed_topics: PUBSUB_PEER_TOPICS,
        max_subscriptions_per_request: PUBSUB_PEER_TOPICS,
    }
}
