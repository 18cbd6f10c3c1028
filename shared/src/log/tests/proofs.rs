//! Proofs about a label, from the name down.

use super::*;
use crate::{
    ipns::{self, Name, Record, RecordFields},
    taglist::tree::Proven,
    time::Timestamp,
};

fn record(world: &World, entry: &Entry, sequence: u64) -> Record {
    let fields = RecordFields {
        value: &format!("/ipfs/{}", entry.cid()),
        sequence,
        validity: Timestamp::from(NOW + Duration::from_secs(60)),
        ttl: Duration::from_secs(300),
    };
    ipns::create(world.identity.ipns_signer(), &fields).unwrap()
}

impl World {
    fn prove(&self, entry: &Entry, op: &Op, record: Option<&Record>) -> LabelProof {
        LabelProof::new(&op.key(), entry, &self.document, record, &self.store).unwrap()
    }

    fn name(&self) -> Name {
        self.identity.name()
    }
}

#[test]
fn presence_removal_and_absence_are_shown_to_whoever_knows_the_name() {
    let mut world = World::new(1);
    let ops = (0..300).map(|n| set(&format!("u{n}"), "x")).collect();
    let first = world.append(None, ops, NOW);
    let entry = world.append(Some(&first), vec![remove("u7", "x")], later(1));
    let record = record(&world, &entry, 2);
    for (op, expected) in [
        (set("U5", "x"), Some(true)),
        (set("u7", "x"), Some(false)),
        (set("u5", "y"), None),
        (set("zz", "x"), None),
    ] {
        let proof = world.prove(&entry, &op, Some(&record));
        let bytes = proof.to_bytes();
        assert!(bytes.len() < 4_096, "{}", bytes.len());
        let read = LabelProof::from_bytes(&bytes).unwrap();
        assert_eq!(read, proof);
        let shown = read.verify(&world.name(), later(1)).unwrap();
        let found = match shown.proven {
            Proven::Present(row) => Some(row.label.is_some()),
            Proven::Absent => None,
        };
        assert_eq!(found, expected);
        assert_eq!((shown.key, shown.entry), (op.key(), entry.clone()));
        assert_eq!(shown.record.as_ref(), Some(&record));
    }
    // The list of somebody who has nothing is empty, and that can be shown as well.
    let empty = world.append(None, vec![], NOW);
    let newest = self::record(&world, &empty, 3);
    let proof = world.prove(&empty, &set("a", "x"), Some(&newest));
    let shown = proof.verify(&world.name(), NOW).unwrap();
    assert_eq!((shown.proven, shown.record), (Proven::Absent, Some(newest)));
}

/// A document that names a victim's DID and lists, beside the victim's key, the one of somebody else, who signs an entry.
fn forged(victim: &Identity, forger: &SigningKey, op: &Op) -> LabelProof {
    let document = DidDocument::new(victim, NOW).with_key(forger.public());
    let document = document.to_block().unwrap();
    let author = Author {
        did: victim.did(),
        signer: forger,
        document: *document.cid(),
    };
    let mut store: BTreeMap<Cid, Bytes> = BTreeMap::new();
    let appended = append(&author, None, vec![op.clone()], NOW, &store).unwrap();
    for block in appended.added {
        let (cid, bytes) = block.into_parts();
        store.insert(cid, bytes);
    }
    LabelProof::new(&op.key(), &appended.entry, &document, None, &store).unwrap()
}

#[test]
fn a_document_that_anybody_can_write_proves_nothing_under_either_method() {
    let forger = SigningKey::from_seed(&[99; 32]);
    for profile in [Profile::V1, Profile::V2] {
        let victim = Identity::from_root(profile, Zeroizing::new([1; 32]));
        let forged = forged(&victim, &forger, &set("alice", "spam"));
        let read = LabelProof::from_bytes(&forged.to_bytes()).unwrap();
        assert_eq!(
            read.verify(&victim.name(), NOW).unwrap_err(),
            LabelProofError::Unproven,
            "{}",
            victim.did()
        );
    }
}

#[test]
fn without_a_record_the_key_of_the_name_has_to_have_signed() {
    let op = set("a", "x");
    for (profile, shows) in [(Profile::V1, true), (Profile::V2, false)] {
        let mut world = World::of(profile, 1);
        let entry = world.append(None, vec![op.clone()], NOW);
        let proof = world.prove(&entry, &op, None);
        let shown = proof.verify(&world.name(), NOW);
        assert_eq!(shown.is_ok(), shows, "{shown:?}");
        let record = record(&world, &entry, 1);
        let proof = world.prove(&entry, &op, Some(&record));
        assert!(proof.verify(&world.name(), NOW).is_ok());
    }
}

#[test]
fn parts_that_do_not_belong_together_show_nothing() {
    let mut world = World::new(1);
    let entry = world.append(None, vec![set("a", "x")], NOW);
    let newer = world.append(Some(&entry), vec![set("b", "x")], later(1));
    let other = World::new(2);
    let proof = world.prove(&entry, &set("a", "x"), Some(&record(&world, &newer, 2)));
    let refused = proof.verify(&world.name(), later(1)).unwrap_err();
    assert_eq!(refused, LabelProofError::OtherEntry);
    let proof = world.prove(&entry, &set("a", "x"), Some(&record(&world, &entry, 1)));
    let refused = proof.verify(&other.name(), NOW).unwrap_err();
    assert!(matches!(refused, LabelProofError::Entry(_)), "{refused}");
    let early = proof.verify(&world.name(), Millis(0)).unwrap_err();
    assert!(matches!(early, LabelProofError::Entry(_)), "{early}");
    let foreign = LabelProof::new(
        &set("a", "x").key(),
        &entry,
        &other.document,
        None,
        &world.store,
    );
    let refused = foreign.unwrap().verify(&world.name(), NOW).unwrap_err();
    assert!(matches!(refused, LabelProofError::Entry(_)), "{refused}");
}

#[test]
fn golden_bytes_of_a_label_proof() {
    let mut world = World::new(7);
    let entry = world.append(None, vec![set("alice", "spam")], NOW);
    let proof = world.prove(&entry, &set("alice", "spam"), None).to_bytes();
    let digest = crate::cid::cid_of(Codec::DagCbor, &proof);
    assert_eq!(digest.to_string(), GOLDEN_PROOF);
}

const GOLDEN_PROOF: &str = "bafyreigzh5g65pmw6iajxspzzom4ha5nasd2p6rrvfippc56hnalsoyub4";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mutated_label_proofs_show_nothing_else(at: prop::sample::Index, byte: u8) {
        let mut world = World::new(1);
        let ops = (0..40).map(|n| set(&format!("u{n}"), "x")).collect();
        let entry = world.append(None, ops, NOW);
        let proof = world.prove(&entry, &set("u5", "x"), Some(&record(&world, &entry, 1)));
        let shown = proof.verify(&world.name(), NOW).unwrap();
        let mut bytes = proof.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = LabelProof::from_bytes(&bytes)
            && let Ok(other) = read.verify(&world.name(), NOW)
        {
            // Another key of the same leaf is another statement, and a true one.
            let says = tree::row(entry.root(), &other.key, &world.store).unwrap();
            let proven = says.map_or(Proven::Absent, Proven::Present);
            prop_assert_eq!((other.proven, &other.entry), (proven, &shown.entry));
        }
    }

    #[test]
    fn no_bytes_of_a_label_proof_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(LabelProof::from_bytes(&bytes).is_err());
    }
}
