//! Accounts whose handle and number do not go together: one was renamed, or a handle went to somebody else.

use alloc::collections::BTreeMap;

use super::{Handle, Subject};

/// What was seen of accounts so far.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    handles: BTreeMap<u64, Handle>,
    numbers: BTreeMap<Handle, u64>,
}

/// Two subjects that cannot both be what they say at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// One number under two handles: the account was renamed.
    Renamed {
        /// The account's number.
        id: u64,
        /// The handle under which it was seen first.
        first: Handle,
        /// The other handle.
        other: Handle,
    },
    /// One handle with two numbers: it went to another account.
    Reused {
        /// The handle.
        handle: Handle,
        /// The number with which it was seen first.
        first: u64,
        /// The other number.
        other: u64,
    },
}

impl Accounts {
    /// Notes a subject, and tells where it contradicts one that was noted before. The later one then counts, so that
    /// further labels on the same account are not told again.
    pub fn observe(&mut self, subject: &Subject) -> impl Iterator<Item = Mismatch> + use<> {
        let known = subject.id.filter(|_| subject.handle.number().is_none());
        let found = known.map(|id| self.contradictions(id, subject.handle));
        found.into_iter().flatten().flatten()
    }

    fn contradictions(&mut self, id: u64, handle: Handle) -> [Option<Mismatch>; 2] {
        let first = self.handles.insert(id, handle).unwrap_or(handle);
        let number = self.numbers.insert(handle.lower(), id).unwrap_or(id);
        let renamed = Mismatch::Renamed {
            id,
            first,
            other: handle,
        };
        let reused = Mismatch::Reused {
            handle,
            first: number,
            other: id,
        };
        [
            (first.lower() != handle.lower()).then_some(renamed),
            (number != id).then_some(reused),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(handle: &str, id: Option<u64>) -> Subject {
        let handle = Handle::parse(handle).unwrap();
        Subject { handle, id }
    }

    #[test]
    fn renamed_accounts_and_reused_handles_are_told_once() {
        let mut accounts = Accounts::default();
        for known in [
            subject("@Old", Some(1)),
            subject("@old", Some(1)),
            subject("@other", None),
            subject("#1", Some(1)),
        ] {
            assert_eq!(accounts.observe(&known).next(), None, "{known:?}");
        }
        let renamed = subject("@new", Some(1));
        assert!(matches!(
            accounts.observe(&renamed).next(),
            Some(Mismatch::Renamed { id: 1, .. })
        ));
        assert_eq!(accounts.observe(&renamed).next(), None);
        let reused = subject("@OLD", Some(2));
        assert!(matches!(
            accounts.observe(&reused).next(),
            Some(Mismatch::Reused {
                first: 1,
                other: 2,
                ..
            })
        ));
        assert_eq!(accounts.observe(&reused).next(), None);
        // Both at once: the account had another handle, and the handle another account.
        assert_eq!(accounts.observe(&subject("@old", Some(1))).count(), 2);
    }
}
