//! Who has a block: telling the closest peers that this one does, and asking who else does.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use libp2p::{Multiaddr, PeerId};
use perennis_shared::{cid::Cid, wire};

use super::{
    Contact, DhtError, Network, PutReport,
    ask::{LOOKUP, Tally},
};
use crate::{
    net::{
        address::{AddressScope, scope_of},
        command::{Answer, Command, Query},
        framing::framed,
        handle::{Net, NetError},
    },
    rt,
};

/// Peers that say they have a block.
#[derive(Debug, Default)]
pub struct Providers {
    /// The peers and where they can be reached.
    pub providers: Vec<Contact>,
    /// Whether the lookup went to its end, and not only until there were enough.
    pub complete: bool,
}

impl Net {
    /// Tells the peers closest to a block that this peer has it, and answers so when it is asked itself.
    ///
    /// The answer comes as soon as [`super::QUORUM`] peers of a network, or four fifths of fewer, have been told; the
    /// rest are told in the background.
    ///
    /// # Errors
    /// Nobody can be asked, or too few could be told.
    pub async fn provide(&self, cid: &Cid) -> Result<PutReport, DhtError> {
        let closest = self.closest(&cid.hash().to_bytes()).await?;
        self.provide_to(cid, closest).await
    }

    /// As [`Net::provide`], to peers that were found before.
    ///
    /// # Errors
    /// As [`Net::provide`].
    pub async fn provide_to(
        &self,
        cid: &Cid,
        closest: Vec<(Network, Vec<Contact>)>,
    ) -> Result<PutReport, DhtError> {
        let key = cid.hash().to_bytes();
        self.tell(Command::Provide { key: key.clone() }).await?;
        let own = self.told_addresses().await?;
        let mut sending = FuturesUnordered::new();
        let mut tally: HashMap<Network, Tally> = HashMap::new();
        for (network, contacts) in closest {
            tally.insert(network, Tally::of(contacts.len()));
            let frame = self.provider_frame(network, &key, &own);
            for contact in contacts {
                let (sender, frame) = (self.sender().clone(), frame.clone());
                sending.push(async move {
                    let Contact { peer, addresses } = contact;
                    let sent = sender.send(network, peer, &addresses, frame, None).await;
                    (network, peer, sent)
                });
            }
        }
        let mut report = PutReport::default();
        while !tally.values().all(Tally::is_quorum)
            && let Some((network, peer, sent)) = sending.next().await
        {
            match sent {
                Ok(()) => {
                    report.reached.push(peer);
                    if let Some(tally) = tally.get_mut(&network) {
                        tally.reached += 1;
                    }
                }
                Err(error) => report.failed.push((peer, error)),
            }
        }
        report.late = sending.len();
        rt::spawn(async move { while sending.next().await.is_some() {} });
        Tally::judge(tally, report)
    }

    /// The addresses that others are told of this peer.
    pub(super) async fn told_addresses(&self) -> Result<Vec<Multiaddr>, NetError> {
        let status = self.status().await?;
        Ok(status
            .external
            .into_iter()
            .chain(status.listening)
            .collect())
    }

    /// The message that this peer has a block.
    pub(super) fn provider_frame(&self, network: Network, key: &[u8], own: &[Multiaddr]) -> Bytes {
        let addresses = own.iter().filter(|address| match network {
            Network::Public => scope_of(address) == AddressScope::Public,
            Network::Lan => true,
        });
        let bytes: Vec<&[u8]> = addresses.map(AsRef::as_ref).collect();
        let peer = self.peer_id().to_bytes();
        framed(&wire::kad::add_provider(key, &peer, bytes))
    }

    /// Answers no longer that this peer has a block.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn withdraw(&self, cid: &Cid) -> Result<(), NetError> {
        self.tell(Command::Withdraw {
            key: cid.hash().to_bytes(),
        })
        .await
    }

    /// Peers that say they have a block; stops at `most`.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn find_providers(&self, cid: &Cid, most: usize) -> Result<Providers, DhtError> {
        let key = cid.hash().to_bytes();
        let mut answers = self.ask_both(&Query::Providers { key }).await?;
        let mut peers: Vec<PeerId> = Vec::new();
        let mut is_late = false;
        let asking = async {
            while let Some((_, answer)) = answers.recv().await {
                match answer {
                    Answer::Providers(more) => {
                        for peer in more {
                            if !peers.contains(&peer) {
                                peers.push(peer);
                            }
                        }
                    }
                    Answer::TimedOut => is_late = true,
                    _ => {}
                }
                if peers.len() >= most {
                    return false;
                }
            }
            true
        };
        let complete = rt::timeout(LOOKUP, asking).await.unwrap_or(false) && !is_late;
        drop(answers);
        peers.truncate(most);
        let mut providers = Vec::with_capacity(peers.len());
        for peer in peers {
            let addresses = self.addresses_of(peer).await?;
            providers.push(Contact { peer, addresses });
        }
        Ok(Providers {
            providers,
            complete,
        })
    }
}
