//! The query of a request, and percent-encoding (RFC 3986).

/// The value of a query parameter, still percent-encoded.
pub(super) fn value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    values(query, name).next()
}

/// All values of a query parameter, still percent-encoded.
pub(super) fn values<'a>(query: Option<&'a str>, name: &str) -> impl Iterator<Item = &'a str> {
    query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter_map(|pair| pair.split_once('='))
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| value)
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
        assert_eq!(
            value(Some("format=car&dag-scope=all"), "dag-scope"),
            Some("all")
        );
        assert_eq!(value(Some("format"), "format"), None);
        let all: Vec<&str> = values(Some("a=1&b=2&a=3&a"), "a").collect();
        assert_eq!(all, ["1", "3"]);
        assert_eq!(value(None, "format"), None);
    }
}
