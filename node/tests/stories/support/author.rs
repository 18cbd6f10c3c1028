//! Somebody with an identity and a list, who publishes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use perennis_rt as rt;
use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec::car;
use perennis_shared::did::{Did, DidDocument, Identity, Profile};
use perennis_shared::ipns::{Ladder, LadderPlan, Name, Record, RecordFields, create};
use perennis_shared::log::{self, Entry};
use perennis_shared::taglist::{Handle, Label, Op, Tag};
use perennis_shared::time::{Millis, Timestamp};
use zeroize::Zeroizing;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Keys, a DID document, and all blocks made so far.
pub(crate) struct Author {
    pub(crate) identity: Identity,
    document: DidDocument,
    head: Option<Entry>,
    blocks: BTreeMap<Cid, Bytes>,
    sequence: u64,
    clock: Millis,
}

/// What is sent to a node.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) name: Name,
    pub(crate) did: Did,
    pub(crate) head: Cid,
    pub(crate) document: Cid,
    pub(crate) blocks: Vec<Block>,
    pub(crate) record: Record,
    /// The rungs that are sent along.
    pub(crate) rungs: Vec<Record>,
}

impl Message {
    /// The message as CAR: blocks first, then the rungs, the record last.
    pub(crate) fn car(&self) -> Vec<u8> {
        let record = self.record_block();
        let rungs: Vec<Block> = self.rungs.iter().map(record_block).collect();
        let roots: Vec<Cid> = [self.head, *record.cid()]
            .into_iter()
            .chain(rungs.iter().map(|rung| *rung.cid()))
            .collect();
        car::write(&roots, self.blocks.iter().chain(&rungs).chain([&record])).unwrap()
    }

    pub(crate) fn record_block(&self) -> Block {
        record_block(&self.record)
    }

    /// The same message without one block.
    pub(crate) fn without(&self, cid: &Cid) -> Message {
        let mut message = self.clone();
        message.blocks.retain(|block| block.cid() != cid);
        message
    }
}

pub(super) fn record_block(record: &Record) -> Block {
    Block::new(Codec::Raw, record.bytes().clone()).unwrap()
}

impl Author {
    /// An author of their own for each seed.
    pub(crate) fn new(seed: u8) -> Author {
        let identity = Identity::from_root(Profile::V2, Zeroizing::new([seed; 32]));
        let clock = rt::now();
        let document = DidDocument::new(&identity, clock);
        Author {
            identity,
            document,
            head: None,
            blocks: BTreeMap::new(),
            sequence: 0,
            clock,
        }
    }

    pub(crate) fn name(&self) -> Name {
        self.identity.name()
    }

    /// Lists gateways in the DID document.
    pub(crate) fn set_sources(&mut self, urls: &[String]) {
        self.document.set_sources(urls, self.clock).unwrap();
    }

    /// Puts these labels on handles and signs all of it, new blocks only.
    pub(crate) fn publish(&mut self, labels: &[(&str, &str)]) -> Message {
        self.sequence += 1;
        let entry = self.append(labels);
        let record = self.record(entry.head, self.sequence, 90 * DAY);
        Message { record, ..entry }
    }

    /// As many labels as asked for, each on a handle of its own.
    pub(crate) fn publish_many(&mut self, count: usize) -> Message {
        let handles: Vec<String> = (0..count).map(|i| format!("@user{i}")).collect();
        let labels: Vec<(&str, &str)> = handles
            .iter()
            .map(|handle| (handle.as_str(), "spam"))
            .collect();
        self.publish(&labels)
    }

    fn append(&mut self, labels: &[(&str, &str)]) -> Message {
        let document = self.document.to_block().unwrap();
        let author = log::Author {
            did: *self.document.id(),
            signer: self.identity.signer(),
            document: *document.cid(),
        };
        self.clock.0 += 1;
        let ops = labels
            .iter()
            .map(|(handle, label)| {
                let handle = Handle::parse(handle).unwrap();
                Op::Set(Label::new(handle, Tag::parse(label).unwrap(), self.clock))
            })
            .collect();
        let appended =
            log::append(&author, self.head.as_ref(), ops, self.clock, &self.blocks).unwrap();
        let mut blocks = vec![document.clone()];
        blocks.extend(appended.added);
        for block in &blocks {
            self.blocks.insert(*block.cid(), block.bytes().clone());
        }
        let head = *appended.entry.cid();
        self.head = Some(appended.entry);
        Message {
            name: self.name(),
            did: *self.document.id(),
            head,
            document: *document.cid(),
            blocks,
            record: self.record(head, 0, DAY),
            rungs: Vec::new(),
        }
    }

    /// A record of this author's, whatever it points at.
    pub(crate) fn record(&self, head: Cid, sequence: u64, lifetime: Duration) -> Record {
        let end = Millis(rt::now().0 + lifetime.as_millis() as u64);
        self.record_until(&format!("/ipfs/{head}"), sequence, end)
    }

    pub(crate) fn record_until(&self, value: &str, sequence: u64, end: Millis) -> Record {
        let fields = RecordFields {
            value,
            sequence,
            validity: Timestamp::from(end),
            ttl: Duration::from_secs(300),
        };
        create(self.identity.ipns_signer(), &fields).unwrap()
    }

    /// Gives a message a record that ends after this time, and rungs above it.
    pub(crate) fn ladder(&self, message: Message, lifetime: Duration, plan: LadderPlan) -> Message {
        let sequence = message.record.sequence();
        let record = self.record(message.head, sequence, lifetime);
        let ladder = Ladder::sign(self.identity.ipns_signer(), &record, &plan).unwrap();
        Message {
            record,
            rungs: ladder.rungs().to_vec(),
            ..message
        }
    }

    /// All blocks made so far.
    pub(crate) fn all_blocks(&self) -> Vec<Block> {
        self.blocks
            .iter()
            .map(|(cid, bytes)| Block::verified(*cid, bytes.clone()).unwrap())
            .collect()
    }
}
