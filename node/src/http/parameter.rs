//! What stands in a path: names, CIDs and peer ids, parsed once, where a call comes in.

use perennis_net::PeerId;
use perennis_shared::cid::Cid;
use perennis_shared::ipns::Name;
use perennis_shared::uri;

use super::refusal::Refusal;

/// The name in a path, as people have it: in any base, in a URI, or in a DID, which stands for its name.
pub(super) fn parse_name(text: &str) -> Result<Name, Refusal> {
    uri::parse_name(text).map_err(|error| {
        Refusal::new(
            "invalid_name",
            error.to_string(),
            "give an IPNS name such as k51…, or a DID",
        )
    })
}

/// The CID of a block that is looked for, as people have it: in any base or in a URI.
pub(super) fn parse_block_cid(text: &str) -> Result<Cid, Refusal> {
    uri::parse_cid(text).map_err(|error| {
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
