#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;

use perennis_net::dht::DhtError;
use perennis_net::{ConnectError, NetError, PeerId};
use perennis_shared::cid::{Codec, VerifyError, cid_of};
use perennis_shared::codec::CodecError;
use perennis_shared::codec::car::CarError;
use perennis_shared::ipns::RecordError;
use perennis_shared::limits::LimitExceeded;
use perennis_shared::time::Millis;

use super::*;
use crate::data_folder::FolderGone;
use crate::ingest::IngestError;
use crate::read::ReadError;
use crate::storage::StorageError;

/// The status, the code, and when to try again.
fn told(error: impl ClientError) -> (u16, &'static str, Option<String>) {
    let refusal = Refusal::from(error);
    let code = refusal.code;
    let answer = refusal.into_answer();
    let retry = answer.headers().get(header::RETRY_AFTER);
    let retry = retry.map(|after| after.to_str().unwrap().to_owned());
    (answer.status().as_u16(), code, retry)
}

fn too_large() -> LimitExceeded {
    LimitExceeded::check("bytes", 1, 2).unwrap_err()
}

fn codec() -> CodecError {
    CodecError::UnknownCodec(7)
}

fn corrupt() -> ReadError {
    let source = VerifyError::HashNotAllowed { code: 1 };
    let cid = Box::new(cid_of(Codec::Raw, b"a block"));
    StorageError::from(perennis_store::ReadError::Corrupt { cid, source }).into()
}

fn gone() -> StorageError {
    StorageError::Gone(FolderGone::Missing("/secret/place".into()))
}

#[test]
fn the_write_door_says_what_it_refuses() {
    let cid = cid_of(Codec::Raw, b"a block");
    let after = Duration::from_millis(1_500);
    let record = IngestError::Record;
    let again = |seconds: &str| Some(seconds.to_owned());
    for (error, status, code, retry) in [
        (IngestError::NotAllowed, 403, "not_allowed", None),
        (
            IngestError::TooOften {
                what: "a name",
                per_minute: 3,
                retry_after: after,
            },
            429,
            "too_many_writes",
            again("2"),
        ),
        (
            IngestError::Quota {
                what: "bytes",
                setting: "admission.name-size",
                needed: 2,
                allowed: 1,
            },
            429,
            "quota",
            None,
        ),
        (IngestError::Denied, 403, "denied", None),
        (IngestError::NotRemoved, 404, "not_found", None),
        (IngestError::NotKept, 503, "not_kept", again("1")),
        (
            IngestError::FetchTooLarge { allowed: 1 },
            400,
            "dag_too_large",
            None,
        ),
        (IngestError::Busy, 503, "busy", again("1")),
        (
            IngestError::Car(CarError::Version(2)),
            400,
            "invalid_car",
            None,
        ),
        (
            IngestError::NotAMessage("it has no roots"),
            400,
            "invalid_message",
            None,
        ),
        (
            IngestError::Clock {
                now: Millis(0),
                source: Box::new(record(RecordError::WrongKey)),
            },
            503,
            "clock",
            again("600"),
        ),
        (record(RecordError::WrongKey), 400, "wrong_key", None),
        (
            record(RecordError::Codec(codec())),
            400,
            "malformed_record",
            None,
        ),
        (
            record(RecordError::TooLarge(too_large())),
            413,
            "too_large",
            None,
        ),
        (IngestError::NotFollowed, 404, "not_found", None),
        (
            IngestError::OtherHead { head: cid },
            422,
            "head_mismatch",
            None,
        ),
        (IngestError::Codec(codec()), 422, "invalid_block", None),
        (
            IngestError::Missing { cids: vec![cid] },
            422,
            "missing_blocks",
            None,
        ),
        (
            IngestError::Stale {
                known: 2,
                offered: 1,
            },
            409,
            "stale_record",
            None,
        ),
        (
            IngestError::Equivocation { sequence: 1 },
            409,
            "equivocation",
            None,
        ),
        (IngestError::TooLarge(too_large()), 413, "too_large", None),
        (IngestError::Full, 507, "disk_full", None),
        (IngestError::Read(corrupt()), 500, "internal", None),
        (IngestError::Storage(gone()), 503, "data_folder_gone", None),
        (
            IngestError::Storage(StorageError::Row(codec())),
            500,
            "internal",
            None,
        ),
    ] {
        let shown = error.to_string();
        assert_eq!(told(error), (status, code, retry), "{shown}");
    }
}

#[test]
fn reading_and_the_peers_say_what_failed() {
    let peer = PeerId::random();
    let dial = |after| ConnectError::Deadline { after };
    let after = Duration::from_secs(1);
    let not_allowed = VerifyError::HashNotAllowed { code: 1 };
    for (told, status, code) in [
        (told(corrupt()), 500, "corrupt_block"),
        (
            told(ReadError::HashNotAllowed(not_allowed)),
            400,
            "hash_not_allowed",
        ),
        (
            told(ReadError::Storage(StorageError::Row(codec()))),
            500,
            "internal",
        ),
        (told(StorageError::Full), 507, "disk_full"),
        (told(StorageError::interrupted("no luck")), 503, "stopping"),
        (told(NetError::Stopped), 503, "stopping"),
        (told(ConnectError::Own), 400, "own_peer"),
        (told(ConnectError::Denied { peer }), 400, "peer_denied"),
        (told(ConnectError::NoAddress { peer }), 502, "no_address"),
        (told(dial(after)), 502, "deadline"),
        (told(ConnectError::Net(NetError::Stopped)), 503, "stopped"),
        (told(DhtError::NoPeers), 503, "no_peers"),
        (told(DhtError::Deadline { after }), 503, "deadline"),
        (told(DhtError::Net(NetError::Stopped)), 503, "stopped"),
    ] {
        assert_eq!(told, (status, code, None));
    }
}

#[test]
fn what_an_answer_leaves_out_goes_with_it_to_the_log() {
    let cause = |refusal: Refusal| refusal.cause.map(|cause| cause.0);
    let hidden = Refusal::from(ReadError::Storage(StorageError::Row(codec())));
    assert!(hidden.document().error.message.contains("failed to answer"));
    let text = cause(hidden).unwrap();
    assert!(text.starts_with("the store failed: a row of the store is damaged: "));
    let told = Refusal::from(IngestError::Record(RecordError::WrongKey));
    assert_eq!(cause(told), None);
    let damaged = Refusal::from(corrupt());
    assert!(damaged.document().error.message.contains("is damaged"));
    assert!(cause(damaged).unwrap().contains("the stored bytes of baf"));
    for refusal in [
        Refusal::from(gone()),
        Refusal::from(IngestError::Storage(gone())),
        Refusal::from(ReadError::Storage(gone())),
    ] {
        let message = refusal.document().error.message;
        assert!(message.ends_with("or a part of it, is gone"), "{message}");
        assert!(cause(refusal).unwrap().contains("/secret/place"));
    }
    let failed = Refusal::internal(io::Error::other("no luck")).into_answer();
    let Cause(text) = failed.extensions().get::<Cause>().unwrap();
    assert_eq!(text, "no luck");
}

#[test]
fn missing_blocks_are_listed() {
    let cid = cid_of(Codec::Raw, b"a block");
    let refusal = Refusal::from(IngestError::Missing { cids: vec![cid] });
    let document = serde_json::to_value(refusal.document()).unwrap();
    assert_eq!(document["error"]["missing"][0], cid.to_string());
    let refusal = Refusal::from(IngestError::Full);
    let document = serde_json::to_value(refusal.document()).unwrap();
    assert!(document["error"].get("missing").is_none());
}
