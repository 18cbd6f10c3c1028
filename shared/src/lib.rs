//! Formats and rules of Perennis as pure functions: identity, records, lists, codecs.
//!
//! This crate turns bytes and arguments into values and back. It has no clock, no source of
//! randomness, no log and no I/O: time and randomness are arguments. It needs `alloc` and nothing
//! else of the standard library, so that the same rules run in a browser, in the command-line tool
//! and in a node. Bytes from outside never panic: every size, count and depth has a named limit in
//! [`limits`], checked before memory is taken for it.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

extern crate alloc;

#[cfg(test)]
extern crate std;

pub mod backoff;
pub mod cid;
pub mod codec;
pub mod did;
pub mod error;
pub mod ipns;
pub mod kdf;
pub mod keywrap;
mod kinds;
pub mod limits;
pub mod log;
pub mod passphrase;
pub mod sign;
pub mod taglist;
pub mod time;
pub mod unixfs;
pub mod uri;
pub(crate) mod varint;
pub mod wire;
