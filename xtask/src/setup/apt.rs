//! System packages through apt, as root or by sudo; elsewhere the commands to type.

use anyhow::{Result, bail};

use super::Need;
use crate::shell;

/// Installs the packages that meet the needs; none are needed where none of them comes from the system.
///
/// # Errors
/// This is no Debian or Ubuntu, we are neither root nor have sudo, or apt fails.
pub(super) fn install(lacking: &[Need]) -> Result<()> {
    if lacking.iter().all(|need| need.packages().is_empty()) {
        return Ok(());
    }
    if shell::which(&["apt-get"]).is_none() {
        bail!("{}", by_hand(lacking, "this system has no apt-get"));
    }
    let Some(prefix) = privilege() else {
        bail!(
            "{}",
            by_hand(lacking, "this user is not root and has no sudo")
        );
    };
    shell::run(apt(prefix).arg("update"))?;
    let packages: Vec<&str> = lacking
        .iter()
        .flat_map(|need| choose(need.packages(), is_available))
        .copied()
        .collect();
    shell::run(
        apt(prefix)
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&packages),
    )
}

/// The first set of which every package can be had, or the first.
fn choose<'a>(sets: &'a [&'a [&'a str]], available: impl Fn(&str) -> bool) -> &'a [&'a str] {
    let chosen = sets
        .iter()
        .find(|set| set.iter().all(|package| available(package)));
    chosen.or(sets.first()).copied().unwrap_or_default()
}

fn is_available(package: &str) -> bool {
    shell::output(shell::command("apt-cache").args(["policy", package]))
        .is_ok_and(|text| text.contains("Candidate:") && !text.contains("Candidate: (none)"))
}

/// What to put before `apt-get`; `None` where we may not install.
fn privilege() -> Option<&'static [&'static str]> {
    if shell::output(shell::command("id").arg("-u")).is_ok_and(|id| id.trim() == "0") {
        Some(&[])
    } else if shell::which(&["sudo"]).is_some() {
        Some(&["sudo"])
    } else {
        None
    }
}

fn apt(prefix: &[&str]) -> std::process::Command {
    let mut words = prefix.iter().copied().chain(["apt-get"]);
    let mut command = shell::command(words.next().unwrap_or("apt-get"));
    command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn by_hand(lacking: &[Need], why: &str) -> String {
    let packages: Vec<&str> = lacking
        .iter()
        .flat_map(|need| need.packages().first().copied().unwrap_or_default())
        .copied()
        .collect();
    format!(
        "{why}. Install these with your package manager, then run this command again.\n  \
         Debian, Ubuntu: sudo apt-get update && sudo apt-get install {}\n  \
         Fedora:         sudo dnf install gcc-c++ clang-devel nodejs npm chromium chromedriver\n  \
         Arch:           sudo pacman -S base-devel clang nodejs npm chromium\n  \
         macOS:          xcode-select --install && brew install llvm node chromedriver, and Chrome; \
         export LIBCLANG_PATH=$(brew --prefix llvm)/lib",
        packages.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ubuntu_gets_its_own_package_names_where_debian_s_lack() {
        let sets = Need::Browser.packages();
        assert_eq!(choose(sets, |_| true), ["chromium", "chromium-driver"]);
        assert_eq!(
            choose(sets, |name| name.contains("browser")
                || name.contains("chromedriver")),
            sets[1]
        );
        assert_eq!(choose(sets, |_| false), sets[0]);
    }

    #[test]
    fn instructions_name_exactly_what_lacks() {
        let text = by_hand(&[Need::Libclang, Need::WasmTarget], "no apt");
        assert!(text.contains("apt-get install libclang-dev\n"), "{text}");
    }
}
