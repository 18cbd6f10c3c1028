//! In which of several forms a client wants what a path leads to (path gateway specification, "Accept" and "format"; IPIP-523, 524).
//! What the query says wins over the header `Accept`.

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request};
use perennis_shared::cid::Codec;

use crate::http::gateway::{Format, location, serves};
use crate::http::media::{MediaRange, accepted, is_named};
use crate::http::query;
use crate::http::refusal::Refusal;

const RECORD: &str = "application/vnd.ipfs.ipns-record";

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Representation {
    /// As the content itself is read: a file, a page, a document.
    Usual,
    /// Blocks, which the client verifies itself.
    Verifiable(Format),
    /// The record of a name.
    Record,
    /// The block of a document, as it is.
    Document(DocumentType),
}

/// What a client takes a document as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DocumentType {
    DagJson,
    DagCbor,
    Json,
    Cbor,
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) representation: Representation,
    /// Whether it takes the usual form where there is no such one.
    pub(super) or_usual: bool,
}

/// All that is served, the usual first.
const OFFERS: [Representation; 9] = [
    Representation::Usual,
    Representation::Verifiable(Format::Raw),
    Representation::Verifiable(Format::Car { repeats: false }),
    Representation::Verifiable(Format::Car { repeats: true }),
    Representation::Record,
    Representation::Document(DocumentType::DagJson),
    Representation::Document(DocumentType::DagCbor),
    Representation::Document(DocumentType::Json),
    Representation::Document(DocumentType::Cbor),
];

impl DocumentType {
    const ALL: [DocumentType; 4] = [
        DocumentType::DagJson,
        DocumentType::DagCbor,
        DocumentType::Json,
        DocumentType::Cbor,
    ];

    /// That of the blocks of a codec; none where they are no documents.
    pub(super) fn of(codec: Codec) -> Option<DocumentType> {
        match codec {
            Codec::DagJson => Some(DocumentType::DagJson),
            Codec::DagCbor => Some(DocumentType::DagCbor),
            Codec::Json => Some(DocumentType::Json),
            Codec::Cbor => Some(DocumentType::Cbor),
            _ => None,
        }
    }

    /// Whether a block of this type can be taken as another one without a change.
    pub(super) fn is_also(self, wanted: DocumentType) -> bool {
        self == wanted
            || matches!(
                (self, wanted),
                (DocumentType::DagJson, DocumentType::Json)
                    | (DocumentType::DagCbor, DocumentType::Cbor)
            )
    }

    /// Whether its blocks have links, and can be shown as a page.
    pub(super) const fn has_links(self) -> bool {
        matches!(self, DocumentType::DagJson | DocumentType::DagCbor)
    }

    /// The value of `format`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            DocumentType::DagJson => "dag-json",
            DocumentType::DagCbor => "dag-cbor",
            DocumentType::Json => "json",
            DocumentType::Cbor => "cbor",
        }
    }

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            DocumentType::DagJson => "application/vnd.ipld.dag-json",
            DocumentType::DagCbor => "application/vnd.ipld.dag-cbor",
            DocumentType::Json => "application/json",
            DocumentType::Cbor => "application/cbor",
        }
    }

    /// What the name of a file of it ends with.
    pub(super) const fn extension(self) -> &'static str {
        match self {
            DocumentType::DagJson | DocumentType::Json => "json",
            DocumentType::DagCbor | DocumentType::Cbor => "cbor",
        }
    }

    /// Where this answer is found by the query alone, when the header `Accept` names the type.
    pub(super) fn location(self, request: &Request<Incoming>) -> Option<HeaderValue> {
        is_named(request.headers(), &[self.media_type()])
            .then(|| location(request, &[("format", self.name())]))?
    }
}

impl Wanted {
    /// What a request asks for.
    pub(super) fn of(request: &Request<Incoming>) -> Result<Wanted, Refusal> {
        let wanted = Wanted::parse(request.uri().query(), request.headers())?;
        let Representation::Verifiable(Format::Car { repeats }) = wanted.representation else {
            return Ok(wanted);
        };
        // Its parameters may stand in the query, whoever has named it.
        let Format::Car { repeats } = Format::car(request, repeats)? else {
            return Ok(wanted);
        };
        let car = Representation::Verifiable(Format::Car { repeats });
        Ok(Wanted {
            representation: car,
            ..wanted
        })
    }

    fn parse(query: Option<&str>, headers: &HeaderMap) -> Result<Wanted, Refusal> {
        let Some(format) = query::value(query, "format")? else {
            let representation =
                accepted(headers, &OFFERS, serves_as).ok_or_else(not_acceptable)?;
            let usual = accepted(headers, &OFFERS[..1], serves_as);
            return Ok(Wanted {
                representation,
                or_usual: usual.is_some(),
            });
        };
        let representation = match &*format {
            "raw" => Representation::Verifiable(Format::Raw),
            "car" => {
                let named = accepted(headers, &OFFERS[2..4], serves_as);
                named.unwrap_or(OFFERS[2])
            }
            "ipns-record" => Representation::Record,
            other => {
                let mut types = DocumentType::ALL.into_iter();
                let found = types.find(|document| document.name() == other);
                Representation::Document(found.ok_or_else(not_acceptable)?)
            }
        };
        Ok(Wanted {
            representation,
            or_usual: false,
        })
    }
}

/// Whether a media range stands for a form. Only its own name stands for another one than the usual.
fn serves_as(range: &MediaRange<'_>, offer: Representation) -> bool {
    match offer {
        Representation::Usual => {
            let is_other = range.is_of("application/vnd.ipld.")
                || range.is_of("application/vnd.ipfs.")
                || range.is_one_of(&["application/x-tar", "application/json", "application/cbor"]);
            !is_other
        }
        Representation::Verifiable(format) => serves(range, format),
        Representation::Record => range.is_one_of(&[RECORD]),
        Representation::Document(document) => range.is_one_of(&[document.media_type()]),
    }
}

/// Refuses a form that nothing is served in.
fn not_acceptable() -> Refusal {
    Refusal::new(
        "not_acceptable",
        "nothing is served in this format",
        "leave format out, or ask for raw, car, dag-json, dag-cbor, json or cbor, and of a name for ipns-record",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use hyper::header;

    use super::*;

    fn wanted(query: &str, accept: &'static str) -> Option<(Representation, bool)> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        }
        let wanted = Wanted::parse(Some(query), &headers).ok()?;
        Some((wanted.representation, wanted.or_usual))
    }

    #[test]
    fn a_form_is_named_by_the_query_or_by_the_header() {
        use DocumentType::{Cbor, DagCbor, DagJson, Json};
        use Representation::{Document, Record, Usual, Verifiable};
        let raw = Verifiable(Format::Raw);
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (query, accept, expected) in [
            ("", "", Some((Usual, true))),
            ("", browser, Some((Usual, true))),
            ("", "image/png", Some((Usual, true))),
            ("", "application/json", Some((Document(Json), false))),
            (
                "",
                "application/json, text/plain, */*",
                Some((Document(Json), true)),
            ),
            ("", "text/html, application/json", Some((Usual, true))),
            (
                "",
                "text/html;q=0.5, application/cbor",
                Some((Document(Cbor), true)),
            ),
            (
                "",
                "application/vnd.ipld.dag-json",
                Some((Document(DagJson), false)),
            ),
            ("", "application/vnd.ipld.raw, */*", Some((raw, true))),
            (
                "",
                "application/vnd.ipfs.ipns-record",
                Some((Record, false)),
            ),
            ("", "application/vnd.ipld.car;version=2", None),
            ("", "application/x-tar", None),
            ("", "*/*;q=0", None),
            ("format=dag-cbor", browser, Some((Document(DagCbor), false))),
            (
                "format=json",
                "application/vnd.ipld.raw",
                Some((Document(Json), false)),
            ),
            ("format=raw", "", Some((raw, false))),
            (
                "format=car",
                "application/vnd.ipld.car;dups=y",
                Some((Verifiable(Format::Car { repeats: true }), false)),
            ),
            (
                "format=car",
                browser,
                Some((Verifiable(Format::Car { repeats: false }), false)),
            ),
            ("format=tar", "*/*", None),
        ] {
            assert_eq!(wanted(query, accept), expected, "{query} {accept}");
        }
    }

    #[test]
    fn a_document_is_taken_as_plain_and_never_converted() {
        use DocumentType::{Cbor, DagCbor, DagJson, Json};
        for (document, as_these) in [
            (DagJson, &[DagJson, Json][..]),
            (DagCbor, &[DagCbor, Cbor]),
            (Json, &[Json]),
            (Cbor, &[Cbor]),
        ] {
            let taken: Vec<DocumentType> = DocumentType::ALL
                .into_iter()
                .filter(|wanted| document.is_also(*wanted))
                .collect();
            assert_eq!(taken, as_these);
        }
    }
}
