//! `perennis snapshot …`: snapshots that a running node keeps in its data folder.

use serde::Serialize;
use serde_json::Value;

use super::names::{take_rows, text};
use crate::args::{SnapshotCommand, SnapshotCreate, SnapshotList, SnapshotRemove};
use crate::ask::{Method, NodeClient, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::page::{Page, bytes_text, count, plain};
use crate::session::block_on;

/// One snapshot, and the node that has it.
#[derive(Serialize)]
struct SnapshotDocument {
    url: String,
    #[serde(flatten)]
    snapshot: Value,
}

#[derive(Serialize)]
struct ListDocument {
    url: String,
    snapshots: Vec<Value>,
}

pub(crate) fn run(context: &Context<'_>, command: &SnapshotCommand) -> Result<(), Failure> {
    match command {
        SnapshotCommand::Create(arguments) => block_on(create(context, arguments)),
        SnapshotCommand::List(arguments) => block_on(list(context, arguments)),
        SnapshotCommand::Remove(arguments) => block_on(remove(context, arguments)),
    }
}

async fn create(context: &Context<'_>, arguments: &SnapshotCreate) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let query = match &arguments.name {
        Some(name) => format!("?name={}", escaped(name)),
        None => String::new(),
    };
    let path = format!("/v1/snapshots{query}");
    let snapshot = node.send(Method::Post, &path, None).await?;
    let document = SnapshotDocument {
        url: node.url,
        snapshot,
    };
    context.output.answer(&document, |page| {
        write(page, "written", &document.snapshot);
        page.line("it lies on the disk of the node: copy it elsewhere, and `node.key` beside it where the node is to be the same peer again");
    })
}

async fn list(context: &Context<'_>, arguments: &SnapshotList) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let mut body = node.expect("/v1/snapshots").await?;
    let document = ListDocument {
        url: node.url,
        snapshots: take_rows(&mut body, "snapshots"),
    };
    context.output.answer(&document, |page| {
        let rows: Vec<Vec<String>> = document
            .snapshots
            .iter()
            .map(|row| {
                let size = |field: &str| bytes_text(row[field].as_u64().unwrap_or_default());
                vec![
                    text(row, "name"),
                    text(row, "at"),
                    size("bytes"),
                    size("ownBytes"),
                    text(row, "path"),
                ]
            })
            .collect();
        page.table(&["NAME", "WRITTEN", "SIZE", "NOT SHARED", "PATH"], &rows);
        page.line(count(rows.len() as u64, "snapshot"));
    })
}

async fn remove(context: &Context<'_>, arguments: &SnapshotRemove) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let path = format!("/v1/snapshots/{}", escaped(&arguments.name));
    let snapshot = node.send(Method::Delete, &path, None).await?;
    let document = SnapshotDocument {
        url: node.url,
        snapshot,
    };
    context.output.answer(&document, |page| {
        write(page, "removed", &document.snapshot);
    })
}

fn write(page: &mut Page, what: &str, snapshot: &Value) {
    let size = |field: &str| bytes_text(snapshot[field].as_u64().unwrap_or_default());
    let done = page.paint.good(what);
    let path = plain(snapshot["path"].as_str().unwrap_or_default());
    page.line(format!("{done}: {path}"));
    page.fields(&[
        ("name", Some(text(snapshot, "name"))),
        ("size", Some(size("bytes"))),
        ("not shared with the store", Some(size("ownBytes"))),
    ]);
}
