//! Topics in the task that owns the swarm: what comes is judged at once, since nothing goes on before; questions to peers
//! run beside it.

use std::collections::HashMap;

use libp2p::{
    PeerId,
    gossipsub::{self, MessageAcceptance, PublishError},
};
use perennis_rt as rt;
use perennis_shared::{
    error::{ErrorKind, Retryable},
    ipns::{Name, Record},
};

use super::Worker;
use crate::pubsub::{
    self, AskOutcome, Asks, AsksInput, AsksOutput, Gossip, Pubsub, PubsubCommand, PubsubError,
    Verdict, topic_of,
};

/// Messages or answers of one peer that are no valid records, after which it is let go. Peers judge before they pass on,
/// so a peer of good will sends none.
const INVALID: u32 = 16;

/// Peers that a caller is given to ask.
const LISTENERS: usize = 64;

/// What the worker keeps about topics.
pub(super) struct Topics {
    pubsub: Pubsub,
    asks: Asks,
    /// What connected peers sent that is no valid record.
    invalid: HashMap<PeerId, u32>,
}

impl Topics {
    pub(super) fn new(pubsub: Pubsub) -> Self {
        Self {
            pubsub,
            asks: Asks::default(),
            invalid: HashMap::new(),
        }
    }

    /// Tells the machine of questions what happened, and asks whom it says.
    fn step(&mut self, input: AsksInput) {
        let mut asks = Vec::new();
        self.asks.handle(rt::now(), input, &mut asks);
        for AsksOutput::Ask { peer, name } in asks {
            let pubsub = self.pubsub.clone();
            rt::spawn(async move {
                let outcome = ask(&pubsub, peer, name).await;
                let asked = PubsubCommand::Asked { peer, outcome };
                // When the worker has ended nobody counts any more.
                let _ = pubsub.commands.tell(asked).await;
            });
        }
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        self.pubsub.shared.close();
    }
}

async fn ask(pubsub: &Pubsub, peer: PeerId, name: Name) -> AskOutcome {
    let answer = match pubsub::ask(&pubsub.streams, peer, name).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(%peer, %name, %error, "a peer was asked for a record in vain");
            return match error.kind() {
                ErrorKind::Reject => AskOutcome::Deaf,
                _ => AskOutcome::Failed,
            };
        }
    };
    let Some(bytes) = answer else {
        return AskOutcome::Answered;
    };
    match pubsub.shared.take(&name, &bytes) {
        Verdict::Invalid(error) => {
            tracing::debug!(%peer, %name, %error, "a peer answered with what is no valid record");
            AskOutcome::Invalid
        }
        _ => AskOutcome::Answered,
    }
}

impl Worker {
    pub(super) fn obey_pubsub(&mut self, command: PubsubCommand) {
        match command {
            PubsubCommand::Join { name, reply } => {
                self.join(name);
                let _ = reply.send(());
            }
            PubsubCommand::Leave { name, reply } => {
                if let Some(gossip) = self.swarm.behaviour_mut().pubsub.as_mut() {
                    gossip.unsubscribe(&topic_of(&name));
                }
                if let Some(topics) = &mut self.topics {
                    topics.step(AsksInput::Left { name });
                }
                let _ = reply.send(());
            }
            PubsubCommand::Tell {
                name,
                record,
                reply,
            } => drop(reply.send(self.tell(&name, &record))),
            PubsubCommand::Listeners { name, reply } => drop(reply.send(self.listeners(&name))),
            PubsubCommand::Asked { peer, outcome } => {
                if outcome == AskOutcome::Invalid {
                    self.sent_invalid(peer);
                }
                if let Some(topics) = &mut self.topics {
                    topics.step(AsksInput::Ended { peer, outcome });
                }
            }
        }
    }

    pub(super) fn gossiped(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            } => self.judge(propagation_source, &message_id, &message),
            gossipsub::Event::Subscribed { peer_id, topic } => {
                let name = Name::from_topic(topic.as_str());
                if let (Some(name), Some(topics)) = (name, &mut self.topics)
                    && topics.pubsub.shared.is_followed(&name)
                {
                    topics.step(AsksInput::Shared {
                        peer: peer_id,
                        name,
                    });
                }
            }
            _ => {}
        }
    }

    /// A peer has no connection with this one any more.
    pub(super) fn left_topics(&mut self, peer: PeerId) {
        if let Some(topics) = &mut self.topics {
            topics.invalid.remove(&peer);
            topics.step(AsksInput::Gone { peer });
        }
    }

    /// Subscribes, and asks the peers that follow the name already.
    fn join(&mut self, name: Name) {
        let Some(gossip) = self.gossip() else { return };
        if let Err(error) = gossip.subscribe(&topic_of(&name)) {
            tracing::warn!(%name, %error, "a name cannot be followed over pubsub");
            return;
        }
        let listeners = self.listeners(&name);
        if let Some(topics) = &mut self.topics {
            for peer in listeners {
                topics.step(AsksInput::Shared { peer, name });
            }
        }
    }

    fn judge(&mut self, peer: PeerId, id: &gossipsub::MessageId, message: &gossipsub::Message) {
        let Some(topics) = &self.topics else { return };
        let name = Name::from_topic(message.topic.as_str());
        let acceptance = match name.filter(|name| topics.pubsub.shared.is_followed(name)) {
            Some(name) => match topics.pubsub.shared.take(&name, &message.data) {
                Verdict::Newer(record) => {
                    tracing::debug!(%name, %peer, sequence = record.sequence(), "a newer record was told");
                    MessageAcceptance::Accept
                }
                Verdict::Known | Verdict::Older => MessageAcceptance::Ignore,
                Verdict::Invalid(error) => {
                    tracing::debug!(%name, %peer, %error, "what is no valid record was told");
                    MessageAcceptance::Reject
                }
            },
            // It was left while the message was on its way.
            None => MessageAcceptance::Ignore,
        };
        let is_invalid = matches!(acceptance, MessageAcceptance::Reject);
        if let Some(gossip) = self.gossip() {
            gossip.report_message_validation_result(id, &peer, acceptance);
        }
        if is_invalid {
            self.sent_invalid(peer);
        }
    }

    /// Counts what a peer sent that is no valid record; too much of it ends the connection.
    fn sent_invalid(&mut self, peer: PeerId) {
        let Some(topics) = &mut self.topics else {
            return;
        };
        if !self.peers.is_connected(&peer) {
            return;
        }
        let count = topics.invalid.entry(peer).or_default();
        *count += 1;
        if *count >= INVALID {
            // It may be gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn tell(&mut self, name: &Name, record: &Record) -> Result<usize, PubsubError> {
        let listeners = self.listeners(name).len();
        let Some(gossip) = self.gossip() else {
            return Ok(0);
        };
        match gossip.publish(topic_of(name), record.bytes().to_vec()) {
            Ok(_) => Ok(listeners),
            // Whoever joins later asks for it.
            Err(PublishError::NoPeersSubscribedToTopic) => Ok(0),
            Err(PublishError::AllQueuesFull(peers)) => Err(PubsubError::Busy { peers }),
            Err(error) => Err(PubsubError::Send(error)),
        }
    }

    /// Some connected peers that follow a name.
    fn listeners(&mut self, name: &Name) -> Vec<PeerId> {
        let topic = topic_of(name).hash();
        let Some(gossip) = self.gossip() else {
            return Vec::new();
        };
        gossip
            .all_peers()
            .filter(|(_, topics)| topics.contains(&&topic))
            .map(|(peer, _)| *peer)
            .take(LISTENERS)
            .collect()
    }

    fn gossip(&mut self) -> Option<&mut Gossip> {
        self.swarm.behaviour_mut().pubsub.as_mut()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Arc;

    use perennis_shared::sign::SigningKey;

    use super::*;
    use crate::{
        config::{NetConfig, identity_of},
        dht::MemoryDhtStore,
        net::Net,
        pubsub::PubsubConfig,
    };

    async fn peer(number: u8, pubsub: Option<PubsubConfig>) -> Net {
        let store = Arc::new(MemoryDhtStore::new(1));
        let mut config = NetConfig::new(identity_of(&[number; 32]), store);
        config.listen = vec!["/memory/0".parse().unwrap()];
        config.pubsub = pubsub;
        Net::start(config).await.unwrap()
    }

    #[tokio::test]
    async fn a_peer_without_the_protocol_is_deaf_and_one_that_is_not_there_may_come() {
        let asking = peer(1, Some(PubsubConfig::default())).await;
        let deaf = peer(2, None).await;
        let hearing = peer(3, Some(PubsubConfig::default())).await;
        for other in [&deaf, &hearing] {
            asking.connect_to(&other.addresses()[0]).await.unwrap();
        }
        let pubsub = asking.pubsub().unwrap();
        let name = Name::from_public_key(&SigningKey::from_seed(&[9; 32]).public());
        for (peer, outcome) in [
            (deaf.peer_id(), AskOutcome::Deaf),
            (hearing.peer_id(), AskOutcome::Answered),
            (PeerId::random(), AskOutcome::Failed),
        ] {
            assert_eq!(ask(pubsub, peer, name).await, outcome);
        }
    }
}
