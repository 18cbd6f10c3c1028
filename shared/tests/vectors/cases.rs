//! Files of labels that other programs made, and what is right for each: the folder that `PERENNIS_CASES` names.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use perennis_shared::taglist::import::{Import, ImportOptions, RowProblem, csv, json};
use perennis_shared::taglist::{FieldError, Label, Tag, export};
use perennis_shared::time::{Millis, TimeError};

const AT: Millis = Millis(1_795_253_220_000);

/// Adds one test, of all files.
pub(crate) fn add(folder: &Path, trials: &mut Vec<Trial>) {
    let folder = folder.join("labels");
    let name = "cases: files of other programs are read or refused with the reason";
    trials.push(Trial::test(name, move || files_are_judged(&folder)));
}

fn options() -> ImportOptions {
    ImportOptions {
        now: AT,
        ..ImportOptions::default()
    }
}

fn with_label() -> ImportOptions {
    ImportOptions {
        label: Some(Tag::parse("spam").unwrap()),
        ..options()
    }
}

/// What the rows make of an empty list.
fn labels(import: Import) -> Vec<Label> {
    let edits = import.into_edits().unwrap();
    edits.iter().map(|edit| edit.apply(None, AT)).collect()
}

/// Handle and label of each row.
fn subjects(import: Import) -> Vec<(String, String)> {
    let labels = labels(import);
    let subject = |label: &Label| {
        (
            label.subject.handle.as_str().to_owned(),
            label.label.to_string(),
        )
    };
    labels.iter().map(subject).collect()
}

fn files_are_judged(folder: &Path) -> Result<(), Failed> {
    let read = |name: &str, options: &ImportOptions| {
        let bytes = fs::read(folder.join(name)).unwrap();
        let read = if name.ends_with("json") { json } else { csv };
        read(&bytes, options).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let spam = |handle: &str| (handle.to_owned(), "spam".to_owned());
    for name in [
        "03-semicolon.csv",
        "04-tab.tsv",
        "05-sep-excel.csv",
        "06-utf16.csv",
        "15-url.csv",
        "15b-url.csv",
        "16-dup-same.csv",
    ] {
        assert_eq!(subjects(read(name, &options())), [spam("a1")], "{name}");
    }
    for (name, options) in [
        ("08-cr-only.csv", options()),
        ("14-plain-list.txt", with_label()),
    ] {
        let found = subjects(read(name, &options));
        assert_eq!(found, [spam("a1"), spam("a2")], "{name}");
    }
    for (name, expected) in [
        ("21-ids.csv", [1_778_338_116_564_078_592].as_slice()),
        ("50-blueblocker.json", &[1_778_338_116_564_078_592]),
        (
            "52-ids-only.csv",
            &[1_778_338_116_564_078_592, 1_778_338_116_564_078_593],
        ),
    ] {
        let found = labels(read(name, &with_label()));
        let ids: Vec<u64> = found.iter().filter_map(|label| label.subject.id).collect();
        assert_eq!(ids, expected, "{name}");
    }
    let problem = |name: &str| read(name, &options()).problems()[0].problem.clone();
    let time = |error| RowProblem::Field(FieldError::Time(error));
    assert_eq!(problem("25-expires-seconds.csv"), time(TimeError::Seconds));
    assert_eq!(problem("33-expires-leap.csv"), time(TimeError::LeapSecond));
    assert!(matches!(
        problem("28-expires-past.csv"),
        RowProblem::Field(FieldError::Ended(_))
    ));
    let ends = labels(read("27-expires-date.csv", &options()))[0].expires;
    assert_eq!(ends.unwrap().to_string(), "2030-02-01T00:00:00.000Z");
    let negated = read("46-negated.csv", &options());
    assert_eq!(
        negated.problems()[0].problem,
        RowProblem::Field(FieldError::Negated)
    );
    let valid = negated.into_valid();
    assert!(valid.iter().all(|edit| edit.negated == Some(true)));
    let formula = labels(read("62-formula.csv", &options()));
    let written = csv(export::csv(&formula).as_bytes(), &options())?;
    assert_eq!(labels(written), formula);
    Ok(())
}
