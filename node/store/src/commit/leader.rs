//! The line before the one write path, and who serves it.
//!
//! Batches are taken in the order they came. A caller that waits for its batch and finds the store idle commits it
//! itself, on its own thread: nobody has to be woken, which costs more than the commit where the processors are busy.
//! What comes meanwhile waits in line and becomes one group for the thread that is kept for it, so that many callers
//! still share a sync.

use std::collections::VecDeque;
use std::fmt;
use std::thread;

use parking_lot::{Condvar, Mutex};

use super::{Committer, Work};

/// The line and the committer.
pub(crate) struct Leader {
    line: Mutex<Line>,
    /// Something is in line and nobody serves it, or the line was closed.
    left: Condvar,
    committer: Mutex<Committer>,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Work>,
    is_served: bool,
    is_closed: bool,
}

impl Leader {
    pub(crate) fn new(committer: Committer) -> Self {
        Self {
            line: Mutex::default(),
            left: Condvar::new(),
            committer: Mutex::new(committer),
        }
    }

    /// Puts work in line for the thread. Work comes back where the line is closed.
    pub(crate) fn leave(&self, work: Work) -> Result<(), Work> {
        let mut line = self.line.lock();
        if line.is_closed {
            return Err(work);
        }
        line.waiting.push_back(work);
        if !line.is_served {
            self.left.notify_one();
        }
        Ok(())
    }

    /// As [`Leader::leave`]; does the work at once where nothing else is in line.
    pub(crate) fn lead(&self, work: Work) -> Result<(), Work> {
        let mut line = self.line.lock();
        if line.is_closed || line.is_served || !line.waiting.is_empty() {
            drop(line);
            return self.leave(work);
        }
        line.waiting.push_back(work);
        line.is_served = true;
        drop(line);
        let serving = Serving(self);
        self.serve_one();
        drop(serving);
        Ok(())
    }

    /// Serves the line until it is closed and empty, then seals the log.
    pub(crate) fn run(&self) {
        loop {
            let mut line = self.line.lock();
            while line.is_served || line.waiting.is_empty() {
                if line.is_closed && !line.is_served {
                    drop(line);
                    self.committer.lock().end();
                    return;
                }
                self.left.wait(&mut line);
            }
            line.is_served = true;
            drop(line);
            let serving = Serving(self);
            while self.serve_one() {}
            drop(serving);
        }
    }

    /// Nothing more is taken in; what is in line is still done.
    pub(crate) fn close(&self) {
        self.line.lock().is_closed = true;
        self.left.notify_one();
    }

    /// Does what is first in line, as one group with what can share it; false where nobody waits.
    fn serve_one(&self) -> bool {
        let mut committer = self.committer.lock();
        let mut line = self.line.lock();
        let group = Committer::gather(&mut line.waiting);
        drop(line);
        match group {
            Some(group) => {
                committer.work(group);
                true
            }
            None => false,
        }
    }
}

impl fmt::Debug for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader").finish_non_exhaustive()
    }
}

/// Held while the line is served, by one thread at a time.
struct Serving<'a>(&'a Leader);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        let mut line = self.0.line.lock();
        line.is_served = false;
        if thread::panicking() {
            // What the log and the index have in common is not known any more. Who waits is told that it is closed.
            line.is_closed = true;
            line.waiting.clear();
        }
        if !line.waiting.is_empty() || line.is_closed {
            self.0.left.notify_one();
        }
    }
}
