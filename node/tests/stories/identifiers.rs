//! Resolving DIDs by HTTP.

use perennis_shared::did::Did;

use crate::support::{Author, TestNode};

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

    for accept in [
        "application/did+ld+json",
        "application/did",
        "application/ld+json",
    ] {
        let reply = node.get_with(&path, &[("Accept", accept)]).await;
        assert_eq!(reply.ok().json(), result["didDocument"], "{accept}");
    }
    let profile = "application/ld+json;profile=\"https://w3id.org/did-resolution\"";
    let reply = node.get_with(&path, &[("Accept", profile)]).await;
    assert_eq!(reply.ok().json(), result);
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

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_resolved_is_told_in_the_form_of_did_resolution() {
    let node = TestNode::start().await;
    let unknown = Did::from_name(Author::new(1).name()).unwrap();
    for (did, status, error) in [
        (unknown.to_string(), 404, "NOT_FOUND"),
        (
            "did:web:example.org".to_owned(),
            400,
            "METHOD_NOT_SUPPORTED",
        ),
        ("did:key:z6Mknonsense".to_owned(), 400, "INVALID_DID"),
        ("nonsense".to_owned(), 400, "INVALID_DID"),
    ] {
        let reply = node.get(&format!("/1.0/identifiers/{did}")).await;
        assert_eq!(reply.status, status, "{did}");
        let result = reply.json();
        assert!(result["didDocument"].is_null());
        let kind = result["didResolutionMetadata"]["error"]["type"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(kind, format!("https://www.w3.org/ns/did#{error}"), "{did}");
    }
}
