//! `perennis resolve`.

use perennis_sdk::client::ResolveStep;
use perennis_shared::did::Did;
use perennis_shared::ipns::Name;
use serde::Serialize;

use crate::args::Resolve;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::page::plain;
use crate::session::{Session, block_on, failure_of, parse_did, parse_name};
use crate::when::{moment_text, now};

/// What [`ResolveStep::source`] says when the record was here.
const CACHE: &str = "cache";

mod document;

pub(crate) fn run(context: &Context<'_>, arguments: &Resolve) -> Result<(), Failure> {
    match arguments.document {
        true => block_on(document::run(context, arguments)),
        false => block_on(resolve(context, arguments)),
    }
}

/// Where an identity points, in documents.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResolveDocument {
    /// None of a name whose key is of no identity.
    did: Option<String>,
    name: String,
    head: String,
    /// What follows the head in the record's value.
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
    sequence: u64,
    valid_until: String,
    source: String,
    /// The names on the way, the first of them the one above.
    steps: Vec<StepDocument>,
}

/// One name on the way to content.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StepDocument {
    name: String,
    /// Where its record points, as that says it.
    value: String,
    sequence: u64,
    valid_until: String,
    source: String,
}

impl StepDocument {
    fn new(step: &ResolveStep) -> StepDocument {
        StepDocument {
            name: step.name.to_string(),
            value: String::from_utf8_lossy(step.record.value()).into_owned(),
            sequence: step.record.sequence(),
            valid_until: step.record.validity().to_string(),
            source: source_text(&step.source),
        }
    }
}

async fn resolve(context: &Context<'_>, arguments: &Resolve) -> Result<(), Failure> {
    let named = arguments.did.as_deref().map(asked).transpose()?;
    let session = Session::open_to_read(context, &arguments.nodes.urls).await?;
    let known = session.home.identity()?;
    // The key of the own identity publishes under no name of its own.
    let is_own_key = |did: &Option<Did>| match (&known, did) {
        (Some(known), Some(did)) => known.did_key == did.to_string(),
        _ => false,
    };
    let (name, did) = match named.filter(|(_, did)| !is_own_key(did)) {
        Some(named) => named,
        None => {
            let did = parse_did(&session.home.expect_identity()?.did)?;
            (did.name(), Some(did))
        }
    };
    let spinner = context.output.spinner("resolving");
    let resolved = session.client.resolve_name(name, &[]).await;
    spinner.finish_and_clear();
    let is_key = did.is_some_and(|did| did.is_key());
    let resolved = resolved.map_err(failure_of!()).map_err(|failure| {
        match is_key && failure.exit == Exit::NotFound {
            true => failure.hint("the key itself has a document: add --document; who publishes with it has a did:ipns of another name"),
            false => failure,
        }
    })?;
    warn(context, &resolved.steps);
    let first = &resolved.steps[0];
    let document = ResolveDocument {
        did: did.map(|did| did.to_string()),
        name: name.to_string(),
        head: resolved.head.to_string(),
        path: resolved.path.clone(),
        sequence: first.record.sequence(),
        valid_until: first.record.validity().to_string(),
        source: source_text(&first.source),
        steps: resolved.steps.iter().map(StepDocument::new).collect(),
    };
    context.output.answer(&document, |page| {
        let until = first.record.validity().to_millis();
        page.fields(&[
            ("DID", document.did.clone()),
            ("name", Some(document.name.clone())),
            ("head", Some(document.head.clone())),
            (
                "path",
                Some(plain(&document.path)).filter(|path| !path.is_empty()),
            ),
            ("sequence", Some(document.sequence.to_string())),
            ("alive until", Some(moment_text(until, now()))),
            ("from", Some(document.source.clone())),
        ]);
        if document.steps.len() > 1 {
            let rows: Vec<Vec<String>> = document.steps.iter().map(row).collect();
            page.blank();
            page.table(&["NAME", "POINTS AT", "SEQUENCE", "FROM"], &rows);
        }
    })
}

/// A name of any key, and the DID that it is of where there is one.
fn asked(text: &str) -> Result<(Name, Option<Did>), Failure> {
    match parse_did(text) {
        Ok(did) => Ok((did.name(), Some(did))),
        Err(failure) => match parse_name(text) {
            Ok(name) => Ok((name, None)),
            Err(_) => Err(failure),
        },
    }
}

fn row(step: &StepDocument) -> Vec<String> {
    vec![
        step.name.clone(),
        plain(&step.value),
        step.sequence.to_string(),
        step.source.clone(),
    ]
}

/// The node that gave a record, or `local`.
pub(crate) fn source_text(source: &str) -> String {
    if source == CACHE {
        "local".to_owned()
    } else {
        source.to_owned()
    }
}

/// Tells what was wrong on the way, though the answer is good.
pub(crate) fn warn(context: &Context<'_>, steps: &[ResolveStep]) {
    for (index, step) in steps.iter().enumerate() {
        // Of the name that was asked for, it is clear which is meant.
        let of = match index == 0 {
            true => String::new(),
            false => format!(" of {}", step.name),
        };
        if step.equivocation.is_some() {
            context.output.warn(format!(
                "two records{of} of sequence {} contradict each other: its owner, or whoever has the key, signed both",
                step.record.sequence()
            ));
        }
        if let Some(refused) = &step.refused {
            context.output.warn(format!(
                "{} offered an older record{of} (sequence {}): refused",
                refused.source, refused.sequence
            ));
        }
    }
}
