//! One target under load: first a request by hand, to see that the answer is right, then wrk.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use perennis_shared::cid::Cid;

use crate::{peers, process};

/// Where wrk is; the one on the PATH when nobody says.
const WRK: &str = "PERENNIS_WRK";

const SECONDS: u32 = 8;
const CONNECTIONS: u32 = 32;
/// Of answers that are as long as a hundred thousand others.
const LARGE_CONNECTIONS: u32 = 2;
/// wrk counts what takes longer as an error.
const WITHIN: &str = "30s";

/// Paths of one server, of which each request draws one.
pub(super) struct Target {
    address: String,
    paths: Vec<String>,
    accept: &'static str,
    body_bytes: Option<usize>,
    connections: u32,
}

impl Target {
    /// The record of a name; its length differs by implementation.
    pub(super) fn record(address: &str, path: String) -> Self {
        Self {
            address: address.to_owned(),
            paths: vec![path],
            accept: "application/vnd.ipfs.ipns-record",
            body_bytes: None,
            connections: CONNECTIONS,
        }
    }

    /// A DAG as a CAR.
    pub(super) fn car(address: &str, root: &Cid) -> Self {
        Self {
            address: address.to_owned(),
            paths: vec![format!("/ipfs/{root}?format=car")],
            accept: "application/vnd.ipld.car; version=1; order=dfs; dups=n",
            body_bytes: None,
            connections: LARGE_CONNECTIONS,
        }
    }

    /// Files of one length by their paths, as a browser asks for them.
    pub(super) fn files(address: &str, paths: Vec<String>, body_bytes: usize) -> Self {
        Self {
            accept: "*/*",
            ..Self::blocks(address, paths, body_bytes)
        }
    }

    /// Raw blocks of one length.
    pub(super) fn blocks(address: &str, paths: Vec<String>, body_bytes: usize) -> Self {
        Self {
            address: address.to_owned(),
            paths,
            accept: "application/vnd.ipld.raw",
            body_bytes: Some(body_bytes),
            connections: CONNECTIONS,
        }
    }

    /// The script that makes wrk draw its paths, the same ones in each run.
    fn script(&self) -> String {
        let paths: String = self
            .paths
            .iter()
            .map(|path| format!("  \"{path}\",\n"))
            .collect();
        format!(
            "local paths = {{\n{paths}}}\nmath.randomseed(1)\nfunction request()\n  \
             return wrk.format(\"GET\", paths[math.random(#paths)], {{[\"Accept\"] = \"{}\"}})\nend\n",
            self.accept
        )
    }
}

/// Requests answered well per second.
///
/// # Errors
/// The answer is not what it should be, or any answer under load is an error.
pub(super) fn rate(target: &Target) -> Result<f64> {
    look(target)?;
    let script = std::env::temp_dir().join(format!("perennis-wrk-{}.lua", std::process::id()));
    fs::write(&script, target.script())?;
    let mut wrk = process::command(peers::installed(WRK).unwrap_or_else(|| "wrk".into()));
    wrk.args([
        "-t1",
        &format!("-c{}", target.connections),
        "--timeout",
        WITHIN,
        &format!("-d{SECONDS}s"),
        "-s",
    ])
    .arg(&script)
    .arg(format!("http://{}/", target.address));
    let printed = process::output(&mut wrk);
    fs::remove_file(&script)?;
    let rate = parse(&printed?)?;
    println!(
        "  {}: {rate:.1} requests/s of {}…",
        target.address,
        target.paths.first().map_or("", |path| path)
    );
    Ok(rate)
}

fn parse(printed: &str) -> Result<f64> {
    for fault in ["Non-2xx", "Socket errors"] {
        if let Some(line) = printed.lines().find(|line| line.contains(fault)) {
            bail!("under load: {}", line.trim());
        }
    }
    let rate = printed
        .lines()
        .find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    rate.context("wrk named no rate")?
        .trim()
        .parse()
        .context("wrk's rate")
}

/// Asks for the first path and holds the answer against what is expected.
fn look(target: &Target) -> Result<()> {
    let path = target.paths.first().context("a target has a path")?;
    let mut stream = TcpStream::connect(&target.address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: {}\r\nConnection: close\r\n\r\n",
        target.address, target.accept
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .context("an answer without a head")?;
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).into_owned();
    let body_bytes = answer.len() - end - 4;
    ensure!(
        head.starts_with("HTTP/1.1 200"),
        "GET {path}: {}",
        head.lines().next().unwrap_or_default()
    );
    match target.body_bytes {
        Some(wanted) => ensure!(
            body_bytes == wanted,
            "GET {path}: {body_bytes} bytes, not {wanted}"
        ),
        None => ensure!(body_bytes > 100, "GET {path}: only {body_bytes} bytes"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn errors_under_load_are_no_rate() {
        assert_eq!(
            parse("  10 requests in 1s\nRequests/sec:   10.5\n").unwrap(),
            10.5
        );
        assert!(parse("  Non-2xx or 3xx responses: 3\nRequests/sec: 10\n").is_err());
        assert!(parse("  Socket errors: connect 0, read 1\nRequests/sec: 10\n").is_err());
        assert!(parse("nothing").is_err());
    }

    #[test]
    fn every_path_is_in_the_script() {
        let target = Target::blocks("127.0.0.1:1", vec!["/a".into(), "/b".into()], 1);
        let script = target.script();
        assert!(
            script.contains("\"/a\",\n") && script.contains("\"/b\",\n"),
            "{script}"
        );
    }
}
