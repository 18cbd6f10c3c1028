//! Pages that the node writes itself: their frame, and text of strangers in them.
//!
//! Invariant: nothing of a stranger stands in a page but through [`escaped`] or [`in_path`], and no page of these runs a script or
//! loads anything.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;

pub(super) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// The policy of pages that only show something.
pub(super) const SHOWS_ONLY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#222;background:#fff}\
a{color:#0a58a5;text-decoration:none}a:hover{text-decoration:underline}\
table{border-collapse:collapse;width:100%}td,th{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
td.size{white-space:nowrap;text-align:right}code,.ipfs-hash{font-family:ui-monospace,monospace;font-size:.9em}\
table table{border-left:2px solid #ddd}h1{font-size:1.2rem;overflow-wrap:anywhere}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}a{color:#7ab8f5}td,th{border-color:#444}table table{border-color:#444}}";

/// The beginning of a page with this title.
pub(super) fn begin(title: &str) -> String {
    let title = escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    )
}

/// The end of every page.
pub(super) const END: &str = "</body>\n</html>\n";

/// A page that says why something was not done, and what to do.
pub(super) fn problem(status: StatusCode, message: &str, hint: &str) -> Bytes {
    let heading = status.to_string();
    let mut page = begin(&heading);
    // Writing to text does not fail.
    let _ = write!(
        page,
        "<h1>{}</h1>\n<p>{}</p>\n<p>{}</p>\n",
        escaped(&heading),
        escaped(message),
        escaped(hint)
    );
    page.push_str(END);
    Bytes::from(page)
}

/// Text for a page, between tags or in a quoted attribute.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            character => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// A segment of a path or a value of a query, percent-encoded (RFC 3986).
pub(super) fn in_path(segment: &[u8]) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(char::from(*byte));
        } else {
            // Writing to text does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A number of bytes for people.
pub(super) fn for_people(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let steps = (bytes.ilog2() / 10) as usize;
    let tenths = (u128::from(bytes) * 10) >> (10 * steps);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[steps - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_strangers_is_never_markup() {
        assert_eq!(
            escaped("<script src=\"x\">a & 'b'"),
            "&lt;script src=&quot;x&quot;&gt;a &amp; &#39;b&#39;"
        );
        assert_eq!(escaped("plain ü"), "plain ü");
        assert_eq!(
            in_path("a b/\"ü%.txt".as_bytes()),
            "a%20b%2F%22%C3%BC%25.txt"
        );
        let page = problem(StatusCode::NOT_FOUND, "no \"<b>\"", "look & see");
        let page = String::from_utf8_lossy(&page);
        assert!(page.contains("<p>no &quot;&lt;b&gt;&quot;</p>"), "{page}");
        assert!(page.contains("404 Not Found") && page.ends_with("</html>\n"));
    }

    #[test]
    fn sizes_are_told_with_their_unit() {
        for (bytes, told) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(for_people(bytes), told);
        }
    }
}
