//! `tour [--keep] [--dir DIR]`: the five-minute tour.

use std::process::ExitCode;

fn main() -> ExitCode {
    perennis_tests::program(perennis_tests::tour::run)
}
