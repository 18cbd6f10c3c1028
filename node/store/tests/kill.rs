//! A store whose process is killed again and again. The bench `kill` does it 2,000 times.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::path::Path;
use std::process::Command;

use perennis_store::testing::kill;

const DIR: &str = "PERENNIS_KILL_DIR";

#[test]
fn nothing_acknowledged_is_lost_or_half_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let command = |dir: &Path| {
        let mut command = Command::new(env::current_exe()?);
        command.args([
            "--exact",
            "the_process_that_is_killed",
            "--ignored",
            "--nocapture",
        ]);
        command.env(DIR, dir);
        Ok(command)
    };
    let mut wrong = Vec::new();
    let outcome = kill::run(&dir.path().join("store"), 32, 1, command, |line| {
        wrong.push(line.to_owned())
    });
    let outcome = outcome.unwrap();
    assert!(outcome.is_clean(), "{outcome:?}\n{}", wrong.join("\n"));
    assert!(outcome.acknowledged > 200, "{outcome:?}");
}

#[test]
#[ignore = "the test above starts it in a process of its own"]
fn the_process_that_is_killed() {
    if let Some(dir) = env::var_os(DIR) {
        kill::work(Path::new(&dir)).unwrap();
    }
}
