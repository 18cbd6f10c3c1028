//! `label export`: CSV and taglist/v1 JSON.

use perennis_shared::taglist::{Label, export as text};
use serde::Serialize;

use super::import::{format_by_name, format_text};
use super::{filter_of, labels_by};
use crate::args::{LabelExport, LabelFormat};
use crate::context::Context;
use crate::failure::Failure;
use crate::files::{Existing, is_dash, write_atomically};
use crate::page::{bytes_text, count};
use crate::session::Session;
use crate::when::now;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportDocument {
    file: String,
    format: &'static str,
    labels: usize,
    left_out: LeftOut,
    bytes: usize,
}

/// Labels that are not in the file, or not whole.
#[derive(Default, Serialize)]
struct LeftOut {
    /// They have ended.
    ended: u64,
    /// taglist/v1 cannot say that a label does not apply.
    negated: u64,
    /// taglist/v1 names no account by its number.
    numbered: u64,
    /// taglist/v1 has no place for their notes, colours, sources, numbers and ends.
    shortened: u64,
}

pub(super) async fn export(context: &Context<'_>, arguments: &LabelExport) -> Result<(), Failure> {
    let to_stdout = is_dash(&arguments.file);
    if to_stdout && context.output.is_json() {
        return Err(Failure::usage("with --json the list goes to a file")
            .hint("name a FILE, or leave --json out to have the list on stdout"));
    }
    let existing = Existing::unless_forced(&arguments.file, arguments.force)?;
    let format = arguments
        .format
        .or_else(|| format_by_name(&arguments.file))
        .unwrap_or(LabelFormat::Csv);
    let session = Session::open_to_read(context, &[]).await?;
    let mut labels = all_labels(&session, arguments.prefix.as_deref()).await?;
    let moment = now();
    let mut left_out = LeftOut::default();
    if !arguments.with_ended {
        let all = labels.len();
        labels.retain(|label| !label.is_expired(moment));
        left_out.ended = (all - labels.len()) as u64;
    }
    let mut written = labels.len();
    let content = match format {
        LabelFormat::Csv => text::csv(&labels),
        LabelFormat::Json => {
            let compat = text::compat(&labels);
            left_out.negated = compat.negated;
            left_out.numbered = compat.numbered;
            left_out.shortened = compat.shortened;
            written -= usize::try_from(compat.negated + compat.numbered).unwrap_or(written);
            compat.text
        }
    };
    tell(context, &left_out);
    if to_stdout {
        return context.output.bytes(content.as_bytes());
    }
    write_atomically(&arguments.file, content.as_bytes(), existing, false)?;
    let document = ExportDocument {
        file: arguments.file.display().to_string(),
        format: format_text(format),
        labels: written,
        left_out,
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

fn tell(context: &Context<'_>, left_out: &LeftOut) {
    let told = [
        (
            left_out.ended,
            "left out: ended (--with-ended takes them along)",
        ),
        (
            left_out.negated,
            "left out: taglist/v1 cannot say that a label does not apply",
        ),
        (
            left_out.numbered,
            "left out: taglist/v1 names no account by its number",
        ),
        (
            left_out.shortened,
            "without note, colour, source, id or end: taglist/v1 has no place for them",
        ),
    ];
    for (labels, why) in told {
        if labels > 0 {
            context
                .output
                .warn(format!("{} {why}", count(labels, "label")));
        }
    }
}

async fn all_labels(session: &Session, prefix: Option<&str>) -> Result<Vec<Label>, Failure> {
    labels_by(session, filter_of(prefix)?).await
}
