//! Text for people: colours, aligned fields and tables. Pure: a page is a string in the making.

use std::fmt::{Display, Write as _};

use indicatif::{HumanBytes, HumanCount};

mod table;

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
    /// Columns of the terminal it is shown on; none where it goes elsewhere.
    width: Option<usize>,
    pub(crate) paint: Paint,
}

impl Page {
    pub(crate) fn new(paint: Paint, width: Option<usize>) -> Self {
        Self {
            text: String::new(),
            width,
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

    /// Names in one column, values in the next, which may have several lines; a field without a value is left out.
    pub(crate) fn fields(&mut self, fields: &[(&str, Option<String>)]) {
        let shown = || {
            fields
                .iter()
                .filter_map(|(name, value)| value.as_ref().map(|value| (*name, value)))
        };
        let width = shown().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in shown() {
            let mut name = self.paint.dim(format!("{name:<width$}"));
            for line in value.split('\n') {
                let _ = writeln!(self.text, "{name}  {line}");
                name = format!("{:width$}", "");
            }
        }
    }

    /// A table with a head line, as wide as the terminal; a column without any content is left out.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        self.text
            .push_str(&table::table(self.paint, self.width, head, rows));
    }
}

/// Text that others wrote, safe for a terminal: control characters, and those that nobody sees or that turn text around,
/// become visible marks. What joins the parts of an emoji or keeps letters apart stays, as do the tags of a flag.
pub(crate) fn plain(text: &str) -> String {
    let mut is_flag = false;
    text.chars()
        .map(|c| {
            let is_tag = ('\u{e0000}'..='\u{e007f}').contains(&c);
            is_flag = c == '\u{1f3f4}' || is_flag && is_tag;
            let is_unseen = matches!(c,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
                | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
            if c.is_control() || is_unseen || is_tag && !is_flag {
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
        let mut page = Page::new(Paint::new(false), None);
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
        let mut page = Page::new(Paint::new(false), None);
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
        let mut page = Page::new(Paint::new(false), None);
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
    fn what_nobody_sees_is_shown() {
        for unseen in [
            "\u{200b}",
            "\u{feff}",
            "\u{ad}",
            "\u{200f}",
            "\u{2066}",
            "\u{e0061}",
        ] {
            assert_eq!(plain(&format!("sp{unseen}am")), "sp\u{fffd}am");
        }
        for whole in [
            "👨\u{200d}👩\u{200d}👧",
            "می\u{200c}خواهم",
            "✌\u{fe0f}",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
        ] {
            assert_eq!(plain(whole), whole);
        }
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
