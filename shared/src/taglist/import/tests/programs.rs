//! Files that other programs make, and what a row of them says.

use super::*;
use crate::taglist::{Field, Part};

#[test]
fn a_stray_quote_costs_its_row_and_no_other() {
    let text = "handle,label,note\n\
                a,x,\"one\n\
                b,x,two\n\
                c,x,th\"ree\n\
                d,x,\"four\"4\r\n\
                e,x,\"fi\nve\"\n\
                f,x,\"six";
    let import = csv(text.as_bytes()).unwrap();
    let lines: Vec<u64> = problems(&import)
        .into_iter()
        .map(|(line, ..)| line)
        .collect();
    assert_eq!(lines, [2, 4, 5, 8]);
    assert!(
        import
            .problems()
            .iter()
            .all(|row| row.problem == RowProblem::Quotes)
    );
    let valid = import.into_valid();
    let handles: Vec<&str> = valid.iter().map(|edit| edit.handle.as_str()).collect();
    assert_eq!(handles, ["b", "e"]);
}

#[test]
fn tables_of_other_programs_are_read() {
    let expected = [label("a1", "spam"), label("a2", "spam")];
    let utf16 = |swap: bool, mark: bool| -> Vec<u8> {
        let text = format!(
            "{}handle,label\r\na1,spam\r\na2,spam",
            if mark { "\u{feff}" } else { "" }
        );
        let units = text.encode_utf16();
        units
            .flat_map(|unit| {
                if swap {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                }
            })
            .collect()
    };
    let mut files: Vec<(Vec<u8>, Option<char>)> = Vec::new();
    for separator in [',', ';', '\t', '|'] {
        let text = "handle,label\na1,spam\na2,spam\n".replace(',', &separator.to_string());
        files.push((text.into_bytes(), Some(separator)));
    }
    files.push((
        b"sep=;\r\nhandle;label\r\na1;spam\r\na2;spam".to_vec(),
        Some(';'),
    ));
    files.push((
        b"\"SEP=,\"\nhandle,label\na1,spam\na2,spam".to_vec(),
        Some(','),
    ));
    files.push((b"handle,label\ra1,spam\ra2,spam\r".to_vec(), Some(',')));
    for (swap, mark) in [(false, false), (false, true), (true, false), (true, true)] {
        files.push((utf16(swap, mark), Some(',')));
    }
    for (bytes, separator) in files {
        let import = csv(&bytes).unwrap();
        assert_eq!(
            import.form().separator,
            separator,
            "{}",
            bytes.escape_ascii()
        );
        assert_eq!(labels(import), expected, "{}", bytes.escape_ascii());
    }
    let odd = utf16(false, true);
    assert_eq!(
        csv(&odd[..odd.len() - 1]).unwrap_err(),
        ImportError::NotText { line: 3 }
    );
    for form in [
        "https://x.com/a1",
        "https://twitter.com/a1?lang=en",
        "http://mobile.twitter.com/a1/status/1",
        "x.com/a1",
        "@a1",
    ] {
        let import = csv(format!("username,tag\n{form},spam").as_bytes()).unwrap();
        assert_eq!(labels(import), expected[..1], "{form}");
    }
    let import = csv(b"handle,label\nhttps://example.com/a1,spam").unwrap();
    assert_eq!(import.problem_count(), 1);
}

#[test]
fn columns_may_have_other_names() {
    let text = "who,why,Note,when\n@a1,spam,hello,today\n";
    let mut options = options();
    options.map.push((Column::Handle, "who".to_string()));
    options.map.push((Column::Label, "Why".to_string()));
    let import = super::super::csv(text.as_bytes(), &options).unwrap();
    assert_eq!(import.left_out(), ["when"]);
    let read = labels(import);
    assert_eq!(read[0].note.as_ref().unwrap().as_str(), "hello");
    options
        .map
        .push((Column::Part(Field::Colour), "tint".to_string()));
    let error = super::super::csv(text.as_bytes(), &options).unwrap_err();
    assert_eq!(error, ImportError::NotMapped("tint".to_string()));
    assert_eq!(Column::parse("expires"), Some(Column::Part(Field::Expires)));
    assert_eq!(Column::parse("Expires"), None);
}

#[test]
fn accounts_may_be_numbers_alone() {
    let number = Handle::of_number(1_778_338_116_564_078_593);
    let list = b"1778338116564078593\n@17\nAl\n42\n";
    let import = super::super::csv(list, &with_label("spam")).unwrap();
    assert_eq!(import.form().separator, None);
    let read = labels(import);
    let handles: Vec<String> = read
        .iter()
        .map(|label| label.subject.handle.to_string())
        .collect();
    assert_eq!(handles, ["#1778338116564078593", "#42", "@17", "@Al"]);
    assert_eq!(read[0].subject.id, number.number());

    let table = b"id,label\n1778338116564078593,spam\n";
    assert_eq!(labels(csv(table).unwrap())[0].subject.handle, number);
    let other = b"handle,label,id\n#17,spam,18\n,spam,\n";
    let import = csv(other).unwrap();
    assert_eq!(import.problems()[0].problem, RowProblem::OtherNumber);
    assert_eq!(import.problems()[1].problem, RowProblem::NoHandle);

    let blue = br#"[{"user_id":"1778338116564078593","user":{"name":"X","screen_name":"somebody"},"reason":0},
                    {"id":1778338116564078593,"id_str":"1778338116564078594","screen_name":"b"},
                    {"id":1778338116564078595,"handle":"c","negated":true,"note":null}]"#;
    let import = super::super::json(blue, &with_label("spam")).unwrap();
    assert_eq!(import.left_out(), ["reason", "user.name"]);
    let read = labels(import);
    let ids: Vec<u64> = read.iter().filter_map(|label| label.subject.id).collect();
    assert_eq!(
        ids,
        [
            1_778_338_116_564_078_594,
            1_778_338_116_564_078_595,
            1_778_338_116_564_078_593
        ]
    );
    assert!(read[1].negated);
    assert_eq!(
        json(blue).unwrap().problems()[0].problem,
        RowProblem::NoLabel
    );
}

#[test]
fn what_a_row_does_not_say_it_does_not_change() {
    let text = "handle,label,note,colour,negated\na,x,,#00ff00,\nb,x,<clear>,,no\n";
    let edits = csv(text.as_bytes()).unwrap().into_edits().unwrap();
    let mut before = label("a", "x");
    before.note = Some(Note::parse("kept").unwrap());
    before.negated = true;
    let after = edits[0].apply(Some(&before), AT);
    assert_eq!((after.note, after.negated), (before.note.clone(), true));
    assert_eq!(after.colour, Some(Colour([0, 255, 0])));
    assert_eq!(edits[1].note, Part::Clear);
    let cleared = edits[1].apply(Some(&before), AT);
    assert_eq!((cleared.note, cleared.negated), (None, false));
}

#[test]
fn equal_rows_are_one() {
    let import = csv(b"handle,label\n@a1,spam\n@a1,spam\nA1,spam\n").unwrap();
    assert_eq!((import.valid_count(), import.repeated()), (1, 2));
    assert_eq!(import.problem_count(), 0);
}

#[test]
fn notes_that_a_spreadsheet_would_run_are_guarded() {
    for note in [
        "=1+1", "+1", "-1", "@SUM(A1)", "'=1", "''=1", "'quoted'", "plain", " led", "trailed ",
    ] {
        let mut noted = label("a", "x");
        noted.note = Some(Note::parse(note).unwrap());
        let text = export::csv([&noted]);
        let cell = text.lines().nth(1).unwrap().split(',').nth(2).unwrap();
        let runs = cell.trim_matches('"').starts_with(['=', '+', '-', '@']);
        assert!(!runs, "{cell}");
        assert_eq!(labels(csv(text.as_bytes()).unwrap()), [noted], "{note}");
    }
}
