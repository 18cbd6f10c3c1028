//! Reads JSON (RFC 8259) with the meaning of DAG-JSON.

use alloc::{
    collections::{BTreeMap, btree_map::Entry},
    string::String,
    vec::Vec,
};

use multibase::Base;

use crate::{
    cid::parse_cid,
    codec::{CodecError, Value},
    limits::{JSON_BYTES, JSON_DEPTH, JSON_VALUES, LimitExceeded},
};

pub(super) fn decode(text: &[u8]) -> Result<Value, CodecError> {
    LimitExceeded::check("DAG-JSON bytes", JSON_BYTES, text.len())?;
    let text = core::str::from_utf8(text).map_err(|error| CodecError::Malformed {
        offset: error.valid_up_to(),
        reason: "text that is not UTF-8",
    })?;
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
        values: 0,
    };
    reader.skip_space();
    let value = reader.value()?;
    reader.skip_space();
    if reader.at < text.len() {
        return Err(reader.malformed("something after the end of the value"));
    }
    Ok(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Value, CodecError> {
        self.values += 1;
        LimitExceeded::check("values in DAG-JSON", JSON_VALUES, self.values)?;
        match self.peek()? {
            b'{' => self.map(),
            b'[' => self.list(),
            b'"' => self.string().map(Value::Text),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => Err(self.malformed("something that begins no value")),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, CodecError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.malformed("something that begins no value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn list(&mut self) -> Result<Value, CodecError> {
        self.open()?;
        let mut items = Vec::new();
        if !self.closes(b']')? {
            loop {
                self.skip_space();
                items.push(self.value()?);
                if self.separator(b']')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(Value::List(items))
    }

    fn map(&mut self) -> Result<Value, CodecError> {
        let start = self.at;
        self.open()?;
        let mut entries = BTreeMap::new();
        if !self.closes(b'}')? {
            loop {
                self.skip_space();
                let offset = self.at;
                if self.peek()? != b'"' {
                    return Err(self.malformed("a map key that is not text"));
                }
                let name = self.string()?;
                self.skip_space();
                if self.peek()? != b':' {
                    return Err(self.malformed("a map key without a colon"));
                }
                self.at += 1;
                self.skip_space();
                let value = self.value()?;
                match entries.entry(name) {
                    Entry::Vacant(place) => place.insert(value),
                    Entry::Occupied(_) => {
                        return Err(CodecError::Malformed {
                            offset,
                            reason: "a map key that was there before",
                        });
                    }
                };
                if self.separator(b'}')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        match entries.remove("/") {
            None => Ok(Value::Map(entries)),
            Some(inner) if entries.is_empty() => reserved(inner, start),
            Some(_) => Err(reserved_error(start)),
        }
    }

    /// Passes the bracket that opens a list or map.
    fn open(&mut self) -> Result<(), CodecError> {
        self.at += 1;
        self.depth += 1;
        LimitExceeded::check("DAG-JSON depth", JSON_DEPTH, self.depth)?;
        Ok(())
    }

    /// Passes the closing bracket if it is next.
    fn closes(&mut self, bracket: u8) -> Result<bool, CodecError> {
        self.skip_space();
        let closes = self.peek()? == bracket;
        self.at += usize::from(closes);
        Ok(closes)
    }

    /// Passes a comma, or the closing bracket, and says whether it was the bracket.
    fn separator(&mut self, bracket: u8) -> Result<bool, CodecError> {
        self.skip_space();
        let byte = self.peek()?;
        if byte != b',' && byte != bracket {
            return Err(self.malformed("neither a comma nor a closing bracket"));
        }
        self.at += 1;
        Ok(byte == bracket)
    }

    fn number(&mut self) -> Result<Value, CodecError> {
        let start = self.at;
        let is_negative = self.peek()? == b'-';
        self.at += usize::from(is_negative);
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(self.malformed_at(start, "a number with a leading zero"));
        }
        let mut is_float = false;
        if self.next_is(b".") {
            is_float = true;
            self.at += 1;
            self.digits()?;
        }
        if self.next_is(b"eE") {
            is_float = true;
            self.at += 1;
            self.at += usize::from(self.next_is(b"+-"));
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        let out_of_range = self.malformed_at(start, "a number that is out of range");
        if is_float {
            return match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Value::Float(number)),
                _ => Err(out_of_range),
            };
        }
        match text.parse::<i128>() {
            Ok(number) if (-(1i128 << 64)..1i128 << 64).contains(&number) => Ok(Value::Int(number)),
            _ => Err(out_of_range),
        }
    }

    fn digits(&mut self) -> Result<&'a str, CodecError> {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if self.at == start {
            self.peek()?;
            return Err(self.malformed("a number without digits"));
        }
        Ok(&self.text[start..self.at])
    }

    fn string(&mut self) -> Result<String, CodecError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            let rest = &self.text.as_bytes()[start..];
            let plain = rest
                .iter()
                .take_while(|&&byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
                .count();
            out.push_str(&self.text[start..start + plain]);
            self.at += plain;
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => out.push(self.escape()?),
                _ => return Err(self.malformed("a control character that is not escaped")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, CodecError> {
        let start = self.at;
        self.at += 1;
        let kind = self.peek()?;
        self.at += 1;
        Ok(match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                let code = match first {
                    0xd800..0xdc00 if self.text[self.at..].starts_with("\\u") => {
                        self.at += 2;
                        let second = self.hex()?;
                        match second {
                            0xdc00..0xe000 => {
                                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                            }
                            _ => first,
                        }
                    }
                    _ => first,
                };
                char::from_u32(code)
                    .ok_or(self.malformed_at(start, "an escape of half a surrogate pair"))?
            }
            _ => return Err(self.malformed_at(start, "an unknown escape")),
        })
    }

    fn hex(&mut self) -> Result<u32, CodecError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.ok_or(self.truncated())?;
        let code = digits.iter().try_fold(0, |code, &byte| {
            let digit = char::from(byte).to_digit(16)?;
            Some(code << 4 | digit)
        });
        let code = code.ok_or(self.malformed("an escape without four hexadecimal digits"))?;
        self.at += 4;
        Ok(code)
    }

    fn skip_space(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
            .count();
    }

    fn next_is(&self, bytes: &[u8]) -> bool {
        let next = self.text.as_bytes().get(self.at);
        next.is_some_and(|byte| bytes.contains(byte))
    }

    fn peek(&self) -> Result<u8, CodecError> {
        let byte = self.text.as_bytes().get(self.at);
        byte.copied().ok_or(self.truncated())
    }

    fn truncated(&self) -> CodecError {
        CodecError::Truncated {
            offset: self.text.len(),
        }
    }

    fn malformed(&self, reason: &'static str) -> CodecError {
        self.malformed_at(self.at, reason)
    }

    fn malformed_at(&self, offset: usize, reason: &'static str) -> CodecError {
        CodecError::Malformed { offset, reason }
    }
}

/// What a map with the single name `/` stands for.
fn reserved(inner: Value, offset: usize) -> Result<Value, CodecError> {
    match inner {
        Value::Text(text) => parse_cid(&text)
            .map(Value::Link)
            .map_err(|source| CodecError::Link { offset, source }),
        Value::Map(mut entries) => {
            match (entries.remove("bytes"), entries.is_empty()) {
                (Some(Value::Text(text)), true) => Base::Base64
                    .decode(text)
                    .map(Value::Bytes)
                    .map_err(|_| CodecError::Malformed {
                        offset,
                        reason: "bytes that are not base64 without padding",
                    }),
                _ => Err(reserved_error(offset)),
            }
        }
        _ => Err(reserved_error(offset)),
    }
}

fn reserved_error(offset: usize) -> CodecError {
    CodecError::Malformed {
        offset,
        reason: "the reserved map key `/` in something that is neither a link nor bytes",
    }
}
