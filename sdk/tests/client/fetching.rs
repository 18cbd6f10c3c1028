//! The exchange: verified fetches from sources that cannot be trusted.

use bytes::Bytes;
use perennis_sdk::{
    exchange::{Exchange, FetchError, FetchLimits},
    store::{BlockStore, Changes, Memory},
};
use perennis_shared::{
    cid::{Block, Cid, Codec},
    codec::{Value, dag_cbor},
    error::{ErrorKind, Retryable},
};

use crate::double::{Door, Fault, Node, backoff, http};

fn raw(text: &str) -> Block {
    Block::new(Codec::Raw, text.to_owned()).unwrap()
}

fn parent(children: &[&Block]) -> Block {
    let links = children.iter().map(|child| Value::Link(*child.cid()));
    let bytes = dag_cbor::encode(&Value::List(links.collect())).unwrap();
    Block::new(Codec::DagCbor, bytes).unwrap()
}

/// Two levels, one leaf reached twice.
fn dag() -> (Block, Vec<Block>) {
    let leaves = [raw("a"), raw("b"), raw("c")];
    let left = parent(&[&leaves[0], &leaves[1]]);
    let right = parent(&[&leaves[1], &leaves[2]]);
    let root = parent(&[&left, &right]);
    let [a, b, c] = leaves;
    (root.clone(), vec![root, left, right, a, b, c])
}

async fn node_with(blocks: &[Block]) -> Node {
    let node = Node::start().await;
    for block in blocks {
        node.put_block(block);
    }
    node
}

fn from(nodes: &[&Node]) -> Exchange {
    within(nodes, FetchLimits::default())
}

fn within(nodes: &[&Node], limits: FetchLimits) -> Exchange {
    let sources = nodes.iter().map(|node| node.url.clone()).collect();
    Exchange::new(http(), sources, backoff(), limits)
}

async fn fetch(exchange: &Exchange, root: &Block) -> Result<Vec<Cid>, FetchError> {
    let fetched = exchange
        .missing_below(&Memory::new(), &[*root.cid()])
        .await?;
    Ok(sorted(&fetched))
}

fn sorted(blocks: &[Block]) -> Vec<Cid> {
    let mut cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    cids.sort();
    cids
}

#[tokio::test]
async fn block_comes_from_the_first_source_that_has_it() {
    let block = raw("hello");
    let (without, with) = (
        Node::start().await,
        node_with(std::slice::from_ref(&block)).await,
    );
    assert_eq!(
        from(&[&without, &with]).block(block.cid()).await.unwrap(),
        block
    );
}

#[tokio::test]
async fn wrong_bytes_are_dropped_and_the_next_source_is_asked() {
    let block = raw("hello");
    let (liar, honest) = (
        node_with(std::slice::from_ref(&block)).await,
        node_with(std::slice::from_ref(&block)).await,
    );
    liar.always(Door::Raw, Fault::Flipped);
    assert_eq!(
        from(&[&liar, &honest]).block(block.cid()).await.unwrap(),
        block
    );
    assert_eq!(liar.requests(Door::Raw), 1, "a liar is not asked again");
    let error = from(&[&liar]).block(block.cid()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn endless_silent_and_broken_sources_end_in_an_error() {
    let block = raw("hello");
    let node = node_with(std::slice::from_ref(&block)).await;
    node.always(Door::Raw, Fault::Endless);
    assert!(from(&[&node]).block(block.cid()).await.is_err());
    node.always(Door::Raw, Fault::Silence);
    let error = from(&[&node]).block(block.cid()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    node.heal(Door::Raw);
    node.next(Door::Raw, Fault::Half);
    assert_eq!(from(&[&node]).block(block.cid()).await.unwrap(), block);
}

#[tokio::test]
async fn identity_cid_needs_no_source() {
    let hash = multihash_of(b"inline");
    let cid = Cid::new_v1(Codec::Raw.code(), hash);
    let block = from(&[]).block(&cid).await.unwrap();
    assert_eq!(block.bytes(), &Bytes::from_static(b"inline"));
    let error = from(&[]).block(raw("x").cid()).await.unwrap_err();
    assert!(matches!(error, FetchError::NoSource { .. }));
}

fn multihash_of(bytes: &[u8]) -> cid::multihash::Multihash<64> {
    cid::multihash::Multihash::wrap(0, bytes).unwrap()
}

#[tokio::test]
async fn whole_dag_comes_as_one_car() {
    let (root, blocks) = dag();
    let node = node_with(&blocks).await;
    assert_eq!(
        fetch(&from(&[&node]), &root).await.unwrap(),
        sorted(&blocks)
    );
    assert_eq!((node.requests(Door::Car), node.requests(Door::Raw)), (1, 0));
}

#[tokio::test]
async fn car_that_breaks_off_is_completed_block_by_block() {
    let (root, blocks) = dag();
    let node = node_with(&blocks).await;
    for fault in [
        Fault::Half,
        Fault::Flipped,
        Fault::Endless,
        Fault::Status(404, None),
    ] {
        node.next(Door::Car, fault.clone());
        let fetched = fetch(&from(&[&node]), &root).await;
        assert_eq!(fetched.unwrap(), sorted(&blocks), "{fault:?}");
    }
}

#[tokio::test]
async fn sources_complete_each_other() {
    let (root, blocks) = dag();
    let (one, two) = (node_with(&blocks).await, node_with(&blocks).await);
    one.forget_block(blocks[2].cid());
    two.forget_block(blocks[3].cid());
    assert_eq!(
        fetch(&from(&[&one, &two]), &root).await.unwrap(),
        sorted(&blocks)
    );
}

#[tokio::test]
async fn blocks_already_here_are_not_fetched() {
    let (root, blocks) = dag();
    let node = node_with(&blocks).await;
    let store = Memory::new();
    store
        .commit(Changes::new().put(blocks[..3].to_vec()))
        .await
        .unwrap();
    let fetched = from(&[&node])
        .missing_below(&store, &[*root.cid()])
        .await
        .unwrap();
    assert_eq!(sorted(&fetched), sorted(&blocks[3..]));
    assert_eq!(node.requests(Door::Raw), 3);
}

#[tokio::test]
async fn absent_block_is_named() {
    let (root, blocks) = dag();
    let node = node_with(&blocks).await;
    node.forget_block(blocks[5].cid());
    let error = fetch(&from(&[&node]), &root).await.unwrap_err();
    assert!(matches!(&error, FetchError::Unavailable { cid, .. } if **cid == *blocks[5].cid()));
    assert!(error.to_string().contains(&node.url.to_string()));
}

#[tokio::test]
async fn extra_blocks_in_a_car_are_not_taken() {
    let (_, blocks) = dag();
    let node = node_with(&blocks).await;
    let car = perennis_shared::codec::car::write(&[*blocks[3].cid()], &blocks).unwrap();
    node.next(
        Door::Car,
        Fault::Other("application/vnd.ipld.car", car.into()),
    );
    assert_eq!(
        fetch(&from(&[&node]), &blocks[3]).await.unwrap(),
        [*blocks[3].cid()]
    );
}

#[tokio::test]
async fn dag_beyond_the_bounds_is_refused() {
    let (root, blocks) = dag();
    let node = node_with(&blocks).await;
    let few = FetchLimits {
        blocks: 5,
        ..FetchLimits::default()
    };
    let error = fetch(&within(&[&node], few), &root).await.unwrap_err();
    assert!(matches!(
        error,
        FetchError::TooLarge {
            limit: "blocks",
            max: 5,
            ..
        }
    ));
    let small = FetchLimits {
        bytes: 100,
        ..FetchLimits::default()
    };
    let error = fetch(&within(&[&node], small), &root).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: "bytes", .. }));
}

#[tokio::test]
async fn block_that_breaks_its_codec_ends_the_fetch() {
    let bad = Block::new(Codec::DagCbor, vec![0xff]).unwrap();
    let node = node_with(std::slice::from_ref(&bad)).await;
    let error = fetch(&from(&[&node]), &bad).await.unwrap_err();
    assert!(matches!(error, FetchError::Unreadable { .. }));
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
