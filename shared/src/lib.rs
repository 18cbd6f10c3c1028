//! Formats and rules of Perennis as pure functions: identity, records, lists, codecs.
#![no_std]
