//! `perennis node run`, `node status`, `node doctor`, `node probe` and `node token`.

use serde_json::Value;

use crate::args::NodeCommand;
use crate::context::Context;
use crate::failure::Failure;
use crate::page::plain;
use crate::session::block_on;

mod doctor;
mod open_files;
mod probe;
mod run;
mod status;
mod token;

pub(crate) fn run(context: &Context<'_>, command: &NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::Run(arguments) => run::serve(context, arguments),
        NodeCommand::Status(arguments) => block_on(status::run(context, arguments)),
        NodeCommand::Doctor(arguments) => doctor::run(context, arguments),
        NodeCommand::Probe(arguments) => block_on(probe::run(context, arguments)),
        NodeCommand::Token(arguments) => token::run(context, arguments),
    }
}

/// A JSON value in one line for people.
pub(crate) fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Array(items) => items.iter().map(value_text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
