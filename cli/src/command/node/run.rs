//! `perennis node run`: the node in this process, until it is told to stop.

use std::path::PathBuf;

use perennis_node::app::{DataGone, RunningNode, StartError};
use perennis_node::config::{self, Config, LogFormat, Sources};
use perennis_store::IndexEngine;
use serde::Serialize;

use super::open_files;
use crate::args::NodeRun;
use crate::command::invalid_config::config_failure;
use crate::context::Context;
use crate::failure::{Exit, Failure, with_cause};
use crate::log_lines;

/// What a person is told of an index that is not on the disk.
const MEMORY: &str =
    "in memory, made anew from the log at each start: this program was built without RocksDB";

/// The first line of `node run --json`.
#[derive(Serialize)]
struct Ready<'a> {
    event: &'static str,
    http: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<&'a str>,
    #[serde(rename = "peerId")]
    peer_id: String,
    p2p: Vec<String>,
    data: String,
    index: String,
    version: &'static str,
}

pub(super) fn serve(context: &Context<'_>, arguments: &NodeRun) -> Result<(), Failure> {
    let mut flags = Vec::new();
    if let Some(data) = &arguments.data {
        let data = data.to_str().ok_or_else(|| {
            Failure::usage("the name of the data directory is not UTF-8").hint("rename it")
        })?;
        flags.push(("data".to_owned(), data.to_owned()));
    }
    if let Some(listen) = &arguments.listen {
        flags.push(("http.listen".to_owned(), listen.to_string()));
    }
    if let Some(listen) = &arguments.admin_listen {
        flags.push(("http.admin-listen".to_owned(), listen.clone()));
    }
    if let Some(listen) = &arguments.gateway_listen {
        flags.push(("http.gateway-listen".to_owned(), listen.to_string()));
    }
    if !arguments.p2p_listen.is_empty() {
        flags.push(("p2p.listen".to_owned(), arguments.p2p_listen.join(",")));
    }
    if !arguments.bootstrap.is_empty() {
        flags.push(("p2p.bootstrap".to_owned(), arguments.bootstrap.join(",")));
    }
    if let Some(dht) = &arguments.dht {
        flags.push(("p2p.dht".to_owned(), dht.clone()));
    }
    if let Some(pubsub) = &arguments.pubsub {
        flags.push(("p2p.pubsub".to_owned(), pubsub.clone()));
    }
    let config = load(arguments.config.clone(), flags)?;
    init_log(context, &config)?;
    open_files::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("runtime", "cannot start").because(&error))?;
    runtime.block_on(serve_until_stopped(context, config))
}

async fn serve_until_stopped(context: &Context<'_>, config: Config) -> Result<(), Failure> {
    let data = config.data.display().to_string();
    let index = config.index;
    // Before the node starts: a signal that comes early must not kill it half-way.
    let mut stop = StopSignals::new()?;
    let node = tokio::select! {
        started = RunningNode::start(config) => started.map_err(|error| start_failure(&error))?,
        () = stop.received() => return Ok(()),
    };
    let url = node.url();
    let admin = node.admin_url();
    let gateway = node
        .gateway_addr()
        .map(|address| format!("http://{address}"));
    let ready = Ready {
        event: "ready",
        http: &url,
        admin: admin.as_deref(),
        gateway: gateway.as_deref(),
        peer_id: node.peer_id(),
        p2p: node.p2p_addresses(),
        data: data.clone(),
        index: index.to_string(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let told = context.output.answer(&ready, |page| {
        let line = page.paint.good("the node serves");
        page.line(format!("{line} {url}"));
        page.fields(&[
            ("data", Some(data.clone())),
            (
                "index",
                (index == IndexEngine::Memory).then(|| MEMORY.to_owned()),
            ),
            (
                "peer",
                Some(
                    node.p2p_addresses()
                        .first()
                        .cloned()
                        .unwrap_or_else(|| node.peer_id()),
                ),
            ),
            ("for you", admin.clone()),
            ("path gateway", gateway.clone()),
            ("health", Some(format!("{url}/health/ready"))),
            (
                "metrics",
                admin.as_ref().map(|admin| format!("{admin}/metrics")),
            ),
        ]);
        let stop = page.paint.dim("stop it with Ctrl-C");
        page.line(stop);
    });
    if told.is_ok() {
        tokio::select! {
            () = stop.received() => {}
            gone = node.data_gone() => {
                context.output.failure(&gone_failure(&gone, &data));
                // Nothing is closed: that would write where other data may lie by now. What was acknowledged before is as
                // after a crash.
                std::process::exit(Exit::Failed as i32);
            }
        }
    }
    context
        .output
        .remark("stopping: finishing what was accepted");
    tokio::select! {
        () = node.shutdown() => told,
        // Whoever asks twice does not want to wait. What was acknowledged is durable, as after a crash.
        () = stop.received() => std::process::exit(1),
    }
}

/// SIGINT, SIGTERM, and the SIGHUP of a terminal that was closed.
struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// None where whoever started the node has it ignore that, as nohup does.
    hang_up: Option<tokio::signal::unix::Signal>,
}

impl StopSignals {
    fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::failed("signals", "cannot listen for signals").because(&error)
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: match ignores_hang_up() {
                true => None,
                false => Some(listen(SignalKind::hangup())?),
            },
        })
    }

    async fn received(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hang_up => {}
        }
    }
}

/// Whether this process was started with SIGHUP ignored; where the system does not tell, it was not.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1)
}

/// The configuration, or every problem in it.
fn load(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Result<Config, Failure> {
    config::load(&Sources::of_process(file, flags))
        .map(|loaded| loaded.config)
        .map_err(|error| config_failure(&error))
}

fn start_failure(error: &StartError) -> Failure {
    let failure = Failure::of(error, error.code());
    let hint = open_files::hint_at(&failure.message).unwrap_or(error.hint());
    failure.hint(hint)
}

fn gone_failure(gone: &DataGone, data: &str) -> Failure {
    Failure::failed("data_folder_gone", with_cause(gone)).hint(format!(
        "mount it, or put it back from a backup, and start the node again: {data}"
    ))
}

/// Log lines go to stderr; `-v` and `-q` win over the configured filter.
fn init_log(context: &Context<'_>, config: &Config) -> Result<(), Failure> {
    let filter = match (context.global.quiet, context.global.verbose) {
        (true, _) => "error",
        (false, 0) => &config.log.filter,
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    log_lines::init(filter, config.log.format == LogFormat::Json)
}
