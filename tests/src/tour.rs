//! The tour: the real binary, run as a user runs it, on a list of real size.
//!
//! Every step shows its command, what the command says, and how long it took. What must hold in the end is
//! checked, so that a tour that ends well has proved it: the head that was published is the head that is restored and
//! the head that is resolved after a `kill -9` of the node.
#![allow(
    clippy::print_stdout,
    reason = "the tour shows a person what a person would see"
)]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::binary;
use crate::document::{NewIdentity, Published, Resolved};
use crate::node::Node;
use crate::process;

/// The list that is imported.
const LABELS: &str = "docs/tour/labels.csv";

/// What the page for a browser cannot do without.
const MODULE: &str = "/page/pkg/index.js";

/// Takes the tour. `--keep` leaves the node running in the foreground at the end, `--dir DIR`
/// puts everything there instead of below the target folder.
///
/// # Errors
/// A step fails, or something that must hold does not.
pub fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let mut tour = Tour::prepare(options.dir)?;
    let start = Instant::now();
    tour.take()?;
    tour.summary(start.elapsed());
    tour.end(options.keep)
}

struct Options {
    keep: bool,
    dir: PathBuf,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            keep: false,
            dir: binary::target().join("tour"),
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--keep" => options.keep = true,
                "--dir" => {
                    let dir = arguments.next().context("--dir takes a directory")?;
                    options.dir = std::path::absolute(dir)?;
                }
                other => bail!("the tour does not know {other}: it takes --keep and --dir DIR"),
            }
        }
        Ok(options)
    }
}

struct Tour {
    dir: PathBuf,
    node: Option<Node>,
    times: Vec<(&'static str, Duration)>,
}

impl Tour {
    /// An empty directory to work in. One that holds something else than a former tour is left alone.
    fn prepare(dir: PathBuf) -> Result<Self> {
        const MARK: &str = "this-is-a-tour";
        if dir.exists() {
            let empty = fs::read_dir(&dir)?.next().is_none();
            ensure!(
                empty || dir.join(MARK).exists(),
                "{} is not empty and no former tour: give another --dir",
                dir.display()
            );
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        File::create(dir.join(MARK))?;
        Ok(Self {
            dir,
            node: None,
            times: Vec::new(),
        })
    }

    fn take(&mut self) -> Result<()> {
        self.step("start a node", |tour| tour.start_node("127.0.0.1:0"))?;
        let did = self.step("make an identity", Self::make_identity)?.did;

        let labels = binary::workspace().join(LABELS);
        let labels = labels.to_str().context("a path in UTF-8")?.to_owned();
        self.step("look at what an import would change", |tour| {
            tour.user(&["label", "import", &labels, "--dry-run"])
        })?;
        self.step("import a list of labels", |tour| {
            tour.user(&["label", "import", &labels])
        })?;
        self.step("add one label", |tour| {
            let note = "answers questions";
            tour.user(&[
                "label",
                "add",
                "@alice",
                "helpful",
                "--note",
                note,
                "--expires",
                "90d",
            ])
        })?;
        let url = self.url()?;
        let passphrase = self.passphrase_file()?;
        let published: Published = self.step("publish: sign once, store durably", |tour| {
            tour.user_json(&["publish", "--node", &url, "--passphrase-file", &passphrase])
        })?;
        self.step("resolve, as anybody can", |tour| {
            tour.user(&["resolve", &did, "--node", &url])
        })?;
        self.step("list a part of it", |tour| {
            tour.user(&["label", "list", "--prefix", "@am", "--limit", "5"])
        })?;
        let admin = self.node.as_ref().context("a node runs")?.admin();
        let admin = admin.to_owned();
        self.step("ask the node how it is", |tour| {
            tour.user(&["node", "status", "--node", &admin])?;
            tour.user(&["name", "list", "--node", &admin])
        })?;

        self.step("lose everything: delete the client's directory", |tour| {
            tour.delete_home()
        })?;
        let restored: Published = self.step("restore from the passphrase alone", |tour| {
            tour.user_json(&["restore", "--node", &url, "--passphrase-file", &passphrase])
        })?;
        ensure!(
            restored.head == published.head,
            "the restored head is not the published one"
        );

        self.step("kill -9 the node, and start it again", |tour| {
            tour.kill_node()?;
            let address = url.trim_start_matches("http://").to_owned();
            tour.start_node(&address)
        })?;
        let resolved: Resolved = self.step("resolve again", |tour| {
            tour.user_json(&["resolve", &did, "--node", &url])
        })?;
        ensure!(
            resolved.head == published.head && resolved.source != "local",
            "the node lost what it had acknowledged"
        );
        let capsule = self.path("me.car")?;
        self.step("put the whole identity into one file", |tour| {
            tour.user(&["export", &capsule])?;
            tour.user(&["car", "verify", &capsule])
        })?;
        Ok(())
    }

    /// Runs a step, tells how long it took and keeps that for the summary.
    fn step<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        println!("\n── {name}");
        let start = Instant::now();
        let result = work(self).with_context(|| format!("the tour stopped at: {name}"))?;
        let time = start.elapsed();
        println!("   {:.2} s", time.as_secs_f64());
        self.times.push((name, time));
        Ok(result)
    }

    fn start_node(&mut self, listen: &str) -> Result<()> {
        let data = self.dir.join("node-data");
        let log = self.dir.join("node.log");
        // As all that run a node here: it dials nobody outside of this machine.
        println!(
            "$ perennis node run --data {} --listen {listen} --bootstrap none &",
            data.display()
        );
        let mut command = Node::command(&data, None, listen);
        command.stderr(File::options().create(true).append(true).open(&log)?);
        let node =
            Node::launch(command, &data).with_context(|| format!("see {}", log.display()))?;
        println!("the node serves {}", node.url());
        self.node = Some(node);
        Ok(())
    }

    fn kill_node(&mut self) -> Result<()> {
        let mut node = self.node.take().context("a node runs")?;
        println!("$ kill -9 {}", node.process_id());
        node.kill();
        Ok(())
    }

    /// A passphrase is made and shown once. The tour keeps it in a file, which stands for a person's paper.
    fn make_identity(&mut self) -> Result<NewIdentity> {
        let identity: NewIdentity = self.user_json(&["id", "new", "--generate"])?;
        let passphrase = identity.passphrase.as_ref().context("no passphrase")?;
        fs::write(self.passphrase_file()?, passphrase)?;
        Ok(identity)
    }

    fn url(&self) -> Result<String> {
        Ok(self.node.as_ref().context("a node runs")?.url().to_owned())
    }

    fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    fn delete_home(&self) -> Result<()> {
        println!("$ rm -r {}", self.home().display());
        fs::remove_dir_all(self.home()).context("the client's directory")
    }

    fn path(&self, file: &str) -> Result<String> {
        let path = self.dir.join(file);
        Ok(path.to_str().context("a path in UTF-8")?.to_owned())
    }

    fn passphrase_file(&self) -> Result<String> {
        self.path("passphrase.txt")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        println!("$ perennis {}", arguments.join(" "));
        let mut command = process::command(binary::perennis());
        command.args(arguments).env("PERENNIS_HOME", self.home());
        command
    }

    /// Runs a command for people to see.
    fn user(&self, arguments: &[&str]) -> Result<()> {
        let status = self.command(arguments).status()?;
        ensure!(
            status.success(),
            "perennis {} failed: {status}",
            arguments[0]
        );
        Ok(())
    }

    /// Runs a command with `--json`, shows its fields and returns those that are read.
    fn user_json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let output = self
            .command(arguments)
            .arg("--json")
            .stderr(Stdio::inherit())
            .output()?;
        let document: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("perennis {} printed no document", arguments[0]))?;
        for (field, value) in document.as_object().into_iter().flatten() {
            match value {
                Value::String(value) => println!("   {field:<12}{value}"),
                value => println!("   {field:<12}{value}"),
            }
        }
        ensure!(
            output.status.success(),
            "perennis {} failed: {}",
            arguments[0],
            output.status
        );
        serde_json::from_value(document).context("a document of another kind")
    }

    fn summary(&self, whole: Duration) {
        println!("\n── the tour in numbers");
        for (name, time) in &self.times {
            println!("   {:>8.2} s  {name}", time.as_secs_f64());
        }
        println!("   {:>8.2} s  altogether", whole.as_secs_f64());
    }

    /// Whether the browser's module is built into the program.
    fn serves_page(&self) -> bool {
        let node = self.node.as_ref();
        node.is_some_and(|node| node.request("GET", MODULE, &[], b"").status == 200)
    }

    fn end(mut self, keep: bool) -> Result<()> {
        let url = self.url()?;
        if self.serves_page() {
            println!("\n   The page for a browser: {url}/page/");
        } else {
            println!(
                "\n   This node has no page for a browser; `cargo xtask demo --page` builds it in."
            );
        }
        if !keep {
            println!("   The node stops now; `cargo xtask demo --keep` leaves it running.");
            return Ok(());
        }
        println!("   Everything is in {}", self.dir.display());
        println!("   The node runs on; stop it with Ctrl-C.");
        if let Some(node) = &mut self.node {
            node.wait();
        }
        Ok(())
    }
}
