//! `perennis node status`: how a node is, from what it says of itself.

use perennis_node::damage::Report;
use perennis_shared::time::Millis;
use serde::Serialize;
use serde_json::Value;

use super::value_text;
use crate::args::NodeStatus;
use crate::ask::NodeClient;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::page::{Page, bytes_text, plain, thousands};
use crate::when::{moment_text, now, span_text};

/// Least share of a disk that is left without a word about it.
const LOW_SPACE: u64 = 10;

#[derive(Serialize)]
struct StatusDocument {
    url: String,
    live: bool,
    ready: bool,
    /// Of `/health/ready`.
    status: Value,
    /// Of `/v1/status`; null where that does not answer, as while the store is opened.
    node: Value,
}

pub(super) async fn run(context: &Context<'_>, arguments: &NodeStatus) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let (live, _) = node.get("/health/live").await?;
    let (ready, status) = node.get("/health/ready").await?;
    let about = match node.get("/v1/status").await? {
        (200, about) => about,
        _ => Value::Null,
    };
    let document = StatusDocument {
        url: node.url.clone(),
        live: live == 200,
        ready: ready == 200,
        status,
        node: about,
    };
    context
        .output
        .answer(&document, |page| show(page, &document, now()))?;
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

fn show(page: &mut Page, document: &StatusDocument, now: Millis) {
    let state = match (document.live, document.ready) {
        (true, true) => page.paint.good("ready"),
        (true, false) => page.paint.warn("live, but not ready"),
        (false, _) => page.paint.bad("no perennis node"),
    };
    page.line(format!("{}  {state}", document.url));
    let reasons = document.status["reasons"].as_array();
    if let Some(reasons) = reasons.filter(|reasons| !reasons.is_empty()) {
        let reasons: Vec<String> = reasons.iter().map(value_text).collect();
        page.line(page.paint.warn(format!("because: {}", reasons.join(", "))));
    }
    if let Some(hint) = document.status["hint"].as_str() {
        page.line(plain(hint));
    }
    if let Some(opening) = document.status.get("opening").filter(|it| !it.is_null()) {
        page.line(format!("it opens its store: {}", value_text(opening)));
    }
    if document.node.is_object() {
        show_node(page, &document.node, now);
    }
    let damage = match document.node["damage"].is_object() {
        true => &document.node["damage"],
        false => &document.status["damage"],
    };
    tell_damage(page, damage);
}

fn show_node(page: &mut Page, node: &Value, now: Millis) {
    let text = |value: &Value| value.as_str().map(plain);
    let moment = |value: &Value| {
        let moment = Millis::parse_rfc3339(value.as_str()?).ok()?;
        Some(moment_text(moment, now))
    };
    let number = |value: &Value| value.as_u64();
    let p2p = &node["p2p"];
    let list = |value: &Value| {
        let items = value.as_array().filter(|items| !items.is_empty());
        items.map(|items| items.iter().map(value_text).collect::<Vec<_>>().join("\n"))
    };
    let store = &node["store"];
    let blocks = number(&store["blocks"]).zip(number(&store["bytes"]));
    let disk = &node["disk"];
    let disk = number(&disk["freeBytes"]).zip(number(&disk["totalBytes"]));
    let republish = &node["republish"];
    let routers = republish["routers"].as_array().map_or(0, Vec::len);
    let next = match (moment(&republish["nextAt"]), routers) {
        (_, 0) => Some("never: no router is configured".to_owned()),
        (Some(next), _) => Some(next),
        (None, _) => Some("nothing waits".to_owned()),
    };
    let uptime = number(&node["uptimeSeconds"]);
    page.fields(&[
        ("id", text(&node["node"])),
        ("peer id", text(&p2p["peerId"])),
        ("version", text(&node["version"])),
        (
            "up for",
            uptime.map(|seconds| span_text(seconds.saturating_mul(1_000))),
        ),
        ("names", number(&node["names"]).map(thousands)),
        (
            "blocks",
            blocks.map(|(blocks, bytes)| format!("{} in {}", thousands(blocks), bytes_text(bytes))),
        ),
        (
            "disk",
            disk.map(|(free, total)| {
                let line = format!("{} of {} free", bytes_text(free), bytes_text(total));
                match free < total / LOW_SPACE {
                    true => page.paint.warn(line),
                    false => line,
                }
            }),
        ),
        ("peers", number(&p2p["peers"]).map(thousands)),
        ("listens on", list(&p2p["listening"])),
        ("reached at", list(&p2p["external"])),
        ("routers", list(&republish["routers"])),
        ("next republish", next),
    ]);
    show_queues(page, node, &moment);
    let failing = node["workers"].as_array().into_iter().flatten();
    for worker in failing.filter(|worker| worker["lastError"].is_string()) {
        page.line(page.paint.warn(format!(
            "{}: {} ({})",
            value_text(&worker["name"]),
            value_text(&worker["lastError"]),
            moment(&worker["lastErrorAt"]).unwrap_or_default(),
        )));
    }
}

/// The queues in which something waits.
fn show_queues(page: &mut Page, node: &Value, moment: &impl Fn(&Value) -> Option<String>) {
    let queues = node["queues"].as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> = queues
        .filter_map(|queue| {
            let next = moment(&queue["next"])?;
            let due = queue["due"].as_u64().unwrap_or(0);
            let due = match due {
                1_000.. => "1,000 or more".to_owned(),
                due => thousands(due),
            };
            Some(vec![value_text(&queue["name"]), due, next])
        })
        .collect();
    if !rows.is_empty() {
        page.blank();
        page.table(&["QUEUE", "DUE", "NEXT"], &rows);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::page::Paint;

    fn shown(document: &StatusDocument) -> String {
        let mut page = Page::new(Paint::new(false), None);
        let now = Millis::parse_rfc3339("2026-11-30T12:00:00Z").unwrap();
        show(&mut page, document, now);
        page.text().to_owned()
    }

    #[test]
    fn a_node_is_shown_with_all_that_it_says_of_itself() {
        let document = StatusDocument {
            url: "http://127.0.0.1:4780".into(),
            live: true,
            ready: true,
            status: json!({"status": "ok", "reasons": []}),
            node: json!({
                "version": "0.1.0",
                "node": "did:key:z6Mk",
                "uptimeSeconds": 7_500,
                "p2p": {"peerId": "12D3", "listening": ["/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.4/udp/1/quic-v1"], "external": [], "peers": 12},
                "store": {"blocks": 1_234, "bytes": 5_242_880, "readOnly": false},
                "disk": {"freeBytes": 1_073_741_824u64, "totalBytes": 4_294_967_296u64},
                "names": 3,
                "queues": [
                    {"name": "fetch", "due": 2, "next": "2026-11-30T11:59:00Z"},
                    {"name": "ladder", "due": 0, "next": null},
                ],
                "republish": {"periodSeconds": 3_600, "routers": ["dht"], "nextAt": "2026-11-30T13:00:00Z"},
                "workers": [{"name": "scrub", "lastError": null}, {"name": "fetch", "lastError": "no source", "lastErrorAt": "2026-11-30T11:00:00Z"}],
                "damage": null,
            }),
        };
        let text = shown(&document);
        for part in [
            "http://127.0.0.1:4780  ready\n",
            "id              did:key:z6Mk\n",
            "peer id         12D3\n",
            "version         0.1.0\n",
            "up for          2 hours\n",
            "names           3\n",
            "blocks          1,234 in 5.00 MiB\n",
            "disk            1.00 GiB of 4.00 GiB free\n",
            "peers           12\n",
            "listens on      /ip4/1.2.3.4/tcp/1\n                /ip4/1.2.3.4/udp/1/quic-v1\n",
            "next republish  ",
            "QUEUE  DUE  NEXT\nfetch  2    ",
            "fetch: no source (",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("ladder"), "{text}");
    }

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        let document = StatusDocument {
            url: "http://127.0.0.1:4780".into(),
            live: true,
            ready: false,
            status: json!({"status": "unavailable", "reasons": ["disk_full"]}),
            node: Value::Null,
        };
        assert_eq!(
            shown(&document),
            "http://127.0.0.1:4780  live, but not ready\nbecause: disk_full\n"
        );
    }
}
