//! Follows a path through the blocks that are here.

use perennis_shared::cid::Cid;
use perennis_shared::unixfs::{PathError, PathWalk};

use super::read;
use crate::http::refusal::Refusal;
use crate::http::service::Service;

/// Follows a path from a root to its end, whose block is not read.
pub(in crate::http) async fn follow(
    node: &Service,
    root: &Cid,
    path: &str,
) -> Result<PathWalk, Refusal> {
    let mut path = PathWalk::new(*root, path).map_err(refused)?;
    while !path.is_at_end() {
        let block = read(node, path.at()).await?;
        path.follow(block.bytes()).map_err(refused)?;
    }
    Ok(path)
}

/// Why a path cannot be followed.
pub(in crate::http) fn refused(error: PathError) -> Refusal {
    let message = error.to_string();
    match error {
        PathError::Absent { .. } => Refusal::not_found(
            message,
            "list the names with dag-scope=entity of the block above",
        ),
        PathError::Unreadable { .. } => Refusal::new(
            "unreadable_links",
            message,
            "ask for the block alone, with format=raw",
        ),
        _ => Refusal::new("path_too_long", message, "ask from a CID farther down"),
    }
}
