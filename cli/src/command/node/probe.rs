//! `perennis node probe`: how fast a node publishes and resolves through each route, as a table and as bars.

use std::time::Duration;

use bytes::Bytes;
use perennis_rt::http::Request;
use serde_json::Value;

use super::value_text;
use crate::args::NodeProbe;
use crate::ask::NodeClient;
use crate::context::Context;
use crate::failure::Failure;
use crate::page::{Page, plain};

/// How long a round may take: its own deadlines are shorter.
const ROUND: Duration = Duration::from_secs(120);

/// Letters of the longest bar.
const BAR: u64 = 32;

/// What is measured through each route.
const OPERATIONS: [&str; 2] = ["publish", "resolve"];

pub(super) async fn run(context: &Context<'_>, arguments: &NodeProbe) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let body = if arguments.now {
        let request = Request::post(node.at("/v1/probe"), "application/json", Bytes::new());
        let spinner = context.output.spinner("publishing and resolving");
        let body = node.change(request.within(ROUND)).await;
        spinner.finish_and_clear();
        body?
    } else {
        node.expect("/v1/probe").await?
    };
    context.output.answer(&body, |page| show(page, &body))
}

fn show(page: &mut Page, body: &Value) {
    let period = match body["periodSeconds"].as_u64() {
        Some(seconds) if seconds % 60 == 0 => format!("every {} min", seconds / 60),
        Some(seconds) => format!("every {seconds} s"),
        None => "only when asked with --now".to_owned(),
    };
    page.fields(&[
        ("canary", Some(value_text(&body["name"]))),
        ("measured", Some(period)),
        ("rounds", Some(value_text(&body["rounds"]))),
    ]);
    page.blank();
    let routes = body["routes"].as_array().map_or(&[][..], Vec::as_slice);
    if routes.is_empty() {
        page.line("there is no route: see p2p.dht, p2p.pubsub and ipns.routers");
        return;
    }
    page.table(
        &[
            "ROUTE",
            "OPERATION",
            "OK",
            "STALE",
            "FAILED",
            "P50",
            "P90",
            "P99",
            "MAX",
            "LAST",
        ],
        &rows(routes),
    );
    for route in routes {
        let name = plain(&value_text(&route["route"]));
        if let Some(why) = route["idle"].as_str() {
            let line = page.paint.dim(format!("{name}: {}", plain(why)));
            page.line(line);
        }
        for operation in OPERATIONS {
            if let Some(error) = route[operation]["lastError"].as_str() {
                let at = plain(&value_text(&route[operation]["lastErrorAt"]));
                let line = format!("{name}: {operation} failed at {at}: {}", plain(error));
                let line = page.paint.warn(line);
                page.line(line);
            }
        }
    }
    for route in routes {
        for operation in OPERATIONS {
            let name = plain(&value_text(&route["route"]));
            bars(page, &format!("{name}, {operation}"), &route[operation]);
        }
    }
}

fn rows(routes: &[Value]) -> Vec<Vec<String>> {
    let row = |route: &Value, operation: &str| {
        let of = &route[operation];
        let mut cells = vec![plain(&value_text(&route["route"])), operation.to_owned()];
        cells.extend(["ok", "stale", "failed"].map(|field| value_text(&of[field])));
        cells.extend(["p50Ms", "p90Ms", "p99Ms", "maxMs"].map(|field| {
            let millis = of[field].as_f64();
            millis.map_or_else(|| "-".to_owned(), time_text)
        }));
        cells.push(of["lastOutcome"].as_str().map(plain).unwrap_or_default());
        cells
    };
    routes
        .iter()
        .flat_map(|route| OPERATIONS.map(|operation| row(route, operation)))
        .collect()
}

/// A bar for each class of the histogram, from the first to the last that holds something.
fn bars(page: &mut Page, title: &str, of: &Value) {
    let buckets: Vec<(Option<u64>, u64)> = of["buckets"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|bucket| {
            (
                bucket["upToMs"].as_u64(),
                bucket["count"].as_u64().unwrap_or(0),
            )
        })
        .collect();
    let is_filled = |(_, count): &(Option<u64>, u64)| *count > 0;
    let (Some(first), Some(last)) = (
        buckets.iter().position(is_filled),
        buckets.iter().rposition(is_filled),
    ) else {
        return;
    };
    page.blank();
    let title = page.paint.strong(title);
    page.line(title);
    let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(1);
    for (up_to, count) in &buckets[first..=last] {
        let class = match up_to {
            Some(millis) => format!("≤ {}", time_text(*millis as f64)),
            None => "more".to_owned(),
        };
        let bar = "█".repeat((count * BAR).div_ceil(most) as usize);
        page.line(format!("{class:>10}  {bar} {count}"));
    }
}

/// `0.8 ms`, `12 ms`, `3.5 s`
fn time_text(millis: f64) -> String {
    if millis >= 1_000.0 {
        format!("{} s", (millis / 100.0).round() / 10.0)
    } else if millis >= 10.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{} ms", (millis * 10.0).round() / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::page::Paint;

    #[test]
    fn times_read_well() {
        for (millis, text) in [
            (0.04, "0 ms"),
            (0.84, "0.8 ms"),
            (9.0, "9 ms"),
            (12.4, "12 ms"),
            (1_000.0, "1 s"),
            (3_456.0, "3.5 s"),
        ] {
            assert_eq!(time_text(millis), text);
        }
    }

    #[test]
    fn bars_go_from_the_first_to_the_last_class_that_holds_something() {
        let mut page = Page::new(Paint::new(false), None);
        let of = json!({"buckets": [
            {"upToMs": 1, "count": 0},
            {"upToMs": 50, "count": 64},
            {"upToMs": 250, "count": 0},
            {"upToMs": 1_000, "count": 1},
            {"upToMs": null, "count": 0},
        ]});
        bars(&mut page, "dht, resolve", &of);
        let long = "█".repeat(32);
        assert_eq!(
            page.text(),
            format!("\ndht, resolve\n   ≤ 50 ms  {long} 64\n  ≤ 250 ms   0\n     ≤ 1 s  █ 1\n")
        );
        let mut page = Page::new(Paint::new(false), None);
        bars(&mut page, "dht, resolve", &json!({"buckets": []}));
        assert!(page.text().is_empty());
    }
}
