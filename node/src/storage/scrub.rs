//! The scrub of the store, a step at a time, and when its last round ended.

use perennis_rt as rt;
use perennis_shared::time::Millis;
use perennis_store::{Batch, ScrubStep};

use super::keys::SCRUBBED;
use super::{ReclaimError, Storage, StorageError};

impl Storage {
    /// Reads the next blocks again, about so many bytes of them. The store remembers its place.
    pub(crate) async fn scrub_step(&self, bytes: u64) -> Result<ScrubStep, ReclaimError> {
        let store = self.store.clone();
        let step = rt::blocking(move || store.scrub(bytes)).await??;
        if !step.damaged.is_empty() || !step.unreadable.is_empty() {
            self.block_set_aside();
        }
        Ok(step)
    }

    /// When the last round of the scrub ended.
    pub(crate) async fn scrubbed_at(&self) -> Result<Option<Millis>, StorageError> {
        self.blocking(|this| Ok(this.number(SCRUBBED)?.map(Millis)))
            .await
    }

    pub(crate) async fn save_scrub_end(&self, at: Millis) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.put_meta(SCRUBBED, at.0.to_be_bytes());
        self.write(batch).await
    }
}
