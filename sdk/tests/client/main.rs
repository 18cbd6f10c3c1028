//! The client against nodes that run in this process and misbehave on request.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chaining;
mod composing;
mod crashing;
mod damage;
mod double;
mod fetching;
mod laddering;
mod logging;
mod offline;
mod people;
mod proofs;
mod publishing;
mod restoring;
mod routing;
mod staging;
