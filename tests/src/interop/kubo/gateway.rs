//! What both path gateways answer to the same questions about a directory that was added there and fetched here.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::measure;
use crate::node::{Answer, request};

/// A range that reaches from one block into the next.
const RANGE: &str = "range: bytes=262140-262150";

/// A path below the root, and headers.
const QUESTIONS: &[(&str, &[&str])] = &[
    ("", &[]),
    ("/site", &[]),
    ("/site/", &[]),
    ("/site/index.html", &[]),
    ("/a%20b/", &[]),
    ("/a%20b/%C3%BC.json", &[]),
    ("/a%20b/%C3%BC.json?filename=x.json", &[]),
    ("/a%20b/%C3%BC.json?filename=x.json&download=true", &[]),
    ("/a%20b/words", &[]),
    ("/a%20b/none", &[]),
    ("/large.png", &[]),
    ("/large.png", &[RANGE]),
    ("/large.png", &["range: bytes=-5"]),
    ("/large.png", &["range: bytes=999999-"]),
    ("/large.png?format=raw", &[]),
    ("/large.png?format=dag-json", &[]),
    ("?format=raw", &[]),
    ("/site/", &["if-none-match: *"]),
    ("/none", &["cache-control: only-if-cached"]),
];

/// Headers that have to be the same; of a page that each writes itself without its tag.
const HEADERS: &[&str] = &[
    "content-type",
    "content-length",
    "content-range",
    "content-disposition",
    "cache-control",
    "location",
    "x-ipfs-roots",
    "etag",
];

/// Writes what is added.
pub(super) fn write_site(folder: &Path) -> Result<()> {
    let write = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, content).with_context(|| name.to_owned())
    };
    write("site/index.html", b"<!DOCTYPE html><title>mine</title>")?;
    write("a b/\u{fc}.json", b"{\"a\": 1}")?;
    write("a b/words", b"plain words\n")?;
    write("large.png", &measure::bytes(600_000, 7))
}

/// Asks both about the same root, and compares what they say. Gives how many questions there were.
///
/// # Errors
/// They differ.
pub(super) fn compare(ours: &str, theirs: &str, root: &str) -> Result<usize> {
    for (path, headers) in QUESTIONS {
        let asked = format!("/ipfs/{root}{path}");
        let ask = |url: &str| {
            let address = url.trim_start_matches("http://").trim_end_matches('/');
            request(address, "GET", &asked, headers, b"").context("no answer")
        };
        let (ours, theirs) = (ask(ours)?, ask(theirs)?);
        let question = format!("{asked} {headers:?}");
        ensure!(
            ours.status == theirs.status,
            "{question}: {} here, {} there",
            ours.status,
            theirs.status
        );
        if ours.status >= 400 {
            continue;
        }
        let is_page = ours
            .header("etag")
            .is_some_and(|tag| tag.contains("dirindex"));
        let compared: &[&str] = match ours.status {
            301 => &["location"],
            304 => &["etag", "cache-control"],
            _ => HEADERS,
        };
        for name in compared {
            if is_page && matches!(*name, "etag" | "content-type" | "content-length") {
                continue;
            }
            let values = [&ours, &theirs].map(|answer| said(answer, name));
            ensure!(
                values[0] == values[1],
                "{question}: {name} is {:?} here, {:?} there",
                values[0],
                values[1]
            );
        }
        if !is_page && ours.status < 300 {
            ensure!(ours.body == theirs.body, "{question}: other bytes");
        }
    }
    Ok(QUESTIONS.len())
}

/// A header as it is compared: Kubo says each name in both forms, and a body without bytes may be said to have none.
fn said(answer: &Answer, name: &str) -> Option<String> {
    let value = answer.header(name)?;
    let value = match name {
        "content-disposition" => value.split("; filename*").next().unwrap_or(value),
        "content-length" if value == "0" => return None,
        _ => value,
    };
    Some(value.to_owned())
}
