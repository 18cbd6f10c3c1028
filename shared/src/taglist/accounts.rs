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
    pub fn observe(&mut self, subject: &Subject) -> Option<Mismatch> {
        let id = subject.id?;
        let handle = subject.handle;
        if handle.number().is_some() {
            return None;
        }
        let first = *self.handles.entry(id).or_insert(handle);
        let number = *self.numbers.entry(handle.lower()).or_insert(id);
        if first.lower() != handle.lower() {
            self.handles.insert(id, handle);
            return Some(Mismatch::Renamed {
                id,
                first,
                other: handle,
            });
        }
        if number != id {
            self.numbers.insert(handle.lower(), id);
            return Some(Mismatch::Reused {
                handle,
                first: number,
                other: id,
            });
        }
        None
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
            assert_eq!(accounts.observe(&known), None, "{known:?}");
        }
        let renamed = subject("@new", Some(1));
        assert!(matches!(
            accounts.observe(&renamed),
            Some(Mismatch::Renamed { id: 1, .. })
        ));
        assert_eq!(accounts.observe(&renamed), None);
        let reused = subject("@OLD", Some(2));
        assert!(matches!(
            accounts.observe(&reused),
            Some(Mismatch::Reused {
                first: 1,
                other: 2,
                ..
            })
        ));
        assert_eq!(accounts.observe(&reused), None);
    }
}
