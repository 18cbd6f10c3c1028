//! A real node process on a free port.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::small_disk::SmallDisk;
use crate::{binary, schema};

/// A node that does not get ready within this time has failed: far above what the slowest machine needs.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running node; killed when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    url: String,
    peer: String,
    data: PathBuf,
    config: Option<PathBuf>,
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

    fn start_by(mut command: Command, data: &Path, config: Option<&Path>) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (ready, first_line) = mpsc::channel();
        // The thread goes on reading, so that the node never blocks on a full pipe.
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines();
            let _ = ready.send(lines.next());
            lines.for_each(drop);
        });
        let line = match first_line.recv_timeout(READY_WITHIN) {
            Ok(Some(Ok(line))) => line,
            other => {
                let _ = child.kill();
                panic!("the node did not get ready: {other:?}, {:?}", child.wait());
            }
        };
        let event: Value = serde_json::from_str(&line).expect("the first line is JSON");
        schema::check("node-run", &event);
        assert_eq!(event["event"], "ready", "{event}");
        let url = event["http"].as_str().expect("the address").to_owned();
        let peer = event["p2p"][0].as_str().unwrap_or_default().to_owned();
        Self {
            child,
            url,
            peer,
            data: data.to_owned(),
            config: config.map(Path::to_owned),
        }
    }

    /// The command that runs a node, ready to start.
    #[must_use]
    pub fn command(data: &Path, config: Option<&Path>, listen: &str) -> Command {
        let mut command = Command::new(binary::perennis());
        command
            .args(["--json", "--quiet", "node", "run", "--listen", listen])
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
        let path = format!("/proc/{}/status", self.process_id());
        let status = std::fs::read_to_string(path).expect("the status of the process");
        let kib: f64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|line| line.split_whitespace().next())
            .and_then(|kib| kib.parse().ok())
            .expect("a line with its memory");
        kib / 1_024.0
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
        let id = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process id");
        rustix::process::kill_process(id, rustix::process::Signal::TERM)
            .expect("the node can be signalled");
    }

    /// One HTTP/1.1 request without any client library in between.
    ///
    /// # Panics
    /// When the node does not answer.
    #[must_use]
    pub fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let answer = request(self.address(), method, path, headers, body);
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
