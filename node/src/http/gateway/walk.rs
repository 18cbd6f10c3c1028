//! Which block of a graph is sent when: the path to the terminus, the terminus, and what its scope has below it, depth first.
//!
//! Of a file of which some bytes are asked for, only the blocks at the two edges of the range are followed in part; all between
//! them are followed whole, by [`DepthFirst`]. The block at the first edge comes before what stands behind it, the one at the
//! last edge after all else, so that the order is depth first there too. A block may stand at an edge and in the middle: it is
//! sent once and followed for each.
//!
//! A file that is sent as its bytes is another walk: each block at each of its places, with what the block above claims that it
//! holds ([`Claimed`]), so that the walk ends at the first lie.

use std::collections::VecDeque;
use std::ops::Range;

use perennis_shared::cid::Cid;
use perennis_shared::limits::LimitExceeded;
use perennis_shared::unixfs::FilePart;

use super::depth_first::{DepthFirst, GRAPH_BLOCKS};

/// Most levels of a file that are followed to the edges of a range, or at all where it is sent as its bytes.
const FILE_LEVELS: usize = 128;

/// A block that is read next, and what of what it leads to is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// On the path to the terminus: nothing.
    Path(Cid),
    /// What the scope says.
    Whole(Cid),
    /// What holds these bytes of the file that the block is.
    Part(Cid, Range<u64>),
    /// The bytes themselves, of a block that a file is made of.
    Claimed(Claimed),
}

/// A block of a file, and what it is claimed to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claimed {
    pub(super) part: FilePart,
    /// How many blocks of the file stand above it.
    level: usize,
}

/// What a block leads to and is sent.
#[derive(Default)]
pub(super) struct Leads {
    /// Before the others, in part.
    first: Option<Next>,
    /// All of them that are followed whole.
    pub(super) whole: Vec<Cid>,
    /// Behind the others, in part.
    last: Option<Next>,
    /// Those of a file that is sent as its bytes.
    claimed: Vec<FilePart>,
}

/// A walk. It is told what each block it has named leads to, and names the next.
pub(super) struct Walk {
    path: VecDeque<Cid>,
    terminus: Option<Next>,
    first: Option<Next>,
    whole: DepthFirst,
    last: Option<Next>,
    /// Blocks that were followed in part, and sent then.
    edges: Vec<Cid>,
    edge_levels: usize,
    /// Blocks of a file that is sent as its bytes, the next one last.
    claimed: Vec<Claimed>,
    claimed_seen: usize,
}

impl Next {
    pub(super) const fn cid(&self) -> &Cid {
        match self {
            Next::Path(cid) | Next::Whole(cid) | Next::Part(cid, _) => cid,
            Next::Claimed(claimed) => &claimed.part.cid,
        }
    }

    /// The root of a file, and the bytes of it that are sent.
    pub(super) fn file(cid: Cid, size: u64, bytes: Range<u64>) -> Next {
        let bytes = Some(bytes);
        let part = FilePart { cid, bytes, size };
        Next::Claimed(Claimed { part, level: 0 })
    }
}

impl Claimed {
    pub(super) const fn is_root(&self) -> bool {
        self.level == 0
    }
}

impl Leads {
    /// Blocks that are all followed whole.
    pub(super) fn whole(whole: Vec<Cid>) -> Leads {
        Leads {
            whole,
            ..Leads::default()
        }
    }

    /// Parts of a file; all but the first and the last of them are whole.
    pub(super) fn of_file(parts: Vec<FilePart>) -> Leads {
        let mut leads = Leads::default();
        for (at, FilePart { cid, bytes, .. }) in parts.into_iter().enumerate() {
            match bytes {
                None => leads.whole.push(cid),
                Some(bytes) if at == 0 => leads.first = Some(Next::Part(cid, bytes)),
                Some(bytes) => leads.last = Some(Next::Part(cid, bytes)),
            }
        }
        leads
    }

    /// Parts of a file that is sent as its bytes.
    pub(super) fn claimed(claimed: Vec<FilePart>) -> Leads {
        Leads {
            claimed,
            ..Leads::default()
        }
    }
}

impl Walk {
    /// A walk that names these blocks, then the terminus, then what lies below it; with `repeats` each block at each of its places.
    pub(super) fn new(path: Vec<Cid>, terminus: Next, repeats: bool) -> Walk {
        Walk {
            path: path.into(),
            whole: DepthFirst::from_root(terminus.cid(), repeats),
            terminus: Some(terminus),
            first: None,
            last: None,
            edges: Vec::new(),
            edge_levels: 0,
            claimed: Vec::new(),
            claimed_seen: 0,
        }
    }

    /// The next block; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Next> {
        if let Some(cid) = self.path.pop_front() {
            return Some(Next::Path(cid));
        }
        let before = self.terminus.take().or_else(|| self.first.take());
        before
            .or_else(|| self.claimed.pop().map(Next::Claimed))
            .or_else(|| self.whole.next().map(Next::Whole))
            .or_else(|| self.last.take())
    }

    /// Whether a block that was named is sent: not again where each is sent once.
    pub(super) fn is_to_be_sent(&self, next: &Next) -> bool {
        match next {
            Next::Path(_) | Next::Claimed(_) => true,
            Next::Whole(cid) => !self.edges.contains(cid),
            Next::Part(..) if self.edge_levels == 0 => true,
            Next::Part(cid, _) => !self.edges.contains(cid) && !self.whole.has_named(cid),
        }
    }

    /// Takes what the block leads to that was named last.
    ///
    /// # Errors
    /// The graph has too many blocks, or a file too many levels.
    pub(super) fn descend(&mut self, from: &Next, leads: Leads) -> Result<(), LimitExceeded> {
        if let Next::Part(cid, _) = from {
            LimitExceeded::check("levels of a file", FILE_LEVELS, self.edge_levels + 1)?;
            self.edge_levels += 1;
            if !self.whole.repeats() {
                self.edges.push(*cid);
            }
        }
        if let Next::Claimed(from) = from {
            let level = from.level + 1;
            let below = leads.claimed.into_iter().rev();
            self.claimed_seen += below.len();
            LimitExceeded::check("levels of a file", FILE_LEVELS, level)?;
            LimitExceeded::check("blocks of a file", GRAPH_BLOCKS, self.claimed_seen)?;
            let claimed = below.map(|part| Claimed { part, level });
            self.claimed.extend(claimed);
        }
        self.whole.descend(&leads.whole)?;
        self.first = leads.first;
        if leads.last.is_some() {
            self.last = leads.last;
        }
        Ok(())
    }

    /// The memory it holds, in bytes, once it has taken what a block leads to.
    pub(super) fn bytes_with(&self, leads: &Leads) -> usize {
        let claimed = self.claimed.len() + leads.claimed.len();
        self.whole.bytes_with(&leads.whole) + 2 * claimed * size_of::<Claimed>()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::HashMap;

    use perennis_shared::cid::{Codec, cid_of};
    use perennis_shared::codec::dag_pb::{self, Link};
    use perennis_shared::codec::protobuf::Writer;
    use perennis_shared::unixfs::{File, Node};

    use super::*;

    /// Files in blocks: the size of each and its UnixFS.
    #[derive(Default)]
    struct Blocks(HashMap<Cid, Vec<u8>>);

    impl Blocks {
        fn leaf(&mut self, text: &str) -> (Cid, u64) {
            let cid = cid_of(Codec::Raw, text.as_bytes());
            self.0.insert(cid, text.into());
            (cid, text.len() as u64)
        }

        fn file(&mut self, parts: &[(Cid, u64)]) -> (Cid, u64) {
            let mut data = Writer::new();
            data.uint(1, 2);
            parts.iter().for_each(|(_, size)| data.uint(4, *size));
            let link = |(hash, _): &(Cid, u64)| Link {
                hash: *hash,
                name: Some(Vec::new()),
                size_claimed: None,
            };
            let node = dag_pb::Node {
                links: parts.iter().map(link).collect(),
                data: Some(data.finish()),
            };
            let bytes = dag_pb::encode(&node).unwrap();
            let cid = cid_of(Codec::DagPb, &bytes);
            self.0.insert(cid, bytes);
            (cid, parts.iter().map(|(_, size)| size).sum())
        }

        fn parsed(&self, cid: &Cid) -> File {
            match Node::parse(cid, &self.0[cid]).unwrap() {
                Some(Node::File(file)) => file,
                _ => panic!("no file"),
            }
        }

        /// What is sent for some bytes of a file, in its order.
        fn sent(&self, root: Cid, bytes: Range<u64>, repeats: bool) -> Vec<Cid> {
            let mut walk = Walk::new(Vec::new(), Next::Part(root, bytes), repeats);
            let mut sent = Vec::new();
            while let Some(next) = walk.next() {
                if walk.is_to_be_sent(&next) {
                    sent.push(*next.cid());
                }
                let file = self.parsed(next.cid());
                let leads = match &next {
                    Next::Part(_, bytes) => Leads::of_file(file.parts_in(bytes)),
                    _ => Leads::whole(file.below().copied().collect()),
                };
                walk.descend(&next, leads).unwrap();
            }
            sent
        }

        /// The same as it is usually written.
        fn expected(&self, at: Cid, bytes: Range<u64>, out: &mut Vec<Cid>) {
            out.push(at);
            for part in self.parsed(&at).parts_in(&bytes) {
                self.expected(part.cid, part.bytes.unwrap_or(0..u64::MAX), out);
            }
        }
    }

    #[test]
    fn every_range_of_a_file_brings_the_blocks_that_hold_it_depth_first() {
        let mut blocks = Blocks::default();
        let leaves: Vec<(Cid, u64)> = (0..7)
            .map(|at| blocks.leaf(&at.to_string().repeat(3)))
            .collect();
        let lower = [&leaves[..3], &leaves[3..5], &leaves[5..], &leaves[..3]];
        let lower = lower.map(|parts| blocks.file(parts));
        let middle = [blocks.file(&lower[..2]), blocks.file(&lower[1..]), lower[0]];
        let (root, size) = blocks.file(&middle);
        for from in 0..size {
            for to in (from + 1..=size).map(|to| if to == size { u64::MAX } else { to }) {
                let mut all = Vec::new();
                blocks.expected(root, from..to, &mut all);
                assert_eq!(blocks.sent(root, from..to, true), all, "{from}..{to}");
                let mut once = Vec::new();
                all.iter().for_each(|cid| {
                    if !once.contains(cid) {
                        once.push(*cid);
                    }
                });
                let mut sent = blocks.sent(root, from..to, false);
                assert_eq!(sent[0], root);
                sent.sort_by_key(Cid::to_bytes);
                once.sort_by_key(Cid::to_bytes);
                assert_eq!(sent, once, "{from}..{to}");
            }
        }
    }

    #[test]
    fn the_path_comes_before_the_terminus() {
        let mut blocks = Blocks::default();
        let [a, b, c] = ["a", "b", "c"].map(|text| blocks.leaf(text).0);
        let mut walk = Walk::new(vec![a, b], Next::Whole(c), false);
        let order: Vec<Next> = std::iter::from_fn(|| walk.next()).collect();
        assert_eq!(order, [Next::Path(a), Next::Path(b), Next::Whole(c)]);
    }

    #[test]
    fn a_file_of_endless_levels_is_refused() {
        let mut blocks = Blocks::default();
        let mut file = blocks.leaf("0123456789");
        for _ in 0..=FILE_LEVELS {
            file = blocks.file(&[file]);
        }
        let mut walk = Walk::new(Vec::new(), Next::Part(file.0, 1..2), false);
        let refused = loop {
            let next = walk.next().unwrap();
            let Next::Part(cid, bytes) = &next else {
                panic!("{next:?}")
            };
            let leads = Leads::of_file(blocks.parsed(cid).parts_in(bytes));
            if let Err(refused) = walk.descend(&next, leads) {
                break refused;
            }
        };
        assert_eq!(refused.limit, "levels of a file");
    }
}
