//! Who has a block: telling the closest peers that this one does, and asking who else does.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};
use perennis_rt as rt;
use perennis_shared::{
    cid::Cid,
    wire::{self, kad::Question},
};
use tokio::sync::mpsc;

use super::{
    Contact, Dht, DhtError, Network, PutReport, SendError, Sender, Size,
    quorum::Tally,
    sender::Expect,
    size::{are_nearest, is_near},
};
use crate::{error::NetError, framing::framed};

/// Peers that say they have a block.
#[derive(Debug, Default)]
pub struct Providers {
    /// The peers and where they can be reached.
    pub providers: Vec<Contact>,
    /// Whether the lookup went to its end, and not only until there were enough.
    pub complete: bool,
}

impl Dht {
    /// Tells the peers closest to a block that this peer has it, and answers so when it is asked itself.
    ///
    /// Once lookups have shown how large the network is, peers are told as soon as they are likely to be among the
    /// closest, and the lookup ends when hardly any nearer ones can exist. The answer comes as soon as
    /// [`super::QUORUM`] peers of a network, or four fifths of fewer, have been told; the rest are told in the
    /// background.
    ///
    /// # Errors
    /// Nobody can be asked, or too few could be told.
    pub async fn provide(&self, cid: &Cid) -> Result<PutReport, DhtError> {
        let key = cid.hash().to_bytes();
        let mut telling = self.begin_to_tell(&key).await?;
        let mut lookup = self.look_up(&Network::ALL, Question::Closest, &key)?;
        let sizes = Network::ALL.map(|network| (network, self.size_of(network)));
        while lookup.next().await.is_some() {
            for (network, size) in sizes {
                let Some(size) = size else { continue };
                let nearest: Vec<_> = lookup.heard(network).collect();
                let are_nearest = are_nearest(nearest.iter().map(|(distance, _)| *distance), size);
                for (distance, contact) in nearest {
                    if are_nearest || is_near(distance, size) {
                        telling.tell(network, contact);
                    }
                }
                if are_nearest {
                    lookup.leave(network);
                }
            }
        }
        for network in Network::ALL {
            for contact in lookup.closest(network) {
                telling.tell(network, &contact);
            }
        }
        telling.finish().await
    }

    /// As [`Dht::provide`], to peers that were found before.
    ///
    /// # Errors
    /// As [`Dht::provide`].
    pub async fn provide_to(
        &self,
        cid: &Cid,
        closest: Vec<(Network, Vec<Contact>)>,
    ) -> Result<PutReport, DhtError> {
        let mut telling = self.begin_to_tell(&cid.hash().to_bytes()).await?;
        for (network, contacts) in closest {
            for contact in contacts {
                telling.tell(network, &contact);
            }
        }
        telling.finish().await
    }

    async fn begin_to_tell(&self, key: &[u8]) -> Result<Telling, DhtError> {
        self.local()?.provide(key);
        let own = self.told_addresses().await?;
        let (results, told) = mpsc::unbounded_channel();
        Ok(Telling {
            sender: self.sender.clone(),
            frames: Network::ALL
                .map(|network| (network, self.provider_frame(network, key, &own)))
                .into(),
            peers: HashSet::new(),
            results,
            told,
        })
    }

    fn size_of(&self, network: Network) -> Option<f64> {
        self.sizes.lock().get(&network).and_then(Size::peers)
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
        let addresses = own.iter().filter(|address| network.takes(address));
        let bytes: Vec<&[u8]> = addresses.map(AsRef::as_ref).collect();
        let peer = self.peer_id().to_bytes();
        framed(&wire::kad::add_provider(key, &peer, bytes))
    }

    /// Answers no longer that this peer has a block.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn withdraw(&self, cid: &Cid) -> Result<(), NetError> {
        self.local()?.withdraw(&cid.hash().to_bytes());
        Ok(())
    }

    /// Peers that say they have a block; stops at `most`.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn find_providers(&self, cid: &Cid, most: usize) -> Result<Providers, DhtError> {
        let key = cid.hash().to_bytes();
        let mut lookup = self.look_up(&Network::ALL, Question::Providers, &key)?;
        let mut providers: Vec<Contact> = Vec::new();
        while providers.len() < most
            && let Some(heard) = lookup.next().await
        {
            for told in heard.answer.providers {
                match providers.iter_mut().find(|known| known.peer == told.peer) {
                    None => providers.push(told),
                    Some(known) if known.addresses.is_empty() => known.addresses = told.addresses,
                    Some(_) => {}
                }
            }
        }
        let complete = providers.len() < most && !lookup.is_late();
        providers.truncate(most);
        for provider in &mut providers {
            if provider.addresses.is_empty() {
                provider.addresses = self.addresses_of(provider.peer).await?;
            }
        }
        Ok(Providers {
            providers,
            complete,
        })
    }
}

/// Peers that are being told that this one has a block. They are told whether or not anybody waits for it.
struct Telling {
    sender: Sender,
    frames: HashMap<Network, Bytes>,
    peers: HashSet<(Network, PeerId)>,
    results: mpsc::UnboundedSender<Told>,
    told: mpsc::UnboundedReceiver<Told>,
}

type Told = (Network, PeerId, Result<Vec<u8>, SendError>);

impl Telling {
    /// Tells a peer, once.
    fn tell(&mut self, network: Network, contact: &Contact) {
        let Some(frame) = self.frames.get(&network).cloned() else {
            return;
        };
        if !self.peers.insert((network, contact.peer)) {
            return;
        }
        let (sender, contact) = (self.sender.clone(), contact.clone());
        let results = self.results.clone();
        rt::spawn(async move {
            let peer = contact.peer;
            let sent = sender.send(network, contact, frame, Expect::Nothing).await;
            // Once there is a quorum nobody listens.
            let _ = results.send((network, peer, sent));
        });
    }

    /// Waits until a quorum of each network has been told.
    async fn finish(self) -> Result<PutReport, DhtError> {
        let Telling {
            peers,
            results,
            mut told,
            ..
        } = self;
        drop(results);
        let mut tally: HashMap<Network, Tally> = HashMap::new();
        for network in Network::ALL {
            let peers = peers.iter().filter(|(of, _)| *of == network).count();
            if peers > 0 {
                tally.insert(network, Tally::of(peers));
            }
        }
        let mut report = PutReport::default();
        while !tally.values().all(Tally::is_quorum)
            && let Some((network, peer, sent)) = told.recv().await
        {
            report.count(&mut tally, network, peer, sent);
        }
        report.late = peers.len() - report.reached.len() - report.failed.len();
        Tally::judge(tally, report)
    }
}
