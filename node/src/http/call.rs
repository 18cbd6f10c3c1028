//! A call: what the handler of a route is given.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;

use super::service::Service;
use crate::ingest::Writer;

/// A request that a route was found for, and the node that answers it.
pub(super) struct Call {
    pub(super) node: Arc<Service>,
    /// Who sent it.
    pub(super) peer: IpAddr,
    /// What stands in the path for the parameter of the route, decoded; empty where the route has none.
    pub(super) parameter: String,
    pub(super) request: Request<Incoming>,
}

impl Call {
    /// The caller as one who writes. Where there is a token, nobody comes here without it.
    pub(super) fn writer(&self) -> Writer {
        Writer::at(self.peer, self.node.config.http.token_file.is_some())
    }

    /// The query, still percent-encoded.
    pub(super) fn query(&self) -> Option<&str> {
        self.request.uri().query()
    }
}
