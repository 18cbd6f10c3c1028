//! Which addresses a client may dial: asked by both platforms, given by whoever makes the client.

use std::net::IpAddr;

/// Says whether an address may be dialled.
pub type AddressRule = fn(IpAddr) -> bool;
