//! Who calls the write door.

use std::net::IpAddr;

/// Who sent a write, as far as it decides how much of it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Where the call came from: behind a trusted proxy, the address that it told.
    pub(crate) address: IpAddr,
    /// Whether its address, and the origin of its page, have a rate. Who calls at the admin listener, or showed a token with the scope
    /// publish, is known to the operator and has none.
    pub(crate) is_rated: bool,
    /// Whether it showed a token with the scope publish.
    pub(crate) has_publish_token: bool,
    /// The origin of the page that calls, where a page does.
    pub(crate) origin: Option<Box<str>>,
}

#[cfg(test)]
impl Caller {
    /// Somebody without a token.
    pub(crate) fn anybody(address: impl Into<IpAddr>) -> Caller {
        Caller {
            address: address.into(),
            is_rated: true,
            has_publish_token: false,
            origin: None,
        }
    }
}
