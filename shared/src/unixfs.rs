//! UnixFS (IPFS specification, "UnixFS"): files, directories and sharded directories in DAG-PB blocks, read as pure functions.
//!
//! [`Node::parse`] says what one block is. A [`File`] knows which blocks below it hold which of its bytes, a [`Directory`] and a
//! [`Shard`] find a name. [`PathWalk`] follows a path from block to block, through UnixFS, DAG-CBOR and DAG-JSON. Nobody here reads
//! a block: the caller brings each one that is asked for. Sizes are what the writers of the blocks claim, so no memory is taken for them.

mod entity_bytes;
mod file;
mod hash;
mod link_name;
mod node;
mod path_walk;
mod shard;

pub use entity_bytes::{EntityBytes, EntityBytesError, Selected};
pub use file::{File, FilePart};
pub use node::{Directory, Node};
pub use path_walk::{PathError, PathWalk};
pub use shard::{Shard, ShardEntry};

#[cfg(test)]
mod tests;
