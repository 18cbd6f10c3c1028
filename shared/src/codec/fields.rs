//! A strict reader of typed documents: each field is taken once, and none may be left over.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::{CodecError, FieldProblem, Value};
use crate::cid::Cid;

/// The fields of a map, taken one by one.
///
/// A typed decoder takes what its type defines and ends with [`Fields::finish`], which refuses what
/// it did not take, or with [`Fields::rest`], which keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields(BTreeMap<String, Value>);

impl Fields {
    /// The fields of a map.
    ///
    /// # Errors
    /// Refuses values that are no map.
    pub fn new(value: Value) -> Result<Fields, CodecError> {
        BTreeMap::from_value(value)
            .map(Fields)
            .map_err(|problem| CodecError::field("", problem))
    }

    /// Takes the field `name`, which must be there.
    ///
    /// # Errors
    /// Refuses a missing field and one of another kind.
    pub fn take<T: FromValue>(&mut self, name: &str) -> Result<T, CodecError> {
        self.take_opt(name)?
            .ok_or_else(|| CodecError::field(name, FieldProblem::Missing))
    }

    /// Takes the field `name` if it is there. `null` is a value like others, not an absent field.
    ///
    /// # Errors
    /// Refuses a field of another kind.
    pub fn take_opt<T: FromValue>(&mut self, name: &str) -> Result<Option<T>, CodecError> {
        self.0
            .remove(name)
            .map(T::from_value)
            .transpose()
            .map_err(|problem| CodecError::field(name, problem))
    }

    /// Takes a field of text.
    ///
    /// # Errors
    /// Refuses a missing field and one of another kind.
    pub fn take_text(&mut self, name: &str) -> Result<String, CodecError> {
        self.take(name)
    }

    /// Takes a field that holds a whole number from 0 to 2⁶⁴ − 1.
    ///
    /// # Errors
    /// Refuses a missing field, one of another kind and other numbers.
    pub fn take_u64(&mut self, name: &str) -> Result<u64, CodecError> {
        self.take(name)
    }

    /// Takes a field of bytes.
    ///
    /// # Errors
    /// Refuses a missing field and one of another kind.
    pub fn take_bytes(&mut self, name: &str) -> Result<Vec<u8>, CodecError> {
        self.take(name)
    }

    /// Takes a link.
    ///
    /// # Errors
    /// Refuses a missing field and one of another kind.
    pub fn take_link(&mut self, name: &str) -> Result<Cid, CodecError> {
        self.take(name)
    }

    /// Takes a list whose items all have the same type.
    ///
    /// # Errors
    /// Refuses a missing field, one of another kind, and items of another kind.
    pub fn take_list<T: FromValue>(&mut self, name: &str) -> Result<Vec<T>, CodecError> {
        self.take::<Vec<Value>>(name)?
            .into_iter()
            .map(T::from_value)
            .collect::<Result<_, _>>()
            .map_err(|problem| CodecError::field(name, problem))
    }

    /// Takes a map inside this one.
    ///
    /// # Errors
    /// Refuses a missing field and one of another kind.
    pub fn take_map(&mut self, name: &str) -> Result<Fields, CodecError> {
        self.take(name).map(Fields)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Refuses a field that was not taken.
    pub fn finish(self) -> Result<(), CodecError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(CodecError::field(name, FieldProblem::Unknown)),
        }
    }

    /// Ends the reading and returns the fields that were not taken.
    pub fn rest(self) -> BTreeMap<String, Value> {
        self.0
    }
}

/// A type that one kind of [`Value`] can become.
pub trait FromValue: Sized {
    /// Converts the value.
    ///
    /// # Errors
    /// Refuses values of another kind and numbers out of range.
    fn from_value(value: Value) -> Result<Self, FieldProblem>;
}

fn wrong_kind(expected: &'static str, found: &Value) -> FieldProblem {
    FieldProblem::Kind {
        expected,
        found: found.kind(),
    }
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Value, FieldProblem> {
        Ok(value)
    }
}

impl FromValue for bool {
    fn from_value(value: Value) -> Result<bool, FieldProblem> {
        match value {
            Value::Bool(value) => Ok(value),
            other => Err(wrong_kind("a boolean", &other)),
        }
    }
}

impl FromValue for u64 {
    fn from_value(value: Value) -> Result<u64, FieldProblem> {
        match value {
            Value::Int(value) => u64::try_from(value).map_err(|_| FieldProblem::Range),
            other => Err(wrong_kind("an integer", &other)),
        }
    }
}

impl FromValue for i64 {
    fn from_value(value: Value) -> Result<i64, FieldProblem> {
        match value {
            Value::Int(value) => i64::try_from(value).map_err(|_| FieldProblem::Range),
            other => Err(wrong_kind("an integer", &other)),
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<String, FieldProblem> {
        match value {
            Value::Text(value) => Ok(value),
            other => Err(wrong_kind("text", &other)),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value) -> Result<Vec<u8>, FieldProblem> {
        match value {
            Value::Bytes(value) => Ok(value),
            other => Err(wrong_kind("bytes", &other)),
        }
    }
}

impl FromValue for Vec<Value> {
    fn from_value(value: Value) -> Result<Vec<Value>, FieldProblem> {
        match value {
            Value::List(value) => Ok(value),
            other => Err(wrong_kind("a list", &other)),
        }
    }
}

impl FromValue for BTreeMap<String, Value> {
    fn from_value(value: Value) -> Result<BTreeMap<String, Value>, FieldProblem> {
        match value {
            Value::Map(value) => Ok(value),
            other => Err(wrong_kind("a map", &other)),
        }
    }
}

impl FromValue for Cid {
    fn from_value(value: Value) -> Result<Cid, FieldProblem> {
        match value {
            Value::Link(value) => Ok(value),
            other => Err(wrong_kind("a link", &other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn sample() -> Fields {
        Value::map([
            ("count", Value::Int(7)),
            ("low", Value::Int(-1)),
            ("name", Value::from("a")),
            (
                "tags",
                Value::List([Value::from("x"), Value::from("y")].into()),
            ),
        ])
        .into_fields()
        .unwrap()
    }

    #[test]
    fn fields_are_taken_once_and_none_may_be_left() {
        let mut fields = sample();
        assert_eq!(fields.take_text("name").unwrap(), "a");
        assert_eq!(fields.take_u64("count").unwrap(), 7);
        assert_eq!(fields.take::<i64>("low").unwrap(), -1);
        assert_eq!(fields.take_list::<String>("tags").unwrap(), ["x", "y"]);
        assert_eq!(fields.take_opt::<String>("none").unwrap(), None);
        assert!(fields.take_text("name").is_err());
        fields.finish().unwrap();
        let error = sample().finish().unwrap_err();
        assert_eq!(error.to_string(), "field `count` is not known here");
    }

    #[test]
    fn errors_name_the_field_and_both_kinds() {
        let error = sample().take_link("name").unwrap_err();
        assert_eq!(error.to_string(), "field `name` must be a link, not text");
        let error = sample().take_u64("low").unwrap_err();
        assert_eq!(error.to_string(), "field `low` is out of range");
        let error = sample().take_list::<u64>("tags").unwrap_err();
        assert_eq!(
            error.to_string(),
            "field `tags` must be an integer, not text"
        );
        let error = sample().take_bytes("none").unwrap_err();
        assert_eq!(error.to_string(), "field `none` is missing");
        assert!(Value::Null.into_fields().is_err());
    }
}
