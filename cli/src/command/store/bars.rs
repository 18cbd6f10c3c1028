//! Progress of what is done in stages.

use indicatif::ProgressBar;

use crate::context::Context;

/// A bar for each stage.
pub(super) struct Bars<'a> {
    context: &'a Context<'a>,
    bar: Option<(&'static str, ProgressBar)>,
}

impl<'a> Bars<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self { context, bar: None }
    }

    /// Shows how far a stage is; that before it has ended.
    pub(super) fn show(&mut self, title: &'static str, done: u64, of: u64) {
        if self.bar.as_ref().is_none_or(|(shown, _)| *shown != title) {
            self.end();
            self.bar = Some((title, self.context.output.bar(title, of)));
        }
        if let Some((_, bar)) = &self.bar {
            bar.set_position(done);
        }
    }

    pub(super) fn end(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
