//! What every command is given: where it prints, and the arguments that all of them take.

use std::path::Path;

use crate::args::Global;
use crate::failure::Failure;
use crate::home::Home;
use crate::output::Output;

/// What every command is given.
pub(crate) struct Context<'a> {
    pub(crate) output: &'a Output,
    pub(crate) global: &'a Global,
}

impl Context<'_> {
    pub(crate) fn home(&self) -> Result<Home, Failure> {
        Home::locate(self.global.home.as_deref())
    }

    pub(crate) fn passphrase_file(&self) -> Option<&Path> {
        self.global.passphrase_file.as_deref()
    }
}
