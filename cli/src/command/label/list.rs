//! `perennis label list`.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use perennis_sdk::client::{LabelFilter, LabelQuery, LabelScan, ListedLabel};
use perennis_sdk::store::Disk;
use perennis_shared::time::Millis;
use serde::Serialize;

use super::{
    LabelDocument, PAGE_LABELS, TimeTexts, cursor_text, filter_of, parse_cursor, parse_handle,
};
use crate::args::LabelList;
use crate::context::Context;
use crate::failure::Failure;
use crate::page::{Page, count, plain};
use crate::session::{Session, failure_of, parse_did};
use crate::when::{now, relative};

/// Pages that wait to be written while the next are read.
const PAGES_AHEAD: usize = 4;

/// What a list says before its labels.
#[derive(Serialize)]
struct ListBeginning {
    did: String,
    head: Option<String>,
}

/// What a list says behind its labels.
#[derive(Serialize)]
struct ListEnd {
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    staged: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<u64>,
}

/// A list for people.
struct ShownList {
    own: bool,
    labels: Vec<ListedLabel>,
    end: ListEnd,
}

/// Where the labels go that are read.
enum Sink {
    People(Vec<ListedLabel>),
    Programs(JsonLabels),
}

pub(super) async fn list(context: &Context<'_>, arguments: &LabelList) -> Result<(), Failure> {
    let filter = match &arguments.handle {
        Some(handle) => LabelFilter::Handle(parse_handle(handle)?),
        None => filter_of(arguments.prefix.as_deref())?,
    };
    let query = LabelQuery {
        filter,
        after: arguments.after.as_deref().map(parse_cursor).transpose()?,
        ..LabelQuery::default()
    };
    let session = Session::open_to_read(context, &arguments.nodes.urls).await?;
    let own = arguments.did.is_none();
    let (did, mut scan) = match &arguments.did {
        Some(did) => {
            let did = parse_did(did)?;
            let scan = session.client.scan_labels_of(&did, &query).await;
            let (_, scan) = scan.map_err(failure_of!())?;
            (did.to_string(), scan)
        }
        None => {
            let known = session.home.expect_identity()?;
            let scan = session.client.scan_labels(&query).await;
            (known.did, scan.map_err(failure_of!())?)
        }
    };
    let mut end = ListEnd {
        next: None,
        staged: own.then_some(scan.staged),
        damaged: Some(scan.damaged).filter(|rows| *rows > 0),
    };
    let beginning = ListBeginning {
        did,
        head: scan.head.map(|cid| cid.to_string()),
    };
    let mut sink = match context.output.is_json() {
        true => Sink::Programs(JsonLabels::begin(own)?),
        false => Sink::People(Vec::new()),
    };
    end.next = read(&mut scan, arguments, &mut sink).await?;
    if let Some(rows) = end.damaged {
        context.output.warn(format!(
            "{} of this home damaged or gone: changes that were not published may be missing here; see `perennis home check`",
            count(rows, "row")
        ));
    }
    match sink {
        Sink::Programs(labels) => {
            let labels = labels.finish()?;
            let text = spliced(&beginning, labels, &end).map_err(not_written)?;
            context.output.bytes(&text)
        }
        Sink::People(labels) => {
            let shown = ShownList { own, labels, end };
            context.output.answer(&(), |page| show_list(page, &shown))
        }
    }
}

/// Reads as many labels as were asked for; where the next page begins, if there is one and not all were asked for.
async fn read(
    scan: &mut LabelScan<'_, Disk>,
    arguments: &LabelList,
    sink: &mut Sink,
) -> Result<Option<String>, Failure> {
    let limit = match arguments.all {
        true => usize::MAX,
        false => arguments.limit as usize,
    };
    let (mut read, mut last) = (0, None);
    while read < limit {
        let several = PAGE_LABELS.min(limit - read);
        let page = scan.next(several).await.map_err(failure_of!())?;
        let Some(end) = page.last() else { break };
        last = Some(end.label.key());
        read += page.len();
        match sink {
            Sink::People(labels) => labels.extend(page),
            Sink::Programs(labels) => labels.push(page)?,
        }
    }
    let has_more = !arguments.all && !scan.next(1).await.map_err(failure_of!())?.is_empty();
    Ok(last.filter(|_| has_more).as_ref().map(cursor_text))
}

/// The labels of a list as JSON, written by another thread while the next are read: a list may have a million.
struct JsonLabels {
    pages: SyncSender<Vec<ListedLabel>>,
    writer: JoinHandle<serde_json::Result<Vec<u8>>>,
}

impl JsonLabels {
    fn begin(own: bool) -> Result<JsonLabels, Failure> {
        let (pages, written) = sync_channel::<Vec<ListedLabel>>(PAGES_AHEAD);
        let write = move || {
            let mut text = b"[".to_vec();
            for page in written {
                for label in documents(&page, own) {
                    if text.len() > 1 {
                        text.push(b',');
                    }
                    serde_json::to_writer(&mut text, &label)?;
                }
            }
            text.push(b']');
            Ok(text)
        };
        let writer = thread::Builder::new()
            .name("labels".to_owned())
            .spawn(write)
            .map_err(not_written)?;
        Ok(JsonLabels { pages, writer })
    }

    fn push(&self, page: Vec<ListedLabel>) -> Result<(), Failure> {
        let sent = self.pages.send(page);
        sent.map_err(|_| not_written(io::Error::other("its writer has ended")))
    }

    fn finish(self) -> Result<Vec<u8>, Failure> {
        drop(self.pages);
        let ended = self.writer.join();
        let ended = ended.map_err(|_| not_written(io::Error::other("its writer has ended")))?;
        ended.map_err(not_written)
    }
}

fn not_written(error: impl std::error::Error + 'static) -> Failure {
    Failure::failed("output", "the list cannot be written").because(&error)
}

/// One JSON document on one line: what stands before the labels, they, and what stands behind them.
fn spliced(
    beginning: &ListBeginning,
    labels: Vec<u8>,
    end: &ListEnd,
) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(beginning)?;
    text.pop();
    text.reserve_exact(labels.len() + 256);
    text.extend_from_slice(b",\"labels\":");
    text.extend(labels);
    text.push(b',');
    text.extend_from_slice(&serde_json::to_vec(end)?[1..]);
    text.push(b'\n');
    Ok(text)
}

fn documents(listed: &[ListedLabel], own: bool) -> impl Iterator<Item = LabelDocument> {
    let mut times = TimeTexts::default();
    listed.iter().map(move |listed| {
        let staged = own.then_some(listed.staged);
        LabelDocument::with_times(&listed.label, staged, &mut times)
    })
}

fn show_list(page: &mut Page, document: &ShownList) {
    let labels = document.labels.len();
    if labels == 0 {
        page.line("no labels");
    } else {
        let moment = now();
        let documents = documents(&document.labels, document.own);
        let rows: Vec<Vec<String>> = documents.map(|label| row(&label, moment)).collect();
        page.table(&["HANDLE", "LABEL", "ENDS", "NOTE", ""], &rows);
    }
    let mut remarks = vec![count(labels as u64, "label")];
    if let Some(staged @ 1..) = document.end.staged {
        remarks.push(format!("{} to publish", count(staged as u64, "change")));
    }
    if let Some(next) = &document.end.next {
        remarks.push(format!("more with --after {next}"));
    }
    let remarks = page.paint.dim(remarks.join(", "));
    page.line(remarks);
}

fn row(label: &LabelDocument, moment: Millis) -> Vec<String> {
    let ends = label
        .expires
        .as_deref()
        .and_then(|end| Millis::parse_rfc3339(end).ok())
        .map_or_else(String::new, |end| relative(end, moment));
    let name = if label.negated {
        format!("not {}", label.label)
    } else {
        label.label.clone()
    };
    let state = match label.staged {
        Some(true) => "staged",
        _ => "",
    };
    vec![
        label.handle.clone(),
        name,
        ends,
        label.note.as_deref().map_or_else(String::new, plain),
        state.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use perennis_shared::taglist::{Handle, Label, Tag};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_list_is_one_document_however_many_pages_it_has() {
        let label = |index: u64| ListedLabel {
            label: Label::new(
                Handle::parse(&format!("@u{index}")).unwrap(),
                Tag::parse("seen").unwrap(),
                Millis(1_790_000_000_000 + index % 2),
            ),
            staged: index == 3,
        };
        for (pages, next) in [
            (vec![], None),
            (vec![vec![label(1)]], Some("@u1/seen")),
            (vec![vec![label(1), label(2)], vec![label(3)]], None),
        ] {
            let labels = JsonLabels::begin(true).unwrap();
            let expected: Vec<Value> = pages
                .iter()
                .flatten()
                .map(|listed| json!(LabelDocument::new(&listed.label, Some(listed.staged))))
                .collect();
            for page in pages {
                labels.push(page).unwrap();
            }
            let end = ListEnd {
                next: next.map(str::to_owned),
                staged: Some(1),
                damaged: None,
            };
            let beginning = ListBeginning {
                did: "did:ipns:k51".into(),
                head: None,
            };
            let text = spliced(&beginning, labels.finish().unwrap(), &end).unwrap();
            assert!(text.ends_with(b"}\n") && !text[..text.len() - 1].contains(&b'\n'));
            let document: Value = serde_json::from_slice(&text).unwrap();
            let whole = json!({"did": "did:ipns:k51", "head": null, "labels": expected, "next": next, "staged": 1});
            assert_eq!(document, whole);
        }
    }
}
