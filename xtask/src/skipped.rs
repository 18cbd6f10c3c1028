//! What tests may lack, and what one writes that was skipped: the table of the tests themselves, taken in by its path, since no crate
//! of ours is used here.

#[allow(
    dead_code,
    unreachable_pub,
    reason = "what a test calls is for the tests"
)]
#[path = "../../tests/src/skipped.rs"]
mod of_tests;

pub(crate) use of_tests::{FILE, REQUIRE, Skipped, known, parse_required};
