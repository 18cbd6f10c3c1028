//! `/1.0/identifiers/{did}`: DID resolution (W3C DID Resolution, HTTPS binding).

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use perennis_shared::did::{Did, DidDocument, key_document};
use serde::Serialize;
use serde_json::value::RawValue;

use super::answer::{Answer, answer};
use super::call::Call;
use super::document::json_as;
use super::media::accepted;
use super::refusal::Refusal;
use crate::http::service::Service;
use crate::storage::NameState;

const RESULT: HeaderValue = HeaderValue::from_static("application/did-resolution");
const DOCUMENT_LD: HeaderValue = HeaderValue::from_static("application/did+ld+json");
const DOCUMENT: HeaderValue = HeaderValue::from_static("application/did");

/// What a client wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Result,
    Document,
    DocumentLd,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resolution<'a> {
    #[serde(rename = "@context")]
    context: &'static str,
    did_document: Option<&'a RawValue>,
    did_resolution_metadata: ResolutionMetadata,
    did_document_metadata: DocumentMetadata,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResolutionMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

/// A problem as DID Resolution has it (RFC 9457).
#[derive(Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    detail: String,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct DocumentMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical_id: Option<String>,
}

/// Resolves a DID from what is kept here. A `did:key` nobody published resolves to the document of its key.
pub(super) async fn resolve(call: Call) -> Result<Answer, Refusal> {
    let (node, text, request) = (&call.node, &*call.parameter, &call.request);
    let Some(format) = format(request) else {
        return Ok(failed(
            StatusCode::NOT_ACCEPTABLE,
            Problem {
                kind: "https://www.w3.org/ns/did#REPRESENTATION_NOT_SUPPORTED",
                title: "Representation not supported",
                detail:
                    "accept application/did-resolution, application/did or application/did+ld+json"
                        .to_owned(),
            },
        ));
    };
    let did = match Did::parse(text) {
        Ok(did) if text.starts_with("did:") => did,
        parsed => {
            let known = text.starts_with("did:key:") || text.starts_with("did:ipns:");
            let other_method = text.starts_with("did:") && !known;
            let problem = Problem {
                kind: if other_method {
                    "https://www.w3.org/ns/did#METHOD_NOT_SUPPORTED"
                } else {
                    "https://www.w3.org/ns/did#INVALID_DID"
                },
                title: if other_method {
                    "Method not supported"
                } else {
                    "Invalid DID"
                },
                detail: parsed.err().map_or_else(
                    || "it does not begin with did:".to_owned(),
                    |error| error.to_string(),
                ),
            };
            return Ok(failed(StatusCode::BAD_REQUEST, problem));
        }
    };
    let kept = node.read.kept(&did.name()).await?;
    let published = match &kept {
        Some(kept) => published(node, kept).await?,
        None => None,
    };
    match (published, did.public_key()) {
        (Some((document, metadata)), _) if document.id() == &did => {
            let json = document.to_json().map_err(Refusal::internal)?;
            Ok(found(format, &json, metadata))
        }
        // A did:key is its key, whatever was published under another identifier of it.
        (_, Some(key)) => Ok(found(
            format,
            &key_document(&key),
            DocumentMetadata::default(),
        )),
        (_, None) => Ok(failed(
            StatusCode::NOT_FOUND,
            Problem {
                kind: "https://www.w3.org/ns/did#NOT_FOUND",
                title: "Not found",
                detail: "nobody has published this DID to this node".to_owned(),
            },
        )),
    }
}

async fn published(
    node: &Service,
    kept: &NameState,
) -> Result<Option<(DidDocument, DocumentMetadata)>, Refusal> {
    let (Some(cid), Some(head)) = (kept.facts.document, kept.head) else {
        return Ok(None);
    };
    let Some(block) = node.read.block(&cid).await? else {
        return Ok(None);
    };
    let document = DidDocument::from_block(&block).map_err(Refusal::internal)?;
    let metadata = DocumentMetadata {
        created: Some(document.created().to_string()),
        updated: Some(document.updated().to_string()),
        version_id: Some(head.to_string()),
        canonical_id: kept.facts.did.clone(),
    };
    Ok(Some((document, metadata)))
}

fn found(format: Format, document: &str, metadata: DocumentMetadata) -> Answer {
    let content_type = match format {
        Format::Document => return whole(DOCUMENT, document),
        Format::DocumentLd => return whole(DOCUMENT_LD, document),
        Format::Result => "application/did",
    };
    let raw = match serde_json::from_str::<&RawValue>(document) {
        Ok(raw) => raw,
        Err(error) => return Refusal::internal(error).into_answer(),
    };
    let resolution = Resolution {
        context: "https://w3id.org/did-resolution/v1",
        did_document: Some(raw),
        did_resolution_metadata: ResolutionMetadata {
            content_type: Some(content_type),
            error: None,
        },
        did_document_metadata: metadata,
    };
    json_as(StatusCode::OK, RESULT, &resolution)
}

fn whole(content_type: HeaderValue, document: &str) -> Answer {
    let mut answer = answer(
        StatusCode::OK,
        content_type,
        bytes::Bytes::copy_from_slice(document.as_bytes()),
    );
    answer.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=60"),
    );
    answer
}

fn failed(status: StatusCode, problem: Problem) -> Answer {
    let resolution = Resolution {
        context: "https://w3id.org/did-resolution/v1",
        did_document: None,
        did_resolution_metadata: ResolutionMetadata {
            content_type: None,
            error: Some(problem),
        },
        did_document_metadata: DocumentMetadata::default(),
    };
    json_as(status, RESULT, &resolution)
}

fn format(request: &Request<Incoming>) -> Option<Format> {
    let offers = [Format::Result, Format::Document, Format::DocumentLd];
    accepted(request.headers(), &offers, |range, offer| {
        // The older media types carry a profile as a parameter.
        let is_resolution = range
            .parameter("profile")
            .is_some_and(|profile| profile.contains("did-resolution"));
        let is_ld = range.is_one_of(&["application/ld+json"]);
        range.is_wildcard()
            || match offer {
                Format::Result => {
                    range.is_one_of(&["application/did-resolution", "application/json"])
                        || (is_ld && is_resolution)
                }
                Format::Document => range.is_one_of(&["application/did", "application/did+json"]),
                Format::DocumentLd => {
                    range.is_one_of(&["application/did+ld+json"]) || (is_ld && !is_resolution)
                }
            }
    })
}
