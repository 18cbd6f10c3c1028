//! `perennis label prove` and `label verify`: what a list says about one label, for somebody who has only the file.

use perennis_shared::limits::LABEL_PROOF_BYTES;
use perennis_shared::log::{LabelProof, LabelProofError, ProvenLabel};
use perennis_shared::taglist::tree::Proven;
use perennis_shared::taglist::{Handle, Key, Tag};
use serde::Serialize;

use super::{LabelDocument, parse_handle, parse_tags};
use crate::args::{LabelProve, LabelVerify};
use crate::context::Context;
use crate::failure::{Failure, with_cause};
use crate::files::{Existing, is_dash, read_start, write_atomically};
use crate::page::{Page, bytes_text};
use crate::session::{Session, failure_of, parse_did};
use crate::when::{moment_text, now};

/// What a list says about a label.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum Says {
    /// It has the label.
    Present,
    /// The label was removed.
    Removed,
    /// It never had it, or has forgotten that it was removed.
    Absent,
}

impl Says {
    fn of(proven: &Proven) -> Self {
        match proven {
            Proven::Present(row) if row.label.is_some() => Self::Present,
            Proven::Present(_) => Self::Removed,
            Proven::Absent => Self::Absent,
        }
    }

    fn text(self, handle: &Handle, tag: &Tag) -> String {
        match self {
            Self::Present => format!("{handle} has the label {tag}"),
            Self::Removed => format!("the label {tag} was taken off {handle}"),
            Self::Absent => format!("{handle} does not have the label {tag}"),
        }
    }
}

#[derive(Serialize)]
struct ProveDocument {
    did: String,
    handle: String,
    label: String,
    says: Says,
    head: String,
    file: String,
    bytes: usize,
}

pub(super) async fn prove(context: &Context<'_>, arguments: &LabelProve) -> Result<(), Failure> {
    let to_stdout = is_dash(&arguments.out);
    if to_stdout && context.output.is_json() {
        return Err(Failure::usage("with --json the proof goes to a file")
            .hint("name one with --out FILE, or leave --json out to have the proof on stdout"));
    }
    let existing = Existing::unless_forced(&arguments.out, arguments.force)?;
    let handle = parse_handle(&arguments.handle)?;
    let tag = parse_tags(std::slice::from_ref(&arguments.label))?.swap_remove(0);
    let key = Key::new(&handle, &tag);
    let named = arguments.did.as_deref().map(parse_did).transpose()?;
    let session = Session::open_to_read(context, &arguments.nodes.urls).await?;
    let did = match named {
        Some(did) => did,
        None => parse_did(&session.home.expect_identity()?.did)?,
    };
    let proof = session
        .client
        .prove(&did, &key)
        .await
        .map_err(failure_of!())?;
    // What is handed out has been checked the way its reader will.
    let proven = proof.verify(&did.name(), now()).map_err(|error| {
        Failure::failed("proof", "the proof that was made does not hold").because(&error)
    })?;
    let bytes = proof.to_bytes();
    if to_stdout {
        return context.output.bytes(&bytes);
    }
    write_atomically(&arguments.out, &bytes, existing, false)?;
    let says = Says::of(&proven.proven);
    let document = ProveDocument {
        did: did.to_string(),
        handle: handle.to_string(),
        label: tag.to_string(),
        says,
        head: proven.entry.cid().to_string(),
        file: arguments.out.display().to_string(),
        bytes: bytes.len(),
    };
    context.output.answer(&document, |page| {
        page.line(says.text(&handle, &tag));
        page.fields(&[
            ("by", Some(document.did.clone())),
            ("file", Some(document.file.clone())),
            ("size", Some(bytes_text(document.bytes as u64))),
        ]);
    })
}

/// What a proof file is worth.
#[derive(Clone, Copy, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Worth {
    /// The identity says so.
    Valid,
    /// The parts agree with each other, but nothing leads from the name to them: anybody can make such a file.
    Unproven,
    /// A part is damaged, of somebody else, or no proof at all.
    #[default]
    Invalid,
}

/// The fields below `did` are told only when the proof is valid.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    verdict: Worth,
    valid: bool,
    reason: Option<String>,
    did: String,
    handle: Option<String>,
    label: Option<String>,
    says: Option<Says>,
    details: Option<LabelDocument>,
    head: Option<String>,
    signed: Option<String>,
    sequence: Option<u64>,
    valid_until: Option<String>,
}

pub(super) fn verify(context: &Context<'_>, arguments: &LabelVerify) -> Result<(), Failure> {
    let did = parse_did(&arguments.did)?;
    // One byte more than a proof may have, so that the proof's own rule refuses what is too large.
    let bytes = read_start(&arguments.file, LABEL_PROOF_BYTES as u64 + 1)?;
    let now = now();
    let shown = match LabelProof::from_bytes(&bytes) {
        Ok(proof) => proof.verify(&did.name(), now).map_err(|error| {
            let worth = match error {
                LabelProofError::Unproven => Worth::Unproven,
                _ => Worth::Invalid,
            };
            (worth, with_cause(&error))
        }),
        Err(error) => Err((Worth::Invalid, with_cause(&error))),
    };
    let verdict = match &shown {
        Ok(shown) => told_by(shown),
        Err((worth, reason)) => Verdict {
            verdict: *worth,
            reason: Some(reason.clone()),
            ..Verdict::default()
        },
    };
    let verdict = Verdict {
        did: did.to_string(),
        ..verdict
    };
    context.output.answer(&verdict, |page| match &shown {
        Ok(shown) => show(page, &verdict, shown),
        Err((worth, reason)) => {
            let word = match worth {
                Worth::Unproven => "unproven",
                Worth::Valid | Worth::Invalid => "not valid",
            };
            let line = format!("{}: {reason}", page.paint.bad(word));
            page.line(line);
        }
    })?;
    let Ok(shown) = shown else {
        return Err(Failure::verdict());
    };
    match &shown.record {
        Some(record) if record.is_expired(now) => context.output.warn(
            "the record of this proof has ended: ask for a newer proof to know what the list says now",
        ),
        Some(_) => {}
        None => context.output.warn(
            "the proof has no record: the key of the name signed it, but the list may never have been published",
        ),
    }
    Ok(())
}

fn told_by(shown: &ProvenLabel) -> Verdict {
    let details = match &shown.proven {
        Proven::Present(row) => row.label.as_ref(),
        Proven::Absent => None,
    };
    let record = shown.record.as_ref();
    Verdict {
        verdict: Worth::Valid,
        valid: true,
        handle: Some(shown.key.handle().to_string()),
        label: Some(shown.key.label().to_string()),
        says: Some(Says::of(&shown.proven)),
        details: details.map(|label| LabelDocument::new(label, None)),
        head: Some(shown.entry.cid().to_string()),
        signed: Some(shown.entry.clock().millis().to_string()),
        sequence: record.map(|record| record.sequence()),
        valid_until: record.map(|record| record.validity().to_string()),
        ..Verdict::default()
    }
}

fn show(page: &mut Page, verdict: &Verdict, shown: &ProvenLabel) {
    let says = Says::of(&shown.proven).text(&shown.key.handle(), &shown.key.label());
    let line = format!("{}: {says}", page.paint.good("valid"));
    page.line(line);
    let moment = now();
    page.fields(&[
        ("says", Some(verdict.did.clone())),
        ("signed", verdict.signed.clone()),
        ("head", verdict.head.clone()),
        (
            "sequence",
            verdict.sequence.map(|sequence| sequence.to_string()),
        ),
        (
            "alive until",
            shown
                .record
                .as_ref()
                .map(|record| moment_text(record.validity().to_millis(), moment)),
        ),
    ]);
}
