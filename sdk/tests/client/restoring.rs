//! Export, import, restore, and the state of the backup.

use std::time::Duration;

use perennis_rt as rt;
use perennis_sdk::{
    client::{CapsuleReader, Client, ExportError, RestoreError},
    store::{BlockStore, Changes, Memory},
};
use perennis_shared::{
    cid::{Block, Cid, Codec},
    codec::car::{self, Reader},
    error::{ErrorKind, Retryable},
    ipns::{self, Record, RecordFields},
    time::Timestamp,
};

use crate::{
    double::{Door, Fault, Node},
    people::{alice, bob, device, on, own, publish, seen, set, stored, urls},
};

const ENOUGH: usize = 64 << 20;

async fn exported(client: &Client<Memory>) -> Vec<u8> {
    let mut export = client.export().await.unwrap();
    let mut file = Vec::new();
    while let Some(chunk) = export.chunk().await.unwrap() {
        file.extend_from_slice(&chunk);
    }
    file
}

fn read(file: &[u8]) -> Result<CapsuleReader, RestoreError> {
    let mut reader = CapsuleReader::new(ENOUGH);
    for piece in file.chunks(1000) {
        reader.push(piece)?;
    }
    Ok(reader)
}

async fn import<S: BlockStore + 'static>(
    client: &Client<S>,
    file: &[u8],
) -> Result<u64, RestoreError> {
    Ok(client.import(read(file)?).await?.sequence)
}

/// A client with two published entries, and the node.
async fn published() -> (Client<Memory>, Node) {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    for handle in ["@a", "@b"] {
        client.stage(&[set(handle, "x")]).await.unwrap();
        publish(&client, &alice(), &[&node]).await;
    }
    (client, node)
}

#[tokio::test]
async fn identity_alone_brings_everything_back_from_a_node() {
    let (old, node) = published().await;
    let new = device(&[]);
    let resolved = new.restore(&alice(), &urls(&[&node])).await.unwrap();
    assert_eq!(resolved.sequence, 2);
    assert_eq!(own(&new).await, own(&old).await);
    new.stage(&[set("@c", "x")]).await.unwrap();
    let outcome = publish(&new, &alice(), &[&node]).await;
    assert_eq!((outcome.sequence, stored(&outcome)), (3, vec![true]));
}

/// Puts a record in the place of the newest that leads to the same and has ended. The node resolves it no more.
fn end_record(node: &Node) -> Record {
    let name = alice().did().name();
    let live = node.record(&name).unwrap();
    let fields = RecordFields {
        value: std::str::from_utf8(live.value()).unwrap(),
        sequence: live.sequence(),
        validity: Timestamp::from(rt::now() - Duration::from_secs(1)),
        ttl: Duration::from_secs(60),
    };
    let ended = ipns::create(alice().ipns_signer(), &fields).unwrap();
    node.put_record(&name, &ended);
    node.always(Door::Routing, Fault::Status(404, None));
    ended
}

#[tokio::test]
async fn record_that_has_ended_is_enough_for_its_owner_and_told_to_others() {
    let (old, node) = published().await;
    let ended = end_record(&node);
    let reader = device(&[&node]);
    let error = reader.resolve(&alice().did()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("record_ended", ErrorKind::Reject)
    );
    let told = error.to_string();
    let at = ended.validity().to_string();
    assert!(
        told.contains(&at) && told.contains(&node.url.to_string()),
        "{told}"
    );
    let error = reader.resolve_list(&alice().did(), &[]).await.unwrap_err();
    assert_eq!(error.code(), "record_ended");
    // Nobody's is still nobody's.
    let error = reader.resolve(&bob().did()).await.unwrap_err();
    assert_eq!(error.code(), "not_found");

    let new = device(&[]);
    let resolved = new.restore(&alice(), &urls(&[&node])).await.unwrap();
    assert_eq!(resolved.record, ended);
    assert_eq!(own(&new).await, own(&old).await);
    let outcome = publish(&new, &alice(), &[&node]).await;
    assert_eq!((outcome.sequence, stored(&outcome)), (3, vec![true]));
    assert!(outcome.valid_until.to_millis() > rt::now());
}

#[tokio::test]
async fn publish_goes_on_from_a_record_that_has_ended() {
    let (old, node) = published().await;
    end_record(&node);
    let other = device(&[]);
    other.adopt(&alice()).await.unwrap();
    let outcome = publish(&other, &alice(), &[&node]).await;
    assert_eq!((outcome.sequence, stored(&outcome)), (3, vec![true]));
    assert_eq!(own(&other).await, own(&old).await);
}

#[tokio::test]
async fn restore_that_fails_half_way_leaves_everything_as_it_was() {
    let (_, node) = published().await;
    let rows = async |client: &Client<Memory>| client.store().state_keys("").await.unwrap();
    // A new home, and one with damaged rows that restoring would drop.
    let new = device(&[]);
    let damaged = device(&[]);
    damaged.adopt(&alice()).await.unwrap();
    damaged.stage(&[set("@waits", "x")]).await.unwrap();
    let staged = damaged
        .store()
        .state_keys("staged/")
        .await
        .unwrap()
        .remove(0);
    let before = [rows(&new).await, rows(&damaged).await];
    node.always(Door::Raw, Fault::Status(500, None));
    node.always(Door::Car, Fault::Half);
    for client in [&new, &damaged] {
        let error = client.restore(&alice(), &urls(&[&node])).await.unwrap_err();
        assert!(matches!(error, RestoreError::List(_)), "{error:?}");
    }
    assert_eq!([rows(&new).await, rows(&damaged).await], before);
    assert_eq!(new.identity().await.unwrap(), None);
    assert!(damaged.store().state(&staged).await.unwrap().is_some());
    // So another identity can still have the new home.
    new.adopt(&bob()).await.unwrap();
}

#[tokio::test]
async fn restore_completes_itself_from_several_nodes() {
    let (client, one) = published().await;
    let two = Node::start().await;
    publish(&client, &alice(), &[&two]).await;
    one.forget_block(&client.backup().await.unwrap().head.unwrap());
    two.next(Door::Car, Fault::Half);
    let new = device(&[]);
    new.restore(&alice(), &urls(&[&one, &two])).await.unwrap();
    assert_eq!(own(&new).await, ["@a x", "@b x"]);
}

#[tokio::test]
async fn restore_of_what_no_node_has_leaves_nothing_half() {
    let (client, node) = published().await;
    let head = client.backup().await.unwrap().head.unwrap();
    node.forget_block(&head);
    let new = device(&[]);
    let error = new.restore(&alice(), &urls(&[&node])).await.unwrap_err();
    assert_eq!(error.code(), "block_unavailable");
    assert_eq!(new.identity().await.unwrap(), None);
    assert_eq!(new.store().state_keys("head/").await.unwrap(), [""; 0]);

    let error = device(&[])
        .restore(&bob(), &urls(&[&node]))
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("not_found", ErrorKind::Reject)
    );
}

#[tokio::test]
async fn capsule_brings_everything_to_a_new_device() {
    let (client, _) = published().await;
    let file = exported(&client).await;
    let new = device(&[]);
    assert_eq!(import(&new, &file).await.unwrap(), 2);
    assert_eq!(
        new.identity().await.unwrap(),
        client.identity().await.unwrap()
    );
    assert_eq!(own(&new).await, ["@a x", "@b x"]);
    assert_eq!(
        exported(&new).await,
        file,
        "the same state makes the same file"
    );
    let node = Node::start().await;
    new.stage(&[set("@c", "x")]).await.unwrap();
    let outcome = publish(&new, &alice(), &[&node]).await;
    assert_eq!((outcome.sequence, stored(&outcome)), (3, vec![true]));
}

#[tokio::test]
async fn capsule_has_the_layout_of_the_publish_message() {
    let (client, node) = published().await;
    let file = exported(&client).await;
    let reader = Reader::new(&file).unwrap();
    let roots = reader.header().roots.clone();
    let blocks: Vec<Block> = reader.collect::<Result<_, _>>().unwrap();
    assert_eq!(roots[0], client.backup().await.unwrap().head.unwrap());
    assert_eq!(blocks.last().unwrap().cid(), &roots[1]);
    assert_eq!(blocks[0].cid(), &roots[0]);
    let record = node.record(&alice().name()).unwrap();
    assert_eq!(blocks.last().unwrap().bytes(), record.bytes());
}

#[tokio::test]
async fn damaged_capsules_are_refused_and_leave_nothing() {
    let (client, _) = published().await;
    let file = exported(&client).await;
    for length in (0..file.len()).step_by(97) {
        let new = device(&[]);
        assert!(
            import(&new, &file[..length]).await.is_err(),
            "cut at {length}"
        );
        assert_eq!(new.identity().await.unwrap(), None);
    }
    for at in (0..file.len()).step_by(31) {
        let mut flipped = file.clone();
        flipped[at] ^= 4;
        let new = device(&[]);
        assert!(import(&new, &flipped).await.is_err(), "flipped at {at}");
        assert_eq!(new.store().cids(None, 1).await.unwrap(), []);
    }
}

#[tokio::test]
async fn files_that_are_no_capsule_are_told_apart() {
    let (client, _) = published().await;
    let file = exported(&client).await;
    let reader = Reader::new(&file).unwrap();
    let roots = reader.header().roots.clone();
    let blocks: Vec<Block> = reader.collect::<Result<_, _>>().unwrap();
    let code = |roots: &[Cid], blocks: &[Block]| {
        let file = car::write(roots, blocks).unwrap();
        async move {
            import(&device(&[]), &file)
                .await
                .unwrap_err()
                .code()
                .to_owned()
        }
    };
    assert_eq!(code(&roots[..1], &blocks).await, "not_a_capsule");
    assert_eq!(
        code(&roots, &blocks[..blocks.len() - 1]).await,
        "not_a_capsule"
    );
    let other = Block::new(Codec::Raw, "no record").unwrap();
    let mut wrong = blocks.clone();
    *wrong.last_mut().unwrap() = other.clone();
    assert_ne!(
        code(&[roots[0], *other.cid()], &wrong).await,
        "not_a_capsule"
    );
    let mut holed = blocks.clone();
    holed.remove(1);
    assert_eq!(code(&roots, &holed).await, "no_source");
    let mut small = CapsuleReader::new(100);
    assert!(matches!(
        small.push(&file),
        Err(RestoreError::TooLarge { max: 100 })
    ));
}

#[tokio::test]
async fn capsule_of_another_identity_or_an_older_state_is_refused() {
    let (client, node) = published().await;
    let file = exported(&client).await;
    let other = device(&[]);
    other.adopt(&bob()).await.unwrap();
    assert_eq!(
        import(&other, &file).await.unwrap_err().code(),
        "other_identity"
    );

    client.stage(&[set("@c", "x")]).await.unwrap();
    publish(&client, &alice(), &[&node]).await;
    let error = import(&client, &file).await.unwrap_err();
    assert!(matches!(
        error,
        RestoreError::Older {
            here: 3,
            offered: 2
        }
    ));
    assert_eq!(own(&client).await, ["@a x", "@b x", "@c x"]);
}

#[tokio::test]
async fn nothing_published_is_nothing_to_export() {
    let client = device(&[]);
    assert!(matches!(
        client.export().await.err(),
        Some(ExportError::NoIdentity)
    ));
    client.adopt(&alice()).await.unwrap();
    client.stage(&[set("@a", "x")]).await.unwrap();
    assert!(matches!(
        client.export().await.err(),
        Some(ExportError::Unpublished)
    ));
}

#[tokio::test]
async fn backup_check_brings_lost_blocks_back() {
    let (client, node) = published().await;
    let sound = client.check_backup().await.unwrap();
    assert!(sound.blocks > 4 && sound.repaired.is_empty() && sound.lost.is_empty());
    let head = client.backup().await.unwrap().head.unwrap();
    client
        .store()
        .commit(Changes::new().delete([head]))
        .await
        .unwrap();
    let repaired = client.check_backup().await.unwrap();
    assert_eq!(
        (repaired.blocks, repaired.repaired),
        (sound.blocks, vec![head])
    );

    client
        .store()
        .commit(Changes::new().delete([head]))
        .await
        .unwrap();
    node.forget_block(&head);
    let lost = client.check_backup().await.unwrap();
    assert_eq!(lost.lost[0].0, head);
}

#[tokio::test]
async fn periodic_backup_repairs_delivers_and_stops_with_its_handle() {
    let (client, node) = published().await;
    let head = client.backup().await.unwrap().head.unwrap();
    let (tick, ticks) = tokio::sync::mpsc::unbounded_channel::<()>();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let ticks = std::sync::Arc::new(tokio::sync::Mutex::new(ticks));
    let timer = move || {
        let ticks = std::sync::Arc::clone(&ticks);
        async move {
            let _ = ticks.lock().await.recv().await;
        }
    };
    let backup = client.start_backup_by(timer, move |check| tell.send(check.unwrap()).unwrap());

    // A block is lost between two steps: the next one brings it back.
    let lost = Changes::new().delete([head]);
    client.store().commit(lost).await.unwrap();
    assert!(told.try_recv().is_err(), "it works before its time");
    tick.send(()).unwrap();
    assert_eq!(told.recv().await.unwrap().repaired, [head]);
    // Nobody could store a publish: the step after the node is back delivers it.
    node.always(Door::Publish, Fault::Status(503, None));
    client.stage(&[set("@c", "x")]).await.unwrap();
    assert_eq!(stored(&publish(&client, &alice(), &[&node]).await), [false]);
    node.heal(Door::Publish);
    tick.send(()).unwrap();
    let check = told.recv().await.unwrap();
    assert!(check.repaired.is_empty() && check.lost.is_empty());
    assert_eq!(client.backup().await.unwrap().waiting, []);

    drop(backup);
    assert!(told.recv().await.is_none(), "it works on");
}

#[tokio::test]
async fn backup_tells_what_is_where() {
    let (client, node) = published().await;
    client.stage(&[set("@c", "x")]).await.unwrap();
    let backup = client.backup().await.unwrap();
    assert_eq!((backup.sequence, backup.staged), (Some(2), 1));
    assert_eq!(backup.waiting, []);
    assert_eq!(backup.nodes.len(), 1);
    assert!(backup.nodes[0].is_current && backup.nodes[0].url == node.url);
}

#[tokio::test]
async fn cleaning_drops_what_was_read_of_others_and_nothing_own() {
    let (theirs, node) = published().await;
    let client = on(Memory::new(), &[&node]);
    client.adopt(&bob()).await.unwrap();
    client.stage(&[set("@mine", "x")]).await.unwrap();
    publish(&client, &bob(), &[&node]).await;
    let before = client.store().cids(None, 1000).await.unwrap().len();
    seen(&client, &alice()).await;
    let after = client.store().cids(None, 1000).await.unwrap().len();
    assert!(after > before);
    let head = theirs.backup().await.unwrap().head.unwrap();
    assert_eq!(client.clean(&[head]).await.unwrap(), 0);
    assert_eq!(client.clean(&[]).await.unwrap(), after - before);
    assert!(client.check_backup().await.unwrap().lost.is_empty());
    assert_eq!(own(&client).await, ["@mine x"]);
}
