//! A node behind nginx, with the configuration that docs/deploy has: what strangers reach through it, and how they are counted.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use perennis_tests::binary::workspace;
use perennis_tests::home::Home;
use perennis_tests::node::Node;
use serde_json::Value;

use crate::user::with_identity;

/// How long nginx may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// nginx with the configuration of docs/deploy, its ports, paths and certificate replaced by those of the test.
struct Nginx {
    process: Child,
    port: u16,
    certificate: PathBuf,
}

impl Nginx {
    /// None where nginx, or what makes a certificate, is not there.
    #[allow(
        clippy::print_stderr,
        reason = "a skipped test says so, and only the test's output can tell"
    )]
    fn start(folder: &Path, node: &Node) -> Option<Nginx> {
        for (program, version) in [
            ("nginx", "-v"),
            ("openssl", "version"),
            ("curl", "--version"),
        ] {
            let found = Command::new(program)
                .arg(version)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if found.is_err() {
                eprintln!(
                    "skipped: {program} is not installed (apt-get install nginx-light openssl curl)"
                );
                return None;
            }
        }
        fs::create_dir_all(folder).unwrap();
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        make_certificate(&certificate, &key);
        // Whoever takes a port between this and the start of nginx makes it fail to start, and another pair is tried.
        for _ in 0..10 {
            let (plain, port) = (free_port(), free_port());
            let path = folder.join("nginx.conf");
            fs::write(&path, configuration(folder, node, plain, port)).unwrap();
            let mut process = Command::new("nginx")
                .args(["-g", "daemon off;", "-p"])
                .arg(folder)
                .arg("-c")
                .arg(&path)
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let give_up = Instant::now() + PATIENCE;
            while process.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(Nginx {
                        process,
                        port,
                        certificate,
                    });
                }
                assert!(Instant::now() < give_up, "nginx does not listen");
                thread::yield_now();
            }
        }
        let log = fs::read_to_string(folder.join("error.log")).unwrap_or_default();
        panic!("nginx does not start: {log}");
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The status and the body of an answer.
    fn ask(&self, arguments: &[&str], path: &str) -> (u16, String) {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--write-out",
                "\n%{http_code}",
                "--cacert",
            ])
            .arg(&self.certificate)
            .args(arguments)
            .arg(format!("{}{path}", self.url()))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap();
        let status = status.parse().unwrap();
        assert_ne!(status, 0, "{}", String::from_utf8_lossy(&output.stderr));
        (status, body.to_owned())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it when it is asked, and not when it is killed.
        let id = i32::try_from(self.process.id()).ok();
        if let Some(id) = id.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn make_certificate(certificate: &Path, key: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

/// The file as it is handed out, with each of these replaced, which all have to be there.
fn configuration(folder: &Path, node: &Node, plain: u16, port: u16) -> String {
    let mut text = fs::read_to_string(workspace().join("docs/deploy/nginx.conf")).unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary
        .iter()
        .map(|kind| format!("    {kind}_temp_path {};\n", at(kind)))
        .collect();
    for (from, to) in [
        ("/run/nginx.pid", at("nginx.pid")),
        ("/var/log/nginx/error.log", at("error.log")),
        (
            "server 127.0.0.1:4780;",
            format!("server {};", node.address()),
        ),
        ("listen 80;", format!("listen 127.0.0.1:{plain};")),
        ("listen 443 ssl", format!("listen 127.0.0.1:{port} ssl")),
        ("node.example;", "localhost;".to_owned()),
        (
            "/etc/letsencrypt/live/node.example/fullchain.pem",
            at("cert.pem"),
        ),
        (
            "/etc/letsencrypt/live/node.example/privkey.pem",
            at("key.pem"),
        ),
        ("http {\n", format!("http {{\n{temporary}")),
    ] {
        assert!(
            text.contains(from),
            "docs/deploy/nginx.conf has no {from:?}"
        );
        text = text.replace(from, &to);
    }
    text
}

/// A node with the configuration of docs/deploy, and this more of it.
fn node(user: &Home, more: &str) -> Node {
    let text = fs::read_to_string(workspace().join("docs/deploy/node.toml")).unwrap();
    let text = format!("{text}{more}");
    let config = user.file("node.toml", text);
    Node::start_with(&user.beside("node"), config.as_ref())
}

#[test]
fn a_node_behind_nginx_is_public_and_no_more() {
    let (user, phrase) = with_identity();
    let node = node(&user, "\n[admission]\naddress-rate = 3\n");
    let Some(nginx) = Nginx::start(&user.beside("nginx"), &node) else {
        return;
    };
    // Publishing works, with the certificate checked, and so do resolving and fetching.
    user.json(&["label", "add", "@one", "spam"]);
    let url = nginx.url();
    let run = |arguments: &[&str]| -> Value {
        let output = user
            .command(&[&["--json"], arguments].concat())
            .env("SSL_CERT_FILE", &nginx.certificate)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}");
        serde_json::from_str(&text).unwrap()
    };
    let published = run(&["publish", "--passphrase-file", &phrase, "--node", &url]);
    assert_eq!(published["nodes"][0]["stored"], true);
    let did = published["did"].as_str().unwrap();
    assert_eq!(run(&["resolve", did, "--node", &url])["source"], url);
    let listed = run(&["label", "list", "--did", did, "--node", &url]);
    assert_eq!(listed["labels"].as_array().unwrap().len(), 1);
    let head = published["head"].as_str().unwrap();
    let (status, _) = nginx.ask(&[], &format!("/ipfs/{head}?format=car"));
    assert_eq!(status, 200);
    assert_eq!(nginx.ask(&[], "/health/ready").0, 200);

    // What is the operator's is refused, though nginx calls from this machine.
    for (method, path) in [
        ("GET", "/v1/status"),
        ("GET", "/metrics"),
        ("GET", "/v1/peers"),
        ("POST", "/v1/peers/connect"),
        ("POST", "/v1/imported"),
        ("PUT", "/v1/names/nonsense"),
        ("DELETE", "/v1/damage"),
    ] {
        let arguments = [
            "--request",
            method,
            "--header",
            "X-Forwarded-For: 127.0.0.1",
        ];
        let (status, body) = nginx.ask(&arguments, path);
        assert_eq!(status, 401, "{method} {path}: {body}");
    }

    // Who calls is counted by the address that nginx sees, whatever a stranger says of itself: one of the three was the publish.
    let name = published["name"].as_str().unwrap();
    let path = format!("/routing/v1/ipns/{name}");
    let put = |more: &[&str]| {
        let record = ["--request", "PUT", "--data-binary", "nonsense"];
        let kind = ["--header", "Content-Type: application/vnd.ipfs.ipns-record"];
        nginx.ask(&[&record[..], &kind, more].concat(), &path)
    };
    let mut refused = None;
    for stranger in 1..=8 {
        let x_forwarded_for = format!("X-Forwarded-For: 203.0.113.{stranger}");
        let forwarded = format!("Forwarded: for=203.0.113.{stranger}");
        let (status, body) = put(&["--header", &x_forwarded_for, "--header", &forwarded]);
        match status {
            400 => assert!(body.contains("malformed_record"), "{body}"),
            429 => refused = refused.or(Some(stranger)),
            other => panic!("{other}: {body}"),
        }
    }
    assert_eq!(
        refused,
        Some(3),
        "the rate is not that of the client's address"
    );

    // A body may have what a publish may, which is more than nginx takes by itself. The node refuses this one early.
    let large = user.file("large", vec![0; 2 << 20]);
    let body = format!("@{large}");
    let arguments = [
        "--request",
        "POST",
        "--data-binary",
        &*body,
        "--header",
        "Content-Type: application/vnd.ipld.car",
    ];
    let (status, body) = nginx.ask(&arguments, &format!("/v1/names/{name}/publish"));
    assert_ne!(status, 413, "{body}");
}
