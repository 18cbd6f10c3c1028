//! Who may do what at a node: by scope, by token, by the origin of a page, and through proxies.

use std::net::SocketAddr;
use std::path::Path;

use perennis_node::config::{AdminListen, AllowedOrigins, Config, PublishPolicy};
use perennis_node::{Scopes, TokenFile};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{Author, Message, Reply, TestNode, ask, reply};

const EVIL: (&str, &str) = ("Origin", "https://evil.example");

const CAR: (&str, &str) = ("Content-Type", "application/vnd.ipld.car");

/// Routes of each scope, as they can be called of a node that has nothing.
const READ: &[(&str, &str)] = &[
    ("GET", "/v1/status"),
    ("GET", "/metrics"),
    ("GET", "/v1/names"),
    ("GET", "/v1/pins"),
    ("GET", "/v1/index"),
    ("GET", "/v1/fetched"),
    ("GET", "/v1/imported"),
    ("GET", "/v1/peers"),
    ("GET", "/v1/damage"),
    ("GET", "/v1/probe"),
    ("GET", "/v1/probe/plot.svg"),
];
const PIN: &[(&str, &str)] = &[
    ("PUT", "/v1/names/nonsense"),
    ("DELETE", "/v1/names/nonsense"),
    ("POST", "/v1/fetched/nonsense"),
    ("DELETE", "/v1/fetched/nonsense"),
    ("POST", "/v1/imported"),
    ("DELETE", "/v1/imported/nonsense"),
    ("POST", "/v1/providers/nonsense"),
];
const ADMIN: &[(&str, &str)] = &[
    ("POST", "/v1/peers/connect"),
    ("PUT", "/v1/peers/nonsense/ban"),
    ("DELETE", "/v1/peers/nonsense/ban"),
    ("DELETE", "/v1/damage"),
];

/// Lets a node have tokens, each by its name and its scopes. A token is `the-token-of-NAME`.
fn with_tokens(config: &mut Config, tokens: &[(&str, &str)]) {
    let file = config.data.join("tokens");
    write_tokens(&file, tokens);
    config.http.tokens = Some(file);
}

fn write_tokens(path: &Path, tokens: &[(&str, &str)]) {
    let mut file = TokenFile::default();
    for (name, scopes) in tokens {
        let scopes: Scopes = scopes.parse().unwrap();
        file.add(name, scopes, &format!("the-token-of-{name}"))
            .unwrap();
    }
    std::fs::write(path, file.to_string()).unwrap();
}

fn bearer(name: &str) -> String {
    format!("Bearer the-token-of-{name}")
}

async fn publish(node: &TestNode, message: &Message, headers: &[(&str, &str)]) -> Reply {
    let path = format!("/v1/names/{}/publish", message.name);
    let headers = [&[CAR][..], headers].concat();
    node.ask_in_public("POST", &path, &headers, &message.car())
        .await
}

fn message(seed: u8) -> Message {
    Author::new(seed).publish(&[("@alice", "friend")])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_public_needs_its_scope_whatever_the_address() {
    let node = TestNode::with(|config| {
        let all = [
            ("r", "read"),
            ("w", "publish"),
            ("p", "pin"),
            ("a", "admin"),
        ];
        with_tokens(config, &all);
    })
    .await;
    let admin = node.node.admin_url().unwrap();
    for (routes, scope, token) in [
        (READ, "read", "r"),
        (PIN, "pin", "p"),
        (ADMIN, "admin", "a"),
    ] {
        for (method, path) in routes {
            let refused = node.ask_in_public(method, path, &[], b"").await;
            refused.refused(401, "unauthorized");
            let hint = refused.json()["error"]["hint"].as_str().unwrap().to_owned();
            assert!(
                hint.contains(&admin) && hint.contains(&format!("scope {scope}")),
                "{hint}"
            );
            let challenge = refused.header("www-authenticate").unwrap();
            assert_eq!(challenge, format!("Bearer scope=\"{scope}\""));
            for other in ["r", "w", "p", "a"] {
                let bearer = bearer(other);
                let told = node
                    .ask_in_public(method, path, &[("Authorization", &*bearer)], b"")
                    .await;
                if other == token {
                    assert!(
                        !matches!(told.status, 401 | 403),
                        "{method} {path}: {}",
                        told.status
                    );
                } else {
                    told.refused(403, "scope");
                    let hint = told.json()["error"]["hint"].as_str().unwrap().to_owned();
                    assert!(hint.contains(&admin), "{hint}");
                }
            }
            let unknown = [("Authorization", "Bearer somebody-elses-token")];
            node.ask_in_public(method, path, &unknown, b"")
                .await
                .refused(401, "unauthorized");
            // At the admin listener no token is asked for.
            let told = ask(node.admin(), method, path, &[], b"").await;
            assert!(
                !matches!(told.status, 401 | 403),
                "{method} {path}: {}",
                told.status
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_is_open_unless_the_operator_wants_a_token() {
    let open =
        TestNode::with(|config| with_tokens(config, &[("alice", "publish"), ("bob", "read")]))
            .await;
    publish(&open, &message(1), &[]).await.ok();
    let alice = bearer("alice");
    let alice = ("Authorization", &*alice);
    publish(&open, &message(2), &[alice]).await.ok();
    // Somebody who shows a token takes it for a good one.
    let unknown = ("Authorization", "Bearer somebody-elses-token");
    publish(&open, &message(3), &[unknown])
        .await
        .refused(401, "unauthorized");

    let closed = TestNode::with(|config| {
        with_tokens(config, &[("alice", "publish"), ("bob", "read,pin,admin")]);
        config.http.publish = PublishPolicy::Token;
    })
    .await;
    publish(&closed, &message(1), &[])
        .await
        .refused(401, "unauthorized");
    closed
        .put_record(&message(1))
        .await
        .refused(401, "unauthorized");
    let bob = bearer("bob");
    let bob = ("Authorization", &*bob);
    publish(&closed, &message(1), &[bob])
        .await
        .refused(403, "scope");
    publish(&closed, &message(1), &[alice]).await.ok();
    // The operator needs none.
    let path = format!("/v1/names/{}/publish", message(2).name);
    let by_operator = ask(closed.admin(), "POST", &path, &[CAR], &message(2).car()).await;
    by_operator.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_taken_away_grants_nothing_without_a_restart() {
    let node = TestNode::with(|config| with_tokens(config, &[("alice", "read")])).await;
    let file = node.dir.path().join("tokens");
    let status = |name: &str| {
        let (bearer, addr) = (bearer(name), node.addr());
        async move {
            let headers = [("Authorization", &*bearer)];
            ask(addr, "GET", "/v1/status", &headers, b"").await.status
        }
    };
    assert_eq!(status("alice").await, 200);
    assert_eq!(status("bob").await, 401);
    write_tokens(&file, &[("bob", "read")]);
    let until = |name: &'static str, wanted: u16| async move {
        while status(name).await != wanted {
            tokio::task::yield_now().await;
        }
    };
    let changed = async {
        until("bob", 200).await;
        until("alice", 401).await;
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), changed)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_answers_when_the_public_one_is_full() {
    let node = TestNode::with(|config| config.http.max_connections = 8).await;
    let mut idle = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(node.addr()).await.unwrap();
        stream
            .write_all(b"GET /health/live HTTP/1.1\r\n")
            .await
            .unwrap();
        idle.push(stream);
    }
    for path in ["/health/live", "/health/ready", "/v1/status", "/metrics"] {
        assert_eq!(
            ask(node.admin(), "GET", path, &[], b"").await.status,
            200,
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_is_refused_to_every_page_at_every_path() {
    let node = TestNode::start().await;
    let rebound = ("Host", "evil.example");
    let paths = [
        "/v1/status",
        "/health/live",
        "/ipfs/nonsense",
        "/",
        "/no-such-path",
        "/openapi.json",
    ];
    for path in paths {
        for method in ["GET", "POST", "OPTIONS"] {
            let refused = ask(node.admin(), method, path, &[EVIL], b"").await;
            refused.refused(403, "foreign_origin");
            assert_eq!(
                refused.header("access-control-allow-origin"),
                None,
                "{path}"
            );
            let refused = of_host(node.admin(), method, path, rebound.1).await;
            refused.refused(403, "foreign_origin");
        }
        // Nor can a page read what it was not refused, since a browser leaves the header out where a page only reads its own origin.
        let told = ask(node.admin(), "GET", path, &[], b"").await;
        assert_eq!(told.header("access-control-allow-origin"), None, "{path}");
    }
    let own = format!("http://{}", node.admin());
    ask(node.admin(), "GET", "/v1/status", &[("Origin", &*own)], b"")
        .await
        .ok();
}

/// A request whose header `Host` is this.
async fn of_host(addr: SocketAddr, method: &str, path: &str, host: &str) -> Reply {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    raw(addr, &head).await
}

async fn raw(addr: SocketAddr, head: &str) -> Reply {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    reply(stream, false).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_writes_only_where_it_is_allowed_and_steers_nothing() {
    let node =
        TestNode::with(|config| with_tokens(config, &[("all", "read,publish,pin,admin")])).await;
    let all = bearer("all");
    let token = ("Authorization", &*all);
    publish(&node, &message(1), &[EVIL])
        .await
        .refused(403, "foreign_origin");
    let path = format!("/routing/v1/ipns/{}", message(1).name);
    node.ask_in_public("PUT", &path, &[EVIL], message(1).record.bytes())
        .await
        .refused(403, "foreign_origin");
    for (method, path) in READ.iter().chain(PIN).chain(ADMIN) {
        let refused = node.ask_in_public(method, path, &[EVIL, token], b"").await;
        refused.refused(403, "foreign_origin");
        assert_eq!(
            refused.header("access-control-allow-origin"),
            None,
            "{path}"
        );
        let told = node.ask_in_public(method, path, &[token], b"").await;
        assert_eq!(told.header("access-control-allow-origin"), None, "{path}");
    }
    // What is for everybody may be read by every page.
    for path in [
        "/health/live",
        "/openapi.json",
        "/v1/resolve/nonsense",
        "/no-such-path",
    ] {
        let told = node.ask_in_public("GET", path, &[EVIL], b"").await;
        assert_eq!(
            told.header("access-control-allow-origin"),
            Some("*"),
            "{path}"
        );
    }
    // A page of this machine and an extension may publish, and read the answer.
    for (seed, origin) in [
        (2, "http://localhost:8080"),
        (3, "chrome-extension://abcdef"),
    ] {
        let told = publish(&node, &message(seed), &[("Origin", origin)]).await;
        told.ok();
        assert_eq!(told.header("access-control-allow-origin"), Some(origin));
        let varies = told.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("vary") && value.eq_ignore_ascii_case("origin")
        });
        assert!(varies);
    }
    // A page whose name was made to lead here writes nothing.
    let host = "evil.example:4780";
    for path in [
        format!("/v1/names/{}/publish", message(4).name),
        "/v1/probe".to_owned(),
    ] {
        of_host(node.addr(), "POST", &path, host)
            .await
            .refused(403, "foreign_origin");
    }

    let named = TestNode::with(|config| {
        config.http.allow_origins = AllowedOrigins::These(vec!["https://app.example".to_owned()]);
    })
    .await;
    let app = ("Origin", "https://app.example");
    publish(&named, &message(1), &[app]).await.ok();
    publish(&named, &message(2), &[EVIL])
        .await
        .refused(403, "foreign_origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_say_what_the_calls_do() {
    let node = TestNode::with(|config| {
        config.http.allow_origins = AllowedOrigins::These(vec!["https://app.example".to_owned()]);
    })
    .await;
    let preflight = |path: &'static str, method: &'static str, origin: &'static str| {
        let addr = node.addr();
        async move {
            let headers = [
                ("Origin", origin),
                ("Access-Control-Request-Method", method),
            ];
            ask(addr, "OPTIONS", path, &headers, b"").await
        }
    };
    let methods = |reply: &Reply| {
        reply
            .header("access-control-allow-methods")
            .map(str::to_owned)
    };
    let (app, evil) = ("https://app.example", "https://evil.example");
    let publish = preflight("/v1/names/x/publish", "POST", app).await;
    assert_eq!(publish.status, 204);
    assert_eq!(publish.header("access-control-allow-origin"), Some(app));
    assert_eq!(methods(&publish).as_deref(), Some("POST"));
    preflight("/v1/names/x/publish", "POST", evil)
        .await
        .refused(403, "foreign_origin");
    preflight("/routing/v1/ipns/x", "PUT", evil)
        .await
        .refused(403, "foreign_origin");
    let read = preflight("/routing/v1/ipns/x", "GET", evil).await;
    assert_eq!(read.header("access-control-allow-origin"), Some("*"));
    assert_eq!(methods(&read).as_deref(), Some("GET, HEAD"));
    let both = preflight("/routing/v1/ipns/x", "PUT", app).await;
    assert_eq!(methods(&both).as_deref(), Some("GET, HEAD, PUT"));
    for (path, method) in [
        ("/v1/status", "GET"),
        ("/v1/names/x", "PUT"),
        ("/v1/peers/connect", "POST"),
        ("/v1/damage", "DELETE"),
    ] {
        let refused = preflight(path, method, app).await;
        refused.refused(403, "foreign_origin");
        assert_eq!(refused.header("access-control-allow-origin"), None);
    }
    // Its status is for everybody, and following is not.
    let status = preflight("/v1/names/x", "GET", evil).await;
    assert_eq!(methods(&status).as_deref(), Some("GET, HEAD"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_one_host_is_refused_by_every_listener() {
    let node = TestNode::with(|config| {
        config.http.gateway_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    })
    .await;
    let listeners = [node.addr(), node.admin(), node.node.gateway_addr().unwrap()];
    for addr in listeners {
        for hosts in [
            "",
            "Host: localhost\r\nHost: localhost\r\n",
            "Host: a b\r\n",
            "Host:\r\n",
        ] {
            let head = format!("GET /openapi.json HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
            raw(addr, &head).await.refused(400, "invalid_host");
        }
        let head = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        assert_eq!(raw(addr, head).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_caller_of_the_public_listener_has_a_rate_and_the_operator_none() {
    let node = TestNode::with(|config| {
        with_tokens(config, &[("alice", "publish")]);
        config.admission.address_rate = 2;
    })
    .await;
    publish(&node, &message(1), &[]).await.ok();
    publish(&node, &message(2), &[]).await.ok();
    publish(&node, &message(3), &[])
        .await
        .refused(429, "too_many_writes");
    // Nobody is believed where no proxy is trusted.
    let elsewhere = ("X-Forwarded-For", "203.0.113.7");
    publish(&node, &message(3), &[elsewhere])
        .await
        .refused(429, "too_many_writes");
    let alice = bearer("alice");
    for seed in 4..8 {
        publish(&node, &message(seed), &[("Authorization", &*alice)])
            .await
            .ok();
    }
    for seed in 8..12 {
        let path = format!("/v1/names/{}/publish", message(seed).name);
        ask(node.admin(), "POST", &path, &[CAR], &message(seed).car())
            .await
            .ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_the_client_has_the_rate() {
    let node = TestNode::with(|config| {
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.admission.address_rate = 1;
    })
    .await;
    let through = |seed: u8, header: &'static str, value: &'static str| {
        let (message, node) = (message(seed), &node);
        async move { publish(node, &message, &[(header, value)]).await }
    };
    let xff = "X-Forwarded-For";
    through(1, xff, "203.0.113.7").await.ok();
    through(2, xff, "203.0.113.7")
        .await
        .refused(429, "too_many_writes");
    // What a stranger has sent itself stands before what the proxy writes.
    through(3, xff, "198.51.100.1, 203.0.113.7")
        .await
        .refused(429, "too_many_writes");
    through(4, "Forwarded", "for=\"203.0.113.7:80\";proto=https")
        .await
        .refused(429, "too_many_writes");
    through(5, xff, "203.0.113.8").await.ok();
    through(6, "Forwarded", "for=\"[2001:db8::1]\"").await.ok();
    through(7, xff, "nonsense")
        .await
        .refused(400, "invalid_forwarded");
    // The admin listener is not behind it.
    let path = "/v1/status";
    ask(node.admin(), "GET", path, &[(xff, "203.0.113.7")], b"")
        .await
        .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_one_origin_have_a_rate_together() {
    let node = TestNode::with(|config| config.admission.origin_rate = 2).await;
    let page = ("Origin", "http://localhost:8080");
    publish(&node, &message(1), &[page]).await.ok();
    publish(&node, &message(2), &[page]).await.ok();
    publish(&node, &message(3), &[page])
        .await
        .refused(429, "too_many_writes");
    publish(&node, &message(3), &[]).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_says_what_each_route_needs() {
    let node = TestNode::start().await;
    let public = ask(node.addr(), "GET", "/openapi.json", &[], b"")
        .await
        .ok()
        .json();
    let security = |path: &str, method: &str| public["paths"][path][method]["security"].clone();
    for (path, method, expected) in [
        ("/ipfs/{cid}", "get", serde_json::json!([])),
        ("/v1/names/{name}", "get", serde_json::json!([])),
        (
            "/v1/status",
            "get",
            serde_json::json!([{"token": ["read"]}]),
        ),
        (
            "/v1/names/{name}",
            "put",
            serde_json::json!([{"token": ["pin"]}]),
        ),
        (
            "/v1/peers/connect",
            "post",
            serde_json::json!([{"token": ["admin"]}]),
        ),
        (
            "/v1/names/{name}/publish",
            "post",
            serde_json::json!([{}, {"token": ["publish"]}]),
        ),
    ] {
        assert_eq!(security(path, method), expected, "{method} {path}");
    }
    let admin = ask(node.admin(), "GET", "/openapi.json", &[], b"")
        .await
        .ok()
        .json();
    let of_status = &admin["paths"]["/v1/status"]["get"];
    assert_eq!(of_status["security"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_have_no_admin_listener_and_be_asked_with_a_token() {
    let node = TestNode::with(|config| {
        config.http.admin_listen = AdminListen::Off;
        with_tokens(config, &[("alice", "read")]);
    })
    .await;
    assert_eq!(node.node.admin_addr(), None);
    let refused = node.ask_in_public("GET", "/v1/status", &[], b"").await;
    refused.refused(401, "unauthorized");
    let alice = bearer("alice");
    let alice = [("Authorization", &*alice)];
    node.ask_in_public("GET", "/v1/status", &alice, b"")
        .await
        .ok();
}
