//! The client's process dies at each of its commits, on both sides of it. Nothing that was acknowledged is
//! lost, nothing half-written is visible, and the next process goes on.

use perennis_sdk::{
    client::{Client, PublishOptions},
    store::{BlockStore, Memory},
    testing::faulty::{Death, Faulty},
};

use crate::{
    double::Node,
    people::{alice, device, on, own, remove, seen, set, stored, urls},
};

/// Each change and the labels after it.
fn script() -> [(Vec<perennis_shared::taglist::Op>, &'static [&'static str]); 3] {
    [
        (vec![set("@a", "x"), set("@b", "x")], &["@a x", "@b x"]),
        (vec![remove("@a", "x"), set("@c", "x")], &["@b x", "@c x"]),
        (vec![set("@d", "x")], &["@b x", "@c x", "@d x"]),
    ]
}

/// How far a run came before it died.
#[derive(Default)]
struct Heard {
    /// Changes whose staging was acknowledged.
    staged: usize,
    /// Changes whose publishing was acknowledged by the node.
    published: usize,
}

async fn run<S: BlockStore + 'static>(client: &Client<S>, node: &Node) -> Heard {
    let mut heard = Heard::default();
    if client.adopt(&alice()).await.is_err() {
        return heard;
    }
    for (ops, _) in script() {
        if client.stage(&ops).await.is_err() {
            return heard;
        }
        heard.staged += 1;
        let options = PublishOptions::default();
        let nodes = urls(&[node]);
        match client.publish(&alice(), &nodes, &options).await {
            Ok(outcome) if stored(&outcome) == [true] => heard.published = heard.staged,
            _ => return heard,
        }
    }
    heard
}

async fn without_marks<S: BlockStore + 'static>(client: &Client<S>) -> Vec<String> {
    let labels = own(client).await;
    labels
        .iter()
        .map(|label| label.trim_start_matches('+').to_owned())
        .collect()
}

fn labels_after(changes: usize) -> &'static [&'static str] {
    match changes {
        0 => &[],
        changes => script()[changes - 1].1,
    }
}

#[tokio::test]
async fn process_may_die_at_any_commit() {
    for death in [Death::Before, Death::After] {
        let mut commits = 0;
        loop {
            let case = format!("{death:?} after {commits} commits");
            let (memory, node) = (Memory::new(), Node::start().await);
            let store = Faulty::new(memory.clone(), commits, death);
            let heard = run(&on(store.clone(), &[&node]), &node).await;
            if !store.is_dead() {
                assert_eq!(heard.published, script().len());
                assert!(commits > 8, "the run has too few commits to prove anything");
                break;
            }
            check(memory, &node, &heard, &case).await;
            commits += 1;
        }
    }
}

async fn check(memory: Memory, node: &Node, heard: &Heard, case: &str) {
    // What a reader sees is one of the published states, and not older than the last acknowledged one.
    let reader = device(&[node]);
    if heard.published > 0 || node.record(&alice().name()).is_some() {
        let labels = seen(&reader, &alice()).await;
        let states = heard.published.max(1)..=script().len();
        let is_state = |changes: usize| labels == labels_after(changes);
        assert!(
            states.into_iter().any(is_state),
            "{case}: a reader sees {labels:?}"
        );
    }

    // The next process sees everything that was staged: one more change, whose answer was lost, may be there.
    let client = on(memory, &[node]);
    client.adopt(&alice()).await.unwrap();
    let labels = without_marks(&client).await;
    let state = (heard.staged..=heard.staged + 1)
        .find(|changes| *changes <= script().len() && labels == labels_after(*changes));
    let state = state.unwrap_or_else(|| panic!("{case}: {labels:?} after {}", heard.staged));

    // It publishes, and the identity alone brings the same back.
    let options = PublishOptions::default();
    let outcome = client
        .publish(&alice(), &urls(&[node]), &options)
        .await
        .unwrap();
    assert_eq!(stored(&outcome), [true], "{case}");
    assert!(
        client.check_backup().await.unwrap().lost.is_empty(),
        "{case}"
    );
    let restored = device(&[node]);
    restored.restore(&alice(), &urls(&[node])).await.unwrap();
    assert_eq!(own(&restored).await, labels_after(state), "{case}");
    assert_eq!(own(&client).await, labels_after(state), "{case}");
}
