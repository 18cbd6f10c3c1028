//! Routes of the path gateway, which has a listener of its own: all of them only read.

use super::routes;
use crate::http::listener::Listener;
use crate::http::route::{Documented, Metering, Query, Route, Schema, Shape};
use crate::http::{openapi, path_gateway};

const FORMAT: Query = Query {
    name: "format",
    meaning: "what to send; wins over the header Accept; the content itself without both",
    values: &["raw", "car", "dag-json", "dag-cbor", "json", "cbor"],
};

const FORMAT_OF_NAME: Query = Query {
    name: "format",
    meaning: "what to send; wins over the header Accept; the content itself without both",
    values: &[
        "raw",
        "car",
        "dag-json",
        "dag-cbor",
        "json",
        "cbor",
        "ipns-record",
    ],
};

const FILENAME: Query = Query {
    name: "filename",
    meaning: "the name in Content-Disposition, by which the media type is known too",
    values: &[],
};

const DOWNLOAD: Query = Query {
    name: "download",
    meaning: "whether the browser keeps the content in a file instead of showing it",
    values: &["true", "false"],
};

const DAG_SCOPE: Query = Query {
    name: "dag-scope",
    meaning: "with car, as are entity-bytes, car-version, car-order and car-dups: as the trustless gateway takes it",
    values: &["block", "entity", "all"],
};

/// What the content itself is sent as.
const CONTENT: &[(&str, Shape)] = &[
    ("*/*", Shape::Binary),
    ("text/html", Shape::Text),
    ("application/vnd.ipld.raw", Shape::Binary),
    (
        "application/vnd.ipld.car; version=1; order=dfs; dups=n",
        Shape::Binary,
    ),
    ("application/vnd.ipld.dag-json", Shape::Binary),
    ("application/vnd.ipld.dag-cbor", Shape::Binary),
    ("application/vnd.ipfs.ipns-record", Shape::Binary),
];

/// A refusal: a page where a browser asks.
const REFUSAL: &[(&str, Shape)] = &[
    ("application/json", schema!("error")),
    ("text/html", Shape::Text),
];

pub(super) static ROUTES: &[Route] = &[
    Route::get("/ipfs/{*cid}", "path_ipfs", handler!(path_gateway::ipfs))
        .metering(Metering::ByHandler)
        .summary("What stands at a path behind a CID: a file, the page or the listing of a directory, a document (path gateway specification).")
        .query(&[FORMAT, DAG_SCOPE, FILENAME, DOWNLOAD])
        .answers(documented![
            200 "the content, or a page made of it; where a block is missing below the first the body is broken off" CONTENT,
            206 "the asked part of a file or a block; of several ranges the first" CONTENT,
            301 "a directory or the page of a document, at the same path with a slash at its end" &[],
            304 "what the client has is what there is" &[],
            400 "no CID, a parameter we do not know, or a service worker" REFUSAL,
            404 "the block, or one on the path to it, is not here, or there is no such name on the path" REFUSAL,
            406 "the content is not there in this format; codecs are not converted" REFUSAL,
            412 "Cache-Control: only-if-cached, and it is not here" &[],
            416 "the range lies outside of the content" REFUSAL,
            422 "a block on the path, or the file or directory there, cannot be read" REFUSAL,
            501 "the path leads to a value inside of a document" REFUSAL,
            503 "the memory for answers is taken; Retry-After says when to try again" REFUSAL,
        ]),
    Route::get("/ipns/{*name}", "path_ipns", handler!(path_gateway::ipns))
        .metering(Metering::ByHandler)
        .summary("What stands at a path behind that which a name points at (path gateway specification).")
        .query(&[FORMAT_OF_NAME, DAG_SCOPE, FILENAME, DOWNLOAD])
        .answers(documented![
            200 "as below /ipfs/, or the record" CONTENT,
            206 "the asked part of a file or a block; of several ranges the first" CONTENT,
            301 "a directory or the page of a document, at the same path with a slash at its end" &[],
            302 "the same path below the usual form of the name" &[],
            304 "what the client has is what there is" &[],
            400 "no IPNS name, or as below /ipfs/" REFUSAL,
            404 "the block, or one on the path to it, is not here, or there is no such name on the path" REFUSAL,
            406 "the content is not there in this format; codecs are not converted" REFUSAL,
            412 "Cache-Control: only-if-cached, and the record or the content is not here" &[],
            416 "the range lies outside of the content" REFUSAL,
            422 "a block on the path, or the file or directory there, cannot be read" REFUSAL,
            501 "the path leads to a value inside of a document, or the name points at a domain" REFUSAL,
            502 "no valid record of the name was found, or it points at no content; Retry-After says when to try again" REFUSAL,
            503 "the memory for answers is taken, too many names are being looked up, or nobody answered in time; Retry-After says when to try again" REFUSAL,
        ]),
    Route::get("/openapi.json", "gateway_openapi", |_| {
        Box::pin(async {
            let routes = routes(Listener::Gateway);
            Ok(openapi::document(Listener::Gateway, routes))
        })
    })
    .metering(Metering::NeverRefused)
    .summary("This document.")
    .answers(documented![200 "the document" json!("openapi")]),
];
