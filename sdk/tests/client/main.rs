//! The client against nodes that run in this process and misbehave on request.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod double;
mod fetching;
mod routing;
mod staging;
