//! `label import`: tables, taglist/v1 and other JSON, lists of accounts.

use std::path::Path;

use perennis_sdk::client::{LabelQuery, LabelScan};
use perennis_sdk::store::Disk;
use perennis_shared::limits::IMPORT_BYTES;
use perennis_shared::taglist::import::{self, Column, Import, ImportError, ImportOptions, Problem};
use perennis_shared::taglist::{Accounts, Label, LabelEdit, Mismatch, Op, Subject, differences};
use perennis_shared::time::Millis;
use serde::Serialize;

use super::{FieldDocument, PAGE_LABELS, parse_tags, waiting};
use crate::args::{LabelFormat, LabelImport};
use crate::context::Context;
use crate::failure::{Failure, root_cause, with_cause};
use crate::files::{self, name_of};
use crate::page::{Page, count, plain, thousands};
use crate::session::{Session, failure_of};
use crate::when::now;

/// Changes that a document tells.
const CHANGES_TOLD: usize = 1_000;

/// Changes, and other rows of a kind, that are shown to people.
const CHANGES_SHOWN: usize = 20;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportDocument {
    file: String,
    format: &'static str,
    encoding: &'static str,
    separator: Option<char>,
    dry_run: bool,
    rows: usize,
    added: usize,
    changed: usize,
    unchanged: usize,
    repeated: u64,
    invalid: Vec<InvalidRow>,
    invalid_rows: u64,
    left_out_fields: Vec<String>,
    mismatches: Vec<MismatchDocument>,
    mismatched: usize,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldDocument>,
}

/// Accounts whose handle and number do not go together.
#[derive(Serialize)]
struct MismatchDocument {
    kind: &'static str,
    handles: Vec<String>,
    ids: Vec<String>,
}

/// What an import would do to the list.
#[derive(Default)]
struct Plan {
    ops: Vec<Op>,
    changes: Vec<ChangedRow>,
    added: usize,
    changed: usize,
    unchanged: usize,
    accounts: Accounts,
    mismatches: Vec<MismatchDocument>,
    mismatched: usize,
}

pub(super) async fn import(context: &Context<'_>, arguments: &LabelImport) -> Result<(), Failure> {
    let name = name_of(&arguments.file);
    let moment = now();
    let options = options_of(arguments, moment)?;
    let bytes = files::read_bounded(&arguments.file, IMPORT_BYTES as u64)?;
    let format = arguments
        .format
        .or_else(|| format_by_name(&arguments.file))
        .unwrap_or_else(|| format_by_content(&bytes));
    let read = match format {
        LabelFormat::Csv => import::csv(&bytes, &options),
        LabelFormat::Json => import::json(&bytes, &options),
    }
    .map_err(|error| unreadable(&name, &error))?;
    drop(bytes);
    if read.problem_count() > 0 && !arguments.skip_invalid && !arguments.dry_run {
        return Err(refused(&name, &read));
    }
    let document = ImportDocument {
        file: name,
        format: format_text(format),
        encoding: read.form().encoding.as_str(),
        separator: read.form().separator,
        dry_run: arguments.dry_run,
        rows: read.valid_count(),
        added: 0,
        changed: 0,
        unchanged: 0,
        repeated: read.repeated(),
        invalid: read.problems().iter().map(InvalidRow::from).collect(),
        invalid_rows: read.problem_count(),
        left_out_fields: read.left_out().to_vec(),
        mismatches: Vec::new(),
        mismatched: 0,
        changes: Vec::new(),
        staged: 0,
    };
    let session = Session::open(context, &[]).await?;
    let spinner = context.output.spinner("comparing with the list");
    let query = LabelQuery {
        with_expired: true,
        ..LabelQuery::default()
    };
    let scan = session.client.scan_labels(&query).await;
    let scan = scan.map_err(failure_of!())?;
    let waited = scan.staged;
    let plan = plan(read.into_valid(), scan, moment).await?;
    spinner.finish_and_clear();
    // One commit: what is cut off leaves the list as it was.
    let staged = match arguments.dry_run || plan.ops.is_empty() {
        true => waited,
        false => {
            let spinner = context.output.spinner("staging");
            let staged = session.client.stage(&plan.ops).await;
            spinner.finish_and_clear();
            staged.map_err(failure_of!())?
        }
    };
    let document = ImportDocument {
        added: plan.added,
        changed: plan.changed,
        unchanged: plan.unchanged,
        mismatches: plan.mismatches,
        mismatched: plan.mismatched,
        changes: plan.changes,
        staged,
        ..document
    };
    context
        .output
        .answer(&document, |page| show_import(page, &document))
}

fn options_of(arguments: &LabelImport, moment: Millis) -> Result<ImportOptions, Failure> {
    let mut options = ImportOptions {
        now: moment,
        ..ImportOptions::default()
    };
    if let Some(label) = &arguments.label {
        options.label = Some(parse_tags(std::slice::from_ref(label))?.swap_remove(0));
    }
    for pair in &arguments.map {
        let refused = || {
            Failure::usage(format!("--map does not say COLUMN=FIELD: {}", plain(pair))).hint(
                "name a column and the field of the file that has it, such as handle=screen_name; columns are handle, label, note, colour, source, id, created, updated, expires and negated",
            )
        };
        let (column, field) = pair.split_once('=').ok_or_else(refused)?;
        let column = Column::parse(column).ok_or_else(refused)?;
        if field.is_empty() || options.map.iter().any(|(known, _)| *known == column) {
            return Err(refused());
        }
        options.map.push((column, field.to_owned()));
    }
    Ok(options)
}

impl From<&Problem> for InvalidRow {
    fn from(problem: &Problem) -> Self {
        Self {
            row: problem.place.line,
            message: with_cause(problem),
        }
    }
}

impl From<Mismatch> for MismatchDocument {
    fn from(mismatch: Mismatch) -> Self {
        match mismatch {
            Mismatch::Renamed { id, first, other } => Self {
                kind: "renamed",
                handles: vec![first.to_string(), other.to_string()],
                ids: vec![id.to_string()],
            },
            Mismatch::Reused {
                handle,
                first,
                other,
            } => Self {
                kind: "reused",
                handles: vec![handle.to_string()],
                ids: vec![first.to_string(), other.to_string()],
            },
        }
    }
}

impl MismatchDocument {
    fn text(&self) -> String {
        let (handles, ids) = (self.handles.join(" and "), self.ids.join(" and "));
        match self.kind {
            "renamed" => format!("account {ids} is {handles}: it seems to have been renamed"),
            _ => format!("{handles} is the accounts {ids}: the handle seems to have changed hands"),
        }
    }
}

fn show_import(page: &mut Page, document: &ImportDocument) {
    for change in document.changes.iter().take(CHANGES_SHOWN) {
        let fields: Vec<String> = change.fields.iter().map(FieldDocument::text).collect();
        let fields = fields.join(", ");
        let line = match change.change {
            "added" => page
                .paint
                .good(format!("+ {} {}", change.handle, change.label)),
            _ => page
                .paint
                .warn(format!("~ {} {}  {fields}", change.handle, change.label)),
        };
        page.line(line);
    }
    let changes = document.added + document.changed;
    more(page, changes);
    for row in document.invalid.iter().take(CHANGES_SHOWN) {
        let left_out = page.paint.bad("left out");
        page.line(format!("{left_out} {}", row.message));
    }
    more(
        page,
        usize::try_from(document.invalid_rows).unwrap_or(usize::MAX),
    );
    for mismatch in document.mismatches.iter().take(CHANGES_SHOWN) {
        let line = page.paint.warn(mismatch.text());
        page.line(line);
    }
    more(page, document.mismatched);
    if !document.left_out_fields.is_empty() {
        let fields: Vec<String> = document
            .left_out_fields
            .iter()
            .map(|name| plain(name))
            .collect();
        let line = page
            .paint
            .dim(format!("fields left out: {}", fields.join(", ")));
        page.line(line);
    }
    let separator = match document.separator {
        Some('\t') => ", separated by tabs".to_owned(),
        Some(separator) => format!(", separated by {separator}"),
        None => String::new(),
    };
    let form = page
        .paint
        .dim(format!("read as {}{separator}", document.encoding));
    page.line(form);
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

/// Says how many there are beyond those that are shown.
fn more(page: &mut Page, all: usize) {
    if all > CHANGES_SHOWN {
        let rest = thousands((all - CHANGES_SHOWN) as u64);
        let more = page.paint.dim(format!("… and {rest} more"));
        page.line(more);
    }
}

/// Compares what a file says with the list; both are sorted by key. Times alone make no difference: a file without times
/// would change all.
async fn plan(
    edits: Vec<LabelEdit>,
    mut scan: LabelScan<'_, Disk>,
    moment: Millis,
) -> Result<Plan, Failure> {
    let mut plan = Plan::default();
    let mut edits = edits.into_iter().peekable();
    loop {
        let page = scan.next(PAGE_LABELS).await.map_err(failure_of!())?;
        let is_last = page.is_empty();
        for listed in page {
            let before = listed.label;
            let key = before.key();
            while let Some(edit) = edits.next_if(|edit| edit.key() < key) {
                plan.take(&edit, None, moment);
            }
            match edits.next_if(|edit| edit.key() == key) {
                Some(edit) => plan.take(&edit, Some(&before), moment),
                None => plan.observe(&before.subject),
            }
        }
        if is_last {
            for edit in edits {
                plan.take(&edit, None, moment);
            }
            return Ok(plan);
        }
    }
}

impl Plan {
    fn take(&mut self, edit: &LabelEdit, before: Option<&Label>, moment: Millis) {
        let label = edit.apply(before, moment);
        if let Some(before) = before {
            self.observe(&before.subject);
        }
        self.observe(&label.subject);
        let fields = before.map(|before| differences(before, &label));
        let change = match &fields {
            None => {
                self.added += 1;
                "added"
            }
            Some(fields) if fields.is_empty() => {
                self.unchanged += 1;
                return;
            }
            Some(_) => {
                self.changed += 1;
                "changed"
            }
        };
        if self.changes.len() < CHANGES_TOLD {
            self.changes.push(ChangedRow {
                change,
                handle: label.subject.handle.to_string(),
                label: label.label.to_string(),
                fields: fields.into_iter().flatten().map(Into::into).collect(),
            });
        }
        self.ops.push(Op::Set(label));
    }

    fn observe(&mut self, subject: &Subject) {
        for mismatch in self.accounts.observe(subject) {
            self.mismatched += 1;
            if self.mismatches.len() < CHANGES_TOLD {
                self.mismatches.push(mismatch.into());
            }
        }
    }
}

fn unreadable(name: &str, error: &ImportError) -> Failure {
    let hint = match error {
        ImportError::NoLabel | ImportError::ColumnMissing("label") => {
            "name the label for all rows with --label, such as --label spam"
        }
        ImportError::ColumnUnknown(_)
        | ImportError::ColumnMissing(_)
        | ImportError::NotMapped(_) => {
            "say which field of the file is which column with --map, such as --map handle=screen_name; fields that are not named are then left out"
        }
        _ => "give --format csv or json, and see `perennis label export` for the form",
    };
    Failure::invalid(
        "invalid_file",
        format!("{name} cannot be read: {}", root_cause(error)),
    )
    .hint(hint)
}

/// The first problems and how many there are; nothing was staged.
fn refused(name: &str, import: &Import) -> Failure {
    const TOLD: usize = 3;
    let told: Vec<String> = import
        .problems()
        .iter()
        .take(TOLD)
        .map(|problem| with_cause(problem))
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

pub(super) fn format_by_name(path: &Path) -> Option<LabelFormat> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    match ending.as_str() {
        "csv" | "tsv" | "tab" => Some(LabelFormat::Csv),
        "json" | "jsonl" | "ndjson" => Some(LabelFormat::Json),
        _ => None,
    }
}

fn format_by_content(bytes: &[u8]) -> LabelFormat {
    // A byte order mark, and the zero bytes of UTF-16, are no content.
    let is_content = |byte: &&u8| {
        !byte.is_ascii_whitespace() && !matches!(byte, 0 | 0xef | 0xbb | 0xbf | 0xfe | 0xff)
    };
    match bytes.iter().find(is_content) {
        Some(b'{' | b'[') => LabelFormat::Json,
        _ => LabelFormat::Csv,
    }
}

pub(super) fn format_text(format: LabelFormat) -> &'static str {
    match format {
        LabelFormat::Csv => "csv",
        LabelFormat::Json => "json",
    }
}
