//! The settings `http`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::setting::table;
use super::syntax::{Address, HOUR, MIB, MINUTE, Number, Path, SECOND, Size, Span, TIB};

table! {
    /// The HTTP server.
    pub struct HttpConfig at config.http {
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 4780)),
            "http.listen" as Address,
            "address and port of the HTTP server; port 0 takes a free one";
        gateway_listen: Option<SocketAddr> = None,
            "http.gateway-listen" as Address,
            "address and port of the path gateway, which shows what the node keeps to browsers (`/ipfs/CID/path`, `/ipns/NAME/path`) and changes nothing; off without it, port 0 takes a free one";
        token_file: Option<PathBuf> = None,
            "http.token-file" as Path,
            "file with the bearer token for calls that change something; required for other than loopback addresses";
        max_connections: usize = 1_024,
            "http.max-connections" as Number(1, 100_000),
            "connections served at once, 1 to 100,000, and as many by the path gateway";
        header_timeout: Duration = 10 * SECOND,
            "http.header-timeout" as Span(SECOND / 10, 5 * MINUTE),
            "time for the head of a request, and for an idle connection, 100ms to 5m";
        idle_timeout: Duration = 10 * SECOND,
            "http.idle-timeout" as Span(SECOND / 10, 5 * MINUTE),
            "longest pause inside a body, and longest time a client may be slow in taking an answer while others wait for its memory, 100ms to 5m";
        body_timeout: Duration = 2 * MINUTE,
            "http.body-timeout" as Span(SECOND / 10, HOUR),
            "time for a whole body, 100ms to 1h";
        answer_memory_bytes: u64 = 256 * MIB,
            "http.answer-memory" as Size(8 * MIB, TIB),
            "memory for answers that clients have not taken yet, 8MiB to 1TiB";
    }
}
