//! `perennis publish`, and what `log compact` shares with it: sending to nodes and telling each one's outcome.

use perennis_sdk::client::{PublishOptions, PublishOutcome};
use perennis_shared::error::Retryable as _;
use perennis_shared::ipns::LadderPlan;
use perennis_shared::limits::{LADDER_RUNGS, LADDER_STEP_MAX, LADDER_STEP_MIN};
use serde::Serialize;

use crate::args::Publish;
use crate::ask::tokens_of;
use crate::context::Context;
use crate::failure::{Exit, Failure, next_step, with_cause};
use crate::page::{Page, count};
use crate::session::{Session, block_on, failure_of};
use crate::unlock::unlock;
use crate::when::{moment_text, now, parse_span};

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
    pub(crate) rungs: usize,
    pub(crate) alive_until: String,
    pub(crate) nodes: Vec<NodeDocument>,
    pub(crate) outdated: Vec<OutdatedLabel>,
}

/// A label whose change was not made, because another device had published a later one.
#[derive(Serialize)]
pub(crate) struct OutdatedLabel {
    handle: String,
    label: String,
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
    let mut options = options(arguments)?;
    let session = Session::open(context, &arguments.nodes.urls).await?;
    options.tokens = tokens_of(&session, &arguments.token)?;
    let known = session.home.expect_identity()?;
    let identity = unlock(context, &session.home, &known)?;
    let spinner = context.output.spinner("publishing");
    let published = session
        .client
        .publish(&identity, &session.nodes, &options)
        .await;
    spinner.finish_and_clear();
    let outcome = published.map_err(failure_of!())?;
    let told = document(&known.did, &outcome);
    send(context, &session, &outcome, &told, &told)
}

/// What is named holds from now on, so a record is signed for it also where the present one would do.
fn options(arguments: &Publish) -> Result<PublishOptions, Failure> {
    let mut options = PublishOptions::default();
    if let Some(lifetime) = &arguments.lifetime {
        options.lifetime = parse_span(lifetime, "--lifetime")?;
        options.renew = true;
    }
    if let Some(ttl) = &arguments.ttl {
        options.ttl = parse_span(ttl, "--ttl")?;
        options.renew = true;
    }
    if let Some(ladder) = &arguments.ladder {
        options.ladder = Some(parse_ladder(ladder)?).filter(|plan| plan.rungs > 0);
        options.renew = true;
    }
    options.compact = !arguments.keep_log;
    if arguments.no_ladder {
        options.ladder = None;
        options.renew = true;
    }
    Ok(options)
}

/// A ladder as `12x30d`: a number of rungs, `x`, and the span between their ends.
fn parse_ladder(text: &str) -> Result<LadderPlan, Failure> {
    let refused = || {
        Failure::usage(format!(
            "--ladder is not a number and a span of time: {text:?}"
        ))
        .hint("write the number of rungs (at most 24), x, and the time between them: 12x30d, 4x1w")
    };
    let (rungs, step) = text.split_once('x').ok_or_else(refused)?;
    let plan = LadderPlan {
        rungs: rungs.parse().map_err(|error| refused().because(&error))?,
        step: parse_span(step, "--ladder")?,
    };
    if plan.rungs == 0 {
        return Err(Failure::usage(format!("--ladder has no rungs: {text:?}"))
            .hint("sign none with --no-ladder, or write how many there are (at most 24): 12x30d"));
    }
    let is_usable =
        plan.rungs <= LADDER_RUNGS && (LADDER_STEP_MIN..=LADDER_STEP_MAX).contains(&plan.step);
    if is_usable { Ok(plan) } else { Err(refused()) }
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
    warn_of_outdated(context, &published.outdated);
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
            (
                "renewed until",
                (outcome.rungs > 0).then(|| moment_text(outcome.alive_until.to_millis(), now())),
            ),
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
        // Not `Exit::of`: that a node refuses is 3, whatever it does not find.
        let exit = error.map(|error| Exit::from(error.kind()));
        NodeDocument {
            url: node.url.to_string(),
            stored: node.stored,
            error: error.zip(exit).map(|(error, exit)| NodeErrorDocument {
                code: error.code().to_owned(),
                message: with_cause(error),
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
        rungs: outcome.rungs,
        alive_until: outcome.alive_until.to_string(),
        nodes: nodes.collect(),
        outdated: outcome
            .outdated
            .iter()
            .map(|key| OutdatedLabel {
                handle: key.handle().to_string(),
                label: key.label().to_string(),
            })
            .collect(),
    }
}

/// Says which changes were not made, the first of them by name.
fn warn_of_outdated(context: &Context<'_>, outdated: &[OutdatedLabel]) {
    const NAMED: usize = 5;
    if outdated.is_empty() {
        return;
    }
    let named = outdated.iter().take(NAMED);
    let named: Vec<String> = named
        .map(|label| format!("{} {}", label.handle, label.label))
        .collect();
    let more = if outdated.len() > NAMED { ", …" } else { "" };
    context.output.warn(format!(
        "{} not made, because another device has published a later one of the same label: {}{more}",
        count(outdated.len() as u64, "change"),
        named.join(", ")
    ));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::*;

    #[test]
    fn what_is_named_is_signed_for_with_nothing_staged() {
        let parse = |flags: &[&str]| {
            let arguments = ["perennis", "publish"].iter().chain(flags);
            match crate::args::Cli::try_parse_from(arguments).map(|cli| cli.command) {
                Ok(crate::args::Command::Publish(arguments)) => options(&arguments).unwrap(),
                _ => panic!("{flags:?} is no publish"),
            }
        };
        let usual = parse(&[]);
        assert_eq!(usual.lifetime, PublishOptions::default().lifetime);
        assert!(!usual.renew);
        for flags in [
            &["--lifetime", "30d"][..],
            &["--ttl", "1m"],
            &["--ladder", "2x30d"],
            &["--no-ladder"],
        ] {
            assert!(parse(flags).renew, "{flags:?}");
        }
        assert_eq!(parse(&["--no-ladder"]).ladder, None);
        assert_eq!(parse(&["--ttl", "1m"]).ttl, Duration::from_secs(60));
    }

    #[test]
    fn ladders_are_read_as_they_are_shown() {
        let plan = parse_ladder("12x30d").unwrap();
        assert_eq!(plan, LadderPlan::default());
        assert_eq!(plan.to_string(), "12x30d");
        assert_eq!(parse_ladder("2x90s").unwrap().step, Duration::from_secs(90));
        for text in [
            "", "12", "x30d", "12x", "25x30d", "1x0s", "1x2y", "-1x30d", "12 x 30d",
        ] {
            assert!(parse_ladder(text).is_err(), "{text}");
        }
        let none = parse_ladder("0x1d").unwrap_err();
        assert!(none.hint.contains("--no-ladder"), "{}", none.hint);
    }
}
