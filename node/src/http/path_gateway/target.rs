//! Where a path begins: at a CID, or at what a name points at by its record, which may be another name.

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use perennis_shared::cid::Cid;
use perennis_shared::ipns::{Name, NameChain, NameChainError, NameStep};

use crate::http::answer::{Answer, text_header};
use crate::http::gateway::{IMMUTABLE, root_cid};
use crate::http::records::look_up;
use crate::http::refusal::Refusal;
use crate::http::request_cache;
use crate::http::service::Service;

/// How long, in seconds, a cache may keep a page that was made of content which does not change, and how long it may give it while a
/// newer one is asked for: another version of the node makes another page.
const PAGE_SECONDS: u64 = 604_800;
const STALE_PAGE_SECONDS: u64 = 2_678_400;

/// Where a path begins.
pub(super) struct Target {
    /// The root, as its caller has written it where it is a CID.
    pub(super) text: String,
    pub(super) root: Cid,
    /// The path behind it.
    pub(super) path: String,
    /// How many seconds a cache may keep what the name points at; none where nothing can change.
    fresh_seconds: Option<u64>,
}

impl Target {
    /// A path behind `/ipfs/`.
    pub(super) fn of_cid(path: &str) -> Result<Target, Refusal> {
        let (text, path) = split(path);
        Ok(Target {
            root: root_cid(text)?,
            text: text.to_owned(),
            path: path.to_owned(),
            fresh_seconds: None,
        })
    }

    /// A path behind `/ipns/`.
    pub(super) async fn of_name(
        node: &Service,
        name: Name,
        path: &str,
        request: &Request<Incoming>,
    ) -> Result<Target, Refusal> {
        let mut chain = NameChain::new(name, path);
        let mut fresh_seconds = u64::MAX;
        let mut name = name;
        loop {
            let Some(found) = look_up(node, &name, request).await? else {
                return Err(unresolved(&name, request));
            };
            fresh_seconds = fresh_seconds.min(found.fresh_seconds());
            let value = found.record.path.as_ref().ok_or_else(|| {
                Refusal::new(
                    "unresolved_name",
                    format!("the record of {name} points at no content"),
                    "ask its owner to publish a value such as /ipfs/bafy…",
                )
            })?;
            match chain.follow(value.to_string().as_bytes()) {
                Ok(NameStep::Content { root, rest }) => {
                    return Ok(Target {
                        text: root.to_string(),
                        root,
                        path: rest,
                        fresh_seconds: Some(fresh_seconds),
                    });
                }
                Ok(NameStep::Name(next)) => name = next,
                Err(NameChainError::Domain { path }) => return Err(domain(&path)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Says how long a cache may keep the content itself.
    pub(super) fn content_control(&self) -> HeaderValue {
        match self.fresh_seconds {
            None => IMMUTABLE,
            Some(seconds) => text_header(format!("public, max-age={seconds}")),
        }
    }

    /// Says how long a cache may keep a page that was made of the content.
    pub(super) fn page_control(&self) -> HeaderValue {
        let seconds = self.fresh_seconds.unwrap_or(PAGE_SECONDS);
        text_header(format!(
            "public, max-age={seconds}, stale-while-revalidate={STALE_PAGE_SECONDS}"
        ))
    }

    /// Says of an answer that was made for what the name points at how long a cache may keep it.
    pub(super) fn control(&self, answer: &mut Answer) {
        if self.fresh_seconds.is_some() {
            let control = self.content_control();
            answer.headers_mut().insert(header::CACHE_CONTROL, control);
        }
    }
}

/// The first segment of a path, and what follows it.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

/// Refuses a domain.
pub(super) fn domain(text: &str) -> Refusal {
    Refusal::new(
        "dnslink_not_followed",
        format!("{text} is a domain, and DNSLink is not followed here"),
        "ask for the IPNS name or the CID that the domain names in its TXT record of _dnslink",
    )
}

fn unresolved(name: &Name, request: &Request<Incoming>) -> Refusal {
    if request_cache::only_if_cached(request) {
        return Refusal::not_found(format!("no record of {name} is here"), "ask without it");
    }
    Refusal::new(
        "unresolved_name",
        format!("no valid record of {name} was found"),
        "publish one to this node, or try again later",
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from_static("5"))
}
