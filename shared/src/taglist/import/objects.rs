//! The objects of a JSON file: one alone, in an array, or one on each line.

use super::{ImportError, text::count_breaks};

/// Cuts text into its objects, each to be read by the JSON decoder.
pub(super) struct Objects<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    in_array: bool,
    state: Position,
}

#[derive(Clone, Copy, PartialEq)]
enum Position {
    /// At the beginning of the text.
    Start,
    /// In an array, before its first object or its end.
    First,
    /// After an object.
    Between,
    /// After a comma in an array: another object must come.
    Comma,
    /// After the end of an array: nothing may come.
    End,
}

impl<'a> Objects<'a> {
    pub(super) fn new(text: &'a str) -> Objects<'a> {
        Objects {
            text,
            at: 0,
            line: 1,
            in_array: false,
            state: Position::Start,
        }
    }

    /// The line on which the next object begins, and its text.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &'a str)>, ImportError> {
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            let failed = ImportError::Json { line: self.line };
            match (byte, self.state) {
                (b'\n', _) => self.line += 1,
                (b' ' | b'\t' | b'\r', _) => {}
                (b'[', Position::Start) => {
                    self.in_array = true;
                    self.state = Position::First;
                }
                (b']', Position::First | Position::Between) if self.in_array => {
                    self.state = Position::End
                }
                (b',', Position::Between) if self.in_array => self.state = Position::Comma,
                (b'{', Position::Start | Position::First | Position::Comma) => {
                    return self.object().map(Some);
                }
                (b'{', Position::Between) if !self.in_array => return self.object().map(Some),
                _ => return Err(failed),
            }
            self.at += 1;
        }
        let is_whole = match self.state {
            Position::End => true,
            Position::Between => !self.in_array,
            Position::Start | Position::First | Position::Comma => false,
        };
        if is_whole {
            Ok(None)
        } else {
            Err(ImportError::Json { line: self.line })
        }
    }

    /// The object that begins here, up to its closing brace.
    fn object(&mut self) -> Result<(u64, &'a str), ImportError> {
        let (start, line) = (self.at, self.line);
        let (mut depth, mut in_string, mut escaped) = (0u32, false, false);
        for (offset, byte) in self.text.as_bytes()[start..].iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth = depth.saturating_add(1),
                b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                let object = &self.text[start..=start + offset];
                self.at = start + offset + 1;
                self.line += count_breaks(object.as_bytes());
                self.state = Position::Between;
                return Ok((line, object));
            }
        }
        Err(ImportError::Json { line })
    }
}
