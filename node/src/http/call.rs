//! A call: what the handler of a route is given.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;

use super::listener::Listener;
use super::service::Service;
use crate::caller::Caller;

/// A request that a route was found for, and the node that answers it.
pub(super) struct Call {
    pub(super) node: Arc<Service>,
    /// Where it came to.
    pub(super) listener: Listener,
    /// Who sent it.
    pub(super) caller: Caller,
    /// What stands in the path for the parameter of the route, decoded; empty where the route has none.
    pub(super) parameter: String,
    pub(super) request: Request<Incoming>,
}

impl Call {
    /// The query, still percent-encoded.
    pub(super) fn query(&self) -> Option<&str> {
        self.request.uri().query()
    }
}
