//! The perpetual node and the command-line tool of Perennis.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod cli;
