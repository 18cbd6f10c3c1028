//! What an error of another room has to say to a client.

use std::error::Error;

use perennis_shared::cid::Cid;
use perennis_shared::error::{Retryable, chain};

/// An error that may be the answer to a call: `?` makes a refusal of it.
pub(in crate::http) trait ClientError: Retryable + Error + Sized {
    /// Whether another server failed, which the node asked for the client, and not the node.
    const IS_RELAYED: bool = false;

    /// A word for programs, stable between versions; [`INTERNAL`](super::INTERNAL) keeps all else from the client.
    fn code(&self) -> &'static str;

    /// What went wrong, for people.
    fn message(&self) -> String {
        chain(self)
    }

    /// Whether there are causes that the message leaves out. They go to the log.
    fn hides_causes(&self) -> bool {
        false
    }

    /// The next step, for people.
    fn hint(&self) -> &'static str;

    /// The blocks that have to be sent too.
    fn missing(&self) -> &[Cid] {
        &[]
    }

    /// Whether the connection ends with the answer.
    fn closes(&self) -> bool {
        false
    }
}
