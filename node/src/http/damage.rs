//! `/v1/damage`: what is damaged or lost, one by one, and that somebody has seen it.

use hyper::StatusCode;
use perennis_shared::error::{ErrorKind, Retryable};

use super::answer::Answer;
use super::call::Call;
use super::document::json;
use super::refusal::{ClientError, Refusal};
use crate::storage::StorageError;

/// Why what is damaged cannot be told or dismissed.
#[derive(Debug, thiserror::Error)]
enum DamageError {
    #[error("the disk is full")]
    Full,
    #[error("the rows of the index cannot be read")]
    Unreadable(#[source] StorageError),
}

impl From<StorageError> for DamageError {
    fn from(error: StorageError) -> DamageError {
        match error {
            StorageError::Full => DamageError::Full,
            error => DamageError::Unreadable(error),
        }
    }
}

impl Retryable for DamageError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Fatal
    }
}

impl ClientError for DamageError {
    fn code(&self) -> &'static str {
        match self {
            DamageError::Full => "disk_full",
            DamageError::Unreadable(_) => "index_unreadable",
        }
    }

    fn message(&self) -> String {
        self.to_string()
    }

    fn hides_causes(&self) -> bool {
        matches!(self, DamageError::Unreadable(_))
    }

    fn hint(&self) -> &'static str {
        match self {
            DamageError::Full => "make room on the disk of the node's data",
            DamageError::Unreadable(_) => {
                "restart the node: it makes a damaged index anew from the log"
            }
        }
    }
}

/// Everything that is damaged.
pub(super) async fn list(call: Call) -> Result<Answer, Refusal> {
    let details = call
        .node
        .damage
        .details()
        .await
        .map_err(DamageError::from)?;
    Ok(json(StatusCode::OK, &details))
}

/// Forgets the losses that were told; what waits to be mended stays.
pub(super) async fn dismiss(call: Call) -> Result<Answer, Refusal> {
    let left = call
        .node
        .damage
        .dismiss()
        .await
        .map_err(DamageError::from)?;
    tracing::info!("the losses that were found were dismissed");
    Ok(json(StatusCode::OK, &left))
}
