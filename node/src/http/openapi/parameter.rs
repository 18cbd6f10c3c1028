//! What parameters look like: pattern, bounds and an example, by their name. One that is new says it here.

use serde_json::{Value, json};

use crate::http::route::Route;

const CID: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
const NAME: &str = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8";
const DID: &str = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
const PEER: &str = "12D3KooWQ5fTgUqAvX5wxbv5mZvhsg1oiRHsUzTo6hcjxS9kHWcW";
const MULTIADDR: &str = "/ip4/192.0.2.1/udp/4001/quic-v1";

const SNAPSHOTS: &str = "/v1/snapshots";
const SNAPSHOT: &str = "before-upgrade";
const SNAPSHOT_PATTERN: &str = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$";

/// A CID as text in any base that is read, bare, in a URI or in the address of a gateway.
const CID_PATTERN: &str =
    "^(Qm[1-9A-HJ-NP-Za-km-z]{44}|[bBfFkKzmuMU][0-9A-Za-z+/_=-]+|(ipfs://|/ipfs/|https?://).+)$";

/// A parameter that stands in the path of a route.
pub(super) fn in_path(route: &Route, name: &str) -> Value {
    let (pattern, examples) = match name {
        // The gateway takes a path behind it.
        "cid" if route.path.contains('*') => ("^[0-9A-Za-z]", json!([CID, format!("{CID}/a/b")])),
        "cid" => (CID_PATTERN, json!([CID])),
        "name" if route.path.starts_with(SNAPSHOTS) => (SNAPSHOT_PATTERN, json!([SNAPSHOT])),
        "name" => (
            "^(k|K|b|B|f|F|Qm|12D3Koo|16Uiu2|z|did:|ipns://|/ipns/|https?://)",
            json!([NAME, DID]),
        ),
        "did" => ("^did:[a-z0-9]+:.+$", json!([DID])),
        "peer" => ("^[0-9A-Za-z]+$", json!([PEER])),
        "file" => ("^[^/]", json!(["index.html"])),
        _ => ("", json!([])),
    };
    json!({"type": "string", "pattern": pattern, "examples": examples})
}

/// A parameter in the query of a route.
pub(super) fn in_query(route: &Route, name: &str) -> Value {
    match name {
        "limit" => {
            let most = if route.path.starts_with("/v1/providers/") {
                100
            } else {
                1_000
            };
            json!({"type": "integer", "minimum": 1, "maximum": most, "examples": [20]})
        }
        "after" => json!({"type": "string", "examples": [NAME]}),
        "source" => {
            json!({"type": "string", "pattern": "^https?://", "examples": ["https://node.example.org"]})
        }
        "peer" => {
            json!({"type": "string", "pattern": "^/", "examples": [format!("{MULTIADDR}/p2p/{PEER}")]})
        }
        "name" if route.path.starts_with(SNAPSHOTS) => {
            json!({"type": "string", "pattern": SNAPSHOT_PATTERN, "examples": [SNAPSHOT]})
        }
        "versionId" => json!({"type": "string", "minLength": 1, "examples": ["7"]}),
        "versionTime" => json!({
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
            "examples": ["2026-11-30T12:00:00Z"],
        }),
        "name" => json!({"type": "string", "maxLength": 255, "examples": ["my files"]}),
        "root" => json!({"type": "string", "pattern": CID_PATTERN, "examples": [CID]}),
        "filename" if route.name.starts_with("path_") => {
            json!({"type": "string", "minLength": 1, "examples": ["picture.png"]})
        }
        "filename" => json!({"type": "string", "minLength": 1, "examples": ["list.car"]}),
        "entity-bytes" => json!({
            "type": "string",
            "pattern": "^-?[0-9]+:(\\*|-?[0-9]+)$",
            "examples": ["0:1023", "512:*", "-1024:*"],
        }),
        "filter-addrs" => json!({
            "type": "string",
            "pattern": "^!?[a-z0-9-]+(,!?[a-z0-9-]+)*$",
            "examples": ["tcp,quic-v1,!ip6", "unknown"],
        }),
        "filter-protocols" => json!({
            "type": "string",
            "pattern": "^[a-z0-9-]{1,63}(,[a-z0-9-]{1,63})*$",
            "examples": ["unknown,transport-bitswap"],
        }),
        _ => json!({"type": "string"}),
    }
}
