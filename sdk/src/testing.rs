//! Conformance suites and doubles. Only tests use this (feature `testing`).

pub mod block_store;
pub mod faulty;
