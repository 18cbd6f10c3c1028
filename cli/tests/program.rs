//! The program itself, without a node and without an identity.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn perennis(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perennis"));
    command.args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_version_is_that_of_the_package() {
    let told = perennis(&["--version"]);
    assert!(told.status.success());
    let version = concat!("perennis ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(text(&told.stdout), version);
}

#[test]
fn a_slip_is_a_usage_error_for_people_and_for_scripts() {
    let told = perennis(&["publihs"]);
    assert_eq!(told.status.code(), Some(2));
    assert!(told.stdout.is_empty());
    assert!(
        text(&told.stderr).contains("publish"),
        "{}",
        text(&told.stderr)
    );
    let told = perennis(&["--json", "publihs"]);
    assert_eq!(told.status.code(), Some(2));
    let document = [text(&told.stdout), text(&told.stderr)].concat();
    let document: serde_json::Value = serde_json::from_str(document.trim()).unwrap();
    assert!(
        document["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("--help"),
        "{document}"
    );
}

#[test]
fn every_shell_has_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let told = perennis(&["completions", shell]);
        assert!(told.status.success(), "{shell}");
        assert!(text(&told.stdout).contains("publish"), "{shell}");
    }
}
