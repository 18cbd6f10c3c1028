//! `label import` and `label export`: CSV and taglist/v1 JSON.

use std::collections::BTreeMap;
use std::path::Path;

use perennis_sdk::client::LabelQuery;
use perennis_shared::limits::IMPORT_BYTES;
use perennis_shared::taglist::import::{self, Import, ImportError, Problem};
use perennis_shared::taglist::{Key, Label, Op, export as text};
use serde::Serialize;

use super::{PAGE_LABELS, filter_of, waiting};
use crate::args::{LabelExport, LabelFormat, LabelImport};
use crate::context::Context;
use crate::failure::{Failure, with_causes};
use crate::files::{self, Existing, is_dash, name_of, write_atomically};
use crate::page::{Page, bytes_text, count, thousands};
use crate::session::{Session, failure_of};
use crate::when::now;

/// Changes that a document tells.
const CHANGES_TOLD: usize = 1_000;

/// Changes that are shown to people.
const CHANGES_SHOWN: usize = 20;

/// Changes staged at a time.
const STAGED_AT_ONCE: usize = 10_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportDocument {
    file: String,
    format: &'static str,
    dry_run: bool,
    rows: usize,
    added: usize,
    changed: usize,
    unchanged: usize,
    invalid: Vec<InvalidRow>,
    changes: Vec<ChangedRow>,
    staged: usize,
}

#[derive(Serialize)]
struct InvalidRow {
    row: u64,
    message: String,
}

#[derive(Serialize)]
struct ChangedRow {
    change: &'static str,
    handle: String,
    label: String,
}

/// What an import would do to the list.
#[derive(Default)]
struct Plan {
    ops: Vec<Op>,
    changes: Vec<ChangedRow>,
    added: usize,
    changed: usize,
    unchanged: usize,
}

pub(super) async fn import(context: &Context<'_>, arguments: &LabelImport) -> Result<(), Failure> {
    let name = name_of(&arguments.file);
    let bytes = files::read_bounded(&arguments.file, IMPORT_BYTES as u64)?;
    let format = arguments
        .format
        .or_else(|| format_by_name(&arguments.file))
        .unwrap_or_else(|| format_by_content(&bytes));
    let read = match format {
        LabelFormat::Csv => import::csv(&bytes, now()),
        LabelFormat::Json => import::compat(&bytes),
    }
    .map_err(|error| unreadable(&name, &error))?;
    let invalid: Vec<InvalidRow> = read.problems().iter().map(InvalidRow::from).collect();
    if !invalid.is_empty() && !arguments.skip_invalid && !arguments.dry_run {
        return Err(refused(&name, &read));
    }
    let labels = read.into_valid();
    let rows = labels.len();

    let session = Session::open(context, &[]).await?;
    let own = own_labels(context, &session).await?;
    let plan = plan(labels, &own);
    let mut staged = session.client.staged().await.map_err(failure_of!())?.len();
    if !arguments.dry_run {
        let bar = context.output.bar("staging", plan.ops.len() as u64);
        for ops in plan.ops.chunks(STAGED_AT_ONCE) {
            staged = session.client.stage(ops).await.map_err(failure_of!())?;
            bar.inc(ops.len() as u64);
        }
        bar.finish_and_clear();
    }
    let document = ImportDocument {
        file: name,
        format: format_text(format),
        dry_run: arguments.dry_run,
        rows,
        added: plan.added,
        changed: plan.changed,
        unchanged: plan.unchanged,
        invalid,
        changes: plan.changes,
        staged,
    };
    context
        .output
        .answer(&document, |page| show_import(page, &document))
}

impl From<&Problem> for InvalidRow {
    fn from(problem: &Problem) -> Self {
        Self {
            row: problem.place.line,
            message: with_causes(problem),
        }
    }
}

fn show_import(page: &mut Page, document: &ImportDocument) {
    for change in document.changes.iter().take(CHANGES_SHOWN) {
        let mark = if change.change == "added" { "+" } else { "~" };
        let line = format!("{mark} {} {}", change.handle, change.label);
        let line = if mark == "+" {
            page.paint.good(line)
        } else {
            page.paint.warn(line)
        };
        page.line(line);
    }
    let changes = document.added + document.changed;
    if changes > CHANGES_SHOWN {
        let more = page.paint.dim(format!(
            "… and {} more",
            thousands((changes - CHANGES_SHOWN) as u64)
        ));
        page.line(more);
    }
    for row in &document.invalid {
        let left_out = page.paint.bad("left out");
        page.line(format!("{left_out} {}", row.message));
    }
    page.line(format!(
        "{} read: {} added, {} changed, {} unchanged",
        count(document.rows as u64, "row"),
        thousands(document.added as u64),
        thousands(document.changed as u64),
        thousands(document.unchanged as u64)
    ));
    if document.dry_run {
        let line = page
            .paint
            .dim("nothing was changed: run it without --dry-run to do it");
        page.line(line);
    } else {
        waiting(page, document.staged);
    }
}

/// Compares what a file says with the list. Times alone make no difference: a file without times would change all.
fn plan(labels: Vec<Label>, own: &BTreeMap<Key, Label>) -> Plan {
    let mut plan = Plan::default();
    for mut label in labels {
        let change = match own.get(&label.key()) {
            None => "added",
            Some(before) => {
                let same = Label {
                    created: before.created,
                    updated: before.updated,
                    ..label.clone()
                };
                if same == *before {
                    plan.unchanged += 1;
                    continue;
                }
                label.created = before.created;
                "changed"
            }
        };
        if change == "added" {
            plan.added += 1;
        } else {
            plan.changed += 1;
        }
        if plan.changes.len() < CHANGES_TOLD {
            plan.changes.push(ChangedRow {
                change,
                handle: label.subject.handle.to_string(),
                label: label.label.to_string(),
            });
        }
        plan.ops.push(Op::Set(label));
    }
    plan
}

async fn own_labels(
    context: &Context<'_>,
    session: &Session,
) -> Result<BTreeMap<Key, Label>, Failure> {
    let spinner = context.output.spinner("reading the list");
    let labels = all_labels(session, None).await;
    spinner.finish_and_clear();
    Ok(labels?
        .into_iter()
        .map(|label| (label.key(), label))
        .collect())
}

async fn all_labels(session: &Session, prefix: Option<&str>) -> Result<Vec<Label>, Failure> {
    let mut query = LabelQuery {
        filter: filter_of(prefix)?,
        limit: PAGE_LABELS,
        with_expired: true,
        ..LabelQuery::default()
    };
    let mut labels = Vec::new();
    loop {
        let page = session.client.labels(&query).await.map_err(failure_of!())?;
        labels.extend(page.labels.into_iter().map(|listed| listed.label));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(labels),
        }
    }
}

fn unreadable(name: &str, error: &ImportError) -> Failure {
    Failure::invalid(
        "invalid_file",
        format!("{name} cannot be read: {}", with_causes(error)),
    )
    .hint("give --format csv or json, and see `perennis label export` for the form")
}

/// The first problems and how many there are; nothing was staged.
fn refused(name: &str, import: &Import) -> Failure {
    const TOLD: usize = 3;
    let told: Vec<String> = import
        .problems()
        .iter()
        .take(TOLD)
        .map(|problem| with_causes(problem))
        .collect();
    let more = import.problem_count().saturating_sub(told.len() as u64);
    let more = if more > 0 {
        format!(" (and {more} more)")
    } else {
        String::new()
    };
    Failure::invalid("invalid_rows", format!("{name}: {}{more}", told.join("; ")))
        .hint("correct those rows, or leave them out with --skip-invalid; nothing was imported")
}

#[derive(Serialize)]
struct ExportDocument {
    file: String,
    format: &'static str,
    labels: usize,
    bytes: usize,
}

pub(super) async fn export(context: &Context<'_>, arguments: &LabelExport) -> Result<(), Failure> {
    let to_stdout = is_dash(&arguments.file);
    if to_stdout && context.output.is_json() {
        return Err(Failure::usage("with --json the list goes to a file")
            .hint("name a FILE, or leave --json out to have the list on stdout"));
    }
    let format = arguments
        .format
        .or_else(|| format_by_name(&arguments.file))
        .unwrap_or(LabelFormat::Csv);
    let session = Session::open(context, &[]).await?;
    let labels = all_labels(&session, arguments.prefix.as_deref()).await?;
    let content = match format {
        LabelFormat::Csv => text::csv(&labels),
        LabelFormat::Json => {
            let compat = text::compat(&labels);
            if compat.left_out > 0 {
                context.output.warn(format!(
                    "{} left out: taglist/v1 cannot say that a label does not apply",
                    count(compat.left_out, "label")
                ));
            }
            compat.text
        }
    };
    if to_stdout {
        return context.output.bytes(content.as_bytes());
    }
    write_atomically(
        &arguments.file,
        content.as_bytes(),
        Existing::Replace,
        false,
    )?;
    let document = ExportDocument {
        file: arguments.file.display().to_string(),
        format: format_text(format),
        labels: labels.len(),
        bytes: content.len(),
    };
    context.output.answer(&document, |page| {
        page.fields(&[
            ("file", Some(document.file.clone())),
            ("labels", Some(count(document.labels as u64, "label"))),
            ("size", Some(bytes_text(document.bytes as u64))),
        ]);
    })
}

fn format_by_name(path: &Path) -> Option<LabelFormat> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    match ending.as_str() {
        "csv" => Some(LabelFormat::Csv),
        "json" => Some(LabelFormat::Json),
        _ => None,
    }
}

fn format_by_content(bytes: &[u8]) -> LabelFormat {
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | b'[') => LabelFormat::Json,
        _ => LabelFormat::Csv,
    }
}

fn format_text(format: LabelFormat) -> &'static str {
    match format {
        LabelFormat::Csv => "csv",
        LabelFormat::Json => "json",
    }
}
