//! `perennis fetch`, and the DAGs it has left at a node.

use std::path::Path;

use perennis_rt::http::Body;
use perennis_shared::error::ErrorKind;
use serde::Serialize;
use serde_json::Value;

use super::export;
use super::names::{foot, take_rows, text};
use super::peers::checked_cid;
use crate::args::{Fetch, PinList};
use crate::ask::{NodeClient, escaped, page_query};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::files::{Existing, Target, is_dash};
use crate::page::{bytes_text, count, plain};
use crate::session::block_on;

#[derive(Serialize)]
struct Fetched {
    cid: String,
    blocks: u64,
    bytes: u64,
    held: u64,
    /// Blocks whose links cannot be read.
    opaque: u64,
    seconds: f64,
    out: Option<String>,
}

pub(crate) fn run(context: &Context<'_>, arguments: &Fetch) -> Result<(), Failure> {
    block_on(async {
        let cid = checked_cid(&arguments.cid)?;
        if let Some(file) = &arguments.out {
            // Said before anything is fetched. Here `-` is a file as any other.
            let file = if is_dash(file) {
                Path::new("./-")
            } else {
                file
            };
            Existing::unless_forced(file, arguments.force)?;
        }
        let node = NodeClient::of_operator(&arguments.node)?;
        let mut path = format!("/v1/fetched/{cid}");
        if let Some(peer) = &arguments.peer {
            path.push_str("?peer=");
            path.push_str(&escaped(peer));
        }
        let done = follow(context, &node, &path).await?;
        let out = match &arguments.out {
            Some(file) => {
                let mut target = Target::file(file)?;
                export::write(context, &node, &cid, &mut target).await?;
                target.finish()?;
                Some(file.display().to_string())
            }
            None => None,
        };
        let number = |field: &str| done[field].as_u64().unwrap_or_default();
        let fetched = Fetched {
            cid: cid.to_string(),
            blocks: number("blocks"),
            bytes: number("bytes"),
            held: number("held"),
            opaque: number("opaque"),
            seconds: done["seconds"].as_f64().unwrap_or_default(),
            out,
        };
        if fetched.opaque > 0 {
            context.output.warn(format_args!(
                "the links of {} cannot be read, the first is {}: what is below is not kept (fetch it by its own CID)",
                count(fetched.opaque, "block"),
                done["firstOpaque"].as_str().map(plain).unwrap_or_default()
            ));
        }
        context.output.answer(&fetched, |page| {
            let line = page.paint.good("fetched");
            let (blocks, bytes) = (count(fetched.blocks, "block"), bytes_text(fetched.bytes));
            page.line(format!(
                "{line} {blocks}, {bytes} in {:.1} s",
                fetched.seconds
            ));
            page.fields(&[("file", fetched.out.clone())]);
        })
    })
}

/// Shows the lines of a fetch until its last, which is returned.
async fn follow(context: &Context<'_>, node: &NodeClient, path: &str) -> Result<Value, Failure> {
    let bar = context.output.spinner("fetching");
    let body = node.stream(path).await?;
    let done = last_step(node, body, |step| {
        let bytes = bytes_text(step["bytes"].as_u64().unwrap_or_default());
        let left = step["left"].as_u64().unwrap_or_default();
        bar.set_message(format!("fetching: {bytes}, {} left", count(left, "block")));
    })
    .await;
    bar.finish_and_clear();
    done
}

/// Reads the lines of something that a node does until the last, which is returned; tells of each before it.
pub(super) async fn last_step(
    node: &NodeClient,
    mut body: Body,
    mut tell: impl FnMut(&Value),
) -> Result<Value, Failure> {
    let mut line = Vec::new();
    while let Some(chunk) = node.next_chunk(&mut body).await? {
        for byte in chunk {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let step: Value =
                serde_json::from_slice(&line).map_err(|error| not_understood(&error))?;
            line.clear();
            match step["event"].as_str() {
                Some("progress") => tell(&step),
                Some("done") => return Ok(step),
                _ => return Err(failed(&step)),
            }
        }
    }
    Err(Failure::unreachable("the node broke off")
        .hint("look at its log, and try again: what has come stays"))
}

fn not_understood(error: &serde_json::Error) -> Failure {
    Failure::failed("answer_not_understood", "a line of the node is no JSON")
        .because(error)
        .hint("check that a perennis node runs there")
}

/// The last line of a fetch that failed. One that says no kind, as a node of an earlier version, failed for good.
fn failed(step: &Value) -> Failure {
    let text = |field: &str| step[field].as_str().map(plain).unwrap_or_default();
    let kind = ErrorKind::from_word(&text("kind")).unwrap_or(ErrorKind::Fatal);
    let code = text("code");
    let of_exit = match code.as_str() {
        // Nobody has what was asked for.
        "block_unavailable" | "no_source" => "not_found",
        other => other,
    };
    Failure::new(Exit::of(kind, of_exit), code, text("message")).hint(text("hint"))
}

#[derive(Serialize)]
struct ListDocument {
    url: String,
    fetched: Vec<Value>,
    next: Option<String>,
}

pub(crate) async fn list(context: &Context<'_>, arguments: &PinList) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let mut body = node
        .expect(&format!("/v1/fetched{}", page_query(&arguments.page)))
        .await?;
    let document = ListDocument {
        url: node.url,
        fetched: take_rows(&mut body, "fetched"),
        next: body["next"].as_str().map(str::to_owned),
    };
    context.output.answer(&document, |page| {
        let rows: Vec<Vec<String>> = document
            .fetched
            .iter()
            .map(|row| {
                let size = bytes_text(row["bytes"].as_u64().unwrap_or_default());
                vec![
                    text(row, "cid"),
                    text(row, "state"),
                    text(row, "blocks"),
                    size,
                    text(row, "at"),
                ]
            })
            .collect();
        page.table(&["CID", "STATE", "BLOCKS", "SIZE", "SINCE"], &rows);
        foot(page, rows.len(), "DAG", document.next.as_deref());
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_kind_of_the_last_line_decides_the_exit_code() {
        for (code, kind, exit) in [
            ("block_unavailable", json!("retry"), Exit::NotFound),
            ("no_source", json!("reject"), Exit::NotFound),
            ("dag_too_large", json!("reject"), Exit::Invalid),
            ("block_unreadable", json!("corrupt"), Exit::Invalid),
            ("storage", json!("fatal"), Exit::Failed),
            ("storage", json!("retry"), Exit::Unreachable),
            ("storage", Value::Null, Exit::Failed),
        ] {
            let failure = failed(&json!({"code": code, "kind": kind, "message": "no"}));
            assert_eq!(failure.exit, exit, "{code} {kind}");
        }
    }
}
