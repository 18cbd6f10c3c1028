//! `/v1/damage`: what is damaged or lost, one by one, and that somebody has seen it.

use hyper::StatusCode;
use perennis_shared::error::chain;

use super::answer::{Answer, Refusal, json};
use crate::http::site::Site;
use crate::storage::StorageError;

/// Everything that is damaged.
pub(super) async fn list(node: &Site) -> Result<Answer, Refusal> {
    let details = node.damage.details().await;
    let details = details.map_err(|error| unread(&error))?;
    Ok(json(StatusCode::OK, &details))
}

/// Forgets the losses that were told; what waits to be mended stays.
pub(super) async fn dismiss(node: &Site) -> Result<Answer, Refusal> {
    let left = node.damage.dismiss().await.map_err(|error| match error {
        StorageError::Full => Refusal::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "disk_full",
            "the disk is full",
            "make room on the disk of the node's data",
        ),
        error => unread(&error),
    })?;
    tracing::info!("the losses that were found were dismissed");
    Ok(json(StatusCode::OK, &left))
}

fn unread(error: &StorageError) -> Refusal {
    tracing::error!(error = %chain(error), "what is damaged could not be read");
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "index_unreadable",
        "the rows of the index cannot be read",
        "restart the node: it makes a damaged index anew from the log",
    )
}
