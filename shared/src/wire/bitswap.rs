//! Messages of Bitswap 1.2.0 (Bitswap Protocol specification, section 6).
//!
//! [`Message::decode`] reads a frame without copying the blocks in it and without hashing them: a [`Payload`]
//! becomes a [`Block`] when its owner asks for that, so that a receiver can drop what it never wanted and hash the
//! rest where it does not stand in the way. The CID of a block is never sent; it is made of the prefix and the
//! hash of the data, so a block is either the one that was asked for or another one, never a wrong one.
//!
//! Decoding is bounded. What a list holds above its limit is counted and left out, as a peer that wants too much may
//! still be told about the rest; a message that breaks a rule of the format is refused whole. Fields of later
//! versions are passed over. The blocks of version 1.0.0 (field 2) are read and never written.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::{
    cid::{
        Block, Cid, CidError, HashFn, Prefix, VerifyError, cid_len, parse_cid_bytes,
        parse_prefix_bytes, write_cid, write_prefix,
    },
    codec::{
        CodecError, FieldProblem,
        protobuf::{FieldValue, Reader},
    },
    limits::{
        BITSWAP_MESSAGE_BYTES, BITSWAP_PAYLOAD_BLOCKS, BITSWAP_PRESENCES, BITSWAP_WANTS,
        LimitExceeded, WIRE_BLOCK_BYTES,
    },
    varint,
};

/// The name under which the protocol is spoken.
pub const PROTOCOL: &str = "/ipfs/bitswap/1.2.0";

/// Payloads up to this many bytes are copied into the bytes around them: one write more costs more.
const INLINE_BYTES: usize = 4_096;

/// One message: any mix of wants and of answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// What the sender wants, or wants no longer. At most [`BITSWAP_WANTS`] once decoded.
    pub wants: Vec<Want>,
    /// Whether `wants` are all the sender wants, in place of what it said before.
    pub is_full: bool,
    /// Blocks, not hashed yet. At most [`BITSWAP_PAYLOAD_BLOCKS`] once decoded.
    pub payload: Vec<Payload>,
    /// What the sender has and has not. At most [`BITSWAP_PRESENCES`] once decoded.
    pub presences: Vec<Presence>,
    /// Bytes the sender holds ready for us beyond this message, as it claims.
    pub pending_bytes_claimed: i32,
    /// Wants and presences that decoding left out: too many, or of CIDs longer than ours may be. Not written.
    pub left_out: usize,
}

/// One entry of a wantlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// What is wanted.
    pub cid: Cid,
    /// Larger is more urgent, among the wants of one sender.
    pub priority: i32,
    /// The block, or word of it.
    pub kind: WantKind,
    /// Whether it is wanted no longer.
    pub is_cancel: bool,
    /// Whether the sender asks to be told when we do not have it.
    pub tell_absent: bool,
}

/// What is wanted of a CID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WantKind {
    /// Word whether it is there.
    Have,
    /// The block.
    Block,
}

/// Word of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// The block.
    pub cid: Cid,
    /// Whether the sender has it.
    pub is_here: bool,
}

/// Bytes that a peer sent as a block. Nothing is known of them before [`Payload::into_block`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    prefix: Prefix,
    data: Bytes,
}

impl Payload {
    /// What a block is sent as. Its bytes are shared, not copied.
    pub fn new(block: &Block) -> Payload {
        Payload {
            prefix: Prefix::of(block.cid()),
            data: block.bytes().clone(),
        }
    }

    /// Bytes as the block `cid` names, for a sender that has them from a store which checks what it reads. They are
    /// shared, not copied.
    pub fn unchecked(cid: &Cid, data: Bytes) -> Payload {
        Payload {
            prefix: Prefix::of(cid),
            data,
        }
    }

    /// The CID without its digest, as the sender gives it.
    pub fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// The bytes.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Hashes the bytes and so finds out which block they are.
    ///
    /// # Errors
    /// Refuses identity, which names content that nobody sends, and whatever [`Block::hashed`] refuses.
    pub fn into_block(self) -> Result<Block, VerifyError> {
        if self.prefix.is_identity() {
            let code = HashFn::Identity.code();
            return Err(VerifyError::HashNotAllowed { code });
        }
        Block::hashed(self.prefix, self.data)
    }
}

impl Message {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.wants.is_empty()
            && !self.is_full
            && self.payload.is_empty()
            && self.presences.is_empty()
    }

    /// Decodes a frame without its length. Blocks share its bytes.
    ///
    /// # Errors
    /// Refuses frames above [`BITSWAP_MESSAGE_BYTES`], blocks above [`WIRE_BLOCK_BYTES`], more than
    /// [`BITSWAP_PAYLOAD_BLOCKS`] of them, single fields that come twice, and whatever is malformed.
    pub fn decode(frame: &Bytes) -> Result<Message, CodecError> {
        LimitExceeded::check("bitswap message bytes", BITSWAP_MESSAGE_BYTES, frame.len())?;
        let mut message = Message::default();
        let (mut has_wantlist, mut has_pending) = (false, false);
        let mut reader = Reader::new(frame);
        while let Some((number, value)) = reader.next_field()? {
            match number {
                1 => {
                    once("wantlist", &mut has_wantlist)?;
                    message.read_wantlist(value.bytes("wantlist")?)?;
                }
                2 => message.push(frame, Prefix::V0, value.bytes("blocks")?)?,
                3 => {
                    let (prefix, data) = read_payload(value.bytes("payload")?)?;
                    message.push(frame, prefix, data)?;
                }
                4 if message.presences.len() == BITSWAP_PRESENCES => message.left_out += 1,
                4 => match read_presence(value.bytes("blockPresences")?)? {
                    Some(presence) => message.presences.push(presence),
                    None => message.left_out += 1,
                },
                5 => {
                    once("pendingBytes", &mut has_pending)?;
                    message.pending_bytes_claimed = int32("pendingBytes", value)?;
                }
                _ => {}
            }
        }
        Ok(message)
    }

    /// The message with its length in front, in pieces to be written one after another. Large blocks are
    /// pieces of their own that share their bytes.
    pub fn encode(&self) -> Vec<Bytes> {
        let mut out = Pieces::default();
        if !self.wants.is_empty() || self.is_full {
            let mut list = Vec::new();
            for want in &self.wants {
                let entry = want.encode();
                bytes_field(&mut list, 1, &entry);
            }
            bool_field(&mut list, 2, self.is_full);
            bytes_field(&mut out.small, 1, &list);
        }
        for payload in &self.payload {
            payload.encode(&mut out);
        }
        for presence in &self.presences {
            let mut entry = Vec::new();
            cid_field(&mut entry, 1, &presence.cid);
            bool_field(&mut entry, 2, !presence.is_here);
            bytes_field(&mut out.small, 4, &entry);
        }
        int32_field(&mut out.small, 5, self.pending_bytes_claimed);
        out.finish()
    }

    fn read_wantlist(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        let mut has_full = false;
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.next_field()? {
            match number {
                1 if self.wants.len() == BITSWAP_WANTS => self.left_out += 1,
                1 => match Want::decode(value.bytes("wantlist.entries")?)? {
                    Some(want) => self.wants.push(want),
                    None => self.left_out += 1,
                },
                2 => {
                    once("wantlist.full", &mut has_full)?;
                    self.is_full = boolean("wantlist.full", value)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn push(&mut self, frame: &Bytes, prefix: Prefix, data: &[u8]) -> Result<(), CodecError> {
        let count = self.payload.len() + 1;
        LimitExceeded::check("blocks in a message", BITSWAP_PAYLOAD_BLOCKS, count)?;
        LimitExceeded::check("block bytes", WIRE_BLOCK_BYTES, data.len())?;
        // A small block would keep the whole frame in memory for as long as anybody holds it.
        let is_small = data.len() <= INLINE_BYTES || data.len() < frame.len() / 32;
        let data = if is_small {
            Bytes::copy_from_slice(data)
        } else {
            frame.slice_ref(data)
        };
        self.payload.push(Payload { prefix, data });
        Ok(())
    }
}

impl Want {
    /// Asks for a block, or for word of it, and to be told when it is not there.
    pub fn new(cid: Cid, kind: WantKind, priority: i32) -> Want {
        Want {
            cid,
            priority,
            kind,
            is_cancel: false,
            tell_absent: true,
        }
    }

    /// Takes back what was wanted of a CID.
    pub fn cancel(cid: Cid) -> Want {
        Want {
            cid,
            priority: 0,
            kind: WantKind::Block,
            is_cancel: true,
            tell_absent: false,
        }
    }

    /// Nothing where the CID is longer than ours may be.
    fn decode(bytes: &[u8]) -> Result<Option<Want>, CodecError> {
        let (mut cid, mut seen) = (None, [false; 4]);
        let mut want = Want {
            cid: Cid::default(),
            priority: 0,
            kind: WantKind::Block,
            is_cancel: false,
            tell_absent: false,
        };
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.next_field()? {
            if let Some(flag) = number
                .checked_sub(2)
                .and_then(|at| seen.get_mut(at as usize))
            {
                once("wantlist.entries", flag)?;
            }
            match number {
                1 => read_cid("wantlist.entries.block", value, &mut cid)?,
                2 => want.priority = int32("wantlist.entries.priority", value)?,
                3 => want.is_cancel = boolean("wantlist.entries.cancel", value)?,
                4 if boolean("wantlist.entries.wantType", value)? => want.kind = WantKind::Have,
                5 => want.tell_absent = boolean("wantlist.entries.sendDontHave", value)?,
                _ => {}
            }
        }
        let cid = cid.ok_or_else(|| missing("wantlist.entries.block"))?;
        Ok(cid.map(|cid| Want { cid, ..want }))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(cid_len(&self.cid) + 16);
        cid_field(&mut out, 1, &self.cid);
        int32_field(&mut out, 2, self.priority);
        bool_field(&mut out, 3, self.is_cancel);
        bool_field(&mut out, 4, self.kind == WantKind::Have);
        bool_field(&mut out, 5, self.tell_absent);
        out
    }
}

fn read_payload(bytes: &[u8]) -> Result<(Prefix, &[u8]), CodecError> {
    let (mut prefix, mut data) = (None, None);
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next_field()? {
        match number {
            1 if prefix.is_none() => {
                let parsed = parse_prefix_bytes(value.bytes("payload.prefix")?);
                prefix = Some(parsed.ok_or_else(|| {
                    CodecError::field("payload.prefix", FieldProblem::Invalid("not a CID prefix"))
                })?);
            }
            2 if data.is_none() => data = Some(value.bytes("payload.data")?),
            1 | 2 => return Err(twice("payload")),
            _ => {}
        }
    }
    let prefix = prefix.ok_or_else(|| missing("payload.prefix"))?;
    Ok((prefix, data.unwrap_or_default()))
}

/// Nothing where the CID is longer than ours may be.
fn read_presence(bytes: &[u8]) -> Result<Option<Presence>, CodecError> {
    let (mut cid, mut is_absent, mut has_type) = (None, false, false);
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next_field()? {
        match number {
            1 => read_cid("blockPresences.cid", value, &mut cid)?,
            2 => {
                once("blockPresences.type", &mut has_type)?;
                is_absent = boolean("blockPresences.type", value)?;
            }
            _ => {}
        }
    }
    let cid = cid.ok_or_else(|| missing("blockPresences.cid"))?;
    Ok(cid.map(|cid| Presence {
        cid,
        is_here: !is_absent,
    }))
}

/// A CID above our limits is one that we cannot have: nothing, and no fault of the sender.
fn read_cid(
    name: &str,
    value: FieldValue<'_>,
    cid: &mut Option<Option<Cid>>,
) -> Result<(), CodecError> {
    let parsed = match parse_cid_bytes(value.bytes(name)?) {
        Ok(parsed) => Some(parsed),
        Err(CidError::Limit(_)) => None,
        Err(_) => return Err(CodecError::field(name, FieldProblem::Invalid("not a CID"))),
    };
    if cid.replace(parsed).is_some() {
        return Err(twice(name));
    }
    Ok(())
}

/// Booleans, and the enums of this format, which all have two values.
fn boolean(name: &str, value: FieldValue<'_>) -> Result<bool, CodecError> {
    match value.uint(name)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CodecError::field(name, FieldProblem::Range)),
    }
}

/// Negative numbers stand as their 64-bit complement.
fn int32(name: &str, value: FieldValue<'_>) -> Result<i32, CodecError> {
    i32::try_from(value.uint(name)?.cast_signed())
        .map_err(|_| CodecError::field(name, FieldProblem::Range))
}

fn once(name: &str, seen: &mut bool) -> Result<(), CodecError> {
    if core::mem::replace(seen, true) {
        return Err(twice(name));
    }
    Ok(())
}

fn twice(name: &str) -> CodecError {
    CodecError::field(name, FieldProblem::Invalid("it comes twice"))
}

fn missing(name: &str) -> CodecError {
    CodecError::field(name, FieldProblem::Missing)
}

/// What is written so far: pieces that are done, and small fields that become the next one.
#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    small: Vec<u8>,
}

impl Pieces {
    fn large(&mut self, data: &Bytes) {
        let small = core::mem::take(&mut self.small);
        self.done.extend([small.into(), data.clone()]);
    }

    fn finish(mut self) -> Vec<Bytes> {
        let mut length = self.small.len();
        length += self.done.iter().map(Bytes::len).sum::<usize>();
        let mut first = Vec::with_capacity(10 + self.done.first().map_or(0, Bytes::len));
        varint::write(&mut first, length as u64);
        if let Some(piece) = self.done.first_mut() {
            first.extend_from_slice(piece);
            *piece = first.into();
        } else {
            first.append(&mut self.small);
            self.small = first;
        }
        if !self.small.is_empty() {
            self.done.push(self.small.into());
        }
        self.done
    }
}

impl Payload {
    fn encode(&self, out: &mut Pieces) {
        let mut prefix = Vec::with_capacity(16);
        write_prefix(&mut prefix, &self.prefix);
        let mut head = Vec::with_capacity(32);
        bytes_field(&mut head, 1, &prefix);
        tag(&mut head, 2, 2);
        varint::write(&mut head, self.data.len() as u64);
        tag(&mut out.small, 3, 2);
        varint::write(&mut out.small, (head.len() + self.data.len()) as u64);
        out.small.extend_from_slice(&head);
        if self.data.len() <= INLINE_BYTES {
            out.small.extend_from_slice(&self.data);
        } else {
            out.large(&self.data);
        }
    }
}

fn tag(out: &mut Vec<u8>, number: u64, wire_type: u64) {
    varint::write(out, number << 3 | wire_type);
}

fn bytes_field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    tag(out, number, 2);
    varint::write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn cid_field(out: &mut Vec<u8>, number: u64, cid: &Cid) {
    tag(out, number, 2);
    varint::write(out, cid_len(cid) as u64);
    write_cid(out, cid);
}

/// As proto3 has it: what is zero is not written.
fn bool_field(out: &mut Vec<u8>, number: u64, value: bool) {
    int32_field(out, number, i32::from(value));
}

fn int32_field(out: &mut Vec<u8>, number: u64, value: i32) {
    if value != 0 {
        tag(out, number, 0);
        varint::write(out, i64::from(value).cast_unsigned());
    }
}

#[cfg(test)]
mod tests;
