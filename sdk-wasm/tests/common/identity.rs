//! Identities as JavaScript sees them.

use perennis::{Client, Identity, generate_passphrase};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_test::wasm_bindgen_test;

fn options(fields: &[(&str, JsValue)]) -> js_sys::Object {
    let object = js_sys::Object::new();
    for (key, value) in fields {
        js_sys::Reflect::set(&object, &JsValue::from(*key), value).unwrap();
    }
    object
}

fn field(error: &JsValue, key: &str) -> JsValue {
    js_sys::Reflect::get(error, &key.into()).unwrap()
}

#[wasm_bindgen_test]
fn a_v1_identity_is_the_same_as_everywhere() {
    let v1 = options(&[("profile", "v1".into())]);
    let identity = Identity::derive("correct horse battery staple", Some(v1)).unwrap();
    assert_eq!(
        identity.did_key(),
        "did:key:z6MkqbYdXMHUZSYSC7yfSP67LeKnMMNTNsT5U66YHbwb67f6"
    );
    assert_eq!(
        identity.ipns_name(),
        "k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9"
    );
    assert_eq!(identity.profile(), "v1");
}

#[wasm_bindgen_test]
fn a_generated_passphrase_has_eight_words_and_is_never_the_same() {
    let phrase = generate_passphrase().unwrap();
    assert_eq!(phrase.split(' ').count(), 8);
    assert_ne!(phrase, generate_passphrase().unwrap());
}

#[wasm_bindgen_test]
fn an_unknown_profile_is_an_error_with_a_code() {
    let v9 = options(&[("profile", "v9".into())]);
    let error = Identity::derive("whatever it is", Some(v9)).err().unwrap();
    assert!(error.is_instance_of::<js_sys::Error>());
    assert_eq!(field(&error, "name"), "PerennisError");
    assert_eq!(field(&error, "code"), "unknown_profile");
    assert_eq!(field(&error, "retryable"), false);
}

#[wasm_bindgen_test]
async fn a_bad_handle_and_a_missing_node_are_errors_with_codes() {
    let database = format!("errors-{}", js_sys::Math::random());
    let client = Client::open(Some(options(&[("database", database.into())])))
        .await
        .unwrap();
    let v1 = options(&[("profile", "v1".into())]);
    let identity = Identity::derive("correct horse battery staple", Some(v1)).unwrap();
    client.adopt(&identity).await.unwrap();
    let error = client
        .label("not a handle", "spam", None)
        .await
        .unwrap_err();
    assert_eq!(field(&error, "code"), "invalid_handle");
    assert_eq!(client.label("@Alice", "friend", None).await.unwrap(), 1);
    let error = client.publish(&identity, None).await.unwrap_err();
    assert_eq!(field(&error, "code"), "no_node");
    assert_eq!(client.staged().await.unwrap(), 1);
}
