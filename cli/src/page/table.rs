//! Tables, as wide as the terminal they are shown on. Pure.
//!
//! Where nothing is known of a terminal, every column is as wide as its widest cell and nothing is cut: that is what programs
//! and files read. On a terminal the widest columns give way, and a cell that is cut ends with `…`. What has no use without
//! its end, such as a name or a CID, is not cut: where it has no room the rows are shown below each other, one line for each
//! column. Widths are those of the terminal, of wide, combining and invisible characters too.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::Paint;

/// Between two columns.
const GAP: usize = 2;

/// The least that a column which is cut still shows.
const LEAST: usize = 6;

/// From this width on a cell without a space in it is a name, a CID or an address, which is whole or of no use.
const WHOLE: usize = 32;

/// The lines of a table.
pub(super) fn table(
    paint: Paint,
    width: Option<usize>,
    head: &[&str],
    rows: &[Vec<String>],
) -> String {
    let columns: Vec<Column> = (0..head.len())
        .map(|index| Column::new(index, head, rows))
        .filter(|column| column.content > 0)
        .collect();
    let mut text = String::new();
    let Some(widths) = fit(&columns, width) else {
        let width = width.unwrap_or(usize::MAX);
        for (at, row) in rows.iter().enumerate() {
            if at > 0 {
                text.push('\n');
            }
            stack(&mut text, paint, width, &columns, row);
        }
        return text;
    };
    let is_terminal = width.is_some();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        let mut owed = 0;
        for (cell, width) in cells.zip(&widths) {
            if cell.is_empty() {
                owed += width + GAP;
                continue;
            }
            let shown = cut(cell, *width);
            let _ = write!(line, "{:owed$}", "");
            owed = (width + GAP).saturating_sub(shown.width());
            match is_terminal && is_right_to_left(&shown) {
                // Isolated, so that it does not turn its neighbours around.
                true => {
                    let _ = write!(line, "\u{2068}{shown}\u{2069}");
                }
                false => line.push_str(&shown),
            }
        }
        line
    };
    let head_line = line(&mut columns.iter().map(|column| column.head));
    let _ = writeln!(text, "{}", paint.dim(head_line));
    for row in rows {
        let cells = columns.iter().map(|column| column.cell(row));
        let _ = writeln!(text, "{}", line(&mut { cells }));
    }
    text
}

struct Column<'a> {
    index: usize,
    head: &'a str,
    /// Width of its widest cell.
    content: usize,
    /// Width below which it is not cut.
    least: usize,
}

impl<'a> Column<'a> {
    fn new(index: usize, head: &[&'a str], rows: &[Vec<String>]) -> Column<'a> {
        let (mut content, mut least) = (0, 0);
        for cell in rows.iter().filter_map(|row| row.get(index)) {
            let width = cell.width();
            content = content.max(width);
            let is_whole = width >= WHOLE && !cell.contains(char::is_whitespace);
            least = least.max(if is_whole { width } else { width.min(LEAST) });
        }
        Column {
            index,
            head: head[index],
            content,
            least,
        }
    }

    fn cell<'r>(&self, row: &'r [String]) -> &'r str {
        row.get(self.index).map_or("", String::as_str)
    }
}

/// The width of each column; none where they have no room beside each other.
fn fit(columns: &[Column<'_>], width: Option<usize>) -> Option<Vec<usize>> {
    let wished = columns
        .iter()
        .map(|column| column.content.max(column.head.width()));
    let mut widths: Vec<usize> = wished.collect();
    let Some(width) = width else {
        return Some(widths);
    };
    let room = width.checked_sub(GAP * columns.len().saturating_sub(1))?;
    if columns.iter().map(|column| column.least).sum::<usize>() > room {
        return None;
    }
    let mut over = widths.iter().sum::<usize>().saturating_sub(room);
    while over > 0 {
        // The widest one that may still give way does, down to the next widest.
        let may_give = |at: &usize| widths[*at] > columns[*at].least;
        let widest = (0..widths.len())
            .filter(may_give)
            .max_by_key(|at| widths[*at])?;
        let next = (0..widths.len())
            .filter(|at| *at != widest && may_give(at) && widths[*at] < widths[widest])
            .map(|at| widths[at])
            .max()
            .unwrap_or(0)
            .max(columns[widest].least);
        let taken = (widths[widest] - next).clamp(1, over);
        widths[widest] -= taken;
        over -= taken;
    }
    Some(widths)
}

/// A row as lines of a name and a value; what has no room on one line goes on on the next.
fn stack(text: &mut String, paint: Paint, width: usize, columns: &[Column<'_>], row: &[String]) {
    let names = columns.iter().map(|column| column.head.width());
    let names = names.max().unwrap_or(0).min(width / 2);
    let room = width.saturating_sub(names + GAP).max(1);
    for column in columns.iter().filter(|column| !column.cell(row).is_empty()) {
        let mut name = cut(column.head, names);
        for piece in pieces(column.cell(row), room) {
            let gap = (names + GAP).saturating_sub(name.width());
            let _ = writeln!(text, "{}{:gap$}{piece}", paint.dim(&name), "");
            name.clear();
        }
    }
}

/// The text in pieces that are at most this wide.
fn pieces(mut text: &str, width: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let mut end = fitting(text, width);
        if end == 0 {
            // A wide character on a narrow line: it is shown all the same.
            end = text.chars().next().map_or(text.len(), char::len_utf8);
        }
        let (piece, rest) = text.split_at(end);
        pieces.push(piece);
        text = rest;
    }
    pieces
}

/// The text if it is at most this wide, else its beginning and `…`.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let end = fitting(text, width.saturating_sub(1));
    format!("{}…", text[..end].trim_end())
}

/// The bytes of the longest beginning that is at most this wide. Marks and joined characters, which add no width, stay with
/// what they belong to.
fn fitting(text: &str, width: usize) -> usize {
    let mut end = 0;
    for (at, character) in text.char_indices() {
        let next = at + character.len_utf8();
        if text[..next].width() > width {
            break;
        }
        // What a joiner joins is not there yet.
        if character != '\u{200d}' {
            end = next;
        }
    }
    end
}

/// Whether text has a letter of a script that is written from right to left (Unicode ranges of Bidi_Class R and AL).
fn is_right_to_left(text: &str) -> bool {
    text.chars().any(|character| {
        matches!(character,
            '\u{590}'..='\u{8ff}'
            | '\u{fb1d}'..='\u{fdff}'
            | '\u{fe70}'..='\u{feff}'
            | '\u{10800}'..='\u{10fff}'
            | '\u{1e800}'..='\u{1efff}')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: Option<usize>, head: &[&str], rows: &[&[&str]]) -> String {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| (*cell).to_owned()).collect())
            .collect();
        table(Paint::new(false), width, head, &rows)
    }

    const HEAD: &[&str] = &["HANDLE", "LABEL", "NOTE"];
    const NOTE: &str = "said so in three places and went on to say it in a fourth";

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        let text = shown(None, HEAD, &[&["@alice", "spam", NOTE], &["@b", "", ""]]);
        assert_eq!(
            text,
            format!("HANDLE  LABEL  NOTE\n@alice  spam   {NOTE}\n@b\n")
        );
    }

    #[test]
    fn the_widest_column_gives_way_first() {
        let text = shown(Some(40), HEAD, &[&["@alice", "spam", NOTE]]);
        assert_eq!(
            text,
            "HANDLE  LABEL  NOTE\n@alice  spam   said so in three places…\n"
        );
    }

    #[test]
    fn what_has_no_use_without_its_end_is_shown_whole() {
        let name = "k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9";
        let beside = shown(Some(80), &["NAME", "SEQUENCE"], &[&[name, "7"]]);
        assert!(beside.contains(&format!("{name}  7\n")), "{beside}");
        let below = shown(
            Some(40),
            &["NAME", "SEQUENCE"],
            &[&[name, "7"], &["k51", "8"]],
        );
        assert_eq!(
            below,
            format!(
                "NAME      {}\n          {}\n          {}\nSEQUENCE  7\n\nNAME      k51\nSEQUENCE  8\n",
                &name[..30],
                &name[30..60],
                &name[60..]
            )
        );
    }

    /// Handles, labels and notes as people write them.
    const ROWS: &[&[&str]] = &[
        &["@alice", "spam", NOTE],
        &[
            "@名前は長いです",
            "垃圾邮件",
            "这个人在四个地方都这么说过,而且还会继续说下去",
        ],
        &[
            "@family",
            "👨\u{200d}👩\u{200d}👧\u{200d}👦👍🏽🇩🇪",
            "👩\u{200d}🚀 and 🏳\u{fe0f}\u{200d}🌈 and ✌\u{fe0f}, and on and on",
        ],
        &[
            "@שלום",
            "ספאם",
            "הוא אמר את זה בשלושה מקומות שונים ועוד פעם",
        ],
        &[
            "@e\u{301}lise",
            "nai\u{308}ve",
            "e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}",
        ],
        &[
            "@نمونه",
            "می\u{200c}خواهم",
            "او این را در سه جا گفت و باز هم خواهد گفت",
        ],
    ];

    #[test]
    fn every_line_fits_every_terminal() {
        for width in 20..=200 {
            let text = shown(Some(width), HEAD, ROWS);
            for line in text.lines() {
                assert!(line.width() <= width, "{} > {width}: {line}", line.width());
            }
            // A column begins at one place.
            if text.starts_with("HANDLE  ") || text.starts_with("HANDLE ") {
                let lines: Vec<&str> = text.lines().collect();
                if lines.len() == ROWS.len() + 1 {
                    let label = lines[0].find("LABEL").unwrap();
                    let second = lines[2].replace(['\u{2068}', '\u{2069}'], "");
                    let at = second.find('垃').unwrap();
                    assert_eq!(second[..at].width(), label, "{width}: {text}");
                }
            }
        }
    }

    #[test]
    fn marks_and_joined_characters_stay_together() {
        for (text, width, expected) in [
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("日本語", 2, "…"),
            ("ab", 2, "ab"),
            ("a bcd", 3, "a…"),
            ("a👨\u{200d}👩\u{200d}👧bcd", 4, "a👨\u{200d}👩\u{200d}👧…"),
        ] {
            assert_eq!(cut(text, width), expected, "{text} {width}");
            assert!(cut(text, width).width() <= width, "{text} {width}");
        }
    }

    #[test]
    fn text_from_right_to_left_is_kept_apart_on_a_terminal_only() {
        let rows: &[&[&str]] = &[&["@שלום", "1", "x"]];
        let on = shown(Some(80), HEAD, rows);
        assert!(on.contains("\u{2068}@שלום\u{2069}   1      x"), "{on}");
        assert!(!shown(None, HEAD, rows).contains('\u{2068}'));
    }
}
