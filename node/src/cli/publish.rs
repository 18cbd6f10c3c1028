//! `perennis publish`, and what `log compact` shares with it: sending to nodes and telling each one's outcome.

use perennis_sdk::client::{PublishOptions, PublishOutcome};
use perennis_sdk::error::{ErrorKind, Retryable as _};
use serde::Serialize;

use super::Context;
use super::args::Publish;
use super::failure::{Exit, Failure, next_step, with_causes};
use super::page::Page;
use super::session::{Session, block_on, told};
use super::unlock::unlock;
use super::when::{moment_text, now, parse_span};

pub(crate) fn run(context: &Context<'_>, arguments: &Publish) -> Result<(), Failure> {
    block_on(publish(context, arguments))
}

/// A publish in documents.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PublishDocument {
    pub(crate) did: String,
    pub(crate) name: String,
    pub(crate) sequence: u64,
    pub(crate) head: String,
    pub(crate) valid_until: String,
    pub(crate) nodes: Vec<NodeDocument>,
}

/// What became of it at one node.
#[derive(Serialize)]
pub(crate) struct NodeDocument {
    url: String,
    stored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<NodeErrorDocument>,
    #[serde(skip)]
    exit: Option<Exit>,
}

#[derive(Serialize)]
struct NodeErrorDocument {
    code: String,
    message: String,
    hint: String,
}

async fn publish(context: &Context<'_>, arguments: &Publish) -> Result<(), Failure> {
    let options = PublishOptions {
        lifetime: parse_span(&arguments.lifetime, "--lifetime")?,
        ttl: parse_span(&arguments.ttl, "--ttl")?,
        ..PublishOptions::default()
    };
    let session = Session::open(context, &arguments.nodes.urls).await?;
    let known = session.home.expect_identity()?;
    let identity = unlock(context, &session.home, &known)?;
    let spinner = context.output.spinner("publishing");
    let published = session
        .client
        .publish(&identity, &session.nodes, &options)
        .await;
    spinner.finish_and_clear();
    let outcome = published.map_err(told!())?;
    let told = document(&known.did, &outcome);
    send(context, &session, &outcome, &told, &told)
}

/// Remembers the nodes that stored it, tells each outcome, and fails when none stored it.
pub(crate) fn send<T: Serialize>(
    context: &Context<'_>,
    session: &Session,
    outcome: &PublishOutcome,
    told: &T,
    published: &PublishDocument,
) -> Result<(), Failure> {
    let nodes = &published.nodes;
    let stored: Vec<String> = nodes
        .iter()
        .filter(|node| node.stored)
        .map(|node| node.url.clone())
        .collect();
    if !stored.is_empty() {
        session.home.remember_nodes(&stored)?;
    }
    let until = outcome.valid_until.to_millis();
    context.output.answer(told, |page| {
        show_nodes(page, nodes);
        if stored.is_empty() {
            return;
        }
        page.fields(&[
            ("name", Some(published.name.clone())),
            ("sequence", Some(published.sequence.to_string())),
            ("head", Some(published.head.clone())),
            ("alive until", Some(moment_text(until, now()))),
        ]);
    })?;
    if !stored.is_empty() {
        return Ok(());
    }
    let exit = failure_exit(nodes);
    if !context.output.is_json() {
        context.output.failure(
            &Failure::new(exit, "not_stored", "no node stored it")
                .hint("what was signed is kept here: run `perennis publish` again"),
        );
    }
    Err(Failure::told(exit))
}

pub(crate) fn document(did: &str, outcome: &PublishOutcome) -> PublishDocument {
    let nodes = outcome.nodes.iter().map(|node| {
        let error = node.error.as_deref();
        let exit = error.map(|error| match error.kind() {
            ErrorKind::Retry => Exit::Unreachable,
            ErrorKind::Reject | ErrorKind::Corrupt => Exit::Invalid,
            ErrorKind::Fatal => Exit::Failed,
        });
        NodeDocument {
            url: node.url.to_string(),
            stored: node.stored,
            error: error.zip(exit).map(|(error, exit)| NodeErrorDocument {
                code: error.code().to_owned(),
                message: with_causes(error),
                hint: next_step(error.code(), exit).to_owned(),
            }),
            exit,
        }
    });
    PublishDocument {
        did: did.to_owned(),
        name: outcome.name.to_string(),
        sequence: outcome.sequence,
        head: outcome.head.to_string(),
        valid_until: outcome.valid_until.to_string(),
        nodes: nodes.collect(),
    }
}

fn show_nodes(page: &mut Page, nodes: &[NodeDocument]) {
    for node in nodes {
        let line = match &node.error {
            None => format!("{} {}", page.paint.good("stored"), node.url),
            Some(error) => format!(
                "{} {}: {}",
                page.paint.bad("not stored"),
                node.url,
                error.message
            ),
        };
        page.line(line);
    }
}

/// 5 when a retry may help with any node; else what the first one's refusal means.
fn failure_exit(nodes: &[NodeDocument]) -> Exit {
    let mut exits = nodes.iter().filter_map(|node| node.exit);
    if exits.clone().any(|exit| exit == Exit::Unreachable) {
        return Exit::Unreachable;
    }
    exits.next().unwrap_or(Exit::Failed)
}
