//! A disk that really runs full: a tmpfs of a few MiB in a mount namespace of its own.
//!
//! A holder process keeps the namespace alive; programs enter it, and the test reaches the files through the holder's
//! root. Nothing is mounted for anybody else and no privilege is needed where the system lets users make
//! namespaces; where it does not, the test is [`skipped`].

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::skipped::skipped;

/// A small disk at a path that only programs started [`inside`](SmallDisk::inside) see.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Child,
    at: PathBuf,
}

impl SmallDisk {
    /// A disk of `mib` MiB at the directory `at`; `None`, and the test [`skipped`], where this system lets nobody mount one.
    ///
    /// # Panics
    /// When the directory cannot be made, or where a small disk must not lack.
    #[must_use]
    pub fn new(at: &Path, mib: u32) -> Option<Self> {
        Self::with_options(at, &format!("size={mib}m,mode=0700"))
    }

    /// A disk at the directory `at` that nobody can write to, not even root.
    ///
    /// # Panics
    /// As [`SmallDisk::new`].
    #[must_use]
    pub fn read_only(at: &Path) -> Option<Self> {
        Self::with_options(at, "ro,size=1m")
    }

    /// What a directory holds, where nobody can write to it, not even root.
    ///
    /// # Panics
    /// As [`SmallDisk::new`].
    #[must_use]
    pub fn of_read_only(directory: &Path) -> Option<Self> {
        let bind = "mount --bind \"$2\" \"$2\" && mount -o \"$1\" \"$2\"";
        Self::with_mount(directory, bind, "remount,bind,ro")
    }

    fn with_options(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a directory to mount on");
        Self::with_mount(at, "mount -t tmpfs -o \"$1\" tmpfs \"$2\"", options)
    }

    fn with_mount(at: &Path, mount: &str, options: &str) -> Option<Self> {
        match Self::mount(at, mount, options) {
            Ok(disk) => Some(disk),
            Err(error) => {
                skipped("small-disk", &format!("{error:#}"));
                None
            }
        }
    }

    fn mount(at: &Path, mount: &str, options: &str) -> Result<Self> {
        let script = format!("{mount} && echo mounted && read -r _");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount"])
            .args(["sh", "-c", &script, "sh", options])
            .arg(at)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("unshare does not start")?;
        let stdout = holder.stdout.take().context("stdout is piped")?;
        let mut stderr = holder.stderr.take().context("stderr is piped")?;
        let disk = Self {
            holder,
            at: at.to_owned(),
        };
        let mut told = String::new();
        BufReader::new(stdout).read_line(&mut told)?;
        if told != "mounted\n" {
            // It has ended, or its pipe would be open without a word.
            stderr.read_to_string(&mut told)?;
            bail!("no small disk can be mounted: {}", told.trim());
        }
        let entered = disk.inside(&Command::new("true")).output();
        let entered = entered.context("nsenter does not start")?;
        let said = String::from_utf8_lossy(&entered.stderr);
        ensure!(
            entered.status.success(),
            "no program can enter a small disk: {}",
            said.trim()
        );
        Ok(disk)
    }

    /// The command as it is run where the disk is mounted. Relative paths in it have no meaning there.
    #[must_use]
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside
            .args(["--preserve-credentials", "--user", "--mount", "--target"])
            .arg(self.holder.id().to_string())
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Where the disk is for programs inside.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Writes a file until nothing more fits; gives its size in bytes.
    ///
    /// # Panics
    /// When something else than a full disk stops it.
    pub fn fill(&self) -> u64 {
        let mut filler = File::options()
            .create(true)
            .append(true)
            .open(self.filler())
            .expect("a file on the small disk");
        let mut piece = vec![0; 1 << 20];
        loop {
            match filler.write(&piece) {
                Ok(_) => {}
                // The last bytes fit in smaller pieces.
                Err(error) if error.kind() == ErrorKind::StorageFull && piece.len() > 1 => {
                    piece.truncate(piece.len() / 2);
                }
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
        filler.metadata().expect("the filler's size").len()
    }

    /// Takes the filling away again.
    ///
    /// # Panics
    /// When it cannot be removed.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).expect("the filler can be removed");
    }

    /// A path of the disk as this process reaches it.
    #[must_use]
    pub fn reached(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn filler(&self) -> PathBuf {
        self.reached(&self.at.join("filler"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Programs inside keep what they have open; the disk goes with the last of them.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
