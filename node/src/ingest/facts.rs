//! What is known about what a name points at, by its record or its head alone.

use perennis_shared::ipns::Record;
use perennis_shared::log::Entry;

use crate::storage::{GraphFacts, NameState, Pin, Shortfall};

/// What is known about the head of a record that comes without blocks.
pub(super) fn facts_below(kept: Option<&NameState>, record: &Record) -> GraphFacts {
    let mut facts = kept.map_or_else(GraphFacts::unknown, |kept| kept.facts.clone());
    let root = record.root();
    let is_same = |kept: &NameState| match root {
        Some(_) => kept.head == root,
        None => kept.record.value() == record.value(),
    };
    if !kept.is_some_and(is_same) {
        facts.pin = match root {
            Some(_) => Pin::Queued,
            None => Pin::RecordOnly,
        };
        facts.shortfall = Shortfall::of_value(record);
    }
    facts
}

/// What a head that was verified says, with everything below it here.
pub(super) fn facts_of(head: &Entry) -> GraphFacts {
    GraphFacts {
        did: Some(head.did().to_string()),
        document: Some(*head.document()),
        list: head.root(),
        pin: Pin::Pinned,
        ..GraphFacts::unknown()
    }
}
