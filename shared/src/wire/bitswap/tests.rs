use super::*;
use crate::cid::{Codec, Multihash, cid_of};
use alloc::{string::ToString, vec};
use proptest::prelude::*;

fn raw(content: &[u8]) -> Block {
    Block::new(Codec::Raw, content.to_vec()).unwrap()
}

fn whole(message: &Message) -> Bytes {
    message.encode().concat().into()
}

fn frame(message: &Message) -> Bytes {
    let bytes = whole(message);
    let (length, prefix) = crate::wire::read_length(&bytes, BITSWAP_MESSAGE_BYTES)
        .unwrap()
        .unwrap();
    assert_eq!(prefix + length, bytes.len());
    bytes.slice(prefix..)
}

fn decode(bytes: &[u8]) -> Result<Message, CodecError> {
    Message::decode(&Bytes::copy_from_slice(bytes))
}

fn example() -> Message {
    let (a, b) = (cid_of(Codec::Raw, b"a"), cid_of(Codec::DagPb, b"b"));
    Message {
        wants: vec![
            Want::new(a, WantKind::Have, -1),
            Want::new(b, WantKind::Block, 7),
            Want::cancel(a),
        ],
        is_full: true,
        payload: vec![Payload::new(&raw(b"hello"))],
        presences: vec![
            Presence {
                cid: a,
                is_here: true,
            },
            Presence {
                cid: b,
                is_here: false,
            },
        ],
        pending_bytes_claimed: 300,
        left_out: 0,
    }
}

/// Written down from the message definition of the specification, field by field.
#[test]
fn a_message_has_its_known_bytes() {
    let a = "01551220ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    let b = "017012203e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";
    let text = hex::encode(whole(&example()));
    let entries = [
        alloc::format!("0a350a24{a}10ffffffffffffffffff0120012801"),
        alloc::format!("0a2a0a24{b}10072801"),
        alloc::format!("0a280a24{a}1801"),
    ];
    let list = alloc::format!("{}1001", entries.concat());
    let list = alloc::format!("0a{}{list}", length_of(&list));
    let payload = "1a0d0a0401551220120568656c6c6f";
    let presences = alloc::format!("22260a24{a}22280a24{b}1001");
    let body = alloc::format!("{list}{payload}{presences}28ac02");
    assert_eq!(text, alloc::format!("{}{body}", length_of(&body)));
    assert_eq!(decode(&hex::decode(&body).unwrap()), Ok(example()));
}

fn length_of(text: &str) -> alloc::string::String {
    let mut length = Vec::new();
    varint::write(&mut length, text.len() as u64 / 2);
    hex::encode(length)
}

#[test]
fn blocks_are_named_by_their_hash_and_share_the_frame() {
    let large = raw(&[7; 300_000]);
    let small = raw(b"small");
    let message = Message {
        payload: vec![Payload::new(&small), Payload::new(&large)],
        ..Message::default()
    };
    let frame = frame(&message);
    let mut decoded = Message::decode(&frame).unwrap();
    let [first, second] = [decoded.payload.remove(0), decoded.payload.remove(0)];
    let place = second.data().as_ptr() as usize - frame.as_ptr() as usize;
    assert!(place < frame.len(), "the large block is not copied");
    let place = (first.data().as_ptr() as usize).wrapping_sub(frame.as_ptr() as usize);
    assert!(
        place >= frame.len(),
        "the small one does not hold the frame"
    );
    assert_eq!(first.into_block().unwrap(), small);
    assert_eq!(second.into_block().unwrap(), large);
}

#[test]
fn every_accepted_hash_makes_its_cid_and_no_other_does() {
    for (hash, digest_bytes) in [
        (HashFn::Sha2_256, 32),
        (HashFn::Sha2_256, 20),
        (HashFn::Sha2_512, 64),
        (HashFn::Blake3, 32),
    ] {
        let cid = Cid::new_v1(0x55, hash.multihash(digest_bytes, b"hello").unwrap());
        let block = Block::verified(cid, &b"hello"[..]).unwrap();
        let payload = Payload::new(&block);
        assert_eq!(payload.into_block(), Ok(block));
    }
    let hash = HashFn::Sha2_256.multihash(32, b"hello").unwrap();
    let v0 = Block::verified(Cid::new_v0(hash).unwrap(), &b"hello"[..]).unwrap();
    assert_eq!(Payload::new(&v0).into_block(), Ok(v0));
    for (prefix, reason) in [
        (&[1, 0x55, 0x00, 5][..], "hash function 0x0"),
        (&[1, 0x55, 0x22, 20], "hash function 0x22"),
        (&[1, 0x55, 0x12, 19], "20 to 32 bytes, not 19"),
    ] {
        let mut body = Vec::new();
        bytes_field(&mut body, 1, prefix);
        bytes_field(&mut body, 2, b"hello");
        let mut message = Vec::new();
        bytes_field(&mut message, 3, &body);
        let payload = decode(&message).unwrap().payload.remove(0);
        let error = payload.into_block().unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn the_blocks_of_the_first_version_are_read() {
    let mut message = Vec::new();
    bytes_field(&mut message, 2, b"\x0a\x02\x08\x01");
    let payload = decode(&message).unwrap().payload.remove(0);
    let block = payload.into_block().unwrap();
    // The empty UnixFS directory, under the name everybody knows it by.
    assert_eq!(
        block.cid().to_string(),
        "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
    );
}

#[test]
fn wants_of_a_million_are_counted_and_not_kept() {
    // The smallest entry there is: an identity CID of nothing.
    let entry = [0x0a, 6, 0x0a, 4, 1, 0x55, 0, 0];
    let count = (BITSWAP_MESSAGE_BYTES - 8) / entry.len();
    let mut message = Vec::new();
    bytes_field(&mut message, 1, &entry.repeat(count));
    let decoded = decode(&message).unwrap();
    assert_eq!(decoded.wants.len(), BITSWAP_WANTS);
    assert_eq!(decoded.left_out, count - BITSWAP_WANTS);
    message.resize(BITSWAP_MESSAGE_BYTES + 1, 0);
    assert!(matches!(decode(&message), Err(CodecError::Limit(_))));
}

#[test]
fn presences_are_bounded_and_so_are_blocks() {
    let mut message = Vec::new();
    for _ in 0..=BITSWAP_PRESENCES {
        message.extend([0x22, 6, 0x0a, 4, 1, 0x55, 0, 0]);
    }
    let decoded = decode(&message).unwrap();
    assert_eq!(
        (decoded.presences.len(), decoded.left_out),
        (BITSWAP_PRESENCES, 1)
    );
    let blocks = [0x12, 0].repeat(BITSWAP_PAYLOAD_BLOCKS);
    assert!(decode(&blocks).is_ok());
    let error = decode(&[&blocks[..], &[0x12, 0]].concat()).unwrap_err();
    assert!(error.to_string().starts_with("blocks in a message"));
    let mut large = Vec::new();
    bytes_field(&mut large, 2, &vec![0; WIRE_BLOCK_BYTES + 1]);
    assert!(
        decode(&large)
            .unwrap_err()
            .to_string()
            .starts_with("block bytes")
    );
}

#[test]
fn a_cid_above_our_limits_is_left_out_alone() {
    let mut long = vec![1, 0x55, 0x13, 65];
    long.extend([0; 65]);
    let mut entry = Vec::new();
    bytes_field(&mut entry, 1, &long);
    let mut list = Vec::new();
    bytes_field(&mut list, 1, &entry);
    bytes_field(
        &mut list,
        1,
        &Want::new(cid_of(Codec::Raw, b"a"), WantKind::Block, 1).encode(),
    );
    let mut message = Vec::new();
    bytes_field(&mut message, 1, &list);
    bytes_field(&mut message, 4, &entry);
    let decoded = decode(&message).unwrap();
    assert_eq!((decoded.wants.len(), decoded.left_out), (1, 2));
}

#[test]
fn what_breaks_a_rule_is_refused_by_name() {
    let table: [(&[u8], &str); 10] = [
        (
            &[0x0a, 2, 0x0a, 0],
            "field `wantlist.entries.block` is missing",
        ),
        (
            &[0x0a, 4, 0x0a, 2, 0x0a, 0],
            "field `wantlist.entries.block` is invalid: not a CID",
        ),
        (&[0x0a, 2, 0x10, 2], "field `wantlist.full` is out of range"),
        (
            &[0x0a, 0, 0x0a, 0],
            "field `wantlist` is invalid: it comes twice",
        ),
        (&[0x08, 0], "field `wantlist` must be bytes, not a varint"),
        (&[0x1a, 2, 0x12, 0], "field `payload.prefix` is missing"),
        (
            &[0x1a, 4, 0x0a, 2, 1, 0x55],
            "field `payload.prefix` is invalid: not a CID prefix",
        ),
        (
            &[0x1a, 6, 0x0a, 4, 0, 0x55, 0x12, 0x20],
            "field `payload.prefix` is invalid: not a CID prefix",
        ),
        (
            &[0x22, 2, 0x10, 3],
            "field `blockPresences.type` is out of range",
        ),
        (
            &[0x28, 0x80, 0x80, 0x80, 0x80, 0x08],
            "field `pendingBytes` is out of range",
        ),
    ];
    for (message, expected) in table {
        let error = decode(message).unwrap_err();
        assert_eq!(error.to_string(), expected, "{message:02x?}");
    }
}

#[test]
fn fields_of_later_versions_are_passed_over() {
    assert_eq!(decode(&[0x32, 1, 7]), Ok(Message::default()));
    assert!(decode(&[]).unwrap().is_empty());
}

fn any_cid() -> impl Strategy<Value = Cid> {
    let any = (any::<u32>(), proptest::collection::vec(any::<u8>(), 1..=64));
    any.prop_map(|(codec, digest)| {
        Cid::new_v1(codec.into(), Multihash::wrap(0x12, &digest).unwrap())
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    let want = (any_cid(), any::<i32>(), any::<[bool; 3]>()).prop_map(
        |(cid, priority, [have, is_cancel, tell_absent])| Want {
            cid,
            priority,
            kind: if have {
                WantKind::Have
            } else {
                WantKind::Block
            },
            is_cancel,
            tell_absent,
        },
    );
    let presence = (any_cid(), any::<bool>()).prop_map(|(cid, is_here)| Presence { cid, is_here });
    let payload = (any_cid(), 0..9_000_usize)
        .prop_map(|(cid, size)| Payload::unchecked(&cid, vec![1; size].into()));
    let parts = (
        proptest::collection::vec(want, 0..4),
        any::<bool>(),
        proptest::collection::vec(payload, 0..4),
        proptest::collection::vec(presence, 0..4),
        any::<i32>(),
    );
    parts.prop_map(
        |(wants, is_full, payload, presences, pending_bytes_claimed)| Message {
            wants,
            is_full,
            payload,
            presences,
            pending_bytes_claimed,
            left_out: 0,
        },
    )
}

proptest! {
    #[test]
    fn every_message_comes_back(message in any_message()) {
        prop_assert_eq!(Message::decode(&frame(&message)), Ok(message));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
        if let Ok(message) = decode(&bytes) {
            for payload in message.payload {
                drop(payload.into_block());
            }
        }
    }

    #[test]
    fn damaged_messages_never_panic(message in any_message(), at: usize, byte: u8) {
        let mut bytes = frame(&message).to_vec();
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] = byte;
            drop(decode(&bytes));
        }
    }
}
