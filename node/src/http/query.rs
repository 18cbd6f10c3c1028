//! The query of a request, and percent-encoding (RFC 3986).

use std::borrow::Cow;

use super::refusal::Refusal;

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
