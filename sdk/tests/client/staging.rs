//! Changes that wait to be signed.

use perennis_rt as rt;
use perennis_sdk::{
    client::{Client, ClientConfig, IdentityError, LabelQuery, StageError},
    store::{BlockStore, Changes, Memory, StoreError},
};
use perennis_shared::{
    did::{Identity, Profile},
    taglist::{Colour, Handle, Key, Label, Note, Op, Source, Tag},
};
use zeroize::Zeroizing;

fn identity(root: u8) -> Identity {
    Identity::from_root(Profile::V2, Zeroizing::new([root; 32]))
}

fn client(store: Memory) -> Client<Memory> {
    Client::new(store, ClientConfig::default()).unwrap()
}

/// One change of each shape.
fn ops() -> Vec<Op> {
    let handle = Handle::parse("@Some_One").unwrap();
    let plain = Label::new(handle, Tag::parse("plain").unwrap(), rt::now());
    let full = Label {
        label: Tag::parse("full").unwrap(),
        colour: Some(Colour::parse("#ff8800").unwrap()),
        note: Some(Note::parse("a note").unwrap()),
        source: Some(Source::parse(&identity(3).did().to_string()).unwrap()),
        expires: Some(rt::now() + std::time::Duration::from_secs(60)),
        negated: true,
        ..plain.clone()
    };
    let mut numbered = plain.clone();
    numbered.subject.id = Some(u64::MAX);
    let gone = Key::new(&handle, &Tag::parse("gone").unwrap());
    vec![
        Op::Set(plain),
        Op::Set(full),
        Op::Set(numbered),
        Op::Remove(gone),
    ]
}

#[tokio::test]
async fn staged_changes_are_there_for_the_next_process_in_their_order() {
    let store = Memory::new();
    let first = client(store.clone());
    first.adopt(&identity(1)).await.unwrap();
    let ops = ops();
    for (index, op) in ops.iter().enumerate() {
        assert_eq!(
            first.stage(std::slice::from_ref(op)).await.unwrap(),
            index + 1
        );
    }
    assert_eq!(client(store).staged().await.unwrap(), ops);
}

#[tokio::test]
async fn many_changes_are_staged_at_once() {
    let client = client(Memory::new());
    client.adopt(&identity(1)).await.unwrap();
    let few = ops();
    let many: Vec<Op> = few.iter().cycle().take(2_800).cloned().collect();
    assert_eq!(client.stage(&many).await.unwrap(), many.len());
    client.stage(&few).await.unwrap();
    assert_eq!(client.staged().await.unwrap(), [many, few].concat());
}

#[tokio::test]
async fn discarded_changes_are_gone() {
    let client = client(Memory::new());
    client.adopt(&identity(1)).await.unwrap();
    client.stage(&ops()).await.unwrap();
    assert_eq!(client.discard_staged().await.unwrap(), 4);
    assert_eq!(client.staged().await.unwrap(), []);
}

#[tokio::test]
async fn last_changes_are_taken_back_whole_and_one_call_at_a_time() {
    let client = client(Memory::new());
    client.adopt(&identity(1)).await.unwrap();
    assert_eq!(client.unstage().await.unwrap(), []);
    let few = ops();
    let many: Vec<Op> = few.iter().cycle().take(2_800).cloned().collect();
    client.stage(&few).await.unwrap();
    client.stage(&many).await.unwrap();
    assert_eq!(client.staged_count().await.unwrap(), 2_804);
    assert_eq!(client.unstage().await.unwrap(), many);
    assert_eq!(client.staged().await.unwrap(), few);
    assert_eq!(client.unstage().await.unwrap(), few);
    assert_eq!(client.staged_count().await.unwrap(), 0);
}

#[tokio::test]
async fn staged_labels_are_listed_once_each_in_pages_and_in_one_scan() {
    let client = client(Memory::new());
    client.adopt(&identity(1)).await.unwrap();
    let set = |number: usize, note: &str| {
        let handle = Handle::parse(&format!("h{number:05}")).unwrap();
        let mut label = Label::new(handle, Tag::parse("spam").unwrap(), rt::now());
        label.note = Note::parse(note).ok();
        label
    };
    let first: Vec<Op> = (0..2_500)
        .map(|number| Op::Set(set(number, "old")))
        .collect();
    client.stage(&first).await.unwrap();
    let second = [Op::Set(set(7, "new")), Op::Remove(set(8, "").key())];
    client.stage(&second).await.unwrap();
    let query = LabelQuery {
        limit: 1_000,
        ..LabelQuery::default()
    };
    let (mut paged, mut query_of_page) = (Vec::new(), query.clone());
    loop {
        let page = client.labels(&query_of_page).await.unwrap();
        assert_eq!(page.staged, 2_502);
        paged.extend(page.labels);
        match page.next {
            Some(next) => query_of_page.after = Some(next),
            None => break,
        }
    }
    let mut scan = client.scan_labels(&query).await.unwrap();
    let mut scanned = Vec::new();
    for limit in [1, 999, 1_000, 10_000, 1] {
        scanned.extend(scan.next(limit).await.unwrap());
    }
    assert_eq!(scanned, paged);
    assert_eq!(paged.len(), 2_499);
    assert!(paged.iter().all(|listed| listed.staged));
    assert_eq!(paged[7].label.note, Note::parse("new").ok());
    assert_eq!(paged[8].label.subject.handle.as_str(), "h00009");
}

#[tokio::test]
async fn store_belongs_to_one_identity() {
    let client = client(Memory::new());
    let error = client.stage(&ops()).await.unwrap_err();
    assert!(matches!(error, StageError::NoIdentity));
    let facts = client.adopt(&identity(1)).await.unwrap();
    assert_eq!(client.identity().await.unwrap(), Some(facts.clone()));
    assert_eq!(client.adopt(&identity(1)).await.unwrap(), facts);
    let error = client.adopt(&identity(2)).await.unwrap_err();
    assert!(matches!(error, IdentityError::Other { known, .. } if known == facts.did.to_string()));
}

#[tokio::test]
async fn damaged_rows_are_errors_not_losses() {
    let store = Memory::new();
    let client = client(store.clone());
    let name = client.adopt(&identity(1)).await.unwrap().name;
    client.stage(&ops()).await.unwrap();
    let key = store
        .state_keys(&format!("staged/{name}/"))
        .await
        .unwrap()
        .remove(0);
    store
        .commit(Changes::new().set(&key, "rotten"))
        .await
        .unwrap();
    let error = client.staged().await.unwrap_err();
    assert!(
        matches!(error, StageError::Store(StoreError::CorruptRow { key: at, .. }) if at == key)
    );
    store
        .commit(Changes::new().set("me", "rotten"))
        .await
        .unwrap();
    assert!(client.identity().await.is_err());
}
