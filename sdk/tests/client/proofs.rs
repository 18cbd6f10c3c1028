//! Proofs about labels, made from the own list and from another's.

use perennis_rt as rt;
use perennis_sdk::client::ListError;
use perennis_shared::{
    log::LabelProof,
    taglist::{Op, tree::Proven},
};

use crate::{
    double::Node,
    people::{alice, bob, device, publish, remove, set},
};

/// Whether a proof, read from its bytes, shows that Alice's list has the label.
fn shows(proof: &LabelProof) -> Option<bool> {
    let read = LabelProof::from_bytes(&proof.to_bytes()).unwrap();
    let shown = read.verify(&alice().name(), rt::now()).unwrap();
    match shown.proven {
        Proven::Present(row) => Some(row.label.is_some()),
        Proven::Absent => None,
    }
}

#[tokio::test]
async fn own_and_foreign_lists_are_proved_by_what_was_published() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    let (kept, gone): (Op, Op) = (set("@a", "x"), set("@b", "x"));
    client.stage(&[kept.clone(), gone.clone()]).await.unwrap();
    let did = alice().did();
    let empty = client.prove(&did, &kept.key()).await.unwrap_err();
    assert!(matches!(empty, ListError::Empty), "staged is not signed");
    publish(&client, &alice(), &[&node]).await;
    client.stage(&[remove("@b", "x")]).await.unwrap();
    publish(&client, &alice(), &[&node]).await;

    let stranger = device(&[&node]);
    stranger.adopt(&bob()).await.unwrap();
    for prover in [&client, &stranger] {
        let never = set("@c", "x");
        for (op, expected) in [(&kept, Some(true)), (&gone, Some(false)), (&never, None)] {
            let proof = prover.prove(&did, &op.key()).await.unwrap();
            assert_eq!(shows(&proof), expected);
            let shown = proof.verify(&alice().name(), rt::now()).unwrap();
            assert_eq!(shown.record.unwrap().sequence(), 2);
            assert!(proof.verify(&bob().name(), rt::now()).is_err());
        }
    }
    // What is only staged is no part of it.
    client.stage(&[set("@c", "x")]).await.unwrap();
    assert_eq!(
        shows(&client.prove(&did, &set("@c", "x").key()).await.unwrap()),
        None
    );
}
