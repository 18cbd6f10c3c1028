//! The query of a request, and percent-encoding (RFC 3986).

use std::borrow::Cow;

use super::refusal::Refusal;
use super::route::Query;

/// Refuses a key that a route does not document, and one that it does without a value: what is misspelt must not be taken for what is
/// left out.
pub(super) fn check(query: Option<&str>, documented: &[Query]) -> Result<(), Refusal> {
    let pairs = query.into_iter().flat_map(|query| query.split('&'));
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (key, value) = match pair.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (pair, None),
        };
        let key = unescaped(key).unwrap_or(Cow::Borrowed(key));
        if !documented.iter().any(|query| query.name == key) {
            return Err(unknown(&key, documented));
        }
        if value.is_none() {
            return Err(Refusal::new(
                "invalid_query",
                format!("{key} stands in the query without a value"),
                format!("write {key}=…, or leave it out"),
            ));
        }
    }
    Ok(())
}

fn unknown(key: &str, documented: &[Query]) -> Refusal {
    let names = documented.iter().map(|query| query.name);
    let nearest = names.min_by_key(|name| edits(key, name));
    let hint = match nearest {
        Some(nearest) => {
            format!("the nearest key is {nearest}; GET /openapi.json lists all of this path")
        }
        None => "leave it out: this path takes no query".to_owned(),
    };
    Refusal::new(
        "invalid_query",
        format!("{key:?} is no key of this path's query"),
        hint,
    )
}

/// How many letters are to be added, left out or changed to make one word of another.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (at, letter) in from.chars().enumerate() {
        let mut before = std::mem::replace(&mut row[0], at + 1);
        for (column, other) in to.chars().enumerate() {
            let changed = before + usize::from(letter != other);
            before = row[column + 1];
            row[column + 1] = changed.min(before + 1).min(row[column] + 1);
        }
    }
    row[to.chars().count()]
}

/// The value of a query parameter, which may be given once. Key and value are percent-decoded.
pub(super) fn value<'a>(
    query: Option<&'a str>,
    name: &str,
) -> Result<Option<Cow<'a, str>>, Refusal> {
    let mut given = given(query, name);
    let Some(value) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err(Refusal::new(
            "invalid_query",
            format!("{name} is given more than once in the query"),
            "give it once: it is not said which of them counts",
        ));
    }
    value.map(Some)
}

/// All values of a query parameter. Keys and values are percent-decoded.
pub(super) fn values<'a>(query: Option<&'a str>, name: &str) -> Result<Vec<Cow<'a, str>>, Refusal> {
    given(query, name).collect()
}

fn given<'a>(
    query: Option<&'a str>,
    name: &str,
) -> impl Iterator<Item = Result<Cow<'a, str>, Refusal>> {
    query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter_map(|pair| pair.split_once('='))
        // A key that cannot be decoded is none of ours.
        .filter(move |(key, _)| unescaped(key).is_some_and(|key| key == name))
        .map(|(key, value)| {
            unescaped(value).ok_or_else(|| {
                Refusal::new(
                    "invalid_query",
                    format!("the value of {key} in the query is not percent-encoded UTF-8"),
                    "write each byte that needs it as % and two hexadecimal digits",
                )
            })
        })
}

/// As [`decoded`], without a copy where there is nothing to decode.
fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    match text.contains('%') {
        true => decoded(text).map(Cow::Owned),
        false => Some(Cow::Borrowed(text)),
    }
}

/// Decodes `%41`. `None` for what is not well formed or not UTF-8.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push((high * 16 + low) as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn percent_encoding_is_decoded_strictly() {
        assert_eq!(decoded("did%3Akey%3az").as_deref(), Some("did:key:z"));
        assert_eq!(decoded("a%"), None);
        assert_eq!(decoded("a%4"), None);
        assert_eq!(decoded("a%zz"), None);
        assert_eq!(decoded("%ff"), None);
    }

    #[test]
    fn a_key_that_is_not_documented_is_refused_and_the_nearest_is_named() {
        let keys = ["after", "limit", "name"].map(|name| Query {
            name,
            meaning: "",
            values: &[],
        });
        for fine in [None, Some(""), Some("&"), Some("limit=1&%61fter=&name=a")] {
            assert!(check(fine, &keys).is_ok(), "{fine:?}");
        }
        let refused = |query, keys: &[Query]| {
            let refusal = check(Some(query), keys).unwrap_err();
            let document = serde_json::to_string(&refusal.document()).unwrap();
            assert_eq!(refusal.into_answer().status(), 400, "{query}");
            document
        };
        for (query, nearest) in [
            ("limt=1", "limit"),
            ("limit=1&nmae=a", "name"),
            ("aftr", "after"),
        ] {
            let document = refused(query, &keys);
            let hint = format!("the nearest key is {nearest};");
            assert!(document.contains(&hint), "{document}");
        }
        assert!(refused("limit", &keys).contains("without a value"));
        assert!(refused("limit=1&%zz=2", &keys).contains("no key"));
        assert!(refused("limit=1", &[]).contains("takes no query"));
    }

    #[test]
    fn query_parameters_are_found() {
        let found = |query, name| value(query, name).unwrap();
        let query = Some("format=car&dag-scope=all");
        assert_eq!(found(query, "dag-scope").as_deref(), Some("all"));
        assert_eq!(found(Some("format"), "format"), None);
        assert_eq!(values(Some("a=1&b=2&a=3&a"), "a").unwrap(), ["1", "3"]);
        for twice in ["a=1&a=2", "a=1&b=2&%61=1", "a=1&a=%zz"] {
            let refused = value(Some(twice), "a").unwrap_err().into_answer();
            assert_eq!(refused.status(), 400, "{twice}");
        }
        assert_eq!(found(Some("a=1&a"), "a").as_deref(), Some("1"));
        assert_eq!(found(None, "format"), None);
    }

    #[test]
    fn keys_and_values_are_decoded() {
        let query = Some("%66ormat=%63ar&dag%2Dscope=all&a%3Db=%26&%zz=2&%=3&c=%zz&d=1+2");
        let found = |name| value(query, name).unwrap();
        assert_eq!(found("format").as_deref(), Some("car"));
        assert_eq!(found("dag-scope").as_deref(), Some("all"));
        assert_eq!(found("a=b").as_deref(), Some("&"));
        assert_eq!(found("d").as_deref(), Some("1+2"));
        assert_eq!(found("%zz"), None);
        assert_eq!(found("%"), None);
        let refused = value(query, "c").unwrap_err().into_answer();
        assert_eq!(refused.status(), 400);
        assert!(values(Some("a=1&a=%"), "a").is_err());
    }
}
