//! The table of settings in docs/OPERATIONS.md, which is made from the list of settings.

use super::{Config, settings};
use crate::guide;

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

#[test]
fn the_operations_guide_has_every_setting_with_its_default_and_meaning() {
    guide::hold(
        HEAD,
        &table(),
        "cargo test -p perennis-node --no-default-features --lib config::guide",
    );
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
