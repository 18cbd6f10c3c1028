//! Failures as JavaScript sees them: an `Error` with `code` and `retryable`.

use std::error::Error;

use js_sys::Reflect;
use perennis_shared::error::{ErrorKind, Retryable};
use wasm_bindgen::JsValue;

/// The result of a call from JavaScript.
pub(crate) type JsResult<T> = Result<T, JsValue>;

/// The JavaScript error for an error of the SDK.
pub(crate) fn from_sdk<E: Error + Retryable>(code: &str, error: &E) -> JsValue {
    let retryable = match error.kind() {
        ErrorKind::Retry => true,
        ErrorKind::Reject | ErrorKind::Corrupt | ErrorKind::Fatal => false,
    };
    make(code, &with_causes(error), retryable)
}

/// The JavaScript error for input that cannot be used.
pub(crate) fn invalid(code: &str, error: &dyn Error) -> JsValue {
    make(code, &with_causes(error), false)
}

/// The JavaScript error with this code and text.
pub(crate) fn make(code: &str, message: &str, retryable: bool) -> JsValue {
    let error = js_sys::Error::new(message);
    error.set_name("PerennisError");
    for (key, value) in [
        ("code", JsValue::from(code)),
        ("retryable", JsValue::from(retryable)),
    ] {
        // An `Error` that was just made takes any property.
        drop(Reflect::set(&error, &key.into(), &value));
    }
    error.into()
}

/// The error and what caused it, each said once.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
