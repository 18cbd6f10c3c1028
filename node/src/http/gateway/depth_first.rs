//! The order in which the blocks of a graph are sent: depth first, each once, at its first place.
//!
//! A link is known from the moment it is seen, not from when its block is sent, so that a link that stands in many
//! places waits once. When it is seen again nearer to the block at hand it moves there, which is where a walk that
//! kept every link would send it. So what waits grows with the blocks of the graph, not with its links, and the
//! order is still the one a client can check while it receives (`order=dfs` of the trustless gateway).
//!
//! Links that wait are held in their binary form, one behind the other. Of what is known only a fingerprint is held:
//! 128 bits under keys of this walk alone, so that nobody can make two links that look the same.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use perennis_shared::cid::{Cid, cid_len, parse_cid_bytes, read_cid, write_cid};
use perennis_shared::limits::LimitExceeded;

/// Most blocks sent in one graph.
pub(super) const GRAPH_BLOCKS: usize = 1_000_000;

/// Bytes of links that wait no more and that are borne before the others are moved together.
const SPENT_BYTES: usize = 4_096;

/// What a known link is when it waits no more.
const SENT: u32 = u32::MAX;

type Fingerprint = [u32; 4];

/// A walk over a graph. It is told the links of each block it has named, and names the next.
pub(in crate::http) struct DepthFirst {
    keys: [RandomState; 2],
    /// Every link seen, and where it waits.
    known: HashMap<Fingerprint, u32>,
    /// The links that wait, the next one last: each its bytes and their number.
    waiting: Vec<u8>,
    /// How many of these bytes are of links that have moved or were sent.
    spent: usize,
    /// Blocks that were seen: each one once, or at each of its places.
    seen: usize,
    most_blocks: usize,
    /// Whether a block is sent at each of its places.
    repeats: bool,
}

impl DepthFirst {
    /// A walk from a root, which counts as sent. With `repeats` a block is named at each of its places (`dups=y`).
    pub(in crate::http) fn from_root(root: &Cid, repeats: bool) -> DepthFirst {
        DepthFirst::bounded(root, repeats, GRAPH_BLOCKS)
    }

    fn bounded(root: &Cid, repeats: bool, most_blocks: usize) -> DepthFirst {
        let mut walk = DepthFirst {
            keys: [RandomState::new(), RandomState::new()],
            known: HashMap::new(),
            waiting: Vec::new(),
            spent: 0,
            seen: 1,
            most_blocks,
            repeats,
        };
        let mut bytes = Vec::new();
        write_cid(&mut bytes, root);
        walk.known.insert(walk.fingerprint(&bytes), SENT);
        walk
    }

    /// Whether the walk names a block at each of its places.
    pub(super) fn repeats(&self) -> bool {
        self.repeats
    }

    /// Whether a block was named already; never, where it is named at each of its places.
    pub(super) fn has_named(&self, cid: &Cid) -> bool {
        let mut bytes = Vec::new();
        write_cid(&mut bytes, cid);
        !self.repeats && self.known.get(&self.fingerprint(&bytes)) == Some(&SENT)
    }

    /// Takes the links of the block that was named last.
    ///
    /// # Errors
    /// The graph has more than [`GRAPH_BLOCKS`] blocks.
    pub(in crate::http) fn descend(&mut self, links: &[Cid]) -> Result<(), LimitExceeded> {
        self.make_room(links);
        // What stands first is sent first, so it comes to lie last.
        for link in links.iter().rev() {
            self.wait(link)?;
        }
        if self.spent > SPENT_BYTES && self.spent > self.waiting.len() / 2 {
            self.move_together();
        }
        Ok(())
    }

    /// The next block to send; `None` at the end.
    pub(in crate::http) fn next(&mut self) -> Option<Cid> {
        while let Some(length) = self.waiting.pop() {
            let start = self.waiting.len() - usize::from(length);
            if self.repeats {
                let cid = parse_cid_bytes(&self.waiting[start..]);
                self.waiting.truncate(start);
                return Some(cid.expect("what was written from a CID reads as one"));
            }
            let fingerprint = self.fingerprint(&self.waiting[start..]);
            let place = self.known.get_mut(&fingerprint);
            let is_here = place.filter(|place| **place as usize == start);
            let Some(place) = is_here else {
                self.spent -= self.waiting.len() + 1 - start;
                self.waiting.truncate(start);
                continue;
            };
            *place = SENT;
            let cid = parse_cid_bytes(&self.waiting[start..]);
            self.waiting.truncate(start);
            return Some(cid.expect("what was written from a CID reads as one"));
        }
        None
    }

    /// The memory it holds, in bytes, once it has taken these links.
    pub(in crate::http) fn bytes_with(&self, links: &[Cid]) -> usize {
        let known = buckets(self.known_with(links)) * (size_of::<(Fingerprint, u32)>() + 1);
        known + self.waiting_with(links)
    }

    fn make_room(&mut self, links: &[Cid]) {
        let known = self.known_with(links);
        self.known.reserve(known.saturating_sub(self.known.len()));
        let waiting = self.waiting_with(links) - self.waiting.len();
        self.waiting.reserve_exact(waiting);
    }

    /// How many links there is room for once these are known, should all of them be new.
    fn known_with(&self, links: &[Cid]) -> usize {
        if self.repeats {
            return self.known.capacity();
        }
        (self.known.len() + links.len()).max(self.known.capacity())
    }

    /// How many bytes there is room for once these links wait. It grows by halves: not at each block, and by no more
    /// than is needed.
    fn waiting_with(&self, links: &[Cid]) -> usize {
        let added: usize = links.iter().map(|link| cid_len(link) + 1).sum();
        let needed = self.waiting.len() + added;
        let held = self.waiting.capacity();
        if needed > held {
            needed.max(held + held / 2)
        } else {
            held
        }
    }

    fn wait(&mut self, link: &Cid) -> Result<(), LimitExceeded> {
        let start = self.waiting.len();
        write_cid(&mut self.waiting, link);
        let length = self.waiting.len() - start;
        if self.repeats {
            self.see_another()?;
            self.waiting.push(length as u8);
            return Ok(());
        }
        let fingerprint = self.fingerprint(&self.waiting[start..]);
        let place = start as u32;
        let before = match self.known.get(&fingerprint) {
            Some(&SENT) => {
                self.waiting.truncate(start);
                return Ok(());
            }
            before => before.is_some(),
        };
        if before {
            self.spent += length + 1;
        } else {
            self.see_another()?;
        }
        self.known.insert(fingerprint, place);
        self.waiting.push(length as u8);
        Ok(())
    }

    fn see_another(&mut self) -> Result<(), LimitExceeded> {
        LimitExceeded::check("blocks of a graph", self.most_blocks, self.seen + 1)?;
        self.seen += 1;
        Ok(())
    }

    /// Lets go of what has moved away.
    fn move_together(&mut self) {
        let (mut from, mut to) = (0, 0);
        while from < self.waiting.len() {
            let (_, length) = read_cid(&self.waiting[from..]).expect("only CIDs were written");
            let fingerprint = self.fingerprint(&self.waiting[from..from + length]);
            let end = from + length + 1;
            if let Some(place) = self.known.get_mut(&fingerprint)
                && *place as usize == from
            {
                *place = to as u32;
                self.waiting.copy_within(from..end, to);
                to += end - from;
            }
            from = end;
        }
        self.waiting.truncate(to);
        self.spent = 0;
    }

    fn fingerprint(&self, link: &[u8]) -> Fingerprint {
        let [low, high] = self.keys.each_ref().map(|key| key.hash_one(link));
        [
            low as u32,
            (low >> 32) as u32,
            high as u32,
            (high >> 32) as u32,
        ]
    }
}

/// How many places the table of the standard library has when it has room for so many entries: a power of two of
/// which an eighth stays free.
fn buckets(entries: usize) -> usize {
    (entries * 8).div_ceil(7).next_power_of_two()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::HashSet;

    use perennis_shared::cid::{Codec, cid_of};
    use perennis_shared::limits::BLOCK_LINKS;

    use super::*;

    fn cid(number: usize) -> Cid {
        cid_of(Codec::Raw, &number.to_be_bytes())
    }

    /// The links of each block of a graph, by number; some stand in many places.
    fn graph(seed: u64, blocks: usize) -> Vec<Vec<usize>> {
        let mut state = seed | 1;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        (0..blocks)
            .map(|from| {
                let count = random(9);
                let further = blocks - 1 - from;
                (0..count.min(further * 3))
                    .map(|_| from + 1 + random(further))
                    .collect()
            })
            .collect()
    }

    fn walked(graph: &[Vec<usize>], repeats: bool) -> Vec<Cid> {
        let numbers: HashMap<Cid, usize> = (0..graph.len()).map(|n| (cid(n), n)).collect();
        let mut walk = DepthFirst::from_root(&cid(0), repeats);
        let mut next = Some(cid(0));
        let mut order = Vec::new();
        while let Some(at) = next {
            order.push(at);
            let links: Vec<Cid> = graph[numbers[&at]].iter().copied().map(cid).collect();
            let told = walk.bytes_with(&links);
            walk.descend(&links).unwrap();
            assert!(walk.bytes_with(&[]) <= told);
            next = walk.next();
        }
        order
    }

    /// Depth first as it is usually written: every link waits, and one that was sent is passed over.
    fn expected(graph: &[Vec<usize>], repeats: bool) -> Vec<Cid> {
        let (mut sent, mut order, mut ahead) = (HashSet::new(), Vec::new(), vec![0]);
        while let Some(at) = ahead.pop() {
            if sent.insert(at) || repeats {
                order.push(cid(at));
                ahead.extend(graph[at].iter().rev());
            }
        }
        order
    }

    #[test]
    fn the_order_is_that_of_a_walk_that_keeps_every_link() {
        for seed in 1..200 {
            let graph = graph(seed * 0x9e37_79b9, 1 + seed as usize % 60);
            let told = walked(&graph, false);
            assert_eq!(told, expected(&graph, false), "seed {seed}");
        }
        let same = vec![vec![3, 1, 3, 2, 3], vec![2, 3], vec![3, 3], vec![]];
        for repeats in [false, true] {
            assert_eq!(walked(&same, repeats), expected(&same, repeats));
        }
        for seed in 1..50 {
            let graph = graph(seed * 0x9e37_79b9, 1 + seed as usize % 7);
            assert_eq!(walked(&graph, true), expected(&graph, true), "seed {seed}");
        }
    }

    #[test]
    fn links_that_stand_in_many_places_are_held_once() {
        let links: Vec<Cid> = (0..BLOCK_LINKS).map(cid).collect();
        let once = {
            let mut walk = DepthFirst::from_root(&cid(usize::MAX), false);
            walk.descend(&links).unwrap();
            walk.bytes_with(&[])
        };
        // Each block leads to all of them, and each is the first link of the one before.
        let mut walk = DepthFirst::from_root(&cid(usize::MAX), false);
        let mut most = 0;
        for level in 0..16 {
            let below: Vec<Cid> = [cid(BLOCK_LINKS + level)]
                .into_iter()
                .chain(links[1..].iter().copied())
                .collect();
            most = most.max(walk.bytes_with(&below));
            walk.descend(&below).unwrap();
            assert_eq!(walk.next(), Some(below[0]));
        }
        assert!(most <= 4 * once, "{most} bytes, {once} for one block");
        let order: Vec<Cid> = std::iter::from_fn(|| walk.next()).collect();
        assert_eq!(order, links[1..]);
    }

    #[test]
    fn a_known_block_costs_little_and_one_that_waits_not_much_more() {
        let mut walk = DepthFirst::from_root(&cid(usize::MAX), false);
        let chunks = 8;
        for chunk in 0..chunks {
            let numbers = chunk * BLOCK_LINKS / chunks..(chunk + 1) * BLOCK_LINKS / chunks;
            let links: Vec<Cid> = numbers.map(cid).collect();
            walk.descend(&links).unwrap();
        }
        let each = walk.bytes_with(&[]) / BLOCK_LINKS;
        assert!(each <= 100, "{each} bytes");
    }

    #[test]
    fn more_blocks_than_the_limit_are_refused_and_named() {
        let mut walk = DepthFirst::bounded(&cid(0), false, 10);
        let links: Vec<Cid> = (1..10).map(cid).collect();
        walk.descend(&links).unwrap();
        // What is known already is no further block.
        walk.descend(&links).unwrap();
        let refused = walk.descend(&[cid(10)]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "blocks of a graph: 11 is above the limit of 10"
        );
        // A block counts at each of its places where it is sent at each.
        let mut walk = DepthFirst::bounded(&cid(0), true, 10);
        walk.descend(&[cid(1); 9]).unwrap();
        assert!(walk.descend(&[cid(1)]).is_err());
    }
}
