//! `perennis node run`, `node status`, `node doctor`, `node probe` and `node token`.

use perennis_node::damage::Report;
use serde::Serialize;
use serde_json::Value;

use crate::args::{NodeCommand, NodeStatus};
use crate::ask::NodeClient;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::page::{Page, plain};
use crate::session::block_on;

mod doctor;
mod open_files;
mod probe;
mod run;
mod token;

pub(crate) fn run(context: &Context<'_>, command: &NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::Run(arguments) => run::serve(context, arguments),
        NodeCommand::Status(arguments) => block_on(status(context, arguments)),
        NodeCommand::Doctor(arguments) => doctor::run(context, arguments),
        NodeCommand::Probe(arguments) => block_on(probe::run(context, arguments)),
        NodeCommand::Token(arguments) => token::run(context, arguments),
    }
}

#[derive(Serialize)]
struct StatusDocument {
    url: String,
    live: bool,
    ready: bool,
    status: Value,
}

async fn status(context: &Context<'_>, arguments: &NodeStatus) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let (live, _) = node.get("/health/live").await?;
    let (ready, status) = node.get("/health/ready").await?;
    let document = StatusDocument {
        url: node.url.clone(),
        live: live == 200,
        ready: ready == 200,
        status,
    };
    context.output.answer(&document, |page| {
        let state = match (document.live, document.ready) {
            (true, true) => page.paint.good("ready"),
            (true, false) => page.paint.warn("live, but not ready"),
            (false, _) => page.paint.bad("no perennis node"),
        };
        page.line(format!("{}  {state}", document.url));
        if let Some(fields) = document.status.as_object() {
            let rows: Vec<(&str, Option<String>)> = fields
                .iter()
                .filter(|(name, _)| name.as_str() != "damage")
                .map(|(name, value)| (name.as_str(), Some(value_text(value))))
                .collect();
            page.fields(&rows);
            if let Some(damage) = fields.get("damage") {
                tell_damage(page, damage);
            }
        }
    })?;
    if document.live && document.ready {
        Ok(())
    } else {
        if !context.output.is_json() {
            context
                .output
                .remark("look at its log, or run `perennis node doctor` on its machine");
        }
        Err(Failure::told(Exit::Unreachable))
    }
}

/// What is damaged, where something is.
fn tell_damage(page: &mut Page, damage: &Value) {
    let Ok(report) = serde_json::from_value::<Report>(damage.clone()) else {
        return;
    };
    let counts = report.counts();
    if counts.is_empty() {
        return;
    }
    let line = page.paint.warn(format!("damage: {}", counts.join(", ")));
    page.line(line);
    for sentence in &report.sentences {
        page.line(format!("  {}", plain(sentence)));
    }
    page.line("`perennis store losses` lists all of it");
}

/// A JSON value in one line for people.
pub(crate) fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Array(items) => items.iter().map(value_text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
