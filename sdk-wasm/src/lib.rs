//! The browser edition of the Perennis SDK, published to npm as `perennis`.
//!
//! This crate converts types between JavaScript and [`perennis_sdk`], keeps the client's store in IndexedDB and
//! takes a Web Lock around each change, so that two tabs of one origin never write over each other. It decides
//! nothing: what a list, a head or a valid record is, is said in `perennis_sdk` and `perennis_shared` alone.
//!
//! | class | for |
//! |---|---|
//! | `Identity` | the keys derived from a passphrase; they live in this module's memory until `free()` |
//! | `Client` | stage, publish, resolve, list, back up, restore |
//!
//! Every failure is a JavaScript `Error` named `PerennisError` with `code` (stable) and `retryable` (whether the same
//! call may succeed later). On a target other than WebAssembly the crate is empty.
#![cfg(target_family = "wasm")]

mod client;
mod error;
mod identity;
mod indexed_db;
mod label;
mod lock;
mod object;

pub use self::client::Client;
pub use self::identity::{Identity, check_passphrase, generate_passphrase};
pub use self::indexed_db::IndexedDb;
