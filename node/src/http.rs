//! The HTTP server: connections, routes, and the way of each request to the read door or the write door.
//!
//! Owns sockets, timeouts, sizes and the form of answers. Handlers read and write through the parts of a
//! [`Node`](crate::node::Node): [`Read`](crate::read::Read), [`Ingest`](crate::ingest::Ingest), resolving, routers, the peer. Must never
//! touch: the store itself; of [`Storage`](crate::storage::Storage) only what is counted or listed there. Requests are served by hyper directly, and
//! what is in memory is matched first ([`router`]), since blocks and records are answered in a few microseconds and a
//! framework would cost as much again. From low to high: answers and refusals, what a call is, handlers, the [`table`] of
//! routes, the router, connections, the server. What strangers' pages may run on is a [`Listener`] of its own
//! ([`path_gateway`]), and so is what the operator calls; who may call what is decided in [`access`] and [`origin`].
//!
//! Invariants: nothing a client sends is held beyond a limit, and of what it is sent no more than the memory for answers
//! has room for ([`memory`]); a client that pauses in a head, a body or in taking an answer loses its connection, and a
//! slow one when others wait for the memory ([`readers`]); every refusal is `{"error":{"code","message","hint"}}`, or a page with the same where a browser asks the path gateway.

mod access;
mod answer;
mod call;
mod connection;
mod damage;
mod document;
mod fetch;
mod file_name;
mod follow;
mod forwarded;
mod gateway;
mod health;
mod host;
mod html;
mod http_date;
mod identifiers;
mod import;
mod listener;
mod media;
mod memory;
mod metrics;
mod name_status;
mod names;
mod openapi;
pub(crate) mod opening;
mod origin;
mod page;
mod page_query;
mod parameter;
mod path_gateway;
mod patience;
mod peers;
mod pins;
mod probe;
mod providers;
mod query;
mod readers;
mod records;
mod refusal;
mod removal;
mod request_cache;
mod reserve;
mod resolved;
mod respond;
mod route;
mod routed;
mod router;
mod server;
mod service;
mod sharing;
mod snapshots;
mod status;
mod table;
mod upload;

pub(crate) use connection::UNSENT_BYTES;
pub(crate) use listener::Listener;
pub(crate) use server::Server;
pub(crate) use service::Service;
