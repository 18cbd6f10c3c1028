//! Plain JavaScript objects, written and read field by field.

use js_sys::{Array, BigInt, Date, Object, Reflect};
use perennis_sdk::remote::BearerToken;
use perennis_sdk::{NodeTokens, NodeUrl};
use perennis_shared::time::{DateMeans, Millis};
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

/// Options that a caller passed: an object, or nothing. `undefined` and `null` say nothing.
pub(crate) struct Options(JsValue);

impl Options {
    /// # Errors
    /// Refuses options of other names than `known`: one that is misspelled would otherwise be one that says nothing.
    pub(crate) fn new(options: Option<Object>, known: &[&str]) -> JsResult<Self> {
        let Some(options) = options else {
            return Ok(Self(JsValue::UNDEFINED));
        };
        for name in Object::keys(&options).iter() {
            let name = name.as_string().unwrap_or_default();
            if !known.contains(&name.as_str()) {
                return Err(make(
                    "unknown_option",
                    &format!(
                        "the option {name} is not known; known here are {}",
                        known.join(", ")
                    ),
                    false,
                ));
            }
        }
        Ok(Self(options.into()))
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

    pub(crate) fn boolean(&self, key: &str) -> JsResult<Option<bool>> {
        self.value(key)
            .map(|value| value.as_bool().ok_or_else(|| wrong(key, "true or false")))
            .transpose()
    }

    /// Texts of an array.
    pub(crate) fn texts(&self, key: &str) -> JsResult<Vec<String>> {
        let Some(value) = self.value(key) else {
            return Ok(Vec::new());
        };
        let wrong = || wrong(key, "an array of strings");
        let texts = value.dyn_into::<Array>().map_err(|_| wrong())?;
        let texts = texts.iter().map(|text| text.as_string().ok_or_else(wrong));
        texts.collect()
    }

    /// The number of an account as text: a string, a BigInt, or a number that JavaScript counts exactly.
    pub(crate) fn id(&self, key: &str) -> JsResult<Option<String>> {
        const WANTED: &str =
            "a string or a BigInt of digits: above 2^53 a number has lost its last digits";
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        if let Some(text) = value.as_string() {
            return Ok(Some(text));
        }
        if let Some(number) = value.dyn_ref::<BigInt>() {
            let text = number.to_string(10).map_err(|_| wrong(key, WANTED))?;
            return Ok(Some(text.into()));
        }
        match self.number(key) {
            Ok(number) => Ok(number.map(|number| number.to_string())),
            Err(_) => Err(wrong(key, WANTED)),
        }
    }

    /// A time: Unix milliseconds, a Date, or text as people write it, in which a date has its whole day.
    pub(crate) fn time(&self, key: &str) -> JsResult<Option<Millis>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let refused = |error| invalid("invalid_time", &error);
        if let Some(text) = value.as_string() {
            if text.trim().is_empty() {
                return Ok(None);
            }
            let time = Millis::parse_written(text.trim(), DateMeans::End);
            return time.map(Some).map_err(refused);
        }
        let count = match value.dyn_ref::<Date>() {
            Some(date) => whole(date.get_time()),
            None => value.as_f64().and_then(whole),
        };
        let count = count.ok_or_else(|| {
            wrong(
                key,
                "a number of Unix milliseconds, a Date or an RFC 3339 time",
            )
        })?;
        Millis::counted(count).map(Some).map_err(refused)
    }

    /// A whole number that is not negative.
    pub(crate) fn number(&self, key: &str) -> JsResult<Option<u64>> {
        self.value(key)
            .map(|value| {
                let number = value.as_f64().and_then(whole);
                number.ok_or_else(|| wrong(key, "a whole number"))
            })
            .transpose()
    }

    /// Base URLs of nodes.
    pub(crate) fn urls(&self, key: &str) -> JsResult<Option<Vec<NodeUrl>>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let texts = value
            .dyn_into::<Array>()
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

    /// The `token`, for the one node that there is.
    pub(crate) fn tokens(&self, nodes: &[NodeUrl]) -> JsResult<NodeTokens> {
        let mut tokens = NodeTokens::default();
        let Some(text) = self.text("token")? else {
            return Ok(tokens);
        };
        let token = BearerToken::parse(&text)
            .ok_or_else(|| wrong("token", "a text of visible ASCII characters"))?;
        let [node] = nodes else {
            let message = "a token is of one node: name that node alone";
            return Err(make("one_node_expected", message, false));
        };
        tokens
            .insert(node.clone(), token)
            .map_err(|error| invalid(error.code(), &error))?;
        Ok(tokens)
    }
}

/// A number as JavaScript counts. Above 2^53, which no clock and no counter of ours reaches, it is rounded.
#[allow(clippy::cast_precision_loss, reason = "said above")]
pub(crate) fn exact(number: u64) -> f64 {
    number as f64
}

/// A number that is whole, not negative, and exact in JavaScript.
fn whole(number: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_991.0;
    let is_whole = number.fract() == 0.0 && (0.0..=EXACT).contains(&number);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole, not negative and exact in both types"
    )]
    is_whole.then_some(number as u64)
}

fn wrong(key: &str, wanted: &str) -> JsValue {
    make(
        "invalid_argument",
        &format!("the option {key} must be {wanted}"),
        false,
    )
}
