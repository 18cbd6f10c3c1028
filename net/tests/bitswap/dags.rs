//! Whole DAGs, from one peer and from several.

use super::*;
use perennis_sdk::{
    exchange::{DagLimits, FetchError, StoreSink, fetch_dag},
    store::{BlockStore, Memory},
};

async fn holds(store: &Memory, blocks: &[Block]) -> bool {
    for block in blocks {
        if store.block(block.cid()).await.unwrap().as_ref() != Some(block) {
            return false;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dag_comes_whole_and_once() {
    let blocks = file(300, 20_000);
    let source = Blocks::of(&blocks);
    let server = node(source.clone(), test_config(), &[]).await;
    let client = node(Blocks::default(), test_config(), &[&server]).await;
    let (store, root) = (Memory::default(), [*blocks.last().unwrap().cid()]);
    let session = client.handle.session(&[server.peer]);
    let mut seen = Vec::new();
    let sink = StoreSink(&store);
    let limits = DagLimits::default();
    let fetch = fetch_dag(&session, &root, &sink, limits, |progress| {
        seen.push(progress)
    });
    let done = within(fetch).await.unwrap();
    assert!(holds(&store, &blocks).await);
    assert_eq!((done.blocks, done.left, done.held), (304, 0, 0));
    assert_eq!(seen.last(), Some(&done));
    assert_eq!(source.reads(), 304, "each block is read once");
    // Once it is here nobody is asked.
    let again = fetch_dag(&session, &root, &sink, limits, |_| ());
    let done = within(again).await.unwrap();
    assert_eq!((done.blocks, done.held), (0, 304));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_breaks_off_goes_on_where_it_was() {
    let blocks = file(50, 2_000);
    let (lost, rest) = blocks.split_first().unwrap();
    let source = Blocks::of(rest);
    let server = node(source.clone(), test_config(), &[]).await;
    let client = node(Blocks::default(), test_config(), &[&server]).await;
    let (store, root) = (Memory::default(), [*blocks.last().unwrap().cid()]);
    let (sink, limits) = (
        StoreSink(&store),
        DagLimits {
            in_flight: 4,
            ..DagLimits::default()
        },
    );
    let session = client.handle.session(&[server.peer]);
    let error = within(fetch_dag(&session, &root, &sink, limits, |_| ()))
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::Unavailable { .. }), "{error}");
    source.put([lost]);
    let done = within(fetch_dag(&session, &root, &sink, limits, |_| ()))
        .await
        .unwrap();
    assert!(done.held > 0, "what came before the failure was kept");
    assert!(holds(&store, &blocks).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_providers_share_the_work_though_one_is_silent_and_one_lies() {
    // Enough for who is connected late to have a share as well.
    let blocks = file(1_200, 10_000);
    let sources = [Blocks::of(&blocks), Blocks::of(&blocks)];
    let one = node(sources[0].clone(), test_config(), &[]).await;
    let two = node(sources[1].clone(), test_config(), &[]).await;
    let (silent, _) = abuse::silent().await;
    let liar = abuse::liar(&blocks).await;
    let client = node(
        Blocks::default(),
        test_config(),
        &[&silent, &liar, &one, &two],
    )
    .await;
    let (store, root) = (Memory::default(), [*blocks.last().unwrap().cid()]);
    let session = client
        .handle
        .session(&[silent.peer, liar.peer, one.peer, two.peer]);
    let limits = DagLimits {
        in_flight: 32,
        ..DagLimits::default()
    };
    within(fetch_dag(
        &session,
        &root,
        &StoreSink(&store),
        limits,
        |_| (),
    ))
    .await
    .unwrap();
    assert!(holds(&store, &blocks).await);
    assert!(
        sources.iter().all(|source| source.reads() > 10),
        "both have served"
    );
    let counts = client.handle.counts().await.unwrap();
    assert!(counts.duplicates <= 64, "few blocks come twice: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_leaves_is_replaced() {
    let blocks = file(200, 10_000);
    let (source, slow) = (Blocks::of(&blocks), Blocks::of(&blocks));
    let stays = node(source, test_config(), &[]).await;
    let behaviour = Behaviour::new(slow, test_config());
    let mut swarm = new_swarm(behaviour);
    let peer = *swarm.local_peer_id();
    let address = listen(&mut swarm, &[]).await;
    let leaves = tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let (_, events) = mpsc::unbounded_channel();
    let handle = stays.handle.clone();
    let leaving = Node {
        peer,
        address,
        handle,
        events,
    };
    let client = node(Blocks::default(), test_config(), &[&leaving, &stays]).await;
    let (store, root) = (Memory::default(), [*blocks.last().unwrap().cid()]);
    let session = client.handle.session(&[leaving.peer, stays.peer]);
    let mut count = 0;
    let leave = |_| {
        count += 1;
        if count == 50 {
            leaves.abort();
        }
    };
    let limits = DagLimits {
        in_flight: 16,
        ..DagLimits::default()
    };
    within(fetch_dag(
        &session,
        &root,
        &StoreSink(&store),
        limits,
        leave,
    ))
    .await
    .unwrap();
    assert!(holds(&store, &blocks).await);
}
