//! Text for people: colours, aligned fields and tables. Pure: a page is a string in the making.

use std::fmt::{Display, Write as _};

use indicatif::{HumanBytes, HumanCount};
use unicode_width::UnicodeWidthStr as _;

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    pub(crate) fn new(on: bool) -> Self {
        Self { on }
    }

    fn wrap(self, code: &str, text: impl Display) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }

    pub(crate) fn strong(self, text: impl Display) -> String {
        self.wrap("1", text)
    }

    pub(crate) fn dim(self, text: impl Display) -> String {
        self.wrap("2", text)
    }

    pub(crate) fn good(self, text: impl Display) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn warn(self, text: impl Display) -> String {
        self.wrap("33", text)
    }

    pub(crate) fn bad(self, text: impl Display) -> String {
        self.wrap("31", text)
    }
}

/// A page of text.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    pub(crate) paint: Paint,
}

impl Page {
    pub(crate) fn new(paint: Paint) -> Self {
        Self {
            text: String::new(),
            paint,
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// One line. Text from others is printed by [`plain`] first.
    pub(crate) fn line(&mut self, text: impl Display) {
        let _ = writeln!(self.text, "{text}");
    }

    pub(crate) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Names in one column, values in the next; a field without a value is left out.
    pub(crate) fn fields(&mut self, fields: &[(&str, Option<String>)]) {
        let shown = || {
            fields
                .iter()
                .filter_map(|(name, value)| value.as_ref().map(|value| (*name, value)))
        };
        let width = shown().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in shown() {
            let _ = writeln!(
                self.text,
                "{}  {value}",
                self.paint.dim(format!("{name:<width$}"))
            );
        }
    }

    /// A table with a head line; columns are as wide as their widest cell, and a column without any
    /// content is left out.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                let content = rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.width())
                    .max()
                    .unwrap_or(0);
                if content == 0 {
                    0
                } else {
                    content.max(head[column].width())
                }
            })
            .collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for (cell, width) in cells.zip(&widths).filter(|(_, width)| **width > 0) {
                let gap = width.saturating_sub(cell.width()) + 2;
                let _ = write!(line, "{cell}{:gap$}", "");
            }
            line.trim_end().to_owned()
        };
        let head_line = line(&mut head.iter().copied());
        let _ = writeln!(self.text, "{}", self.paint.dim(head_line));
        for row in rows {
            let _ = writeln!(self.text, "{}", line(&mut row.iter().map(String::as_str)));
        }
    }
}

/// Text that others wrote, safe for a terminal: control characters become visible marks.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control()
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c)
            {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// `1 label`, `2 labels`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 {
        noun.to_owned()
    } else if let Some(stem) = noun.strip_suffix("entry") {
        format!("{stem}entries")
    } else {
        format!("{noun}s")
    };
    format!("{} {plural}", thousands(number))
}

/// `1,234,567`
pub(crate) fn thousands(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `512 B`, `3.42 KiB`, `1.20 GiB`
pub(crate) fn bytes_text(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_aligns_and_drops_empty_columns() {
        let mut page = Page::new(Paint::new(false));
        page.table(
            &["HANDLE", "NOTE", "LABEL"],
            &[
                vec!["@a".into(), String::new(), "spam".into()],
                vec!["@longer_one".into(), String::new(), "bot".into()],
            ],
        );
        assert_eq!(
            page.text(),
            "HANDLE       LABEL\n@a           spam\n@longer_one  bot\n"
        );
    }

    #[test]
    fn what_is_wide_on_a_terminal_takes_its_width() {
        let mut page = Page::new(Paint::new(false));
        page.table(
            &["HANDLE", "LABEL"],
            &[
                vec!["@\u{540d}\u{524d}".into(), "spam".into()],
                vec!["@e\u{301}lise".into(), "bot".into()],
                vec!["@longer".into(), "bot".into()],
            ],
        );
        assert_eq!(
            page.text(),
            "HANDLE   LABEL\n@\u{540d}\u{524d}    spam\n@e\u{301}lise   bot\n@longer  bot\n"
        );
    }

    #[test]
    fn fields_align_and_absent_ones_are_left_out() {
        let mut page = Page::new(Paint::new(false));
        page.fields(&[
            ("did", Some("x".into())),
            ("none", None),
            ("sequence", Some("3".into())),
        ]);
        assert_eq!(page.text(), "did       x\nsequence  3\n");
    }

    #[test]
    fn no_escape_code_reaches_the_terminal_from_outside() {
        assert_eq!(plain("a\x1b[31mb\u{202e}c"), "a\u{fffd}[31mb\u{fffd}c");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(count(1, "label"), "1 label");
        assert_eq!(count(2, "entry"), "2 entries");
        assert_eq!(bytes_text(1023), "1023 B");
        assert_eq!(bytes_text(1536), "1.50 KiB");
        assert_eq!(bytes_text(u64::MAX), "16.00 EiB");
    }
}
