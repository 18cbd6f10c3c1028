//! Scenarios, interoperation and crash tests of the whole product.
//!
//! The scenarios drive the real binary `perennis` as a user does: [`home::Home`] runs commands in a
//! home directory of its own, [`node::Node`] is a real node process on a free port. Nothing here reaches
//! into the product: what a scenario sees is what a script sees. Every `--json` document a scenario
//! reads is held against its schema in `docs/schema/cli` on the way ([`schema`]).

pub mod binary;
pub mod home;
pub mod kill;
pub mod measure;
pub mod node;
pub mod publisher;
pub mod readers;
pub mod schema;
pub mod small_disk;
pub mod terminal;
pub mod umask;
pub mod vectors;
