//! The same pieces in a dedicated worker, where an extension and the page run them.
#![cfg(target_family = "wasm")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/identity.rs"]
mod identity;
#[path = "common/store.rs"]
mod store;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);
