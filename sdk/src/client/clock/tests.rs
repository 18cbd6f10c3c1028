#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use perennis_shared::{
    did::{DidDocument, Identity, Profile},
    ipns::{self, Ladder, RecordFields},
    limits::ENTRY_CHANGES,
    log::{self, Author},
    taglist::{Handle, Label, Tag},
    time::Timestamp,
};
use zeroize::Zeroizing;

use super::*;
use crate::{
    client::{
        ClientConfig, LabelQuery, PublishOptions, ledger::Signed, publish::keep_entry, rows::Outbox,
    },
    node_url::NodeUrl,
    router::mark_changes,
    store::Memory,
};

const DAY: Duration = Duration::from_secs(86_400);
const AHEAD: Duration = Duration::from_secs(300 * 86_400);

fn alice() -> Identity {
    Identity::from_root(Profile::V2, Zeroizing::new([1; 32]))
}

/// A node where nobody listens.
fn nobody(port: u16) -> NodeUrl {
    format!("http://127.0.0.1:{port}").parse().unwrap()
}

fn set(handle: &str) -> Op {
    let (handle, tag) = (
        Handle::parse(handle).unwrap(),
        Tag::parse("friend").unwrap(),
    );
    Op::Set(Label::new(handle, tag, rt::now()))
}

/// A client of Alice, and what it signs, with a clock that is set.
struct Device {
    client: Client<Memory>,
    sequence: u64,
    head: Option<Cid>,
}

impl Device {
    async fn new() -> Device {
        let config = ClientConfig {
            backoff: perennis_shared::backoff::Backoff {
                attempts: 1,
                ..Default::default()
            },
            ..ClientConfig::default()
        };
        let client = Client::new(Memory::new(), config).unwrap();
        client.adopt(&alice()).await.unwrap();
        Device {
            client,
            sequence: 0,
            head: None,
        }
    }

    /// Signs an entry and its record as a publish that no node answers.
    async fn sign(&mut self, ops: Vec<Op>, now: Millis) -> Cid {
        let (identity, name) = (alice(), alice().name());
        let document = DidDocument::new(&identity, now).to_block().unwrap();
        let author = Author {
            did: identity.did(),
            signer: identity.signer(),
            document: *document.cid(),
        };
        let mut view = self.client.view(&[]);
        let before = match &self.head {
            Some(head) => Some(undated_entry(&mut view, &name, head).await.unwrap()),
            None => None,
        };
        let appended =
            view.run(|blocks| log::append(&author, before.as_ref(), ops.clone(), now, blocks));
        let appended = appended.await.map_err(ListError::from).unwrap();
        let mut blocks = appended.added;
        blocks.push(document);
        let signed = Signed {
            entry: appended.entry.block().clone(),
            blocks,
        };
        let head = *appended.entry.cid();
        self.sequence += 1;
        let fields = RecordFields {
            value: &format!("/ipfs/{head}"),
            sequence: self.sequence,
            validity: Timestamp::from(now + 90 * DAY),
            ttl: DAY,
        };
        let record = ipns::create(identity.ipns_signer(), &fields).unwrap();
        let outbox = Outbox {
            record,
            ladder: Ladder::default(),
            waiting: vec![nobody(1)],
        };
        let mut changes = keep_entry(Changes::new(), &name, &signed, self.head)
            .unwrap()
            .set(rows::outbox_key(&name), outbox.to_row("outbox").unwrap());
        changes
            .state
            .extend(mark_changes(&name, &outbox.record).state);
        self.client.shared.store.commit(changes).await.unwrap();
        self.head = Some(head);
        head
    }

    /// A node has acknowledged this entry.
    async fn acknowledged(&self, head: Cid) {
        let has = Acknowledged {
            head,
            sequence: self.sequence,
            at: rt::now(),
        };
        let key = rows::node_key(&alice().name(), &nobody(1));
        let row = has.to_row(&key).unwrap();
        let changes = Changes::new().set(key, row);
        self.client.shared.store.commit(changes).await.unwrap();
    }

    async fn own_head(&self) -> Option<Cid> {
        self.client.own_head(&alice().name()).await.unwrap()
    }
}

#[tokio::test]
async fn what_no_node_took_is_undone_and_waits_again_with_what_is_staged() {
    let mut device = Device::new().await;
    let now = rt::now();
    let base = device.sign(vec![set("@base")], now).await;
    device.acknowledged(base).await;
    device
        .sign(vec![set("@listed"), set("@changed")], now + AHEAD)
        .await;
    // An import does not list its changes.
    let many = (0..=ENTRY_CHANGES).map(|number| set(&format!("@import{number}")));
    device.sign(many.collect(), now + AHEAD + DAY).await;
    let client = device.client.clone();
    let Op::Set(changed) = set("@changed") else {
        panic!("it sets a label")
    };
    client.stage(&[Op::Remove(changed.key())]).await.unwrap();

    let query = LabelQuery {
        limit: 1_000,
        ..LabelQuery::default()
    };
    let page = client.labels(&query).await.unwrap();
    let staged = ENTRY_CHANGES + 1 + 2 + 1;
    assert_eq!((page.head, page.staged), (Some(base), staged));
    // The label that was removed after it was set is not there.
    assert_eq!(page.labels.len(), ENTRY_CHANGES + 1 + 2);
    assert!(
        page.labels
            .iter()
            .all(|label| label.label.key() != changed.key())
    );
    assert_eq!(client.mend_clock().await.unwrap(), None);
    let name = alice().name();
    assert_eq!(client.shared.local.mark(&name).await.unwrap(), None);
    assert_eq!(
        client.deliver().await.unwrap().map(|sent| sent.sequence),
        None
    );

    // The sequence is used up, and whoever waited still waits.
    let options = PublishOptions::default();
    let outcome = client
        .publish(&alice(), &[nobody(9)], &options)
        .await
        .unwrap();
    assert_eq!(outcome.sequence, 4);
    assert!(outcome.valid_until < Timestamp::from(rt::now() + 91 * DAY));
    let outbox = client.outbox(&name).await.unwrap().unwrap();
    assert_eq!(outbox.waiting, [nobody(9), nobody(1)]);
    assert_eq!(client.undone(&name).await.unwrap(), None);
    let page = client.labels(&query).await.unwrap();
    assert_eq!((page.labels.len(), page.staged), (ENTRY_CHANGES + 3, 0));
}

#[tokio::test]
async fn a_log_that_was_begun_with_a_clock_that_was_ahead_is_begun_again() {
    let mut device = Device::new().await;
    let dated = rt::now() + AHEAD;
    device.sign(vec![set("@first")], dated).await;
    device.sign(Vec::new(), dated + DAY).await;
    let mended = device.client.mend_clock().await.unwrap().unwrap();
    assert_eq!((mended.entries, mended.changes), (2, 1));
    assert_eq!(mended.dated, dated + DAY);
    assert!(mended.ahead > AHEAD);
    assert_eq!(device.own_head().await, None);
    let staged = device.client.staged().await.unwrap();
    assert_eq!(staged.len(), 1);
    assert!(matches!(
        device.client.history(9).await,
        Err(ListError::Empty)
    ));
}

#[tokio::test]
async fn what_a_node_took_or_another_device_signed_is_left_as_it_is() {
    let mut device = Device::new().await;
    let dated = rt::now() + AHEAD;
    let first = device.sign(vec![set("@first")], dated).await;
    let second = device.sign(vec![set("@second")], dated + DAY).await;
    let refused = async |device: &Device| {
        assert_eq!(device.client.mend_clock().await.unwrap(), None);
        let listed = device.client.labels(&LabelQuery::default()).await;
        assert_eq!(listed.unwrap_err().code(), "invalid_entry");
        assert_eq!(device.own_head().await, Some(second));
    };
    device.acknowledged(first).await;
    refused(&device).await;
    let name = alice().name();
    let elsewhere = Changes::new()
        .clear(rows::node_key(&name, &nobody(1)))
        .clear(rows::added_key(&name, &first));
    device.client.shared.store.commit(elsewhere).await.unwrap();
    refused(&device).await;
}
