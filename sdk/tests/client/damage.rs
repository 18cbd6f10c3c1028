//! A client whose store's file was damaged: whatever byte it is, no label is signed that nobody made, none is lost without
//! a word, and there is a way on.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use perennis_rt::http::HttpTimes;
use perennis_sdk::{
    client::{Client, ClientConfig, ListError, PublishOptions},
    store::{BlockStore, Changes, Disk, DiskOptions, Memory, StoreError},
};
use perennis_shared::{
    error::{ErrorKind, Retryable},
    taglist::Label,
};
use redb::ReadableTable as _;

use crate::{
    double::Node,
    people::{alice, bob, config, everything, on, remove, set_with_note, stored, urls},
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
        // One node is not there, so that something waits to be delivered.
        let nodes = [node.url.clone(), "http://127.0.0.1:1".parse().unwrap()];
        let options = PublishOptions::default();
        let outcome = client.publish(&alice(), &nodes, &options).await.unwrap();
        assert_eq!(stored(&outcome), [true, false]);
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
    Ok(Client::new(store, patient(node)).unwrap())
}

/// The nodes here do as they should, so a machine that is busy is waited for.
fn patient(node: &Node) -> ClientConfig {
    ClientConfig {
        http: HttpTimes::default(),
        publish_time: Duration::from_secs(60),
        ..config(&[node])
    }
}

async fn own<S: BlockStore + 'static>(client: &Client<S>) -> Result<(Labels, u64), ListError> {
    let page = client.labels(&everything()).await?;
    let labels = page.labels.into_iter().map(|listed| listed.label);
    Ok((by_place(labels), page.damaged))
}

/// The labels that somebody else reads.
async fn seen(node: &Node) -> Labels {
    let reader = Client::new(Memory::new(), patient(node)).unwrap();
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
    drop(client);
    match go_on(&path, &node).await {
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

/// What a person does next, in another process: drops what is damaged, brings the rest back, publishes.
async fn go_on(path: &Path, node: &Node) -> Result<(), String> {
    let nodes = urls(&[node]);
    let client = open(path, node).await;
    let client = client.map_err(|error| error.code().to_owned())?;
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
    let wanted = wanted.and_then(|text| text.parse().ok()).unwrap_or(250);
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
    eprintln!(
        "{} bytes, {} written: {ends:?}",
        home.file.len(),
        written.len()
    );
    assert!(
        ends.contains_key(&End::Right) && ends.contains_key(&End::Repaired),
        "{ends:?}"
    );
}

/// Changes the last byte of a row's value behind the store's back.
fn change_row(path: &Path, name: &str) {
    let rows = redb::TableDefinition::<&[u8], &[u8]>::new("rows");
    let database = redb::Database::create(path).unwrap();
    let writing = database.begin_write().unwrap();
    {
        let mut rows = writing.open_table(rows).unwrap();
        let mut stored = rows.get(name.as_bytes()).unwrap().unwrap().value().to_vec();
        *stored.last_mut().unwrap() ^= 1;
        rows.insert(name.as_bytes(), stored.as_slice()).unwrap();
    }
    writing.commit().unwrap();
}

#[tokio::test]
async fn each_kind_of_row_is_named_and_gone_on_without() {
    let home = Home::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    std::fs::write(&path, &home.file).unwrap();
    let store = Disk::open(&path, DiskOptions::default()).await.unwrap();
    let rows = store.state_keys("").await.unwrap();
    drop(store);
    let kinds: BTreeSet<&str> = rows
        .iter()
        .filter_map(|row| row.split('/').next())
        .collect();
    let every = ["added", "head", "me", "node", "outbox", "record", "staged"];
    assert_eq!(kinds, every.into());
    for row in &rows {
        std::fs::write(&path, &home.file).unwrap();
        change_row(&path, row);
        let node = home.node.twin().await;
        let client = open(&path, &node).await.unwrap();
        let (labels, damaged) = own(&client).await.unwrap();
        assert_eq!(damaged, 1, "{row}");
        let is_staged = row.starts_with("staged/");
        assert_eq!(labels == home.wanted, !is_staged, "{row}");
        home.assert_nothing_else(&labels, row);

        let check = client.check_state().await.unwrap();
        assert_eq!((check.damaged.len(), check.missing), (1, 0), "{row}");
        assert_eq!(check.damaged[0].row, *row);
        let is_rebuilt = row == "me" || row.starts_with("head/");
        assert_eq!(check.damaged[0].rebuilt, is_rebuilt, "{row}");
        let (nodes, options) = (urls(&[&node]), PublishOptions::default());
        let refused = client
            .publish(&alice(), &nodes, &options)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), "state_damaged");
        assert!(refused.to_string().contains(row.as_str()), "{refused}");
        assert_eq!(seen(&node).await, home.published, "{row}");

        assert_eq!(client.repair_state().await.unwrap(), check);
        assert!(client.check_state().await.unwrap().is_sound(), "{row}");
        client.publish(&alice(), &nodes, &options).await.unwrap();
        let labels = seen(&node).await;
        assert_eq!(labels == home.wanted, !is_staged, "{row}");
        home.assert_nothing_else(&labels, row);
    }
}

#[tokio::test]
async fn what_was_lost_of_whose_store_it_is_is_not_taken_from_the_next_passphrase() {
    let (store, node) = (Memory::new(), Node::start().await);
    let client = on(store.clone(), &[&node]);
    client.adopt(&alice()).await.unwrap();
    client
        .stage(&[set_with_note("@a", "spam", "mine")])
        .await
        .unwrap();
    let changes = Changes::new().set("me", "rotten");
    store.commit(changes).await.unwrap();
    // Nothing was published: nothing else here says it.
    assert!(!client.repair_state().await.unwrap().damaged[0].rebuilt);
    let (nodes, options) = (urls(&[&node]), PublishOptions::default());
    let error = client.publish(&bob(), &nodes, &options).await.unwrap_err();
    assert_eq!(error.code(), "other_identity");
    client.publish(&alice(), &nodes, &options).await.unwrap();
    assert_eq!(seen(&node).await.len(), 1);
}
