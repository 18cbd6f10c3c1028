//! A user: a home directory and the commands run in it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::small_disk::SmallDisk;
use crate::{binary, schema};

/// A directory for one user: the home (which commands may delete) and files beside it.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// The command line, for messages.
    pub line: String,
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Everything on stdout.
    pub stdout: Vec<u8>,
    /// Everything on stderr.
    pub stderr: String,
}

impl Home {
    /// A new user with nothing.
    ///
    /// # Panics
    /// When no temporary directory can be made.
    #[must_use]
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// The home directory, which need not exist.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The path of a file beside the home.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file beside the home and returns its path as text.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.beside(name);
        fs::write(&path, content).expect("a temporary file");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    /// The user loses the client directory.
    ///
    /// # Panics
    /// When it cannot be deleted.
    pub fn delete(&self) {
        fs::remove_dir_all(self.path()).expect("the home can be deleted");
    }

    /// Runs a command and waits for it.
    ///
    /// # Panics
    /// When the binary does not start.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        self.run_with_input(arguments, b"")
    }

    /// Runs a command with `input` on its stdin.
    ///
    /// # Panics
    /// When the binary does not start.
    pub fn run_with_input<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Ran {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A command that refuses early closes its end: that is no failure of the test.
        let _ = stdin.write_all(input);
        drop(stdin);
        let output = child.wait_with_output().expect("the binary ends");
        Ran::new(arguments, output)
    }

    /// Runs a command with `--json` where a small disk is mounted. Paths in it are absolute.
    ///
    /// # Panics
    /// When the binary does not start.
    pub fn run_json_inside<S: AsRef<OsStr>>(&self, disk: &SmallDisk, arguments: &[S]) -> Ran {
        let mut all: Vec<&OsStr> = vec![OsStr::new("--json")];
        all.extend(arguments.iter().map(AsRef::as_ref));
        let output = disk
            .inside(&self.command(&all))
            .stdin(Stdio::null())
            .output()
            .expect("the binary starts");
        Ran::new(&all, output)
    }

    /// Runs a command with `--json`, expects exit 0 and returns its document, held against its schema.
    ///
    /// # Panics
    /// When the command fails or its document is not what the schema says.
    pub fn json<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Value {
        self.run_json(arguments).document(0, arguments)
    }

    /// Runs a command with `--json`, expects the exit code and returns the body of `error`.
    ///
    /// # Panics
    /// When the command ends otherwise, or the message or the hint is empty.
    pub fn error<S: AsRef<OsStr>>(&self, code: i32, arguments: &[S]) -> Value {
        self.run_json(arguments).error(code)
    }

    /// Runs a command with `--json`.
    ///
    /// # Panics
    /// When the binary does not start.
    pub fn run_json<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        let mut all: Vec<&OsStr> = vec![OsStr::new("--json")];
        all.extend(arguments.iter().map(AsRef::as_ref));
        self.run(&all)
    }

    /// The command, ready to start.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(binary::perennis());
        command
            .args(arguments)
            .env("PERENNIS_HOME", self.path())
            // A node that a test starts by hand dials nobody outside of this machine.
            .env("PERENNIS_P2P_BOOTSTRAP", "none")
            .env("NO_COLOR", "1")
            .current_dir(self.dir.path());
        command
    }

    /// The directory that holds the home and the files beside it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Ran {
    fn new<S: AsRef<OsStr>>(arguments: &[S], output: Output) -> Self {
        let line: Vec<_> = arguments
            .iter()
            .map(|argument| argument.as_ref().to_string_lossy())
            .collect();
        Self {
            line: line.join(" "),
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Stdout as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Expects the exit code.
    ///
    /// # Panics
    /// When the command ended otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "perennis {}\nstdout: {}\nstderr: {}",
            self.line,
            self.text(),
            self.stderr
        );
        self
    }

    /// Expects the exit code and exactly one JSON document, held against the schema of the command.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn document<S: AsRef<OsStr>>(self, code: i32, arguments: &[S]) -> Value {
        let ran = self.expect(code);
        let document = ran.one_document();
        schema::check(&schema::name_of(arguments), &document);
        document
    }

    /// Expects the exit code and one error document with a code, a message and a hint.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn error(self, code: i32) -> Value {
        let ran = self.expect(code);
        let document = ran.one_document();
        schema::check("error", &document);
        let error = document["error"].clone();
        for field in ["code", "message", "hint"] {
            assert!(
                error[field].as_str().is_some_and(|text| !text.is_empty()),
                "perennis {}: the error names no {field}: {error}",
                ran.line
            );
        }
        error
    }

    #[track_caller]
    fn one_document(&self) -> Value {
        let text = self.text();
        assert_eq!(
            text.lines().count(),
            1,
            "perennis {}: one document on one line expected, got: {text}",
            self.line
        );
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("perennis {}: {error}: {text}", self.line))
    }
}
