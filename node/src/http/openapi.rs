//! `/openapi.json`: the routes as an OpenAPI 3.1 document.
//!
//! Every schema that a route names is a component of it. Must never touch: which routes there are.

use std::sync::OnceLock;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use serde_json::{Map, Value, json};

use super::answer::{Answer, JSON, answer};
use super::listener::Listener;
use super::route::{Documented, Route, Schema, Shape};
use super::table::refusals;
use crate::scope::Scope;

mod parameter;

/// The document of these routes of a listener, which are the same at each call.
pub(super) fn document(listener: Listener, routes: impl Iterator<Item = &'static Route>) -> Answer {
    static API: OnceLock<Bytes> = OnceLock::new();
    static ADMIN: OnceLock<Bytes> = OnceLock::new();
    static GATEWAY: OnceLock<Bytes> = OnceLock::new();
    let text = match listener {
        Listener::Api => &API,
        Listener::Admin => &ADMIN,
        Listener::Gateway => &GATEWAY,
    };
    let text = text.get_or_init(|| Bytes::from(build(listener, routes).to_string()));
    let mut answer = answer(StatusCode::OK, JSON, text.clone());
    answer.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    answer
}

fn build(listener: Listener, routes: impl Iterator<Item = &'static Route>) -> Value {
    let (title, description) = match listener {
        Listener::Api => (
            "Perennis node",
            "Keeps identities and the data behind them alive: a trustless gateway, a delegated router for IPNS, and a place to publish to. What is not for everybody needs a token with its scope: read, publish, pin or admin.",
        ),
        Listener::Admin => (
            "Perennis node, for its operator",
            "The same routes as on the public listener, none of which needs a token here: it is reached from the node's own machine only, and by no page of another origin.",
        ),
        Listener::Gateway => (
            "Perennis path gateway",
            "Shows what a node keeps to browsers: files, directories and documents by their path. It only reads.",
        ),
    };
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for route in routes {
        // That a parameter takes the rest of the path cannot be said there.
        let path = route.path.replace("{*", "{");
        let methods = paths.entry(&*path).or_insert_with(|| json!({}));
        methods[route.method.field()] = operation(listener, route, &path);
        for used in used_schemas(route) {
            let component = schemas.entry(used.name);
            component.or_insert_with(|| schema(used.text));
        }
    }
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": description,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token of the node's operator (http.token-file, http.tokens) with the scope that a route names. On the admin listener none is needed.",
            }},
        },
    })
}

fn used_schemas(route: &Route) -> impl Iterator<Item = &Schema> {
    let contents = route.answers.iter().flat_map(|answer| answer.content);
    contents.filter_map(|(_, shape)| match shape {
        Shape::Schema(schema) => Some(schema),
        Shape::Text | Shape::Binary => None,
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

fn operation(listener: Listener, route: &Route, path: &str) -> Value {
    let mut parameters = Vec::new();
    for segment in path.split('/') {
        if let Some(name) = segment
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'))
        {
            parameters.push(json!({
                "name": name,
                "in": "path",
                "required": true,
                "schema": parameter::in_path(route, name),
            }));
        }
    }
    for query in route.query {
        let mut schema = parameter::in_query(route, query.name);
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
    let of_scope = refusals(listener, route.scope);
    // What the route says itself comes last, so that it wins.
    let answers: Map<String, Value> = of_scope
        .iter()
        .chain(route.answers)
        .map(|documented| (documented.status.to_string(), response(documented)))
        .collect();
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "parameters": parameters,
        "responses": answers,
    });
    if let Some(content_type) = route.request {
        operation["requestBody"] = json!({"required": true, "content": {content_type: {}}});
    }
    operation["security"] = match (listener, route.scope) {
        (Listener::Gateway | Listener::Admin, _) | (_, Scope::Public) => json!([]),
        // Whether it needs one is the operator's to say.
        (Listener::Api, Scope::Publish) => json!([{}, {"token": [Scope::Publish.word()]}]),
        (Listener::Api, scope) => json!([{"token": [scope.word()]}]),
    };
    operation
}

fn response(documented: &Documented) -> Value {
    let content: Map<String, Value> = documented
        .content
        .iter()
        .map(|(content_type, shape)| {
            let schema = match shape {
                Shape::Schema(Schema { name, .. }) => {
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
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::http::table::routes;

    const LISTENERS: [Listener; 3] = [Listener::Api, Listener::Admin, Listener::Gateway];

    #[test]
    fn every_schema_is_used_and_every_used_one_is_there() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/http");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        let used: BTreeSet<String> = LISTENERS
            .into_iter()
            .flat_map(routes)
            .flat_map(used_schemas)
            .map(|schema| format!("{}.json", schema.name))
            .collect();
        assert_eq!(there, used);
    }

    #[test]
    fn every_schema_is_one_and_names_itself() {
        for Schema { name, text } in routes(Listener::Api).flat_map(used_schemas) {
            let schema: Value = serde_json::from_str(text).unwrap();
            assert_eq!(
                schema["$id"],
                format!("https://perennis.dev/schema/http/{name}.json")
            );
            jsonschema::validator_for(&schema).unwrap();
        }
    }

    #[test]
    fn every_example_of_a_parameter_is_one() {
        let documents = LISTENERS.map(|listener| build(listener, routes(listener)));
        let methods = documents
            .iter()
            .flat_map(|document| document["paths"].as_object().unwrap().values());
        let operations = methods.flat_map(|methods| methods.as_object().unwrap().values());
        let mut count = 0;
        for parameter in
            operations.flat_map(|operation| operation["parameters"].as_array().unwrap())
        {
            let schema = &parameter["schema"];
            let validator = jsonschema::validator_for(schema).unwrap();
            let is_told = ["examples", "enum"]
                .iter()
                .any(|field| schema[*field].is_array());
            assert!(is_told, "{parameter}");
            for example in schema["examples"].as_array().into_iter().flatten() {
                assert!(validator.is_valid(example), "{parameter}");
                count += 1;
            }
        }
        assert!(count > 20);
    }

    #[test]
    fn every_route_says_what_it_is_for_and_what_it_answers() {
        for route in LISTENERS.into_iter().flat_map(routes) {
            assert!(!route.summary.is_empty(), "{}", route.name);
            assert!(!route.answers.is_empty(), "{}", route.name);
        }
    }
}
