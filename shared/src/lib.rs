//! Formats and rules of Perennis as pure functions: identity, records, lists, codecs.
#![no_std]

extern crate alloc;

pub mod sign;
