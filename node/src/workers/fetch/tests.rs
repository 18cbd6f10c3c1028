#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use perennis_shared::cid::Codec;
use perennis_shared::ipns::{RecordFields, create};
use perennis_shared::sign::SigningKey;
use perennis_shared::time::Timestamp;

use super::*;
use crate::caller::Caller;
use crate::storage::queues::DueWindow;
use crate::workers::testing::{Source, TestParts, context};

const RAW: &str = "application/vnd.ipld.raw";

/// A node that has one source, and a record whose head is missing there.
struct Fetching {
    node: TestParts,
    source: Source,
    key: SigningKey,
    head: Block,
}

impl Fetching {
    async fn new() -> Fetching {
        let source = Source::new().await;
        let url = source.url();
        let node = TestParts::new(|config| config.pins.sources = vec![url]).await;
        let fetching = Fetching {
            node,
            source,
            key: SigningKey::from_seed(&[1; 32]),
            head: Block::new(Codec::Raw, b"a head".to_vec()).unwrap(),
        };
        fetching.publish(1).await;
        fetching
    }

    /// Stores a record of the name without what is below its head.
    async fn publish(&self, sequence: u64) {
        let fields = RecordFields {
            value: &format!("/ipfs/{}", self.head.cid()),
            sequence,
            validity: Timestamp::from(rt::now() + Duration::from_secs(86_400)),
            ttl: BLOCK,
        };
        let record = create(&self.key, &fields).unwrap();
        let name = Name::from_public_key(&self.key.public());
        let caller = Caller::anybody([127, 0, 0, 1]);
        let bytes = record.bytes();
        let stored = self.node.ingest.put_record("test", &name, bytes, &caller);
        stored.await.unwrap();
    }

    async fn due(&self) -> Vec<DueFetch> {
        self.node
            .storage
            .fetches_due(DueWindow::new(rt::now(), RETRY.max), 8)
            .await
            .unwrap()
    }

    /// Works at the row that is due, and does something before the source answers.
    async fn work(&self, before_the_answer: impl Future<Output = ()>) {
        let job = FetchJob::new(&self.node.parts());
        let (_, status, _stop) = context();
        let due = self.due().await;
        assert_eq!(due.len(), 1);
        let answer = async {
            let asked = self.source.asked().await;
            assert_eq!(asked.path, format!("/ipfs/{}?format=raw", self.head.cid()));
            before_the_answer.await;
            asked.answer(RAW, self.head.bytes()).await;
        };
        let (worked, ()) = tokio::join!(job.work(due[0], &status), answer);
        worked.unwrap();
    }
}

#[tokio::test]
async fn a_block_that_came_is_counted_and_what_was_fetched_is_due_no_more() {
    let fetching = Fetching::new().await;
    fetching.work(async {}).await;
    assert!(fetching.due().await.is_empty());
    let count = |outcome| {
        let counter = format!("pin_fetches_total{{outcome=\"{outcome}\"}}");
        fetching.node.count(&counter)
    };
    assert_eq!((count("Ok"), count("Failed")), (1, 0));
}

#[tokio::test]
async fn a_fetch_that_a_publish_overtook_is_due_again_and_no_success() {
    let fetching = Fetching::new().await;
    // One attempt has failed.
    let attempt = FetchAttempt {
        row: fetching.due().await[0],
        delay: Duration::ZERO,
    };
    let ended = attempt.ends(FetchEnd::Later);
    fetching.node.storage.fetch_ended(ended).await.unwrap();
    fetching.work(fetching.publish(2)).await;
    let due = fetching.due().await;
    assert_eq!((due.len(), due[0].failures), (1, 1));
    // What is there now is fetched from the beginning.
    fetching.work(async {}).await;
    assert!(fetching.due().await.is_empty());
}
