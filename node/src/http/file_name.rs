//! `Content-Disposition`: under which name a client keeps what it is sent (path gateway specification; RFC 8187 for names that are
//! not ASCII).

use std::fmt::Write as _;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::HeaderValue;

use super::answer::text_header;
use super::query;

/// An attachment: with the name that the query gives (`filename`), or else with this one, which is of plain characters.
pub(super) fn attachment(request: &Request<Incoming>, usual: &str) -> HeaderValue {
    let given = given(request);
    let name = given.as_deref().unwrap_or(usual);
    text_header(disposition(Disposition::Attachment, name))
}

/// What a client does with what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    /// It shows it.
    Inline,
    /// It keeps it in a file.
    Attachment,
}

/// What is done with content that has this name.
pub(super) fn named(disposition_type: Disposition, name: &str) -> HeaderValue {
    text_header(disposition(disposition_type, name))
}

/// The name that the query gives.
pub(super) fn given(request: &Request<Incoming>) -> Option<String> {
    let given = query::value(request.uri().query(), "filename").ok()??;
    (!given.is_empty()).then(|| given.into_owned())
}

/// Whether the query asks for content as a file to be kept.
pub(super) fn is_download(request: &Request<Incoming>) -> bool {
    let given = query::value(request.uri().query(), "download");
    matches!(given, Ok(Some(given)) if given == "true")
}

fn disposition(disposition_type: Disposition, name: &str) -> String {
    let is_plain = |character: char| {
        (character.is_ascii_graphic() || character == ' ') && !matches!(character, '"' | '\\' | '/')
    };
    let plain: String = name
        .chars()
        .map(|character| if is_plain(character) { character } else { '_' })
        .collect();
    let kind = match disposition_type {
        Disposition::Inline => "inline",
        Disposition::Attachment => "attachment",
    };
    let mut text = format!("{kind}; filename=\"{plain}\"");
    if plain != name {
        text.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                // Writing to text does not fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_neither_end_the_header_nor_its_quotes() {
        for (name, expected) in [
            ("a b.car", "attachment; filename=\"a b.car\""),
            (
                "testтест.ipns-record",
                "attachment; filename=\"test____.ipns-record\"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.ipns-record",
            ),
            (
                "a\"; x=\\\r\n/é",
                "attachment; filename=\"a_; x=_____\"; filename*=UTF-8''a%22%3B%20x%3D%5C%0D%0A%2F%C3%A9",
            ),
        ] {
            let text = disposition(Disposition::Attachment, name);
            assert_eq!(text, expected);
            assert!(HeaderValue::try_from(text).is_ok());
        }
        let shown = disposition(Disposition::Inline, "a");
        assert_eq!(shown, "inline; filename=\"a\"");
    }
}
