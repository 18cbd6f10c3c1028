//! `interop [--check [-- WORD…]]`: the cases with other implementations, which write docs/INTEROP.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    perennis_tests::program(perennis_tests::interop::run)
}
