//! Log lines of this process, on stderr.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use super::failure::Failure;

/// Starts logging with a filter such as `info` or `perennis_sdk=debug`.
pub(crate) fn init(filter: &str, json: bool) -> Result<(), Failure> {
    // It writes a line at the level of errors for each message of a peer that breaks a rule: peers could fill the disk.
    let quieter = if filter.contains("gossipsub") {
        filter.to_owned()
    } else {
        format!("{filter},libp2p_gossipsub=off")
    };
    let filter = EnvFilter::try_new(quieter).map_err(|error| {
        Failure::invalid(
            "invalid_config",
            format!("log.filter {filter:?} is not a filter"),
        )
        .because(&error)
        .hint("write a level such as info, or target=level pairs")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // A second start in one process keeps the first one's settings.
    let _ = if json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
    Ok(())
}
