//! The tour: sets up and builds what it runs and no more, and starts it, which is a program of `tests`.

use anyhow::Result;

use crate::{browser, product, setup, shell};

/// Builds the page for a browser into the node as well, which the tour does not open.
const PAGE: &str = "--page";

/// Sets up, builds, and starts the tour; arguments go to it, but for `--page`.
///
/// # Errors
/// Something does not build, or a step of the tour fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (page, arguments): (Vec<_>, Vec<_>) =
        arguments.iter().partition(|argument| *argument == PAGE);
    shell::step("setup", || setup::run(&setup::PROGRAM))?;
    if !page.is_empty() {
        shell::step("browser package", browser::build)?;
    }
    let mut tour = shell::step("build (RocksDB takes most of it, the first time)", || {
        product::program("tour")
    })?;
    shell::run(tour.args(arguments))
}
