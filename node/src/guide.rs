//! Tables of docs/OPERATIONS.md that are made from the program.

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATIONS.md");

/// Asks for a table to be written instead of compared.
const UPDATE: &str = "UPDATE_DOCUMENTS";

/// Fails where the table below this head has other rows, or writes them when asked to; `command` does that.
pub(crate) fn hold(head: &str, rows: &str, command: &str) {
    let guide = std::fs::read_to_string(GUIDE).unwrap();
    let expected = with_table(&guide, head, rows);
    if guide == expected {
        return;
    }
    assert!(
        std::env::var_os(UPDATE).is_some(),
        "docs/OPERATIONS.md has another table than the program below {head}; write it with\n{UPDATE}=1 {command}"
    );
    std::fs::write(GUIDE, expected).unwrap();
}

/// The guide with this table in the place of the one it has.
fn with_table(guide: &str, head: &str, table: &str) -> String {
    let (before, rest) = guide.split_once(head).expect("the guide has the table");
    let is_row = |line: &&str| line.starts_with('|');
    let old: usize = rest
        .split_inclusive('\n')
        .take_while(is_row)
        .map(str::len)
        .sum();
    [before, head, table, &rest[old..]].concat()
}

#[test]
fn only_the_table_is_replaced() {
    let head = "| a | b |\n|---|---|\n";
    let guide = format!("before\n\n{head}| old |\n| older |\n\nafter\n| another |\n");
    assert_eq!(
        with_table(&guide, head, "| new |\n"),
        format!("before\n\n{head}| new |\n\nafter\n| another |\n")
    );
    assert_eq!(with_table(&guide, head, "| old |\n| older |\n"), guide);
}
