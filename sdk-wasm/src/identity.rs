//! Identities in JavaScript.

use js_sys::Object;
use perennis_rt as rt;
use perennis_shared::did::{self, CreateError, Profile};
use perennis_shared::passphrase;
use wasm_bindgen::prelude::*;

use crate::error::{JsResult, invalid, make};
use crate::object::{Fields, Options};

/// Words of a generated passphrase: 88 bits.
const WORDS: usize = 8;

/// The keys of one identity. They never leave this module's memory; `free()` wipes them.
#[wasm_bindgen]
pub struct Identity(pub(crate) did::Identity);

#[wasm_bindgen]
impl Identity {
    /// Derives an identity from a passphrase. Takes a good part of a second and up to 128 MiB: call it in a worker.
    ///
    /// Options: `profile`, `"v2"` (default, for new identities) or `"v1"`; `account`, which v2 mixes in (default `""`).
    ///
    /// # Errors
    /// The passphrase or the account is empty or too long, or the profile is unknown.
    pub fn derive(passphrase: &str, options: Option<Object>) -> JsResult<Identity> {
        let options = Options::new(options, &["profile", "account"])?;
        let profile = options.text("profile")?.unwrap_or_else(|| "v2".into());
        let account = options.text("account")?.unwrap_or_default();
        let derived = match Profile::parse(&profile) {
            Some(Profile::V1) => did::Identity::derive_v1(passphrase.as_bytes()),
            Some(Profile::V2) => did::Identity::derive_v2(passphrase, &account),
            None => {
                return Err(make(
                    "unknown_profile",
                    "the profile must be v1 or v2",
                    false,
                ));
            }
        };
        derived
            .map(Self)
            .map_err(|error| invalid("invalid_passphrase", &error))
    }

    /// Derives a new identity, which is always of profile v2, from a passphrase that is good enough for one; takes what
    /// `derive` takes. Option: `account`.
    ///
    /// # Errors
    /// `weak_passphrase`: the message says how far off it is and what would help. Else as `derive`.
    pub fn create(passphrase: &str, options: Option<Object>) -> JsResult<Identity> {
        let options = Options::new(options, &["account"])?;
        let account = options.text("account")?.unwrap_or_default();
        match did::Identity::create(passphrase, &account) {
            Ok(identity) => Ok(Self(identity)),
            Err(CreateError::Weak(weak)) => Err(invalid("weak_passphrase", &weak)),
            Err(error) => Err(invalid("invalid_passphrase", &error)),
        }
    }

    /// The DID.
    #[wasm_bindgen(getter)]
    pub fn did(&self) -> String {
        self.0.did().to_string()
    }

    /// The `did:key` of the key that signs the log.
    #[wasm_bindgen(getter, js_name = didKey)]
    pub fn did_key(&self) -> String {
        self.0.did_key_uri()
    }

    /// The IPNS name in base36.
    #[wasm_bindgen(getter, js_name = ipnsName)]
    pub fn ipns_name(&self) -> String {
        self.0.name().to_string()
    }

    /// `"v1"` or `"v2"`.
    #[wasm_bindgen(getter)]
    pub fn profile(&self) -> String {
        self.0.profile().as_str().into()
    }
}

/// What a passphrase that somebody has typed is worth for a new identity: `{bits, enough}` and, where it is not enough,
/// `advice`. Takes no time to speak of, so it can be asked with every letter that is typed.
#[wasm_bindgen(js_name = checkPassphrase)]
pub fn check_passphrase(passphrase: &str) -> JsValue {
    let (bits, advice) = match passphrase::check(passphrase) {
        Ok(estimate) => (estimate.bits, None),
        Err(weak) => (weak.bits, Some(weak.to_string())),
    };
    Fields::new()
        .set("bits", bits)
        .set("enough", advice.is_none())
        .set_some("advice", advice)
        .done()
}

/// Makes a passphrase of eight words from the browser's randomness.
///
/// # Errors
/// The browser has no randomness.
#[wasm_bindgen(js_name = generatePassphrase)]
pub fn generate_passphrase() -> JsResult<String> {
    let random = rt::random::<{ WORDS * passphrase::RANDOM_BYTES_PER_WORD }>()
        .map_err(|error| invalid("no_randomness", &error))?;
    passphrase::generate(WORDS, &random)
        .map(|phrase| phrase.to_string())
        .map_err(|error| invalid("no_passphrase", &error))
}
