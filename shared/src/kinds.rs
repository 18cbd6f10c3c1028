//! What a caller may do about each error of this crate.
//!
//! Nothing here waits for anybody, so hardly anything is worth trying again as it is: what was given is refused until it is
//! changed, or bytes that should have been right are not and are to be had of somebody else.

use crate::cid::{CidError, VerifyError};
use crate::codec::CodecError;
use crate::codec::car::CarError;
use crate::did::{DeriveError, DidError, DocumentError};
use crate::error::{ErrorKind, Retryable};
use crate::ipns::{ContentPathError, LadderError, NameError, NameKeyError, RecordError};
use crate::kdf::CostError;
use crate::keywrap::{OpenError, PassphraseError, SealError};
use crate::limits::LimitExceeded;
use crate::log::{EntryError, LabelProofError, LogError};
use crate::passphrase::GenerateError;
use crate::sign::{self, BadSignature};
use crate::taglist::import::ImportError;
use crate::taglist::tree::{NodeError, ProofError, TreeError};
use crate::taglist::{self, ClockError, LabelError};
use crate::time::TimeError;
use crate::unixfs::{EntityBytesError, PathError};
use crate::wire::FrameError;

/// Errors of which every variant leaves the same choice.
macro_rules! always {
    ($kind:ident: $($error:ty),* $(,)?) => {
        $(impl Retryable for $error {
            fn kind(&self) -> ErrorKind {
                ErrorKind::$kind
            }
        })*
    };
}

// What somebody has written or chosen.
always! {
    Reject: CidError, ContentPathError, NameError, NameKeyError, DidError, DeriveError, CostError, PassphraseError,
    SealError, LadderError, LimitExceeded, sign::KeyError, taglist::KeyError, LabelError, ImportError, ClockError,
    TimeError, EntityBytesError,
}

// What was signed, hashed or encoded, and is not what it should be.
always! {
    Corrupt: CodecError, CarError, DocumentError, EntryError, LabelProofError, NodeError, ProofError, FrameError,
    BadSignature,
}

impl Retryable for VerifyError {
    fn kind(&self) -> ErrorKind {
        match self {
            VerifyError::Mismatch | VerifyError::Collision => ErrorKind::Corrupt,
            VerifyError::HashNotAllowed { .. }
            | VerifyError::NotInThisBuild { .. }
            | VerifyError::DigestLength { .. }
            | VerifyError::TooLarge { .. } => ErrorKind::Reject,
        }
    }
}

impl Retryable for RecordError {
    fn kind(&self) -> ErrorKind {
        match self {
            // It was right once.
            RecordError::Expired { .. } => ErrorKind::Reject,
            RecordError::TooLarge { .. }
            | RecordError::Malformed { .. }
            | RecordError::Codec { .. }
            | RecordError::Validity { .. }
            | RecordError::V1Only
            | RecordError::UnsupportedValidity { .. }
            | RecordError::FieldMismatch { .. }
            | RecordError::WrongKey
            | RecordError::MissingKey
            | RecordError::UnsupportedKey { .. }
            | RecordError::BadSignature
            | RecordError::InvalidValue => ErrorKind::Corrupt,
        }
    }
}

impl Retryable for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            OpenError::WrongPassphrase
            | OpenError::Passphrase { .. }
            | OpenError::NotAKeyFile
            | OpenError::TooLarge { .. }
            | OpenError::Cost { .. } => ErrorKind::Reject,
            OpenError::Damaged => ErrorKind::Corrupt,
            OpenError::UnknownVersion { .. } => ErrorKind::Fatal,
        }
    }
}

impl Retryable for GenerateError {
    fn kind(&self) -> ErrorKind {
        match self {
            GenerateError::Words { .. } => ErrorKind::Reject,
            GenerateError::Randomness { .. } => ErrorKind::Fatal,
        }
    }
}

impl Retryable for PathError {
    fn kind(&self) -> ErrorKind {
        match self {
            PathError::Absent { .. } | PathError::Limit { .. } => ErrorKind::Reject,
            PathError::Unreadable { .. } => ErrorKind::Corrupt,
        }
    }
}

impl Retryable for TreeError {
    fn kind(&self) -> ErrorKind {
        match self {
            // The block may come yet.
            TreeError::Missing { .. } => ErrorKind::Retry,
            TreeError::Limit { .. } => ErrorKind::Reject,
            TreeError::Node { .. } | TreeError::Unsorted => ErrorKind::Corrupt,
        }
    }
}

impl Retryable for LogError {
    fn kind(&self) -> ErrorKind {
        match self {
            LogError::Missing { .. } => ErrorKind::Retry,
            LogError::Tree(error) => error.kind(),
            LogError::Entry { .. } => ErrorKind::Corrupt,
            LogError::Clock(_)
            | LogError::OtherIdentity
            | LogError::SeveralHeads
            | LogError::NothingToMerge
            | LogError::Limit(_) => ErrorKind::Reject,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::{Codec, cid_of};

    #[test]
    fn what_was_given_is_refused_and_what_came_wrong_is_corrupt() {
        let cid = cid_of(Codec::Raw, b"x");
        let verify = crate::cid::verify(&cid, b"y").unwrap_err();
        let table: [(&dyn Retryable, ErrorKind); 6] = [
            (&crate::cid::parse_cid("x").unwrap_err(), ErrorKind::Reject),
            (&verify, ErrorKind::Corrupt),
            (
                &crate::ipns::Name::parse("x").unwrap_err(),
                ErrorKind::Reject,
            ),
            (&CodecError::UnknownCodec(9), ErrorKind::Corrupt),
            (
                &"x".parse::<crate::time::Timestamp>().unwrap_err(),
                ErrorKind::Reject,
            ),
            (
                &LimitExceeded::check("bytes", 1, 2).unwrap_err(),
                ErrorKind::Reject,
            ),
        ];
        for (number, (error, kind)) in table.into_iter().enumerate() {
            assert_eq!(error.kind(), kind, "{number}");
        }
    }
}
