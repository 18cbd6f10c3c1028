//! Routes of graphs of blocks that are fetched on demand.

use super::{ERROR, PAGE_QUERY};
use crate::http::fetch;
use crate::http::route::{Documented, Query, Route, RouteMethod, Schema, Shape};
use crate::scope::Scope;

pub(super) static ROUTES: &[Route] = &[
    Route::watch("/v1/fetched", "fetched", handler!(fetch::list))
        .summary("DAGs that were fetched on demand and are kept, in the order of their CIDs.")
        .query(PAGE_QUERY)
        .answers(documented![
            200 "a page" json!("fetched"),
            400 "no cursor or no limit" ERROR,
        ]),
    Route::new(RouteMethod::Post, "/v1/fetched/{cid}", "fetch", Scope::Pin, handler!(fetch::start))
        .summary("Fetches the DAG below a CID from peers, verified block by block, and keeps it. Answers with JSON lines: progress, then done or failed, whose kind says what the caller may do (retry, reject, corrupt or fatal).")
        .query(&[Query {
            name: "peer",
            meaning: "multiaddr of a peer to ask, percent-encoded; without it connected peers and those the DHT names",
            values: &[],
        }])
        .answers(documented![
            200 "lines" &[("application/x-ndjson", Shape::Text)],
            400 "no CID or no multiaddr" ERROR,
            422 "somebody else answers at the address" ERROR,
            502 "the peer cannot be reached" ERROR,
            507 "the disk is full" ERROR,
        ]),
    Route::new(RouteMethod::Delete, "/v1/fetched/{cid}", "release", Scope::Pin, handler!(fetch::release))
        .summary("Keeps a DAG no longer for having been fetched.")
        .answers(documented![
            200 "released" json!("release"),
            400 "no CID" ERROR,
            404 "it was not fetched" ERROR,
            507 "the disk is full" ERROR,
        ]),
];
