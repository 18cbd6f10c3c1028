#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

/// What `/metrics` says: the description of every metric in its order, and then what a node has that did nothing yet. Dashboards and
/// alerts ask for these words.
const EXPOSITION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/exposition.txt");

/// Asks for the file to be written instead of compared.
const UPDATE: &str = "UPDATE_DOCUMENTS";

fn text(metrics: &Metrics) -> String {
    metrics.text(StoreSizes::default()).unwrap()
}

/// The samples, each block of which has its labels in the order of the alphabet.
fn samples(text: &str) -> String {
    let mut sorted = String::new();
    let mut block: Vec<&str> = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            block.sort_unstable();
            sorted.extend(block.drain(..).flat_map(|line| [line, "\n"]));
        } else {
            block.push(line);
        }
    }
    sorted
}

fn descriptions(text: &str) -> String {
    let lines = text.lines().filter(|line| line.starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// What operators read about metrics.
const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATIONS.md");

#[test]
fn every_metric_stands_in_a_table_for_operators() {
    let metrics = Metrics::new();
    // As above.
    metrics.request_answered("status", StatusCode::OK, Instant::now());
    let took = Duration::from_secs(1);
    metrics
        .probe
        .measured("dht", Operation::Publish, ProbeOutcome::Ok, took);
    let guide = std::fs::read_to_string(GUIDE).unwrap();
    let rows: Vec<&str> = guide
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let missing: Vec<String> = text(&metrics)
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => format!("`{name}_total`"),
            _ => format!("`{name}`"),
        })
        .filter(|name| !rows.iter().any(|row| row.contains(name.as_str())))
        .collect();
    assert!(missing.is_empty(), "not in {GUIDE}: {missing:?}");
}

#[test]
fn names_types_units_and_help_are_what_dashboards_know() {
    let metrics = Metrics::new();
    let fresh = samples(&text(&metrics));
    // These are not shown before they have a label.
    metrics.request_answered("status", StatusCode::OK, Instant::now());
    let took = Duration::from_secs(1);
    metrics
        .probe
        .measured("dht", Operation::Publish, ProbeOutcome::Ok, took);
    let shown = descriptions(&text(&metrics)) + &fresh;
    if std::env::var_os(UPDATE).is_some() {
        return std::fs::write(EXPOSITION, shown).unwrap();
    }
    assert_eq!(
        shown,
        std::fs::read_to_string(EXPOSITION).unwrap(),
        "\nwhere a metric is new, write {EXPOSITION} with\n\
         {UPDATE}=1 cargo test -p perennis-node --no-default-features --lib metrics"
    );
}
