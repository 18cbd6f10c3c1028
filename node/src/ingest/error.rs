//! Why a write was refused.

use std::time::Duration;

use perennis_shared::cid::Cid;
use perennis_shared::codec::CodecError;
use perennis_shared::codec::car::CarError;
use perennis_shared::error::{ErrorKind, Retryable};
use perennis_shared::ipns::{LadderError, Name, RecordError};
use perennis_shared::limits::LimitExceeded;
use perennis_shared::log::EntryError;
use perennis_shared::time::Millis;

use crate::read::ReadError;
use crate::storage::StorageError;

/// Why a write was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum IngestError {
    /// The name is not on the operator's list.
    #[error("this name may not publish here")]
    NotAllowed,
    /// Too many writes.
    #[error("{what} may write {per_minute} times a minute")]
    TooOften {
        what: &'static str,
        per_minute: u32,
        retry_after: Duration,
    },
    /// A quota is used up.
    #[error("this needs {needed} {what} and {allowed} are allowed ({setting})")]
    Quota {
        what: &'static str,
        /// The setting that says how much is allowed.
        setting: &'static str,
        needed: u64,
        allowed: u64,
    },
    /// The operator has removed the name and takes it no more.
    #[error("this name was removed by the node's operator and is not taken again")]
    Denied,
    /// There is nothing to remove.
    #[error("this name is not kept here")]
    NotRemoved,
    /// It is not kept any more, or never was, and what came is no reason to keep it.
    #[error("this name is not kept here")]
    NotKept,
    /// A fetch on demand brings more than one may.
    #[error("one fetch brings at most {allowed} bytes (fetch.max-size)")]
    FetchTooLarge { allowed: u64 },
    /// What has to be known of a file that is imported takes more memory than is left.
    #[error(
        "the file has more blocks than can be looked through with what is left of {allowed} bytes (admission.memory)"
    )]
    ImportMemory { allowed: u64 },
    /// The memory for messages is in use.
    #[error("too many messages are being received")]
    Busy,
    /// The body is no CAR file, or a block in it is not what its CID says.
    #[error("the message is no valid CAR file")]
    Car(#[from] CarError),
    /// The body is a CAR file and not a publish message.
    #[error("the CAR file is no publish message: {0}")]
    NotAMessage(&'static str),
    /// The record is refused.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// By the node's clock it is refused, and that is in doubt.
    #[error("the clock of this node shows {now}, which is in doubt, and by it {source}")]
    Clock {
        now: Millis,
        source: Box<IngestError>,
    },
    /// The rungs that came along are no ladder above the record.
    #[error("the rungs are no renewal ladder of the record")]
    Ladder(#[from] LadderError),
    /// The name is not followed.
    #[error("this name is not followed")]
    NotFollowed,
    /// Another followed name leads to it.
    #[error("it is followed for {by}, which leads to it")]
    Led { by: Name },
    /// The record points at something else than the message's head.
    #[error("the record does not point at the head {head}")]
    OtherHead { head: Cid },
    /// The head is no log entry of this name.
    #[error("the head is no entry of this name's log")]
    Head(#[from] EntryError),
    /// A block breaks the rules of its codec.
    #[error("a block breaks the rules of its codec")]
    Codec(#[from] CodecError),
    /// Blocks below the head are neither in the message nor here.
    #[error("{} blocks below the head are missing", cids.len())]
    Missing { cids: Vec<Cid> },
    /// A newer record is kept.
    #[error("sequence {offered} is older than what is kept; the kept sequence is {known}")]
    Stale { known: u64, offered: u64 },
    /// The key signed two values with one sequence.
    #[error("another value with sequence {sequence} is kept")]
    Equivocation { sequence: u64 },
    /// The message is more than one commit takes.
    #[error("the message is too large")]
    TooLarge(#[source] LimitExceeded),
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// Something stored could not be read.
    #[error("the store could not be read")]
    Read(#[from] ReadError),
    /// The store failed.
    #[error("the store failed")]
    Storage(#[from] StorageError),
}

/// When a client is told to come back whom a node refuses whose clock is in doubt.
const CLOCK: Duration = Duration::from_secs(600);

/// When a client that found all memory for messages in use is told to come back.
const BUSY: Duration = Duration::from_secs(1);

impl IngestError {
    /// Whether the node failed, and not a rule said no.
    pub(crate) const fn is_failure(&self) -> bool {
        matches!(
            self,
            IngestError::ImportMemory { .. }
                | IngestError::Busy
                | IngestError::Clock { .. }
                | IngestError::Full
                | IngestError::Read(_)
                | IngestError::Storage(_)
        )
    }

    /// A word for programs, stable between versions; `internal` where nobody outside can do anything with the cause.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            IngestError::NotAllowed => "not_allowed",
            IngestError::TooOften { .. } => "too_many_writes",
            IngestError::Quota { .. } => "quota",
            IngestError::Denied => "denied",
            IngestError::NotRemoved => "not_found",
            IngestError::NotKept => "not_kept",
            IngestError::FetchTooLarge { .. } => "dag_too_large",
            IngestError::ImportMemory { .. } => "import_memory",
            IngestError::Busy => "busy",
            IngestError::Car(_) => "invalid_car",
            IngestError::NotAMessage(_) => "invalid_message",
            IngestError::Record(error) => match error.code() {
                "malformed" => "malformed_record",
                "expired" => "expired_record",
                other => other,
            },
            IngestError::Clock { .. } => "clock",
            IngestError::Ladder(_) => "invalid_ladder",
            IngestError::NotFollowed => "not_found",
            IngestError::Led { .. } => "followed_for_another",
            IngestError::OtherHead { .. } => "head_mismatch",
            IngestError::Head(_) => "invalid_head",
            IngestError::Codec(_) => "invalid_block",
            IngestError::Missing { .. } => "missing_blocks",
            IngestError::Stale { .. } => "stale_record",
            IngestError::Equivocation { .. } => "equivocation",
            IngestError::TooLarge(_) => "too_large",
            IngestError::Full => "disk_full",
            IngestError::Read(_) => "internal",
            IngestError::Storage(error) => error.code(),
        }
    }
}

impl Retryable for IngestError {
    fn kind(&self) -> ErrorKind {
        match self {
            IngestError::TooOften { .. }
            | IngestError::ImportMemory { .. }
            | IngestError::Busy
            | IngestError::NotKept
            | IngestError::Clock { .. } => ErrorKind::Retry,
            IngestError::NotAllowed
            | IngestError::Quota { .. }
            | IngestError::Denied
            | IngestError::NotRemoved
            | IngestError::FetchTooLarge { .. }
            | IngestError::Car(_)
            | IngestError::NotAMessage(_)
            | IngestError::Record(_)
            | IngestError::Ladder(_)
            | IngestError::NotFollowed
            | IngestError::Led { .. }
            | IngestError::OtherHead { .. }
            | IngestError::Head(_)
            | IngestError::Codec(_)
            | IngestError::Missing { .. }
            | IngestError::Stale { .. }
            | IngestError::Equivocation { .. }
            | IngestError::TooLarge(_) => ErrorKind::Reject,
            IngestError::Full => ErrorKind::Fatal,
            IngestError::Read(error) => error.kind(),
            IngestError::Storage(error) => error.kind(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            IngestError::TooOften { retry_after, .. } => Some(*retry_after),
            IngestError::Clock { .. } => Some(CLOCK),
            IngestError::Busy | IngestError::ImportMemory { .. } | IngestError::NotKept => {
                Some(BUSY)
            }
            _ => None,
        }
    }
}
