//! How far it is.

/// How far making the index anew is, and what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildProgress {
    /// What is being done.
    pub stage: RebuildStage,
    /// How much of it is done.
    pub done: u64,
    /// How much there is to do.
    pub of: u64,
}

/// What is done when an index is made anew, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RebuildStage {
    /// The blocks of a folder of format 1 are read and verified; counted in blocks. Only at the first start that brings it to the
    /// present format.
    Format1,
    /// Rows are read from a checkpoint; counted in rows.
    Checkpoint,
    /// The files that hold blocks are asked what is in them; counted in files.
    Files,
    /// The rows are put in order. This is one step, and a long one.
    Order,
    /// The log behind the checkpoint is replayed; counted in bytes of its files. Also at a start at which nothing was made anew.
    Log,
}

impl RebuildStage {
    /// A word for machines, stable between versions.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Format1 => "migration",
            Self::Checkpoint => "checkpoint",
            Self::Files => "files",
            Self::Order => "order",
            Self::Log => "log",
        }
    }
}

impl RebuildProgress {
    pub(crate) fn new(stage: RebuildStage, done: u64, of: u64) -> Self {
        Self { stage, done, of }
    }
}

/// Is told how far it is.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(RebuildProgress);
