//! Fields of rows that may be null.

use perennis_shared::codec::{CodecError, Fields, FromValue, Value};

/// A field that is always there and may be null.
pub(super) fn nullable<T: FromValue>(
    fields: &mut Fields,
    name: &str,
) -> Result<Option<T>, CodecError> {
    match fields.take::<Value>(name)? {
        Value::Null => Ok(None),
        value => T::from_value(value)
            .map(Some)
            .map_err(|problem| CodecError::field(name, problem)),
    }
}
