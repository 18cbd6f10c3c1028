//! The links of objects of git: what a tree holds, the tree and the parents of a commit, what a tag is of.
//!
//! An object is `<kind> <length>`, a zero byte and the content. Objects name each other by SHA-1, so each is a CID of
//! version 1 with the codec git-raw.

use super::Links;
use crate::{
    cid::{Cid, Codec, HashFn, Multihash},
    codec::CodecError,
};

/// Bytes of a name in a tree.
const NAME_BYTES: usize = 20;

/// Reads an object and what it names.
pub(super) fn read(bytes: &[u8], found: &mut Links) -> Result<(), CodecError> {
    let malformed = |offset, reason| CodecError::Malformed { offset, reason };
    let end = bytes.iter().take(32).position(|byte| *byte == 0);
    let end = end.ok_or(malformed(0, "no head of an object of git"))?;
    let (head, content) = (&bytes[..end], &bytes[end + 1..]);
    let space = head.iter().position(|byte| *byte == b' ');
    let space = space.ok_or(malformed(0, "no head of an object of git"))?;
    let is_length = core::str::from_utf8(&head[space + 1..])
        .is_ok_and(|length| length.parse() == Ok(content.len()));
    if !is_length {
        return Err(malformed(space + 1, "another length than the object has"));
    }
    match &head[..space] {
        b"blob" => Ok(()),
        b"tree" => tree(content, end + 1, found),
        b"commit" => named(content, end + 1, &["tree", "parent"], found),
        b"tag" => named(content, end + 1, &["object"], found),
        _ => Err(malformed(0, "an object of git of an unknown kind")),
    }
}

/// Entries of a mode, a space, a file's name, a zero byte and the name of an object.
fn tree(content: &[u8], start: usize, found: &mut Links) -> Result<(), CodecError> {
    let mut at = 0;
    while at < content.len() {
        let rest = &content[at..];
        let zero = rest.iter().position(|byte| *byte == 0);
        let name = zero.and_then(|zero| Some((zero, rest.get(zero + 1..zero + 1 + NAME_BYTES)?)));
        let (zero, name) = name.ok_or(CodecError::Truncated {
            offset: start + content.len(),
        })?;
        push(name, start + at, found)?;
        at += zero + 1 + NAME_BYTES;
    }
    Ok(())
}

/// The lines of a head up to the first empty one. Those of a tag that was merged stand indented below `mergetag`.
fn named(content: &[u8], start: usize, keys: &[&str], found: &mut Links) -> Result<(), CodecError> {
    let mut at = start;
    for line in content.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            return Ok(());
        }
        let merged = line.strip_prefix(b"mergetag object ");
        let named = keys.iter().find_map(|key| {
            line.strip_prefix(key.as_bytes())
                .and_then(|rest| rest.strip_prefix(b" "))
        });
        if let Some(text) = named.or(merged) {
            let mut name = [0; NAME_BYTES];
            hex_name(text, &mut name).ok_or(CodecError::Malformed {
                offset: at,
                reason: "no name of an object of git",
            })?;
            push(&name, at, found)?;
        }
        at += line.len() + 1;
    }
    Ok(())
}

fn hex_name(text: &[u8], name: &mut [u8; NAME_BYTES]) -> Option<()> {
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    if pairs.len() != NAME_BYTES {
        return None;
    }
    for (pair, byte) in pairs.iter().zip(name) {
        let digit = |text: u8| char::from(text).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(())
}

fn push(name: &[u8], offset: usize, found: &mut Links) -> Result<(), CodecError> {
    let malformed = |_| CodecError::Malformed {
        offset,
        reason: "no name of an object of git",
    };
    let hash = Multihash::wrap(HashFn::Sha1.code(), name).map_err(malformed)?;
    found.push(Cid::new_v1(Codec::GitRaw.code(), hash))
}
