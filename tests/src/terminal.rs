//! A person at a terminal: a command on a pseudo-terminal, what it asks, and what is typed.

use std::process::Command;

use rexpect::process::WaitStatus;
use rexpect::session::{PtySession, spawn_command};

/// A prompt that does not come within this many milliseconds has failed: far above what the slowest machine needs.
const PROMPT_WITHIN_MS: u64 = 60_000;

/// Ctrl-C.
const INTERRUPT: char = 'c';

/// A command that has a terminal for itself.
pub struct Terminal {
    session: PtySession,
}

impl Terminal {
    /// Starts a command on a terminal of its own.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(command: Command) -> Self {
        let session = spawn_command(command, Some(PROMPT_WITHIN_MS)).expect("a pseudo-terminal");
        Self { session }
    }

    /// Waits until the terminal shows a text, and gives what it showed before.
    ///
    /// # Panics
    /// When the command ends without showing it.
    #[track_caller]
    pub fn shows(&mut self, text: &str) -> String {
        match self.session.exp_string(text) {
            Ok(before) => before,
            Err(error) => panic!("the terminal does not show {text:?}: {error}"),
        }
    }

    /// Types a line.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn types(&mut self, line: &str) {
        self.session.send_line(line).expect("the terminal is there");
    }

    /// Types Ctrl-C.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn interrupts(&mut self) {
        self.session
            .send_control(INTERRUPT)
            .expect("the terminal is there");
    }

    /// Everything that is shown until the command ends.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        self.session.exp_eof().expect("the command ends")
    }

    /// The exit code; `None` after a signal.
    ///
    /// # Panics
    /// When the command cannot be waited for.
    pub fn code(mut self) -> Option<i32> {
        match self.session.process_mut().wait().expect("the command ends") {
            WaitStatus::Exited(_, code) => Some(code),
            _ => None,
        }
    }
}
