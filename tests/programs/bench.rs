//! `bench [--list | --report | --peers PART… | PART…]`: measures, and writes docs/BENCHMARKS.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    perennis_tests::program(perennis_tests::bench::run)
}
