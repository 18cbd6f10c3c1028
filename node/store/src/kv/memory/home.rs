//! The place of an index in memory: names for indexes, as others have folders.
//!
//! It begins empty with each process, so a start finds an index that knows nothing beside its log, and makes it anew as it
//! does where another is gone. It reads and writes no file.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Memory;
use crate::kv::{Kv, KvBatch, KvError, KvHome, KvLoad};

/// The place of an index in memory.
#[derive(Debug, Default)]
pub struct MemoryHome {
    names: Arc<Mutex<Names>>,
}

#[derive(Debug, Default)]
struct Names {
    used: Option<Arc<Memory>>,
    new: Option<Arc<Memory>>,
    condemned: Option<String>,
}

impl KvHome for MemoryHome {
    fn is_kept(&self) -> bool {
        false
    }

    fn open(&self) -> Result<Arc<dyn Kv>, KvError> {
        let mut names = self.names.lock();
        if let Some(reason) = names.condemned.clone() {
            return Err(KvError::Damaged { reason });
        }
        names.new = None;
        let used = names.used.get_or_insert_default();
        Ok(Arc::clone(used) as Arc<dyn Kv>)
    }

    fn read(&self) -> Result<Option<Arc<dyn Kv>>, KvError> {
        // Who wants to know what another process has left has come to the wrong place.
        Err(KvError::NotKept)
    }

    fn read_condemned(&self) -> Result<Option<Arc<dyn Kv>>, KvError> {
        let used = self.names.lock().used.clone();
        Ok(used.map(|used| used as Arc<dyn Kv>))
    }

    fn condemn(&self, reason: &str) -> Result<(), KvError> {
        self.names.lock().condemned = Some(reason.to_owned());
        Ok(())
    }

    fn acquit(&self) -> Result<(), KvError> {
        self.names.lock().condemned = None;
        Ok(())
    }

    fn begin(&self) -> Result<Box<dyn KvLoad>, KvError> {
        let new = Arc::<Memory>::default();
        self.names.lock().new = Some(Arc::clone(&new));
        Ok(Box::new(MemoryLoad(new)))
    }

    fn begin_scratch(&self, _: &str) -> Result<Box<dyn KvLoad>, KvError> {
        Ok(Box::new(MemoryLoad(Arc::default())))
    }

    fn remove_scratch(&self, _: &str) -> Result<(), KvError> {
        Ok(())
    }

    fn replace(&self) -> Result<(), KvError> {
        let mut names = self.names.lock();
        names.used = names.new.take();
        names.condemned = None;
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryLoad(Arc<Memory>);

impl KvLoad for MemoryLoad {
    fn write(&self, batch: KvBatch) -> Result<(), KvError> {
        self.0.write(batch)
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Kv>, KvError> {
        Ok(self.0)
    }
}
