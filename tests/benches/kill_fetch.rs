//! Kills a node that fetches graphs from a peer, while they come to it, at 500 moments (or as many as are asked for), and counts what
//! was lost, what was silent, and what was told for no reason.

use perennis_tests::{bench::Scratch, kill, measure};

/// Kills when none are asked for.
const KILLS: u64 = 500;

fn main() {
    let dir = Scratch::new("kill-fetch").expect("a folder on a disk");
    let outcome = kill::fetch::run(dir.path(), measure::times(KILLS), 2, |_| {});
    outcome.say("kill-fetch", "fetches");
}
