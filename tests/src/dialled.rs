//! Whom a program dials, and all that it starts: seen by strace at the calls with which the system is asked to reach somebody.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::retry::until_ok;
use crate::skipped::skipped;

/// Calls that take the address of somebody.
const CALLS: &str = "trace=connect,sendto,sendmsg,sendmmsg";

/// The calls of one program, in a file that grows while it runs.
#[derive(Debug)]
pub struct Dialled {
    log: PathBuf,
}

impl Dialled {
    /// The command as it is run while its calls are written to `log`; `None`, and the test [`skipped`], where strace cannot do that.
    ///
    /// # Panics
    /// Where strace must not lack.
    #[must_use]
    pub fn by(command: &Command, log: &Path) -> Option<(Self, Command)> {
        let dialled = Self {
            log: log.to_owned(),
        };
        let tried = dialled.watch(&Command::new("true")).output();
        let why = match tried {
            Ok(output) if output.status.success() => {
                let watched = dialled.watch(command);
                return Some((dialled, watched));
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => format!("strace does not start: {error}"),
        };
        skipped("strace", &why);
        None
    }

    /// The program is the child of who starts the command, with its id: strace looks on from the side.
    fn watch(&self, command: &Command) -> Command {
        let mut watched = Command::new("strace");
        watched
            .args(["-D", "-f", "--seccomp-bpf", "-s", "0", "-e", CALLS])
            .args(["-e", "signal=none", "-o"])
            .arg(&self.log)
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => watched.env(name, value),
                None => watched.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            watched.current_dir(folder);
        }
        watched
    }

    /// All addresses, once the program, which has this id, has ended.
    ///
    /// # Errors
    /// Its end is not seen.
    pub fn addresses(&self, process: u32) -> Result<BTreeSet<IpAddr>> {
        let process = process.to_string();
        // `4315  +++ exited with 0 +++`
        let is_end = |line: &str| {
            let mut words = line.split_whitespace();
            words.next() == Some(process.as_str()) && words.next() == Some("+++")
        };
        let text = until_ok(|| {
            let text = fs::read_to_string(&self.log)?;
            ensure!(
                text.lines().any(is_end),
                "the end of {process} is not in {}",
                self.log.display()
            );
            Ok(text)
        })?;
        Ok(addresses_in(&text))
    }
}

fn addresses_in(text: &str) -> BTreeSet<IpAddr> {
    ["inet_addr(\"", "inet_pton(AF_INET6, \""]
        .iter()
        .flat_map(|before| text.split(before).skip(1))
        .filter_map(|rest| rest.split('"').next()?.parse::<IpAddr>().ok())
        .map(|address| address.to_canonical())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn addresses_are_read_from_every_call() {
        let text = "\
71 connect(9, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr(\"192.0.2.1\")}, 16) = 0
72 connect(9, {sa_family=AF_INET6, sin6_port=htons(9), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, \"2001:db8::1\", &sin6_addr), sin6_scope_id=0}, 28) = -1 ENETUNREACH
72 sendto(3, \"\"..., 9, MSG_NOSIGNAL, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr(\"127.0.0.1\")}, 16) = 9
72 sendmmsg(3, [{msg_hdr={msg_name={sa_family=AF_INET6, sin6_port=htons(2), inet_pton(AF_INET6, \"::ffff:127.0.0.1\", &sin6_addr)}}}], 1, 0) = 1
71 +++ exited with 0 +++
";
        let expected = ["127.0.0.1", "192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
        assert_eq!(addresses_in(text), BTreeSet::from(expected));
    }
}
