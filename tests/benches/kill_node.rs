//! Kills a node under load at 500 moments (or as many as are asked for) and counts what was lost or half.

use perennis_tests::{bench::Scratch, kill, measure};

/// Kills when none are asked for.
const KILLS: u64 = 500;

fn main() {
    let dir = Scratch::new("kill-node").expect("a folder on a disk");
    let outcome = kill::run(dir.path(), measure::times(KILLS), 2, |_| {});
    for (name, value, unit) in [
        ("kill-node/points", outcome.kills, "kills"),
        ("kill-node/acknowledged", outcome.acknowledged, "publishes"),
        ("kill-node/lost", outcome.lost, "publishes"),
        ("kill-node/half", outcome.half, "publishes"),
    ] {
        measure::say(name, value as f64, unit);
    }
}
