//! `perennis export` and `perennis import`: the whole identity as one CAR file.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use perennis_sdk::client::{CapsuleReader, CapsuleSummary};
use serde::Serialize;

use super::id::Facts;
use crate::args::{Export, Import};
use crate::context::Context;
use crate::failure::{Failure, file_failure};
use crate::files;
use crate::page::{bytes_text, count};
use crate::session::{Session, block_on, failure_of};
use crate::umask::create_named;
use crate::when::now;

/// Largest capsule that is read: far above the list of a busy person, and it fits in memory.
const CAPSULE_BYTES: usize = 1 << 30;

/// Bytes read at a time.
const PIECE_BYTES: usize = 256 * 1024;

#[derive(Serialize)]
struct ExportDocument {
    file: String,
    did: String,
    name: String,
    head: String,
    sequence: u64,
    blocks: usize,
    bytes: u64,
}

pub(crate) fn export(context: &Context<'_>, arguments: &Export) -> Result<(), Failure> {
    block_on(write(context, arguments))
}

async fn write(context: &Context<'_>, arguments: &Export) -> Result<(), Failure> {
    let path = &arguments.file;
    let to_stdout = files::is_dash(path);
    if to_stdout && context.output.is_json() {
        return Err(Failure::usage("with --json the CAR goes to a file")
            .hint("name a FILE, or leave --json out to have the CAR on stdout"));
    }
    files::Existing::unless_forced(path, arguments.force)?;
    let session = Session::open(context, &[]).await?;
    let known = session.home.expect_identity()?;
    let mut export = session.client.export().await.map_err(failure_of!())?;
    if to_stdout {
        while let Some(chunk) = export.chunk().await.map_err(failure_of!())? {
            context.output.bytes(&chunk)?;
        }
        return Ok(());
    }
    let summary: CapsuleSummary = export.summary().clone();
    let spinner = context.output.spinner("writing");
    let mut target = Target::create(path)?;
    while let Some(chunk) = export.chunk().await.map_err(failure_of!())? {
        target.write(&chunk)?;
    }
    let bytes = target.finish()?;
    spinner.finish_and_clear();
    let document = ExportDocument {
        file: path.display().to_string(),
        did: known.did,
        name: summary.name.to_string(),
        head: summary.head.to_string(),
        sequence: summary.sequence,
        blocks: summary.blocks,
        bytes,
    };
    context.output.answer(&document, |page| {
        page.fields(&[
            ("file", Some(document.file.clone())),
            ("head", Some(document.head.clone())),
            ("blocks", Some(count(document.blocks as u64, "block"))),
            ("size", Some(bytes_text(bytes))),
        ]);
    })
}

/// A file in the making beside its place; it takes the place only when it is whole and durable.
struct Target<'a> {
    path: &'a Path,
    temporary: PathBuf,
    file: File,
    bytes: u64,
    done: bool,
}

impl<'a> Target<'a> {
    fn create(path: &'a Path) -> Result<Self, Failure> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let file = create_named(&temporary).map_err(|error| file_failure("write", path, &error))?;
        Ok(Self {
            path,
            temporary,
            file,
            bytes: 0,
            done: false,
        })
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.bytes += chunk.len() as u64;
        self.file
            .write_all(chunk)
            .map_err(|error| file_failure("write", self.path, &error))
    }

    fn finish(mut self) -> Result<u64, Failure> {
        let parent = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.temporary, self.path))
            .and_then(|()| File::open(parent)?.sync_all())
            .map_err(|error| file_failure("write", self.path, &error))?;
        self.done = true;
        Ok(self.bytes)
    }
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[derive(Serialize)]
struct ImportDocument {
    file: String,
    did: String,
    name: String,
    head: String,
    sequence: u64,
    blocks: usize,
}

pub(crate) fn import(context: &Context<'_>, arguments: &Import) -> Result<(), Failure> {
    block_on(read(context, arguments))
}

async fn read(context: &Context<'_>, arguments: &Import) -> Result<(), Failure> {
    let path = &arguments.file;
    let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut source = files::open(path)?;
    let session = Session::open(context, &[]).await?;
    let bar = context.output.bar("reading", size);
    let mut capsule = CapsuleReader::new(CAPSULE_BYTES);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = source
            .read(&mut piece)
            .map_err(|error| file_failure("read", path, &error))?;
        if length == 0 {
            break;
        }
        bar.inc(length as u64);
        capsule.push(&piece[..length]).map_err(failure_of!())?;
    }
    bar.finish_and_clear();
    let summary = session
        .client
        .import(capsule)
        .await
        .map_err(failure_of!())?;
    let facts = session.client.identity().await.map_err(failure_of!())?;
    let facts =
        facts.ok_or_else(|| Failure::failed("no_identity", "the capsule has no identity"))?;
    if session.home.identity()?.is_none() {
        let facts = Facts {
            did: facts.did.to_string(),
            did_key: facts.did_key.clone(),
            ipns_name: facts.name.to_string(),
            profile: facts.profile.as_str().to_owned(),
            account: String::new(),
        };
        session.home.set_identity(&facts.known(now().to_string()))?;
    }
    let document = ImportDocument {
        file: path.display().to_string(),
        did: facts.did.to_string(),
        name: summary.name.to_string(),
        head: summary.head.to_string(),
        sequence: summary.sequence,
        blocks: summary.blocks,
    };
    context.output.answer(&document, |page| {
        page.fields(&[
            ("DID", Some(document.did.clone())),
            ("head", Some(document.head.clone())),
            ("sequence", Some(document.sequence.to_string())),
            ("blocks", Some(count(document.blocks as u64, "block"))),
        ]);
    })
}
