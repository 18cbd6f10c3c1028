//! Everything a command prints goes through here.
//!
//! With `--json` stdout carries exactly one document (or one per line for streams) and people's text
//! goes to stderr. Without it the answer, for people, is on stdout and remarks are on stderr. Colours
//! only on a terminal and never when `NO_COLOR` is set. A reader that closes the pipe early is no error.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::failure::Failure;
use super::page::{Page, Paint};

/// Where and how to print.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    colour_stdout: bool,
    colour_stderr: bool,
    /// Columns of the terminal that stdout is; none where it is none.
    width: Option<usize>,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            json,
            quiet,
            colour_stdout: colours && io::stdout().is_terminal(),
            colour_stderr: colours && io::stderr().is_terminal(),
            width: terminal_size::terminal_size_of(io::stdout())
                .map(|(width, _)| usize::from(width.0).max(20)),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// The command's answer: `document` for programs, or what `people` writes for people.
    pub(crate) fn answer<T: Serialize>(
        &self,
        document: &T,
        people: impl FnOnce(&mut Page),
    ) -> Result<(), Failure> {
        if self.json {
            return self.line(document);
        }
        let mut page = Page::new(Paint::new(self.colour_stdout), self.width);
        people(&mut page);
        print_to(io::stdout().lock(), page.text().as_bytes())
    }

    /// One JSON document on one line of stdout, flushed.
    pub(crate) fn line<T: Serialize>(&self, document: &T) -> Result<(), Failure> {
        let mut stdout = BufWriter::new(io::stdout().lock());
        let written = serde_json::to_writer(&mut stdout, document)
            .map_err(io::Error::from)
            .and_then(|()| stdout.write_all(b"\n"))
            .and_then(|()| stdout.flush());
        // What a closed pipe did not take is not tried again when the buffer is dropped.
        let _ = stdout.into_parts();
        printed(written)
    }

    /// Bytes that are the answer themselves (a converted block, an exported list).
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        print_to(io::stdout().lock(), bytes)
    }

    /// A remark for people, on stderr; `--quiet` drops it.
    pub(crate) fn remark(&self, text: impl Display) {
        if !self.quiet {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// A warning for people, on stderr, also with `--quiet`.
    pub(crate) fn warn(&self, text: impl Display) {
        let paint = Paint::new(self.colour_stderr);
        let _ = writeln!(io::stderr().lock(), "{} {text}", paint.warn("warning:"));
    }

    /// The end of a command that failed: one JSON document on stdout, or cause and hint on stderr.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.told {
            return;
        }
        if self.json {
            let _ = self.line(&failure.document());
            return;
        }
        let paint = Paint::new(self.colour_stderr);
        let mut text = format!("{} {}\n", paint.bad("error:"), failure.message);
        if !failure.hint.is_empty() {
            text.push_str(&format!("{} {}\n", paint.dim(" next:"), failure.hint));
        }
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// A bar over `total` things; nothing is drawn when stderr is no terminal or `--quiet` is set.
    pub(crate) fn bar(&self, title: &str, total: u64) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(total), self.draw_target());
        if let Ok(style) =
            ProgressStyle::with_template("{msg:12} [{bar:32}] {human_pos}/{human_len} {eta}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(title.to_owned());
        bar
    }

    /// Something is going on that has no measure.
    pub(crate) fn spinner(&self, title: &str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(None, self.draw_target());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(title.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    fn draw_target(&self) -> ProgressDrawTarget {
        if self.quiet || !io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        }
    }
}

fn print_to(mut target: impl Write, bytes: &[u8]) -> Result<(), Failure> {
    printed(target.write_all(bytes).and_then(|()| target.flush()))
}

fn printed(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::failed("output", "cannot write to stdout").because(&error)),
    }
}
