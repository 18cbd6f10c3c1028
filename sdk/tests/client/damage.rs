//! A client whose store's file was damaged: whatever byte it is, no label is signed that nobody made, none is lost without
//! a word, and there is a way on.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use perennis_sdk::{
    client::{Client, ListError, PublishOptions},
    error::{ErrorKind, Retryable},
    store::{BlockStore, Disk, DiskOptions, StoreError},
};
use perennis_shared::taglist::Label;

use crate::{
    double::Node,
    people::{alice, device, everything, on, publish, remove, set_with_note, urls},
};

/// Labels with what they say, by where they stand.
type Labels = BTreeMap<String, Label>;

/// A home with labels that were published and others that wait, and the node that has the former.
struct Home {
    file: Vec<u8>,
    node: Node,
    published: Labels,
    /// With the changes that wait.
    wanted: Labels,
}

impl Home {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let node = Node::start().await;
        let client = open(&path, &node).await.unwrap();
        client.adopt(&alice()).await.unwrap();
        let first = [
            set_with_note("@a", "spam", "first"),
            set_with_note("@b", "scam", "first"),
        ];
        client.stage(&first).await.unwrap();
        publish(&client, &alice(), &[&node]).await;
        let published = own(&client).await.unwrap().0;
        client
            .stage(&[set_with_note("@a", "spam", "second")])
            .await
            .unwrap();
        let third = [remove("@b", "scam"), set_with_note("@c", "bot", "third")];
        client.stage(&third).await.unwrap();
        let (wanted, damaged) = own(&client).await.unwrap();
        assert_eq!(damaged, 0);
        drop(client);
        Self {
            file: std::fs::read(&path).unwrap(),
            node,
            published,
            wanted,
        }
    }
}

async fn open(path: &Path, node: &Node) -> Result<Client<Disk>, StoreError> {
    let store = Disk::open(path, DiskOptions::default()).await?;
    Ok(on(store, &[node]))
}

async fn own<S: BlockStore + 'static>(client: &Client<S>) -> Result<(Labels, u64), ListError> {
    let page = client.labels(&everything()).await?;
    let labels = page.labels.into_iter().map(|listed| listed.label);
    Ok((by_place(labels), page.damaged))
}

/// The labels that somebody else reads.
async fn seen(node: &Node) -> Labels {
    let reader = device(&[node]);
    let did = alice().did();
    let list = reader.labels_of(&did, &everything()).await.unwrap();
    by_place(list.page.labels.into_iter().map(|listed| listed.label))
}

fn by_place(labels: impl Iterator<Item = Label>) -> Labels {
    let place = |label: &Label| format!("{} {}", label.subject.handle, label.label);
    labels.map(|label| (place(&label), label)).collect()
}

/// How a run on a damaged file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// As if nothing had happened.
    Right,
    /// The file could not be opened, and the error says so.
    NotOpened,
    /// Publishing was refused with the name of what is damaged; after a repair it went on.
    Repaired,
    /// Publishing was refused since the file itself is damaged.
    Refused,
}

/// Lists and publishes with `file` as the store, and holds whatever comes of it to the promise.
async fn outlive(home: &Home, file: &[u8], case: &str) -> End {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    std::fs::write(&path, file).unwrap();
    let node = home.node.twin().await;
    let client = match open(&path, &node).await {
        Ok(client) => client,
        Err(error) => {
            assert_named(&error, error.code(), case);
            return End::NotOpened;
        }
    };
    match own(&client).await {
        Ok((labels, 0)) => assert_eq!(labels, home.wanted, "{case}: listed"),
        Ok((labels, _)) => home.assert_nothing_else(&labels, case),
        Err(error) => assert_named(&error, error.code(), case),
    }
    let (nodes, options) = (urls(&[&node]), PublishOptions::default());
    let refused = match client.publish(&alice(), &nodes, &options).await {
        Ok(outcome) => {
            assert!(
                outcome.nodes.iter().all(|node| node.stored),
                "{case}: {outcome:?}"
            );
            assert_eq!(seen(&node).await, home.wanted, "{case}: published");
            return End::Right;
        }
        Err(error) => error,
    };
    assert_named(&refused, refused.code(), case);
    assert_eq!(seen(&node).await, home.published, "{case}: {refused}");
    match go_on(&client, &node).await {
        Ok(()) => {
            home.assert_nothing_else(&seen(&node).await, case);
            End::Repaired
        }
        Err(code) => {
            assert_eq!(code, "store_damaged", "{case}");
            End::Refused
        }
    }
}

/// What a person does next: drops what is damaged, brings the rest back, publishes.
async fn go_on(client: &Client<Disk>, node: &Node) -> Result<(), String> {
    let nodes = urls(&[node]);
    let repaired = client.repair_state().await;
    repaired.map_err(|error| error.code().to_owned())?;
    let restored = client.restore(&alice(), &nodes).await;
    restored.map_err(|error| error.code().to_owned())?;
    let published = client
        .publish(&alice(), &nodes, &PublishOptions::default())
        .await;
    published.map(drop).map_err(|error| error.code().to_owned())
}

impl Home {
    /// Each label is one that was made, as it was made.
    fn assert_nothing_else(&self, labels: &Labels, case: &str) {
        for (place, label) in labels {
            let made = [&self.published, &self.wanted];
            let is_made = made.iter().any(|made| made.get(place) == Some(label));
            assert!(is_made, "{case}: {label:?}");
        }
    }
}

/// The error says what is damaged, and that the same call will not help.
fn assert_named<E: Retryable>(error: &E, code: &str, case: &str) {
    let named = [
        "state_damaged",
        "store_damaged",
        "store_not_opened",
        "block_damaged",
        "newer_format",
    ];
    assert!(named.contains(&code), "{case}: {code}");
    assert_ne!(error.kind(), ErrorKind::Retry, "{case}: {code}");
}

/// Where a byte is changed, and by what. `PERENNIS_FLIPS` says how many; as many as the file has bytes are all of them.
fn flips(length: usize) -> Vec<(usize, u8)> {
    let wanted = std::env::var("PERENNIS_FLIPS").ok();
    let wanted = wanted.and_then(|text| text.parse().ok()).unwrap_or(400);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut places: BTreeSet<usize> = BTreeSet::new();
    while places.len() < length.min(wanted) {
        let place = if wanted >= length {
            places.len()
        } else {
            usize::try_from(next() % length as u64).unwrap()
        };
        places.insert(place);
    }
    let mask = |place| (place, u8::try_from(next() % 255).unwrap() + 1);
    places.into_iter().map(mask).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_changed_byte_of_the_file_is_signed_or_lost_in_silence() {
    let home = Home::new().await;
    let mut ends: BTreeMap<End, usize> = BTreeMap::new();
    // Bytes of pages that were never written say nothing.
    let written: Vec<usize> = (0..home.file.len())
        .filter(|at| {
            home.file[at / 4096 * 4096..]
                .iter()
                .take(4096)
                .any(|byte| *byte != 0)
        })
        .collect();
    for (index, mask) in flips(written.len()) {
        let at = written[index];
        let mut file = home.file.clone();
        file[at] ^= mask;
        let end = outlive(&home, &file, &format!("byte {at} ^ {mask:#04x}")).await;
        *ends.entry(end).or_default() += 1;
    }
    println!(
        "{} bytes, {} written: {ends:?}",
        home.file.len(),
        written.len()
    );
    assert!(
        ends.contains_key(&End::Right) && ends.contains_key(&End::Repaired),
        "{ends:?}"
    );
}
