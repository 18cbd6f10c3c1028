//! What a command ends with when it does not end well: an exit code, a stable code for programs, the
//! cause in words and the next step.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use perennis_shared::error::{ErrorKind, Retryable, chain};
use serde::Serialize;

/// The exit codes scripts rely on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// 1: something failed that none of the others names.
    Failed = 1,
    /// 2: the command line asks for something that cannot be.
    Usage = 2,
    /// 3: a check said no.
    Invalid = 3,
    /// 4: what was asked for is not there.
    NotFound = 4,
    /// 5: not reachable now; a retry may help.
    Unreachable = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Retry => Exit::Unreachable,
            ErrorKind::Reject | ErrorKind::Corrupt => Exit::Invalid,
            ErrorKind::Fatal => Exit::Failed,
        }
    }
}

impl Exit {
    /// The exit code of every error of a part below the command line: its kind decides, but for the code for which scripts have a
    /// word of their own.
    pub(crate) fn of(kind: ErrorKind, code: &str) -> Self {
        match code {
            "not_found" => Self::NotFound,
            _ => Self::from(kind),
        }
    }
}

/// A command's failure. `message` names the cause, `hint` the next step.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    pub(crate) hint: String,
    /// The command has printed its one document already (a check's verdict): print no second one.
    pub(crate) told: bool,
}

impl Failure {
    pub(crate) fn new(
        exit: Exit,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            exit,
            code: code.into(),
            message: message.into(),
            hint: String::new(),
            told: false,
        }
    }

    pub(crate) fn failed(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, code, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    pub(crate) fn invalid(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Exit::Invalid, code, message)
    }

    pub(crate) fn not_found(
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Exit::NotFound, code, message)
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, "not_reachable", message)
    }

    /// A check said no and its verdict is printed: only the exit code remains to be told.
    pub(crate) fn verdict() -> Self {
        Self {
            told: true,
            ..Self::new(Exit::Invalid, "invalid", "")
        }
    }

    /// Like [`Failure::verdict`], with another exit code.
    pub(crate) fn told(exit: Exit) -> Self {
        Self {
            exit,
            ..Self::verdict()
        }
    }

    /// What a part of the client or the node reports. Its kind decides the exit code, its code the hint.
    pub(crate) fn of<E: Retryable + Error + 'static>(error: &E, code: &str) -> Self {
        let exit = Exit::of(error.kind(), code);
        Self::new(exit, code.to_owned(), with_cause(error)).hint(next_step(code, exit))
    }

    /// The next step for the user.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Adds the one cause at the bottom.
    pub(crate) fn because(mut self, cause: &(dyn Error + 'static)) -> Self {
        append_cause(&mut self.message, Some(cause));
        self
    }

    pub(crate) fn document(&self) -> FailureDocument<'_> {
        FailureDocument {
            error: FailureBody {
                code: &self.code,
                message: &self.message,
                hint: &self.hint,
            },
        }
    }
}

/// What failed, and the one cause at the bottom of it. What lies between them is for whoever looks into the program: it goes to
/// the log (`-v`).
pub(crate) fn with_cause(error: &(dyn Error + 'static)) -> String {
    let mut text = without_number(error.to_string());
    append_cause(&mut text, error.source());
    text
}

/// The cause at the bottom of an error alone.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    without_number(root.to_string())
}

fn append_cause(text: &mut String, cause: Option<&(dyn Error + 'static)>) {
    let Some(cause) = cause else { return };
    tracing::debug!(what = %text, because = %chain(cause), "failed");
    let root = root_cause(cause);
    if !text.contains(&root) {
        let _ = write!(text, ": {root}");
    }
}

/// A text of the system without the number that it ends with: the words say it.
fn without_number(mut text: String) -> String {
    if let Some(at) = text.rfind(" (os error ").filter(|_| text.ends_with(')')) {
        text.truncate(at);
    }
    text
}

/// What to do about a failure that a part below the command line reported.
pub(crate) fn next_step(code: &str, exit: Exit) -> &'static str {
    match code {
        "not_found" => {
            "check the DID and the --node; an identity is found once it was published there"
        }
        "no_identity" => {
            "make one with `perennis id new`, or bring yours back with `perennis restore`"
        }
        "other_identity" => "use another --home for another identity",
        "other_name" => {
            "ask for the name that it points at; `perennis resolve` shows where it leads"
        }
        "name_cycle" | "name_chain_too_long" | "no_head" => {
            "only the owner of that name can change where its record points"
        }
        "record_ended" => {
            "its owner makes it live again with `perennis publish`, after `perennis restore` where the home is lost"
        }
        "stale_record" => "somebody replays an old record: ask other nodes with --node",
        "superseded" | "contended" => "run `perennis publish` again: it merges what is newer",
        "unreachable" | "deadline" | "connection_broken" => {
            "check that the node runs (`perennis node status --node URL`) and try again"
        }
        "block_unavailable" | "no_source" => "name a node that has the blocks with --node",
        "store_in_use" => {
            "wait for the other perennis that works in this home, or use another --home"
        }
        "store_full" | "disk_full" => {
            "free space on that disk and run the command again; nothing half-written remains"
        }
        "newer_format" => "install the version that wrote it; nothing was changed",
        "state_damaged" => {
            "run `perennis home check`: it says what is lost, and with --repair goes on without it"
        }
        "store_damaged" => {
            "try once more; if it stays, move the home away and run `perennis restore`: changes that were not published have to be made again"
        }
        "block_damaged" | "block_lost" => "move the home away and run `perennis restore`",
        "store_not_opened" | "store_failed" => {
            "check that the home is a directory this user may write to"
        }
        "http_client" => "check the system's TLS certificates",
        "unpublished" | "empty_list" => "run `perennis publish` first",
        "older_than_here" => "nothing to do: this home is newer than the file",
        _ => match exit {
            Exit::Unreachable => "try again in a moment",
            Exit::NotFound => "check the spelling",
            Exit::Failed => "run it again with -vv to see more",
            Exit::Usage | Exit::Invalid => "correct the input and run it again",
        },
    }
}

/// `{"error":{"code","message","hint"}}`
#[derive(Debug, Serialize)]
pub(crate) struct FailureDocument<'a> {
    error: FailureBody<'a>,
}

#[derive(Debug, Serialize)]
struct FailureBody<'a> {
    code: &'a str,
    message: &'a str,
    hint: &'a str,
}

/// A file could not be read or written: the message names it, the hint says what to look at.
pub(crate) fn file_failure(action: &str, path: &std::path::Path, error: &io::Error) -> Failure {
    let message = format!("cannot {action} {}", path.display());
    if path.is_dir() && error.kind() != io::ErrorKind::PermissionDenied {
        let what = if action.starts_with("read") || action.starts_with("write") {
            format!("{} is a directory, and has to be a file", path.display())
        } else {
            message
        };
        return Failure::invalid("is_directory", what).hint("name a file in it");
    }
    match error.kind() {
        io::ErrorKind::NotFound => Failure::not_found("file_not_found", message)
            .because(error)
            .hint("check the path"),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Failure::failed("not_permitted", message)
                .because(error)
                .hint("choose a place this user may write to, or change its permissions")
        }
        io::ErrorKind::StorageFull => Failure::failed("disk_full", message).because(error).hint(
            "free space on that disk and run the command again; nothing half-written remains",
        ),
        io::ErrorKind::AlreadyExists => Failure::invalid("file_exists", message)
            .because(error)
            .hint("name another file; this one is left as it is"),
        _ => Failure::failed("io", message)
            .because(error)
            .hint("check the path and the disk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_the_three_fields_of_the_contract() {
        let failure = Failure::not_found("name_not_found", "no such name").hint("publish first");
        assert_eq!(
            serde_json::to_string(&failure.document()).unwrap(),
            r#"{"error":{"code":"name_not_found","message":"no such name","hint":"publish first"}}"#
        );
    }

    #[test]
    fn the_kind_decides_the_exit_code() {
        for (kind, exit) in [
            (ErrorKind::Retry, 5),
            (ErrorKind::Reject, 3),
            (ErrorKind::Corrupt, 3),
            (ErrorKind::Fatal, 1),
        ] {
            assert_eq!(Exit::from(kind) as u8, exit);
            assert_eq!(Exit::of(kind, "some_code") as u8, exit);
            assert_eq!(Exit::of(kind, "not_found") as u8, 4);
        }
    }

    /// An error with another below it.
    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl std::fmt::Display for Layer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|layer| layer as _)
        }
    }

    #[test]
    fn a_message_has_one_cause() {
        let layers = |texts: &[&'static str]| {
            let below = |below, text: &&'static str| Some(Box::new(Layer(text, below)));
            *texts.iter().rev().fold(None, below).unwrap()
        };
        for (texts, message) in [
            (&["it broke"][..], "it broke"),
            (&["it broke", "no space"], "it broke: no space"),
            (
                &["it broke", "the store failed", "no space (os error 28)"],
                "it broke: no space",
            ),
            (&["it broke: no space", "no space"], "it broke: no space"),
        ] {
            let error = layers(texts);
            assert_eq!(with_cause(&error), message, "{texts:?}");
            let failure = Failure::failed("x", "cannot").because(&error);
            assert_eq!(
                failure.message.matches(": ").count(),
                1,
                "{}",
                failure.message
            );
        }
    }

    #[test]
    fn a_missing_file_is_not_found() {
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        let failure = file_failure("read", std::path::Path::new("/x"), &error);
        assert_eq!(failure.exit, Exit::NotFound);
        assert!(failure.message.contains("/x"));
    }
}
