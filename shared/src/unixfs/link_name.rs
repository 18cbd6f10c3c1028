//! Links by their names.

use crate::{cid::Cid, codec::dag_pb::Link};

/// The first link with this name.
pub(super) fn find<'a>(links: &'a [Link], name: &[u8]) -> Option<&'a Cid> {
    let link = links.iter().find(|link| name_of(link) == name)?;
    Some(&link.hash)
}

/// The name of a link; one without is as one that is empty.
pub(super) fn name_of(link: &Link) -> &[u8] {
    link.name.as_deref().unwrap_or_default()
}
