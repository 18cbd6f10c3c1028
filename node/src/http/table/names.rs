//! Routes of the names that are kept.

use super::{ERROR, PAGE_QUERY};
use crate::http::route::{Documented, Query, Route, RouteMethod, Schema, Shape};
use crate::http::{follow, name_status, names, pins, records, removal};
use crate::scope::Scope;

pub(super) static ROUTES: &[Route] = &[
    Route::watch("/v1/names", "names", handler!(names::list))
        .summary("The names this node keeps, in the order of their bytes.")
        .query(PAGE_QUERY)
        .answers(documented![
            200 "a page" json!("names"),
            400 "no cursor or no limit" ERROR,
        ]),
    Route::get("/v1/names/{name}", "name", handler!(name_status::status))
        .summary("How one name is: its record, where that leads, its size, its pins, when it was put where and when it is due again.")
        .answers(documented![
            200 "its status" json!("name"),
            400 "no name" ERROR,
            404 "the name is not kept here, or its record is lost" ERROR,
        ]),
    Route::get("/v1/names/{name}/record", "name_record", handler!(records::kept))
        .summary("The record of a name that is kept here, also one that has ended: with that its owner restores an identity. Whoever resolves a name asks /routing/v1/ipns, which gives none that has ended.")
        .answers(documented![
            200 "the record" &[("application/vnd.ipfs.ipns-record", Shape::Binary)],
            400 "no name" ERROR,
            404 "the name is not kept here, or its record is lost" ERROR,
        ]),
    Route::new(RouteMethod::Put, "/v1/names/{name}", "follow", Scope::Pin, handler!(follow::follow))
        .summary("Follows somebody else's name: keeps its record and all that is below its head, and looks for newer records. Where the record points at another name, that one is followed for it. Without a body the record is looked for at the routers and sources; a body is the record, or a CARv1 of the form of a publish whose blocks are kept as well.")
        .query(&[
            Query {
                name: "source",
                meaning: "URL of a node or gateway that is asked for the record and the blocks; may be given 8 times",
                values: &[],
            },
            Query {
                name: "more",
                meaning: "with a CAR: further requests bring more blocks, and what is missing is not looked at yet",
                values: &["true"],
            },
        ])
        .request("application/vnd.ipfs.ipns-record")
        .answers(documented![
            200 "it is followed; its status" json!("name"),
            400 "no name, no URL, or no valid record" ERROR,
            404 "no record of the name was found" ERROR,
            408 "the body came too slowly" ERROR,
            409 "one of the same sequence with another value is kept" ERROR,
            413 "the body or a block is too large" ERROR,
            415 "another content type" ERROR,
            422 "a block breaks the rules of its codec" ERROR,
            429 "a quota is used up" ERROR,
            502 "no record was found, and not all routers and sources could be asked; what each of them said" ERROR,
            503 "busy, or its data folder is gone" ERROR,
            507 "the disk is full" ERROR,
        ]),
    Route::new(RouteMethod::Delete, "/v1/names/{name}", "unfollow", Scope::Pin, handler!(follow::unfollow))
        .summary("Ends following a name. It goes with all that only it holds, unless its owner has published it here.")
        .answers(documented![
            204 "it is no longer followed" &[],
            400 "no name" ERROR,
            404 "the name is not followed" ERROR,
            409 "another followed name leads to it" ERROR,
            507 "the disk is full" ERROR,
        ]),
    Route::new(RouteMethod::Delete, "/v1/names/{name}/record", "name_remove", Scope::Admin, handler!(removal::remove))
        .summary("Removes a name for good: its record, its rungs, its pin, and that it is followed. Blocks that nothing else holds go with the next collection. For the operator only, as following.")
        .query(&[Query {
            name: "deny",
            meaning: "whether the name is taken no more from then on",
            values: &["true"],
        }])
        .answers(documented![
            200 "it is removed; what it was" json!("name-removed"),
            400 "no name" ERROR,
            404 "the name is not kept here" ERROR,
            409 "another followed name leads to it" ERROR,
            507 "the disk is full; without `deny` it is removed all the same" ERROR,
        ]),
    Route::watch("/v1/denied", "denied", handler!(removal::denied))
        .summary("The names that were removed and are taken no more, in the order of their bytes.")
        .query(PAGE_QUERY)
        .answers(documented![
            200 "a page" json!("denied"),
            400 "no cursor or no limit" ERROR,
        ]),
    Route::new(RouteMethod::Delete, "/v1/denied/{name}", "name_allow", Scope::Admin, handler!(removal::allow))
        .summary("Takes a name again that was removed. For the operator only, as following.")
        .answers(documented![
            204 "it may be published again" &[],
            400 "no name" ERROR,
            404 "it is not denied" ERROR,
            507 "the disk is full" ERROR,
        ]),
    Route::new(RouteMethod::Post, "/v1/names/{name}/publish", "publish", Scope::Publish, handler!(names::publish))
        .summary("Stores a new head with its blocks durably, all of it or nothing. The body is CARv1 with the roots [head, record, rung…]; the record is its last block, and the rungs of its renewal ladder come right before it.")
        .request("application/vnd.ipld.car")
        .answers(documented![
            200 "stored durably" json!("receipt"),
            400 "no name, no CAR, or not the message that is expected" ERROR,
            408 "the body came too slowly" ERROR,
            409 "a newer record is known, or one of the same sequence with another value" ERROR,
            413 "the message or a block is too large" ERROR,
            415 "another content type" ERROR,
            422 "blocks are missing (they are listed), the head is not by the name, or the rungs are no ladder" ERROR,
            429 "too many writes, or a quota is used up" ERROR,
            503 "busy, or its data folder is gone" ERROR,
            507 "the disk is full" ERROR,
        ]),
    Route::watch("/v1/pins", "pins", handler!(pins::list))
        .summary("What this node keeps, and for whom.")
        .query(PAGE_QUERY)
        .answers(documented![
            200 "a page" json!("pins"),
            400 "no cursor or no limit" ERROR,
        ]),
    Route::watch("/v1/index", "index", handler!(pins::index))
        .summary("The CIDs of pinned tag lists and DID documents, for monitoring.")
        .query(PAGE_QUERY)
        .answers(documented![
            200 "a page" json!("index"),
            400 "no cursor or no limit" ERROR,
        ]),
];
