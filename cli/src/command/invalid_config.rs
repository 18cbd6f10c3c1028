//! A configuration that cannot be used, as every command that reads one tells it.

use perennis_node::config::ConfigError;

use crate::failure::Failure;

/// All its problems, and what to write instead of the first.
pub(super) fn config_failure(error: &ConfigError) -> Failure {
    let first = error.problems.first();
    Failure::of(error, "invalid_config").hint(first.map_or_else(
        || "run `perennis config check FILE`".to_owned(),
        |problem| problem.fix.clone(),
    ))
}
