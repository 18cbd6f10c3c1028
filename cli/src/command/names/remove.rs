//! `perennis name remove`, `name allow` and `name list --denied`: what a node keeps no more, and takes no more.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use serde_json::Value;

use super::{foot, take_rows, text, until};
use crate::args::{NameAllow, NameList, NameRemove};
use crate::ask::{Method, NodeClient, page_query};
use crate::context::Context;
use crate::failure::Failure;
use crate::page::{bytes_text, count};
use crate::session::parse_name;
use crate::when::now;

#[derive(Serialize)]
struct RemovedDocument {
    url: String,
    #[serde(flatten)]
    removed: Value,
}

pub(super) async fn remove(context: &Context<'_>, arguments: &NameRemove) -> Result<(), Failure> {
    let name = parse_name(&arguments.name)?;
    let node = NodeClient::of_operator(&arguments.node)?;
    if !arguments.yes {
        let kept = node.expect(&format!("/v1/names/{name}")).await?;
        confirm(&format!(
            "{name} at {}: alive until {}, {} below its head",
            node.url,
            until(&kept, now()),
            bytes_text(kept["bytes"].as_u64().unwrap_or(0)),
        ))?;
    }
    let query = if arguments.deny { "?deny=true" } else { "" };
    let path = format!("/v1/names/{name}/record{query}");
    let removed = node.send(Method::Delete, &path, None).await?;
    let document = RemovedDocument {
        url: node.url,
        removed,
    };
    context.output.answer(&document, |page| {
        let removed = &document.removed;
        let line = page.paint.good("removed");
        page.line(format!("{line} {name} from {}", document.url));
        let sequence = removed["sequence"].as_u64();
        page.fields(&[
            (
                "its record",
                sequence.map(|sequence| format!("sequence {sequence}")),
            ),
            (
                "below its head",
                Some(format!(
                    "{}, {}: what nothing else holds is freed by the next collection",
                    count(removed["blocks"].as_u64().unwrap_or(0), "block"),
                    bytes_text(removed["bytes"].as_u64().unwrap_or(0)),
                )),
            ),
        ]);
        if removed["followed"] == true {
            page.line("it is no longer followed");
        }
        if removed["denied"] == true {
            page.line(format!(
                "it is taken no more; `perennis name allow {name}` undoes that"
            ));
        }
    })
}

/// Asks on the terminal whether it is meant.
fn confirm(what: &str) -> Result<(), Failure> {
    let unasked = || {
        Failure::usage("removing a name cannot be undone, and nobody said yes")
            .hint("give --yes to remove it without being asked")
    };
    if !io::stdin().is_terminal() {
        return Err(unasked());
    }
    // Where nobody sees the question nobody answers it.
    let _ = write!(io::stderr(), "{what}\nRemove it for good? Type yes: ");
    let mut typed = String::new();
    let read = io::stdin().read_line(&mut typed);
    read.map_err(|error| unasked().because(&error))?;
    match typed.trim() {
        "yes" => Ok(()),
        _ => Err(unasked()),
    }
}

#[derive(Serialize)]
struct AllowedDocument {
    url: String,
    name: String,
    denied: bool,
}

pub(super) async fn allow(context: &Context<'_>, arguments: &NameAllow) -> Result<(), Failure> {
    let name = parse_name(&arguments.name)?;
    let node = NodeClient::of_operator(&arguments.node)?;
    node.send(Method::Delete, &format!("/v1/denied/{name}"), None)
        .await?;
    let document = AllowedDocument {
        url: node.url,
        name: name.to_string(),
        denied: false,
    };
    context.output.answer(&document, |page| {
        page.line(format!("{name} may be published again"));
    })
}

#[derive(Serialize)]
struct DeniedDocument {
    url: String,
    names: Vec<Value>,
    next: Option<String>,
}

pub(super) async fn list_denied(
    context: &Context<'_>,
    arguments: &NameList,
) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let path = format!("/v1/denied{}", page_query(&arguments.page));
    let mut body = node.expect(&path).await?;
    let document = DeniedDocument {
        url: node.url,
        names: take_rows(&mut body, "names"),
        next: body["next"].as_str().map(str::to_owned),
    };
    context.output.answer(&document, |page| {
        let row = |name| vec![text(name, "name"), text(name, "since")];
        let rows: Vec<Vec<String>> = document.names.iter().map(row).collect();
        page.table(&["NAME", "REMOVED"], &rows);
        foot(page, rows.len(), "name", document.next.as_deref());
    })
}
