//! The whole identity as one CAR file, written and read.

use std::fs;
use std::io::Read;
use std::path::Path;

use perennis_sdk::client::{CapsuleReader, CapsuleSummary};
use serde::Serialize;

use super::id::Facts;
use crate::context::Context;
use crate::failure::{Failure, file_failure};
use crate::files::{Existing, Target, is_dash};
use crate::page::{bytes_text, count};
use crate::session::{Session, block_on, failure_of};
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

pub(super) fn export(context: &Context<'_>, path: &Path, force: bool) -> Result<(), Failure> {
    block_on(write(context, path, force))
}

async fn write(context: &Context<'_>, path: &Path, force: bool) -> Result<(), Failure> {
    let to_stdout = is_dash(path);
    if to_stdout && context.output.is_json() {
        return Err(Failure::usage("with --json the CAR goes to a file")
            .hint("name a FILE, or leave --json out to have the CAR on stdout"));
    }
    Existing::unless_forced(path, force)?;
    let session = Session::open_to_read(context, &[]).await?;
    let known = session.home.expect_identity()?;
    let mut export = session.client.export().await.map_err(failure_of!())?;
    let summary: CapsuleSummary = export.summary().clone();
    let spinner = context.output.spinner("writing");
    let mut target = Target::create(path)?;
    while let Some(chunk) = export.chunk().await.map_err(failure_of!())? {
        target.write(&chunk)?;
    }
    let bytes = target.finish()?;
    spinner.finish_and_clear();
    if to_stdout {
        return Ok(());
    }
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

#[derive(Serialize)]
struct ImportDocument {
    file: String,
    did: String,
    name: String,
    head: String,
    sequence: u64,
    blocks: usize,
}

/// Reads the capsule that a source has, which came from this path.
pub(super) fn import(context: &Context<'_>, path: &Path, source: impl Read) -> Result<(), Failure> {
    block_on(read(context, path, source))
}

async fn read(context: &Context<'_>, path: &Path, mut source: impl Read) -> Result<(), Failure> {
    let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
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
