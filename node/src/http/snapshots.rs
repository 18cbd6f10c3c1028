//! `/v1/snapshots`: snapshots of the store in the data folder.

use hyper::StatusCode;
use serde::Serialize;

use super::answer::Answer;
use super::call::Call;
use super::document::json;
use super::query;
use super::refusal::{ClientError, INTERNAL, Refusal};
use crate::storage::{SnapshotName, SnapshotsError, StoredSnapshot};

#[derive(Serialize)]
struct Snapshots {
    snapshots: Vec<SnapshotDocument>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotDocument {
    name: String,
    path: String,
    at: String,
    files: u64,
    bytes: u64,
    own_bytes: u64,
}

impl SnapshotDocument {
    fn of(snapshot: &StoredSnapshot) -> SnapshotDocument {
        SnapshotDocument {
            name: snapshot.name.as_str().to_owned(),
            path: snapshot.path.display().to_string(),
            at: snapshot.at.to_string(),
            files: snapshot.files,
            bytes: snapshot.bytes,
            own_bytes: snapshot.own_bytes,
        }
    }
}

impl ClientError for SnapshotsError {
    fn code(&self) -> &'static str {
        match self {
            SnapshotsError::Exists(_) => "snapshot_exists",
            SnapshotsError::Missing(_) => "not_found",
            SnapshotsError::Full => "disk_full",
            SnapshotsError::Interrupted(_) => "stopping",
            SnapshotsError::Store(_) | SnapshotsError::Io { .. } => INTERNAL,
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            SnapshotsError::Exists(_) => "give it another name, or remove that one",
            SnapshotsError::Missing(_) => "GET /v1/snapshots lists them",
            SnapshotsError::Full => {
                "make room on the disk of the node's data; older snapshots keep space too"
            }
            SnapshotsError::Interrupted(_) => "ask again when the node has started",
            SnapshotsError::Store(_) | SnapshotsError::Io { .. } => "look into the node's log",
        }
    }
}

pub(super) async fn list(call: Call) -> Result<Answer, Refusal> {
    let snapshots = call.node.storage().snapshots().await?;
    let snapshots = snapshots.iter().map(SnapshotDocument::of).collect();
    Ok(json(StatusCode::OK, &Snapshots { snapshots }))
}

pub(super) async fn write(call: Call) -> Result<Answer, Refusal> {
    let name = match query::value(call.query(), "name")? {
        Some(name) => parse(&name)?,
        None => SnapshotName::at(perennis_rt::now()),
    };
    let snapshot = call.node.storage().write_snapshot(name).await?;
    tracing::info!(path = %snapshot.path.display(), "a snapshot was written");
    Ok(json(StatusCode::OK, &SnapshotDocument::of(&snapshot)))
}

pub(super) async fn remove(call: Call) -> Result<Answer, Refusal> {
    let name = parse(&call.parameter)?;
    let snapshot = call.node.storage().remove_snapshot(name).await?;
    tracing::info!(path = %snapshot.path.display(), "a snapshot was removed");
    Ok(json(StatusCode::OK, &SnapshotDocument::of(&snapshot)))
}

fn parse(name: &str) -> Result<SnapshotName, Refusal> {
    SnapshotName::parse(name).ok_or_else(|| {
        Refusal::new(
            "invalid_snapshot_name",
            format!(
                "{:?} is no name of a snapshot",
                name.chars().take(100).collect::<String>()
            ),
            "take 1 to 64 letters, digits, -, _ and ., not beginning with - or .",
        )
    })
}
