//! `perennis export`: the identity of this home, or the DAG below a CID, as one CAR file.

use std::collections::HashSet;
use std::path::Path;

use perennis_sdk::store::BlockStore;
use perennis_shared::cid::{Block, Cid, is_identity};
use perennis_shared::codec;
use perennis_shared::codec::car::{CarError, Decoder, Event, Writer};
use perennis_shared::ipns::{ContentPath, Name, PathRoot, RecordError, UnverifiedRecord};
use perennis_shared::limits::{NAME_CHAIN, RECORD_BYTES};
use perennis_shared::uri;
use serde::Serialize;

use super::capsule;
use crate::args::Export;
use crate::ask::{NodeClient, escaped};
use crate::context::Context;
use crate::failure::{Failure, with_cause};
use crate::files::{Existing, Target, is_dash, name_of};
use crate::page::{bytes_text, count};
use crate::session::{Session, block_on, failure_of};
use crate::when::now;

/// Names through which a path may lead.
const NAMES: usize = NAME_CHAIN;

/// Bytes of blocks that are written at once.
const CHUNK_BYTES: usize = 256 << 10;

pub(crate) fn run(context: &Context<'_>, arguments: &Export) -> Result<(), Failure> {
    let what = arguments.what.to_str().and_then(Content::parse);
    match what {
        Some(content) => block_on(export(context, arguments, &content)),
        None if is_content_path(&arguments.what) => {
            let message = format!(
                "{} begins with neither a CID nor a name",
                arguments.what.display()
            );
            Err(Failure::usage(message).hint("give a CID, /ipfs/CID/path or /ipns/NAME/path"))
        }
        None if !is_dash(&arguments.output) || arguments.node.url.is_some() => {
            let message = format!("{} is no CID", arguments.what.display());
            Err(Failure::usage(message).hint(
                "--output and --node go with a CID; the identity of this home is written with `perennis export FILE`",
            ))
        }
        None => capsule::export(context, &arguments.what, arguments.force),
    }
}

fn is_content_path(what: &Path) -> bool {
    let text = what.to_string_lossy();
    ["/ipfs/", "/ipns/", "ipfs://", "ipns://"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// Where a DAG begins, and a path below that.
#[derive(Clone, Debug, PartialEq)]
struct Content {
    root: PathRoot,
    /// Its segments as they stand in a URL; none where the root itself is meant.
    segments: Vec<String>,
}

impl Content {
    fn parse(text: &str) -> Option<Content> {
        if let Ok(cid) = uri::parse_cid(text) {
            return Some(Content {
                root: PathRoot::Cid(cid),
                segments: Vec::new(),
            });
        }
        let uri = ["ipfs", "ipns"].into_iter().find_map(|space| {
            let rest = text.strip_prefix(space)?.strip_prefix("://")?;
            Some(format!("/{space}/{rest}"))
        });
        let path = uri.as_deref().unwrap_or(text);
        if !is_content_path(Path::new(path)) {
            return None;
        }
        let path = ContentPath::parse(path.as_bytes()).ok()?;
        Some(Content::of(&path, uri.is_some()))
    }

    fn of(path: &ContentPath, is_uri: bool) -> Content {
        let segments = path.rest.split('/').filter(|segment| !segment.is_empty());
        let segments = segments.map(|segment| match is_uri {
            true => escaped_in_uri(segment),
            false => escaped(segment),
        });
        Content {
            root: path.root,
            segments: segments.collect(),
        }
    }

    /// The CID, where it alone is meant.
    fn cid(&self) -> Option<Cid> {
        match self.root {
            PathRoot::Cid(cid) if self.segments.is_empty() => Some(cid),
            _ => None,
        }
    }
}

/// A segment of a URI as it stands in a URL: what is escaped there stays so.
fn escaped_in_uri(segment: &str) -> String {
    let parts = segment.split('%').map(escaped);
    parts.collect::<Vec<_>>().join("%")
}

#[derive(Serialize)]
struct Exported {
    cid: String,
    file: String,
    blocks: u64,
    bytes: u64,
    /// Blocks whose links cannot be read.
    opaque: u64,
}

async fn export(
    context: &Context<'_>,
    arguments: &Export,
    content: &Content,
) -> Result<(), Failure> {
    let output = &arguments.output;
    if is_dash(output) && context.output.is_json() {
        return Err(Failure::usage("stdout is either the CAR file or JSON")
            .hint("name a file with --output"));
    }
    Existing::unless_forced(output, arguments.force)?;
    let own = match arguments.node.url {
        Some(_) => None,
        None => own_dag(context, content).await?,
    };
    let mut target = Target::create(output)?;
    let (cid, written) = match own {
        Some((session, cid, blocks)) => {
            let written = write_own(&session, &cid, blocks, &mut target).await?;
            (cid, written)
        }
        None => {
            let node = NodeClient::new(context, &arguments.node)?;
            let cid = resolve(&node, content).await?;
            (cid, write(context, &node, &cid, &mut target).await?)
        }
    };
    let bytes = target.finish()?;
    if written.opaque > 0 {
        context.output.warn(format_args!(
            "the links of {} cannot be read: what they lead to is not in the file",
            count(written.opaque, "block")
        ));
    }
    if is_dash(output) {
        return Ok(());
    }
    let document = Exported {
        cid: cid.to_string(),
        file: name_of(output),
        blocks: written.blocks,
        bytes,
        opaque: written.opaque,
    };
    context.output.answer(&document, |page| {
        page.fields(&[
            ("file", Some(document.file.clone())),
            ("root", Some(document.cid.clone())),
            ("blocks", Some(count(document.blocks, "block"))),
            ("size", Some(bytes_text(document.bytes))),
        ]);
    })
}

/// What was written.
#[derive(Default)]
pub(super) struct Written {
    blocks: u64,
    opaque: u64,
}

/// The order of a DAG, depth first and each block once: which one comes next.
struct Order {
    ahead: Vec<Cid>,
    /// By CID, as gateways have it: a block under another codec links to something else.
    seen: HashSet<Cid>,
    opaque: u64,
}

impl Order {
    fn new(root: &Cid) -> Order {
        Order {
            ahead: vec![*root],
            seen: HashSet::new(),
            opaque: 0,
        }
    }

    /// The next block; none at the end.
    fn next(&mut self) -> Option<Cid> {
        loop {
            let cid = self.ahead.pop()?;
            if is_identity(&cid) {
                // What a CID holds itself is no block; what it links to is.
                let links = codec::links(&cid, cid.hash().digest());
                self.ahead
                    .extend(links.unwrap_or_default().into_iter().rev());
            } else if self.seen.insert(cid) {
                return Some(cid);
            }
        }
    }

    /// Goes on below that block.
    fn below(&mut self, cid: &Cid, block: &Block) {
        match codec::links(cid, block.bytes()) {
            Ok(links) => self.ahead.extend(links.into_iter().rev()),
            Err(_) => self.opaque += 1,
        }
    }
}

/// The blocks of a DAG in their order, where all of it is in the store of this home.
async fn own_dag(
    context: &Context<'_>,
    content: &Content,
) -> Result<Option<(Session, Cid, Vec<Cid>)>, Failure> {
    let Some(root) = content.cid() else {
        return Ok(None);
    };
    if context.home()?.identity()?.is_none() {
        return Ok(None);
    }
    let session = Session::open_to_read(context, &[]).await?;
    let store = session.client.store();
    let mut order = Order::new(&root);
    let mut blocks = Vec::new();
    while let Some(cid) = order.next() {
        let Some(block) = store.block(&cid).await.map_err(failure_of!())? else {
            return Ok(None);
        };
        order.below(&cid, &block);
        blocks.push(cid);
    }
    Ok(Some((session, root, blocks)))
}

async fn write_own(
    session: &Session,
    root: &Cid,
    blocks: Vec<Cid>,
    target: &mut Target<'_>,
) -> Result<Written, Failure> {
    let failed = |error: CarError| Failure::failed("car_failed", with_cause(&error));
    let mut writer = Writer::new(&[*root]).map_err(failed)?;
    let mut order = Order::new(root);
    for cid in &blocks {
        let block = session.client.store().block(cid).await;
        let gone = || Failure::failed("block_lost", format!("block {cid} is not here any more"));
        let block = block.map_err(failure_of!())?.ok_or_else(gone)?;
        order.below(cid, &block);
        writer.push(&block);
        if writer.ready() >= CHUNK_BYTES {
            target.write(&writer.take())?;
        }
    }
    target.write(&writer.take())?;
    Ok(Written {
        blocks: blocks.len() as u64,
        opaque: order.opaque,
    })
}

/// The CID that is meant: the one at the end of the path.
async fn resolve(node: &NodeClient, content: &Content) -> Result<Cid, Failure> {
    let mut content = content.clone();
    for _ in 0..NAMES {
        let cid = match content.root {
            PathRoot::Cid(cid) => cid,
            PathRoot::Name(name) => {
                let Content { root, segments } = pointed_at(node, &name).await?;
                content.root = root;
                content.segments.splice(0..0, segments);
                continue;
            }
            PathRoot::Domain => {
                return Err(Failure::invalid("dnslink", "it leads to a domain")
                    .hint("domains are not followed: give the CID that it points at"));
            }
        };
        if content.segments.is_empty() {
            return Ok(cid);
        }
        return end_of_path(node, &cid, &content.segments).await;
    }
    Err(Failure::invalid(
        "too_many_names",
        format!("it leads through more than {NAMES} names"),
    )
    .hint("give a CID that one of them points at"))
}

/// What a name points at, by the record that a node has of it.
async fn pointed_at(node: &NodeClient, name: &Name) -> Result<Content, Failure> {
    let path = format!("/ipns/{name}?format=ipns-record");
    let mut body = node.read(&path).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = node.next_chunk(&mut body).await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > RECORD_BYTES {
            break;
        }
    }
    let record = UnverifiedRecord::parse(&bytes).and_then(|record| record.verify(name, now()));
    let wrong = |error: &RecordError| {
        Failure::invalid(
            "invalid_record",
            format!("the node has no valid record of {name}"),
        )
        .because(error)
        .hint("give the CID that it points at")
    };
    let record = record.map_err(|error| wrong(&error))?;
    match record.content_path() {
        Ok(path) => Ok(Content::of(&path, false)),
        Err(error) => {
            let message = format!("{name} points at no content");
            Err(Failure::invalid("no_content", message).because(&error))
        }
    }
}

async fn end_of_path(node: &NodeClient, cid: &Cid, segments: &[String]) -> Result<Cid, Failure> {
    let path = format!(
        "/ipfs/{cid}/{}?format=car&dag-scope=block",
        segments.join("/")
    );
    let mut body = node.read(&path).await?;
    let mut decoder = Decoder::new();
    while let Some(chunk) = node.next_chunk(&mut body).await? {
        decoder.push(&chunk);
        if let Some(Event::Header(header)) = decoder.next_event().map_err(unsound)?
            && let [root] = header.roots[..]
        {
            return Ok(root);
        }
    }
    Err(
        Failure::invalid("invalid_car", "the node did not say where the path ends")
            .hint("resolve the path by another gateway and give its CID"),
    )
}

fn unsound(error: CarError) -> Failure {
    Failure::invalid("invalid_car", "the node sent what is no sound CAR file").because(&error)
}

/// Writes the DAG below a CID as a node has it. Each block is verified, each is expected at its place, and all of them.
pub(super) async fn write(
    context: &Context<'_>,
    node: &NodeClient,
    root: &Cid,
    target: &mut Target<'_>,
) -> Result<Written, Failure> {
    let spinner = context.output.spinner("writing");
    let mut written = Written::default();
    let mut order = Order::new(root);
    let path = format!("/ipfs/{root}?format=car&car-order=dfs&car-dups=n");
    let mut body = node.read(&path).await?;
    let mut decoder = Decoder::new();
    let mut next = order.next();
    let mut bytes = 0;
    loop {
        let chunk = match node.next_chunk(&mut body).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(failure) => return Err(broken_off(node, next, failure).await),
        };
        bytes += chunk.len() as u64;
        spinner.set_message(format!("writing: {}", bytes_text(bytes)));
        decoder.push(&chunk);
        while let Some(event) = decoder.next_event().map_err(unsound)? {
            let Event::Block(block) = event else {
                continue;
            };
            let Some(cid) = next.filter(|cid| cid.hash() == block.cid().hash()) else {
                let message = format!("the node sent block {} out of its order", block.cid());
                return Err(Failure::invalid("invalid_car", message));
            };
            order.below(&cid, &block);
            written.blocks += 1;
            next = order.next();
        }
        target.write(&chunk)?;
    }
    decoder.finish().map_err(unsound)?;
    spinner.finish_and_clear();
    if let Some(cid) = next {
        let failure = Failure::unreachable("the node ended the file early");
        return Err(broken_off(node, Some(cid), failure).await);
    }
    written.opaque = order.opaque;
    Ok(written)
}

/// Why the node did not send the rest: a block may not be there.
async fn broken_off(node: &NodeClient, next: Option<Cid>, failure: Failure) -> Failure {
    let Some(cid) = next else {
        return failure;
    };
    match node.get(&format!("/ipfs/{cid}?format=raw")).await {
        Ok((404, _)) => {
            let message = format!("the node does not have all of it: block {cid} is not there");
            Failure::not_found("incomplete", message).hint(
                "`perennis fetch` with the root brings what is missing, where somebody has it",
            )
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use perennis_shared::cid::{Codec, cid_of};

    use super::*;

    #[test]
    fn a_cid_or_a_content_path_is_told_from_a_file() {
        let cid = cid_of(Codec::Raw, b"a");
        let name = Name::parse("k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8");
        let name = PathRoot::Name(name.unwrap());
        let of = |root: PathRoot, segments: &[&str]| {
            let segments = segments.iter().map(|segment| (*segment).to_owned());
            Some(Content {
                root,
                segments: segments.collect(),
            })
        };
        let root = PathRoot::Cid(cid);
        let PathRoot::Name(text) = name else {
            panic!("it is a name");
        };
        for (text, expected) in [
            (format!("{cid}"), of(root, &[])),
            (format!("/ipfs/{cid}/"), of(root, &[])),
            (format!("https://example.org/ipfs/{cid}"), of(root, &[])),
            (format!("ipfs://{cid}/a//b%20c"), of(root, &["a", "b%20c"])),
            (format!("ipfs://{cid}/ü"), of(root, &["%C3%BC"])),
            (format!("/ipfs/{cid}/a b%"), of(root, &["a%20b%25"])),
            (format!("/ipns/{text}/a"), of(name, &["a"])),
            (format!("ipns://{text}"), of(name, &[])),
            (format!("./{cid}"), None),
            ("me.car".to_owned(), None),
            ("/ipfs/me.car".to_owned(), None),
            (
                "/ipns/me.car.d/..".to_owned(),
                of(PathRoot::Domain, &["me.car.d", ".."]),
            ),
        ] {
            assert_eq!(Content::parse(&text), expected, "{text}");
        }
    }

    #[test]
    fn the_order_is_depth_first_and_has_each_block_once() {
        let leaf = Block::new(Codec::Raw, b"leaf".to_vec()).unwrap();
        let link = |cid: &Cid| {
            let mut value = vec![0xd8, 42, 0x58, 37, 0];
            value.extend_from_slice(&cid.to_bytes());
            value
        };
        let inner = Block::new(Codec::DagCbor, [&[0x81], &link(leaf.cid())[..]].concat()).unwrap();
        let root = [
            &[0x83],
            &link(inner.cid())[..],
            &link(leaf.cid()),
            &link(inner.cid()),
        ];
        let root = Block::new(Codec::DagCbor, root.concat()).unwrap();
        let mut order = Order::new(root.cid());
        for block in [&root, &inner, &leaf] {
            let next = order.next().unwrap();
            assert_eq!(next, *block.cid());
            order.below(&next, block);
        }
        assert_eq!((order.next(), order.opaque), (None, 0));
    }
}
