//! Routes of peers, and who provides what.

use super::ERROR;
use crate::http::route::{Documented, Query, Route, RouteMethod, Schema, Shape};
use crate::http::{peers, providers};
use crate::scope::Scope;

/// Of lists of peers (IPIP-484).
const FILTERS: &[Query] = &[
    Query {
        name: "filter-addrs",
        meaning: "names of protocols with commas between: addresses with one of them, with ! before it without it; unknown for peers without addresses",
        values: &[],
    },
    Query {
        name: "filter-protocols",
        meaning: "names of transfer protocols with commas between: peers that are known to speak one of them; unknown for those of which none is known",
        values: &[],
    },
];

pub(super) static ROUTES: &[Route] = &[
    Route::watch("/v1/peers", "peers", handler!(peers::list))
        .summary("The node as a peer: where it listens, who is connected, how many come in and from where.")
        .answers(documented![200 "the peers" json!("peers")]),
    Route::new(RouteMethod::Post, "/v1/peers/connect", "peer_connect", Scope::Admin, handler!(peers::connect))
        .summary("Connects to the peer at a multiaddr.")
        .request("application/json")
        .answers(documented![
            200 "connected" json!("peer-connect"),
            400 "no multiaddr, no peer in it, or a peer that is banned" ERROR,
            422 "somebody else answers there" ERROR,
            502 "it cannot be reached" ERROR,
        ]),
    Route::new(RouteMethod::Put, "/v1/peers/{peer}/ban", "peer_ban", Scope::Admin, handler!(peers::ban))
        .summary("Closes the connections with a peer and takes none any more, until the node stops or the ban is lifted.")
        .answers(documented![
            200 "banned" json!("peer-ban"),
            400 "no peer id" ERROR,
        ]),
    Route::new(RouteMethod::Delete, "/v1/peers/{peer}/ban", "peer_unban", Scope::Admin, handler!(peers::unban))
        .summary("Speaks with a peer again.")
        .answers(documented![
            200 "not banned" json!("peer-ban"),
            400 "no peer id" ERROR,
        ]),
    Route::new(RouteMethod::Post, "/v1/providers/{cid}", "provide", Scope::Pin, handler!(providers::provide))
        .summary("Tells the DHT that this node has a block.")
        .answers(documented![
            200 "told" json!("provide"),
            400 "no CID" ERROR,
            404 "the block is not here" ERROR,
            503 "no peers, or too few took it" ERROR,
        ]),
    Route::get("/v1/providers/{cid}", "providers", handler!(providers::list))
        .summary("The peers that say they have a block.")
        .query(&[Query {
            name: "limit",
            meaning: "providers looked for, 1 to 100, 20 without it",
            values: &[],
        }])
        .answers(documented![
            200 "the providers" json!("providers"),
            400 "no CID or no limit" ERROR,
            503 "no peers" ERROR,
        ]),
    Route::get("/routing/v1/providers/{cid}", "providers_routing", handler!(providers::routed_providers))
        .summary("The peers that say they have a block (Delegated Routing V1); JSON lines for those who accept them.")
        .query(FILTERS)
        .answers(documented![
            200 "the providers" &[
                ("application/json", schema!("routing-providers")),
                ("application/x-ndjson", Shape::Text),
            ],
            400 "a value in the query that is no text" ERROR,
            422 "no CID" ERROR,
            503 "no peers" ERROR,
        ]),
    Route::get("/routing/v1/peers/{peer}", "peers_routing", handler!(providers::routed_peer))
        .summary("Where a peer can be reached (Delegated Routing V1); JSON lines for those who accept them.")
        .query(FILTERS)
        .answers(documented![
            200 "the peer, or nobody" &[
                ("application/json", schema!("routing-peers")),
                ("application/x-ndjson", Shape::Text),
            ],
            400 "a value in the query that is no text" ERROR,
            422 "no peer id" ERROR,
        ]),
];
