//! `PUT` and `DELETE /v1/names/{name}`: following somebody else's name.

use std::sync::Arc;

use hyper::Request;
use hyper::body::{Body as _, Incoming};
use perennis_rt as rt;
use perennis_sdk::NodeUrl;
use perennis_shared::ipns::{Name, Record};
use perennis_shared::limits::RECORD_BYTES;

use super::answer::{Answer, no_content};
use super::call::Call;
use super::media::content_type;
use super::name_status::status_of;
use super::parameter::parse_name;
use super::query;
use super::refusal::Refusal;
use super::upload::{FEWER_BLOCKS, RECORD_ALONE, Upload};
use crate::http::service::Service;
use crate::ingest::Adoption;

/// Most sources of one name.
const SOURCES: usize = 8;

/// Longest URL of a source, in bytes.
const SOURCE_BYTES: usize = 2_048;

/// Follows a name.
pub(super) async fn follow(call: Call) -> Result<Answer, Refusal> {
    let name = parse_name(&call.parameter).map_err(Refusal::closing)?;
    let sources = sources(call.query()).map_err(Refusal::closing)?;
    let more = query::value(call.query(), "more").map_err(Refusal::closing)?;
    let is_part = more.as_deref() == Some("true");
    let Call { node, request, .. } = call;
    let next = rt::now() + node.config.follow.period;
    let adoption = match body_kind(&request)? {
        BodyKind::None => {
            let record = find(&node, &name, &sources).await?;
            Adoption::of_record(record, sources, next)
        }
        BodyKind::Record => {
            let upload = Upload::new(
                request,
                RECORD_BYTES as u64,
                RECORD_ALONE,
                &node.config.http,
            )?;
            let bytes = upload.whole().await?;
            Adoption::of_bytes(&name, &bytes, sources, next)?
        }
        BodyKind::Car => {
            let mut message = node.ingest.receive(None);
            let mut upload =
                Upload::new(request, message.limit(), FEWER_BLOCKS, &node.config.http)?;
            while let Some(part) = upload.part().await? {
                message
                    .push(&part)
                    .map_err(|error| Refusal::from(error).closing())?;
            }
            let mut adoption = Adoption::of_message(&name, message, sources, next)?;
            adoption.is_part = is_part;
            adoption
        }
    };
    // A client that goes away now changes nothing: what it sent whole is stored whole.
    let storing = Arc::clone(&node);
    let stored = tokio::spawn(async move { storing.ingest.follow(&name, adoption).await });
    stored.await.map_err(Refusal::internal)??;
    status_of(&node, name).await
}

/// Ends following a name.
pub(super) async fn unfollow(call: Call) -> Result<Answer, Refusal> {
    let name = parse_name(&call.parameter)?;
    call.node.ingest.unfollow(&name).await?;
    Ok(no_content())
}

/// The record of a name that comes without one: the best that routers and sources know, else the one that is kept.
async fn find(node: &Service, name: &Name, sources: &[String]) -> Result<Record, Refusal> {
    let error = match node.routes.resolve(name, sources).await {
        Ok(gathered) => return Ok(gathered.best),
        Err(error) => error,
    };
    let kept = node.read.kept(name).await?;
    if let Some(kept) = kept.filter(|kept| kept.valid_until >= rt::now()) {
        return Ok(kept.record);
    }
    Err(error.into())
}

enum BodyKind {
    None,
    Record,
    Car,
}

fn body_kind(request: &Request<Incoming>) -> Result<BodyKind, Refusal> {
    if request.body().is_end_stream() {
        return Ok(BodyKind::None);
    }
    let sent = content_type(request.headers());
    let is_sent = |media_type| sent.is_some_and(|sent| sent.is_one_of(&[media_type]));
    if is_sent("application/vnd.ipfs.ipns-record") {
        Ok(BodyKind::Record)
    } else if is_sent("application/vnd.ipld.car") {
        Ok(BodyKind::Car)
    } else {
        Err(Refusal::new(
            "unsupported_media_type",
            "a name is followed with a record, with a CAR file, or with no body",
            "send Content-Type: application/vnd.ipfs.ipns-record or application/vnd.ipld.car",
        )
        .closing())
    }
}

fn sources(query: Option<&str>) -> Result<Vec<String>, Refusal> {
    let refused = |message: String| {
        Refusal::new(
            "invalid_source",
            message,
            "give the base URL of a node or gateway, such as https://example.org, percent-encoded",
        )
    };
    let mut sources: Vec<String> = Vec::new();
    for text in query::values(query, "source")? {
        if text.len() > SOURCE_BYTES {
            return Err(refused("`source` is too long".to_owned()));
        }
        let url: NodeUrl = text
            .parse()
            .map_err(|error| refused(format!("`source` is no URL of a node: {error}")))?;
        let url = url.to_string();
        if !sources.contains(&url) {
            sources.push(url);
        }
    }
    if sources.len() > SOURCES {
        return Err(refused(format!("at most {SOURCES} sources are taken")));
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn asked(urls: impl Iterator<Item = String>) -> Result<Vec<String>, Refusal> {
        let query: Vec<String> = urls.map(|url| format!("source={url}")).collect();
        sources(Some(&query.join("&")))
    }

    #[test]
    fn eight_sources_are_taken_and_no_more() {
        let url = |number: usize| format!("http://127.0.0.1:{}", 4_000 + number);
        let eight: Vec<String> = (0..8).map(url).collect();
        assert_eq!(asked(eight.iter().cloned()).unwrap(), eight);
        assert!(asked((0..9).map(url)).is_err());
        // One that is there twice counts once.
        let twice = eight.iter().chain(&eight).map(|url| format!("{url}/"));
        assert_eq!(asked(twice).unwrap(), eight);
    }

    #[test]
    fn a_source_is_a_url_that_is_not_too_long() {
        let of_length = |length: usize| {
            let start = "http://a.example/";
            format!("{start}{}", "a".repeat(length - start.len()))
        };
        assert!(asked([of_length(SOURCE_BYTES)].into_iter()).is_ok());
        assert!(asked([of_length(SOURCE_BYTES + 1)].into_iter()).is_err());
        assert!(asked(["ftp://a.example".to_owned()].into_iter()).is_err());
    }
}
