//! DAG-PB (IPLD specification, "DAG-PB"), the codec of UnixFS files made by other software.
//!
//! Only the canonical logical form is accepted: fields of the two messages known and never twice, the
//! links together, and each link's fields in order. Links may stand before or after the data, as
//! both are found in the wild; [`encode`] writes them before.

use alloc::{string::String, vec::Vec};
use core::ops::Range;

use super::{
    CodecError, FieldProblem, Fields, Value,
    protobuf::{FieldValue, Reader, Writer},
};
use crate::{
    cid::{Cid, parse_cid_bytes, write_cid},
    limits::{BLOCK_LINKS, LimitExceeded, WIRE_BLOCK_BYTES},
};

/// A node: links and data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// The links in their order.
    pub links: Vec<Link>,
    /// The data; absent is not the same as empty.
    pub data: Option<Vec<u8>>,
}

/// A link of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it points at.
    pub hash: Cid,
    /// Its name, which other software does not always write in UTF-8; absent is not the same as empty.
    pub name: Option<Vec<u8>>,
    /// Size in bytes of everything below it, as its writer claims.
    pub size_claimed: Option<u64>,
}

/// Decodes a block.
///
/// # Errors
/// Refuses blocks above [`WIRE_BLOCK_BYTES`], more than [`BLOCK_LINKS`] links, and what is not in
/// the form the module describes.
pub fn decode(bytes: &[u8]) -> Result<Node, CodecError> {
    let mut node = Node::default();
    read(bytes, &mut |part| {
        match part {
            Part::Link(link) => node.links.push(link),
            Part::Data(data) => node.data = Some(data.into()),
        }
        Ok(())
    })?;
    Ok(node)
}

/// Where the data of a block stands in it; `None` without data.
///
/// # Errors
/// Refuses what is no message with a field of bytes there. [`decode`] says whether the block is in the form the module describes.
pub fn data_range(bytes: &[u8]) -> Result<Option<Range<usize>>, CodecError> {
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next_field()? {
        if number == 1 {
            let end = reader.offset();
            return Ok(Some(end - value.bytes("Data")?.len()..end));
        }
    }
    Ok(None)
}

/// Encodes a node, links first.
///
/// # Errors
/// Refuses results above [`WIRE_BLOCK_BYTES`].
pub fn encode(node: &Node) -> Result<Vec<u8>, CodecError> {
    let mut writer = Writer::new();
    for link in &node.links {
        let mut hash = Vec::new();
        write_cid(&mut hash, &link.hash);
        let mut message = Writer::new();
        message.bytes(1, &hash);
        if let Some(name) = &link.name {
            message.bytes(2, name);
        }
        if let Some(size) = link.size_claimed {
            message.uint(3, size);
        }
        writer.bytes(2, &message.finish());
    }
    if let Some(data) = &node.data {
        writer.bytes(1, data);
    }
    let bytes = writer.finish();
    LimitExceeded::check("DAG-PB bytes", WIRE_BLOCK_BYTES, bytes.len())?;
    Ok(bytes)
}

impl Node {
    /// The node in the data model: `Data` if there is any, and the list `Links`.
    ///
    /// # Errors
    /// Refuses a name that is not UTF-8: it is no text of the data model.
    pub fn into_value(self) -> Result<Value, CodecError> {
        let links = self.links.into_iter().map(Link::into_value);
        let links = links.collect::<Result<_, _>>()?;
        let data = self.data.map(|data| ("Data", Value::Bytes(data)));
        let links = ("Links", Value::List(links));
        Ok(Value::map(data.into_iter().chain([links])))
    }

    /// The node that a value of the data model describes.
    ///
    /// # Errors
    /// Refuses values that are no node.
    pub fn from_value(value: Value) -> Result<Node, CodecError> {
        let mut fields = Fields::new(value)?;
        let node = Node {
            links: fields
                .take_list::<Value>("Links")?
                .into_iter()
                .map(Link::from_value)
                .collect::<Result<_, _>>()?,
            data: fields.take_opt("Data")?,
        };
        fields.finish()?;
        Ok(node)
    }
}

impl Link {
    fn into_value(self) -> Result<Value, CodecError> {
        let no_text = |_| CodecError::field("Name", FieldProblem::Invalid("not UTF-8"));
        let name = self.name.map(String::from_utf8).transpose();
        let name = name
            .map_err(no_text)?
            .map(|name| ("Name", Value::Text(name)));
        let size = self.size_claimed.map(|size| ("Tsize", Value::from(size)));
        let hash = ("Hash", Value::Link(self.hash));
        Ok(Value::map([hash].into_iter().chain(name).chain(size)))
    }

    fn from_value(value: Value) -> Result<Link, CodecError> {
        let mut fields = Fields::new(value)?;
        let link = Link {
            hash: fields.take_link("Hash")?,
            name: fields.take_opt::<String>("Name")?.map(String::into_bytes),
            size_claimed: fields.take_opt("Tsize")?,
        };
        fields.finish()?;
        Ok(link)
    }
}

/// Part of a node, in the order of the input.
pub(super) enum Part<'a> {
    Link(Link),
    Data(&'a [u8]),
}

/// Reads a block with every check and hands over its parts.
pub(super) fn read(
    bytes: &[u8],
    part: &mut dyn FnMut(Part<'_>) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    LimitExceeded::check("DAG-PB bytes", WIRE_BLOCK_BYTES, bytes.len())?;
    let mut reader = Reader::new(bytes);
    let (mut links, mut links_ended, mut has_data) = (0, false, false);
    loop {
        let offset = reader.offset();
        let malformed = |reason| CodecError::Malformed { offset, reason };
        match reader.next_field()? {
            None => return Ok(()),
            Some((1, value)) => {
                if has_data {
                    return Err(malformed("the data twice"));
                }
                has_data = true;
                links_ended = links > 0;
                part(Part::Data(value.bytes("Data")?))?;
            }
            Some((2, value)) => {
                if links_ended {
                    return Err(malformed("links before and after the data"));
                }
                links += 1;
                LimitExceeded::check("links in a block", BLOCK_LINKS, links)?;
                let message = value.bytes("Links")?;
                let start = reader.offset() - message.len();
                part(Part::Link(read_link(message, start)?))?;
            }
            Some(_) => return Err(malformed("an unknown field")),
        }
    }
}

/// Reads the message of a link; `start` is where it begins in the block.
fn read_link(message: &[u8], start: usize) -> Result<Link, CodecError> {
    let mut reader = Reader::new(message);
    let (mut hash, mut name, mut size_claimed) = (None, None, None);
    let mut last = 0;
    loop {
        let offset = start + reader.offset();
        let Some((number, value)) = reader.next_field().map_err(|error| shift(error, start))?
        else {
            break;
        };
        if number <= last {
            return Err(CodecError::Malformed {
                offset,
                reason: "a link whose fields are repeated or out of order",
            });
        }
        last = number;
        match number {
            1 => hash = Some(read_hash(value, offset)?),
            2 => name = Some(value.bytes("Name")?.into()),
            3 => size_claimed = Some(value.uint("Tsize")?),
            _ => {
                return Err(CodecError::Malformed {
                    offset,
                    reason: "an unknown field",
                });
            }
        }
    }
    Ok(Link {
        hash: hash.ok_or(CodecError::field("Hash", FieldProblem::Missing))?,
        name,
        size_claimed,
    })
}

fn read_hash(value: FieldValue<'_>, offset: usize) -> Result<Cid, CodecError> {
    parse_cid_bytes(value.bytes("Hash")?).map_err(|source| CodecError::Link { offset, source })
}

/// Moves an error's place from the message of a link into the block.
fn shift(error: CodecError, start: usize) -> CodecError {
    match error {
        CodecError::Truncated { offset } => CodecError::Truncated {
            offset: offset + start,
        },
        CodecError::Malformed { offset, reason } => CodecError::Malformed {
            offset: offset + start,
            reason,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::{Codec, cid_of};
    use alloc::vec;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn a_node_has_its_known_bytes() {
        let node = Node {
            links: vec![Link {
                hash: crate::cid::parse_cid("bafkqabiaaebagba").unwrap(),
                name: Some("a".into()),
                size_claimed: Some(300),
            }],
            data: Some(vec![8, 1]),
        };
        let bytes = encode(&node).unwrap();
        assert_eq!(
            hex::encode(&bytes),
            "12110a09015500050001020304 120161 18ac02 0a020801".replace(' ', "")
        );
        assert_eq!(decode(&bytes), Ok(node));
    }

    #[test]
    fn a_name_is_bytes_and_only_text_goes_into_the_data_model() {
        let hash = cid_of(Codec::Raw, b"a").to_bytes();
        let mut writer = Writer::new();
        writer.bytes(2, &link_message(&[(1, &hash), (2, b"\xff")]));
        let bytes = writer.finish();
        let node = decode(&bytes).unwrap();
        assert_eq!(node.links[0].name.as_deref(), Some(&b"\xff"[..]));
        assert_eq!(encode(&node), Ok(bytes));
        let error = node.into_value().unwrap_err();
        assert_eq!(error.to_string(), "field `Name` is invalid: not UTF-8");
    }

    fn link_message(fields: &[(u32, &[u8])]) -> Vec<u8> {
        let mut message = Writer::new();
        for (number, bytes) in fields {
            message.bytes(*number, bytes);
        }
        message.finish()
    }

    #[test]
    fn what_breaks_the_form_is_refused() {
        let hash = cid_of(Codec::Raw, b"a").to_bytes();
        let block = |fields: &[(u32, &[u8])]| link_message(fields);
        let good = link_message(&[(1, &hash)]);
        let table = [
            (block(&[(1, b"x"), (1, b"y")]), "the data twice at byte 3"),
            (
                block(&[(2, &good), (1, b"x"), (2, &good)]),
                "links before and after the data at byte 43",
            ),
            (block(&[(3, b"x")]), "an unknown field at byte 0"),
            (block(&[(2, b"")]), "field `Hash` is missing"),
            (
                block(&[(2, &link_message(&[(2, b"n"), (1, &hash)]))]),
                "a link whose fields are repeated or out of order at byte 5",
            ),
            (
                block(&[(2, &link_message(&[(1, &hash), (1, &hash)]))]),
                "a link whose fields are repeated or out of order at byte 40",
            ),
            (
                block(&[(2, &link_message(&[(1, b"\x01")]))]),
                "link at byte 2: not a CID: it ends too early",
            ),
            (
                block(&[(2, b"\x0a\x05")]),
                "the input ends at byte 4, inside a value",
            ),
        ];
        for (bytes, expected) in table {
            assert_eq!(decode(&bytes).unwrap_err().to_string(), expected);
        }
        let data_first = block(&[(1, b"x"), (2, &good)]);
        assert_eq!(decode(&data_first).unwrap().links.len(), 1);
    }

    #[test]
    fn links_are_counted_before_memory_is_taken() {
        let link = link_message(&[(1, b"\x01\x55\x00\x00")]);
        let mut writer = Writer::new();
        for _ in 0..=BLOCK_LINKS {
            writer.bytes(2, &link);
        }
        let error = decode(&writer.finish()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "links in a block: 32769 is above the limit of 32768"
        );
    }

    fn any_node() -> impl Strategy<Value = Node> {
        let link = (
            any::<[u8; 4]>(),
            proptest::option::of("\\PC{0,8}"),
            proptest::option::of(any::<u64>()),
        )
            .prop_map(|(seed, name, size_claimed)| Link {
                hash: cid_of(Codec::Raw, &seed),
                name: name.map(String::into_bytes),
                size_claimed,
            });
        let links = proptest::collection::vec(link, 0..6);
        let data = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
        (links, data).prop_map(|(links, data)| Node { links, data })
    }

    proptest! {
        #[test]
        fn every_node_comes_back(node in any_node()) {
            let bytes = encode(&node).unwrap();
            prop_assert_eq!(decode(&bytes), Ok(node.clone()));
            prop_assert_eq!(node.clone().into_value().and_then(Node::from_value), Ok(node));
        }

        #[test]
        fn changed_bytes_never_panic(node in any_node(), at: prop::sample::Index, byte: u8) {
            let mut bytes = encode(&node).unwrap();
            bytes.push(0);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&bytes);
        }

        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn absent_and_empty_data_differ() {
        let empty = Node {
            links: vec![],
            data: Some(vec![]),
        };
        assert_eq!(encode(&empty).unwrap(), b"\x0a\x00");
        assert_eq!(decode(b"").unwrap(), Node::default());
    }
}
