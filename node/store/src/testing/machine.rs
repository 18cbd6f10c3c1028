//! A machine: what of a store outlives its power cuts.

use std::path::Path;
use std::sync::Arc;

use super::{Loss, LyingDisk, MortalHome, Power};
use crate::{OpenError, Store, StoreOptions};

/// Where a store lies on the disk of a [`Machine`].
pub const DIR: &str = "/store";

/// A disk and an index on one power, and how the store on them is opened.
#[derive(Debug)]
pub struct Machine {
    /// Its power.
    pub power: Power,
    /// Its disk.
    pub disk: LyingDisk,
    /// Where its index lives.
    pub home: MortalHome,
    /// How its store is opened.
    pub options: StoreOptions,
}

impl Machine {
    /// One on which nothing was written yet.
    #[must_use]
    pub fn new(power: Power, options: StoreOptions) -> Self {
        Self {
            disk: LyingDisk::new(&power),
            home: MortalHome::new(&power),
            power,
            options,
        }
    }

    /// Opens its store, a new one where there is none.
    ///
    /// # Errors
    /// As [`Store::open_on`].
    pub fn open(&self) -> Result<Store, OpenError> {
        let home = Arc::new(self.home.clone());
        let disk = Arc::new(self.disk.clone());
        Store::open_on(Path::new(DIR), &self.options, disk, home, None, &mut |_| {})
    }

    /// The same machine after the power was cut, on new power.
    #[must_use]
    pub fn restart(self, loss: Loss, power: Power) -> Self {
        self.power.cut();
        self.copy(loss, power)
    }

    /// Another machine with what would be there after a power cut now.
    #[must_use]
    pub fn copy(&self, loss: Loss, power: Power) -> Self {
        Self {
            disk: self.disk.survivors(loss, &power),
            home: self.home.survivors(loss, &power),
            power,
            options: self.options,
        }
    }
}
