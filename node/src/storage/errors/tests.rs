#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use perennis_shared::cid::{Codec, VerifyError, cid_of};

use super::*;

fn corrupt() -> ReadError {
    ReadError::Corrupt {
        cid: Box::new(cid_of(Codec::Raw, b"a block")),
        source: VerifyError::HashNotAllowed { code: 1 },
    }
}

#[test]
fn every_failure_of_the_store_has_its_kind() {
    let disk = || ReadError::Disk {
        cid: Box::new(cid_of(Codec::Raw, b"a block")),
        source: io::Error::other("no luck"),
    };
    let gone = FolderGone::Missing(PathBuf::from("/data"));
    let codec = CodecError::UnknownCodec(7);
    for (error, kind) in [
        (StorageError::from(corrupt()), ErrorKind::Corrupt),
        (StorageError::from(disk()), ErrorKind::Fatal),
        (StorageError::Commit(CommitError::Full), ErrorKind::Fatal),
        (StorageError::Commit(CommitError::Closed), ErrorKind::Retry),
        (StorageError::Full, ErrorKind::Fatal),
        (StorageError::Row(codec), ErrorKind::Corrupt),
        (StorageError::Gone(gone), ErrorKind::Fatal),
        (StorageError::interrupted("no luck"), ErrorKind::Retry),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn every_change_that_is_not_made_has_its_kind() {
    let too_large = LimitExceeded::check("bytes", 1, 2).unwrap_err();
    for (error, kind) in [
        (ChangeError::Stale { known: 1 }, ErrorKind::Reject),
        (ChangeError::Equivocation, ErrorKind::Reject),
        (ChangeError::Missing(Vec::new()), ErrorKind::Reject),
        (ChangeError::TooLarge(too_large), ErrorKind::Reject),
        (ChangeError::Full, ErrorKind::Fatal),
        (
            StorageError::interrupted("no luck").into(),
            ErrorKind::Retry,
        ),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn every_reason_not_to_open_has_its_kind() {
    let path = || PathBuf::from("/data");
    let newer = StoreOpenError::NewerFormat {
        dir: path(),
        found: 9,
        known: 2,
    };
    let folder = OpenError::Folder {
        path: path(),
        source: io::Error::other("no luck"),
    };
    for (error, kind) in [
        (newer.into(), ErrorKind::Reject),
        (
            StoreOpenError::Locked { dir: path() }.into(),
            ErrorKind::Fatal,
        ),
        (folder, ErrorKind::Fatal),
        (OpenError::Rows(corrupt()), ErrorKind::Fatal),
        (OpenError::Commit(CommitError::Full), ErrorKind::Fatal),
        (OpenError::TooManyRouters, ErrorKind::Fatal),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
    }
}
