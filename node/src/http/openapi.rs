//! `/openapi.json`: the routes as an OpenAPI 3.1 document, made from the table the server matches against.
//!
//! The schemas stand in `docs/schema/http`, one file per document, and are part of the program.

use std::sync::OnceLock;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use serde_json::{Map, Value, json};

use super::answer::{Answer, JSON, answer};
use super::route::{Documented, ROUTES, Route, Shape};

macro_rules! schemas {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../docs/schema/http/", $name, ".json")))),*]
    };
}

/// The schemas, by the name of their file.
pub(crate) static SCHEMAS: &[(&str, &str)] = schemas![
    "damage",
    "did-document",
    "did-resolution",
    "error",
    "fetched",
    "health",
    "index",
    "name",
    "names",
    "openapi",
    "peer-ban",
    "peer-connect",
    "peers",
    "pins",
    "probe",
    "provide",
    "providers",
    "receipt",
    "release",
    "routing-peers",
    "routing-providers",
    "status",
];

pub(super) fn document() -> Answer {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| Bytes::from(build().to_string()));
    let mut answer = answer(StatusCode::OK, JSON, text.clone());
    answer.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    answer
}

fn build() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_lowercase()] = operation(route);
    }
    let schemas: Map<String, Value> = SCHEMAS
        .iter()
        .map(|(name, text)| ((*name).to_owned(), schema(text)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Perennis node",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Keeps identities and the data behind them alive: a trustless gateway, a delegated router for IPNS, and a place to publish to.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {
                "type": "http",
                "scheme": "bearer",
                "description": "Needed when the operator has set http.token-file.",
            }},
        },
    })
}

/// A schema as a component: it has no address of its own there.
fn schema(text: &str) -> Value {
    let mut schema: Value = serde_json::from_str(text).unwrap_or_default();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
        fields.remove("$id");
    }
    schema
}

fn operation(route: &Route) -> Value {
    let mut parameters = Vec::new();
    for segment in route.path.split('/') {
        if let Some(name) = segment
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'))
        {
            parameters.push(json!({
                "name": name,
                "in": "path",
                "required": true,
                "schema": {"type": "string"},
            }));
        }
    }
    for query in route.query {
        let mut schema = json!({"type": "string"});
        if !query.values.is_empty() {
            schema["enum"] = json!(query.values);
        }
        parameters.push(json!({
            "name": query.name,
            "in": "query",
            "description": query.meaning,
            "schema": schema,
        }));
    }
    let answers: Map<String, Value> = route
        .answers
        .iter()
        .map(|documented| (documented.status.to_string(), response(documented)))
        .collect();
    let mut operation = json!({
        "operationId": route.endpoint.name(),
        "summary": route.summary,
        "parameters": parameters,
        "responses": answers,
    });
    if let Some(content_type) = route.request {
        operation["requestBody"] = json!({"required": true, "content": {content_type: {}}});
    }
    if route.writes {
        operation["security"] = json!([{}, {"token": []}]);
    }
    operation
}

fn response(documented: &Documented) -> Value {
    let content: Map<String, Value> = documented
        .content
        .iter()
        .map(|(content_type, shape)| {
            let schema = match shape {
                Shape::Schema(name) => {
                    json!({"schema": {"$ref": format!("#/components/schemas/{name}")}})
                }
                Shape::Text => json!({"schema": {"type": "string"}}),
                Shape::Binary => json!({}),
            };
            ((*content_type).to_owned(), schema)
        })
        .collect();
    let mut response = json!({"description": documented.meaning});
    if !content.is_empty() {
        response["content"] = Value::Object(content);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_schema_is_used_and_every_used_one_is_there() {
        let there: BTreeSet<&str> = SCHEMAS.iter().map(|(name, _)| *name).collect();
        let used: BTreeSet<&str> = ROUTES
            .iter()
            .flat_map(|route| route.answers)
            .flat_map(|answer| answer.content)
            .filter_map(|(_, shape)| match shape {
                Shape::Schema(name) => Some(*name),
                Shape::Text | Shape::Binary => None,
            })
            .collect();
        assert_eq!(there, used);
    }

    #[test]
    fn every_schema_is_one_and_names_itself() {
        for (name, text) in SCHEMAS {
            let schema: Value = serde_json::from_str(text).unwrap();
            assert_eq!(
                schema["$id"],
                format!("https://perennis.dev/schema/http/{name}.json")
            );
            jsonschema::validator_for(&schema).unwrap();
        }
    }
}
