//! Commands under a umask of the test's choice.

use std::process::Command;

/// The command as a shell with this umask runs it.
#[must_use]
pub fn under(umask: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", r#"umask "$1"; shift; exec "$@""#, "sh", umask])
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        shell.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}
