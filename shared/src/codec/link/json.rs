//! The links of DAG-JSON in any form: white space, keys in any order and several times, strings in any spelling.
//!
//! A map whose only key is `/` and whose value is text is a link (DAG-JSON specification); any other use of the key is a
//! map like others.

use alloc::string::String;

use super::{Links, deeper};
use crate::codec::{CodecError, Value, dag_json};

/// Reads one value and all links in it.
pub(super) fn read(bytes: &[u8], found: &mut Links) -> Result<(), CodecError> {
    let mut reader = Reader {
        input: bytes,
        at: 0,
    };
    reader.value(0, found)?;
    reader.skip_space();
    if reader.at < bytes.len() {
        return Err(reader.malformed("something after the end of the value"));
    }
    Ok(())
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize, found: &mut Links) -> Result<(), CodecError> {
        match self.next()? {
            b'{' => self.map(deeper(depth)?, found),
            b'[' => self.list(deeper(depth)?, found),
            b'"' => self.string().map(drop),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            b'-' | b'0'..=b'9' => {
                self.number();
                Ok(())
            }
            _ => Err(self.malformed("something that begins no value")),
        }
    }

    fn list(&mut self, depth: usize, found: &mut Links) -> Result<(), CodecError> {
        self.at += 1;
        if self.closes(b']')? {
            return Ok(());
        }
        loop {
            self.value(depth, found)?;
            if self.separator(b']')? {
                return Ok(());
            }
        }
    }

    fn map(&mut self, depth: usize, found: &mut Links) -> Result<(), CodecError> {
        let start = self.at;
        self.at += 1;
        if self.closes(b'}')? {
            return Ok(());
        }
        let mut entries = 0_u32;
        let mut link = None;
        loop {
            if self.next()? != b'"' {
                return Err(self.malformed("a map key that is not text"));
            }
            let key = self.string()?;
            if self.next()? != b':' {
                return Err(self.malformed("a map key without a colon"));
            }
            self.at += 1;
            entries = entries.saturating_add(1);
            let is_reserved = entries == 1 && is_slash(key);
            if is_reserved && self.next()? == b'"' {
                link = Some((self.string()?, self.at));
            } else {
                self.value(depth, found)?;
            }
            if self.separator(b'}')? {
                break;
            }
        }
        match link.filter(|_| entries == 1) {
            Some((cid, at)) => found.push_text(&text(cid, at)?, start),
            None => Ok(()),
        }
    }

    /// Passes a string; what stands between its quotes, as it is spelled.
    fn string(&mut self) -> Result<&'a [u8], CodecError> {
        let start = self.at + 1;
        self.at = start;
        loop {
            match self.input.get(self.at) {
                None => return Err(self.truncated()),
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Ok(&self.input[start..self.at - 1])
    }

    fn number(&mut self) {
        let rest = &self.input[self.at..];
        self.at += rest
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .count();
    }

    fn word(&mut self, word: &[u8]) -> Result<(), CodecError> {
        if !self.input[self.at..].starts_with(word) {
            return Err(self.malformed("something that begins no value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes the closing bracket if it is next.
    fn closes(&mut self, bracket: u8) -> Result<bool, CodecError> {
        let closes = self.next()? == bracket;
        self.at += usize::from(closes);
        Ok(closes)
    }

    /// Passes a comma, or the closing bracket, and says whether it was the bracket.
    fn separator(&mut self, bracket: u8) -> Result<bool, CodecError> {
        let byte = self.next()?;
        if byte != b',' && byte != bracket {
            return Err(self.malformed("neither a comma nor a closing bracket"));
        }
        self.at += 1;
        Ok(byte == bracket)
    }

    /// The next byte that is no white space.
    fn next(&mut self) -> Result<u8, CodecError> {
        self.skip_space();
        self.input.get(self.at).copied().ok_or(self.truncated())
    }

    fn skip_space(&mut self) {
        let rest = &self.input[self.at..];
        self.at += rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
            .count();
    }

    fn truncated(&self) -> CodecError {
        CodecError::Truncated {
            offset: self.input.len(),
        }
    }

    fn malformed(&self, reason: &'static str) -> CodecError {
        CodecError::Malformed {
            offset: self.at,
            reason,
        }
    }
}

/// Whether a key is the reserved one, however it is spelled.
fn is_slash(key: &[u8]) -> bool {
    key == b"/" || key.starts_with(b"\\") && text(key, 0).is_ok_and(|key| key == "/")
}

/// The text of a string, from how it is spelled between its quotes.
fn text(spelled: &[u8], offset: usize) -> Result<String, CodecError> {
    let malformed = CodecError::Malformed {
        offset,
        reason: "text that is not UTF-8",
    };
    if !spelled.contains(&b'\\') {
        let text = core::str::from_utf8(spelled).map_err(|_| malformed)?;
        return Ok(text.into());
    }
    let quoted = [b"\"", spelled, b"\""].concat();
    match dag_json::decode_relaxed(&quoted)? {
        Value::Text(text) => Ok(text),
        _ => Err(malformed),
    }
}
