//! `perennis pin list` and `pin remove`: what is pinned at a node.

use serde::Serialize;
use serde_json::Value;

use super::fetch;
use super::names::{foot, list_pins, problems, take_rows, text};
use super::peers::checked_cid;
use crate::args::{PinCommand, PinList, PinRemove};
use crate::ask::{Method, NodeClient, escaped, page_query};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::page::count;
use crate::session::block_on;

pub(crate) fn run(context: &Context<'_>, command: &PinCommand) -> Result<(), Failure> {
    match command {
        PinCommand::List(arguments) if arguments.fetched => {
            block_on(fetch::list(context, arguments))
        }
        PinCommand::List(arguments) if arguments.imported => block_on(list(context, arguments)),
        PinCommand::List(arguments) => block_on(list_pins(context, arguments)),
        PinCommand::Remove(arguments) => block_on(remove(context, arguments)),
    }
}

#[derive(Serialize)]
struct ListDocument {
    url: String,
    imported: Vec<Value>,
    next: Option<String>,
}

async fn list(context: &Context<'_>, arguments: &PinList) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let path = format!("/v1/imported{}", page_query(&arguments.page));
    let mut body = node.expect(&path).await?;
    let document = ListDocument {
        url: node.url,
        imported: take_rows(&mut body, "imported"),
        next: body["next"].as_str().map(str::to_owned),
    };
    context.output.answer(&document, |page| {
        let rows: Vec<Vec<String>> = document
            .imported
            .iter()
            .map(|row| {
                ["cid", "name", "state", "at"]
                    .map(|field| text(row, field))
                    .into()
            })
            .collect();
        page.table(&["CID", "NAME", "STATE", "SINCE"], &rows);
        problems(page, &document.imported, "cid");
        foot(page, rows.len(), "root", document.next.as_deref());
    })
}

#[derive(Serialize)]
struct RemoveDocument {
    cid: String,
    released: bool,
    fetched: bool,
    imported: u64,
}

async fn remove(context: &Context<'_>, arguments: &PinRemove) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let cid = checked_cid(&arguments.cid)?;
    let query = match &arguments.name {
        Some(name) => format!("?name={}", escaped(name)),
        None => String::new(),
    };
    let imported = deleted(&node, &format!("/v1/imported/{cid}{query}")).await?;
    // What was fetched has no name.
    let fetched = match &arguments.name {
        Some(_) => None,
        None => deleted(&node, &format!("/v1/fetched/{cid}")).await?,
    };
    if imported.is_none() && fetched.is_none() {
        let of_name = arguments
            .name
            .iter()
            .map(|name| format!(" under the name {name:?}"));
        let message = format!("{cid} was not pinned{}", of_name.collect::<String>());
        return Err(Failure::not_found("not_found", message)
            .hint("`perennis pin list --imported` and `--fetched` show what is"));
    }
    let document = RemoveDocument {
        cid: cid.to_string(),
        released: true,
        fetched: fetched.is_some(),
        imported: imported
            .and_then(|body| body["removed"].as_u64())
            .unwrap_or_default(),
    };
    context.output.answer(&document, |page| {
        let pins = document.imported + u64::from(document.fetched);
        let line = page.paint.good("released");
        page.line(format!("{line} {}, {}", document.cid, count(pins, "pin")));
    })
}

/// What the node says of what it let go of; none where there was nothing.
async fn deleted(node: &NodeClient, path: &str) -> Result<Option<Value>, Failure> {
    match node.send(Method::Delete, path, None).await {
        Ok(body) => Ok(Some(body)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}
