//! Plain JavaScript objects, written and read field by field.

use js_sys::{Object, Reflect};
use perennis_sdk::NodeUrl;
use wasm_bindgen::{JsCast, JsValue};

use crate::error::{JsResult, invalid, make};

/// An object being put together. Fields that are none are left out.
pub(crate) struct Fields(Object);

impl Fields {
    pub(crate) fn new() -> Self {
        Self(Object::new())
    }

    pub(crate) fn set(self, key: &str, value: impl Into<JsValue>) -> Self {
        // A plain object that was just made takes any property.
        drop(Reflect::set(&self.0, &key.into(), &value.into()));
        self
    }

    pub(crate) fn set_some(self, key: &str, value: Option<impl Into<JsValue>>) -> Self {
        match value {
            Some(value) => self.set(key, value),
            None => self,
        }
    }

    pub(crate) fn done(self) -> JsValue {
        self.0.into()
    }
}

/// Options that a caller passed: an object, or nothing.
pub(crate) struct Options(JsValue);

impl Options {
    pub(crate) fn new(options: Option<Object>) -> Self {
        Self(options.map_or(JsValue::UNDEFINED, Into::into))
    }

    fn value(&self, key: &str) -> Option<JsValue> {
        if self.0.is_undefined() {
            return None;
        }
        let value = Reflect::get(&self.0, &key.into()).ok()?;
        (!value.is_undefined() && !value.is_null()).then_some(value)
    }

    pub(crate) fn text(&self, key: &str) -> JsResult<Option<String>> {
        self.value(key)
            .map(|value| value.as_string().ok_or_else(|| wrong(key, "a string")))
            .transpose()
    }

    /// A whole number that is not negative.
    pub(crate) fn number(&self, key: &str) -> JsResult<Option<u64>> {
        const EXACT: f64 = 9_007_199_254_740_991.0;
        self.value(key)
            .map(|value| {
                let number = value
                    .as_f64()
                    .filter(|number| number.fract() == 0.0 && (0.0..=EXACT).contains(number));
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "it is whole, not negative and exact in both types"
                )]
                number
                    .map(|number| number as u64)
                    .ok_or_else(|| wrong(key, "a whole number"))
            })
            .transpose()
    }

    /// Base URLs of nodes.
    pub(crate) fn urls(&self, key: &str) -> JsResult<Option<Vec<NodeUrl>>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let texts = value
            .dyn_into::<js_sys::Array>()
            .map_err(|_| wrong(key, "an array of URLs"))?;
        let url = |text: JsValue| {
            let text = text
                .as_string()
                .ok_or_else(|| wrong(key, "an array of URLs"))?;
            text.parse::<NodeUrl>()
                .map_err(|error| invalid("invalid_url", &error))
        };
        texts.iter().map(url).collect::<JsResult<_>>().map(Some)
    }
}

fn wrong(key: &str, wanted: &str) -> JsValue {
    make(
        "invalid_argument",
        &format!("the option {key} must be {wanted}"),
        false,
    )
}
