//! `perennis name list`, `name show` and `pin list`: what a node keeps.

use perennis_shared::time::Millis;
use serde::Serialize;
use serde_json::Value;

use super::node::value_text;
use crate::args::{NameCommand, NameList, NameShow, PinList};
use crate::ask::{NodeClient, page_query};
use crate::context::Context;
use crate::failure::Failure;
use crate::page::{Page, bytes_text, count, plain};
use crate::session::{block_on, parse_name};
use crate::when::{now, relative};

mod follow;
mod remove;
pub(crate) fn run_names(context: &Context<'_>, command: &NameCommand) -> Result<(), Failure> {
    match command {
        NameCommand::List(arguments) if arguments.denied => {
            block_on(remove::list_denied(context, arguments))
        }
        NameCommand::List(arguments) => block_on(list_names(context, arguments)),
        NameCommand::Show(arguments) => block_on(show_name(context, arguments)),
        NameCommand::Follow(arguments) => block_on(follow::follow(context, arguments)),
        NameCommand::Unfollow(arguments) => block_on(follow::unfollow(context, arguments)),
        NameCommand::Remove(arguments) => block_on(remove::remove(context, arguments)),
        NameCommand::Allow(arguments) => block_on(remove::allow(context, arguments)),
    }
}

#[derive(Serialize)]
struct NamesDocument {
    url: String,
    names: Vec<Value>,
    next: Option<String>,
}

async fn list_names(context: &Context<'_>, arguments: &NameList) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let mut body = node
        .expect(&format!("/v1/names{}", page_query(&arguments.page)))
        .await?;
    let document = NamesDocument {
        url: node.url,
        names: take_rows(&mut body, "names"),
        next: body["next"].as_str().map(str::to_owned),
    };
    context.output.answer(&document, |page| {
        let moment = now();
        let rows: Vec<Vec<String>> = document
            .names
            .iter()
            .map(|name| {
                vec![
                    text(name, "name"),
                    text(name, "sequence"),
                    until(name, moment),
                    when(name, "lastPut", moment),
                    text(name, "peersReached"),
                    when(name, "nextDue", moment),
                    text(name, "pin"),
                    bytes_text(name["bytes"].as_u64().unwrap_or(0)),
                ]
            })
            .collect();
        page.table(
            &[
                "NAME",
                "SEQUENCE",
                "ALIVE UNTIL",
                "LAST PUT",
                "PEERS",
                "NEXT PUT",
                "PIN",
                "SIZE",
            ],
            &rows,
        );
        problems(page, &document.names, "name");
        foot(page, rows.len(), "name", document.next.as_deref());
    })
}

async fn show_name(context: &Context<'_>, arguments: &NameShow) -> Result<(), Failure> {
    let name = parse_name(&arguments.name)?;
    let node = NodeClient::new(context, &arguments.node)?;
    let body = node.expect(&format!("/v1/names/{name}")).await?;
    tell(context, &body)?;
    warn_of_problem(context, &body);
    Ok(())
}

/// Tells why what a name points at is not held whole, and what to do about it.
fn warn_of_problem(context: &Context<'_>, body: &Value) {
    if let Some(problem) = problem_of(body) {
        context.output.warn(problem);
    }
}

/// What is in the way of a pin, in a line; none where nothing is.
fn problem_of(row: &Value) -> Option<String> {
    let problem = &row["problem"];
    let message = problem["message"].as_str().map(plain)?;
    let state = match row["pin"].as_str().or(row["state"].as_str()) {
        Some(state) => format!("{}: ", plain(state)),
        None => String::new(),
    };
    let hint = problem["hint"].as_str().map(plain).unwrap_or_default();
    Some(format!("{state}{message} ({hint})"))
}

/// The problems of the rows of a table, one a line.
pub(super) fn problems(page: &mut Page, rows: &[Value], key: &str) {
    for row in rows {
        if let Some(problem) = problem_of(row) {
            page.line(format!("{} is {problem}", text(row, key)));
        }
    }
}

/// Tells how one name is.
fn tell(context: &Context<'_>, body: &Value) -> Result<(), Failure> {
    context.output.answer(body, |page| {
        let fields: Vec<(&str, Option<String>)> = body
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null() && !value.is_object())
            .map(|(field, value)| (field.as_str(), Some(value_text(value))))
            .collect();
        page.fields(&fields);
        let is_lapsed = body["expired"] == true;
        let (word, moment) = match is_lapsed {
            true => ("lapsed", until(body, now())),
            false => ("alive for", until(body, now())),
        };
        page.fields(&[
            (word, Some(moment)),
            (
                "then renewed until",
                body["ladder"]["aliveUntil"].as_str().map(plain),
            ),
        ]);
        show_chain(page, &body["chain"]);
    })
}

/// The names that a name leads to, where its record points at another one.
fn show_chain(page: &mut Page, chain: &Value) {
    let Some(steps) = chain["steps"].as_array() else {
        return;
    };
    let row = |step| vec![text(step, "name"), text(step, "value"), text(step, "pin")];
    let rows: Vec<Vec<String>> = steps.iter().map(row).collect();
    page.blank();
    page.table(&["LEADS TO", "POINTS AT", "PIN"], &rows);
    if let Some(problem) = chain["problem"]["message"].as_str() {
        page.line(format!("and no further: {}", plain(problem)));
    }
}

#[derive(Serialize)]
struct PinsDocument {
    url: String,
    pins: Vec<Value>,
    next: Option<String>,
}

pub(super) async fn list_pins(context: &Context<'_>, arguments: &PinList) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let mut body = node
        .expect(&format!("/v1/pins{}", page_query(&arguments.page)))
        .await?;
    let document = PinsDocument {
        url: node.url,
        pins: take_rows(&mut body, "pins"),
        next: body["next"].as_str().map(str::to_owned),
    };
    context.output.answer(&document, |page| {
        let rows: Vec<Vec<String>> = document
            .pins
            .iter()
            .map(|pin| {
                vec![
                    text(pin, "cid"),
                    text(pin, "state"),
                    text(pin, "blocks"),
                    bytes_text(pin["bytes"].as_u64().unwrap_or(0)),
                ]
            })
            .collect();
        page.table(&["CID", "STATE", "BLOCKS", "SIZE"], &rows);
        problems(page, &document.pins, "cid");
        foot(page, rows.len(), "pin", document.next.as_deref());
    })
}

pub(super) fn take_rows(body: &mut Value, field: &str) -> Vec<Value> {
    match body[field].take() {
        Value::Array(rows) => rows,
        _ => Vec::new(),
    }
}

pub(super) fn text(row: &Value, field: &str) -> String {
    match &row[field] {
        Value::Null => String::new(),
        value => plain(&value_text(value)),
    }
}

fn until(row: &Value, moment: Millis) -> String {
    when(row, "aliveUntil", moment)
}

fn when(row: &Value, field: &str, moment: Millis) -> String {
    row[field]
        .as_str()
        .and_then(|text| Millis::parse_rfc3339(text).ok())
        .map_or_else(String::new, |end| relative(end, moment))
}

pub(super) fn foot(page: &mut Page, rows: usize, noun: &str, next: Option<&str>) {
    let mut line = count(rows as u64, noun);
    if let Some(next) = next {
        line.push_str(&format!(", more with --after {}", plain(next)));
    }
    let line = page.paint.dim(line);
    page.line(line);
}
