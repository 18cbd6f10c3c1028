//! Every size, count and depth this crate accepts, with the unit in its name.
//!
//! A limit is checked before memory is taken for what it bounds, and the error names the limit, the
//! most it allows and what was found: [`LimitExceeded`].

use core::time::Duration;

/// Largest block we create, in bytes: 1 MiB.
pub const BLOCK_BYTES: usize = 1 << 20;
/// Largest block we accept from somebody else, in bytes: 2 MiB, as IPFS implementations agree.
pub const WIRE_BLOCK_BYTES: usize = 2 << 20;
/// Largest content of an identity CID of its own, in bytes.
pub const IDENTITY_BYTES: usize = 64;
/// Shortest digest of a hash function under which content is accepted, in bytes, as IPFS implementations agree.
pub const DIGEST_BYTES_MIN: usize = 20;
/// Longest digest of a multihash, in bytes.
pub const DIGEST_BYTES: usize = 64;
/// Longest binary multihash, in bytes: hash code, digest length and digest.
pub const MULTIHASH_BYTES: usize = 9 + 9 + DIGEST_BYTES;
/// Longest binary CID, in bytes: version, codec and multihash.
pub const CID_BYTES: usize = 9 + 9 + MULTIHASH_BYTES;
/// Longest CID as text, in bytes, multibase prefix included.
pub const CID_TEXT_BYTES: usize = 256;
/// Most links of a block that version 1 of a store's packs holds.
pub const BLOCK_LINKS: usize = 32_768;
/// Largest file that a block may claim to be the root of, in bytes: the most that other software counts.
pub const FILE_BYTES: u64 = i64::MAX as u64;
/// Most segments of a path behind a CID.
pub const PATH_SEGMENTS: usize = 256;
/// Most blocks that a path behind a CID may lead through: with shards of directories more than it has segments.
pub const PATH_BLOCKS: usize = 1_024;
/// Most links of a block of others: more than 2 MiB have room for, with digests of 20 bytes.
pub const FOREIGN_LINKS: usize = 131_072;
/// Largest content of an identity CID to which a block of others links, in bytes, as IPFS implementations agree. A
/// [`Cid`](crate::cid::Cid) has room for [`IDENTITY_BYTES`]; a longer one is read where it stands in its block.
pub const INLINE_BYTES: usize = 128;

/// Deepest nesting of lists and maps in a DAG-CBOR block.
pub const CBOR_DEPTH: usize = 64;
/// Most values that one decoded DAG-CBOR block may hold in memory.
pub const CBOR_VALUES: usize = 262_144;
/// Deepest nesting of lists and maps in DAG-JSON text.
pub const JSON_DEPTH: usize = 64;
/// Most values that one decoded DAG-JSON text may hold in memory.
pub const JSON_VALUES: usize = 262_144;
/// Largest DAG-JSON text, in bytes: a block of 2 MiB whose bytes are all escaped.
pub const JSON_BYTES: usize = 6 * WIRE_BLOCK_BYTES;

/// Largest header of a message of ours, in bytes.
pub const CAR_HEADER_BYTES: usize = 4_096;
/// Most roots that the header of a message of ours may name.
pub const CAR_ROOTS: usize = 32;
/// Largest header of a CAR file of anybody, in bytes.
pub const CAR_FILE_HEADER_BYTES: usize = 4 << 20;
/// Most roots that a CAR file of anybody may name.
pub const CAR_FILE_ROOTS: usize = 65_536;
/// Largest section of a CAR file, in bytes: a CID and a block.
pub const CAR_SECTION_BYTES: usize = CID_BYTES + WIRE_BLOCK_BYTES;

/// Largest serialized IPNS record, in bytes (IPNS specification, "Record Size Limit").
pub const RECORD_BYTES: usize = 10_240;
/// Shortest modulus of an RSA key whose records are verified, in bits, as in the Go implementation of libp2p.
pub const RSA_BITS_MIN: usize = 2_048;
/// Longest modulus of an RSA key whose records are verified, in bits, as in the Go implementation of libp2p.
pub const RSA_BITS_MAX: usize = 8_192;
/// Most names that lead from one to content, where the record of each points at the next, as in Kubo.
pub const NAME_CHAIN: usize = 32;
/// Most rungs of a renewal ladder; with head and record they are roots of a CAR.
pub const LADDER_RUNGS: usize = 24;
/// Largest ladder, all its records together, in bytes.
pub const LADDER_BYTES: usize = 64 * 1024;
/// Shortest time between the ends of two rungs of a ladder.
pub const LADDER_STEP_MIN: Duration = Duration::from_secs(1);
/// Longest time between the ends of two rungs of a ladder: 366 days.
pub const LADDER_STEP_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Longest passphrase, in bytes of UTF-8.
pub const PASSPHRASE_BYTES: usize = 65_536;
/// Longest account name of a derivation, in bytes of UTF-8.
pub const ACCOUNT_BYTES: usize = 256;

/// Largest DID document, in bytes.
pub const DID_DOCUMENT_BYTES: usize = 65_536;
/// Most keys in a DID document.
pub const DID_KEYS: usize = 32;
/// Most other names (`alsoKnownAs`) in a DID document.
pub const DID_NAMES: usize = 16;
/// Most services in a DID document.
pub const DID_SERVICES: usize = 16;
/// Most endpoints of one service in a DID document.
pub const DID_ENDPOINTS: usize = 16;
/// Longest URL, name or type in a DID document, in bytes.
pub const DID_URI_BYTES: usize = 2_048;

/// Largest sealed key file, in bytes.
pub const KEY_FILE_BYTES: usize = 2_048;
/// Most seeds in a sealed key file.
pub const KEY_FILE_SEEDS: usize = 16;
/// Longest label of a seed in a key file, in bytes.
pub const KEY_FILE_LABEL_BYTES: usize = 32;

/// Longest handle, in bytes, without its `@`.
pub const HANDLE_BYTES: usize = 15;
/// Longest name of a subject in a list, in bytes: `#` and the number of an account whose handle is not known.
pub const SUBJECT_BYTES: usize = 21;
/// Longest label, in bytes.
pub const LABEL_BYTES: usize = 50;
/// Longest note on a label, in characters.
pub const NOTE_CHARS: usize = 280;
/// Longest DID named as the source of a label, in bytes.
pub const SOURCE_BYTES: usize = 256;
/// Longest key of a tag list's tree, in bytes: handle or number, zero byte, label.
pub const LIST_KEY_BYTES: usize = SUBJECT_BYTES + 1 + LABEL_BYTES;
/// Largest node of a tag list's tree, in bytes.
pub const TREE_NODE_BYTES: usize = 4_096;
/// Most levels of a tag list's tree, leaves included: 4¹¹ leaves whatever their keys.
pub const TREE_LEVELS: usize = 12;
/// Largest proof about a label, in bytes: one node for each level and their framing.
pub const PROOF_BYTES: usize = TREE_LEVELS * (TREE_NODE_BYTES + 3) + 16;
/// Most rows of a page of a scan or a difference.
pub const PAGE_ROWS: usize = 10_000;
/// Most changes that a log entry lists; more are carried by the tree root alone.
pub const ENTRY_CHANGES: usize = 256;
/// Largest log entry, in bytes.
pub const ENTRY_BYTES: usize = 64 * 1024;
/// Largest proof about a label of an identity, in bytes: path, log entry, DID document, record, and their framing.
pub const LABEL_PROOF_BYTES: usize =
    PROOF_BYTES + ENTRY_BYTES + DID_DOCUMENT_BYTES + RECORD_BYTES + 256;
/// Most heads that one log entry may follow.
pub const ENTRY_PREVIOUS: usize = 16;
/// Largest file of labels that is imported, in bytes: a million of them with notes.
pub const IMPORT_BYTES: usize = 256 << 20;
/// Most labels of one import.
pub const IMPORT_ROWS: usize = 1_000_000;
/// Most problems of an import that are kept; more are counted.
pub const IMPORT_PROBLEMS: usize = 100;
/// Most labels on one handle in a taglist/v1 document.
pub const COMPAT_TAGS: usize = 100;

/// Largest message of the DHT that is read, in bytes.
pub const KAD_MESSAGE_BYTES: usize = 262_144;
/// Largest message of the DHT that is taken from who asks, in bytes: as libp2p in Rust has it.
pub const KAD_REQUEST_BYTES: usize = 16_384;
/// Largest answer that is given in the DHT, in bytes: libp2p in Rust reads no larger one.
pub const KAD_ANSWER_BYTES: usize = 16_384;
/// Most closer peers taken from one answer of the DHT: as many as a bucket holds.
pub const KAD_PEERS: usize = 20;
/// Most providers taken from one answer of the DHT.
pub const KAD_PROVIDERS: usize = 256;
/// Most addresses taken of one peer in an answer of the DHT.
pub const KAD_ADDRESSES: usize = 32;
/// Most records that a node keeps for other peers of the DHT.
pub const DHT_RECORDS: usize = 500_000;
/// Most provider records that a node keeps for other peers of the DHT, of all keys together.
pub const DHT_PROVIDERS: usize = 4_000_000;
/// Longest key of a provider record, in bytes: a multihash.
pub const PROVIDER_KEY_BYTES: usize = 80;
/// Most providers kept for one key.
pub const PROVIDERS_PER_KEY: usize = 256;
/// Most providers kept for one key whose addresses are in one group.
pub const PROVIDERS_PER_GROUP: usize = 16;
/// Most addresses kept of one provider.
pub const PROVIDER_ADDRESSES: usize = 8;

/// Largest bitswap message, in bytes: 4 MiB, as the Go implementation reads at most.
pub const BITSWAP_MESSAGE_BYTES: usize = 4 << 20;
/// Most wants of one bitswap message; more are left out and counted.
pub const BITSWAP_WANTS: usize = 4_096;
/// Most words of presence or absence in one bitswap message; more are left out and counted.
pub const BITSWAP_PRESENCES: usize = 8_192;
/// Most blocks in one bitswap message.
pub const BITSWAP_PAYLOAD_BLOCKS: usize = 8_192;

/// Largest frame of gossipsub that is read, in bytes: the subscriptions of a peer come in one, and records.
pub const PUBSUB_FRAME_BYTES: usize = 256 << 10;
/// Most topics of one peer that are remembered; a message that tells of more is not heeded.
pub const PUBSUB_PEER_TOPICS: usize = 2_048;
/// Longest topic of a name, in bytes: `/record/` and the base64 of `/ipns/` and the longest name.
pub const PUBSUB_TOPIC_BYTES: usize = 128;
/// Largest request of the fetch protocol that is read, in bytes.
pub const FETCH_REQUEST_BYTES: usize = 256;
/// Largest answer of the fetch protocol that is read, in bytes: a record and its framing.
pub const FETCH_ANSWER_BYTES: usize = RECORD_BYTES + 64;

/// Something from outside is larger, longer, deeper or more than a limit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit}: {actual} is above the limit of {max}")]
pub struct LimitExceeded {
    /// What is limited, with its unit, for example `block bytes`.
    pub limit: &'static str,
    /// The most that is allowed.
    pub max: u64,
    /// What was found, as far as it is known: reading stops at the limit.
    pub actual: u64,
}

impl LimitExceeded {
    /// Checks `actual` against `max`; `limit` names what is measured and its unit.
    ///
    /// # Errors
    /// Returns the exceeded limit when `actual` is above `max`.
    pub fn check(limit: &'static str, max: usize, actual: usize) -> Result<(), LimitExceeded> {
        if actual <= max {
            return Ok(());
        }
        Err(LimitExceeded {
            limit,
            max: max as u64,
            actual: actual as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn limit_itself_is_allowed_and_the_error_names_limit_and_value() {
        assert_eq!(LimitExceeded::check("block bytes", 4, 4), Ok(()));
        let error = LimitExceeded::check("block bytes", 4, 5).unwrap_err();
        assert_eq!(error.to_string(), "block bytes: 5 is above the limit of 4");
    }
}
