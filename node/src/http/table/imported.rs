//! Routes of files that the operator imports.

use super::{ERROR, PAGE_QUERY};
use crate::http::import;
use crate::http::route::{Documented, Query, Route, RouteMethod, Schema, Shape};
use crate::scope::Scope;

const NAME: &str = "the operator's word for the pins, at most 255 bytes; empty without it";

pub(super) static ROUTES: &[Route] = &[
    Route::watch("/v1/imported", "imported", handler!(import::list))
        .summary("Roots of files that were imported and are kept, in the order of their multihashes.")
        .query(PAGE_QUERY)
        .answers(documented![
            200 "a page" json!("imported"),
            400 "no cursor or no limit" ERROR,
        ]),
    Route::new(RouteMethod::Post, "/v1/imported", "import", Scope::Pin, handler!(import::import))
        .summary("Imports a CAR file of version 1 or 2, of any size up to import.max-size, and pins its roots. Every block is verified and stored as it comes. The file is taken whole or not at all: when a section is refused, or the file breaks off, the answer is an error that says where, and when blocks below a root are missing nothing is pinned either; with partial=true what there is is kept and the rest told. Once the file is here the answer is JSON lines: progress, then done, with what became of each root, or failed.")
        .query(&[
            Query {
                name: "name",
                meaning: NAME,
                values: &[],
            },
            Query {
                name: "partial",
                meaning: "keep what there is of a file that is not whole",
                values: &["true", "false"],
            },
            Query {
                name: "root",
                meaning: "a CID to pin in place of the roots that the file names; may be given 64 times. Without it, and where the file names none, those of its blocks are roots to which no other of it links",
                values: &[],
            },
        ])
        .request("application/vnd.ipld.car")
        .answers(documented![
            200 "lines" &[("application/x-ndjson", Shape::Text)],
            400 "no CAR file, a block in it that is not what its CID says, an end inside a section, or no CID or name in the query" ERROR,
            408 "the body paused too long" ERROR,
            413 "the file is larger than import.max-size" ERROR,
            415 "another content type" ERROR,
            503 "busy, or its data folder is gone" ERROR,
            507 "the disk is full" ERROR,
        ]),
    Route::new(RouteMethod::Delete, "/v1/imported/{cid}", "imported_remove", Scope::Pin, handler!(import::remove))
        .summary("Keeps a root no longer for having been imported, under whichever CID of its multihash.")
        .query(&[Query {
            name: "name",
            meaning: "the name of the pin; without it those of all names are removed",
            values: &[],
        }])
        .answers(documented![
            200 "removed" json!("imported-removed"),
            400 "no CID, or a name that no pin has" ERROR,
            404 "it was not imported" ERROR,
            507 "the disk is full" ERROR,
        ]),
];
