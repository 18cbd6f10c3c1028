//! Tag list and log: what one change rewrites in a list of 100,000 labels, how long an import takes, how large a proof
//! is, and how fast entries are signed, appended and read back. All in memory: the disk is the store's bench.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{collections::BTreeMap, fmt::Write as _};

use bytes::Bytes;
use perennis_shared::{
    cid::{Block, Cid},
    did::{DidDocument, Identity},
    log::{self, Appended, Author, Entry, UnverifiedEntry},
    taglist::{
        Handle, KeyPrefix, Label, Op, Tag,
        import::{self, ImportOptions},
        tree::{self, Proof},
    },
    time::Millis,
};
use perennis_tests::measure::{say, seconds};

const NOW: Millis = Millis(1_790_000_000_000);
const ROWS: u64 = 100_000;
const ENTRIES: u64 = 10_000;
/// Keys asked for, spread over the list.
const PROBES: u64 = 1000;

fn main() {
    let identity = Identity::derive_v1(b"a passphrase of a bench").unwrap();
    let document = DidDocument::new(&identity, NOW).to_block().unwrap();
    let author = Author {
        did: identity.did(),
        signer: identity.signer(),
        document: *document.cid(),
    };
    list(&author);
    log_of_many(&identity, &author, &document);
}

/// Blocks in memory.
type View = BTreeMap<Cid, Bytes>;

fn keep(view: &mut View, added: &[Block]) {
    view.extend(
        added
            .iter()
            .map(|block| (*block.cid(), block.bytes().clone())),
    );
}

fn handle(index: u64) -> Handle {
    Handle::parse(&format!("@u{index}")).unwrap()
}

fn label(index: u64, at: u64) -> Label {
    Label::new(
        handle(index),
        Tag::parse("seen").unwrap(),
        Millis(NOW.0 + at),
    )
}

fn list(author: &Author<'_>) {
    let mut view = View::new();
    let file = csv();
    let (time, head) = seconds(|| {
        let options = ImportOptions {
            now: NOW,
            ..ImportOptions::default()
        };
        let edits = import::csv(file.as_bytes(), &options).unwrap();
        let edits = edits.into_edits().expect("every row is valid");
        let ops = edits.iter().map(|edit| Op::Set(edit.apply(None, NOW)));
        let ops = ops.collect();
        let Appended { entry, added, .. } = log::append(author, None, ops, NOW, &view).unwrap();
        keep(&mut view, &added);
        entry
    });
    say("list/import", time, "s");

    let ops = vec![Op::Set(label(ROWS / 2, 1))];
    let changed = log::append(author, Some(&head), ops, Millis(NOW.0 + 1), &view).unwrap();
    let rewritten: usize = changed.added.iter().map(|block| block.bytes().len()).sum();
    say("list/update/blocks", changed.added.len() as f64, "blocks");
    say("list/update/bytes", rewritten as f64 / 1024.0, "KiB");

    let root = head.root();
    let keys = (0..PROBES).map(|probe| label(probe * (ROWS / PROBES), 0).key());
    let proofs = keys.map(|key| {
        let proof: Proof = tree::prove(root, &key, &view).unwrap();
        proof.verify(root.as_ref(), &key).unwrap();
        proof.to_bytes().len()
    });
    say("list/proof", proofs.max().unwrap() as f64, "bytes");
}

/// A file as a person would have it: handles, labels, notes.
fn csv() -> String {
    let mut text = String::from("handle,label,note\n");
    for index in 0..ROWS {
        writeln!(text, "@u{index},seen,note {}", index % 97).unwrap();
    }
    text
}

fn log_of_many(identity: &Identity, author: &Author<'_>, document: &Block) {
    let mut view = View::new();
    let (time, head) = seconds(|| {
        let mut head: Option<Entry> = None;
        for index in 0..ENTRIES {
            let ops = vec![Op::Set(label(index, index))];
            let now = Millis(NOW.0 + index);
            let appended = log::append(author, head.as_ref(), ops, now, &view).unwrap();
            keep(&mut view, &appended.added);
            head = Some(appended.entry);
        }
        head.unwrap()
    });
    say("log/append", ENTRIES as f64 / time, "entries/s");

    let now = Millis(NOW.0 + ENTRIES);
    let (time, labels) = seconds(|| {
        let block = Block::verified(*head.cid(), view[head.cid()].clone()).unwrap();
        let entry = UnverifiedEntry::parse(&block).unwrap();
        let entry = entry.verify(&identity.name(), document, now).unwrap();
        log::follows(&entry, &view).unwrap();
        count_labels(&entry, &view)
    });
    assert_eq!(labels, ENTRIES, "every label is in the tree");
    say("log/open", time * 1000.0, "ms");
}

/// Reads the whole list, page by page.
fn count_labels(entry: &Entry, view: &View) -> u64 {
    let mut labels = 0;
    let mut after = None;
    loop {
        let page = tree::scan(entry.root(), &KeyPrefix::ALL, after.as_ref(), 1000, view).unwrap();
        labels += page.items.len() as u64;
        match page.next {
            Some(next) => after = Some(next),
            None => return labels,
        }
    }
}
