//! Short proofs that a list has, or has not, a label.
//!
//! A proof is the path of nodes from the root to the leaf in which a key is or would be, as a DAG-CBOR list
//! of byte strings, the root first. Whoever knows the root (from a log entry) checks each node's hash
//! against the link above it, its level, that its keys are sorted and within the range that its parents
//! give it, and finds the key in the leaf or not. The proof therefore shows what looking the key up
//! gives, and nothing else fits: there is one path for each key. The empty list's proof has no nodes.

use alloc::{rc::Rc, vec::Vec};

use bytes::Bytes;

use super::{
    NodeError, TreeError,
    cursor::{Placed, load_child, load_root},
    node::{Body, Node},
    read,
};
use crate::{
    cid::{Cid, Codec, cid_of},
    codec::{
        CodecError,
        dag_cbor::{Decoder, Encoder},
    },
    limits::{LimitExceeded, PROOF_BYTES, TREE_LEVELS, TREE_NODE_BYTES},
    taglist::{Blocks, Key, Row, key::KeyBytes},
};

/// The nodes that show what a list says about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    nodes: Vec<Bytes>,
}

/// What a proof has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "returned once and not stored")]
pub enum Proven {
    /// The list has this row. Its label is `None` when the list says that the label was removed.
    Present(Row),
    /// The list has no row for the key.
    Absent,
}

/// Makes the proof for `key`, of its row or of its absence.
///
/// # Errors
/// Asks for missing blocks and refuses blocks that are no nodes of a tree.
pub fn prove<B: Blocks + ?Sized>(
    root: Option<Cid>,
    key: &Key,
    blocks: &B,
) -> Result<Proof, TreeError> {
    let mut nodes = Vec::new();
    let Some(root) = root else {
        return Ok(Proof { nodes });
    };
    let mut node = load_root(&root, blocks)?;
    loop {
        nodes.push(
            blocks
                .block(&node.cid)
                .ok_or(TreeError::Missing(node.cid))?,
        );
        match node.node.position(key.as_bytes()) {
            Some(index) if node.node.level > 0 => node = load_child(&node, index, blocks)?,
            _ => return Ok(Proof { nodes }),
        }
    }
}

impl Proof {
    /// Checks the proof against the root of a list and returns what it shows about `key`.
    ///
    /// # Errors
    /// Refuses proofs of other roots and other keys, and everything that is not the one path of nodes
    /// that leads to the key.
    pub fn verify(&self, root: Option<&Cid>, key: &Key) -> Result<Proven, ProofError> {
        let Some(root) = root else {
            return if self.nodes.is_empty() {
                Ok(Proven::Absent)
            } else {
                Err(ProofError::Length)
            };
        };
        let mut expected = *root;
        let (mut lower, mut upper) = (KeyBytes::EMPTY, None);
        let mut level: Option<u8> = None;
        let mut nodes = self.nodes.iter();
        loop {
            let bytes = nodes.next().ok_or(ProofError::Length)?;
            if cid_of(Codec::DagCbor, bytes) != expected {
                return Err(ProofError::Hash);
            }
            let node = Node::decode(bytes, &lower, upper.as_ref())?;
            if let Some(expected) = level
                && expected != node.level
            {
                let found = node.level;
                return Err(NodeError::Level { expected, found }.into());
            }
            let index = node.position(key.as_bytes());
            if let Some(index) = index
                && let Body::Child(cid) = node.items[index].body
            {
                level = Some(node.level - 1);
                upper = node.upper_of(index, upper);
                lower = node.items[index].key;
                expected = cid;
                continue;
            }
            if nodes.next().is_some() {
                return Err(ProofError::Length);
            }
            return conclude(expected, node, index, lower, upper, key);
        }
    }

    /// The proof's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(4_096);
        let written = (|| {
            encoder.list(self.nodes.len())?;
            for node in &self.nodes {
                encoder.bytes(node);
            }
            encoder.end();
            encoder.finish()
        })();
        written.expect("a proof holds a bounded number of bounded nodes")
    }

    /// Reads a proof. It shows nothing before [`Proof::verify`].
    ///
    /// # Errors
    /// Refuses other forms, and proofs above [`PROOF_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Proof, CodecError> {
        LimitExceeded::check("proof bytes", PROOF_BYTES, bytes.len())?;
        let mut decoder = Decoder::new(bytes)?;
        let proof = Proof::decode(&mut decoder)?;
        decoder.finish()?;
        Ok(proof)
    }

    /// Reads a proof that is a part of something else.
    ///
    /// # Errors
    /// As [`Proof::from_bytes`].
    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Proof, CodecError> {
        let mut list = decoder.list()?;
        LimitExceeded::check("proof nodes", TREE_LEVELS, list.remaining())?;
        let mut nodes = Vec::with_capacity(list.remaining());
        while list.next(decoder)? {
            let node = decoder.bytes()?;
            LimitExceeded::check("tree node bytes", TREE_NODE_BYTES, node.len())?;
            nodes.push(Bytes::copy_from_slice(node));
        }
        Ok(Proof { nodes })
    }
}

fn conclude(
    cid: Cid,
    node: Node,
    index: Option<usize>,
    lower: KeyBytes,
    upper: Option<KeyBytes>,
    key: &Key,
) -> Result<Proven, ProofError> {
    let leaf = Placed {
        cid,
        node: Rc::new(node),
        lower,
        upper,
    };
    let found = index
        .map(|index| &leaf.node.items[index])
        .filter(|item| item.key == *key.raw());
    let Some(item) = found else {
        return Ok(Proven::Absent);
    };
    match read::decode(&leaf.cid, item) {
        Ok(row) => Ok(Proven::Present(row)),
        Err(TreeError::Node { source, .. }) => Err((*source).into()),
        Err(_) => Err(ProofError::Hash),
    }
}

/// Why a proof shows nothing.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A node is not the one that the root or its parent names.
    #[error("a node of the proof does not match the hash above it")]
    Hash,
    /// The path is too short or too long.
    #[error("the proof does not end at the leaf of the key")]
    Length,
    /// A node is malformed or not in its place.
    #[error("a node of the proof is not valid")]
    Node(#[from] NodeError),
}
