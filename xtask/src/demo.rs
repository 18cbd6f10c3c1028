//! The tour: builds the product and shows its main job on real input, with the embedded default and no server.

use anyhow::Result;

use crate::{browser, setup, shell, workspace};

mod tour;

/// Sets up, builds, and starts the tour; arguments go to it.
///
/// # Errors
/// Something does not build, or a step of the tour fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    shell::step("setup", || setup::run(&setup::BUILD))?;
    shell::step("browser package", browser::build)?;
    shell::step(
        "build (RocksDB takes 10 to 20 minutes the first time)",
        build,
    )?;
    tour::run(&workspace::target().join("release/perennis"), arguments)
}

/// The same selection and profile as the tests, so that whichever comes second is quick.
fn build() -> Result<()> {
    shell::run(shell::cargo().args(["build", "--workspace", "--bins", "--release", "--locked"]))
}
