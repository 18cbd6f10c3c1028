//! Peers that follow the same name find each other through the DHT, as those of the Go implementation do.

use futures_util::{StreamExt, stream::FuturesUnordered};
use perennis_shared::{
    cid::{Cid, Codec, cid_of},
    ipns::Name,
};

use crate::dht::{Dht, DhtError};

/// Peers that are looked for at once: as many as a mesh wants.
const WANTED: usize = 6;

/// The key under which those who follow a name are providers: a CID that no block has, made of the name's topic (the
/// Go implementation's pubsub discovery, `floodsub:` and the topic).
#[must_use]
pub fn rendezvous(name: &Name) -> Cid {
    let place = format!("floodsub:{}", name.topic());
    cid_of(Codec::Raw, place.as_bytes())
}

/// Finds peers that say in the DHT that they follow a name, and connects with them. Returns how many are connected.
///
/// Others find this peer when it provides [`rendezvous`] of the name.
///
/// # Errors
/// Nobody can be asked.
pub async fn meet(dht: &Dht, name: &Name) -> Result<usize, DhtError> {
    let found = dht.find_providers(&rendezvous(name), WANTED + 1).await?;
    let own = dht.peer_id();
    let others = found.providers.into_iter();
    let others = others.filter(|other| other.peer != own).take(WANTED);
    let mut connecting: FuturesUnordered<_> = others.map(|other| dht.connect(other)).collect();
    let mut met = 0;
    while let Some(connected) = connecting.next().await {
        match connected {
            Ok(()) => met += 1,
            Err(error) => tracing::debug!(%name, %error, "a follower could not be reached"),
        }
    }
    Ok(met)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_key_is_the_sha_256_of_the_place_as_a_raw_cid() {
        let name: Name = "k51qzi5uqu5dgutdk6i1ynyzgkqngpha5xpgia3a5qqp4jsh0u4csozksxel2r"
            .parse()
            .unwrap();
        assert_eq!(
            rendezvous(&name).to_string(),
            "bafkreifwmpkacpvorvp7hnfaa7r737sye6rc7klp64q4peq5filncoklda"
        );
    }
}
