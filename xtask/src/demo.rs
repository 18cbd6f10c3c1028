//! The tour: sets up and builds what it runs and no more, and starts it, which is a program of `tests`.

use anyhow::Result;

use crate::{browser, product, setup, shell};

/// Builds the page for a browser into the node as well, which the tour does not open.
const PAGE: &str = "--page";

/// Builds the program with its index on the disk, as a node has it that stays.
const INDEX_ON_DISK: &str = "--rocksdb";

/// Sets up, builds, and starts the tour; arguments go to it, but for `--page` and `--rocksdb`.
///
/// # Errors
/// Something does not build, or a step of the tour fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (own, arguments): (Vec<&str>, Vec<&str>) = arguments
        .iter()
        .map(String::as_str)
        .partition(|argument| [PAGE, INDEX_ON_DISK].contains(argument));
    let index_on_disk = own.contains(&INDEX_ON_DISK);
    let needs: &[setup::Need] = match index_on_disk {
        true => &setup::PROGRAM,
        false => &[setup::Need::Compiler],
    };
    shell::step("setup", || setup::run(needs))?;
    if own.contains(&PAGE) {
        shell::step("browser package", browser::build)?;
    }
    let mut tour = shell::step("build", || product::tour(index_on_disk))?;
    shell::run(tour.args(arguments))
}
