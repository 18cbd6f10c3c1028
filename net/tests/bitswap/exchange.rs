//! What sound peers do for each other.

use perennis_shared::{
    cid::HashFn,
    error::{ErrorKind, Retryable},
};

use super::*;

#[tokio::test]
async fn a_block_comes_from_a_peer_that_has_it() {
    let block = raw(vec![7; 100_000]);
    let server = node(Blocks::of([&block]), test_config(), &[]).await;
    let client = node(Blocks::default(), test_config(), &[&server]).await;
    let got = within(client.handle.block(block.cid(), &[server.peer])).await;
    assert_eq!(got.unwrap(), block);
    let counts = client.handle.counts().await.unwrap();
    assert_eq!((counts.blocks, counts.bytes), (1, 100_000));
    assert_eq!((counts.duplicates, counts.unrequested), (0, 0));
}

#[tokio::test]
async fn blocks_go_both_ways_on_one_connection() {
    let (first, a, b) = (raw("first"), raw("a"), raw(vec![1; 1 << 20]));
    let one = node(Blocks::of([&first, &a]), test_config(), &[]).await;
    let two = node(Blocks::of([&b]), test_config(), &[&one]).await;
    // Once this has come, the side that was dialled knows of the connection.
    let got = within(two.handle.block(first.cid(), &[])).await;
    assert_eq!(got.unwrap(), first);
    let (got_a, got_b) = within(async {
        tokio::join!(
            two.handle.block(a.cid(), &[]),
            one.handle.block(b.cid(), &[])
        )
    })
    .await;
    assert_eq!((got_a.unwrap(), got_b.unwrap()), (a, b));
}

#[tokio::test]
async fn a_peer_that_lacks_the_block_says_so_and_the_next_is_asked() {
    let block = raw("wanted");
    let empty = node(Blocks::default(), test_config(), &[]).await;
    let server = node(Blocks::of([&block]), test_config(), &[]).await;
    let client = node(Blocks::default(), test_config(), &[&empty, &server]).await;
    let got = within(client.handle.block(block.cid(), &[empty.peer, server.peer])).await;
    assert_eq!(got.unwrap(), block);
}

#[tokio::test]
async fn when_nobody_has_it_the_error_says_how_many_were_asked() {
    let block = raw("nowhere");
    let one = node(Blocks::default(), test_config(), &[]).await;
    let two = node(Blocks::default(), test_config(), &[]).await;
    let client = node(Blocks::default(), test_config(), &[&one, &two]).await;
    let error = within(client.handle.block(block.cid(), &[]))
        .await
        .unwrap_err();
    let cid = Box::new(*block.cid());
    assert_eq!(error, BitswapError::NotFound { cid, asked: 2 });
    assert_eq!(
        (error.code(), error.kind()),
        ("block_not_found", ErrorKind::Retry)
    );
}

#[tokio::test]
async fn without_peers_there_is_an_error_and_no_waiting() {
    let client = node(Blocks::default(), test_config(), &[]).await;
    let cid = *raw("x").cid();
    let error = within(client.handle.block(&cid, &[])).await.unwrap_err();
    assert_eq!(error, BitswapError::NoPeers { cid: Box::new(cid) });
    let unknown = Keypair::generate_ed25519().public().to_peer_id();
    let error = within(client.handle.block(&cid, &[unknown]))
        .await
        .unwrap_err();
    assert_eq!(error, BitswapError::NoPeers { cid: Box::new(cid) });
}

#[tokio::test]
async fn what_no_content_is_accepted_for_is_not_asked_for() {
    let client = node(Blocks::default(), test_config(), &[]).await;
    let inline = Cid::new_v1(0x55, HashFn::Identity.multihash(2, b"in").unwrap());
    let got = within(client.handle.block(&inline, &[])).await.unwrap();
    assert_eq!(&got.bytes()[..], b"in");
    let (unknown, short) = ([1, 0x55, 0x22, 2, 1, 2], [1, 0x55, 0x11, 2, 1, 2]);
    for cid in [unknown, short] {
        let cid = perennis_shared::cid::parse_cid_bytes(&cid).unwrap();
        let error = within(client.handle.block(&cid, &[])).await.unwrap_err();
        assert_eq!(error.code(), "hash_not_allowed");
    }
}

#[tokio::test]
async fn a_block_that_arrives_later_is_sent_to_who_still_wants_it() {
    let (block, known) = (raw("late"), raw("known"));
    let blocks = Blocks::of([&known]);
    let server = node(blocks.clone(), test_config(), &[]).await;
    // Another peer, that never answers, keeps the want alive.
    let (silent, _messages) = abuse::silent().await;
    let client = node(Blocks::default(), test_config(), &[&server, &silent]).await;
    let session = client.handle.session(&[silent.peer, server.peer]);
    let wanted = session.block(block.cid());
    // Messages keep their order: once this has come, the server has looked for the other.
    within(client.handle.block(known.cid(), &[server.peer]))
        .await
        .unwrap();
    blocks.put([&block]);
    server.handle.have_now(vec![*block.cid()]);
    assert_eq!(within(wanted).await.unwrap(), block);
    assert_eq!(client.handle.counts().await.unwrap().unrequested, 0);
}

#[tokio::test]
async fn small_blocks_come_in_place_of_word_of_them() {
    let block = raw("small");
    let servers = [
        node(Blocks::of([&block]), test_config(), &[]).await,
        node(Blocks::of([&block]), test_config(), &[]).await,
    ];
    let client = node(
        Blocks::default(),
        test_config(),
        &[&servers[0], &servers[1]],
    )
    .await;
    let session = client.handle.session(&[]);
    assert_eq!(within(session.block(block.cid())).await.unwrap(), block);
    // The one that was only asked for word may have sent the block as well; it is no offence.
    assert_eq!(client.handle.counts().await.unwrap().unrequested, 0);
}

#[tokio::test]
async fn a_dropped_want_is_taken_back() {
    let (block, other) = (raw("cancelled"), raw("other"));
    let blocks = Blocks::of([&other]);
    let server = node(blocks.clone(), test_config(), &[]).await;
    let (silent, _) = abuse::silent().await;
    let client = node(Blocks::default(), test_config(), &[&server, &silent]).await;
    let session = client.handle.session(&[server.peer, silent.peer]);
    drop(session.block(block.cid()));
    // Messages keep their order: what follows is answered after the want was taken back.
    within(session.block(other.cid())).await.unwrap();
    blocks.put([&block]);
    server.handle.have_now(vec![*block.cid()]);
    let reads = blocks.reads();
    within(client.handle.block(other.cid(), &[server.peer]))
        .await
        .unwrap();
    assert_eq!(
        blocks.reads(),
        reads + 1,
        "only the other block is read again"
    );
}

#[tokio::test]
async fn handles_of_a_network_that_is_gone_say_so() {
    let behaviour = Behaviour::new(NoBlocks, Config::default());
    let handle = behaviour.handle();
    let wanted = handle.session(&[]).block(raw("x").cid());
    drop(behaviour);
    assert_eq!(wanted.await, Err(BitswapError::Closed));
    assert_eq!(handle.counts().await, Err(BitswapError::Closed));
}
