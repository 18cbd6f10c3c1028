//! Routes of snapshots of the store.

use super::ERROR;
use crate::http::route::{Documented, Query, Route, RouteMethod, Schema, Shape};
use crate::http::snapshots;
use crate::scope::Scope;

pub(super) static ROUTES: &[Route] = &[
    Route::watch("/v1/snapshots", "snapshots", handler!(snapshots::list))
        .summary("The snapshots in the data folder, by name.")
        .answers(documented![200 "all of them" json!("snapshots")]),
    Route::new(RouteMethod::Post, "/v1/snapshots", "snapshot", Scope::Admin, handler!(snapshots::write))
        .summary("Writes a snapshot of all that is acknowledged into the folder snapshots of the data folder. It shares the files of the store that do not change any more, and is a data folder without the node's key. Writes wait while the index is copied.")
        .query(&[Query {
            name: "name",
            meaning: "1 to 64 letters, digits, -, _ and ., not beginning with - or .; the time without it",
            values: &[],
        }])
        .answers(documented![
            200 "written and durable" json!("snapshot"),
            400 "no name of a snapshot" ERROR,
            409 "there is one of this name" ERROR,
            500 "it could not be written" ERROR,
            503 "the node is stopping" ERROR,
            507 "the disk is full" ERROR,
        ]),
    Route::new(RouteMethod::Delete, "/v1/snapshots/{name}", "snapshot_remove", Scope::Admin, handler!(snapshots::remove))
        .summary("Removes a snapshot.")
        .answers(documented![
            200 "what was removed" json!("snapshot"),
            400 "no name of a snapshot" ERROR,
            404 "there is none of this name" ERROR,
            500 "it could not be removed" ERROR,
            507 "the disk is full" ERROR,
        ]),
];
