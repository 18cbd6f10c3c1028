//! What commands print with `--json`, as far as interoperation, benches and the tour read it.
//!
//! Documents are held against their schemas before they become one of these, so a type here has only the fields that
//! somebody reads.

use perennis_shared::cid::{Cid, parse_cid};
use perennis_shared::ipns::Name;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// What `id new` made.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewIdentity {
    /// Its DID.
    pub did: String,
    /// The name it publishes under.
    #[serde(deserialize_with = "name")]
    pub ipns_name: Name,
    /// The passphrase, when it was generated.
    pub passphrase: Option<String>,
}

/// What `publish` signed.
#[derive(Clone, Debug, Deserialize)]
pub struct Published {
    /// The log entry.
    #[serde(deserialize_with = "cid")]
    pub head: Cid,
}

/// Where a name leads, by `resolve`.
#[derive(Clone, Debug, Deserialize)]
pub struct Resolved {
    /// What the record points at.
    #[serde(deserialize_with = "cid")]
    pub head: Cid,
    /// The node that answered, or `local`.
    pub source: String,
}

/// What a node says of a name, by `name show`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NameStatus {
    /// What the record points at.
    #[serde(deserialize_with = "optional_cid")]
    pub head: Option<Cid>,
    /// How much of that is there.
    pub pin: Option<String>,
    /// When the record was last put to the DHT.
    pub last_put: Option<serde_json::Value>,
}

/// Who has a block, by `providers`.
#[derive(Clone, Debug, Deserialize)]
pub struct Providers {
    /// Each peer that says so.
    pub providers: Vec<Provider>,
}

/// One of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// Its peer id.
    pub peer_id: String,
}

/// How many blocks were fetched by `fetch`, or are in the file by `car verify`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Blocks {
    /// Their number.
    pub blocks: u64,
}

/// The first line of `node run`.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    /// The address of its HTTP side.
    pub http: String,
    /// Where its operator calls, where that is on.
    pub admin: Option<String>,
    /// That of its path gateway, where it is on.
    pub gateway: Option<String>,
    /// Its addresses for other peers, each ending in its peer id.
    pub p2p: Vec<String>,
}

fn cid<'de, D: Deserializer<'de>>(from: D) -> Result<Cid, D::Error> {
    parse_cid(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn optional_cid<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Cid>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| parse_cid(&text).map_err(D::Error::custom))
        .transpose()
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Name, D::Error> {
    Name::parse(&String::deserialize(from)?).map_err(D::Error::custom)
}
