//! What the write door says to a client.

use perennis_shared::cid::Cid;
use perennis_shared::error::chain;
use perennis_shared::ipns::RecordError;

use super::ClientError;
use crate::ingest::IngestError;

/// What helps when a fetch on demand would bring more bytes than it may.
pub(in crate::http) const FETCH_TOO_LARGE: &str =
    "fetch a part of it, or ask the node's operator to raise fetch.max-size";

impl ClientError for IngestError {
    fn code(&self) -> &'static str {
        IngestError::code(self)
    }

    fn message(&self) -> String {
        match self {
            IngestError::Storage(error) => format!("{self}: {}", error.message()),
            _ => chain(self),
        }
    }

    fn hides_causes(&self) -> bool {
        matches!(self, IngestError::Storage(error) if error.hides_causes())
    }

    fn hint(&self) -> &'static str {
        match self {
            IngestError::NotAllowed => "ask the node's operator to add the name to admission.allow",
            IngestError::TooOften { .. } => {
                "wait as long as Retry-After says, and gather changes into one publish"
            }
            IngestError::Quota { setting, .. } => quota_hint(setting),
            IngestError::Denied => {
                "use another node, or ask the operator to allow it again with `perennis name allow`"
            }
            IngestError::NotRemoved => "`perennis name list` shows which names are kept",
            IngestError::NotKept => "it was removed while this came in: publish it again, whole",
            IngestError::FetchTooLarge { .. } => FETCH_TOO_LARGE,
            IngestError::ImportMemory { .. } => {
                "import it when less is under way, in smaller files, or with a larger admission.memory"
            }
            IngestError::Busy => "try again after the time in Retry-After",
            IngestError::Car(_) => "send a CAR file whose blocks match their CIDs, to its end",
            IngestError::NotAMessage(_) => {
                "send CARv1 with the roots [head, record, rung…], the rungs right before the record, the record as its last block"
            }
            IngestError::Record(error) => record_hint(error),
            IngestError::Clock { .. } => {
                "use another node; its operator sets the clock, best by NTP (`perennis node doctor` tells what speaks against it)"
            }
            IngestError::Ladder(_) => {
                "sign rungs of the record's sequence and value, each ending later than the one before"
            }
            IngestError::NotFollowed => "`perennis name list` shows which names are followed",
            IngestError::Led { .. } => {
                "unfollow that name first; what is followed for it alone goes with it"
            }
            IngestError::OtherHead { .. } => {
                "sign a record whose value is /ipfs/ and the head's CID"
            }
            IngestError::Head(_) => {
                "the head is an entry of the log, signed by a key its DID document lists"
            }
            IngestError::Codec(_) => "encode blocks canonically",
            IngestError::Missing { .. } => "send the message again with the blocks in `missing`",
            IngestError::Stale { .. } => {
                "resolve the name, merge, and publish with a higher sequence"
            }
            IngestError::Equivocation { .. } => {
                "two devices published at once: resolve the name, merge, and publish with a higher sequence"
            }
            IngestError::TooLarge(_) => "publish in smaller steps: fewer changes at once",
            IngestError::Full => {
                "the node serves what it has; use another one until its operator makes room"
            }
            IngestError::Read(error) => error.hint(),
            IngestError::Storage(error) => error.hint(),
        }
    }

    fn missing(&self) -> &[Cid] {
        match self {
            IngestError::Missing { cids } => cids,
            _ => &[],
        }
    }
}

fn quota_hint(setting: &str) -> &'static str {
    match setting {
        "admission.max-names" => {
            "use another node; its operator can remove names (`perennis name remove`), have lapsed ones go sooner (admission.grace) or raise the limit"
        }
        "admission.group-names" | "admission.group-size" => {
            "show the node's token, or ask its operator to list the name in admission.allow or to follow it; behind a proxy all clients have its address until the node knows it"
        }
        _ => "compact the log, use another node, or ask the operator to raise the quota",
    }
}

fn record_hint(error: &RecordError) -> &'static str {
    match error {
        RecordError::Expired { .. } => "sign a new record; check the clock of the device",
        RecordError::WrongKey | RecordError::BadSignature => {
            "sign the record with the key of the name in the path"
        }
        RecordError::V1Only => "sign a record of version 2",
        _ => "make the record as the IPNS specification says",
    }
}
