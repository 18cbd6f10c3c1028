//! Looks every second whether the data folder is still the one that was opened.
//!
//! The first time it is not, the node takes no more writes, says so in its log, and is not ready any more. A folder that is
//! there again a moment later, such as one that was renamed and back, ends that. One that stays away ends the process:
//! whoever runs it must hear of it, and nothing here can be saved.

use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::error::chain;
use tokio::sync::watch;

use super::{Ending, Worker};
use crate::data_folder::{DataFolder, FolderGone};
use crate::shutdown::Stop;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// So many looks in a row that do not find it end the node.
const PATIENCE: u32 = 4;

pub(crate) struct FolderWorker {
    pub(crate) folder: DataFolder,
    /// Told once it stays away.
    pub(crate) gone: watch::Sender<Option<FolderGone>>,
}

impl FolderWorker {
    pub(crate) async fn run(self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        let mut in_vain = 0;
        loop {
            worker.waiting(None);
            if stop.sleep(PERIOD).await {
                return;
            }
            worker.working("looking for the data folder");
            let folder = self.folder.clone();
            // On a disk that is slow this waits, and the node goes on.
            let looked = match stop.or(rt::blocking(move || folder.look())).await {
                None => return,
                // No thread could be had; the next look will.
                Some(Err(_)) => continue,
                Some(Ok(looked)) => looked,
            };
            worker.stepped();
            match looked {
                Ok(()) => {
                    if in_vain > 0 {
                        tracing::warn!("the data folder is whole again");
                    }
                    in_vain = 0;
                }
                Err(gone) => {
                    if in_vain == 0 {
                        worker.failed(&gone);
                        tracing::error!(
                            error = %chain(&gone),
                            "the data folder, or a part of it, is gone: nothing is taken any more, and the node ends unless it comes back"
                        );
                    }
                    in_vain += 1;
                    if in_vain >= PATIENCE {
                        self.gone.send_replace(Some(gone));
                        return;
                    }
                }
            }
        }
    }
}
