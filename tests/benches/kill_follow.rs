//! Kills a node that follows names, while they come to it from another, at 1,500 moments (or as many as are asked for), and counts what
//! was lost, what was silent, and what was told for no reason.

use perennis_tests::{bench::Scratch, kill, measure};

/// Kills when none are asked for.
const KILLS: u64 = 1_500;

fn main() {
    let dir = Scratch::new("kill-follow").expect("a folder on a disk");
    let outcome = kill::follow::run(dir.path(), measure::times(KILLS), 2, |_| {});
    outcome.say("kill-follow", "follows");
}
