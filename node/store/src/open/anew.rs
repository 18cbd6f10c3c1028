//! What is done before the index of a store is made anew because somebody asks for it.

use std::path::Path;
use std::sync::atomic::Ordering;

use crate::keys;
use crate::kv::KvError;
use crate::open_error::OpenError;
use crate::rows::Loss;
use crate::store::Store;
use crate::verify::wrong_with;

/// Writes all that only the index knows into a checkpoint, where each of its rows can be read, and closes the store. Returns what its
/// start found. Of an index with a row that cannot be read, the older checkpoints and the log have a better one.
pub(super) fn written_down(
    opened: Result<Store, OpenError>,
    dir: &Path,
) -> Result<Vec<Loss>, OpenError> {
    let store = opened?;
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| OpenError::NotWrittenDown {
        dir: dir.to_path_buf(),
        source,
    };
    let written = match is_sound(&store) {
        Ok(true) => store
            .checkpoint()
            .map(drop)
            .map_err(|error| failed(error.into())),
        Ok(false) => Ok(()),
        Err(error) => Err(failed(error.into())),
    };
    match written {
        // It was found damaged by that.
        Err(_) if store.inner().shared.failed.load(Ordering::Acquire) => {}
        Err(error) => return Err(error),
        Ok(()) => {}
    }
    Ok(store.found_at_start().to_vec())
}

/// Whether all rows but the places of blocks, which a checkpoint does not have, can be read and say what they may.
fn is_sound(store: &Store) -> Result<bool, KvError> {
    let index = store.inner().shared.index.kv.snapshot()?;
    let (behind, end) = (keys::end_of(keys::BLOCK), [u8::MAX]);
    let before = index.rows(&[0], &[keys::BLOCK]);
    for row in before.chain(index.rows(&behind, &end)) {
        let (key, value) = row?;
        if key.first() == Some(&keys::SET_ASIDE)
            || wrong_with(index.as_ref(), &key, &value)?.is_some()
        {
            return Ok(false);
        }
    }
    Ok(true)
}
