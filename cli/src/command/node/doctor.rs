//! `perennis node doctor`: what keeps a node from running well, on the machine it runs on. It changes nothing.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use perennis_node::config::{self, AdminListen, Sources};
use perennis_node::data_folder::{self, files_of_blocks};
use rustix::fs::Access;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use super::open_files;
use crate::args::NodeDoctor;
use crate::command::invalid_config::config_failure;
use crate::context::Context;
use crate::failure::Failure;
use crate::page::bytes_text;

mod data;

/// Below this much free space a warning is given, in bytes.
const LOW_SPACE_BYTES: u64 = 1 << 30;

/// Below this much free space nothing can be stored, in bytes.
const NO_SPACE_BYTES: u64 = 64 << 20;

#[derive(Serialize)]
struct DoctorDocument {
    healthy: bool,
    data: String,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Check {
    check: &'static str,
    result: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Check {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self {
            check,
            result: "ok",
            message: message.into(),
            hint: None,
        }
    }

    fn warning(check: &'static str, message: impl Into<String>, hint: &str) -> Self {
        Self {
            result: "warning",
            hint: Some(hint.to_owned()),
            ..Self::ok(check, message)
        }
    }

    fn failed(check: &'static str, message: impl Into<String>, hint: &str) -> Self {
        Self {
            result: "failed",
            ..Self::warning(check, message, hint)
        }
    }
}

pub(super) fn run(context: &Context<'_>, arguments: &NodeDoctor) -> Result<(), Failure> {
    let mut flags = Vec::new();
    if let Some(data) = arguments.data.as_deref().and_then(Path::to_str) {
        flags.push(("data".to_owned(), data.to_owned()));
    }
    let sources = Sources::of_process(arguments.config.clone(), flags);
    let config = config::check(&sources)
        .map_err(|error| config_failure(&error))?
        .config;
    let mut checks = vec![Check::ok("configuration", "every setting is valid")];
    let writable = check_writable(&config.data);
    let usable = writable.result == "ok";
    checks.push(writable);
    if usable {
        checks.push(check_space(&config.data));
    }
    checks.extend(data::check(&config));
    checks.push(check_address("address", config.http.listen, "http.listen"));
    if let AdminListen::At(address) = config.http.admin_listen {
        let key = "http.admin-listen";
        checks.push(check_address("admin listener", address, key));
    }
    if let Some(address) = config.http.gateway_listen {
        checks.push(check_address(
            "path gateway",
            address,
            "http.gateway-listen",
        ));
    }
    checks.push(check_files(&config.data));
    checks.extend(check_file_size());
    let document = DoctorDocument {
        healthy: checks.iter().all(|check| check.result != "failed"),
        data: config.data.display().to_string(),
        checks,
    };
    context.output.answer(&document, |page| {
        for check in &document.checks {
            let result = match check.result {
                "ok" => page.paint.good("ok     "),
                "warning" => page.paint.warn("warning"),
                _ => page.paint.bad("failed "),
            };
            page.line(format!("{result}  {}: {}", check.check, check.message));
            if let Some(hint) = &check.hint {
                let hint = page.paint.dim(format!("         next: {hint}"));
                page.line(hint);
            }
        }
    })?;
    if document.healthy {
        Ok(())
    } else {
        Err(Failure::verdict())
    }
}

/// Whether the data directory, or the nearest one above it that exists, takes files, by its permissions and those of
/// its file system.
fn check_writable(data: &Path) -> Check {
    const CHECK: &str = "data directory";
    let Some(existing) = data
        .ancestors()
        .map(|dir| {
            if dir.as_os_str().is_empty() {
                Path::new(".")
            } else {
                dir
            }
        })
        .find(|dir| dir.exists())
    else {
        return Check::failed(
            CHECK,
            "no directory above it exists",
            "give one with --data",
        );
    };
    if !existing.is_dir() {
        return Check::failed(
            CHECK,
            format!("{} is no directory", existing.display()),
            "give another one with --data",
        );
    }
    match rustix::fs::access(existing, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if data.exists() => Check::ok(CHECK, format!("{} is writable", data.display())),
        Ok(()) => Check::ok(CHECK, format!("{} can be made", data.display())),
        Err(error) => Check::failed(
            CHECK,
            format!("{} is not writable: {error}", existing.display()),
            "make it writable for the node's user, or give another one with --data",
        ),
    }
}

fn check_space(data: &Path) -> Check {
    const CHECK: &str = "free space";
    let existing = data.ancestors().find(|dir| dir.exists());
    let space = existing.map(|dir| {
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        };
        data_folder::disk_space(dir)
    });
    match space {
        Some(Ok(space)) => {
            let free = space.free_bytes;
            let message = format!("{} free", bytes_text(free));
            if free < NO_SPACE_BYTES {
                Check::failed(
                    CHECK,
                    message,
                    "free space, or move the data to a larger disk",
                )
            } else if free < LOW_SPACE_BYTES {
                Check::warning(CHECK, message, "plan for a larger disk")
            } else {
                Check::ok(CHECK, message)
            }
        }
        _ => Check::warning(CHECK, "cannot be told", "look at it with df"),
    }
}

fn check_address(check: &'static str, address: SocketAddr, key: &str) -> Check {
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(check, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Check::warning(
            check,
            format!("something listens on {address} already"),
            &format!(
                "if it is this node, all is well (`perennis node status`); else stop it or change {key}"
            ),
        ),
        Err(error) => Check::failed(
            check,
            format!("cannot listen on {address}: {error}"),
            &format!("set {key} to an address of this machine"),
        ),
    }
}

/// Segment files, connections and RocksDB each need open files.
fn check_files(data: &Path) -> Check {
    const CHECK: &str = "open files";
    const BESIDE_THE_STORE: u64 = 1_024;
    let Some(files) = open_files::reachable() else {
        return Check::ok(CHECK, "no limit");
    };
    let stored = files_of_blocks(data);
    let message = format!("a node may have {files} open, of which {stored} are for what is stored");
    if files < stored.saturating_add(BESIDE_THE_STORE) {
        return Check::warning(CHECK, message, open_files::HINT);
    }
    Check::ok(CHECK, message)
}

/// A process that writes past the limit of a file's size is killed without a word.
fn check_file_size() -> Option<Check> {
    let bytes = getrlimit(Resource::Fsize).current?;
    Some(Check::warning(
        "file size",
        format!(
            "a file may have at most {}; a node that writes past it is killed by the system",
            bytes_text(bytes)
        ),
        "take the limit away: ulimit -f unlimited, or LimitFSIZE=infinity in the service file",
    ))
}
