//! The page that shows a DAG-CBOR or DAG-JSON block to a person, whose links lead on.

use std::fmt::Write as _;

use multibase::Base;
use perennis_shared::cid::{Block, Codec};
use perennis_shared::codec::{CodecError, Value, dag_cbor, dag_json};

use super::representation::DocumentType;
use crate::http::html::{self, escaped};

/// Most of a page, in bytes, that is made of the values of a block.
const VALUES_BYTES: usize = 1 << 20;

/// Most of a text or of bytes that is shown, in bytes.
const VALUE_BYTES: usize = 16 << 10;

/// The page of a block.
pub(super) fn page(block: &Block, document: DocumentType) -> String {
    let cid = block.cid();
    let name = document.name();
    let mut page = html::begin(&cid.to_string());
    // Writing to text does not fail.
    let _ = writeln!(
        page,
        "<h1 class=\"ipfs-hash\">{cid}</h1>\n<p>A block of {name}, {} bytes. As it is: \
         <a href=\"?format={name}\" rel=\"nofollow\">{name}</a>, \
         <a href=\"?format=raw\" rel=\"nofollow\">raw block</a>.</p>",
        block.bytes().len()
    );
    match decoded(block) {
        Ok(value) => {
            let end = page.len() + VALUES_BYTES;
            if !show(&mut page, &value, end) {
                page.push_str("<p>There is more than is shown here.</p>\n");
            }
        }
        Err(error) => {
            let _ = writeln!(
                page,
                "<p>It cannot be shown: {}.</p>",
                escaped(&error.to_string())
            );
        }
    }
    page.push_str(html::END);
    page
}

fn decoded(block: &Block) -> Result<Value, CodecError> {
    match Codec::from_code(block.cid().codec()) {
        Some(Codec::DagJson) => dag_json::decode_relaxed(block.bytes()),
        _ => dag_cbor::decode(block.bytes()),
    }
}

/// Shows a value; false where the page had no room for all of it.
fn show(page: &mut String, value: &Value, end: usize) -> bool {
    if page.len() >= end {
        return false;
    }
    match value {
        Value::List(items) => {
            let rows = items.iter().enumerate();
            table(page, rows.map(|(at, item)| (at.to_string(), item)), end)
        }
        Value::Map(entries) => {
            let rows = entries.iter();
            table(page, rows.map(|(name, value)| (name.clone(), value)), end)
        }
        Value::Link(cid) => {
            let _ = write!(
                page,
                "<a class=\"ipfs-hash\" href=\"/ipfs/{cid}\">{cid}</a>"
            );
            true
        }
        Value::Null => code(page, "null"),
        Value::Bool(value) => code(page, &value.to_string()),
        Value::Int(value) => code(page, &value.to_string()),
        Value::Float(value) => code(page, &format!("{value:?}")),
        Value::Text(text) => cut(page, text),
        Value::Bytes(bytes) => {
            let shown = &bytes[..bytes.len().min(VALUE_BYTES / 2)];
            let text = Base::Base64.encode(shown);
            let more = if shown.len() < bytes.len() { "…" } else { "" };
            let _ = write!(
                page,
                "<code title=\"{} bytes, in base64\">{text}{more}</code>",
                bytes.len()
            );
            true
        }
    }
}

fn table<'a>(
    page: &mut String,
    rows: impl Iterator<Item = (String, &'a Value)>,
    end: usize,
) -> bool {
    page.push_str("<table>\n");
    let mut is_whole = true;
    for (name, value) in rows {
        if page.len() >= end {
            is_whole = false;
            break;
        }
        page.push_str("<tr><th>");
        cut(page, &name);
        page.push_str("</th><td>");
        is_whole &= show(page, value, end);
        page.push_str("</td></tr>\n");
    }
    page.push_str("</table>\n");
    is_whole
}

fn code(page: &mut String, text: &str) -> bool {
    let _ = write!(page, "<code>{}</code>", escaped(text));
    true
}

/// Shows a text as far as there is room for one.
fn cut(page: &mut String, text: &str) -> bool {
    if text.len() <= VALUE_BYTES {
        page.push_str(&escaped(text));
    } else {
        let shown = &text[..text.floor_char_boundary(VALUE_BYTES)];
        let _ = write!(page, "{}… ({} bytes)", escaped(shown), text.len());
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::cid::cid_of;

    use super::*;

    fn cbor(value: &Value) -> Block {
        Block::new(Codec::DagCbor, dag_cbor::encode(value).unwrap()).unwrap()
    }

    #[test]
    fn every_kind_of_value_is_shown_and_links_lead_on() {
        let leaf = cid_of(Codec::Raw, b"leaf");
        let block = cbor(&Value::map([
            ("<b>", Value::from("<script>")),
            ("bytes", Value::Bytes(b"hello".to_vec())),
            ("list", Value::List(vec![Value::Null, Value::from(leaf)])),
            ("number", Value::from(-7_i64)),
            ("share", Value::Float(0.5)),
            ("yes", Value::Bool(true)),
        ]));
        let page = page(&block, DocumentType::DagCbor);
        for part in [
            "<th>&lt;b&gt;</th><td>&lt;script&gt;</td>",
            ">aGVsbG8</code>",
            "<th>0</th><td><code>null</code></td>",
            &format!("href=\"/ipfs/{leaf}\">{leaf}</a>"),
            "<code>-7</code>",
            "<code>0.5</code>",
            "<code>true</code>",
            "?format=dag-cbor",
            "</html>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("There is more"));
    }

    #[test]
    fn a_page_is_bounded_and_says_so() {
        let long = "ü".repeat(VALUE_BYTES);
        let block = cbor(&Value::List(vec![Value::from("<"); 200_000]));
        let many = page(&block, DocumentType::DagCbor);
        assert!(
            many.len() < VALUES_BYTES + 16 * VALUE_BYTES,
            "{}",
            many.len()
        );
        assert!(many.contains("There is more than is shown here."));
        let one = page(&cbor(&Value::from(long)), DocumentType::DagCbor);
        assert!(one.contains(&format!("… ({} bytes)", 2 * VALUE_BYTES)));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let block = Block::new(Codec::DagCbor, &b"\xff"[..]).unwrap();
        let page = page(&block, DocumentType::DagCbor);
        assert!(page.contains("It cannot be shown: "), "{page}");
        assert!(page.contains("?format=raw"));
        let json = Block::new(Codec::DagJson, &b"{ \"a\": 1 }\n"[..]).unwrap();
        let page = super::page(&json, DocumentType::DagJson);
        assert!(page.contains("<th>a</th><td><code>1</code></td>"), "{page}");
    }
}
