//! The perpetual node and the command-line tool of Perennis.
//!
//! A node keeps what was published to it: it verifies everything that comes in (`ingest`, the write door), serves it
//! from memory (`read`, the read door), and works by itself to keep it alive (`workers`). [`app`] wires it together,
//! [`config`] says how. The command line ([`cli`]) is a client of its own and reaches a node over HTTP only.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod app;
mod causes;
pub mod cli;
pub mod config;
mod damage;
mod data_folder;
mod demand;
mod followed;
mod http;
mod ingest;
mod kept;
mod keystore;
mod log_tally;
mod metrics;
mod news;
mod opening;
mod outbound;
mod probe;
mod read;
mod resolve;
mod storage;
mod swarm;
mod token;
mod workers;

pub use data_folder::InTheWay;
pub use keystore::KeystoreError;
pub use storage::OpenError;
pub use token::TokenError;
