//! The perpetual node of Perennis.
//!
//! A node keeps what was published to it: it verifies everything that comes in (`ingest`, the write door), serves it
//! from memory (`read`, the read door), and works by itself to keep it alive (`workers`). [`app`] wires it together,
//! [`config`] says how.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod app;
mod caller;
mod clock;
pub mod config;
pub mod damage;
pub mod data_folder;
mod demand;
mod groups;
#[cfg(test)]
mod guide;
mod http;
mod ingest;
pub mod keystore;
mod log_tally;
mod metrics;
mod node;
mod opening;
mod pending_names;
mod probe;
mod read;
mod resolve;
mod routes;
mod scope;
mod shutdown;
mod ssrf_guard;
mod storage;
mod swarm;
mod token;
mod workers;

pub use clock::EARLIEST;
pub use scope::{NoScope, Scope, Scopes};
pub use storage::{KnownDamage, OpenError};
pub use token::{NamedToken, TokenError, TokenFile, TokenFileError};
