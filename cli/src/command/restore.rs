//! `perennis restore`: everything back from the passphrase alone.

use perennis_sdk::client::{LabelQuery, Resolved};
use perennis_shared::did::{Identity, Profile};
use serde::Serialize;

use super::home::warn_of_damage;
use super::id::Facts;
use super::label::PAGE_LABELS;
use super::resolve::{source_text, warn};
use crate::args::Restore;
use crate::context::Context;
use crate::failure::Failure;
use crate::home::Home;
use crate::page::count;
use crate::secret::Passphrase;
use crate::session::{Session, block_on, failure_of};
use crate::unlock::{derivation_of, derive, profile_of, read_passphrase};
use crate::when::{moment_text, now};

pub(crate) fn run(context: &Context<'_>, arguments: &Restore) -> Result<(), Failure> {
    block_on(restore(context, arguments))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RestoreDocument {
    #[serde(flatten)]
    facts: Facts,
    name: String,
    head: String,
    sequence: u64,
    valid_until: String,
    labels: usize,
    blocks: usize,
    source: String,
}

async fn restore(context: &Context<'_>, arguments: &Restore) -> Result<(), Failure> {
    // Asked before anything is made: whoever gives up at the prompt leaves nothing behind.
    let derivations = derivations(&context.home()?, arguments)?;
    let phrase = read_passphrase(context, "Passphrase: ")?;
    let home = context.home()?;
    let is_new = !home.dir().exists();
    let session = Session::open(context, &arguments.nodes.urls).await?;
    let restored = bring_back(context, &session, &phrase, &derivations).await;
    let (identity, account, resolved) = match restored {
        Ok(restored) => restored,
        Err(failure) => {
            drop(session);
            if is_new {
                home.remove_unused();
            }
            return Err(failure);
        }
    };
    warn(context, &resolved.steps);
    if resolved.record.is_expired(now()) {
        context.output.warn(format!(
            "the record of this identity ended at {}, and nobody resolves it since: `perennis publish` makes it live again",
            resolved.valid_until
        ));
    }
    let facts = Facts::of(&identity, account);
    let created = session
        .home
        .identity()?
        .map_or_else(|| now().to_string(), |known| known.created);
    session.home.set_identity(&facts.known(created))?;
    let used: Vec<String> = session.nodes.iter().map(ToString::to_string).collect();
    if resolved.source.starts_with("http") {
        session.home.remember_nodes(&used)?;
    }
    let document = RestoreDocument {
        facts,
        name: resolved.name.to_string(),
        head: resolved.head.to_string(),
        sequence: resolved.sequence,
        valid_until: resolved.valid_until.to_string(),
        labels: count_labels(&session).await?,
        blocks: session
            .client
            .export()
            .await
            .map_err(failure_of!())?
            .summary()
            .blocks,
        source: source_text(&resolved.source),
    };
    context.output.answer(&document, |page| {
        let line = page.paint.good("everything is back");
        page.line(line);
        document.facts.show(page);
        let until = resolved.valid_until.to_millis();
        page.fields(&[
            ("labels", Some(count(document.labels as u64, "label"))),
            ("sequence", Some(document.sequence.to_string())),
            ("alive until", Some(moment_text(until, now()))),
            ("from", Some(document.source.clone())),
        ]);
    })
}

/// The derivations to try: what the home knows, what was asked for, else v2 and then v1.
fn derivations<'a>(
    home: &Home,
    arguments: &'a Restore,
) -> Result<Vec<(Profile, &'a str)>, Failure> {
    let asked = &arguments.derivation;
    if asked.profile.is_some() || asked.account.is_some() {
        return Ok(vec![derivation_of(asked)?]);
    }
    match home.identity()? {
        Some(known) if known.account.is_empty() => Ok(vec![(profile_of(&known)?, "")]),
        Some(known) => Err(Failure::usage(format!(
            "this home's identity has the account name {:?}",
            known.account
        ))
        .hint("give it with --account")),
        None => Ok(vec![(Profile::V2, ""), (Profile::V1, "")]),
    }
}

/// Restores the identity; what is damaged here is dropped for it, and told before.
async fn bring_back<'a>(
    context: &Context<'_>,
    session: &Session,
    phrase: &Passphrase,
    derivations: &[(Profile, &'a str)],
) -> Result<(Identity, &'a str, Resolved), Failure> {
    let found = session.client.check_state().await.map_err(failure_of!())?;
    warn_of_damage(context.output, &found);
    first_found(context, session, phrase, derivations).await
}

/// Restores the first of the derived identities that somebody knows.
async fn first_found<'a>(
    context: &Context<'_>,
    session: &Session,
    phrase: &Passphrase,
    derivations: &[(Profile, &'a str)],
) -> Result<(Identity, &'a str, Resolved), Failure> {
    let mut tried = Vec::new();
    let mut last = None;
    for (profile, account) in derivations {
        let identity = derive(context, phrase, *profile, account)?;
        // Looked for before it becomes the home's identity: a wrong guess must leave no trace.
        let did = identity.did();
        let spinner = context.output.spinner(&format!("looking for {did}"));
        let found = session.client.resolve_list(&did, &[]).await;
        spinner.finish_and_clear();
        // One that has ended is enough for its owner.
        let found = match found {
            Err(error) if error.code() == "record_ended" => Ok(()),
            found => found.map(|_| ()),
        };
        match found {
            Ok(()) => {
                let spinner = context.output.spinner("fetching and verifying every block");
                let restored = session.client.restore(&identity, &session.nodes).await;
                spinner.finish_and_clear();
                let resolved = restored.map_err(failure_of!())?;
                return Ok((identity, account, resolved));
            }
            Err(error) if error.code() == "not_found" => {
                tried.push(did.to_string());
                last = Some(Failure::of(&error, error.code()));
            }
            Err(error) => return Err(Failure::of(&error, error.code())),
        }
    }
    let failure = last.unwrap_or_else(|| Failure::usage("nothing to restore"));
    Err(Failure {
        message: format!(
            "no node has anything of the identity this passphrase gives ({})",
            tried.join(", ")
        ),
        hint: "check the passphrase, the --account if it had one, and name the node with --node"
            .to_owned(),
        ..failure
    })
}

async fn count_labels(session: &Session) -> Result<usize, Failure> {
    let query = LabelQuery {
        with_expired: true,
        ..LabelQuery::default()
    };
    let scan = session.client.scan_labels(&query).await;
    let mut scan = scan.map_err(failure_of!())?;
    let mut labels = 0;
    loop {
        let page = scan.next(PAGE_LABELS).await.map_err(failure_of!())?;
        if page.is_empty() {
            return Ok(labels);
        }
        labels += page.len();
    }
}
