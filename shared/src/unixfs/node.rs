//! What one block is: the message `Data` of the specification, and the links beside it.

use alloc::vec::Vec;

use super::{
    file::File,
    link_name::{find, name_of},
    shard::Shard,
};
use crate::{
    cid::{Cid, Codec},
    codec::{
        CodecError,
        dag_pb::{self, Link},
        protobuf::{FieldValue, Reader},
    },
    varint,
};

/// What one block is in UnixFS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A file, or a part of one. A block of the codec raw is one too.
    File(File),
    /// A directory in one block.
    Directory(Directory),
    /// A directory in many blocks, or a part of one.
    Shard(Shard),
    /// A symbolic link; its target as bytes.
    Symlink(Vec<u8>),
}

/// A directory in one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    links: Vec<Link>,
}

impl Node {
    /// Reads a block. `None` for what is not UnixFS: other codecs, and DAG-PB whose data is none of UnixFS.
    ///
    /// # Errors
    /// Refuses a DAG-PB block as [`dag_pb::decode`] does. It does not compare `bytes` with the digest of `cid`.
    pub fn parse(cid: &Cid, bytes: &[u8]) -> Result<Option<Node>, CodecError> {
        match Codec::from_code(cid.codec()) {
            Some(Codec::Raw) => Ok(Some(Node::File(File::whole(bytes.len())))),
            Some(Codec::DagPb) => {
                let node = dag_pb::decode(bytes)?;
                let data = node.data.as_deref().map(Data::parse);
                let Some(Ok(data)) = data else {
                    return Ok(None);
                };
                let place = dag_pb::data_range(bytes)?.unwrap_or_default();
                Ok(data.into_node(place.start, node.links))
            }
            _ => Ok(None),
        }
    }
}

impl Directory {
    /// The first entry with this name.
    pub fn find(&self, name: &[u8]) -> Option<&Cid> {
        find(&self.links, name)
    }

    /// The names, and the links they stand for, in the order of the block.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &Link)> {
        self.links.iter().map(|link| (name_of(link), link))
    }
}

/// The message `Data` of the specification.
#[derive(Debug, Default)]
struct Data<'a> {
    kind: Option<u64>,
    data: &'a [u8],
    /// Where these bytes stand in the message.
    data_at: usize,
    block_sizes: Vec<u64>,
    hash_type: Option<u64>,
    fanout: Option<u64>,
}

impl<'a> Data<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Data<'a>, CodecError> {
        let mut reader = Reader::new(bytes);
        let mut data = Data::default();
        while let Some((number, value)) = reader.next_field()? {
            match number {
                1 => data.kind = Some(value.uint("Type")?),
                2 => {
                    data.data = value.bytes("Data")?;
                    data.data_at = reader.offset() - data.data.len();
                }
                4 => push_sizes(&mut data.block_sizes, value)?,
                5 => data.hash_type = Some(value.uint("hashType")?),
                6 => data.fanout = Some(value.uint("fanout")?),
                // The size of all, mode and time of change: nothing here needs them.
                _ => {}
            }
        }
        Ok(data)
    }

    /// What the message is; `at` is where it begins in the block.
    fn into_node(self, at: usize, links: Vec<Link>) -> Option<Node> {
        match self.kind? {
            0 | 2 => {
                let start = at + self.data_at;
                let own = start..start + self.data.len();
                Some(Node::File(File::new(own, &self.block_sizes, &links)))
            }
            1 => Some(Node::Directory(Directory { links })),
            4 => Some(Node::Symlink(self.data.into())),
            5 => Shard::new(self.hash_type?, self.fanout?, links).map(Node::Shard),
            _ => None,
        }
    }
}

/// Takes one size, or several that are packed.
fn push_sizes(sizes: &mut Vec<u64>, value: FieldValue<'_>) -> Result<(), CodecError> {
    let FieldValue::Bytes(packed) = value else {
        sizes.push(value.uint("blocksizes")?);
        return Ok(());
    };
    let mut rest = packed;
    while !rest.is_empty() {
        let malformed = |_| CodecError::Malformed {
            offset: packed.len() - rest.len(),
            reason: "a size that is no number",
        };
        let (size, length) = varint::read_u64(rest).map_err(malformed)?;
        sizes.push(size);
        rest = &rest[length..];
    }
    Ok(())
}
