//! Routes of content by its address: blocks, records and documents of identities.

use super::ERROR;
use crate::http::route::{Documented, Metering, Query, Route, RouteMethod, Schema, Shape};
use crate::http::{gateway, identifiers, records, resolved};
use crate::scope::Scope;

const FILENAME: Query = Query {
    name: "filename",
    meaning: "the name in Content-Disposition",
    values: &[],
};

/// Why a DID is not resolved.
const PROBLEM: &[(&str, Shape)] = &[
    ("application/did-resolution", schema!("did-resolution")),
    (
        "application/did-url-dereferencing",
        schema!("did-dereferencing"),
    ),
];

pub(super) static ROUTES: &[Route] = &[
    Route::get("/ipfs/{*cid}", "block", handler!(gateway::block))
        .in_memory(gateway::cached)
        .metering(Metering::ByHandler)
        .summary("A block by its CID, or with a path behind it the blocks along the path and those of the graph where it ends (trustless gateway specification).")
        .query(&[
            Query {
                name: "format",
                meaning: "what to send; wins over the header Accept, of which one has to be there",
                values: &["raw", "car"],
            },
            Query {
                name: "dag-scope",
                meaning: "with car: the block alone, what is needed to read the file or list the directory, or everything below it",
                values: &["block", "entity", "all"],
            },
            Query {
                name: "entity-bytes",
                meaning: "with car: the bytes of a file that are to be read, from and to included, from its end where negative, `*` for the end; what is sent is then the entity",
                values: &[],
            },
            Query {
                name: "car-version",
                meaning: "with car: its version",
                values: &["1"],
            },
            Query {
                name: "car-order",
                meaning: "with car: the order of its blocks, which is depth first whichever is asked for",
                values: &["dfs", "unk"],
            },
            Query {
                name: "car-dups",
                meaning: "with car: whether a block is sent at each of its places, n without it",
                values: &["y", "n"],
            },
            FILENAME,
        ])
        .answers(documented![
            200 "the block, or the graph as CARv1 in depth-first order; where a block is missing the body is broken off behind those before it" &[
                ("application/vnd.ipld.raw", Shape::Binary),
                ("application/vnd.ipld.car; version=1; order=dfs; dups=n", Shape::Binary),
            ],
            206 "the asked part of the block" &[("application/vnd.ipld.raw", Shape::Binary)],
            304 "what the client has is what there is" &[],
            400 "no CID, neither format nor Accept, a parameter we do not know, a path behind a single block, or bytes outside of the file" ERROR,
            404 "the block, or one on the path to it, is not here, or there is no such name on the path" ERROR,
            406 "a format that is not served" ERROR,
            412 "Cache-Control: only-if-cached, and it is not here" &[],
            416 "the range lies outside of the block" ERROR,
            422 "the links of the graph's root, or of a block on the path, cannot be read" ERROR,
            503 "the memory for answers is taken; Retry-After says when to try again" ERROR,
        ]),
    Route::get("/v1/resolve/{name}", "resolve", handler!(resolved::resolve))
        .summary("Where a name leads: to the content that its record points at, or where that is another name, to what that one leads to, for at most 32 names and none twice. Records that are not kept here are asked of the network; all names together take at most 20 seconds. Cache-Control: no-cache asks anew for each of them.")
        .answers(documented![
            200 "the content path, and each name on the way" json!("resolved"),
            400 "no name" ERROR,
            404 "no record of the name, or of one on the way, was found" ERROR,
            412 "Cache-Control: only-if-cached, and a record on the way is not here" &[],
            422 "the names lead in a circle, on too far, or to a domain (DNSLink) or something else that is no content" ERROR,
            503 "a name on the way was not found in time" ERROR,
        ]),
    Route::get("/ipns/{*name}", "ipns", handler!(records::gateway))
        .summary("The newest record of a name (trustless gateway specification).")
        .query(&[
            Query {
                name: "format",
                meaning: "what to send; wins over the header Accept",
                values: &["ipns-record"],
            },
            FILENAME,
        ])
        .answers(documented![
            200 "the record" &[("application/vnd.ipfs.ipns-record", Shape::Binary)],
            304 "what the client has is what there is" &[],
            400 "no IPNS name, or a path behind it" ERROR,
            404 "no valid record is here" ERROR,
            406 "a format that is not served" ERROR,
            412 "Cache-Control: only-if-cached, and none is here" &[],
            503 "too many names are being looked up, or nobody answered in time" ERROR,
        ]),
    Route::get("/routing/v1/ipns/{name}", "record_get", handler!(records::routing))
        .in_memory(records::cached)
        .summary("The newest record of a name (Delegated Routing V1). A missing record is 200 with another content type, as the specification has it.")
        .answers(documented![
            200 "the record, or a document that says there is none" &[
                ("application/vnd.ipfs.ipns-record", Shape::Binary),
                ("application/json", schema!("error")),
            ],
            304 "what the client has is what there is" &[],
            400 "no IPNS name" ERROR,
            406 "a format that is not served" ERROR,
            412 "Cache-Control: only-if-cached, and none is here" &[],
            503 "too many names are being looked up, or nobody answered in time" ERROR,
        ]),
    Route::new(RouteMethod::Put, "/routing/v1/ipns/{name}", "record_put", Scope::Publish, handler!(records::put))
        .summary("Stores a record durably (Delegated Routing V1). Blocks of an unknown head are fetched later.")
        .request("application/vnd.ipfs.ipns-record")
        .answers(documented![
            200 "stored" json!("receipt"),
            400 "no name, no record, or no record of this name" ERROR,
            406 "another content type than that of a record" ERROR,
            409 "a newer record is known, or one of the same sequence with another value" ERROR,
            413 "above 10,240 bytes" ERROR,
            429 "too many writes, or a quota is used up" ERROR,
            503 "busy, or its data folder is gone" ERROR,
            507 "the disk is full" ERROR,
        ]),
    Route::get("/1.0/identifiers/{*did}", "identifier", handler!(identifiers::resolve))
        .summary("Resolves a DID, or dereferences a DID URL (DID Resolution, HTTPS binding). A DID URL with ? or # in it is percent-encoded.")
        .query(&[
            Query {
                name: "versionId",
                meaning: "the version of the document; only the newest is given",
                values: &[],
            },
            Query {
                name: "versionTime",
                meaning: "a time in UTC in whole seconds, for which the version is meant; only the newest is given",
                values: &[],
            },
            Query {
                name: "expandRelativeUrls",
                meaning: "nothing is done, since documents have absolute URLs only",
                values: &["true", "false"],
            },
        ])
        .answers(documented![
            200 "the result, or with Accept the document alone, or the key or service that the DID URL names" &[
                ("application/did-resolution", schema!("did-resolution")),
                ("application/json", schema!("did-resolution")),
                ("application/did-url-dereferencing", schema!("did-dereferencing")),
                ("application/did", schema!("did-document")),
                ("application/did+ld+json", schema!("did-document")),
                ("application/did+json", schema!("did-document")),
                ("application/ld+json", schema!("did-document")),
            ],
            400 "no DID, no DID URL, or a malformed option" PROBLEM,
            404 "not known here, lapsed, or nothing of that name in the document" PROBLEM,
            406 "a format that is not served" PROBLEM,
            500 "what is kept here is no DID document" PROBLEM,
            501 "a method, an option or a version that is not known here" PROBLEM,
        ]),
];
