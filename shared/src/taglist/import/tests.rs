use super::*;
use crate::{
    limits::COMPAT_TAGS,
    taglist::{Colour, Handle, Label, Note, Source, Subject, export},
};
use proptest::prelude::*;
use std::{format, string::ToString};

mod programs;

const AT: Millis = Millis(1_795_253_220_000);

fn label(handle: &str, tag: &str) -> Label {
    Label::new(Handle::parse(handle).unwrap(), Tag::parse(tag).unwrap(), AT)
}

fn options() -> ImportOptions {
    ImportOptions {
        now: AT,
        ..ImportOptions::default()
    }
}

fn with_label(tag: &str) -> ImportOptions {
    ImportOptions {
        label: Some(Tag::parse(tag).unwrap()),
        ..options()
    }
}

fn csv(bytes: &[u8]) -> Result<Import, ImportError> {
    super::csv(bytes, &options())
}

fn json(bytes: &[u8]) -> Result<Import, ImportError> {
    super::json(bytes, &options())
}

/// What the rows make of an empty list.
fn labels(import: Import) -> Vec<Label> {
    let edits = import.into_edits().unwrap();
    edits.iter().map(|edit| edit.apply(None, AT)).collect()
}

fn problems(import: &Import) -> Vec<(u64, u64, String)> {
    let problems = import.problems().iter();
    problems
        .map(|problem| {
            (
                problem.place.line,
                problem.place.column,
                problem.problem.to_string(),
            )
        })
        .collect()
}

#[test]
fn csv_is_read_with_every_column() {
    let text = "\u{feff}label,Handle,note,color,source,id,created,updated,expires,negated\r\n\
                spam,@Bob,\"says \"\"hi\"\", twice\r\nor more\",#FF0000,did:key:z6Mk,42,2026-01-02,1700000000000,2027-01-01T00:00:00+01:00,yes\r\n\
                \r\n\
                bot,al,,,,,,,,\n\
                ai,al,,,,,,,,false";
    let labels = labels(csv(text.as_bytes()).unwrap());
    let mut bob = label("Bob", "spam");
    bob.subject.id = Some(42);
    bob.note = Some(Note::parse("says \"hi\", twice\nor more").unwrap());
    bob.colour = Some(Colour([255, 0, 0]));
    bob.source = Some(Source::parse("did:key:z6Mk").unwrap());
    bob.created = Millis::parse_rfc3339("2026-01-02T00:00:00Z").unwrap();
    bob.updated = Millis(1_700_000_000_000);
    bob.expires = Some(Millis::parse_rfc3339("2026-12-31T23:00:00Z").unwrap());
    bob.negated = true;
    assert_eq!(labels, [label("al", "ai"), label("al", "bot"), bob]);
}

#[test]
fn csv_problems_name_line_and_column() {
    let text = "handle,label,note,expires,negated,id,colour\n\
                a b,x,,,,,\n\
                a,X,,,,,\n\
                \"b\",y,\"two\nlines\",,,,\n\
                c,z,,soon,,,\n\
                c,z,,,perhaps,,\n\
                c,z,,,,-1,\n\
                c,z,,,,,red\n\
                c,z\n\
                B,y,,,,,\n";
    let import = csv(text.as_bytes()).unwrap();
    let places: Vec<_> = problems(&import)
        .into_iter()
        .map(|(line, column, _)| (line, column))
        .collect();
    assert_eq!(
        places,
        [
            (2, 1),
            (3, 2),
            (6, 4),
            (7, 5),
            (8, 6),
            (9, 7),
            (10, 0),
            (11, 0)
        ]
    );
    assert_eq!(
        import.problems()[7].to_string(),
        "line 11, column 0: the same label on the same handle, with other parts, is on line 4"
    );
    assert_eq!(import.valid_count(), 1);
    let refused = import.into_edits().unwrap_err();
    assert_eq!(refused.problem_count(), 8);
    assert_eq!(refused.into_valid()[0].key(), label("b", "y").key());
}

#[test]
fn a_time_that_could_not_be_exported_is_a_problem() {
    let time = |millis: u64| alloc::format!("handle,label,updated\n@bob,friend,{millis}\n");
    let last = csv(time(Millis::LAST.0).as_bytes()).unwrap();
    assert_eq!(last.valid_count(), 1);
    let after = csv(time(Millis::LAST.0 + 1).as_bytes()).unwrap();
    assert_eq!((after.valid_count(), after.problem_count()), (0, 1));
    let document = |millis: u64| {
        alloc::format!(r#"{{"version":1,"handle":"@b","updated":{millis},"tags":["x"]}}"#)
    };
    let after = json(document(Millis::LAST.0 + 1).as_bytes()).unwrap();
    assert_eq!((after.valid_count(), after.problem_count()), (0, 1));
}

#[test]
fn files_that_are_no_table_are_refused() {
    let table: [(&[u8], &str); 8] = [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (
            b"handle\na",
            "the first line must name the columns; `label` is missing",
        ),
        (
            b"a,b\nc,d",
            "column `a` is not known; known are handle, label, note, colour, source, id, created, updated, expires and negated",
        ),
        (b"handle,label,label\n", "column `label` is there twice"),
        (
            b"handle,label,size\n",
            "column `size` is not known; known are handle, label, note, colour, source, id, created, updated, expires and negated",
        ),
        (
            b"@a1\n@a2",
            "the file is a list of accounts, which names no label to put on them",
        ),
        (
            b"handle,label\na,x\n\xff",
            "the file is not UTF-8 text; the first wrong byte is on line 3",
        ),
    ];
    for (bytes, message) in table {
        assert_eq!(csv(bytes).unwrap_err().to_string(), message);
    }
}

#[test]
fn problems_beyond_the_limit_are_counted() {
    let text = "handle,label\n".to_string() + &"?,x\n".repeat(IMPORT_PROBLEMS + 5);
    let import = csv(text.as_bytes()).unwrap();
    assert_eq!(import.problems().len(), IMPORT_PROBLEMS);
    assert_eq!(import.problem_count(), IMPORT_PROBLEMS as u64 + 5);
}

#[test]
fn taglist_documents_are_read_alone_in_arrays_and_on_lines() {
    let one =
        r#"{"version":1,"handle":"@Al","updated":"2026-11-21T09:27:00Z","tags":["spam","ai"]}"#;
    let two =
        r#"{ "tags" : [ ], "handle" : "@bo", "updated":1795253220000, "version":"taglist/v1" }"#;
    let expected = [label("Al", "ai"), label("Al", "spam")];
    for text in [
        one.to_string(),
        format!("[{one}]"),
        format!(" [\n{one} ,\n{two}\n]\n"),
        format!("{one}\n{two}\n"),
    ] {
        let read = labels(json(text.as_bytes()).unwrap());
        assert_eq!(read, expected, "{text}");
    }
    assert!(labels(json(b"[]").unwrap()).is_empty());
}

#[test]
fn taglist_problems_name_line_and_label() {
    let document = |body: &str| format!("{{\"version\":1,\"updated\":1795253220000,{body}}}\n");
    let many: Vec<String> = (0..=COMPAT_TAGS).map(|n| format!("\"t{n}\"")).collect();
    let text = [
        document(r#""handle":"@a","tags":["ok","Bad","no_"]"#),
        document(r#""handle":"a","tags":[]"#),
        document(r#""handle":"@a b","tags":[]"#),
        document(r#""handle":"@b","tags":["x"],"more":1"#),
        document(r#""handle":"@b","tags":1"#),
        document(&format!(r#""handle":"@c","tags":[{}]"#, many.join(","))),
        document(r#""handle":"@d","tags":["}"]"#),
        r#"{"version":2,"handle":"@b","updated":1795253220000,"tags":[]}"#.to_string() + "\n",
        r#"{"version":1,"handle":"@b","updated":-1,"tags":[]}"#.to_string() + "\n",
        r#"{"version":1,"handle":"@b","updated":"now","tags":[]}"#.to_string() + "\n",
        r#"{"version":1,"handle":"@b","handle":"@c","updated":1,"tags":[]}"#.to_string(),
    ]
    .concat();
    let import = json(text.as_bytes()).unwrap();
    let places: Vec<_> = problems(&import)
        .into_iter()
        .map(|(line, column, _)| (line, column))
        .collect();
    assert_eq!(
        places,
        [
            (1, 2),
            (1, 3),
            (2, 0),
            (3, 0),
            (4, 0),
            (5, 0),
            (6, 0),
            (7, 1),
            (8, 0),
            (9, 0),
            (10, 0),
            (11, 0)
        ]
    );
    assert_eq!(
        import.problems()[4].problem.to_string(),
        "field `more` is not known here"
    );
    let seconds = r#"{"version":1,"handle":"@b","updated":1795253220,"tags":[]}"#;
    let import = json(seconds.as_bytes()).unwrap();
    let expected = RowProblem::Field(FieldError::Time(crate::time::TimeError::Seconds));
    assert_eq!(import.problems()[0].problem, expected);
}

#[test]
fn files_that_are_no_json_are_refused() {
    for (text, line) in [
        ("[", 1),
        ("[{}", 1),
        ("[{},]", 1),
        ("[{}\n{}]", 2),
        ("[]\n[]", 2),
        ("{\"a\":\"}\"", 1),
        ("{},{}", 1),
        ("1", 1),
        ("\nnull", 2),
    ] {
        let error = json(text.as_bytes()).unwrap_err();
        assert_eq!(error, ImportError::Json { line }, "{text}");
    }
}

#[test]
fn golden_exports() {
    let mut noted = label("Bob", "spam");
    noted.note = Some(Note::parse("a, \"b\"\nc").unwrap());
    noted.colour = Some(Colour([1, 2, 3]));
    noted.expires = Some(Millis(0));
    let mut negated = label("al", "bot");
    negated.negated = true;
    let labels = [negated, noted];
    assert_eq!(
        export::csv(&labels),
        "handle,label,note,colour,source,id,created,updated,expires,negated\r\n\
         @al,bot,,,,,2026-11-21T09:27:00.000Z,2026-11-21T09:27:00.000Z,,true\r\n\
         @Bob,spam,\"a, \"\"b\"\"\nc\",#010203,,,2026-11-21T09:27:00.000Z,2026-11-21T09:27:00.000Z,1970-01-01T00:00:00.000Z,false\r\n"
    );
    let compat = export::compat(&labels);
    assert_eq!(
        (compat.negated, compat.numbered, compat.shortened),
        (1, 0, 1)
    );
    assert_eq!(
        compat.text,
        "[\n{\"version\":1,\"handle\":\"@Bob\",\"updated\":1795253220000,\"tags\":[\"spam\"]}\n]\n"
    );
}

fn any_label() -> impl Strategy<Value = Label> {
    let time = || (0u64..250_000_000_000_000).prop_map(Millis);
    let end = (AT.0 + 1..250_000_000_000_000).prop_map(Millis);
    (
        (
            "[a-zA-Z0-9_]{1,15}",
            any::<Option<u64>>(),
            "[a-z0-9-]{1,50}",
        ),
        any::<Option<[u8; 3]>>(),
        proptest::option::of("[a-z=@'\",;ä€\\n ]{1,79}[a-z]"),
        proptest::option::of("did:[a-z0-9]{1,8}:[a-zA-Z0-9._-]{1,80}"),
        (time(), time(), proptest::option::of(end)),
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

proptest! {
    #[test]
    fn what_is_exported_is_imported_again(labels in proptest::collection::vec(any_label(), 1..20)) {
        let labels: BTreeMap<Key, Label> =
            labels.into_iter().map(|label| (label.key(), label)).collect();
        let labels: Vec<Label> = labels.into_values().collect();
        let text = export::csv(&labels);
        prop_assert_eq!(&super::tests::labels(csv(text.as_bytes()).unwrap()), &labels);
        // The format cannot say that a time is before 1973.
        let mut dated = labels.clone();
        for label in &mut dated {
            label.updated = label.updated.max(Millis::FIRST_COUNT);
        }
        let text = export::compat(&dated).text;
        let read = json(text.as_bytes()).unwrap().into_edits().unwrap();
        let keys: Vec<Key> = read.iter().map(LabelEdit::key).collect();
        let expected: Vec<Key> =
            labels.iter().filter(|label| !label.negated).map(Label::key).collect();
        prop_assert_eq!(keys, expected);
    }

    #[test]
    fn no_text_panics(text in "[\\[\\]{}\",:a\\\\\\n\\r 1@]{0,60}", body in "\\PC{0,60}") {
        let _ = json(text.as_bytes());
        let _ = csv(text.as_bytes());
        let _ = csv(format!("handle,label\n{text}").as_bytes());
        let _ = super::csv(body.as_bytes(), &with_label("x"));
        let _ = super::json(body.as_bytes(), &with_label("x"));
        let _ = csv(&[body.as_bytes(), b"\0\xff"].concat());
    }
}
