//! Records under a quorum: the best of those that the closest peers have, and a put to the closest peers.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use libp2p::PeerId;
use perennis_rt as rt;
use perennis_shared::{
    ipns::{Equivocation, Name, Record, UnverifiedRecord, compare, equivocates},
    wire::{self, kad::Question},
};

use super::{
    Contact, Dht, DhtError, Network, PutReport, QUORUM, REPLICAS, SendError,
    lookup::{Heard, LOOKUP, Lookup},
    record_key,
    sender::Expect,
};
use crate::{error::NetError, framing::framed};

/// Bounds of the time for which peers beyond a quorum are waited for: as long again as the quorum took.
const SETTLE: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// The best record of a name that a quorum of peers gave.
#[derive(Debug)]
pub struct QuorumRecord {
    /// The record: valid and not expired.
    pub best: Record,
    /// Peers that gave a valid record; this one does not count, whatever it has itself.
    pub answers: usize,
    /// Peers that gave an older one, or none although they are close to the name. They are being told the best.
    pub corrected: usize,
    /// Two records of the best sequence that contradict each other.
    pub equivocation: Option<Equivocation>,
}

impl Dht {
    /// The best record of a name among those of [`QUORUM`] peers close to it, or of all that answer.
    ///
    /// Peers that gave an older record, or none, are told the best afterwards, in the background.
    ///
    /// # Errors
    /// Nobody has a valid record, or nobody can be asked.
    pub async fn find_record(&self, name: &Name) -> Result<QuorumRecord, DhtError> {
        let key = record_key(name);
        let mut gather = Gather::new(*name);
        let mut lookup = self.look_up(&Network::ALL, Question::Record, &key)?;
        while let Some(heard) = lookup.next().await {
            gather.take(heard);
            if gather.is_quorum() {
                break;
            }
            if gather.best.is_some() {
                lookup.hurry();
            }
        }
        if lookup.is_late() && gather.best.is_none() {
            return Err(DhtError::Deadline { after: LOOKUP });
        }
        let (found, outdated) = gather.finish(&lookup)?;
        if !outdated.is_empty() {
            let dht = self.clone();
            let frame = framed(&wire::kad::put_value(&key, found.best.bytes()));
            rt::spawn(async move { dht.tell_peers(outdated, frame, key.into()).await });
        }
        Ok(found)
    }

    /// Puts a record to the [`REPLICAS`] peers closest to its name, in each network.
    ///
    /// # Errors
    /// Fewer than [`QUORUM`] of twenty, or four fifths of fewer peers, took it; nobody can be asked.
    pub async fn put_record(&self, name: &Name, record: &Record) -> Result<PutReport, DhtError> {
        let key = record_key(name);
        let closest = self.closest(&key).await?;
        self.put_record_to(name, record, closest).await
    }

    /// Puts a record to these peers, which were found before.
    ///
    /// # Errors
    /// As [`Dht::put_record`].
    pub async fn put_record_to(
        &self,
        name: &Name,
        record: &Record,
        closest: Vec<(Network, Vec<Contact>)>,
    ) -> Result<PutReport, DhtError> {
        let key = record_key(name);
        // This peer answers with it too, as every other that holds it.
        self.local()?.put(&key, record.bytes());
        let frame = framed(&wire::kad::put_value(&key, record.bytes()));
        let key = Bytes::from(key);
        let mut report = PutReport::default();
        let mut sending = FuturesUnordered::new();
        let mut tally: HashMap<Network, Tally> = HashMap::new();
        for (network, contacts) in closest {
            tally.insert(network, Tally::of(contacts.len()));
            for contact in contacts {
                let (sender, frame, key) = (self.sender.clone(), frame.clone(), key.clone());
                sending.push(async move {
                    let peer = contact.peer;
                    let sent = sender.send(network, contact, frame, Expect::Put(key)).await;
                    (network, peer, sent)
                });
            }
        }
        // Once a quorum has it, a peer that is slow delays nobody; what is on its way to it goes on.
        let started = rt::monotonic();
        let mut ends_at = None;
        loop {
            let next = match ends_at {
                None => sending.next().await,
                Some(at) => {
                    let left = Duration::saturating_sub(at, rt::monotonic());
                    rt::timeout(left, sending.next()).await.unwrap_or(None)
                }
            };
            let Some((network, peer, sent)) = next else {
                break;
            };
            report.count(&mut tally, network, peer, sent);
            if ends_at.is_none() && tally.values().all(Tally::is_quorum) {
                let now = rt::monotonic();
                let again = now.saturating_sub(started).clamp(SETTLE[0], SETTLE[1]);
                ends_at = Some(now + again);
            }
        }
        report.late = sending.len();
        Tally::judge(tally, report)
    }

    /// The peers closest to a key in one network; `None` when it could not be found out in time.
    pub(super) async fn closest_in(
        &self,
        network: Network,
        key: &[u8],
    ) -> Result<Option<Vec<Contact>>, NetError> {
        let mut lookup = self.look_up(&[network], Question::Closest, key)?;
        while lookup.next().await.is_some() {}
        Ok((!lookup.is_late()).then(|| lookup.closest(network)))
    }

    /// The peers closest to a key, nearest first, in each network with peers.
    ///
    /// # Errors
    /// Nobody can be asked.
    pub async fn closest(&self, key: &[u8]) -> Result<Vec<(Network, Vec<Contact>)>, DhtError> {
        let mut lookup = self.look_up(&Network::ALL, Question::Closest, key)?;
        while lookup.next().await.is_some() {}
        let closest = Network::ALL.map(|network| (network, lookup.closest(network)));
        let closest: Vec<_> = closest
            .into_iter()
            .filter(|(_, contacts)| !contacts.is_empty())
            .collect();
        if closest.is_empty() {
            return Err(DhtError::NoPeers);
        }
        Ok(closest)
    }

    async fn tell_peers(&self, peers: Vec<(Network, PeerId)>, frame: Bytes, key: Bytes) {
        let sends = peers.into_iter().map(|(network, peer)| {
            let contact = Contact {
                peer,
                addresses: Vec::new(),
            };
            let expect = Expect::Put(key.clone());
            let send = self.sender.send(network, contact, frame.clone(), expect);
            async move {
                if let Err(error) = send.await {
                    tracing::debug!(%peer, %error, "a peer could not be told the best record");
                }
            }
        });
        join_all(sends).await;
    }
}

impl PutReport {
    /// Takes in what became of one request.
    pub(super) fn count(
        &mut self,
        tally: &mut HashMap<Network, Tally>,
        network: Network,
        peer: PeerId,
        sent: Result<Vec<u8>, SendError>,
    ) {
        match sent {
            Ok(_) => {
                self.reached.push(peer);
                if let Some(tally) = tally.get_mut(&network) {
                    tally.reached += 1;
                }
            }
            Err(error) => self.failed.push((peer, error)),
        }
    }
}

/// How many peers of one network took a record.
pub(super) struct Tally {
    reached: usize,
    wanted: usize,
}

impl Tally {
    pub(super) fn of(peers: usize) -> Self {
        Self {
            reached: 0,
            wanted: quorum_of(peers),
        }
    }

    pub(super) fn is_quorum(&self) -> bool {
        self.reached >= self.wanted
    }

    /// One network that has its quorum is enough; of others the better one is told.
    pub(super) fn judge(
        tally: HashMap<Network, Tally>,
        report: PutReport,
    ) -> Result<PutReport, DhtError> {
        let best = tally.into_values().filter(|tally| tally.wanted > 0);
        match best.max_by_key(Tally::share) {
            None => Err(DhtError::NoPeers),
            Some(best) if !best.is_quorum() => Err(DhtError::Quorum {
                reached: best.reached,
                wanted: best.wanted,
                report: Box::new(report),
            }),
            Some(_) => Ok(report),
        }
    }

    /// In thousandths.
    fn share(&self) -> usize {
        self.reached * 1_000 / self.wanted.max(1)
    }
}

/// How many of so many peers must take a record: 16 of 20, four fifths of fewer.
fn quorum_of(peers: usize) -> usize {
    (peers * QUORUM).div_ceil(REPLICAS).min(QUORUM)
}

/// The records of one name as they come in. Equal bytes are verified once.
struct Gather {
    name: Name,
    best: Option<Record>,
    equivocation: Option<Equivocation>,
    /// Each record that came, and who gave it.
    given: HashMap<Bytes, Given>,
    without: Vec<(Network, PeerId)>,
    is_anybody_there: bool,
}

struct Given {
    record: Option<Record>,
    peers: Vec<(Network, PeerId)>,
}

impl Gather {
    fn new(name: Name) -> Self {
        Self {
            name,
            best: None,
            equivocation: None,
            given: HashMap::new(),
            without: Vec::new(),
            is_anybody_there: false,
        }
    }

    fn take(&mut self, heard: Heard) {
        let from = heard.from.map(|peer| (heard.network, peer));
        self.is_anybody_there |= from.is_some();
        let Some(bytes) = heard.answer.record else {
            self.without.extend(from);
            return;
        };
        if let Some(given) = self.given.get_mut(bytes.as_slice()) {
            given.peers.extend(from);
            return;
        }
        let record =
            UnverifiedRecord::parse(&bytes).and_then(|record| record.verify(&self.name, rt::now()));
        let record = match record {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::debug!(name = %self.name, peer = ?heard.from, %error, "a peer gave a record that is not valid");
                None
            }
        };
        if let Some(record) = &record {
            self.compare(record);
        }
        let peers = from.into_iter().collect();
        self.given.insert(bytes.into(), Given { record, peers });
    }

    fn compare(&mut self, record: &Record) {
        if let Some(best) = &self.best {
            if equivocates(best, record) {
                let (kept, other) = if compare(record, best).is_gt() {
                    (record, best)
                } else {
                    (best, record)
                };
                self.equivocation = Some(Equivocation {
                    kept: kept.clone(),
                    other: other.clone(),
                });
            }
            if compare(record, best).is_le() {
                return;
            }
        }
        self.best = Some(record.clone());
    }

    fn answers(&self) -> usize {
        let valid = self.given.values().filter(|given| given.record.is_some());
        valid.map(|given| given.peers.len()).sum()
    }

    fn is_quorum(&self) -> bool {
        self.answers() >= QUORUM
    }

    /// The best, and who of the closest peers does not have it.
    fn finish(self, lookup: &Lookup) -> Result<(QuorumRecord, Vec<(Network, PeerId)>), DhtError> {
        let answers = self.answers();
        let Some(best) = self.best else {
            return Err(if self.is_anybody_there {
                DhtError::NotFound { name: self.name }
            } else {
                DhtError::NoPeers
            });
        };
        let worse = self
            .given
            .into_values()
            .filter(|given| given.record.as_ref() != Some(&best));
        let mut outdated: Vec<(Network, PeerId)> = worse.flat_map(|given| given.peers).collect();
        for network in Network::ALL {
            // Whoever was asked on the way need not have it.
            let closest = lookup.closest(network).into_iter();
            let closest = closest.map(|contact| (network, contact.peer));
            outdated.extend(closest.filter(|peer| self.without.contains(peer)));
        }
        outdated.truncate(REPLICAS);
        let equivocation = self
            .equivocation
            .filter(|found| found.kept.sequence() == best.sequence());
        let found = QuorumRecord {
            best,
            answers,
            corrected: outdated.len(),
            equivocation,
        };
        Ok((found, outdated))
    }
}
