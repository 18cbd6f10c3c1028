//! What stands in a path: names, CIDs and peer ids, parsed once, where a call comes in.

use perennis_net::PeerId;
use perennis_shared::cid::{Cid, parse_cid};
use perennis_shared::did::Did;
use perennis_shared::ipns::Name;

use super::refusal::Refusal;

/// The name in a path; a DID stands for its name.
pub(super) fn parse_name(text: &str) -> Result<Name, Refusal> {
    let parsed = if text.starts_with("did:") {
        Did::parse(text)
            .map(|did| did.name())
            .map_err(|error| error.to_string())
    } else {
        Name::parse(text).map_err(|error| error.to_string())
    };
    parsed.map_err(|message| {
        Refusal::new(
            "invalid_name",
            message,
            "give an IPNS name such as k51…, or a DID",
        )
    })
}

/// The CID of a block that is looked for.
pub(super) fn parse_block_cid(text: &str) -> Result<Cid, Refusal> {
    parse_cid(text).map_err(|error| {
        Refusal::new(
            "invalid_cid",
            format!("{text:?} is no CID: {error}"),
            "write it as bafy… or Qm…",
        )
    })
}

/// The peer in a path.
pub(super) fn parse_peer(text: &str) -> Result<PeerId, Refusal> {
    text.parse().map_err(|error| {
        Refusal::new(
            "invalid_peer",
            format!("{text:?} is no peer id: {error}"),
            "write it in base58 (12D3KooW…), as `peers list` shows it",
        )
    })
}
