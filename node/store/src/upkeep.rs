//! Upkeep: what an open store does with what it holds, beside commits and reads.
//!
//! Garbage is collected, what outlived that is packed, files that nothing needs are removed, checkpoints are written, and all
//! bytes are read again in rounds. Each is a step that the caller asks for, with its own time and thread; none waits for another but
//! where both move files, and a step that fails or is cut off loses nothing. Which blocks there are is changed by commits alone.

mod checkpoint;
mod collect;
mod compact;
mod error;
mod scrub;

pub use checkpoint::CheckpointStep;
pub use collect::{CollectProgress, Collection};
pub use compact::CompactStep;
pub use error::UpkeepError;
pub use scrub::ScrubStep;
