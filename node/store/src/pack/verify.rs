//! Checks that a file is a pack and that all it says about its blocks is true.
//!
//! One pass over the file. Memory: the footer twice and the largest block, at most three times the largest pack together,
//! and that only for a pack that is made of links. Time: each byte is hashed under the name and under its block's multihash, and a
//! block is parsed once for each codec that has links.

use blake3::Hasher;
use perennis_shared::cid::{Cid, Codec, verify as verify_content};

use super::draft::Draft;
use super::{Entry, Footer, PackBlock, PackError, PackName};
use crate::disk::DiskFile;
use crate::frame::{align, chunk_crcs};

/// Bytes of bodies that are read at once, unless a single one has more.
const READ_BYTES: u64 = 1 << 20;

/// A pack of which everything was checked.
#[derive(Debug)]
pub(crate) struct VerifiedPack {
    /// Its name.
    pub(crate) name: PackName,
    /// Its footer.
    pub(crate) footer: Footer,
}

/// Checks a pack that somebody sent under this name, and believes nothing of it that can be checked: every rule of the format, every
/// block against its multihash, checksums and links against the blocks, and the name. Returns how many blocks it has.
///
/// What cannot be checked is whom a block belongs to, and that somebody keeps it under a codec. Memory and time are bounded by the
/// largest pack.
///
/// # Errors
/// It is wrong, and how; or the disk fails.
pub fn verify_pack(file: &dyn DiskFile, expected: PackName) -> Result<u32, PackError> {
    let pack = verify(file)?;
    if pack.name != expected {
        return Err(PackError::Name {
            expected,
            found: pack.name,
        });
    }
    Ok(pack.footer.len())
}

/// Checks a pack: every rule of the format, every block against its multihash, and checksums, links and the rest of the footer
/// against what they are when they are made anew from the blocks.
///
/// # Errors
/// It is wrong, and how; or the disk fails.
pub(crate) fn verify(file: &dyn DiskFile) -> Result<VerifiedPack, PackError> {
    let footer = Footer::read(file)?;
    let file_bytes = file.length()?;
    let mut name = Hasher::new();
    let mut draft = Draft::default();
    let (mut index, mut offset) = (0, 0);
    // The header is read with the first bodies, footer and trailer are read again at the end.
    while let Some(run) = Run::from(&footer, index, offset) {
        let length = usize::try_from(run.end - offset).unwrap_or(usize::MAX);
        let bytes = file.read_vec_at(length, offset)?;
        name.update(&bytes);
        for entry in (run.first..run.behind).filter_map(|index| footer.entry(index)) {
            check_body(&bytes, offset, &entry, &mut draft)?;
        }
        index = run.behind;
        offset = run.end;
    }
    while offset < file_bytes {
        let length = usize::try_from((file_bytes - offset).min(READ_BYTES)).unwrap_or(usize::MAX);
        name.update(&file.read_vec_at(length, offset)?);
        offset += length as u64;
    }
    draft.finish(|index, entry| {
        if entry == footer.entry_bytes(index) {
            return Ok(());
        }
        // The head is made of what was checked: what differs comes behind it.
        let hash = footer.entry(index).map(|entry| entry.hash());
        Err(PackError::Links {
            hash: Box::new(hash.unwrap_or_default()),
        })
    })?;
    let name = PackName(*name.finalize().as_bytes());
    Ok(VerifiedPack { name, footer })
}

/// Entries whose bodies are read at once, and where the last of these ends.
struct Run {
    first: u32,
    behind: u32,
    end: u64,
}

impl Run {
    /// As many as fit, at least one, from the entry `first`; none where there is none.
    fn from(footer: &Footer, first: u32, offset: u64) -> Option<Self> {
        let end = |index| {
            let entry: Entry<'_> = footer.entry(index)?;
            Some(align(u64::from(entry.offset()) + u64::from(entry.length())))
        };
        let mut run = Self {
            first,
            behind: first + 1,
            end: end(first)?,
        };
        while let Some(end) = end(run.behind).filter(|end| end - offset <= READ_BYTES) {
            run.behind += 1;
            run.end = end;
        }
        Some(run)
    }
}

/// Checks one body, and the zeros behind it, in `bytes` that begin at `start` of the file; notes what its entry must be.
fn check_body(
    bytes: &[u8],
    start: u64,
    entry: &Entry<'_>,
    draft: &mut Draft,
) -> Result<(), PackError> {
    let at = usize::try_from(u64::from(entry.offset()) - start).unwrap_or(usize::MAX);
    let body = &bytes[at..at + entry.length() as usize];
    let padding = &bytes[at + body.len()..(at + body.len()).next_multiple_of(8)];
    if padding.iter().any(|byte| *byte != 0) {
        return Err(PackError::Malformed {
            part: "bodies",
            offset: entry.offset() as usize + body.len(),
            rule: "the bytes between two bodies are not zero",
        });
    }
    let hash = entry.hash();
    verify_content(&Cid::new_v1(Codec::Raw.code(), hash), body).map_err(|source| {
        PackError::Block {
            hash: Box::new(hash),
            source,
        }
    })?;
    if !chunk_crcs(body).into_iter().eq(entry.sums()) {
        return Err(PackError::Sums {
            hash: Box::new(hash),
        });
    }
    let codecs: Vec<u64> = entry.codecs().collect();
    draft.push(
        entry.offset(),
        PackBlock {
            tag: entry.tag(),
            hash: &hash,
            codecs: &codecs,
            body,
        },
    );
    Ok(())
}
