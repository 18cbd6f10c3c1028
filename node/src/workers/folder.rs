//! Looks every second whether the data folder is still the one that was opened.
//!
//! The first time it is not, the node takes no more writes, says so in its log, and is not ready any more. A folder that is
//! there again a moment later, such as one that was renamed and back, ends that. One that stays away ends the process:
//! whoever runs it must hear of it, and nothing here can be saved.

use std::convert::Infallible;
use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::error::chain;

use super::{Context, Parts, Step, Worker};
use crate::data_folder::{DataFolder, FolderGone};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// So many looks in a row that do not find it end the node.
const PATIENCE: u32 = 4;

pub(crate) struct FolderWorker {
    folder: DataFolder,
    /// Looks in a row that did not find it.
    in_vain: u32,
}

impl FolderWorker {
    pub(crate) fn new(parts: &Parts<'_>) -> FolderWorker {
        FolderWorker {
            folder: parts.storage.folder().clone(),
            in_vain: 0,
        }
    }

    /// It was not found; true when it stays away.
    fn missed(&mut self, gone: FolderGone, context: &Context) -> bool {
        if self.in_vain == 0 {
            context.failed(&gone);
            tracing::error!(
                error = %chain(&gone),
                "the data folder, or a part of it, is gone: nothing is taken any more, and the node ends unless it comes back"
            );
        }
        self.in_vain += 1;
        let stays_away = self.in_vain >= PATIENCE;
        if stays_away {
            self.folder.give_up(gone);
        }
        stays_away
    }
}

impl Worker for FolderWorker {
    type Error = Infallible;

    fn name(&self) -> String {
        "data folder".to_owned()
    }

    fn throttle(&self) -> String {
        "one look a second".to_owned()
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, Infallible> {
        context.working("looking for the data folder");
        let folder = self.folder.clone();
        // On a disk that is slow this waits, and the node goes on.
        let looking = rt::blocking(move || folder.look());
        match context.or_stop(looking).await {
            None => return Ok(Step::Done),
            // No thread could be had; the next look will.
            Some(Err(_)) => return Ok(Step::listen(PERIOD)),
            Some(Ok(Ok(()))) => {
                if self.in_vain > 0 {
                    tracing::warn!("the data folder is whole again");
                }
                self.in_vain = 0;
            }
            Some(Ok(Err(gone))) => {
                if self.missed(gone, context) {
                    return Ok(Step::Done);
                }
            }
        }
        context.stepped();
        Ok(Step::listen(PERIOD))
    }
}
