//! `perennis name follow` and `name unfollow`: keeping somebody else's name alive.
//!
//! Record and blocks can come from files: then nobody has to be reachable. A CAR file of any size is sent in parts,
//! in the order of the file, so that nothing below a block is sent before it where the file has parents first.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use perennis_rt::http::Request;
use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec;
use perennis_shared::codec::car::{CarError, Event, FileDecoder, Writer};
use perennis_shared::ipns::{Name, PathRoot, Record, UnverifiedRecord};
use perennis_shared::limits::RECORD_BYTES;
use serde::Serialize;

use super::{tell, warn_of_problem};
use crate::args::{NameFollow, NameUnfollow};
use crate::ask::{NodeClient, escaped};
use crate::context::Context;
use crate::failure::{Failure, file_failure, with_cause};
use crate::files::{self, name_of};
use crate::output::Output;
use crate::session::parse_name;
use crate::when::now;

/// Bytes of blocks that are sent in one part, and at most with one block more.
const PART_BYTES: usize = 8 << 20;

/// Bytes of a file read at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// Blocks whose links cannot be read, of which each is told.
const OPAQUE_TOLD: usize = 8;

/// How long the node may take to find a record, or to store a part.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn follow(context: &Context<'_>, arguments: &NameFollow) -> Result<(), Failure> {
    let name = parse_name(&arguments.name)?;
    let node = NodeClient::of_operator(&arguments.node)?;
    let ask = Ask {
        node,
        name,
        sources: &arguments.sources,
    };
    let record = match &arguments.record {
        Some(file) => Some(read_record(file, &name)?),
        None => None,
    };
    let body = match (&arguments.car, record) {
        (None, None) => ask.put(None, false).await?,
        (None, Some(record)) => {
            let kind = "application/vnd.ipfs.ipns-record";
            ask.put(Some((kind, record.bytes().clone())), false).await?
        }
        (Some(file), record) => ask.put_file(file, record, context.output).await?,
    };
    tell(context, &body)?;
    warn_of_problem(context, &body);
    Ok(())
}

#[derive(Serialize)]
struct UnfollowedDocument {
    url: String,
    name: String,
    followed: bool,
}

pub(super) async fn unfollow(
    context: &Context<'_>,
    arguments: &NameUnfollow,
) -> Result<(), Failure> {
    let name = parse_name(&arguments.name)?;
    let node = NodeClient::of_operator(&arguments.node)?;
    let request = Request::delete(node.at(&format!("/v1/names/{name}")));
    node.change(request).await?;
    let document = UnfollowedDocument {
        url: node.url,
        name: name.to_string(),
        followed: false,
    };
    context.output.answer(&document, |page| {
        page.line(format!("{name} is no longer followed"));
    })
}

/// Whom to ask for what.
struct Ask<'a> {
    node: NodeClient,
    name: Name,
    sources: &'a [String],
}

impl Ask<'_> {
    async fn put(
        &self,
        body: Option<(&'static str, Bytes)>,
        has_more: bool,
    ) -> Result<serde_json::Value, Failure> {
        let mut query: Vec<String> = self
            .sources
            .iter()
            .map(|url| format!("source={}", escaped(url)))
            .collect();
        if has_more {
            query.push("more=true".to_owned());
        }
        let mark = if query.is_empty() { "" } else { "?" };
        let path = format!("/v1/names/{}{mark}{}", self.name, query.join("&"));
        let (kind, body) = body.unwrap_or(("application/octet-stream", Bytes::new()));
        let request = Request::put(self.node.at(&path), kind, body).within(PATIENCE);
        self.node.change(request).await
    }

    /// Sends the blocks of a CAR file, part after part, each with the record.
    async fn put_file(
        &self,
        file: &Path,
        record: Option<Record>,
        output: &Output,
    ) -> Result<serde_json::Value, Failure> {
        let record = match record {
            Some(record) => record,
            None => find_record(file, &self.name)?,
        };
        let head = root_of(&record)?;
        let mut parts = Parts::open(file)?;
        let mut part = parts.next(&record)?;
        let mut opaque = 0;
        loop {
            for block in &part {
                if let Err(error) = codec::links(block.cid(), block.bytes()) {
                    opaque += 1;
                    if opaque <= OPAQUE_TOLD {
                        output.warn(format_args!(
                            "the links of block {} cannot be read ({error}): the node keeps it, but nothing that is below it alone",
                            block.cid()
                        ));
                    }
                }
            }
            let next = match parts.next(&record)? {
                next if next.is_empty() => None,
                next => Some(next),
            };
            let car = write_part(&head, &record, &part).map_err(|error| unusable(file, &error))?;
            let kind = "application/vnd.ipld.car";
            let body = self.put(Some((kind, car)), next.is_some()).await?;
            match next {
                Some(next) => part = next,
                None if opaque > OPAQUE_TOLD => {
                    let more = opaque - OPAQUE_TOLD;
                    output.warn(format_args!("and of {more} more blocks"));
                    return Ok(body);
                }
                None => return Ok(body),
            }
        }
    }
}

/// The root of what the record points at.
fn root_of(record: &Record) -> Result<Cid, Failure> {
    let no_head =
        |cause: String, hint: &str| Err(Failure::invalid("no_head", cause).hint(hint.to_owned()));
    let alone = "give --record alone: there is nothing below it to keep";
    match record.content_path() {
        Ok(path) => match path.root {
            PathRoot::Cid(root) => Ok(root),
            PathRoot::Name(name) => no_head(
                format!("the record points at another name, {path}"),
                &format!(
                    "give --record alone: the node follows {name} for it; blocks go with that name's own record"
                ),
            ),
            PathRoot::Domain => no_head(
                format!("the record points at a domain, {path}, which is not followed"),
                alone,
            ),
        },
        Err(error) => {
            let value = String::from_utf8_lossy(record.value()).into_owned();
            no_head(
                format!("the record points at {value:?}, which is no content path: {error}"),
                alone,
            )
        }
    }
}

fn read_record(file: &Path, name: &Name) -> Result<Record, Failure> {
    let bytes = files::read_start(file, RECORD_BYTES as u64 + 1)?;
    verify(&bytes, name)
}

fn verify(bytes: &[u8], name: &Name) -> Result<Record, Failure> {
    let record = UnverifiedRecord::parse(bytes).and_then(|record| record.verify(name, now()));
    record.map_err(|error| {
        Failure::invalid(error.code(), with_cause(&error))
            .hint("`perennis record verify FILE --name NAME` tells more")
    })
}

/// The record in a file of the form of an export: the block that its second root names.
fn find_record(file: &Path, name: &Name) -> Result<Record, Failure> {
    let mut parts = Parts::open(file)?;
    let absent = || {
        Failure::invalid("no_record", format!("{} holds no record", name_of(file)))
            .hint("give the record with --record")
    };
    let first = parts.block()?;
    let wanted = match parts.roots.as_slice() {
        [_, record, ..] if record.codec() == Codec::Raw.code() => *record,
        _ => return Err(absent()),
    };
    let mut next = first;
    while let Some(block) = next {
        if *block.cid() == wanted {
            return verify(block.bytes(), name);
        }
        next = parts.block()?;
    }
    Err(absent())
}

fn write_part(head: &Cid, record: &Record, blocks: &[Block]) -> Result<Bytes, CarError> {
    let record = Block::new(Codec::Raw, record.bytes().clone())
        .expect("the limit of a record is far below that of a block");
    let mut writer = Writer::new(&[*head, *record.cid()])?;
    for block in blocks {
        writer.push(block);
    }
    writer.push(&record);
    Ok(writer.take().into())
}

/// The blocks of a CAR file, each checked against its CID, in parts.
struct Parts<'a> {
    file: &'a Path,
    reader: Box<dyn std::io::Read>,
    decoder: FileDecoder,
    roots: Vec<Cid>,
    is_over: bool,
    is_checked: bool,
}

impl<'a> Parts<'a> {
    fn open(file: &'a Path) -> Result<Parts<'a>, Failure> {
        if files::is_dash(file) {
            return Err(Failure::usage("--car needs a file that can be read twice"));
        }
        Ok(Parts {
            file,
            reader: files::open(file)?,
            decoder: FileDecoder::new(),
            roots: Vec::new(),
            is_over: false,
            is_checked: false,
        })
    }

    /// The next blocks, without the record itself; none at the end.
    fn next(&mut self, record: &Record) -> Result<Vec<Block>, Failure> {
        let mut part = Vec::new();
        let mut bytes = 0;
        while bytes < PART_BYTES {
            let Some(block) = self.block()? else { break };
            if block.bytes() != record.bytes() {
                bytes += block.bytes().len();
                part.push(block);
            }
        }
        Ok(part)
    }

    fn block(&mut self) -> Result<Option<Block>, Failure> {
        loop {
            match self.decoder.next_event() {
                Err(error) => return Err(unusable(self.file, &error)),
                Ok(Some(Event::Header(header))) => self.roots = header.roots,
                Ok(Some(Event::Block(block))) => return Ok(Some(block)),
                Ok(None) if self.is_checked => return Ok(None),
                Ok(None) if self.is_over => {
                    self.is_checked = true;
                    let whole = std::mem::take(&mut self.decoder).finish();
                    whole.map_err(|error| unusable(self.file, &error))?;
                    return Ok(None);
                }
                Ok(None) => self.read()?,
            }
        }
    }

    fn read(&mut self) -> Result<(), Failure> {
        let mut piece = vec![0; PIECE_BYTES];
        let length = self
            .reader
            .read(&mut piece)
            .map_err(|error| file_failure("read", self.file, &error))?;
        self.decoder.push(&piece[..length]);
        self.is_over = length == 0;
        Ok(())
    }
}

fn unusable(file: &Path, error: &CarError) -> Failure {
    Failure::invalid(
        "invalid_car",
        format!("{} is no valid CAR file", name_of(file)),
    )
    .because(error)
    .hint("`perennis car verify` tells more")
}
