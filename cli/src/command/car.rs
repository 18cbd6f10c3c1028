//! `perennis car verify`: every block against its CID, and nothing linked that is missing.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::Read as _;

use perennis_shared::cid::{Cid, Multihash, VerifyError, is_identity};
use perennis_shared::codec::car::{CarError, Event, FileDecoder};
use perennis_shared::codec::{CodecError, links};
use serde::Serialize;

use crate::args::{CarCommand, CarVerify};
use crate::context::Context;
use crate::failure::{Failure, file_failure, with_cause};
use crate::files::{self, name_of};
use crate::page::{bytes_text, count};

/// Bytes read at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// Missing CIDs that are told.
const MISSING_TOLD: usize = 100;

pub(crate) fn run(context: &Context<'_>, command: &CarCommand) -> Result<(), Failure> {
    match command {
        CarCommand::Verify(arguments) => verify(context, arguments),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    valid: bool,
    reason: Option<&'static str>,
    /// 1 or 2; 0 where it is not known.
    version: u64,
    roots: Vec<String>,
    blocks: u64,
    bytes: u64,
    /// Sections of length zero, which are passed over.
    empty_sections: u64,
    missing: Vec<String>,
    /// Blocks whose links cannot be read: whether the file has what is below them is not known.
    opaque: u64,
    complete: bool,
}

/// What was found in the file so far.
#[derive(Default)]
struct CarContent {
    version: u64,
    roots: Vec<Cid>,
    /// By multihash: the same block is meant whatever version and codec a CID has.
    present: HashSet<Multihash>,
    linked: BTreeSet<Cid>,
    /// The first block whose links cannot be read, why, and how many there are.
    opaque: Option<(Cid, CodecError)>,
    opaque_blocks: u64,
    blocks: u64,
    bytes: u64,
    empty_sections: u64,
    lacks_index: bool,
}

/// Why a file is not valid: a word for programs and the cause for people.
struct Refusal {
    reason: &'static str,
    cause: String,
}

fn verify(context: &Context<'_>, arguments: &CarVerify) -> Result<(), Failure> {
    let mut found = CarContent::default();
    let refusal = read(context, arguments, &mut found)?;
    let missing: Vec<&Cid> = found
        .roots
        .iter()
        .filter(|root| !is_identity(root) && !found.linked.contains(*root))
        .chain(&found.linked)
        .filter(|cid| !found.present.contains(cid.hash()))
        .collect();
    if let Some((cid, error)) = &found.opaque {
        context.output.warn(format_args!(
            "the links of {} cannot be read, the first is {cid}: {}",
            count(found.opaque_blocks, "block"),
            with_cause(error)
        ));
    }
    if found.lacks_index && refusal.is_none() {
        context
            .output
            .warn("the index of the file is cut off; it is not needed");
    }
    let complete = refusal.is_none() && missing.is_empty() && found.opaque.is_none();
    let refusal = refusal.or_else(|| {
        (!missing.is_empty() && !arguments.partial).then(|| Refusal {
            reason: "incomplete",
            cause: format!(
                "{} linked from the file but not in it (--partial allows that)",
                if missing.len() == 1 {
                    "1 block is".to_owned()
                } else {
                    format!("{} are", count(missing.len() as u64, "block"))
                }
            ),
        })
    });
    let verdict = Verdict {
        valid: refusal.is_none(),
        reason: refusal.as_ref().map(|refusal| refusal.reason),
        version: found.version,
        roots: found.roots.iter().map(Cid::to_string).collect(),
        blocks: found.blocks,
        bytes: found.bytes,
        empty_sections: found.empty_sections,
        missing: missing
            .iter()
            .take(MISSING_TOLD)
            .map(|cid| cid.to_string())
            .collect(),
        opaque: found.opaque_blocks,
        complete,
    };
    context.output.answer(&verdict, |page| {
        let line = match &refusal {
            None => page.paint.good("valid: every block matches its CID"),
            Some(refusal) => format!("{}: {}", page.paint.bad("not valid"), refusal.cause),
        };
        page.line(line);
        page.fields(&[
            ("blocks", Some(count(verdict.blocks, "block"))),
            ("size", Some(bytes_text(verdict.bytes))),
        ]);
        for root in &verdict.roots {
            page.fields(&[("root", Some(root.clone()))]);
        }
        for cid in &verdict.missing {
            page.fields(&[("missing", Some(cid.clone()))]);
        }
    })?;
    if verdict.valid {
        Ok(())
    } else {
        Err(Failure::verdict())
    }
}

/// Reads the whole file; the first thing wrong with it ends the reading.
fn read(
    context: &Context<'_>,
    arguments: &CarVerify,
    found: &mut CarContent,
) -> Result<Option<Refusal>, Failure> {
    let size = fs::metadata(&arguments.file).map_or(0, |metadata| metadata.len());
    let mut source = files::open(&arguments.file)?;
    let bar = context
        .output
        .bar(&format!("verifying {}", name_of(&arguments.file)), size);
    let mut decoder = FileDecoder::new();
    let mut piece = vec![0; PIECE_BYTES];
    let refusal = loop {
        found.version = decoder.version();
        found.empty_sections = decoder.empty_sections();
        found.lacks_index = decoder.lacks_index();
        let length = source
            .read(&mut piece)
            .map_err(|error| file_failure("read", &arguments.file, &error))?;
        if length == 0 {
            break decoder.finish().err().map(|error| refusal_of(&error));
        }
        found.bytes += length as u64;
        bar.inc(length as u64);
        decoder.push(&piece[..length]);
        if let Err(refusal) = take_events(&mut decoder, found) {
            break Some(refusal);
        }
    };
    bar.finish_and_clear();
    // What stands behind the first fault is of the file too.
    found.bytes = found.bytes.max(size);
    Ok(refusal)
}

fn take_events(decoder: &mut FileDecoder, found: &mut CarContent) -> Result<(), Refusal> {
    while let Some(event) = decoder.next_event().map_err(|error| refusal_of(&error))? {
        match event {
            Event::Header(header) => found.roots = header.roots,
            Event::Block(block) => {
                let cid = *block.cid();
                match links(&cid, block.bytes()) {
                    Ok(links) => found.linked.extend(links),
                    // Its bytes are those of its CID. What it leads to cannot be looked for.
                    Err(error) => {
                        found.opaque_blocks += 1;
                        found.opaque.get_or_insert((cid, error));
                    }
                }
                found.present.insert(*cid.hash());
                found.blocks += 1;
            }
        }
    }
    Ok(())
}

fn refusal_of(error: &CarError) -> Refusal {
    let reason = match error {
        CarError::Truncated { .. } => "truncated",
        CarError::Version(_) => "unknown_version",
        CarError::Limit { .. } => "too_large",
        CarError::Block { source, .. } => match source {
            VerifyError::Mismatch => "cid_mismatch",
            VerifyError::HashNotAllowed { .. } | VerifyError::DigestLength { .. } => {
                "hash_not_allowed"
            }
            VerifyError::Collision => "hash_collision",
            VerifyError::TooLarge(_) => "too_large",
            _ => "bad_block",
        },
        _ => "malformed",
    };
    Refusal {
        reason,
        cause: with_cause(error),
    }
}
