//! `perennis import`: a CAR file of anybody, given to a node; or an identity that was exported, read into this home.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _, SeekFrom};
use std::path::Path;

use perennis_shared::cid::{Cid, Codec, cid_of};
use perennis_shared::codec::car::{Event, FileDecoder};
use perennis_shared::ipns::UnverifiedRecord;
use perennis_shared::limits::RECORD_BYTES;
use serde_json::{Value, json};

use super::capsule;
use super::fetch::last_step;
use super::names::problems;
use super::peers::checked_cid;
use crate::args::Import;
use crate::ask::{NodeClient, escaped};
use crate::context::Context;
use crate::failure::{Exit, Failure, file_failure};
use crate::files::{self, is_dash, name_of};
use crate::page::{Page, bytes_text, count, plain};
use crate::session::block_on;

/// The start of a file by which it is told whose it is.
const START_BYTES: u64 = 8 * 1024;

const CAR: &str = "application/vnd.ipld.car";

pub(crate) fn run(context: &Context<'_>, arguments: &Import) -> Result<(), Failure> {
    let path = &arguments.file;
    let (mut source, mut whole) = open(path)?;
    let mut start = Vec::new();
    let read = source.by_ref().take(START_BYTES).read_to_end(&mut start);
    read.map_err(|error| file_failure("read", path, &error))?;
    let is_for_node = arguments.name.is_some()
        || !arguments.roots.is_empty()
        || arguments.partial
        || arguments.node.url.is_some()
        || arguments.node.token.token_file.is_some();
    let is_identity = !is_for_node && is_capsule(path, &start, whole.as_mut())?;
    let size = match &mut whole {
        Some(file) => {
            // It was looked at to its end, and is read on from behind its start.
            let at = SeekFrom::Start(start.len() as u64);
            let found = file.seek(at).and_then(|_| file.metadata());
            Some(
                found
                    .map_err(|error| file_failure("read", path, &error))?
                    .len(),
            )
        }
        None => None,
    };
    let source = Cursor::new(start).chain(source);
    match is_identity {
        true => capsule::import(context, path, source),
        false => block_on(send(context, arguments, source, size)),
    }
}

/// A file to be read once from its beginning, and the same one to be looked at anywhere; of stdin, a pipe or a device there is no such
/// second look.
fn open(path: &Path) -> Result<(Box<dyn Read + Send>, Option<File>), Failure> {
    if is_dash(path) {
        return Ok((files::open(path)?, None));
    }
    let opened = || {
        let file = File::open(path)?;
        let whole = match file.metadata()?.is_file() {
            true => Some(file.try_clone()?),
            false => None,
        };
        Ok((Box::new(file) as Box<dyn Read + Send>, whole))
    };
    opened().map_err(|error: io::Error| file_failure("read", path, &error))
}

/// Whether a file is what `export` writes of an identity: its roots are an entry and a record, and the record is its last block. Of
/// stdin and of a pipe the end cannot be looked at, and neither can it of a file that breaks off: there the roots decide.
fn is_capsule(path: &Path, start: &[u8], whole: Option<&mut File>) -> Result<bool, Failure> {
    let mut decoder = FileDecoder::new();
    decoder.push(start);
    let header = match decoder.next_event() {
        Ok(Some(Event::Header(header))) => header,
        Ok(_) => return Ok(false),
        // No node makes anything of it either.
        Err(error) => {
            return Err(Failure::invalid(
                "invalid_car",
                format!("{} is no CAR file", name_of(path)),
            )
            .because(&error)
            .hint("give a file that `perennis export` or another IPFS program wrote; labels are read by `perennis label import`"));
        }
    };
    let [head, record] = header.roots[..] else {
        return Ok(false);
    };
    let codecs = [head.codec(), record.codec()];
    if decoder.version() != 1 || codecs != [Codec::DagCbor.code(), Codec::Raw.code()] {
        return Ok(false);
    }
    let Some(file) = whole else {
        return Ok(true);
    };
    let is_one = ends_with_record(file, &record).and_then(|ends| Ok(ends || breaks_off(file)?));
    is_one.map_err(|error| file_failure("read", path, &error))
}

/// Whether the last block of a file is this one, and a record.
fn ends_with_record(file: &mut File, record: &Cid) -> io::Result<bool> {
    let cid = record.to_bytes();
    let length = file.metadata()?.len();
    let most = (RECORD_BYTES + cid.len()) as u64;
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut end = Vec::new();
    file.take(most).read_to_end(&mut end)?;
    // It stands in the header as well.
    let place = end.windows(cid.len()).rposition(|window| window == cid);
    Ok(place.is_some_and(|at| {
        let block = &end[at + cid.len()..];
        cid_of(Codec::Raw, block) == *record && UnverifiedRecord::parse(block).is_ok()
    }))
}

/// Whether a file ends inside a section, or what stands in it is no CAR file.
fn breaks_off(file: &mut File) -> io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let mut decoder = FileDecoder::new();
    let mut piece = vec![0; 256 * 1024];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(decoder.finish().is_err());
        }
        decoder.push(&piece[..length]);
        loop {
            match decoder.next_event() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return Ok(true),
            }
        }
    }
}

async fn send(
    context: &Context<'_>,
    arguments: &Import,
    source: impl Read + Send + 'static,
    size: Option<u64>,
) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let path = request_path(arguments)?;
    if let Some(size) = size {
        expect_room(&node, size).await?;
    }
    let bar = context.output.bar(
        &format!("importing {}", name_of(&arguments.file)),
        size.unwrap_or_default(),
    );
    let sent = {
        let bar = bar.clone();
        move |bytes| bar.inc(bytes)
    };
    let done = async {
        let body = node.send_file(&path, CAR, size, source, sent).await?;
        bar.set_message("looking below the roots");
        last_step(&node, body, |step| {
            let blocks = step["blocks"].as_u64().unwrap_or_default();
            bar.set_message(format!(
                "looking below the roots: {}",
                count(blocks, "block")
            ));
        })
        .await
    }
    .await;
    bar.finish_and_clear();
    let mut done = done.map_err(|failure| next_step(failure, arguments))?;
    if let Some(fields) = done.as_object_mut() {
        fields.remove("event");
    }
    done["url"] = json!(node.url);
    done["file"] = json!(name_of(&arguments.file));
    context.output.answer(&done, |page| show(page, &done))?;
    for remark in remarks(&done) {
        context.output.warn(remark);
    }
    if done["kept"] == true || has_nothing(&done) {
        return Ok(());
    }
    Err(Failure::told(Exit::Invalid))
}

fn request_path(arguments: &Import) -> Result<String, Failure> {
    let mut query = Vec::new();
    if let Some(name) = &arguments.name {
        query.push(format!("name={}", escaped(name)));
    }
    for root in &arguments.roots {
        query.push(format!("root={}", checked_cid(root)?));
    }
    if arguments.partial {
        query.push("partial=true".to_owned());
    }
    Ok(match query.is_empty() {
        true => "/v1/imported".to_owned(),
        false => format!("/v1/imported?{}", query.join("&")),
    })
}

/// Refuses a file that is larger than the node takes, before any of it is sent.
async fn expect_room(node: &NodeClient, size: u64) -> Result<(), Failure> {
    let status = node.expect("/v1/status").await?;
    match status["limits"]["importBytes"].as_u64() {
        Some(most) if size > most => {
            let (size, most) = (bytes_text(size), bytes_text(most));
            let message = format!("the file has {size}, and the node imports at most {most}");
            Err(Failure::invalid("too_large", message)
                .hint("raise import.max-size at the node, or cut the file into several"))
        }
        _ => Ok(()),
    }
}

/// What helps where the node refused a file while it was received.
fn next_step(failure: Failure, arguments: &Import) -> Failure {
    if failure.code != "invalid_car" || arguments.partial {
        return failure;
    }
    failure.hint("nothing was pinned; --partial keeps what is sound in the file")
}

/// Whether the file is sound and has no block that could be kept.
fn has_nothing(done: &Value) -> bool {
    done["roots"].as_array().is_some_and(Vec::is_empty)
        && done["refusedBlocks"] == 0
        && done["truncated"].is_null()
}

fn show(page: &mut Page, done: &Value) {
    let number = |field: &str| done[field].as_u64().unwrap_or_default();
    let line = match done["kept"] == true {
        true => page.paint.good("imported"),
        false if has_nothing(done) => page.paint.warn("nothing to keep in"),
        false => page.paint.bad("not kept:"),
    };
    page.line(format!(
        "{line} {}, {} in {:.1} s",
        count(number("blocks"), "block"),
        bytes_text(number("bytes")),
        done["seconds"].as_f64().unwrap_or_default()
    ));
    page.fields(&[
        (
            "name",
            done["name"]
                .as_str()
                .filter(|name| !name.is_empty())
                .map(plain),
        ),
        (
            "new",
            Some(format!(
                "{}, {}",
                count(number("newBlocks"), "block"),
                bytes_text(number("newBytes"))
            )),
        ),
    ]);
    let text = |value: &Value| value.as_str().map(plain).unwrap_or_default();
    let roots = done["roots"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let rows: Vec<Vec<String>> = roots
        .iter()
        .map(|root| vec![text(&root["cid"]), text(&root["state"])])
        .collect();
    if !rows.is_empty() {
        page.table(&["ROOT", "STATE"], &rows);
        problems(page, roots, "cid");
    }
    for (field, list) in [("missing", "missing"), ("refused", "refused")] {
        for line in done[list].as_array().into_iter().flatten() {
            page.fields(&[(field, Some(text(line)))]);
        }
    }
}

/// What was left out or is wrong, a sentence for each kind.
fn remarks(done: &Value) -> Vec<String> {
    let number = |field: &str| done[field].as_u64().unwrap_or_default();
    let mut remarks = Vec::new();
    let kept = done["kept"] == true;
    if let (Some(offset), Some(section)) = (
        done["truncated"]["offset"].as_u64(),
        done["truncated"]["section"].as_u64(),
    ) {
        remarks.push(format!(
            "the file ends at byte {offset}, inside the section that begins at byte {section}: what was before that is kept"
        ));
    }
    let counted = |field| count(number(field), "block");
    if number("missingBlocks") > 0 {
        remarks.push(match kept {
            true => format!(
                "{} below the roots are missing: `perennis fetch` with a root brings them, or import a file that has them",
                counted("missingBlocks")
            ),
            false => format!(
                "{} below the roots are missing, so nothing was pinned: --partial keeps what there is",
                counted("missingBlocks")
            ),
        });
    }
    if number("refusedBlocks") > 0 {
        remarks.push(format!(
            "{} were refused and left out",
            counted("refusedBlocks")
        ));
    }
    if number("unreachedBlocks") > 0 {
        remarks.push(format!(
            "no root leads to {} of the file: they are not kept (pin them with --root CID)",
            counted("unreachedBlocks")
        ));
    }
    let is_opaque = |root: &&Value| root["state"] == "opaque";
    let opaque = done["roots"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(is_opaque);
    let opaque = opaque.count() as u64;
    if opaque > 0 {
        remarks.push(format!(
            "below {} there are blocks whose links cannot be read: what they lead to is not known, and not kept",
            count(opaque, "root")
        ));
    }
    if done["rootsFound"] == true && number("blocks") > 0 {
        remarks.push(
            "the file names no roots: those of its blocks were taken to which no other links"
                .to_owned(),
        );
    }
    if done["indexMissing"] == true {
        remarks.push("the index of the file is cut off; it is not needed".to_owned());
    }
    remarks
}

#[cfg(test)]
mod tests {
    use std::fs;

    use perennis_shared::cid::Block;
    use perennis_shared::codec::car;

    use super::*;

    fn write(content: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.car");
        fs::write(&path, content).unwrap();
        (dir, path)
    }

    fn looks_like_capsule(path: &Path, start: &[u8]) -> bool {
        is_capsule(path, start, open(path).unwrap().1.as_mut()).unwrap()
    }

    #[test]
    fn a_file_with_the_roots_of_an_identity_is_none_without_its_record() {
        let head = Block::new(Codec::DagCbor, vec![0xa0]).unwrap();
        let raw = Block::new(Codec::Raw, b"no record".to_vec()).unwrap();
        let file = car::write(&[*head.cid(), *raw.cid()], [&head, &raw]).unwrap();
        let (_dir, path) = write(&file);
        assert!(!looks_like_capsule(&path, &file));
        // One that is cut off may have been one, and is told as such.
        let cut = &file[..file.len() - 3];
        let (_dir, path) = write(cut);
        assert!(looks_like_capsule(&path, cut));
        // Of other roots it is none in any case.
        let other = car::write(&[*raw.cid(), *head.cid()], [&head, &raw]).unwrap();
        let (_dir, path) = write(&other);
        assert!(!looks_like_capsule(&path, &other[..50]));
    }
}
