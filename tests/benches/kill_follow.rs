//! Kills a node that follows names, while they come to it from another, at 1,500 moments (or as many as are asked for), and counts what
//! was lost, what was silent, and what was told for no reason.

use perennis_tests::{kill, measure::say};

/// Kills when none are asked for.
const KILLS: u64 = 1_500;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = arguments.iter().find_map(|argument| argument.parse().ok());
    // Cargo says so when it measures; when it only tests that benches run, a few will do.
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let kills = number.unwrap_or(if measured { KILLS } else { 2 });
    let dir = tempfile::tempdir().expect("a temporary directory");
    let outcome = kill::follow::run(dir.path(), kills, 2, |_| {});
    for (name, value, unit) in [
        ("kill-follow/points", outcome.kills, "kills"),
        ("kill-follow/midway", outcome.midway, "kills"),
        ("kill-follow/acknowledged", outcome.acknowledged, "follows"),
        ("kill-follow/lost", outcome.lost, "things"),
        ("kill-follow/silent", outcome.silent, "things"),
        ("kill-follow/told", outcome.told, "things"),
    ] {
        say(name, value as f64, unit);
    }
}
