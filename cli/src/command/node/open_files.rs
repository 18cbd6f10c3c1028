//! How many files this process may have open. The store holds each of its segments open, RocksDB its tables, and each connection
//! takes one; systems start a process with 1,024 though they allow it far more. So the node takes what it is allowed, as Kubo does.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// No more is asked for: some systems allow a thousand million, and keep room for each.
const MOST: u64 = 1 << 20;

/// What systems take that refuse more without saying so in the hard limit.
const FALLBACK: u64 = 10_240;

/// Raises the soft limit as far as the hard one allows. Says in the log what came of it.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    for files in targets(limit) {
        let raised = Rlimit {
            current: Some(files),
            maximum: limit.maximum,
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => {
                tracing::info!(before, files, "the limit of open files was raised");
                return;
            }
            Err(error) => {
                tracing::debug!(files, %error, "the limit of open files could not be raised");
            }
        }
    }
}

/// How many files the node can have open once it has raised the limit; none where there is no limit.
pub(super) fn reachable() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = targets(limit).into_iter().next();
    limit.current.map(|current| raised.unwrap_or(current))
}

/// What to do where a failure comes of too many open files; none where it comes of something else. RocksDB and libp2p pass on what the
/// system said in words only.
pub(super) fn hint_at(message: &str) -> Option<&'static str> {
    let is_told = ["Too many open files", "No file descriptors available"];
    let is_told = is_told.iter().any(|words| message.contains(words));
    is_told.then_some(HINT)
}

/// How the limit is raised.
pub(super) const HINT: &str =
    "raise the hard limit: ulimit -Hn 65536, or LimitNOFILE in the service file";

/// The limits to try, each of them higher than the present one.
fn targets(limit: Rlimit) -> Vec<u64> {
    let Some(current) = limit.current else {
        return Vec::new();
    };
    let allowed = limit.maximum.unwrap_or(MOST).min(MOST);
    let mut targets = vec![allowed, allowed.min(FALLBACK)];
    targets.dedup();
    targets.retain(|files| *files > current);
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_named_only_where_it_is_the_cause() {
        let told = hint_at("the index cannot be opened: IO error: Too many open files");
        assert_eq!(told, Some(HINT));
        assert_eq!(
            hint_at("the index cannot be opened: Permission denied"),
            None
        );
    }

    #[test]
    fn a_limit_is_raised_to_what_is_allowed_and_never_lowered() {
        let targets = |current, maximum| targets(Rlimit { current, maximum });
        assert_eq!(targets(Some(1_024), Some(4_096)), [4_096]);
        assert_eq!(targets(Some(1_024), Some(524_288)), [524_288, FALLBACK]);
        assert_eq!(targets(Some(1_024), None), [MOST, FALLBACK]);
        assert_eq!(targets(Some(20_000), Some(1 << 30)), [MOST]);
        assert_eq!(targets(Some(4_096), Some(4_096)), [0; 0]);
        assert_eq!(targets(Some(1 << 21), Some(1 << 30)), [0; 0]);
        assert_eq!(targets(None, None), [0; 0]);
    }
}
