//! Resolving DIDs by HTTP.

use std::time::Duration;

use perennis_shared::did::Did;
use serde_json::Value;

use crate::support::{Author, Reply, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn a_published_did_resolves_to_its_document() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    author.set_sources(&["https://node.example".to_owned()]);
    let message = author.publish(&[("@alice", "friend")]);
    node.publish(&message).await.ok();
    let path = format!("/1.0/identifiers/{}", message.did);
    let reply = node.get(&path).await;
    assert_eq!(
        reply.header("content-type"),
        Some("application/did-resolution")
    );
    let result = reply.ok().json();
    assert_eq!(result["didDocument"]["id"], message.did.to_string());
    assert_eq!(
        result["didResolutionMetadata"]["contentType"],
        "application/did"
    );
    assert_eq!(
        result["didDocumentMetadata"]["versionId"],
        message.head.to_string()
    );
    let encoded = format!(
        "/1.0/identifiers/{}",
        message.did.to_string().replace(':', "%3A")
    );
    assert_eq!(node.get(&encoded).await.ok().json(), result);

    let metadata = &result["didDocumentMetadata"];
    let created = metadata["created"].as_str().unwrap();
    assert_eq!(created.len(), "2026-11-21T09:27:00Z".len(), "{created}");
    assert!(created.ends_with('Z'), "{created}");
    assert!(result["didDocument"].get("created").is_none());
}

/// The media type of an answer, its `@context`, and whether it is a result.
fn form(reply: &Reply) -> (String, Value, bool) {
    let media_type = reply.header("content-type").unwrap().to_owned();
    let json = reply.json();
    let is_result = json.get("didDocument").is_some() || json.get("content").is_some();
    (media_type, json["@context"][0].clone(), is_result)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_form_that_was_asked_for() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    author.set_sources(&["https://node.example".to_owned()]);
    let message = author.publish(&[("@alice", "friend")]);
    node.publish(&message).await.ok();
    let path = format!("/1.0/identifiers/{}", message.did);
    let core_1 = Value::from("https://www.w3.org/ns/did/v1");
    let core_1_1 = Value::from("https://www.w3.org/ns/did/v1.1");
    let linked = "application/ld+json;profile=\"https://w3id.org/did-resolution\"";
    let linked_context = Value::from("https://w3id.org/did-resolution/v1");
    for (accept, media_type, context, is_result) in [
        ("*/*", "application/did-resolution", &Value::Null, true),
        (
            "application/*;q=0.5",
            "application/did-resolution",
            &Value::Null,
            true,
        ),
        (
            "application/did-resolution",
            "application/did-resolution",
            &Value::Null,
            true,
        ),
        (linked, linked, &linked_context, true),
        ("application/json", "application/json", &Value::Null, true),
        ("application/did", "application/did", &core_1_1, false),
        (
            "application/did+ld+json",
            "application/did+ld+json",
            &core_1,
            false,
        ),
        (
            "application/did+json",
            "application/did+json",
            &core_1,
            false,
        ),
        ("application/ld+json", "application/ld+json", &core_1, false),
        (
            "application/did-resolution;q=0.4, application/did;q=0.9, text/html",
            "application/did",
            &core_1_1,
            false,
        ),
        (
            "*/*, application/did-resolution;q=0",
            "application/did",
            &core_1_1,
            false,
        ),
        (
            "application/did-url-dereferencing",
            "application/did-url-dereferencing",
            &Value::Null,
            true,
        ),
    ] {
        let reply = node.get_with(&path, &[("Accept", accept)]).await;
        reply.ok();
        let expected = (media_type.to_owned(), context.clone(), is_result);
        assert_eq!(form(&reply), expected, "{accept}");
    }
    for accept in [
        "text/html",
        "application/did-resolution;q=0",
        "application/xml, image/*",
    ] {
        let reply = node.get_with(&path, &[("Accept", accept)]).await;
        assert_eq!(
            error(&reply),
            (406, "REPRESENTATION_NOT_SUPPORTED".to_owned()),
            "{accept}"
        );
    }
    // What is wrong with the DID is told before what is wrong with the form.
    let reply = node
        .get_with(
            "/1.0/identifiers/did:web:a.example",
            &[("Accept", "text/html")],
        )
        .await;
    assert_eq!(error(&reply), (501, "METHOD_NOT_SUPPORTED".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_did_key_resolves_to_its_key_without_being_published() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let did = Did::from_key(&author.identity.signer().public());
    let result = node
        .get(&format!("/1.0/identifiers/{did}"))
        .await
        .ok()
        .json();
    assert_eq!(result["didDocument"]["id"], did.to_string());
}

/// The status of an answer and the error that it tells.
fn error(reply: &Reply) -> (u16, String) {
    let json = reply.json();
    let metadata = json
        .get("didResolutionMetadata")
        .unwrap_or(&json["didUrlDereferencingMetadata"]);
    let url = metadata["error"]["type"].as_str().unwrap();
    let name = url.strip_prefix("https://www.w3.org/ns/did#").unwrap();
    for content in ["didDocument", "content"] {
        assert!(json.get(content).is_none_or(Value::is_null), "{json}");
    }
    (reply.status, name.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_resolved_is_told_in_the_form_of_did_resolution() {
    let node = TestNode::start().await;
    let unknown = Did::from_name(Author::new(1).name()).unwrap();
    let in_base32 = Author::new(1).name().to_cid().to_string();
    let key = "did:key:zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv";
    for (asked, status, name) in [
        (unknown.to_string(), 404, "NOT_FOUND"),
        (
            "did:web:example.org".to_owned(),
            501,
            "METHOD_NOT_SUPPORTED",
        ),
        ("did:web:".to_owned(), 400, "INVALID_DID"),
        ("did:Web:example.org".to_owned(), 400, "INVALID_DID"),
        ("did:key:z6Mknonsense".to_owned(), 400, "INVALID_DID"),
        (format!("did:ipns:{in_base32}"), 400, "INVALID_DID"),
        ("nonsense".to_owned(), 400, "INVALID_DID"),
        (format!("{key}?foo=bar"), 501, "FEATURE_NOT_SUPPORTED"),
        (format!("{key}?versionId=1"), 501, "FEATURE_NOT_SUPPORTED"),
        (
            format!("{key}?versionTime=yesterday"),
            400,
            "INVALID_OPTIONS",
        ),
        (format!("{key}?versionTime=%zz"), 400, "INVALID_OPTIONS"),
        (
            format!("{key}%3Fservice=files"),
            501,
            "FEATURE_NOT_SUPPORTED",
        ),
        (format!("{key}/whoami"), 404, "NOT_FOUND"),
        (format!("{key}/a%20b"), 400, "INVALID_DID_URL"),
        (format!("{key}%23other"), 404, "NOT_FOUND"),
    ] {
        let reply = node.get(&format!("/1.0/identifiers/{asked}")).await;
        assert_eq!(error(&reply), (status, name.to_owned()), "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_other_curves_and_options_that_change_nothing_are_answered() {
    let node = TestNode::start().await;
    for key in [
        "zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv",
        "z82LkvCwHNreneWpsgPEbV3gu1C6NFJEBg4srfJ5gdxEsMGRJUz2sG9FE42shbn2xkZJh54",
        "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
        "z6LSeu9HkTHSfLLeUs2nnzUSNedgDUevfNQgQjQC23ZCit6F",
    ] {
        for query in [
            "",
            "?expandRelativeUrls=true",
            "?versionTime=2026-01-01T00:00:00Z",
        ] {
            let path = format!("/1.0/identifiers/did:key:{key}{query}");
            let result = node.get(&path).await.ok().json();
            let document = &result["didDocument"];
            assert_eq!(document["id"], format!("did:key:{key}"));
            let method = &document["verificationMethod"][0];
            assert_eq!(method["publicKeyMultibase"], key);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fragment_leads_to_the_key_or_service_of_that_name() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    author.set_sources(&["https://node.example".to_owned()]);
    let message = author.publish(&[("@alice", "friend")]);
    node.publish(&message).await.ok();
    let path = format!("/1.0/identifiers/{}%23sources", message.did);
    let reply = node.get(&path).await;
    let media_type = reply.header("content-type").unwrap();
    assert_eq!(media_type, "application/did-url-dereferencing");
    let result = reply.ok().json();
    assert_eq!(result["content"]["id"], format!("{}#sources", message.did));
    assert_eq!(result["content"]["type"], "PerennisSources");
    assert_eq!(
        result["contentMetadata"]["versionId"],
        message.head.to_string()
    );
    let alone = node.get_with(&path, &[("Accept", "application/did")]).await;
    assert_eq!(alone.ok().json(), result["content"]);
    // A DID URL is no DID: it is not resolved.
    let resolution = [("Accept", "application/did-resolution")];
    let reply = node.get_with(&path, &resolution).await;
    assert_eq!(
        error(&reply),
        (406, "REPRESENTATION_NOT_SUPPORTED".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_lapsed_leads_to_no_document() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let mut message = author.publish(&[("@alice", "friend")]);
    message.record = author.record(message.head, 2, Duration::from_secs(2));
    node.publish(&message).await.ok();
    let path = format!("/1.0/identifiers/{}", message.did);
    node.get(&path).await.ok();
    let reply = node.eventually(&path, |reply| reply.status == 404).await;
    assert_eq!(error(&reply), (404, "NOT_FOUND".to_owned()));
    assert!(
        reply.json().to_string().contains("lapsed"),
        "{}",
        reply.json()
    );
}
