//! `perennis resolve --document`: DID resolution and dereferencing, as a node's `/1.0/identifiers` does it, but with the records and
//! blocks verified here.

use perennis_sdk::client::PublishedDocument;
use perennis_shared::codec::dag_json;
use perennis_shared::did::resolution::{
    Found, Metadata, Options, Problem, ResolutionError, Subject, dereference, dereferencing_result,
    resolution_result,
};
use perennis_shared::did::{Core, DidUrl};
use serde_json::Value;

use crate::args::Resolve;
use crate::context::Context;
use crate::failure::{Exit, Failure, with_cause};
use crate::page::plain;
use crate::session::{Session, parse_did};

pub(super) async fn run(context: &Context<'_>, arguments: &Resolve) -> Result<(), Failure> {
    let asked = match &arguments.did {
        Some(text) if text.starts_with("did:") => text.clone(),
        // A name, as people have it.
        Some(text) => parse_did(text)?.to_string(),
        None => context.home()?.expect_identity()?.did,
    };
    let url = DidUrl::parse(&asked).map_err(|error| failure(&asked, &error.into()))?;
    let failed = |problem: Problem| failure(&asked, &problem);
    let subject = Subject::of(&url).map_err(failed)?;
    let parameters = url.query.into_iter().flat_map(|query| query.split('&'));
    let options = parameters.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let options = Options::parse(options).map_err(failed)?;
    let (content, metadata) = find(context, arguments, &url, &subject).await?;
    options.check(&metadata).map_err(failed)?;
    let content = dereference(&url, content).map_err(failed)?;
    let found = Found { content, metadata };
    let text = |value| {
        dag_json::encode(value)
            .map_err(|error| Failure::invalid("invalid_document", with_cause(&error)))
    };
    if context.output.is_json() {
        let result = match url.is_did() {
            true => resolution_result(Ok(&found), Core::V1_1, false),
            false => dereferencing_result(Ok(&found), Core::V1_1),
        };
        return context
            .output
            .bytes(format!("{}\n", text(&result)?).as_bytes());
    }
    let document: Value = serde_json::from_str(&text(&found.content)?)
        .map_err(|error| Failure::failed("output", "the document is no JSON").because(&error))?;
    let document = format!("{document:#}\n");
    context.output.bytes(document.as_bytes())
}

/// The document of a DID: the one that was published, or of a key the one that the key is.
async fn find(
    context: &Context<'_>,
    arguments: &Resolve,
    url: &DidUrl<'_>,
    subject: &Subject,
) -> Result<(perennis_shared::codec::Value, Metadata), Failure> {
    let core = Core::V1_1;
    let published = match subject.publisher() {
        Some(did) => {
            let session = Session::open(context, &arguments.nodes.urls).await?;
            let spinner = context.output.spinner("resolving");
            let published = session.client.published_document(&did).await;
            spinner.finish_and_clear();
            Some(published)
        }
        None => None,
    };
    match (published, subject) {
        (Some(Ok(PublishedDocument { document, resolved })), _)
            if document.id().to_string() == url.did =>
        {
            super::warn(context, &resolved.steps);
            let metadata = Metadata::of(&document, resolved.head.to_string());
            Ok((document.represent(core), metadata))
        }
        (_, Subject::Key(key)) => Ok((key.document(core), Metadata::default())),
        (Some(Ok(PublishedDocument { document, .. })), Subject::Ipns(_)) => {
            Err(Failure::not_found(
                "not_found",
                format!(
                    "the name of this DID publishes the document of {}",
                    document.id()
                ),
            )
            .hint("ask for that DID"))
        }
        (Some(Err(error)), _) => Err(Failure::of(&error, error.code())),
        (None, Subject::Ipns(_)) => Err(Failure::not_found("not_found", "nobody publishes it")),
    }
}

/// A problem of DID resolution as the command line tells it.
fn failure(asked: &str, problem: &Problem) -> Failure {
    let (exit, code, hint) = match problem.error {
        ResolutionError::InvalidDid => (
            Exit::Usage,
            "invalid_did",
            "write it as did:ipns:k51… or did:key:z…",
        ),
        ResolutionError::InvalidDidUrl => (
            Exit::Usage,
            "invalid_did_url",
            "write other characters than those of a URL as % and two hexadecimal digits",
        ),
        ResolutionError::InvalidOptions => (
            Exit::Usage,
            "invalid_options",
            "correct it, or leave it out",
        ),
        ResolutionError::MethodNotSupported => (
            Exit::Usage,
            "method_not_supported",
            "ask a resolver of that method",
        ),
        ResolutionError::FeatureNotSupported => {
            (Exit::Usage, "feature_not_supported", "leave it out")
        }
        _ => (
            Exit::NotFound,
            "not_found",
            "`perennis resolve --document` with the DID alone shows what there is",
        ),
    };
    let message = format!("{}: {problem}", plain(asked));
    Failure::new(exit, code, message).hint(hint)
}
