use zeroize::Zeroizing;

use super::*;
use crate::codec::dag_json;
use crate::did::{Identity, Profile};

const CREATED: Millis = Millis(1_795_253_220_123);
const P256: &str = "did:key:zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv";
const NAME: &str = "k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9";

fn identity() -> Identity {
    Identity::from_root(Profile::V2, Zeroizing::new([7; 32]))
}

fn document() -> DidDocument {
    let mut document = DidDocument::new(&identity(), CREATED);
    let later = Millis(CREATED.0 + 5_000);
    document
        .set_sources(&["https://a.example".into()], later)
        .unwrap();
    document
}

fn subject(text: &str) -> Result<Subject, ResolutionError> {
    let url = DidUrl::parse(text).map_err(|error| Problem::from(error).error)?;
    Subject::of(&url).map_err(|problem| problem.error)
}

#[test]
fn the_syntax_is_looked_at_before_the_method() {
    use ResolutionError::{InvalidDid, InvalidDidUrl, MethodNotSupported};
    let base32 = Did::parse(NAME).unwrap().name().to_cid().to_string();
    for (text, error) in [
        ("did:web:a b", InvalidDid),
        ("did:Web:a", InvalidDid),
        ("did:web:", InvalidDid),
        ("did:web:a/b c", InvalidDidUrl),
        ("did:web:example.org", MethodNotSupported),
        ("did:keys:z6Mk", MethodNotSupported),
        ("did:key:z6Mknonsense", InvalidDid),
        (
            "did:key:1:z6MkqbYdXMHUZSYSC7yfSP67LeKnMMNTNsT5U66YHbwb67f6",
            InvalidDid,
        ),
        ("did:ipns:nonsense", InvalidDid),
        (
            "did:ipns:QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
            InvalidDid,
        ),
        // The same name in another base: the document has another id.
        (&format!("did:ipns:{base32}"), InvalidDid),
        (NAME, InvalidDid),
    ] {
        assert_eq!(subject(text), Err(error), "{text}");
    }
    let ipns = format!("did:ipns:{NAME}");
    let published = subject(&ipns).unwrap().publisher();
    assert_eq!(published.map(|did| did.to_string()), Some(ipns));
    assert_eq!(subject(P256).unwrap().publisher(), None);
    let key = identity().did_key_uri();
    let publisher = subject(&key).unwrap().publisher();
    assert_eq!(publisher.map(|did| did.to_string()), Some(key));
}

#[test]
fn options_are_known_and_well_formed() {
    use ResolutionError::{FeatureNotSupported, InvalidOptions};
    let parse = |given: &[(&'static str, &'static str)]| {
        Options::parse(given.iter().copied()).map_err(|problem| problem.error)
    };
    assert_eq!(parse(&[]), Ok(Options::default()));
    for given in [
        &[("expandRelativeUrls", "true")][..],
        &[("expandRelativeUrls", "false"), ("versionId", "bafy")],
        &[("versionTime", "2026-11-21T09:27:00Z")],
    ] {
        assert!(parse(given).is_ok(), "{given:?}");
    }
    for (given, error) in [
        (&[("foo", "1")][..], FeatureNotSupported),
        (&[("noCache", "true")], FeatureNotSupported),
        (&[("service", "files")], FeatureNotSupported),
        (&[("VersionId", "bafy")], FeatureNotSupported),
        // What is not supported is told before what is malformed.
        (&[("versionTime", "x"), ("foo", "1")], FeatureNotSupported),
        (&[("versionTime", "yesterday")], InvalidOptions),
        (&[("versionTime", "2026-11-21T09:27:00.5Z")], InvalidOptions),
        (
            &[("versionTime", "2026-11-21T10:27:00+01:00")],
            InvalidOptions,
        ),
        (&[("versionTime", "2026-13-21T09:27:00Z")], InvalidOptions),
        (&[("versionId", "")], InvalidOptions),
        (&[("versionId", "a"), ("versionId", "a")], InvalidOptions),
        (&[("expandRelativeUrls", "yes")], InvalidOptions),
    ] {
        assert_eq!(parse(given), Err(error), "{given:?}");
    }
}

#[test]
fn only_the_newest_version_is_given() {
    let metadata = Metadata::of(&document(), "bafy".into());
    let check = |name: &'static str, value: &str| {
        let options = Options::parse([(name, value)]).unwrap();
        options.check(&metadata).map_err(|problem| problem.error)
    };
    assert_eq!(check("versionId", "bafy"), Ok(()));
    assert_eq!(
        check("versionId", "bafk"),
        Err(ResolutionError::FeatureNotSupported)
    );
    // Made at 09:27:00.123, changed five seconds later.
    assert_eq!(check("versionTime", "2026-11-21T09:27:05Z"), Ok(()));
    assert_eq!(
        check("versionTime", "2026-11-21T09:27:00Z"),
        Err(ResolutionError::FeatureNotSupported)
    );
    assert_eq!(
        check("versionTime", "2026-11-21T09:26:59Z"),
        Err(ResolutionError::NotFound)
    );
    let key = Metadata::default();
    let at = Options::parse([("versionTime", "1999-01-01T00:00:00Z")]).unwrap();
    assert_eq!(at.check(&key), Ok(()), "a key has always been the same");
    let version = Options::parse([("versionId", "1")]).unwrap();
    assert_eq!(
        version.check(&key).unwrap_err().error,
        ResolutionError::FeatureNotSupported
    );
}

#[test]
fn every_error_has_its_url_and_status() {
    for (error, name, status) in [
        (ResolutionError::InvalidDid, "INVALID_DID", 400),
        (ResolutionError::InvalidDidUrl, "INVALID_DID_URL", 400),
        (ResolutionError::InvalidOptions, "INVALID_OPTIONS", 400),
        (ResolutionError::NotFound, "NOT_FOUND", 404),
        (
            ResolutionError::RepresentationNotSupported,
            "REPRESENTATION_NOT_SUPPORTED",
            406,
        ),
        (
            ResolutionError::InvalidDidDocument,
            "INVALID_DID_DOCUMENT",
            500,
        ),
        (
            ResolutionError::MethodNotSupported,
            "METHOD_NOT_SUPPORTED",
            501,
        ),
        (
            ResolutionError::FeatureNotSupported,
            "FEATURE_NOT_SUPPORTED",
            501,
        ),
    ] {
        assert_eq!(error.url(), format!("https://www.w3.org/ns/did#{name}"));
        assert_eq!(error.status(), status);
    }
}

#[test]
fn results_have_whole_seconds_and_no_change_that_was_none() {
    let found = |document: &DidDocument| Found {
        content: document.represent(Core::V1_1),
        metadata: Metadata::of(document, "bafy".into()),
    };
    let text = |value: &Value| dag_json::encode(value).unwrap();
    let result = text(&resolution_result(
        Ok(&found(&document())),
        Core::V1_1,
        false,
    ));
    let metadata = concat!(
        r#""didDocumentMetadata":{"created":"2026-11-21T09:27:00Z","#,
        r#""updated":"2026-11-21T09:27:05Z","versionId":"bafy"},"#,
        r#""didResolutionMetadata":{"contentType":"application/did"}}"#
    );
    assert!(result.ends_with(metadata), "{result}");
    let new = DidDocument::new(&identity(), CREATED);
    let result = text(&resolution_result(Ok(&found(&new)), Core::V1_1, false));
    assert!(!result.contains("updated"), "{result}");
    let problem = Problem::new(ResolutionError::NotFound, "gone");
    assert_eq!(
        text(&resolution_result(Err(&problem), Core::V1_1, false)),
        concat!(
            r#"{"didDocument":null,"didDocumentMetadata":{},"didResolutionMetadata":{"error":"#,
            r#"{"detail":"gone","title":"Not found","type":"https://www.w3.org/ns/did#NOT_FOUND"}}}"#
        )
    );
    assert_eq!(
        text(&dereferencing_result(Err(&problem), Core::V1_1)),
        concat!(
            r#"{"content":null,"contentMetadata":{},"didUrlDereferencingMetadata":{"error":"#,
            r#"{"detail":"gone","title":"Not found","type":"https://www.w3.org/ns/did#NOT_FOUND"}}}"#
        )
    );
}

#[test]
fn a_fragment_names_a_key_or_a_service() {
    let whole = document().represent(Core::V1_1);
    let did = document().id().to_string();
    let key = identity().did_key_uri()["did:key:".len()..].to_string();
    let look = |text: &str| {
        let url = DidUrl::parse(text).unwrap();
        dereference(&url, whole.clone()).map_err(|problem| problem.error)
    };
    assert_eq!(look(&did), Ok(whole.clone()));
    for (name, kind) in [(key.as_str(), "Multikey"), ("sources", "PerennisSources")] {
        let Ok(Value::Map(part)) = look(&format!("{did}#{name}")) else {
            panic!("#{name} is found");
        };
        assert_eq!(part["id"], format!("{did}#{name}").into());
        assert_eq!(part["type"], kind.into());
        let Some(Value::List(contexts)) = part.get("@context") else {
            panic!("#{name} has contexts");
        };
        // The contexts of DID Core have this term only inside a document.
        let has_endpoint = contexts.iter().any(|context| match context {
            Value::Map(terms) => terms.contains_key("serviceEndpoint"),
            _ => false,
        });
        assert_eq!(has_endpoint, kind == "PerennisSources");
    }
    for rest in ["#other", "#", "/path", "/path#sources"] {
        assert_eq!(
            look(&format!("{did}{rest}")),
            Err(ResolutionError::NotFound),
            "{rest}"
        );
    }
}

/// The terms of the contexts that documents and results name, and the types among them: JSON-LD in safe mode refuses others.
/// These documents were also expanded in safe mode by the JavaScript package `jsonld`, with the contexts as W3C publishes them.
const TERMS: &[&str] = &[
    "@context",
    "id",
    "type",
    "controller",
    "alsoKnownAs",
    "verificationMethod",
    "authentication",
    "assertionMethod",
    "capabilityDelegation",
    "capabilityInvocation",
    "keyAgreement",
    "publicKeyMultibase",
    "service",
    "serviceEndpoint",
    "didDocument",
    "didResolutionMetadata",
    "didDocumentMetadata",
    "contentType",
    "error",
    "title",
    "detail",
    "created",
    "updated",
    "versionId",
];

fn check_terms(value: &Value, types: &mut Vec<String>) {
    match value {
        Value::Map(map) => {
            if let Some(Value::List(contexts)) = map.get("@context") {
                for context in contexts {
                    if let Value::Map(terms) = context {
                        types.extend(terms.keys().cloned());
                    }
                }
            }
            for (name, value) in map.iter().filter(|(name, _)| *name != "@context") {
                assert!(TERMS.contains(&name.as_str()), "{name} has no meaning");
                if let ("type", Value::Text(kind)) = (name.as_str(), value) {
                    let is_known = kind.contains(':') || types.contains(kind);
                    assert!(is_known, "the type {kind} has no meaning");
                }
                check_terms(value, types);
            }
        }
        Value::List(values) => values.iter().for_each(|value| check_terms(value, types)),
        _ => (),
    }
}

#[test]
fn every_term_of_documents_and_results_has_a_meaning() {
    let key = KeyDid::parse(&P256["did:key:".len()..]).unwrap();
    let problem = Problem::new(ResolutionError::NotFound, "gone");
    for core in [Core::V1, Core::V1_1] {
        let contents = [
            document().represent(core),
            DidDocument::new(&identity(), CREATED).represent(core),
            key.document(core),
        ];
        for content in contents {
            let Value::Map(map) = &content else {
                panic!("a document is a map");
            };
            let Some(Value::List(contexts)) = map.get("@context") else {
                panic!("a document has contexts");
            };
            let first = match core {
                Core::V1 => "https://www.w3.org/ns/did/v1",
                Core::V1_1 => "https://www.w3.org/ns/did/v1.1",
            };
            assert_eq!(contexts[0], first.into());
            let metadata = Metadata::of(&document(), "bafy".into());
            let found = Found { content, metadata };
            let mut types = Vec::from(["Multikey".to_string()]);
            check_terms(&resolution_result(Ok(&found), core, true), &mut types);
        }
        check_terms(
            &resolution_result(Err(&problem), core, true),
            &mut Vec::new(),
        );
    }
}
