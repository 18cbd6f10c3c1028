//! Which pages of other origins may read an answer (Fetch, section 3.2).

use hyper::header::HeaderValue;

/// Which pages may read an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Those of every origin.
    Everybody,
    /// Those of one other origin.
    With(HeaderValue),
    /// Those of no other origin.
    Nobody,
}
