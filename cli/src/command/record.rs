//! `perennis record inspect` and `record verify`.

use std::path::Path;

use perennis_shared::ipns::{Name, Record, RecordError, UnverifiedRecord};
use perennis_shared::limits::RECORD_BYTES;
use perennis_shared::time::Millis;
use serde::Serialize;

use crate::args::{RecordCommand, RecordInspect, RecordVerify};
use crate::context::Context;
use crate::failure::{Failure, with_cause};
use crate::files;
use crate::page::{bytes_text, plain};
use crate::session::parse_name;
use crate::when::{moment_text, now, span_text};

pub(crate) fn run(context: &Context<'_>, command: &RecordCommand) -> Result<(), Failure> {
    match command {
        RecordCommand::Inspect(arguments) => inspect(context, arguments),
        RecordCommand::Verify(arguments) => verify(context, arguments),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspection {
    value: String,
    sequence: u64,
    validity: String,
    ttl_ns: u64,
    expired: bool,
    v1: bool,
    bytes: usize,
}

fn inspect(context: &Context<'_>, arguments: &RecordInspect) -> Result<(), Failure> {
    let bytes = read_record(&arguments.file)?;
    let record = UnverifiedRecord::parse(&bytes).map_err(|error| {
        Failure::invalid(error.code(), with_cause(&error))
            .hint("check that the file is a whole IPNS record")
    })?;
    let now = now();
    let document = Inspection {
        value: String::from_utf8_lossy(record.value()).into_owned(),
        sequence: record.sequence(),
        validity: record.validity().to_string(),
        ttl_ns: record.ttl_ns(),
        expired: record.validity().to_millis() <= now,
        v1: record.has_v1(),
        bytes: bytes.len(),
    };
    context.output.answer(&document, |page| {
        page.fields(&[
            ("value", Some(plain(&document.value))),
            ("sequence", Some(document.sequence.to_string())),
            (
                "valid until",
                Some(moment_text(record.validity().to_millis(), now)),
            ),
            ("cache for", Some(span_text(document.ttl_ns / 1_000_000))),
            (
                "signatures",
                Some(if document.v1 { "v1 and v2" } else { "v2" }.to_owned()),
            ),
            ("size", Some(bytes_text(bytes.len() as u64))),
        ]);
        let note = "unverified: `perennis record verify FILE --name NAME` checks it";
        let note = page.paint.dim(note);
        page.line(note);
    })
}

/// What the contract promises; the fields of a record are told only when its signature is valid.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    valid: bool,
    reason: Option<&'static str>,
    value: Option<String>,
    sequence: Option<u64>,
    validity: Option<String>,
    ttl_ns: Option<u64>,
    signature: Option<&'static str>,
}

fn verify(context: &Context<'_>, arguments: &RecordVerify) -> Result<(), Failure> {
    let name = parse_name(&arguments.name)?;
    let bytes = read_record(&arguments.file)?;
    let now = now();
    let (verdict, cause) = judge(&bytes, &name, now);
    context.output.answer(&verdict, |page| {
        let line = match &cause {
            None => page.paint.good("valid"),
            Some(cause) => format!("{}: {cause}", page.paint.bad("not valid")),
        };
        page.line(line);
        page.fields(&[
            ("value", verdict.value.as_deref().map(plain)),
            (
                "sequence",
                verdict.sequence.map(|number| number.to_string()),
            ),
            ("validity", verdict.validity.clone()),
            (
                "cache for",
                verdict.ttl_ns.map(|ttl| span_text(ttl / 1_000_000)),
            ),
        ]);
    })?;
    if verdict.valid {
        Ok(())
    } else {
        Err(Failure::verdict())
    }
}

fn judge(bytes: &[u8], name: &Name, now: Millis) -> (Verdict, Option<String>) {
    let refused = |error: RecordError| {
        // Only these two come after the record was read and before its signature was found good.
        let signature =
            matches!(error, RecordError::BadSignature | RecordError::WrongKey).then_some("invalid");
        let verdict = Verdict {
            reason: Some(error.code()),
            signature,
            ..Verdict::default()
        };
        (verdict, Some(with_cause(&error)))
    };
    let record = UnverifiedRecord::parse(bytes).and_then(|record| record.verify_at_any_time(name));
    let record = match record {
        Ok(record) => record,
        Err(error) => return refused(error),
    };
    if record.is_expired(now) {
        let expired = RecordError::Expired {
            validity: record.validity(),
        };
        let verdict = Verdict {
            reason: Some(expired.code()),
            ..told(&record)
        };
        return (verdict, Some(expired.to_string()));
    }
    let verdict = Verdict {
        valid: true,
        ..told(&record)
    };
    (verdict, None)
}

fn told(record: &Record) -> Verdict {
    Verdict {
        valid: false,
        reason: None,
        value: Some(String::from_utf8_lossy(record.value()).into_owned()),
        sequence: Some(record.sequence()),
        validity: Some(record.validity().to_string()),
        ttl_ns: Some(record.ttl_ns()),
        signature: Some("valid"),
    }
}

/// Reads one byte more than a record may have, so that the record's own rule refuses what is too large.
fn read_record(path: &Path) -> Result<Vec<u8>, Failure> {
    let most = RECORD_BYTES as u64 + 1;
    files::read_start(path, most)
}
