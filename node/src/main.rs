//! The binary `perennis`: the command line of users and operators.

use std::process::ExitCode;

fn main() -> ExitCode {
    perennis_node::cli::main()
}
