//! The tour: builds the product and shows its main job on real input, with the embedded default and no server.

use anyhow::Result;

use crate::{browser, ours, setup, shell};

mod tour;

/// Sets up, builds, and starts the tour; arguments go to it.
///
/// # Errors
/// Something does not build, or a step of the tour fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    shell::step("setup", || setup::run(&setup::BUILD))?;
    shell::step("browser package", browser::build)?;
    // The same selection and profile as the tests, so that whichever comes second is quick.
    let program = shell::step(
        "build (RocksDB takes 10 to 20 minutes the first time)",
        ours::program,
    )?;
    tour::run(&program, arguments)
}
