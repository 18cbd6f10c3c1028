//! Every documented answer is what its schema says, and every route is documented.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use perennis_net::DhtMode;
use perennis_node::config::Config;
use serde_json::Value;

use crate::support::{Author, Reply, TestNode, ask};

/// Validates an answer against what the OpenAPI document says about it.
fn check(openapi: &Value, method: &str, route: &str, reply: &Reply) -> String {
    let operation = &openapi["paths"][route][method.to_lowercase()];
    let documented = &operation["responses"][reply.status.to_string()];
    assert!(
        documented.is_object(),
        "{method} {route}: {} is not documented",
        reply.status
    );
    let Some(content_type) = reply.header("content-type") else {
        assert!(reply.body.is_empty());
        return format!("{method} {route} {}", reply.status);
    };
    let essence = |text: &str| text.split(';').next().unwrap().trim().to_owned();
    let contents = documented["content"].as_object().unwrap();
    let (_, content) = contents
        .iter()
        .find(|(documented, _)| essence(documented) == essence(content_type))
        .unwrap_or_else(|| panic!("{method} {route}: {content_type} is not documented"));
    if let Some(reference) = content["schema"]["$ref"].as_str() {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        let schema = &openapi["components"]["schemas"][name];
        // A test runs in the folder of its package.
        let file = format!("../docs/schema/http/{name}.json");
        let file: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for schema in [schema, &file] {
            let validator = jsonschema::validator_for(schema).unwrap();
            let document = reply.json();
            if let Err(error) = validator.validate(&document) {
                panic!("{method} {route}: {error}\n{document}");
            }
        }
    }
    format!("{method} {route} {}", reply.status)
}

/// A peer of the DHT on loopback.
fn as_peer(config: &mut Config) {
    config.p2p.listen = Some(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()]);
    config.p2p.dht = DhtMode::Server;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_as_documented() {
    let router = TestNode::with(as_peer).await;
    let url = router.url();
    let node = TestNode::with(|config| {
        as_peer(config);
        config.ipns.routers = vec![url];
    })
    .await;
    let openapi = node.get("/openapi.json").await.ok().json();
    let mut author = Author::new(1);
    let first = author.publish(&[("@alice", "friend")]);
    let second = author.publish(&[("@alice", "enemy")]);
    let unknown = Author::new(2).name();
    let bare = Author::new(3).publish(&[("@alice", "friend")]);
    let mut seen = BTreeSet::new();
    let mut see = |method: &str, route: &str, reply: Reply| {
        seen.insert(check(&openapi, method, route, &reply));
    };

    let publish = "/v1/names/{name}/publish";
    see("POST", publish, node.publish(&first).await);
    see(
        "POST",
        publish,
        node.publish(&second.without(&second.head)).await,
    );
    see("POST", publish, node.publish(&second).await);
    see("POST", publish, node.publish(&first).await);
    see(
        "PUT",
        "/routing/v1/ipns/{name}",
        node.put_record(&bare).await,
    );
    see(
        "PUT",
        "/routing/v1/ipns/{name}",
        node.put_record(&first).await,
    );

    let name = first.name;
    node.eventually(&format!("/v1/names/{name}"), |reply| {
        !reply.json()["lastPut"].is_null()
    })
    .await;
    for (route, path) in [
        ("/", "/".to_owned()),
        ("/page/{file}", "/page/no-such-file".to_owned()),
        ("/health/live", "/health/live".to_owned()),
        ("/health/ready", "/health/ready".to_owned()),
        ("/metrics", "/metrics".to_owned()),
        ("/openapi.json", "/openapi.json".to_owned()),
        ("/ipfs/{cid}", format!("/ipfs/{}", first.head)),
        ("/ipfs/{cid}", format!("/ipfs/{}?format=car", first.head)),
        ("/ipfs/{cid}", "/ipfs/nonsense".to_owned()),
        ("/ipns/{name}", format!("/ipns/{name}?format=ipns-record")),
        ("/ipns/{name}", format!("/ipns/{unknown}")),
        (
            "/routing/v1/ipns/{name}",
            format!("/routing/v1/ipns/{name}"),
        ),
        (
            "/routing/v1/ipns/{name}",
            format!("/routing/v1/ipns/{unknown}"),
        ),
        ("/v1/names", "/v1/names".to_owned()),
        ("/v1/names", "/v1/names?limit=1".to_owned()),
        ("/v1/names", "/v1/names?limit=0".to_owned()),
        ("/v1/names/{name}", format!("/v1/names/{name}")),
        ("/v1/names/{name}", format!("/v1/names/{}", bare.name)),
        ("/v1/names/{name}", format!("/v1/names/{unknown}")),
        (
            "/v1/names/{name}/record",
            format!("/v1/names/{name}/record"),
        ),
        (
            "/v1/names/{name}/record",
            format!("/v1/names/{unknown}/record"),
        ),
        ("/v1/resolve/{name}", format!("/v1/resolve/{name}")),
        ("/v1/resolve/{name}", format!("/v1/resolve/{unknown}")),
        ("/v1/resolve/{name}", "/v1/resolve/nonsense".to_owned()),
        ("/v1/pins", "/v1/pins".to_owned()),
        ("/v1/index", "/v1/index".to_owned()),
        ("/v1/status", "/v1/status".to_owned()),
        (
            "/1.0/identifiers/{did}",
            format!("/1.0/identifiers/{}", first.did),
        ),
        (
            "/1.0/identifiers/{did}",
            format!("/1.0/identifiers/did:ipns:{unknown}"),
        ),
    ] {
        see("GET", route, node.get(&path).await);
    }

    let followed = Author::new(4).publish(&[("@alice", "friend")]);
    router.publish(&followed).await.ok();
    let follow = format!("/v1/names/{}", followed.name);
    let route = "/v1/names/{name}";
    see("PUT", route, node.ask("PUT", &follow, &[], b"").await);
    see("DELETE", route, node.ask("DELETE", &follow, &[], b"").await);
    see("DELETE", route, node.ask("DELETE", &follow, &[], b"").await);

    let unwanted = Author::new(5).publish(&[("@alice", "friend")]);
    node.publish(&unwanted).await.ok();
    let route = "/v1/names/{name}/record";
    let remove = format!("/v1/names/{}/record?deny=true", unwanted.name);
    for _ in 0..2 {
        see("DELETE", route, node.ask("DELETE", &remove, &[], b"").await);
    }
    see("GET", "/v1/denied", node.get("/v1/denied").await);
    see("POST", publish, node.publish(&unwanted).await);
    let allow = format!("/v1/denied/{}", unwanted.name);
    for _ in 0..2 {
        let reply = node.ask("DELETE", &allow, &[], b"").await;
        see("DELETE", "/v1/denied/{name}", reply);
    }

    let json = [("Content-Type", "application/json")];
    let peer = router.node.peer_id();
    let address = router.node.p2p_addresses()[0].clone();
    let request = serde_json::json!({ "address": address }).to_string();
    let connect = "/v1/peers/connect";
    for body in [request.as_str(), "{}"] {
        see(
            "POST",
            connect,
            node.ask("POST", connect, &json, body.as_bytes()).await,
        );
    }
    node.eventually("/v1/peers", |reply| {
        let tables = reply.json()["routing"].as_array().cloned().unwrap();
        tables.iter().any(|table| table["peers"] == 1)
    })
    .await;
    let (here, nobody) = (first.head, unknown);
    let car = [("Content-Type", "application/vnd.ipld.car")];
    let import = "/v1/imported";
    for body in [&followed.car()[..], b"no CAR file"] {
        see("POST", import, node.ask("POST", import, &car, body).await);
    }
    for (method, route, path) in [
        ("GET", "/v1/peers", "/v1/peers".to_owned()),
        ("GET", "/v1/damage", "/v1/damage".to_owned()),
        ("DELETE", "/v1/damage", "/v1/damage".to_owned()),
        ("POST", "/v1/probe", "/v1/probe".to_owned()),
        ("GET", "/v1/probe", "/v1/probe".to_owned()),
        ("GET", "/v1/probe/plot.svg", "/v1/probe/plot.svg".to_owned()),
        (
            "POST",
            "/v1/providers/{cid}",
            format!("/v1/providers/{here}"),
        ),
        (
            "GET",
            "/v1/providers/{cid}",
            format!("/v1/providers/{here}"),
        ),
        ("GET", "/v1/providers/{cid}", "/v1/providers/x".to_owned()),
        (
            "GET",
            "/routing/v1/providers/{cid}",
            format!("/routing/v1/providers/{here}"),
        ),
        (
            "GET",
            "/routing/v1/peers/{peer}",
            format!("/routing/v1/peers/{peer}"),
        ),
        (
            "GET",
            "/routing/v1/peers/{peer}",
            format!("/routing/v1/peers/{nobody}"),
        ),
        (
            "POST",
            "/v1/fetched/{cid}",
            format!("/v1/fetched/{}", followed.head),
        ),
        ("GET", "/v1/fetched", "/v1/fetched".to_owned()),
        (
            "DELETE",
            "/v1/fetched/{cid}",
            format!("/v1/fetched/{}", followed.head),
        ),
        ("GET", "/v1/snapshots", "/v1/snapshots".to_owned()),
        (
            "POST",
            "/v1/snapshots",
            "/v1/snapshots?name=../up".to_owned(),
        ),
        (
            "DELETE",
            "/v1/snapshots/{name}",
            "/v1/snapshots/none".to_owned(),
        ),
        ("GET", "/v1/imported", "/v1/imported".to_owned()),
        (
            "DELETE",
            "/v1/imported/{cid}",
            format!("/v1/imported/{}", followed.head),
        ),
        (
            "DELETE",
            "/v1/imported/{cid}",
            format!("/v1/imported/{}", followed.head),
        ),
        (
            "PUT",
            "/v1/peers/{peer}/ban",
            format!("/v1/peers/{peer}/ban"),
        ),
        (
            "DELETE",
            "/v1/peers/{peer}/ban",
            format!("/v1/peers/{peer}/ban"),
        ),
    ] {
        see(method, route, node.ask(method, &path, &[], b"").await);
    }

    for path in ["/routing/v1/providers/x", "/routing/v1/peers/x"] {
        let route = if path.contains("peers") {
            "/routing/v1/peers/{peer}"
        } else {
            "/routing/v1/providers/{cid}"
        };
        see("GET", route, node.get(path).await);
    }

    // Every route was asked, and gave the answer it is there for.
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let asked = format!("{} {path} ", method.to_uppercase());
            assert!(
                seen.iter().any(|seen| seen.starts_with(&asked)),
                "{asked}was not asked"
            );
        }
    }
    let answered = |what: &str| assert!(seen.contains(what), "{what} was not seen: {seen:#?}");
    answered("POST /v1/names/{name}/publish 200");
    answered("POST /v1/names/{name}/publish 422");
    answered("POST /v1/names/{name}/publish 409");
    answered("PUT /routing/v1/ipns/{name} 200");
    answered("GET /v1/resolve/{name} 200");
    answered("GET /v1/resolve/{name} 404");
    answered("PUT /v1/names/{name} 200");
    answered("DELETE /v1/names/{name} 204");
    answered("DELETE /v1/names/{name}/record 200");
    answered("DELETE /v1/names/{name}/record 404");
    answered("GET /v1/denied 200");
    answered("DELETE /v1/denied/{name} 204");
    answered("DELETE /v1/denied/{name} 404");
    answered("POST /v1/peers/connect 200");
    answered("POST /v1/providers/{cid} 200");
    answered("GET /v1/providers/{cid} 200");
    answered("GET /routing/v1/providers/{cid} 200");
    answered("GET /routing/v1/peers/{peer} 200");
    answered("GET /routing/v1/providers/{cid} 422");
    answered("GET /routing/v1/peers/{peer} 422");
    answered("DELETE /v1/fetched/{cid} 200");
    answered("POST /v1/imported 200");
    answered("POST /v1/imported 400");
    answered("DELETE /v1/imported/{cid} 200");
    answered("DELETE /v1/imported/{cid} 404");
    answered("PUT /v1/peers/{peer}/ban 200");
    answered("GET /v1/damage 200");
    answered("DELETE /v1/damage 200");
    answered("POST /v1/probe 200");
    answered("GET /v1/snapshots 200");
    answered("POST /v1/snapshots 400");
    answered("DELETE /v1/snapshots/{name} 404");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_gateway_answers_as_documented() {
    let node = TestNode::with(|config| {
        config.http.gateway_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    })
    .await;
    let gateway = node.node.gateway_addr().unwrap();
    let get = |path: String| async move { ask(gateway, "GET", &path, &[], b"").await };
    let openapi = get("/openapi.json".to_owned()).await.ok().json();
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    node.publish(&message).await.ok();
    let (head, name) = (message.head, message.name);
    let mut seen = BTreeSet::new();
    for (route, path) in [
        ("/openapi.json", "/openapi.json".to_owned()),
        ("/ipfs/{cid}", format!("/ipfs/{head}")),
        ("/ipfs/{cid}", format!("/ipfs/{head}?format=car")),
        ("/ipfs/{cid}", format!("/ipfs/{head}?format=dag-json")),
        ("/ipfs/{cid}", format!("/ipfs/{head}/none")),
        ("/ipfs/{cid}", "/ipfs/x".to_owned()),
        ("/ipns/{name}", format!("/ipns/{name}")),
        ("/ipns/{name}", format!("/ipns/{name}?format=ipns-record")),
        ("/ipns/{name}", format!("/ipns/{}", Author::new(2).name())),
        ("/ipns/{name}", "/ipns/example.org".to_owned()),
    ] {
        seen.insert(check(&openapi, "GET", route, &get(path).await));
    }
    let paths = openapi["paths"].as_object().unwrap();
    for path in paths.keys() {
        assert!(seen.contains(&format!("GET {path} 200")), "{path}");
    }
    assert!(seen.contains("GET /ipns/{name} 502") && seen.contains("GET /ipns/{name} 501"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let node = TestNode::start().await;
    let mut names = BTreeSet::new();
    for seed in 1..8 {
        let message = Author::new(seed).publish(&[("@alice", "friend")]);
        node.publish(&message).await.ok();
        names.insert(message.name.to_string());
    }
    for (list, field) in [("names", "names"), ("pins", "pins"), ("index", "entries")] {
        let mut got = BTreeSet::new();
        let mut path = format!("/v1/{list}?limit=3");
        let mut pages = 0;
        loop {
            let page = node.get(&path).await.ok().json();
            let rows = page[field].as_array().unwrap();
            got.extend(
                rows.iter()
                    .map(|row| row["name"].as_str().unwrap().to_owned()),
            );
            pages += 1;
            match page["next"].as_str() {
                Some(next) => path = format!("/v1/{list}?limit=3&after={next}"),
                None => break,
            }
        }
        assert_eq!(got, names, "{list}");
        assert_eq!(pages, 3);
    }
}
