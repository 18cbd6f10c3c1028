//! The table of settings in docs/OPERATIONS.md, which is made from the list of settings.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{Config, settings};

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATIONS.md");

/// Asks for the table to be written instead of compared.
const UPDATE: &str = "UPDATE_DOCUMENTS";

const HEAD: &str = "| setting | default | meaning |\n|---|---|---|\n";

/// The table: a row for each setting.
fn table() -> String {
    let defaults = Config::default();
    let row = |setting: &super::Setting| {
        let default = for_people(&(setting.show)(&defaults));
        format!("| `{}` | {default} | {} |\n", setting.key, setting.meaning)
    };
    settings().iter().map(row).collect()
}

/// A default: numbers with separators, everything else as it can be written in the file.
fn for_people(value: &str) -> String {
    if value.is_empty() {
        return "none".to_owned();
    }
    if value.bytes().any(|byte| !byte.is_ascii_digit()) {
        return format!("`{value}`");
    }
    let mut number = String::new();
    for (place, digit) in value.chars().enumerate() {
        if place > 0 && (value.len() - place).is_multiple_of(3) {
            number.push(',');
        }
        number.push(digit);
    }
    number
}

/// The guide with this table in the place of the one it has.
fn with_table(guide: &str, table: &str) -> String {
    let (before, rest) = guide.split_once(HEAD).expect("the guide has the table");
    let is_row = |line: &&str| line.starts_with('|');
    let old: usize = rest
        .split_inclusive('\n')
        .take_while(is_row)
        .map(str::len)
        .sum();
    [before, HEAD, table, &rest[old..]].concat()
}

#[test]
fn the_operations_guide_has_every_setting_with_its_default_and_meaning() {
    let guide = std::fs::read_to_string(GUIDE).unwrap();
    let expected = with_table(&guide, &table());
    if guide == expected {
        return;
    }
    assert!(
        std::env::var_os(UPDATE).is_some(),
        "docs/OPERATIONS.md has other settings than node/src/config; write its table with\n\
         {UPDATE}=1 cargo test -p perennis-node --no-default-features --lib config::guide"
    );
    std::fs::write(GUIDE, expected).unwrap();
}

#[test]
fn only_the_table_is_replaced() {
    let guide = format!("before\n\n{HEAD}| old |\n| older |\n\nafter\n| another |\n");
    assert_eq!(
        with_table(&guide, "| new |\n"),
        format!("before\n\n{HEAD}| new |\n\nafter\n| another |\n")
    );
    assert_eq!(with_table(&guide, "| old |\n| older |\n"), guide);
}

#[test]
fn defaults_are_shown_as_they_are_written_and_numbers_for_people() {
    for (value, shown) in [
        ("", "none"),
        ("16", "16"),
        ("1024", "1,024"),
        ("100000", "100,000"),
        ("1000000", "1,000,000"),
        ("64MiB", "`64MiB`"),
        ("auto", "`auto`"),
    ] {
        assert_eq!(for_people(value), shown);
    }
}
