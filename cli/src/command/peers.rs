//! `perennis peers …`, `provide` and `providers`: a node as a peer of others.

use perennis_shared::cid::Cid;
use perennis_shared::uri;
use serde_json::{Value, json};

use super::node::value_text;
use crate::args::{PeersBan, PeersCommand, PeersConnect, PeersList, Provide, Providers};
use crate::ask::{Method, NodeClient};
use crate::context::Context;
use crate::failure::{Failure, root_cause};
use crate::page::{count, plain};
use crate::session::block_on;

pub(crate) fn run(context: &Context<'_>, command: &PeersCommand) -> Result<(), Failure> {
    match command {
        PeersCommand::List(arguments) => block_on(list(context, arguments)),
        PeersCommand::Connect(arguments) => block_on(connect(context, arguments)),
        PeersCommand::Ban(arguments) => block_on(ban(context, arguments, true)),
        PeersCommand::Unban(arguments) => block_on(ban(context, arguments, false)),
    }
}

async fn list(context: &Context<'_>, arguments: &PeersList) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let body = node.expect("/v1/peers").await?;
    context.output.answer(&body, |page| {
        page.fields(&[
            ("peer", body["peerId"].as_str().map(plain)),
            ("listening", Some(words(&body["listening"]))),
            ("inbound", Some(value_text(&body["inbound"]["open"]))),
            ("refused", Some(value_text(&body["inbound"]["refused"]))),
            ("gave way", Some(value_text(&body["inbound"]["gaveWay"]))),
        ]);
        let rows: Vec<Vec<String>> = items(&body["peers"])
            .map(|peer| {
                let direction = if peer["inbound"] == true { "in" } else { "out" };
                let latency = peer["latencyMs"].as_f64();
                vec![
                    plain(&value_text(&peer["peerId"])),
                    direction.to_owned(),
                    latency.map_or_else(String::new, |ms| format!("{ms:.1} ms")),
                    peer["agent"].as_str().map(plain).unwrap_or_default(),
                    plain(&value_text(&peer["address"])),
                ]
            })
            .collect();
        page.table(&["PEER", "", "LATENCY", "AGENT", "ADDRESS"], &rows);
        let line = page.paint.dim(count(rows.len() as u64, "peer"));
        page.line(line);
    })
}

async fn connect(context: &Context<'_>, arguments: &PeersConnect) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let wanted = json!({ "address": arguments.address });
    let body = node
        .send(Method::Post, "/v1/peers/connect", Some(&wanted))
        .await?;
    context.output.answer(&body, |page| {
        let line = page.paint.good("connected");
        page.line(format!("{line} {}", plain(&value_text(&body["peerId"]))));
    })
}

async fn ban(context: &Context<'_>, arguments: &PeersBan, banned: bool) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let method = if banned { Method::Put } else { Method::Delete };
    let path = format!("/v1/peers/{}/ban", segment(&arguments.peer)?);
    let body = node.send(method, &path, None).await?;
    context.output.answer(&body, |page| {
        let word = if banned { "banned" } else { "unbanned" };
        let line = page.paint.good(word);
        page.line(format!("{line} {}", plain(&value_text(&body["peerId"]))));
    })
}

pub(crate) fn provide(context: &Context<'_>, arguments: &Provide) -> Result<(), Failure> {
    block_on(async {
        let node = NodeClient::of_operator(&arguments.node)?;
        let path = format!("/v1/providers/{}", checked_cid(&arguments.cid)?);
        let body = node.send(Method::Post, &path, None).await?;
        context.output.answer(&body, |page| {
            let line = page.paint.good("told");
            page.line(format!("{line} {} peers", value_text(&body["reached"])));
        })
    })
}

pub(crate) fn providers(context: &Context<'_>, arguments: &Providers) -> Result<(), Failure> {
    block_on(async {
        let node = NodeClient::new(context, &arguments.node)?;
        let cid = checked_cid(&arguments.cid)?;
        let path = format!("/v1/providers/{cid}?limit={}", arguments.limit);
        let body = node.expect(&path).await?;
        context.output.answer(&body, |page| {
            let rows: Vec<Vec<String>> = items(&body["providers"])
                .map(|provider| {
                    vec![
                        plain(&value_text(&provider["peerId"])),
                        words(&provider["addresses"]),
                    ]
                })
                .collect();
            page.table(&["PEER", "ADDRESSES"], &rows);
            let line = page.paint.dim(count(rows.len() as u64, "provider"));
            page.line(line);
        })
    })
}

pub(super) fn checked_cid(text: &str) -> Result<Cid, Failure> {
    uri::parse_cid(text).map_err(|error| {
        let cause = root_cause(&error);
        let cause = cause.strip_prefix("not a CID: ").unwrap_or(&cause);
        Failure::usage(format!("{text:?} is no CID: {cause}"))
            .hint("write it as bafy…, Qm… or ipfs://bafy…")
    })
}

/// A peer id as a segment of a path.
fn segment(text: &str) -> Result<&str, Failure> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(text);
    }
    Err(Failure::usage(format!("{text:?} is no peer id")).hint("`perennis peers list` shows them"))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn words(list: &Value) -> String {
    let texts: Vec<String> = items(list).map(|item| plain(&value_text(item))).collect();
    texts.join(" ")
}
