//! Several peers in one process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod abuse;
mod dht;
mod gossip;
mod peers;
mod protocol;
mod pubsub;
mod raw;
mod serving;
mod swarm;
