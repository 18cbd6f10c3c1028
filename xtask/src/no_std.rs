//! The link test of `perennis-shared`: tests/no_std is a module with a panic handler and an allocator of its own.
//! It links only while nothing below it brings std, which brings a panic handler too. Then the same module is built
//! with a feature that lets std in through a dependency; that must fail, or this test would prove nothing.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::{
    setup::{self, Need},
    shell, workspace,
};

/// Links without std, and shows that std would be noticed.
///
/// # Errors
/// std creeps in, the module does not build, or the intruder goes unnoticed.
pub(crate) fn run() -> Result<()> {
    setup::run(&[Need::WasmTarget])?;
    shell::run(&mut build(&[]))?;
    let intruder = build(&["--features", "intruder"]).output()?;
    let messages = String::from_utf8_lossy(&intruder.stderr);
    ensure!(
        !intruder.status.success(),
        "std came in through a dependency and the module linked all the same"
    );
    ensure!(
        messages.contains("panic_impl"),
        "the module with std fails, but not for its second panic handler:\n{messages}"
    );
    println!("without std it links; with std let in through a dependency it does not");
    Ok(())
}

fn build(more: &[&str]) -> Command {
    let mut cargo = shell::cargo();
    cargo
        .current_dir(workspace::root().join("tests/no_std"))
        .args(["build", "--release", "--target", "wasm32-unknown-unknown"])
        .args(more)
        .env("CARGO_TARGET_DIR", workspace::target().join("no-std"));
    cargo
}
