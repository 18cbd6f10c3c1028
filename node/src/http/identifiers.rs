//! `/1.0/identifiers/{did}`: DID resolution and the dereferencing of DID URLs (W3C DID Resolution, HTTPS binding).
//!
//! What is answered is made in [`resolution`](perennis_shared::did::resolution); here is what this node has of it.

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use hyper::{Request, body::Incoming};
use perennis_shared::codec::{Value, dag_json};
use perennis_shared::did::resolution::{
    Found, Metadata, Options, Problem, ResolutionError, Subject, dereference, dereferencing_result,
    resolution_result,
};
use perennis_shared::did::{Core, Did, DidDocument, DidUrl};

use super::answer::{Answer, NO_STORE, answer};
use super::call::Call;
use super::media::{MediaRange, accepted};
use super::query;
use super::refusal::Refusal;
use crate::http::service::Service;

/// A form in which an answer can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    shape: Shape,
    /// As the answer names it.
    media_type: &'static str,
    core: Core,
}

/// What an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A result of DID resolution.
    Resolution,
    /// The same, with a context for itself.
    LinkedResolution,
    /// A result of dereferencing.
    Dereferencing,
    /// The document, or the part of it that was asked for, alone.
    Content,
}

const fn form(shape: Shape, media_type: &'static str, core: Core) -> Form {
    Form {
        shape,
        media_type,
        core,
    }
}

const RESOLUTION: Form = form(Shape::Resolution, "application/did-resolution", Core::V1_1);
const DEREFERENCING: Form = form(
    Shape::Dereferencing,
    "application/did-url-dereferencing",
    Core::V1_1,
);
const LINKED: &str = "application/ld+json;profile=\"https://w3id.org/did-resolution\"";

/// What is offered for a DID. Without a wish it is the first.
const FOR_DID: [Form; 8] = [
    RESOLUTION,
    form(Shape::Content, "application/did", Core::V1_1),
    form(Shape::Content, "application/did+ld+json", Core::V1),
    form(Shape::Content, "application/did+json", Core::V1),
    form(Shape::LinkedResolution, LINKED, Core::V1),
    form(Shape::Content, "application/ld+json", Core::V1),
    form(Shape::Resolution, "application/json", Core::V1_1),
    DEREFERENCING,
];

/// What is offered for a DID URL, which is not resolved but dereferenced.
const FOR_DID_URL: [Form; 6] = [
    DEREFERENCING,
    form(Shape::Content, "application/did", Core::V1_1),
    form(Shape::Content, "application/did+ld+json", Core::V1),
    form(Shape::Content, "application/did+json", Core::V1),
    form(Shape::Content, "application/ld+json", Core::V1),
    form(Shape::Dereferencing, "application/json", Core::V1_1),
];

/// Resolves a DID from what is kept here, or dereferences a DID URL. A `did:key` nobody published is the document of its key.
pub(super) async fn resolve(call: Call) -> Result<Answer, Refusal> {
    // A DID is often copied with a slash behind it.
    let text = call.parameter.strip_suffix('/').unwrap_or(&call.parameter);
    let is_url = text.contains(['/', '?', '#']);
    let (offers, fallback) = match is_url {
        true => (&FOR_DID_URL[..], DEREFERENCING),
        false => (&FOR_DID[..], RESOLUTION),
    };
    let chosen = accepted(call.request.headers(), offers, serves);
    let form = chosen.unwrap_or(fallback);
    let found = match look(&call, text, chosen).await? {
        Ok(found) => found,
        Err(problem) => return Ok(failed(form, &problem)),
    };
    let value = match form.shape {
        Shape::Content => &found.content,
        Shape::Resolution => &resolution_result(Ok(&found), form.core, false),
        Shape::LinkedResolution => &resolution_result(Ok(&found), form.core, true),
        Shape::Dereferencing => &dereferencing_result(Ok(&found), form.core),
    };
    let mut answer = document(StatusCode::OK, form.media_type, value)?;
    if form.shape == Shape::Content {
        answer.headers_mut().insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=60"),
        );
    }
    Ok(answer)
}

/// The checks in the order of the specification: syntax, method, options, representation; then the document.
async fn look(
    call: &Call,
    text: &str,
    form: Option<Form>,
) -> Result<Result<Found, Problem>, Refusal> {
    let asked = match Asked::of(text, &call.request) {
        Ok(asked) => asked,
        Err(problem) => return Ok(Err(problem)),
    };
    let Some(form) = form else {
        return Ok(Err(Problem::new(
            ResolutionError::RepresentationNotSupported,
            match asked.url.is_did() {
                true => {
                    "accept application/did-resolution, application/did, application/did+ld+json or application/did+json"
                }
                false => {
                    "accept application/did-url-dereferencing, application/did, application/did+ld+json or application/did+json"
                }
            },
        )));
    };
    let published = match asked.subject.publisher() {
        Some(did) => published(&call.node, did).await?,
        None => Err(Problem::new(
            ResolutionError::NotFound,
            "nobody publishes under a key of this kind",
        )),
    };
    Ok(asked.answer(published, form.core))
}

/// What is asked for, as far as that can be told without looking anything up.
struct Asked<'a> {
    url: DidUrl<'a>,
    subject: Subject,
    options: Options,
}

impl<'a> Asked<'a> {
    fn of(text: &'a str, request: &Request<Incoming>) -> Result<Asked<'a>, Problem> {
        let url = DidUrl::parse(text)?;
        let subject = Subject::of(&url)?;
        // The parameters of a DID URL are options of its resolution, as those of the request are.
        let parts = [url.query, request.uri().query()];
        let mut given = Vec::new();
        for pair in parts.into_iter().flatten().flat_map(|part| part.split('&')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (query::decoded(name), query::decoded(value)) {
                (Some(name), Some(value)) => given.push((name, value)),
                _ => {
                    return Err(Problem::new(
                        ResolutionError::InvalidOptions,
                        format!("{pair:?} is not percent-encoded UTF-8"),
                    ));
                }
            }
        }
        let given = given.iter().filter(|(name, _)| !name.is_empty());
        let options = Options::parse(given.map(|(name, value)| (&**name, &**value)))?;
        Ok(Asked {
            url,
            subject,
            options,
        })
    }

    /// What is answered, where a document was published or is missing for a reason.
    fn answer(
        &self,
        published: Result<(DidDocument, Metadata), Problem>,
        core: Core,
    ) -> Result<Found, Problem> {
        let (content, metadata) = match (published, &self.subject) {
            (Ok((document, metadata)), _) if document.id().to_string() == self.url.did => {
                (document.represent(core), metadata)
            }
            // A did:key is its key, whatever was published under another identifier of it.
            (_, Subject::Key(key)) => (key.document(core), Metadata::default()),
            (Ok((document, _)), Subject::Ipns(_)) => {
                return Err(Problem::new(
                    ResolutionError::NotFound,
                    format!("this name publishes the document of {}", document.id()),
                ));
            }
            (Err(problem), Subject::Ipns(_)) => return Err(problem),
        };
        self.options.check(&metadata)?;
        let content = dereference(&self.url, content)?;
        Ok(Found { content, metadata })
    }
}

/// The document that an identity has published to this node, and what is known about it.
async fn published(
    node: &Service,
    did: Did,
) -> Result<Result<(DidDocument, Metadata), Problem>, Refusal> {
    let missing = |detail: String| Ok(Err(Problem::new(ResolutionError::NotFound, detail)));
    let Some(kept) = node.read.kept(&did.name()).await? else {
        return missing("nobody has published this DID to this node".to_owned());
    };
    if kept.valid_until < perennis_rt::now() {
        return missing(format!(
            "its record lapsed at {}, and with it the way to the document; its owner can publish again",
            kept.valid_until.to_seconds()
        ));
    }
    let (Some(cid), Some(head)) = (kept.facts.document, kept.head) else {
        return missing("its record leads to no document".to_owned());
    };
    let Some(block) = node.read.block(&cid).await? else {
        return missing("its document has not come here yet; ask again in a minute".to_owned());
    };
    Ok(match DidDocument::from_block(&block) {
        Ok(document) => {
            let metadata = Metadata::of(&document, head.to_string());
            Ok((document, metadata))
        }
        Err(error) => Err(Problem::new(
            ResolutionError::InvalidDidDocument,
            error.to_string(),
        )),
    })
}

fn failed(form: Form, problem: &Problem) -> Answer {
    let status = StatusCode::from_u16(problem.error.status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (media_type, value) = match form.shape {
        Shape::Resolution => (
            form.media_type,
            resolution_result(Err(problem), form.core, false),
        ),
        Shape::LinkedResolution => (
            form.media_type,
            resolution_result(Err(problem), form.core, true),
        ),
        Shape::Dereferencing => (
            form.media_type,
            dereferencing_result(Err(problem), form.core),
        ),
        // There is no content to give: the reason is told in a result.
        Shape::Content => (
            RESOLUTION.media_type,
            resolution_result(Err(problem), form.core, false),
        ),
    };
    document(status, media_type, &value).unwrap_or_else(Refusal::into_answer)
}

fn document(
    status: StatusCode,
    media_type: &'static str,
    value: &Value,
) -> Result<Answer, Refusal> {
    let text = dag_json::encode(value).map_err(Refusal::internal)?;
    let media_type = HeaderValue::from_static(media_type);
    let mut answer = answer(status, media_type, bytes::Bytes::from(text));
    answer.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    Ok(answer)
}

/// Whether a media range stands for a form. The older media types carry a profile as a parameter.
fn serves(range: &MediaRange<'_>, form: Form) -> bool {
    let is_resolution = range
        .parameter("profile")
        .is_some_and(|profile| profile.contains("did-resolution"));
    let is_ld = range.is_one_of(&["application/ld+json"]);
    range.is_wildcard()
        || match form.media_type {
            LINKED => is_ld && is_resolution,
            "application/ld+json" => is_ld && !is_resolution,
            media_type => range.is_one_of(&[media_type]),
        }
}
