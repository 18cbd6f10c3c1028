//! `perennis store …`: a node's store, on its machine or through the running node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use perennis_node::OpenError;
use perennis_node::config::{self, AdminListen, Config, Sources};
use perennis_node::data_folder::{has_index, has_stored, in_the_way, missing_log};

use super::invalid_config::config_failure;
use crate::args::{StoreCommand, StorePlace};
use crate::context::Context;
use crate::failure::Failure;

mod bars;
mod losses;
mod rebuild;
mod running;
mod verify;

pub(super) use running::ask_running;

/// What to do where files of a store are there and `FORMAT` is not.
pub(super) const FORMAT_HINT: &str =
    "start the node once: it tells the format by the files and writes FORMAT anew";

/// What to do where the folder of the log is missing.
pub(super) const LOG_HINT: &str = "put the directory back from where it was moved, or restore a snapshot; a node that is started without it \
     counts what lay there as lost, and fetches blocks again only where their publisher lists a source";

/// What to do where the index is damaged or missing.
pub(super) const INDEX_HINT: &str =
    "start the node, or run `perennis store rebuild`: either makes it anew";

pub(crate) fn run(context: &Context<'_>, command: &StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Losses(arguments) => losses::run(context, arguments),
        StoreCommand::Rebuild(arguments) => rebuild::run(context, arguments),
        StoreCommand::Verify(arguments) => verify::run(context, arguments),
    }
}

/// The configuration of the node whose store is meant.
fn configured(place: &StorePlace) -> Result<Config, Failure> {
    let mut flags = Vec::new();
    if let Some(dir) = place.dir.as_deref().or(place.data.as_deref()) {
        let dir = dir.to_str().ok_or_else(|| {
            Failure::usage("the name of the data directory is not UTF-8").hint("rename it")
        })?;
        flags.push(("data".to_owned(), dir.to_owned()));
    }
    let sources = Sources::of_process(place.config.clone(), flags);
    let checked = config::check(&sources).map_err(|error| config_failure(&error))?;
    let config = checked.config;
    match in_the_way(&config.data) {
        None => Ok(config),
        Some(found) => Err(Failure::of(&found, found.code()).hint(found.hint())),
    }
}

/// Where the node that runs on this machine with this configuration is asked what is for its operator.
fn url_of(config: &Config) -> String {
    let address = match config.http.admin_listen {
        AdminListen::At(address) => address,
        AdminListen::Off => {
            let listen = config.http.listen;
            let ip = match listen.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            SocketAddr::new(ip, listen.port())
        }
    };
    format!("http://{address}")
}

fn no_store(dir: &Path) -> Failure {
    if has_stored(dir) {
        return Failure::failed(
            "format_missing",
            format!(
                "{} has files of a store, but not the file FORMAT, which says how they are read",
                dir.display()
            ),
        )
        .hint(FORMAT_HINT);
    }
    Failure::not_found(
        "no_store",
        format!("there is no store in {}", dir.display()),
    )
    .hint("give the data directory of a node with --data")
}

/// What is wrong with the index, in words.
pub(super) fn index_trouble(dir: &Path, damage: &str) -> String {
    if has_index(dir) {
        format!("the index is damaged ({damage})")
    } else {
        "the index is not there".to_owned()
    }
}

/// That the folder of the log is missing, in words; none where it is there.
pub(super) fn log_trouble(dir: &Path) -> Option<String> {
    let missing = missing_log(dir)?;
    Some(format!(
        "the directory of the log, {}, is not there",
        missing.display()
    ))
}

/// A node runs on the folder.
fn in_use(error: perennis_store::OpenError, hint: &str) -> Failure {
    unopened(error).hint(hint)
}

fn unopened(error: perennis_store::OpenError) -> Failure {
    let error = OpenError::Store(error);
    Failure::of(&error, error.code()).hint(error.hint())
}
