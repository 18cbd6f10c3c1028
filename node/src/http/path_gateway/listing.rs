//! The page that lists a directory, made while it is sent: one block of the directory is at hand at a time.
//!
//! Its first part is made before the answer begins, so that a directory of which nothing can be listed is refused. What is missing
//! behind that is said in the page, and the rest is listed.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use perennis_shared::cid::Cid;
use perennis_shared::codec::CodecError;
use perennis_shared::codec::dag_pb::Link;
use perennis_shared::error::chain;
use perennis_shared::limits::LimitExceeded;
use perennis_shared::unixfs::Node;

use crate::http::answer::{Body, BrokenOff};
use crate::http::gateway::{ABSENT_HINT, DepthFirst, PART_BYTES};
use crate::http::html::{self, escaped, for_people, in_path};
use crate::http::memory::{ANSWER_PATIENCE, NoRoom, Place, REQUEST_PATIENCE, WalkShare, counted};
use crate::http::refusal::Refusal;
use crate::http::service::Service;
use crate::read::ReadError;

/// Longest name that a path to it is made of, in bytes: that of a longer one would not fit into the head of a request.
const NAME_BYTES: usize = 4_096;

/// Room for a part: what fills it, and the longest row.
const PART_ROOM: usize = PART_BYTES + 16 * NAME_BYTES;

/// Why a listing cannot be sent to its end.
#[derive(Debug, thiserror::Error)]
enum ListingError {
    #[error("block {0} of the directory is not here")]
    Absent(Box<Cid>),
    #[error("block {cid} of the directory cannot be read")]
    Unreadable { cid: Box<Cid>, source: ReadError },
    #[error("block {cid} of the directory is none of a directory")]
    Other {
        cid: Box<Cid>,
        #[source]
        source: Option<CodecError>,
    },
    #[error("the directory is too large")]
    TooLarge(#[from] LimitExceeded),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

impl ListingError {
    /// Whether the blocks behind it can be listed.
    fn is_of_one_block(&self) -> bool {
        !matches!(self, ListingError::TooLarge(_) | ListingError::NoRoom(_))
    }
}

impl From<ListingError> for Refusal {
    fn from(error: ListingError) -> Refusal {
        let message = chain(&error);
        match error {
            ListingError::Absent(_) => Refusal::not_found(message, ABSENT_HINT),
            ListingError::Unreadable { source, .. } => source.into(),
            ListingError::NoRoom(error) => error.into(),
            ListingError::Other { .. } | ListingError::TooLarge(_) => Refusal::new(
                "unreadable_links",
                message,
                "ask for the directory with ?format=car, or for a name in it",
            ),
        }
    }
}

/// A listing that is being sent.
pub(super) struct Listing {
    node: Arc<Service>,
    /// The path of the directory, percent-encoded, with a slash at its end.
    path: String,
    /// What of the page stands before the first row.
    begun: String,
    /// The first part, until it is sent.
    first: Option<Bytes>,
    shards: DepthFirst,
    shards_share: WalkShare,
    /// The block that is read next.
    next: Option<Cid>,
    /// The block at hand, and how many of its entries were listed.
    at_hand: Option<(Node, usize)>,
    is_ended: bool,
    place: Place,
}

impl Listing {
    /// The listing of the directory at this block, which stands at these segments: the namespace, the root, names.
    pub(super) async fn begin(
        node: &Arc<Service>,
        directory: Cid,
        segments: &[&str],
        place: Place,
    ) -> Result<Listing, Refusal> {
        let mut path = String::from("/");
        for segment in segments {
            path.push_str(&in_path(segment.as_bytes()));
            path.push('/');
        }
        let mut listing = Listing {
            node: Arc::clone(node),
            begun: head(segments, &path, &directory),
            first: None,
            path,
            shards: DepthFirst::from_root(&directory, false),
            shards_share: WalkShare::default(),
            next: Some(directory),
            at_hand: None,
            is_ended: false,
            place,
        };
        listing.first = listing.next_part().await?;
        Ok(listing)
    }

    /// The body of the answer.
    pub(super) fn into_body(self) -> Body {
        let parts = try_unfold(self, |mut listing| async move {
            match listing.next_part().await {
                Ok(part) => Ok(part.map(|part| (part, listing))),
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "a listing could not be sent to its end");
                    Err(BrokenOff(Box::new(error)))
                }
            }
        });
        Body::Stream(Box::pin(parts))
    }

    async fn next_part(&mut self) -> Result<Option<Bytes>, ListingError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if self.is_ended {
            return Ok(None);
        }
        let is_first = !self.begun.is_empty();
        let patience = if is_first {
            REQUEST_PATIENCE
        } else {
            ANSWER_PATIENCE
        };
        let share = self.node.answers.share(PART_ROOM, patience).await?;
        let mut part = std::mem::take(&mut self.begun);
        while part.len() < PART_BYTES {
            if self.list(&mut part) {
                continue;
            }
            let Some(cid) = self.next.take() else {
                part.push_str("</table>\n");
                part.push_str(html::END);
                self.is_ended = true;
                break;
            };
            match self.read(&cid).await {
                Ok(node) => self.at_hand = Some((node, 0)),
                Err(error) if !is_first && error.is_of_one_block() => {
                    missing(&mut part, &error);
                    self.next = self.shards.next();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(counted(
            part.into_bytes(),
            self.place.clone(),
            Some(share),
        )))
    }

    /// Lists entries of the block at hand until the part is full; false where there is none left.
    fn list(&mut self, part: &mut String) -> bool {
        let Some((node, listed)) = &mut self.at_hand else {
            return false;
        };
        let skipped = *listed;
        let mut add = |entry: (&[u8], &Link)| {
            if part.len() >= PART_BYTES {
                return false;
            }
            row(part, &self.path, entry.0, entry.1);
            *listed += 1;
            true
        };
        let is_done = match node {
            Node::Directory(directory) => directory.entries().skip(skipped).all(&mut add),
            Node::Shard(shard) => shard.entries().skip(skipped).all(&mut add),
            Node::File(_) | Node::Symlink(_) => true,
        };
        if is_done {
            self.at_hand = None;
        }
        !is_done
    }

    /// Reads a block of the directory, and finds the one behind it.
    async fn read(&mut self, cid: &Cid) -> Result<Node, ListingError> {
        let at = || Box::new(*cid);
        let found = self.node.read.block(cid).await;
        let found = found.map_err(|source| ListingError::Unreadable { cid: at(), source })?;
        let block = found.ok_or_else(|| ListingError::Absent(at()))?;
        let other = |source| ListingError::Other { cid: at(), source };
        let node = Node::parse(cid, block.bytes()).map_err(|error| other(Some(error)))?;
        let node = node.ok_or_else(|| other(None))?;
        match &node {
            Node::Directory(_) => {}
            Node::Shard(shard) => {
                let below: Vec<Cid> = shard.below().copied().collect();
                let bytes = self.shards.bytes_with(&below);
                let answers = &self.node.answers;
                answers
                    .grow(&mut self.shards_share, bytes, ANSWER_PATIENCE)
                    .await?;
                self.shards.descend(&below)?;
                self.next = self.shards.next();
            }
            Node::File(_) | Node::Symlink(_) => return Err(other(None)),
        }
        Ok(node)
    }
}

/// All that stands before the first row.
fn head(segments: &[&str], path: &str, directory: &Cid) -> String {
    let written = segments.join("/");
    let mut page = html::begin(&format!("Index of /{written}/"));
    page.push_str("<h1>Index of ");
    let mut target = String::new();
    for (at, segment) in segments.iter().enumerate() {
        target.push('/');
        target.push_str(&in_path(segment.as_bytes()));
        let name = escaped(segment);
        // Writing to text does not fail. The namespace itself is no page.
        let _ = match at {
            0 => write!(page, "/{name}"),
            _ => write!(page, "/<a href=\"{target}\">{name}</a>"),
        };
    }
    let _ = writeln!(
        page,
        "</h1>\n<p class=\"ipfs-hash\">{directory}</p>\n<table>"
    );
    if segments.len() > 2 {
        let _ = writeln!(
            page,
            "<tr><td><a href=\"{path}..\">..</a></td><td></td><td></td></tr>"
        );
    }
    page
}

/// A row for names that cannot be listed.
fn missing(page: &mut String, error: &ListingError) {
    // Writing to text does not fail.
    let _ = writeln!(
        page,
        "<tr><td>Names are missing here: {}.</td><td></td><td></td></tr>",
        escaped(&chain(error))
    );
}

/// A row: the name, which leads to its path, its CID, and what its writer claims of its size.
fn row(page: &mut String, path: &str, name: &[u8], link: &Link) {
    let cid = link.hash.to_string();
    let cut = &name[..name.len().min(NAME_BYTES)];
    let encoded = in_path(cut);
    // A path is text, so a name that is none leads to its block and is shown encoded.
    let is_text = str::from_utf8(name).is_ok();
    let shown = match is_text {
        true => String::from_utf8_lossy(cut),
        false => Cow::Borrowed(&*encoded),
    };
    let size = link.size_claimed.map(for_people).unwrap_or_default();
    let short = match (cid.get(..4), cid.get(cid.len().saturating_sub(4)..)) {
        (Some(first), Some(last)) => format!("{first}\u{2026}{last}"),
        _ => cid.clone(),
    };
    let target = if name.len() > NAME_BYTES || !is_text {
        format!("/ipfs/{cid}")
    } else {
        format!("{path}{encoded}")
    };
    // The name is encoded twice, as Kubo writes it and the public conformance suite expects it.
    let again = in_path(encoded.as_bytes());
    // Writing to text does not fail.
    let _ = writeln!(
        page,
        "<tr><td><a href=\"{target}\">{}</a></td>\
         <td><a class=\"ipfs-hash\" translate=\"no\" href=\"/ipfs/{cid}?filename={again}\">{short}</a></td>\
         <td class=\"size\">{size}</td></tr>",
        escaped(&shown)
    );
}

#[cfg(test)]
mod tests {
    use perennis_shared::cid::{Codec, cid_of};

    use super::*;

    #[test]
    fn a_row_leads_to_its_path_and_to_its_block() {
        let link = Link {
            hash: cid_of(Codec::Raw, b"x"),
            name: None,
            size_claimed: Some(2_048),
        };
        let listed = |name: &[u8]| {
            let mut page = String::new();
            row(&mut page, "/ipfs/bafy/", name, &link);
            page
        };
        let page = listed("<ü>.txt".as_bytes());
        for part in [
            "<a href=\"/ipfs/bafy/%3C%C3%BC%3E.txt\">&lt;ü&gt;.txt</a>",
            "?filename=%253C%25C3%25BC%253E.txt\"",
            "2.0 KiB",
        ] {
            assert!(page.contains(part), "{page}");
        }
        // What no request could ask for leads to the block.
        let page = listed(&vec![b'"'; 1 << 20]);
        assert!(page.contains(&format!("<a href=\"/ipfs/{}\">", link.hash)));
        assert!(page.len() < PART_ROOM - PART_BYTES, "{}", page.len());
    }

    #[test]
    fn the_way_to_a_directory_stands_above_it() {
        let directory = cid_of(Codec::DagPb, b"x");
        let page = head(&["ipfs", "bafy", "ą"], "/ipfs/bafy/%C4%85/", &directory);
        let way = "Index of /ipfs/<a href=\"/ipfs/bafy\">bafy</a>/<a href=\"/ipfs/bafy/%C4%85\">ą</a></h1>";
        assert!(page.contains(way), "{page}");
        assert!(page.contains("<a href=\"/ipfs/bafy/%C4%85/..\">..</a>"));
        let page = head(&["ipfs", "bafy"], "/ipfs/bafy/", &directory);
        assert!(!page.contains(">..<"), "{page}");
    }
}
