//! Paths behind a CID, followed from block to block (path gateway specification; IPLD pathing).

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};

use super::{link_name::find, node::Node, shard::ShardEntry};
use crate::{
    cid::{Cid, Codec},
    codec::{CodecError, Value, dag_cbor, dag_json, dag_pb},
    limits::{LimitExceeded, PATH_BLOCKS, PATH_SEGMENTS},
};

/// A path that is followed. The caller brings the block of [`at`](Self::at) until it [is at its end](Self::is_at_end).
#[derive(Debug, Clone)]
pub struct PathWalk {
    /// What is still to be followed, the next one last.
    segments: Vec<String>,
    at: Cid,
    /// How many shards of a directory lie above the one at hand.
    level: u32,
    /// Whether the path ended at a value of the block at hand.
    is_inside: bool,
    passed: Vec<Cid>,
    roots: Vec<Cid>,
}

/// Why a path leads nowhere.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// There is no such name in the block.
    #[error("there is no {segment:?} below {cid}")]
    Absent {
        /// The name.
        segment: String,
        /// The block it was looked for in.
        cid: Box<Cid>,
    },
    /// The block breaks the rules of its codec.
    #[error("block {cid} cannot be read: {source}")]
    Unreadable {
        /// The block.
        cid: Box<Cid>,
        /// What is wrong with it.
        source: CodecError,
    },
    /// The path has too many segments, or leads through too many blocks.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

impl PathWalk {
    /// A path from a root. Segments stand between slashes; empty ones count as not written.
    ///
    /// # Errors
    /// Refuses more than [`PATH_SEGMENTS`] segments.
    pub fn new(root: Cid, path: &str) -> Result<PathWalk, PathError> {
        let segments = || path.split('/').filter(|segment| !segment.is_empty());
        LimitExceeded::check("segments of a path", PATH_SEGMENTS, segments().count())?;
        Ok(PathWalk {
            segments: segments().rev().map(ToString::to_string).collect(),
            at: root,
            level: 0,
            is_inside: false,
            passed: Vec::new(),
            roots: [root].into(),
        })
    }

    /// Whether nothing is left to be followed: the path leads to the block at hand, or into it.
    pub fn is_at_end(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether the path leads into the block at hand, to a value that is no link.
    pub fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// The block at hand.
    pub fn at(&self) -> &Cid {
        &self.at
    }

    /// The blocks that were followed through, the first one first; without the one at hand.
    pub fn passed(&self) -> &[Cid] {
        &self.passed
    }

    /// The block that each segment led to, the root first. Parts of a sharded directory are not among them.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// Follows the path through the block at hand.
    ///
    /// # Errors
    /// There is no such name, the block breaks the rules of its codec, or more than [`PATH_BLOCKS`] blocks were followed through. It
    /// does not compare `bytes` with the digest of the CID.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<(), PathError> {
        let Some(segment) = self.segments.last() else {
            return Ok(());
        };
        LimitExceeded::check("blocks of a path", PATH_BLOCKS, self.passed.len() + 1)?;
        match Codec::from_code(self.at.codec()) {
            Some(Codec::DagPb) => match self.find(segment, bytes)? {
                Found::Entry(cid) => {
                    self.segments.pop();
                    self.go_to(cid);
                }
                Found::Below(cid) => {
                    self.level += 1;
                    self.passed.push(self.at);
                    self.at = cid;
                }
            },
            Some(Codec::DagCbor) => {
                let value = dag_cbor::decode(bytes).map_err(|error| self.unreadable(error))?;
                self.follow_value(&value)?;
            }
            Some(Codec::DagJson) => {
                let value =
                    dag_json::decode_relaxed(bytes).map_err(|error| self.unreadable(error))?;
                self.follow_value(&value)?;
            }
            _ => return Err(self.absent(segment)),
        }
        Ok(())
    }

    fn go_to(&mut self, cid: Cid) {
        self.passed.push(self.at);
        self.roots.push(cid);
        self.at = cid;
        self.level = 0;
    }

    fn find(&self, segment: &str, bytes: &[u8]) -> Result<Found, PathError> {
        let unreadable = |error| self.unreadable(error);
        let name = segment.as_bytes();
        let found = match Node::parse(&self.at, bytes).map_err(unreadable)? {
            Some(Node::Directory(directory)) => directory.find(name).copied().map(Found::Entry),
            Some(Node::Shard(shard)) => shard.find(name, self.level).map(|found| match found {
                ShardEntry::Entry(cid) => Found::Entry(*cid),
                ShardEntry::Below(cid) => Found::Below(*cid),
            }),
            Some(Node::File(_) | Node::Symlink(_)) => None,
            None => {
                let node = dag_pb::decode(bytes).map_err(unreadable)?;
                find(&node.links, name).copied().map(Found::Entry)
            }
        };
        found.ok_or_else(|| self.absent(segment))
    }

    fn follow_value(&mut self, mut value: &Value) -> Result<(), PathError> {
        while let Some(segment) = self.segments.last() {
            let inner = match value {
                Value::Map(entries) => entries.get(segment),
                Value::List(items) => index(segment).and_then(|index| items.get(index)),
                _ => None,
            };
            value = inner.ok_or_else(|| self.absent(segment))?;
            self.segments.pop();
            if let Value::Link(cid) = value {
                self.go_to(*cid);
                return Ok(());
            }
        }
        self.is_inside = true;
        Ok(())
    }

    fn absent(&self, segment: &str) -> PathError {
        PathError::Absent {
            segment: segment.to_string(),
            cid: Box::new(self.at),
        }
    }

    fn unreadable(&self, source: CodecError) -> PathError {
        PathError::Unreadable {
            cid: Box::new(self.at),
            source,
        }
    }
}

enum Found {
    Entry(Cid),
    Below(Cid),
}

/// The place in a list that a segment names, in its shortest form.
fn index(segment: &str) -> Option<usize> {
    let is_number = segment.bytes().all(|byte| byte.is_ascii_digit());
    let is_shortest = segment == "0" || !segment.starts_with('0');
    (is_number && is_shortest).then(|| segment.parse().ok())?
}
