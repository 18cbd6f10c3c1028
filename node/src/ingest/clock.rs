//! Whose clock is wrong: what the node's own would refuse while it is in doubt is no fault of the client.

use perennis_rt as rt;
use perennis_shared::ipns::RecordError;
use perennis_shared::log::EntryError;

use super::{Ingest, IngestError};
use crate::clock::ClockDoubt;

impl Ingest {
    /// The same refusal, or that the node's clock is in doubt where that alone is why: it is ahead, and the record has not ended by
    /// the time that has passed; or it is behind, and what was signed seems to come from the future.
    pub(super) fn with_clock(&self, error: IngestError) -> IngestError {
        let now = rt::now();
        let is_of_clock = match (&error, self.clock.doubt(now)) {
            (
                IngestError::Record(RecordError::Expired { validity }),
                Some(ClockDoubt::Ahead { steady }),
            ) => validity.to_millis() >= steady,
            (IngestError::Head(EntryError::Clock(_)), Some(ClockDoubt::Behind)) => true,
            _ => false,
        };
        if !is_of_clock {
            return error;
        }
        tracing::error!(%now, %error, "a publish was refused by a clock that is in doubt: set the clock of this machine");
        IngestError::Clock {
            now,
            source: Box::new(error),
        }
    }
}
