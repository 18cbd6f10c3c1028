//! The settings `http`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::callers::{
    AdminAddress, AdminListen, AllowedOrigins, IpPrefix, Origins, Prefixes, PublishPolicy,
};
use super::setting::table;
use super::syntax::{Address, Choice, HOUR, MIB, MINUTE, Number, Path, SECOND, Size, Span, TIB};

table! {
    /// The HTTP server.
    pub struct HttpConfig at config.http {
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 4780)),
            "http.listen" as Address,
            "address and port for everybody: what is not public there needs a token with its scope, whatever the address; port 0 takes a free one";
        admin_listen: AdminListen = AdminListen::default(),
            "http.admin-listen" as AdminAddress,
            "loopback address and port for the operator, where every scope is granted without a token; port 0 takes a free one, `none` turns it off";
        gateway_listen: Option<SocketAddr> = None,
            "http.gateway-listen" as Address,
            "address and port of the path gateway, which shows what the node keeps to browsers (`/ipfs/CID/path`, `/ipns/NAME/path`) and changes nothing; off without it, port 0 takes a free one";
        token_file: Option<PathBuf> = None,
            "http.token-file" as Path,
            "file with one bearer token, which grants every scope";
        tokens: Option<PathBuf> = None,
            "http.tokens" as Path,
            "file of tokens with scopes, a line `NAME SCOPE[,SCOPE] sha256:HEX` each, of read, publish, pin and admin; `perennis node token` writes it, and it is read again when it changes";
        publish: PublishPolicy = PublishPolicy::Open,
            "http.publish" as Choice("is no policy", PublishPolicy::WORDS),
            "who may publish at the public listener: `open`, everybody that `admission` lets, or `token`, only with a token of the scope publish";
        trusted_proxies: Vec<IpPrefix> = Vec::new(),
            "http.trusted-proxies" as Prefixes,
            "addresses and prefixes such as `10.0.0.0/8` of reverse proxies, from which Forwarded or X-Forwarded-For tells who calls; ignored from everybody else";
        allow_origins: AllowedOrigins = AllowedOrigins::ByAddress,
            "http.allow-origins" as Origins,
            "origins of pages that may publish, such as `https://app.example`, or `*` for all; `auto`: on loopback without trusted proxies the pages of this machine and extensions of its browsers, else all";
        max_connections: usize = 1_024,
            "http.max-connections" as Number(1, 100_000),
            "connections served at once, 1 to 100,000, and as many by the path gateway and by the admin listener";
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

impl HttpConfig {
    /// Whether only programs and pages of this machine call at the public listener: it is on loopback, and no proxy brings others.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.listen.ip().is_loopback() && self.trusted_proxies.is_empty()
    }
}
