//! Nodes: their bytes, and where a level is cut into them.

use alloc::vec::Vec;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::NodeError;
use crate::{
    cid::{Block, Cid, Codec},
    codec::{
        CodecError,
        dag_cbor::{Decoder, Encoder},
    },
    limits::{LimitExceeded, TREE_LEVELS, TREE_NODE_BYTES},
    taglist::{Key, key::KeyBytes},
};

/// Where a level may be cut and where it must be.
struct Cut {
    min_items: usize,
    max_items: usize,
    max_bytes: usize,
}

const LEAF: Cut = Cut {
    min_items: 3,
    max_items: 12,
    max_bytes: 960,
};

const BRANCH: Cut = Cut {
    min_items: 4,
    max_items: 14,
    max_bytes: usize::MAX,
};

/// What is under a key or separator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// The bytes of a row.
    Row(Bytes),
    /// A node of the level below.
    Child(Cid),
}

/// A key with its row, or a separator with its child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) key: KeyBytes,
    pub(super) body: Body,
}

/// A node that has been read. The first separator of a branch is the one its parent gives it.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) level: u8,
    pub(super) items: Vec<Item>,
}

impl Node {
    /// Reads a node that belongs between `lower` (included) and `upper` (excluded).
    pub(super) fn decode(
        bytes: &Bytes,
        lower: &KeyBytes,
        upper: Option<&KeyBytes>,
    ) -> Result<Node, NodeError> {
        LimitExceeded::check("tree node bytes", TREE_NODE_BYTES, bytes.len())
            .map_err(CodecError::Limit)?;
        let mut decoder = Decoder::new(bytes)?;
        let mut fields = decoder.map()?;
        fields.required(&mut decoder, "l")?;
        let level = decoder.uint()?;
        if level >= TREE_LEVELS as u64 {
            return Err(decoder.malformed("a level above the limit").into());
        }
        let level = level as u8;
        fields.required(&mut decoder, "n")?;
        let items = if level == 0 {
            decode_leaf(&mut decoder, bytes)?
        } else {
            decode_branch(&mut decoder, lower)?
        };
        fields.finish(&mut decoder)?;
        decoder.finish()?;
        let sorted = items.windows(2).all(|pair| pair[0].key < pair[1].key);
        let (Some(first), Some(last)) = (items.first(), items.last()) else {
            return Err(NodeError::Range);
        };
        if !sorted || first.key < *lower || upper.is_some_and(|upper| last.key >= *upper) {
            return Err(NodeError::Range);
        }
        Ok(Node { level, items })
    }

    /// The item that holds `key`, or whose child would: the last one that is not above it.
    pub(super) fn position(&self, key: &[u8]) -> Option<usize> {
        self.items
            .partition_point(|item| item.key.as_slice() <= key)
            .checked_sub(1)
    }

    /// The separator above the child at `index`: the next one's, or the node's own upper end.
    pub(super) fn upper_of(&self, index: usize, upper: Option<KeyBytes>) -> Option<KeyBytes> {
        self.items.get(index + 1).map(|item| item.key).or(upper)
    }
}

fn decode_leaf(decoder: &mut Decoder<'_>, bytes: &Bytes) -> Result<Vec<Item>, CodecError> {
    let mut list = decoder.list()?;
    let count = list.remaining() / 3;
    LimitExceeded::check("rows of a leaf", LEAF.max_items, count)?;
    let mut items: Vec<Item> = Vec::with_capacity(count);
    while list.next(decoder)? {
        let before = items.last().map_or(KeyBytes::EMPTY, |item| item.key);
        let key = decode_key(decoder, &before)?;
        Key::parse(key.as_slice()).map_err(|_| decoder.malformed("not the key of a label"))?;
        if !list.next(decoder)? || !list.next(decoder)? {
            return Err(decoder.malformed("a row that is cut short"));
        }
        let start = decoder.offset();
        decoder.skip(&mut |_| Err(CodecError::Inexpressible("a link inside a row")))?;
        let body = Body::Row(bytes.slice(start..decoder.offset()));
        items.push(Item { key, body });
    }
    Ok(items)
}

fn decode_branch(decoder: &mut Decoder<'_>, lower: &KeyBytes) -> Result<Vec<Item>, CodecError> {
    let mut list = decoder.list()?;
    let count = list.remaining().div_ceil(3);
    LimitExceeded::check("children of a branch", BRANCH.max_items, count)?;
    let mut items: Vec<Item> = Vec::with_capacity(count);
    let mut before = KeyBytes::EMPTY;
    while list.next(decoder)? {
        let mut key = *lower;
        if !items.is_empty() {
            key = decode_key(decoder, &before)?;
            before = key;
            if !list.next(decoder)? || !list.next(decoder)? {
                return Err(decoder.malformed("a child that is cut short"));
            }
        }
        let body = Body::Child(decoder.link()?);
        items.push(Item { key, body });
    }
    Ok(items)
}

/// Reads `shared` and `suffix`. The caller has asked the list for the first of them and asks for what follows.
fn decode_key(decoder: &mut Decoder<'_>, before: &KeyBytes) -> Result<KeyBytes, CodecError> {
    let shared = usize::try_from(decoder.uint()?).unwrap_or(usize::MAX);
    let suffix = decoder.bytes()?;
    let invalid = decoder.malformed("a key that is not compressed by its rule");
    let Some(head) = before.as_slice().get(..shared) else {
        return Err(invalid);
    };
    // One byte more in common would have belonged to `shared`.
    let in_common = before.as_slice().get(shared).zip(suffix.first());
    if suffix.is_empty() || in_common.is_some_and(|(before, own)| before == own) {
        return Err(invalid);
    }
    KeyBytes::join(head, suffix).ok_or(invalid)
}

/// A node being filled. Whether it ends before the next item depends on its own items and that item's
/// separator alone.
pub(super) struct Chunk {
    level: u8,
    separator: KeyBytes,
    items: Vec<Item>,
    bytes: usize,
}

impl Chunk {
    pub(super) fn new(level: u8) -> Chunk {
        Chunk {
            level,
            separator: KeyBytes::EMPTY,
            items: Vec::new(),
            bytes: 0,
        }
    }

    /// Whether the node ends before an item with this separator.
    pub(super) fn ends_before(&self, separator: &KeyBytes) -> bool {
        let cut = if self.level == 0 { &LEAF } else { &BRANCH };
        let count = self.items.len();
        count >= cut.max_items
            || self.bytes >= cut.max_bytes
            || (count >= cut.min_items && hash(separator) <= cut_below(self.level))
    }

    /// Adds an item; the first one gives the node its separator.
    pub(super) fn push(&mut self, separator: KeyBytes, item: Item) {
        if self.items.is_empty() {
            self.separator = separator;
        }
        if let Body::Row(row) = &item.body {
            self.bytes += item.key.as_slice().len() + row.len();
        }
        self.items.push(item);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Ends the node: its separator and its block. The chunk is empty afterwards.
    pub(super) fn take(&mut self) -> Result<(KeyBytes, Block), LimitExceeded> {
        let block = encode(self.level, &self.items)?;
        self.items.clear();
        self.bytes = 0;
        Ok((self.separator, block))
    }
}

/// The greatest number of a separator that cuts a level: 1 in 4 rows, and of what a level cuts 1 in 5 the one above.
pub(super) fn cut_below(level: u8) -> u32 {
    (u32::MAX / 4) / 5u32.pow(u32::from(level).min(TREE_LEVELS as u32))
}

/// The number that decides about a cut at this separator, on every level.
pub(super) fn hash(separator: &KeyBytes) -> u32 {
    let digest = Sha256::digest(separator.as_slice());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// The shortest beginning of `key` above `last`, the key before it; empty when there is none.
pub(super) fn separator(last: Option<&KeyBytes>, key: &KeyBytes) -> KeyBytes {
    match last {
        Some(last) => key.truncated(common(last.as_slice(), key.as_slice()) + 1),
        None => KeyBytes::EMPTY,
    }
}

pub(super) fn encode(level: u8, items: &[Item]) -> Result<Block, LimitExceeded> {
    LimitExceeded::check("tree levels", TREE_LEVELS, usize::from(level) + 1)?;
    let mut encoder = Encoder::with_capacity(16 + items.len() * 56);
    let written = (|| {
        encoder.map(2)?;
        encoder.key("l");
        encoder.uint(u64::from(level));
        encoder.key("n");
        encoder.list(if level == 0 {
            items.len() * 3
        } else {
            items.len() * 3 - 2
        })?;
        let mut before: &[u8] = &[];
        for (index, item) in items.iter().enumerate() {
            let key = item.key.as_slice();
            if level == 0 || index > 0 {
                let shared = common(before, key);
                encoder.uint(shared as u64);
                encoder.bytes(&key[shared..]);
                before = key;
            }
            match &item.body {
                Body::Row(row) => encoder.encoded(row),
                Body::Child(cid) => encoder.link(cid),
            }
        }
        encoder.end();
        encoder.end();
        encoder.finish()
    })();
    let bytes: Vec<u8> = written.expect("two levels of nesting and a bounded size");
    LimitExceeded::check("tree node bytes", TREE_NODE_BYTES, bytes.len())?;
    Block::new(Codec::DagCbor, bytes)
}

/// Length of the longest common beginning.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
