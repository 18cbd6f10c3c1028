//! Writes DAG-JSON in its only form.

use alloc::{format, string::String};
use core::fmt::Write as _;

use multibase::Base;

use crate::{
    codec::{CodecError, Value},
    limits::{JSON_BYTES, JSON_DEPTH, LimitExceeded},
};

pub(super) fn encode(value: &Value) -> Result<String, CodecError> {
    let mut out = String::new();
    write_value(&mut out, value, 0)?;
    Ok(out)
}

fn write_value(out: &mut String, value: &Value, depth: usize) -> Result<(), CodecError> {
    LimitExceeded::check("DAG-JSON bytes", JSON_BYTES, out.len())?;
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(number) => write_int(out, *number)?,
        Value::Float(number) => write_float(out, *number)?,
        Value::Text(text) => write_text(out, text),
        Value::Bytes(bytes) => {
            out.push_str(r#"{"/":{"bytes":""#);
            out.push_str(&Base::Base64.encode(bytes));
            out.push_str(r#""}}"#);
        }
        Value::Link(cid) => {
            out.push_str(r#"{"/":""#);
            let _ = write!(out, "{cid}");
            out.push_str(r#""}"#);
        }
        Value::List(items) => {
            LimitExceeded::check("DAG-JSON depth", JSON_DEPTH, depth + 1)?;
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, item, depth + 1)?;
            }
            out.push(']');
        }
        Value::Map(entries) => {
            LimitExceeded::check("DAG-JSON depth", JSON_DEPTH, depth + 1)?;
            out.push('{');
            for (index, (name, value)) in entries.iter().enumerate() {
                if name == "/" {
                    return Err(CodecError::Inexpressible(
                        "a map with the name `/`, which DAG-JSON reserves",
                    ));
                }
                if index > 0 {
                    out.push(',');
                }
                write_text(out, name);
                out.push(':');
                write_value(out, value, depth + 1)?;
            }
            out.push('}');
        }
    }
    LimitExceeded::check("DAG-JSON bytes", JSON_BYTES, out.len())?;
    Ok(())
}

fn write_int(out: &mut String, number: i128) -> Result<(), CodecError> {
    if !(-(1i128 << 64)..1i128 << 64).contains(&number) {
        return Err(CodecError::Inexpressible(
            "an integer outside −2⁶⁴ to 2⁶⁴ − 1",
        ));
    }
    let _ = write!(out, "{number}");
    Ok(())
}

/// Writes a float as ECMAScript does (ECMA-262, "Number::toString"), because the JavaScript
/// implementation is the one most documents come from. Whole numbers get `.0`, so that they stay
/// floats.
fn write_float(out: &mut String, number: f64) -> Result<(), CodecError> {
    if !number.is_finite() {
        return Err(CodecError::Inexpressible("NaN or an infinite number"));
    }
    if number.is_sign_negative() {
        out.push('-');
    }
    let scientific = shortest(number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let point = exponent + 1;
    let count = digits.len() as i32;
    if number != 0.0 && !(-5..=21).contains(&point) {
        out.push_str(mantissa);
        let sign = if exponent > 0 { "+" } else { "" };
        let _ = write!(out, "e{sign}{exponent}");
    } else if point <= 0 {
        out.push_str("0.");
        out.extend((point..0).map(|_| '0'));
        out.push_str(&digits);
    } else if point >= count {
        out.push_str(&digits);
        out.extend((count..point).map(|_| '0'));
        out.push_str(".0");
    } else {
        let (whole, fraction) = digits.split_at(point as usize);
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    }
    Ok(())
}

/// The fewest digits that mean this number, "1.25e-7"; of two that are as near to it, those that end even.
fn shortest(number: f64) -> String {
    let text = format!("{number:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let (head, last) = mantissa.split_at(mantissa.len() - 1);
    let last = last.parse().unwrap_or(0_u8);
    if last % 2 == 0 || last == 9 || head.is_empty() {
        return text;
    }
    // What is exactly in the middle has a five behind the lower of the two, and nothing more.
    let begin = format!("{number:.0$e}", head.len());
    for (lower, even) in [(last - 1, last - 1), (last, last + 1)] {
        let middle = format!("{head}{lower}5");
        if begin != format!("{middle}e{exponent}") {
            continue;
        }
        // No float has more digits than these.
        let all = format!("{number:.800e}");
        let is_middle = all
            .split_once('e')
            .is_some_and(|(all, _)| all.trim_end_matches('0') == middle);
        let other = format!("{head}{even}e{exponent}");
        if is_middle && other.parse() == Ok(number) {
            return other;
        }
    }
    text
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    let mut written = 0;
    for (index, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[written..index]);
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        written = index + 1;
    }
    out.push_str(&text[written..]);
    out.push('"');
}
