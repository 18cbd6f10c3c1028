//! What a client wants of what is under `/ipfs/`: the format, and of a CAR its parameters (trustless gateway specification, IPIP-402,
//! 412 and 523). What the query says wins over the header `Accept`.

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Request};
use perennis_shared::unixfs::EntityBytes;

use super::graph::DagScope;
use crate::http::media::{MediaRange, accepted, is_named};
use crate::http::query;
use crate::http::refusal::Refusal;

const RAW: &str = "application/vnd.ipld.raw";
const CAR: &str = "application/vnd.ipld.car";
const RECORD: &str = "application/vnd.ipfs.ipns-record";

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Format {
    /// One block.
    Raw,
    /// A CAR; whether a block is in it at each of its places.
    Car { repeats: bool },
}

/// All that is served, the usual first.
const OFFERS: [Format; 3] = [
    Format::Raw,
    Format::Car { repeats: false },
    Format::Car { repeats: true },
];

impl Format {
    /// What a request asks for of a gateway that serves these formats alone; one that accepts anything is given a block.
    pub(super) fn of(request: &Request<Incoming>) -> Result<Format, Refusal> {
        Format::parse(request.uri().query(), request.headers())
    }

    /// A CAR as the query wants it; `repeats` is what the header says of its blocks.
    pub(in crate::http) fn car(
        request: &Request<Incoming>,
        repeats: bool,
    ) -> Result<Format, Refusal> {
        Format::car_of(request.uri().query(), repeats)
    }

    fn car_of(query: Option<&str>, repeats: bool) -> Result<Format, Refusal> {
        Ok(Format::Car {
            repeats: car_parameters(query)?.unwrap_or(repeats),
        })
    }

    fn parse(query: Option<&str>, headers: &HeaderMap) -> Result<Format, Refusal> {
        let format = match query::value(query, "format")?.as_deref() {
            None if !headers.contains_key(header::ACCEPT) => {
                return Err(Refusal::new(
                    "format_missing",
                    "the request does not say in which format it wants the answer",
                    "ask for ?format=raw or ?format=car, or send the header Accept",
                ));
            }
            None => accepted(headers, &OFFERS, |range, offer| {
                range.is_wildcard() || serves(range, offer)
            })
            .ok_or_else(not_acceptable)?,
            Some("raw") => Format::Raw,
            Some("car") => accepted(headers, &OFFERS[1..], serves).unwrap_or(OFFERS[1]),
            Some("ipns-record") => {
                return Err(Refusal::new(
                    "no_record_here",
                    "a record is of a name, and stands under /ipns/",
                    "ask for /ipns/{name}?format=ipns-record",
                ));
            }
            Some(_) => return Err(not_acceptable()),
        };
        match format {
            Format::Raw => Ok(format),
            Format::Car { repeats } => Format::car_of(query, repeats),
        }
    }

    /// Where this answer is found by the query alone, when the header `Accept` has a say in it.
    pub(super) fn location(self, request: &Request<Incoming>) -> Option<HeaderValue> {
        if !is_named(request.headers(), &[RAW, CAR, RECORD]) {
            return None;
        }
        let parameters: &[(&str, &str)] = match self {
            Format::Raw => &[("format", "raw")],
            Format::Car { repeats: false } => &[("format", "car")],
            Format::Car { repeats: true } => &[("format", "car"), ("car-dups", "y")],
        };
        location(request, parameters)
    }
}

/// The address of a request with these parameters in its query, where they are not there already: for caches that keep one answer for
/// an address.
pub(in crate::http) fn location(
    request: &Request<Incoming>,
    parameters: &[(&str, &str)],
) -> Option<HeaderValue> {
    let uri = request.uri();
    let is_said = |name| query::value(uri.query(), name).is_ok_and(|value| value.is_some());
    let mut query: Vec<String> = uri.query().into_iter().map(str::to_owned).collect();
    let missing = parameters.iter().filter(|(name, _)| !is_said(name));
    query.extend(missing.map(|(name, value)| format!("{name}={value}")));
    HeaderValue::try_from(format!("{}?{}", uri.path(), query.join("&"))).ok()
}

/// The value of `dups`.
pub(super) const fn dups_name(repeats: bool) -> &'static str {
    if repeats { "y" } else { "n" }
}

/// Whether a media range names a format, and no other form of it.
pub(in crate::http) fn serves(range: &MediaRange<'_>, offer: Format) -> bool {
    let has = |name, values: &[&str]| {
        range.parameter(name).is_none_or(|given| {
            let is_given = |value: &&str| given.eq_ignore_ascii_case(value);
            values.iter().any(is_given)
        })
    };
    match offer {
        Format::Raw => range.is_one_of(&[RAW]),
        Format::Car { repeats } => {
            range.is_one_of(&[CAR])
                && has("version", &["1"])
                && has("order", &["dfs", "unk", ""])
                && has("dups", &[dups_name(repeats)])
        }
    }
}

/// Checks the parameters of a CAR in the query; whether blocks are repeated, where that is said.
fn car_parameters(query: Option<&str>) -> Result<Option<bool>, Refusal> {
    let checked = |name: &'static str, values: [&str; 2], hint: &'static str| {
        let given = query::value(query, name)?;
        let is_served = given.as_deref().is_none_or(|given| values.contains(&given));
        if is_served {
            return Ok(given);
        }
        Err(Refusal::new(
            "invalid_car_parameter",
            format!("no CAR of this {name} is served"),
            hint,
        ))
    };
    checked(
        "car-version",
        ["1", "1"],
        "write car-version=1 or leave it out",
    )?;
    checked(
        "car-order",
        ["dfs", "unk"],
        "write car-order=dfs or leave it out",
    )?;
    let dups = checked("car-dups", ["y", "n"], "write car-dups=y or car-dups=n")?;
    Ok(dups.map(|dups| dups == "y"))
}

/// The scope of a CAR, and which bytes of a file are asked for. These are of an entity, whatever else is said.
pub(super) fn scope(query: Option<&str>) -> Result<(DagScope, Option<EntityBytes>), Refusal> {
    let scope = match query::value(query, "dag-scope")?.as_deref() {
        None | Some("all") => DagScope::All,
        Some("block") => DagScope::Block,
        Some("entity") => DagScope::Entity,
        Some(_) => {
            return Err(Refusal::new(
                "invalid_scope",
                "dag-scope is block, entity or all",
                "correct it or leave it out",
            ));
        }
    };
    let Some(bytes) = query::value(query, "entity-bytes")? else {
        return Ok((scope, None));
    };
    let bytes = bytes
        .parse()
        .map_err(|error: perennis_shared::unixfs::EntityBytesError| {
            Refusal::new(
                "invalid_entity_bytes",
                error.to_string(),
                "write for example entity-bytes=0:1023, 512:* or -1024:*",
            )
        })?;
    Ok((DagScope::Entity, Some(bytes)))
}

fn not_acceptable() -> Refusal {
    Refusal::new(
        "not_acceptable",
        "this gateway serves verifiable formats only",
        "ask for ?format=raw or ?format=car, or accept application/vnd.ipld.raw or application/vnd.ipld.car; version=1; order=dfs",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn format(query: &str, accept: &'static str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        }
        Format::parse(Some(query), &headers).ok()
    }

    #[test]
    fn offers_are_read_with_their_parameters() {
        let (once, repeated) = (OFFERS[1], OFFERS[2]);
        for (query, accept, expected) in [
            ("", "", None),
            ("", " */*;q=0.8", Some(Format::Raw)),
            ("", "text/html", None),
            ("", "application/vnd.ipld.raw;q=0", None),
            ("", "application/vnd.ipld.raw;q=0, */*", Some(once)),
            ("", "application/vnd.ipld.car", Some(once)),
            (
                "",
                "application/vnd.ipld.car;version=1;order=dfs",
                Some(once),
            ),
            (
                "",
                "Application/VND.ipld.CAR; Version=1; ORDER=Unk; Dups=Y",
                Some(repeated),
            ),
            ("", "application/vnd.ipld.car;dups=\"y\"", Some(repeated)),
            ("", "application/vnd.ipld.car;version=2", None),
            ("", "application/vnd.ipld.car;order=foo", None),
            ("", "application/vnd.ipld.car;dups=maybe", None),
            (
                "",
                "application/vnd.ipld.car;order=foo, application/vnd.ipld.car;order=dfs;dups=y;q=0.5",
                Some(repeated),
            ),
            (
                "",
                "application/vnd.ipld.car;dups=y;q=0.5, application/vnd.ipld.car;dups=n",
                Some(once),
            ),
            ("format=raw", "application/vnd.ipld.car", Some(Format::Raw)),
            ("format=car", "application/vnd.ipld.raw", Some(once)),
            ("format=car", "*/*", Some(once)),
            (
                "format=car",
                "application/vnd.ipld.car;dups=y",
                Some(repeated),
            ),
            (
                "format=car&car-dups=n",
                "application/vnd.ipld.car;dups=y",
                Some(once),
            ),
            (
                "car-dups=y",
                "application/vnd.ipld.car;dups=n",
                Some(repeated),
            ),
            ("format=car&car-version=1&car-order=dfs", "", Some(once)),
            ("format=car&car-version=2", "", None),
            ("format=car&car-order=bfs", "", None),
            ("format=car&car-dups=yes", "", None),
            // Of a block they say nothing.
            ("format=raw&car-dups=yes", "", Some(Format::Raw)),
            ("format=ipns-record", "", None),
            ("format=tar", "*/*", None),
        ] {
            assert_eq!(format(query, accept), expected, "{query} {accept}");
        }
    }

    #[test]
    fn a_scope_is_read_with_its_bytes() {
        assert_eq!(scope(None).unwrap(), (DagScope::All, None));
        assert_eq!(scope(Some("dag-scope=block")).unwrap().0, DagScope::Block);
        let (of, bytes) = scope(Some("dag-scope=all&entity-bytes=3:%2A")).unwrap();
        assert_eq!((of, bytes), (DagScope::Entity, "3:*".parse().ok()));
        for nonsense in [
            "dag-scope=half",
            "entity-bytes=",
            "entity-bytes=5:3",
            "entity-bytes=a:b",
        ] {
            let refused = scope(Some(nonsense)).unwrap_err().into_answer();
            assert_eq!(refused.status(), 400, "{nonsense}");
        }
    }
}
