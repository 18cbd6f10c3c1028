//! What a fetch did not bring.

use crate::storage::{Shortfall, ShortfallKind};

/// How many blocks could not be had, and why the first of them.
#[derive(Clone)]
pub(super) struct Lack {
    pub(super) missing: u64,
    pub(super) why: Shortfall,
    /// Whether nothing was lacking but memory, which others have.
    pub(super) gives_way: bool,
}

impl Lack {
    pub(super) fn of(why: Shortfall) -> Lack {
        Lack {
            missing: 1,
            why,
            gives_way: false,
        }
    }

    pub(super) fn giving_way() -> Lack {
        let cause = "it gave way to names that are fetched since longer, and is fetched again soon";
        Lack {
            gives_way: true,
            ..Lack::of(Shortfall::new(ShortfallKind::Awaited, None, cause))
        }
    }

    /// One more.
    pub(super) fn more(before: Option<Lack>, why: Shortfall) -> Lack {
        match before {
            Some(before) => Lack {
                missing: before.missing + 1,
                ..before
            },
            None => Lack::of(why),
        }
    }
}
