//! The commands, a room each. A command reads its arguments, works through a session of its home or asks a node, and prints
//! through the output it was given. Must never touch: how an answer looks to programs and people beyond its own document.

mod capsule;
pub(crate) mod car;
pub(crate) mod dag;
pub(crate) mod export;
pub(crate) mod fetch;
pub(crate) mod home;
pub(crate) mod id;
pub(crate) mod import;
mod invalid_config;
pub(crate) mod label;
pub(crate) mod log;
pub(crate) mod man;
pub(crate) mod names;
pub(crate) mod node;
pub(crate) mod peers;
pub(crate) mod pins;
pub(crate) mod publish;
pub(crate) mod record;
pub(crate) mod resolve;
pub(crate) mod restore;
pub(crate) mod settings;
pub(crate) mod snapshots;
pub(crate) mod store;
