//! Figures: installs what the parts are measured beside, and runs them, which are a program of `tests`.

use anyhow::Result;

use crate::{peers, product, shell};

/// What asks for no measurement.
const QUESTIONS: [&str; 2] = ["--list", "--report"];

/// Measures the named parts, or all; arguments go to the program.
///
/// # Errors
/// Something cannot be built or installed, or a part fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut program = product::program("bench")?;
    let first = arguments.first().map(String::as_str);
    if !first.is_some_and(|first| QUESTIONS.contains(&first)) {
        // Which part needs what is the program's to say.
        let mut question = shell::command(program.get_program());
        let peers = shell::output(question.arg("--peers").args(arguments))?;
        peers::bring(peers.lines(), &mut program)?;
    }
    shell::run(program.args(arguments))
}
