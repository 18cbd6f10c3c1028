//! The syntax of DIDs and DID URLs of every method (W3C DID Core, sections 3.1 and 3.2).

/// A DID, or a DID URL in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DidUrl<'a> {
    /// The DID alone: `did:METHOD:ID`.
    pub did: &'a str,
    /// The name of the method.
    pub method: &'a str,
    /// What the method makes of it: all behind `did:METHOD:`.
    pub id: &'a str,
    /// The path, which begins with a slash; empty where there is none.
    pub path: &'a str,
    /// The query, without `?`.
    pub query: Option<&'a str>,
    /// The fragment, without `#`.
    pub fragment: Option<&'a str>,
}

/// Why text is no DID or DID URL of any method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DidSyntaxError {
    /// Another scheme, or none.
    #[error("a DID begins with did:")]
    Scheme,
    /// No method, or one that is not named in small letters and digits.
    #[error("behind did: stands the name of a method, in small letters and digits, and a colon")]
    Method,
    /// The identifier is empty, ends with a colon, or has other characters than letters, digits, `.`, `-`, `_`, `:` and `%41`.
    #[error(
        "the part behind the method has letters, digits, `.`, `-`, `_`, `:` and percent-encoded bytes, and does not end with a colon"
    )]
    Id,
    /// Path, query or fragment have characters that no URI has there.
    #[error("path, query or fragment have a character that has to be percent-encoded")]
    Url,
}

impl DidSyntaxError {
    /// Whether the DID itself is malformed, and not only what follows it.
    pub fn is_of_did(self) -> bool {
        self != DidSyntaxError::Url
    }
}

impl<'a> DidUrl<'a> {
    /// Reads a DID, with or without path, query and fragment. Whether its method is known is not looked at.
    ///
    /// # Errors
    /// Refuses what the rules `did` and `did-url` do not make.
    pub fn parse(text: &'a str) -> Result<DidUrl<'a>, DidSyntaxError> {
        let rest = text.strip_prefix("did:").ok_or(DidSyntaxError::Scheme)?;
        let (method, rest) = rest.split_once(':').ok_or(DidSyntaxError::Method)?;
        let is_named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if method.is_empty() || !method.bytes().all(is_named) {
            return Err(DidSyntaxError::Method);
        }
        let (id, url) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let is_id = !id.is_empty() && !id.ends_with(':') && is_made_of(id, b":");
        is_id.then_some(()).ok_or(DidSyntaxError::Id)?;
        let did = &text[..text.len() - url.len()];
        let (url, fragment) = split(url, '#');
        let (path, query) = split(url, '?');
        let is_url = is_made_of(path, b"/~!$&'()*+,;=:@")
            && [query, fragment]
                .into_iter()
                .flatten()
                .all(|part| is_made_of(part, b"/~!$&'()*+,;=:@?"));
        is_url.then_some(()).ok_or(DidSyntaxError::Url)?;
        Ok(DidUrl {
            did,
            method,
            id,
            path,
            query,
            fragment,
        })
    }

    /// Whether there is nothing but a DID.
    pub fn is_did(&self) -> bool {
        self.path.is_empty() && self.query.is_none() && self.fragment.is_none()
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((text, rest)) => (text, Some(rest)),
        None => (text, None),
    }
}

/// Whether text is made of letters, digits, `.`, `-`, `_`, percent-encoded bytes and `more`.
fn is_made_of(text: &str, more: &[u8]) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_right = match byte {
            b'%' => [bytes.next(), bytes.next()]
                .iter()
                .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit())),
            b'.' | b'-' | b'_' => true,
            byte => byte.is_ascii_alphanumeric() || more.contains(&byte),
        };
        if !is_right {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dids_and_did_urls_are_taken_apart() {
        for (text, did, path, query, fragment) in [
            ("did:example:123", "did:example:123", "", None, None),
            ("did:a1:b:c%3Ad", "did:a1:b:c%3Ad", "", None, None),
            ("did:a::b", "did:a::b", "", None, None),
            ("did:a:b/c/d", "did:a:b", "/c/d", None, None),
            (
                "did:a:b?service=files&relativeRef=/x?y",
                "did:a:b",
                "",
                Some("service=files&relativeRef=/x?y"),
                None,
            ),
            ("did:a:b#", "did:a:b", "", None, Some("")),
            ("did:a:b/p?q#f?/", "did:a:b", "/p", Some("q"), Some("f?/")),
        ] {
            let parsed = DidUrl::parse(text).unwrap();
            assert_eq!(
                (parsed.did, parsed.path, parsed.query, parsed.fragment),
                (did, path, query, fragment),
                "{text}"
            );
            assert_eq!(parsed.is_did(), text == did, "{text}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused_with_the_part() {
        for (text, error) in [
            ("", DidSyntaxError::Scheme),
            ("nonsense", DidSyntaxError::Scheme),
            ("DID:key:z6", DidSyntaxError::Scheme),
            ("did:", DidSyntaxError::Method),
            ("did:key", DidSyntaxError::Method),
            ("did::x", DidSyntaxError::Method),
            ("did:Key:x", DidSyntaxError::Method),
            ("did:ke-y:x", DidSyntaxError::Method),
            ("did:key:", DidSyntaxError::Id),
            ("did:key:a:", DidSyntaxError::Id),
            ("did:key:a b", DidSyntaxError::Id),
            ("did:key:a%4", DidSyntaxError::Id),
            ("did:key:a%zz", DidSyntaxError::Id),
            ("did:key:ä", DidSyntaxError::Id),
            ("did:key:#a", DidSyntaxError::Id),
            ("did:key:a/b c", DidSyntaxError::Url),
            ("did:key:a?b=[]", DidSyntaxError::Url),
            ("did:key:a#b#c", DidSyntaxError::Url),
        ] {
            assert_eq!(DidUrl::parse(text), Err(error), "{text}");
            assert_eq!(error.is_of_did(), error != DidSyntaxError::Url);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(did:[a-z]{0,3}:)?.{0,40}") {
            if let Ok(parsed) = DidUrl::parse(&text) {
                prop_assert!(text.starts_with(parsed.did));
                prop_assert!(DidUrl::parse(parsed.did).unwrap().is_did());
            }
        }
    }
}
