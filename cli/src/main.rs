//! The command line: an SDK client with a store of its own, and the door to a node for its operator.
//!
//! A command reads its arguments (`args`), works, and prints through `output`; it ends with one of
//! the exit codes in `failure`. Only `node run` starts a node in this process: every other command
//! that needs one speaks HTTP to it. The contract for scripts is in `docs/CLI.md`, the shape of each
//! `--json` document in `docs/schema/cli`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

mod args;
mod ask;
mod command;
mod context;
mod failure;
mod files;
mod home;
mod log_lines;
mod output;
mod page;
mod sealed;
mod secret;
mod session;
mod umask;
mod unlock;
mod when;

use args::{Cli, Command, NodeCommand};
use context::Context;
use failure::Failure;
use output::Output;

/// Runs the command line of this process and returns its exit code: 0 done, 1 failed, 2 usage,
/// 3 invalid, 4 not found, 5 not reachable now.
fn main() -> ExitCode {
    umask::shut_others_out();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments),
    };
    let output = Output::new(cli.global.json, cli.global.quiet);
    match run(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}

fn run(cli: Cli, output: &Output) -> Result<(), Failure> {
    let context = Context {
        output,
        global: &cli.global,
    };
    // `node run` starts its log with its configuration.
    if cli.global.verbose > 0 && !matches!(cli.command, Command::Node(NodeCommand::Run(_))) {
        let filter = if cli.global.verbose == 1 {
            "debug"
        } else {
            "trace"
        };
        log_lines::init(filter, false)?;
    }
    match cli.command {
        Command::Id(command) => command::id::run(&context, &command),
        Command::Label(command) => command::label::run(&context, &command),
        Command::Publish(arguments) => command::publish::run(&context, &arguments),
        Command::Resolve(arguments) => command::resolve::run(&context, &arguments),
        Command::Log(command) => command::log::run(&context, &command),
        Command::Diff(arguments) => command::log::run_diff(&context, &arguments),
        Command::Export(arguments) => command::export::run(&context, &arguments),
        Command::Import(arguments) => command::import::run(&context, &arguments),
        Command::Restore(arguments) => command::restore::run(&context, &arguments),
        Command::Home(command) => command::home::run(&context, &command),
        Command::Node(command) => command::node::run(&context, &command),
        Command::Store(command) => command::store::run(&context, &command),
        Command::Name(command) => command::names::run_names(&context, &command),
        Command::Snapshot(command) => command::snapshots::run(&context, &command),
        Command::Pin(command) => command::pins::run(&context, &command),
        Command::Peers(command) => command::peers::run(&context, &command),
        Command::Provide(arguments) => command::peers::provide(&context, &arguments),
        Command::Providers(arguments) => command::peers::providers(&context, &arguments),
        Command::Fetch(arguments) => command::fetch::run(&context, &arguments),
        Command::Config(command) => command::settings::run(&context, &command),
        Command::Record(command) => command::record::run(&context, &command),
        Command::Car(command) => command::car::run(&context, &command),
        Command::Dag(command) => command::dag::run(&context, &command),
        Command::Completions { shell } => completions(&context, shell),
        Command::Man(arguments) => command::man::run(&context, &arguments),
    }
}

fn completions(context: &Context<'_>, shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "perennis", &mut script);
    context.output.bytes(&script)
}

/// Help and version go to stdout with 0; everything else clap says is a usage error.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    // The flags are not parsed, so `--json` is looked for by hand.
    let json = arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json");
    if json {
        let text = error.render().to_string();
        let message = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        Output::new(true, false).failure(
            &Failure::usage(message).hint("see `perennis --help` and `perennis COMMAND --help`"),
        );
    } else {
        let _ = error.print();
        let _ = io::stderr().flush();
    }
    ExitCode::from(2)
}
