//! The pieces in a window of a real browser.
#![cfg(target_family = "wasm")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/identity.rs"]
mod identity;
#[path = "common/store.rs"]
mod store;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);
