use super::*;
use crate::taglist::Tag;
use proptest::prelude::*;
use std::string::String;

fn stamp() -> Stamp {
    Stamp {
        clock: Hlc::at(Millis(1_795_253_220_000)),
        device: DeviceTag(*b"device-1"),
    }
}

pub(crate) fn any_label() -> impl Strategy<Value = Label> {
    let time = || prop_oneof![Just(1_795_253_220_000u64), any::<u64>()].prop_map(Millis);
    (
        (
            "[a-zA-Z0-9_]{1,15}",
            any::<Option<u64>>(),
            "[a-z0-9-]{1,50}",
        ),
        any::<Option<[u8; 3]>>(),
        proptest::option::of("[a-zäß€\\n ]{1,280}"),
        proptest::option::of("did:[a-z0-9]{1,8}:[a-zA-Z0-9._-]{1,80}"),
        (time(), time(), proptest::option::of(time())),
        any::<bool>(),
    )
        .prop_map(
            |((handle, id, tag), colour, note, source, times, negated)| Label {
                subject: Subject {
                    handle: Handle::parse(&handle).unwrap(),
                    id,
                },
                label: Tag::parse(&tag).unwrap(),
                colour: colour.map(Colour),
                note: note.map(|note| Note::parse(&note).unwrap()),
                source: source.map(|source| Source::parse(&source).unwrap()),
                created: times.0,
                updated: times.1,
                expires: times.2,
                negated,
            },
        )
}

fn full_label() -> Label {
    Label {
        subject: Subject {
            handle: Handle::parse("@Alice").unwrap(),
            id: Some(42),
        },
        label: Tag::parse("spam").unwrap(),
        colour: Some(Colour::parse("#ff8000").unwrap()),
        note: Some(Note::parse("hé").unwrap()),
        source: Some(Source::parse("did:key:z6Mk").unwrap()),
        created: Millis(1),
        updated: Millis(2),
        expires: Some(Millis(3)),
        negated: true,
    }
}

#[test]
fn golden_bytes_of_rows() {
    let plain = Label::new(
        Handle::parse("alice").unwrap(),
        Tag::parse("spam").unwrap(),
        stamp().clock.millis(),
    );
    let table = [
        (Some(plain), "821b01a1fd6e32a0000048_6465766963652d31"),
        (None, "831b01a1fd6e32a00000486465766963652d31f6"),
        (
            Some(full_label()),
            "831b01a1fd6e32a00000486465766963652d31a96161016163_43ff80006168_65416c6963656169182a616e\
             63_68c3a961736c_6469643a6b65793a7a364d6b6174f5617502617803",
        ),
    ];
    for (label, golden) in table {
        let key = full_label().key();
        let row = Row {
            key,
            stamp: stamp(),
            label,
        };
        let golden: String = golden.replace(['_', ' '], "");
        assert_eq!(hex::encode(row.encode()), golden);
        assert_eq!(
            Row::decode(key, &hex::decode(golden).unwrap()).unwrap(),
            row
        );
    }
}

fn encode_change(change: &DatedOp, signed: Hlc) -> Vec<u8> {
    let mut encoder = Encoder::new();
    change.encode(&mut encoder, signed).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn golden_bytes_of_changes() {
    let clock = stamp().clock;
    let plain = Label::new(
        Handle::parse("alice").unwrap(),
        Tag::parse("spam").unwrap(),
        clock.millis(),
    );
    let key = plain.key();
    let table = [
        (Op::Set(plain.clone()), 0, "81_4a616c696365007370616d"),
        (Op::Set(plain), 5, "82_4a616c696365007370616d_05"),
        (Op::Remove(key), 0, "82_4a616c696365007370616d_f6"),
        (Op::Remove(key), 300, "83_4a616c696365007370616d_19012c_f6"),
    ];
    for (op, before, golden) in table {
        let change = DatedOp { op, clock };
        let signed = Hlc::from_u64(clock.as_u64() + before);
        assert_eq!(
            hex::encode(encode_change(&change, signed)),
            golden.replace('_', "")
        );
    }
}

#[test]
fn no_change_is_later_than_its_entry() {
    let signed = stamp().clock;
    let refused = |bytes: &str| {
        let bytes = hex::decode(bytes.replace('_', "")).unwrap();
        let mut decoder = Decoder::new(&bytes).unwrap();
        DatedOp::decode(&mut decoder, signed).unwrap_err();
    };
    // Zero, which is left out; below zero; more than the entry's whole reading; no number.
    refused("82_4a616c696365007370616d_00");
    refused("82_4a616c696365007370616d_20");
    refused("82_4a616c696365007370616d_1b01a1fd6e32a00001");
    refused("82_4a616c696365007370616d_fb3ff0000000000000");
    refused("83_4a616c696365007370616d_05_05");
}

#[test]
fn what_could_be_written_in_another_way_is_refused() {
    let key = full_label().key();
    let head = "831b01a1fd6e32a00000486465766963652d31";
    let table = [
        ("an empty map of parts", "a0"),
        ("created as the default", "a161611b000001a1fd6e32a0"),
        ("negated as the default", "a16174f4"),
        ("a spelling without upper case", "a1616865616c696365"),
        ("a spelling of another handle", "a1616863426f62"),
        ("parts out of order", "a2617803617502"),
        ("an unknown part", "a1617a01"),
        ("an empty note", "a1616e60"),
        ("a source that is no DID", "a161736161"),
        ("something else than parts", "01"),
    ];
    for (what, parts) in table {
        let bytes = hex::decode(std::format!("{head}{parts}")).unwrap();
        assert!(Row::decode(key, &bytes).is_err(), "{what}");
    }
    for whole in [
        "80",
        "811b01a1fd6e32a00000",
        "821b01a1fd6e32a00000476465766963652d",
        "841b01a1fd6e32a00000486465766963652d31f6f6",
    ] {
        assert!(
            Row::decode(key, &hex::decode(whole).unwrap()).is_err(),
            "{whole}"
        );
    }
}

#[test]
fn later_stamps_replace_earlier_ones() {
    let row = |clock, device, label: Option<Label>| Row {
        key: full_label().key(),
        stamp: Stamp {
            clock: Hlc::from_u64(clock),
            device: DeviceTag([device; 8]),
        },
        label,
    };
    assert!(row(2, 0, None).replaces(&row(1, 9, None)));
    assert!(row(1, 9, None).replaces(&row(1, 0, None)));
    assert!(!row(1, 0, None).replaces(&row(1, 0, None)));
    let (set, removed) = (row(1, 0, Some(full_label())), row(1, 0, None));
    assert_ne!(set.replaces(&removed), removed.replaces(&set));
}

proptest! {
    #[test]
    fn rows_and_changes_come_back(label in any_label(), removed: bool, clock: u64, before: u64) {
        let key = label.key();
        let op = if removed { Op::Remove(key) } else { Op::Set(label) };
        let clock = if clock % 2 == 0 { stamp().clock } else { Hlc::from_u64(clock) };
        let row = op.clone().into_row(Stamp { clock, ..stamp() });
        prop_assert_eq!(Row::decode(key, &row.encode()).unwrap(), row);
        for signed in [clock, Hlc::from_u64(clock.as_u64().saturating_add(before))] {
            let change = DatedOp { op: op.clone(), clock };
            let bytes = encode_change(&change, signed);
            let mut decoder = Decoder::new(&bytes).unwrap();
            prop_assert_eq!(DatedOp::decode(&mut decoder, signed).unwrap(), change);
            decoder.finish().unwrap();
        }
    }

    #[test]
    fn mutated_rows_are_refused_or_have_one_form(
        label in any_label(),
        at: proptest::sample::Index,
        byte: u8,
    ) {
        let row = Op::Set(label).into_row(stamp());
        let mut bytes = row.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Row::decode(row.key, &bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}
