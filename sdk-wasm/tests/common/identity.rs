//! Identities as JavaScript sees them.

use perennis::{Client, Identity, check_passphrase, generate_passphrase};
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

#[wasm_bindgen_test]
async fn a_token_goes_to_one_node_and_never_where_others_read_it() {
    let open = |nodes: &[&str], token: &str| {
        let nodes: js_sys::Array = nodes.iter().copied().map(JsValue::from_str).collect();
        let database = format!("tokens-{}", js_sys::Math::random());
        Client::open(Some(options(&[
            ("database", database.into()),
            ("nodes", nodes.into()),
            ("token", token.into()),
        ])))
    };
    for (nodes, token, code) in [
        (&["http://node.example"][..], "abc", "token_exposed"),
        (
            &["https://one.example", "https://two.example"],
            "abc",
            "one_node_expected",
        ),
        (&[], "abc", "one_node_expected"),
        (&["https://one.example"], "two words", "invalid_argument"),
    ] {
        let error = open(nodes, token).await.err().unwrap();
        assert_eq!(field(&error, "code"), code, "{nodes:?}");
    }
    open(&["https://node.example"], "abc").await.unwrap();
    open(&["http://127.0.0.1:4780"], "abc").await.unwrap();
}

async fn client() -> Client {
    let database = format!("labels-{}", js_sys::Math::random());
    let client = Client::open(Some(options(&[("database", database.into())])))
        .await
        .unwrap();
    let v1 = options(&[("profile", "v1".into())]);
    let identity = Identity::derive("correct horse battery staple", Some(v1)).unwrap();
    client.adopt(&identity).await.unwrap();
    client
}

async fn first_label(client: &Client) -> JsValue {
    let page = client.labels(None).await.unwrap();
    let labels: js_sys::Array = field(&page, "labels").unchecked_into();
    labels.get(0)
}

#[wasm_bindgen_test]
async fn every_part_of_a_label_goes_in_and_out_and_stays_when_it_is_not_named() {
    let client = client().await;
    let end = js_sys::Date::now() + 86_400_000.0;
    let full = options(&[
        ("note", "sells".into()),
        ("colour", "#ff0000".into()),
        ("source", "did:web:example.org".into()),
        ("expires", end.into()),
        (
            "id",
            js_sys::BigInt::from(1_778_338_116_564_078_593_u64).into(),
        ),
        ("negated", true.into()),
    ]);
    client.label("@Alice", "spam", Some(full)).await.unwrap();
    let unchanged = options(&[("note", "".into()), ("colour", JsValue::UNDEFINED)]);
    assert_eq!(
        client
            .label("alice", "spam", Some(unchanged))
            .await
            .unwrap(),
        1
    );
    let label = first_label(&client).await;
    for (name, value) in [
        ("handle", JsValue::from("Alice")),
        ("note", "sells".into()),
        ("colour", "#ff0000".into()),
        ("source", "did:web:example.org".into()),
        ("expires", end.into()),
        ("id", "1778338116564078593".into()),
        ("negated", true.into()),
        ("staged", true.into()),
    ] {
        assert_eq!(field(&label, name), value, "{name}");
    }
    let cleared = js_sys::Array::of2(&"note".into(), &"negated".into());
    let clear = options(&[("clear", cleared.into()), ("id", "17".into())]);
    client.label("@alice", "spam", Some(clear)).await.unwrap();
    let label = first_label(&client).await;
    assert!(field(&label, "note").is_undefined());
    assert_eq!(field(&label, "negated"), false);
    assert_eq!(field(&label, "id"), "17");
    assert_eq!(client.undo().await.unwrap(), 1);
    assert_eq!(field(&first_label(&client).await, "note"), "sells");
    assert_eq!(client.discard().await.unwrap(), 1);
    assert!(first_label(&client).await.is_undefined());
}

#[wasm_bindgen_test]
async fn options_that_say_nothing_known_are_refused() {
    let client = client().await;
    for (name, value, code) in [
        ("negate", JsValue::TRUE, "unknown_option"),
        ("color", "#ff0000".into(), "unknown_option"),
        ("negated", "yes".into(), "invalid_argument"),
        ("id", 9_007_199_254_740_993.0.into(), "invalid_argument"),
        ("id", (-1.0).into(), "invalid_argument"),
        ("expires", 1_900_000_000.0.into(), "invalid_time"),
        ("expires", "2020-01-31".into(), "invalid_label"),
        (
            "clear",
            js_sys::Array::of1(&"nots".into()).into(),
            "invalid_argument",
        ),
    ] {
        let given = options(&[(name, value)]);
        let error = client.label("@a", "spam", Some(given)).await.unwrap_err();
        assert_eq!(field(&error, "code"), code, "{name}");
    }
    let page = client.labels(Some(options(&[("offset", 1.into())]))).await;
    assert_eq!(field(&page.unwrap_err(), "code"), "unknown_option");
    assert_eq!(client.staged().await.unwrap(), 0);
}

#[wasm_bindgen_test]
fn a_passphrase_that_could_be_guessed_makes_no_new_identity() {
    let weak = Identity::create("1234567890123456789", None).err().unwrap();
    assert_eq!(field(&weak, "code"), "weak_passphrase");
    let checked = check_passphrase("1234567890123456789");
    assert_eq!(field(&checked, "enough"), false);
    assert!(field(&checked, "advice").is_string());
    let phrase = "orbit velvet canyon ladder mosaic thimble";
    assert_eq!(field(&check_passphrase(phrase), "enough"), true);
}
