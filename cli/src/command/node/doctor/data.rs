//! The checks of what is on the disk: the store, the node's key, and the clock that wrote both. Nothing is changed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use perennis_node::config::Config;
use perennis_node::damage::{ROWS_HINT, Report};
use perennis_node::data_folder::{has_stored, in_the_way, key_file};
use perennis_node::keystore::{self, Keystore};
use perennis_node::{EARLIEST, KnownDamage};
use perennis_rt as rt;
use perennis_shared::error::chain;
use perennis_shared::time::Millis;
use perennis_store::{FORMAT, Inspection, OpenError, inspect};
use serde_json::Value;

use super::Check;
use crate::args::TokenArgs;
use crate::command::store::{
    FORMAT_HINT, INDEX_HINT, LOG_HINT, ask_running, index_trouble, log_trouble,
};
use crate::failure::with_cause;
use crate::page::plain;
use crate::session::block_on;
use crate::when::span_text;

/// Blocks that are read and held against their CIDs.
const SAMPLE: usize = 512;

/// How far a stored head may be ahead of the clock: two machines never agree to the second.
const TOLERANCE_MS: u64 = 60_000;

pub(super) fn check(config: &Config) -> Vec<Check> {
    if let Some(found) = in_the_way(&config.data) {
        return vec![Check::failed("store", found.to_string(), found.hint())];
    }
    let mut checks = Vec::new();
    let inspected = inspect(&config.data, SAMPLE);
    let newest = match &inspected {
        Ok(Some(found)) => found.newest_head,
        _ => None,
    };
    match inspected {
        Ok(None) if has_stored(&config.data) => checks.push(Check::warning(
            "format",
            "files of a store are there, but not the file FORMAT, which says how they are read",
            FORMAT_HINT,
        )),
        Ok(None) => checks.push(Check::ok("format", "there is no store yet")),
        Ok(Some(found)) if found.format < FORMAT => checks.push(Check::ok(
            "format",
            format!(
                "{}; the next start brings it to {FORMAT}, until then the store cannot be looked at",
                found.format
            ),
        )),
        Ok(Some(found)) => {
            checks.push(Check::ok(
                "format",
                format!("{}, which this release reads", found.format),
            ));
            match log_trouble(&config.data) {
                Some(trouble) => checks.push(Check::failed("store", trouble, LOG_HINT)),
                None => checks.extend(check_store(&config.data, found)),
            }
        }
        Err(error) => {
            checks.push(check_opening(&config.data, &error));
            if matches!(error, OpenError::Locked { .. }) {
                checks.extend(check_running(config));
            }
        }
    }
    checks.push(check_key(config));
    checks.push(check_clock(newest, rt::now()));
    checks
}

fn check_opening(data: &Path, error: &OpenError) -> Check {
    match error {
        OpenError::Locked { .. } => Check::warning(
            "running",
            "a node runs on this directory: its blocks were not sampled",
            "stop it to have its store looked at; what it knows of damage is told below",
        ),
        OpenError::NewerFormat { .. } => Check::failed(
            "format",
            error.to_string(),
            "run the version of perennis that wrote it, or a later one",
        ),
        OpenError::NotAStore { .. } => Check::failed(
            "format",
            error.to_string(),
            "give the data directory of a node, or an empty one, with --data",
        ),
        _ => match log_trouble(data) {
            Some(trouble) => Check::failed("store", trouble, LOG_HINT),
            None => Check::failed(
                "store",
                with_cause(error),
                "restore the directory from a snapshot or a copy; the blocks in its segments are still there",
            ),
        },
    }
}

/// What is stored, and what of it is damaged.
fn check_store(data: &Path, found: Inspection) -> [Check; 2] {
    match &found.index_damage {
        Some(damage) => [
            check_index(&index_trouble(data, damage), &found),
            Check::warning(
                "damage",
                "what is lost or damaged is written in the index, which cannot be read",
                "look again once the index was made anew",
            ),
        ],
        None => [
            check_blocks(&found),
            check_damage(&Report::of(&KnownDamage::at(found))),
        ],
    }
}

/// An index that cannot be read says nothing of blocks.
fn check_index(trouble: &str, found: &Inspection) -> Check {
    let counted = |count: u64, one: &str, many: &str| {
        let what = if count == 1 { one } else { many };
        format!("{count} {what}")
    };
    let message = format!(
        "{trouble}; the next start makes it anew from {} and {}, and how many blocks there are is known then",
        counted(found.checkpoints, "checkpoint", "checkpoints"),
        counted(found.segments, "file of blocks", "files of blocks"),
    );
    Check::warning("store", message, INDEX_HINT)
}

fn check_blocks(found: &Inspection) -> Check {
    const CHECK: &str = "store";
    let behind = if found.index_is_behind {
        "; the log has more, which the next start brings into the index: the node did not stop by itself"
    } else {
        ""
    };
    let sample = format!(
        "{} blocks in {} segments, {} of them read and checked{behind}",
        found.blocks, found.segments, found.sampled
    );
    if let Some(first) = found.missing_segments.first() {
        return Check::failed(
            CHECK,
            format!(
                "{sample}; {} segments are not there, the first is {:08x}.seg",
                found.missing_segments.len(),
                first.0
            ),
            "put the files back from a copy; what lies in them is fetched again only where its publisher lists a source",
        );
    }
    if let Some(group) = found.missing_group {
        return Check::failed(
            CHECK,
            format!(
                "{sample}; groups of the log up to {group} were acknowledged and are not there, which the next start tells as a loss"
            ),
            "put the files in segments back from a copy; without one, start the node, see `perennis store losses`, and publish or follow again what is missing",
        );
    }
    if found.end_is_unknown {
        return Check::failed(
            CHECK,
            format!(
                "{sample}; the file NEWEST is gone or damaged: whether groups are missing at the end of the log is not known"
            ),
            "put NEWEST back from a copy of the same moment as segments; without one, start the node, which tells it once",
        );
    }
    if let Some(first) = found.damaged.first() {
        return Check::failed(
            CHECK,
            format!(
                "{sample}; {} are damaged, the first is {first}",
                found.damaged.len()
            ),
            "look for what damaged the disk; the running node sets such blocks aside and fetches them again",
        );
    }
    Check::ok(CHECK, sample)
}

/// What was found damaged and is not mended yet.
fn check_damage(report: &Report) -> Check {
    const CHECK: &str = "damage";
    let counts = report.counts();
    if counts.is_empty() {
        return Check::ok(CHECK, "nothing is known to be damaged or lost");
    }
    let sentences = report.sentences.iter().map(|sentence| plain(sentence));
    let message = [counts.join(", ")].into_iter().chain(sentences);
    let message = message.collect::<Vec<_>>().join("; ");
    if report.losses > 0 {
        return Check::failed(
            CHECK,
            message,
            "let the owners publish again, or restore a backup; `perennis store losses` lists all of it, and with --dismiss forgets what was seen",
        );
    }
    if report.rows_set_aside > 0 {
        return Check::failed(CHECK, message, ROWS_HINT);
    }
    Check::warning(
        CHECK,
        message,
        "a running node fetches them again; name gateways that have them in pins.sources",
    )
}

/// What the node that runs on the directory knows of damage and of its clock.
fn check_running(config: &Config) -> Vec<Check> {
    let asked = block_on(async {
        let (node, damage) = ask_running(config, &TokenArgs::default()).await?;
        // A node of an earlier release says nothing of its clock.
        let status = node.expect("/v1/status").await.unwrap_or_default();
        Ok((damage, status))
    });
    let (damage, status) = match asked {
        Ok(told) => told,
        Err(failure) => {
            return vec![Check::warning(
                "damage",
                format!("the running node did not say: {}", failure.message),
                &failure.hint,
            )];
        }
    };
    let damage = match serde_json::from_value::<Report>(damage) {
        Ok(report) => check_damage(&report),
        Err(error) => Check::warning(
            "damage",
            format!("something else than this node answers at its address: {error}"),
            "ask the node with `perennis store losses --node URL`",
        ),
    };
    [damage].into_iter().chain(check_jump(&status)).collect()
}

/// A jump of the clock that the running node has seen in the last days.
fn check_jump(status: &Value) -> Option<Check> {
    let jump = &status["clock"]["lastJump"];
    let (at, seconds) = (jump["at"].as_str()?, jump["seconds"].as_u64()?);
    let direction = match jump["forward"].as_bool()? {
        true => "forward",
        false => "back",
    };
    let steady = match status["clock"]["steady"].as_str() {
        Some(steady) if steady < status["clock"]["now"].as_str()? => format!(
            "; rungs of ladders are released by a time that follows it slowly, and is {} now",
            plain(steady)
        ),
        _ => String::new(),
    };
    Some(Check::warning(
        "clock jump",
        format!(
            "it went {direction} by {} and showed {} then{steady}",
            span_text(seconds.saturating_mul(1_000)),
            plain(at)
        ),
        "if the machine did not sleep, look what sets its clock; what was put off too far is done by itself",
    ))
}

fn check_key(config: &Config) -> Check {
    const CHECK: &str = "key";
    let named = config.keystore.passphrase_file.as_deref();
    let key = match Keystore::inspect(&config.data, named) {
        Ok(Some(key)) => key,
        Ok(None) => return check_no_key(config),
        Err(error) => {
            return Check::failed(
                CHECK,
                chain(&error),
                "restore node.key and its passphrase from a backup; without them remove both files, and the node makes a new key",
            );
        }
    };
    let file = key_file(&config.data);
    let message = format!("{} holds {}", file.display(), key.did());
    if is_open_to_others(&file) {
        return Check::failed(
            CHECK,
            format!("{message}, and others than its owner may read it"),
            "chmod 600 on it, and think of the key as known",
        );
    }
    match named {
        Some(_) => Check::ok(CHECK, message),
        None => Check::warning(
            CHECK,
            format!(
                "{message}; its passphrase lies beside it, so whoever has the directory has the key"
            ),
            "set keystore.passphrase-file to a file elsewhere",
        ),
    }
}

fn check_no_key(config: &Config) -> Check {
    const CHECK: &str = "key";
    match keystore::lost_key(&config.data) {
        None => Check::ok(CHECK, "there is none yet; the node makes one"),
        Some(sign) => Check::warning(
            CHECK,
            format!(
                "{} is missing though {sign}; the next start makes a new key, and with it the node has another peer id: peers and provider records that know the old one find it no more",
                key_file(&config.data).display()
            ),
            "restore node.key and node.passphrase from a backup before the node is started",
        ),
    }
}

fn is_open_to_others(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
}

/// A clock that is wrong makes records end too early or too late.
fn check_clock(newest: Option<Millis>, now: Millis) -> Check {
    const CHECK: &str = "clock";
    if now < EARLIEST {
        return Check::failed(
            CHECK,
            format!("it is {now} here, before this release was made"),
            "set the clock, best by NTP: records would be taken for valid that have ended",
        );
    }
    match newest {
        Some(newest) if newest.0 > now.0 + TOLERANCE_MS => Check::failed(
            CHECK,
            format!("it is {now} here, but a record was stored at {newest}"),
            "set the clock, best by NTP: it was set back, or was ahead before",
        ),
        _ => Check::ok(CHECK, format!("it is {now}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_that_the_running_node_has_seen_is_told() {
        let status = |steady: &str, jump: Value| {
            serde_json::json!({"clock": {
                "now": "2026-01-02T00:00:00.000Z", "steady": steady, "lastJump": jump,
            }})
        };
        let jump = serde_json::json!({
            "at": "2026-01-02T00:00:00.000Z", "forward": true, "seconds": 8_640_000,
        });
        let told = check_jump(&status("2025-12-01T00:00:00.000Z", jump.clone())).unwrap();
        assert_eq!(told.result, "warning");
        assert!(
            told.message.contains("forward by 100 days"),
            "{}",
            told.message
        );
        assert!(told.message.contains("is 2025-12-01"), "{}", told.message);
        let followed = check_jump(&status("2026-01-02T00:00:00.000Z", jump)).unwrap();
        assert!(!followed.message.contains("rungs"), "{}", followed.message);
        let steady = "2026-01-02T00:00:00.000Z";
        assert!(check_jump(&status(steady, Value::Null)).is_none());
        assert!(check_jump(&serde_json::json!({})).is_none());
    }

    #[test]
    fn a_clock_that_cannot_be_right_is_told() {
        let now = Millis(EARLIEST.0 + 1_000_000);
        assert_eq!(check_clock(None, now).result, "ok");
        assert_eq!(check_clock(Some(now), now).result, "ok");
        assert_eq!(check_clock(None, Millis(0)).result, "failed");
        let ahead = Millis(now.0 + TOLERANCE_MS + 1);
        let check = check_clock(Some(ahead), now);
        assert_eq!(check.result, "failed");
        assert!(check.message.contains(&ahead.to_string()));
    }
}
