//! A real node process on a free port.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::document::Ready;
use crate::small_disk::SmallDisk;
use crate::{binary, process, schema};

/// A node that does not get ready within this time has failed: far above what the slowest machine needs.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running node; killed when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    url: String,
    admin: String,
    gateway: Option<String>,
    peer: String,
    data: PathBuf,
    config: Option<PathBuf>,
    started_in: Duration,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header lines, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Node {
    /// Starts a node on `data` and a free port and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start(data: &Path) -> Self {
        Self::start_on(data, None, "127.0.0.1:0")
    }

    /// Starts a node with a configuration file.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start_with(data: &Path, config: &Path) -> Self {
        Self::start_on(data, Some(config), "127.0.0.1:0")
    }

    /// Starts a node whose data are on a small disk.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start_inside(disk: &SmallDisk, data: &Path) -> Self {
        let command = disk.inside(&Self::command(data, None, "127.0.0.1:0"));
        Self::start_by(command, data, None)
    }

    /// Starts a node by a command that comes to [`Node::command`], and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start_as(command: Command, data: &Path) -> Self {
        Self::start_by(command, data, None)
    }

    fn start_on(data: &Path, config: Option<&Path>, listen: &str) -> Self {
        Self::start_by(Self::command(data, config, listen), data, config)
    }

    fn start_by(command: Command, data: &Path, config: Option<&Path>) -> Self {
        let mut node = Self::launch(command, data).unwrap_or_else(|error| panic!("{error:#}"));
        node.config = config.map(Path::to_owned);
        node
    }

    /// Starts a node by a command that comes to [`Node::command`], waits until it is ready, and says why it does not get so.
    ///
    /// # Errors
    /// It cannot be started, ends, or is not ready within a minute.
    pub fn launch(mut command: Command, data: &Path) -> Result<Self> {
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the node cannot be started")?;
        let ready = wait_until_ready(&mut child).inspect_err(|_| {
            let _ = child.kill();
            let _ = child.wait();
        })?;
        Ok(Self {
            child,
            url: ready.http,
            admin: ready.admin.unwrap_or_default(),
            gateway: ready.gateway,
            peer: ready.p2p.into_iter().next().unwrap_or_default(),
            data: data.to_owned(),
            config: None,
            started_in: start.elapsed(),
        })
    }

    /// The command that runs a node, ready to start.
    #[must_use]
    pub fn command(data: &Path, config: Option<&Path>, listen: &str) -> Command {
        let mut command = Command::new(binary::perennis());
        command
            .args(["--json", "--quiet", "node", "run", "--listen", listen])
            .args(["--admin-listen", "127.0.0.1:0"])
            // Nothing outside of this machine is dialled or listened to.
            .args([
                "--p2p-listen",
                "/ip4/127.0.0.1/tcp/0",
                "--bootstrap",
                "none",
            ])
            .arg("--data")
            .arg(data);
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        command
    }

    /// The address of its path gateway, where it is on.
    #[must_use]
    pub fn gateway(&self) -> Option<&str> {
        self.gateway.as_deref()
    }

    /// Where the node's operator calls, `http://127.0.0.1:PORT`; empty where that is off.
    #[must_use]
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// `127.0.0.1:PORT` where the node's operator calls, who has no rate.
    #[must_use]
    pub fn admin_address(&self) -> &str {
        self.admin.trim_start_matches("http://")
    }

    /// The node's address, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The node's multiaddr, its peer id at the end; empty when it listens to no peers.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The peer id at the end of it.
    #[must_use]
    pub fn peer_id(&self) -> &str {
        self.peer.rsplit('/').next().unwrap_or_default()
    }

    /// How long it took from the start of the process until it was ready.
    #[must_use]
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Where it listens to peers over TCP.
    ///
    /// # Panics
    /// When it listens to none.
    #[must_use]
    pub fn address_of_peers(&self) -> SocketAddr {
        let mut parts = self.peer.split('/').skip_while(|part| *part != "tcp");
        let port = parts.nth(1).and_then(|port| port.parse().ok());
        SocketAddr::from(([127, 0, 0, 1], port.expect("a port of TCP")))
    }

    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The node's process id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// The memory of the process that is in the machine's, in MiB.
    ///
    /// # Panics
    /// When the system does not tell.
    #[must_use]
    pub fn resident_mib(&self) -> f64 {
        process::resident_mib(self.process_id()).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// `kill -9`, and waits until the process is gone.
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("the node can be waited for");
    }

    /// Starts the node again on the same data and the same address.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn restart(&mut self) {
        self.kill();
        let address = self.address().to_owned();
        *self = Self::start_on(&self.data.clone(), self.config.clone().as_deref(), &address);
    }

    /// Asks the node to stop (SIGTERM) and waits for its end.
    ///
    /// # Panics
    /// When the process cannot be signalled or waited for.
    pub fn stop(&mut self) -> ExitStatus {
        self.ask_to_stop();
        self.wait()
    }

    /// Waits for the node's end.
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("the node can be waited for")
    }

    /// Whether the node still runs.
    ///
    /// # Panics
    /// When the process cannot be asked for.
    pub fn is_running(&mut self) -> bool {
        let ended = self.child.try_wait().expect("the node can be asked for");
        ended.is_none()
    }

    /// Asks the node to stop (SIGTERM).
    ///
    /// # Panics
    /// When the process cannot be signalled.
    pub fn ask_to_stop(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Tells the node that its terminal was closed (SIGHUP).
    ///
    /// # Panics
    /// When the process cannot be signalled.
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process id");
        rustix::process::kill_process(id, signal).expect("the node can be signalled");
    }

    /// One HTTP/1.1 request without any client library in between: where everybody calls, or what is not for everybody where the
    /// operator does.
    ///
    /// # Panics
    /// When the node does not answer.
    #[must_use]
    pub fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let address = match is_for_everybody(method, path) {
            true => self.address(),
            false => self.admin_address(),
        };
        let answer = request(address, method, path, headers, body);
        answer.expect("the node answers")
    }

    /// GET again and again until the answer is as it should be.
    ///
    /// # Panics
    /// When it does not become so within a minute.
    #[track_caller]
    pub fn eventually(&self, path: &str, is_so: impl Fn(&Answer) -> bool) -> Answer {
        let give_up = Instant::now() + READY_WITHIN;
        loop {
            let answer = self.request("GET", path, &[], b"");
            if is_so(&answer) {
                return answer;
            }
            assert!(Instant::now() < give_up, "{path}: {}", answer.text());
            thread::yield_now();
        }
    }

    /// GET, answered with 200 and JSON.
    ///
    /// # Panics
    /// When it is otherwise.
    #[must_use]
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let answer = self.request("GET", path, &[], b"");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).expect("JSON")
    }
}

/// Whether everybody may call it without a token.
#[must_use]
pub fn is_for_everybody(method: &str, path: &str) -> bool {
    const OF_OPERATOR: &[&str] = &[
        "/v1/names",
        "/v1/pins",
        "/v1/index",
        "/v1/fetched",
        "/v1/imported",
        "/v1/peers",
        "/v1/damage",
        "/v1/probe",
        "/v1/probe/plot.svg",
        "/v1/snapshots",
        "/v1/denied",
        "/v1/status",
        "/metrics",
    ];
    let path = path.split('?').next().unwrap_or_default();
    match method {
        "GET" | "HEAD" | "OPTIONS" => !OF_OPERATOR.contains(&path),
        _ => path.ends_with("/publish") || path.starts_with("/routing/v1/ipns/"),
    }
}

/// Waits for the line that says that a node is ready.
fn wait_until_ready(child: &mut Child) -> Result<Ready> {
    let stdout = child.stdout.take().context("stdout is piped")?;
    let (ready, first_line) = mpsc::channel();
    // The thread goes on reading, so that the node never blocks on a full pipe.
    thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines();
        let _ = ready.send(lines.next());
        lines.for_each(drop);
    });
    let line = match first_line.recv_timeout(READY_WITHIN) {
        Ok(Some(line)) => line.context("the node's output")?,
        Ok(None) => bail!("the node ended before it was ready: {:?}", child.wait()),
        Err(_) => bail!("the node was not ready within {READY_WITHIN:?}"),
    };
    let event: Value =
        serde_json::from_str(&line).with_context(|| format!("the node said {line:?}"))?;
    if let Some(message) = event["error"]["message"].as_str() {
        bail!("the node did not start: {message}");
    }
    let problems = schema::problems("node-run", &event);
    ensure!(
        problems.is_empty(),
        "the node said {event}: {}",
        problems.join("; ")
    );
    ensure!(event["event"] == "ready", "the node said {event}");
    serde_json::from_value(event).with_context(|| format!("the node said {line:?}"))
}

/// One HTTP/1.1 request to `HOST:PORT`; `None` when nobody answers, as when the node dies meanwhile. Of an answer that was
/// broken off, what has come.
#[must_use]
pub fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(READY_WITHIN)).ok()?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    let says_type = |header: &&str| header.to_ascii_lowercase().starts_with("accept:");
    if !headers.iter().any(says_type) {
        head.push_str("accept: */*\r\n");
    }
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    // A node that refuses early may close before it has read everything.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body));
    Answer::read_from(&mut stream)
}

impl Answer {
    /// A header, in lower case; its name is in lower case too.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(key, _)| *key == name)?;
        Some(value.trim())
    }

    /// Reads an answer to its end.
    ///
    /// # Panics
    /// When it is not HTTP.
    #[must_use]
    pub fn read(stream: &mut TcpStream) -> Self {
        Self::read_from(stream).expect("an HTTP answer")
    }

    fn read_from(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        // An early refusal may end in a reset behind the answer.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let raw = &bytes[end + 4..];
        let body = if head.contains("transfer-encoding: chunked") {
            unchunk(raw)
        } else {
            raw.to_vec()
        };
        Some(Self { status, head, body })
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn unchunk(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&raw[..end])
            .ok()
            .and_then(|line| usize::from_str_radix(line.split(';').next()?.trim(), 16).ok())
            .unwrap_or(0);
        let start = end + 2;
        if size == 0 || raw.len() < start + size {
            break;
        }
        body.extend_from_slice(&raw[start..start + size]);
        raw = &raw[(start + size + 2).min(raw.len())..];
    }
    body
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
