//! The media type of a file: by its name, or else by how it begins (path gateway specification, "Content-Type").
//!
//! Names are looked up in the list of the crate `mime_guess`. The beginning is compared with the marks of formats that browsers show
//! or people exchange, and text is told from bytes and looked at more closely. Must never touch: where a file comes from.

use serde::de::IgnoredAny;

/// How much of a file is looked at, in bytes.
pub(super) const SNIFFED_BYTES: usize = 1_024;

const BYTES: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";

/// Marks that a file begins with, and where behind its beginning.
const MARKS: &[(usize, &[u8], &str)] = &[
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"\0\0\x01\0", "image/x-icon"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (8, b"AVI ", "video/x-msvideo"),
    (8, b"WAVE", "audio/wav"),
    (0, b"OggS", "application/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"\0asm", "application/wasm"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"(\xb5/\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (257, b"ustar", "application/x-tar"),
    (0, b"\xfe\xff", "text/plain; charset=utf-16be"),
    (0, b"\xff\xfe", "text/plain; charset=utf-16le"),
];

/// What HTML begins with, in lower case (WHATWG MIME Sniffing, "rules for identifying an unknown MIME type").
const HTML_TAGS: &[&str] = &[
    "<!doctype html",
    "<html",
    "<head",
    "<script",
    "<iframe",
    "<h1",
    "<div",
    "<font",
    "<table",
    "<a",
    "<style",
    "<title",
    "<b",
    "<body",
    "<br",
    "<p",
    "<!--",
];

/// The media type of a file with this name; none where that says nothing.
pub(super) fn of_name(name: &str) -> Option<String> {
    let (stem, _) = name.rsplit_once('.')?;
    let found = mime_guess::from_path(name).first_raw()?;
    if stem.is_empty() {
        return None;
    }
    // What HTML is written in stands in it.
    let is_text = found.starts_with("text/") && found != "text/html";
    Some(if is_text {
        format!("{found}; charset=utf-8")
    } else {
        found.to_owned()
    })
}

/// The media type of a file that begins like this; `is_all` says that nothing follows.
pub(super) fn of_beginning(beginning: &[u8], is_all: bool) -> &'static str {
    let has = |(at, mark, _): &&(usize, &[u8], &str)| {
        beginning
            .get(*at..)
            .is_some_and(|rest| rest.starts_with(mark))
    };
    if let Some((_, _, found)) = MARKS.iter().find(has) {
        return found;
    }
    match text(beginning, is_all) {
        Some(text) => of_text(text, is_all),
        None => BYTES,
    }
}

/// The beginning as text; none where it is none.
fn text(beginning: &[u8], is_all: bool) -> Option<&str> {
    let text = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        // A character may be cut in two at the end.
        Err(error) if error.error_len().is_none() && !is_all => {
            std::str::from_utf8(&beginning[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_control = |character: char| {
        character.is_ascii_control() && !matches!(character, '\t' | '\n' | '\r' | '\x0c' | '\x1b')
    };
    (!text.contains(is_control)).then_some(text)
}

fn of_text(text: &str, is_all: bool) -> &'static str {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let begins = |tag: &str| {
        let rest = text.get(..tag.len());
        rest.is_some_and(|rest| rest.eq_ignore_ascii_case(tag))
    };
    let is_tag = |tag: &&str| {
        let behind = text.as_bytes().get(tag.len());
        let is_ended =
            behind.is_none_or(|byte| matches!(byte, b' ' | b'>' | b'\n' | b'\r' | b'\t'));
        begins(tag) && (is_ended || **tag == *"<!--")
    };
    if begins("<svg") || (begins("<?xml") && text.contains("<svg")) {
        return "image/svg+xml";
    }
    if begins("<?xml") {
        return "text/xml; charset=utf-8";
    }
    if HTML_TAGS.iter().any(is_tag) {
        return "text/html";
    }
    if text.starts_with(['{', '[']) && is_json(text, is_all) {
        return "application/json";
    }
    TEXT
}

/// Whether a text is JSON, or could go on as JSON where it was cut.
fn is_json(text: &str, is_all: bool) -> bool {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => true,
        Err(error) => error.is_eof() && !is_all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is() {
        for (name, found) in [
            ("a.html", Some("text/html")),
            ("A.HTM", Some("text/html")),
            ("style.css", Some("text/css; charset=utf-8")),
            ("m.js", Some("text/javascript; charset=utf-8")),
            ("m.wasm", Some("application/wasm")),
            ("data.json", Some("application/json")),
            ("x.tar.gz", Some("application/gzip")),
            ("drawing.svg", Some("image/svg+xml")),
            ("ü.txt", Some("text/plain; charset=utf-8")),
            ("README", None),
            (".html", None),
            ("a.", None),
            ("a.unheardof", None),
            ("", None),
        ] {
            assert_eq!(of_name(name).as_deref(), found, "{name}");
        }
    }

    #[test]
    fn beginnings_say_what_a_file_is() {
        for (beginning, found) in [
            (&b"\x89PNG\r\n\x1a\n\0"[..], "image/png"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"\0\0\0\x20ftypavif", "image/avif"),
            (b"\0\0\0\x20ftypisom", "video/mp4"),
            (b"%PDF-1.7", "application/pdf"),
            (b"\xff\xfeh\0i\0", "text/plain; charset=utf-16le"),
            (b"  <!DOCTYPE HTML><p>", "text/html"),
            (b"\xef\xbb\xbf<html>", "text/html"),
            (b"<p>hello", "text/html"),
            (b"<bread>", TEXT),
            (b"<?xml version=\"1.0\"?>\n<svg>", "image/svg+xml"),
            (b"<svg xmlns=", "image/svg+xml"),
            (b"<?xml version=\"1.0\"?><a/>", "text/xml; charset=utf-8"),
            (b"{\"a\": 1}\n", "application/json"),
            (b"[1, 2", TEXT),
            (b"{not json}", TEXT),
            (b"42", TEXT),
            (b"hello\n", TEXT),
            (b"", TEXT),
            ("grüße".as_bytes(), TEXT),
            (b"gr\xfc\xdfe", BYTES),
            (b"a\0b", BYTES),
        ] {
            assert_eq!(of_beginning(beginning, true), found, "{beginning:?}");
        }
    }

    #[test]
    fn what_is_cut_is_judged_by_what_is_there() {
        assert_eq!(of_beginning(b"{\"a\": [1, 2", false), "application/json");
        assert_eq!(of_beginning(&"grü".as_bytes()[..3], false), TEXT);
        assert_eq!(of_beginning(&"grü".as_bytes()[..3], true), BYTES);
    }
}
