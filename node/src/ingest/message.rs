//! A publish message while it is received: CARv1 with the roots `[head, record, rung…]`, the record as its last block
//! and the rungs of its ladder right before it.

use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec::car::{Decoder, Event};
use perennis_shared::limits::LADDER_RUNGS;

use super::IngestError;
use crate::groups::Share;

/// Memory is counted in units of this many bytes.
pub(super) const UNIT_BYTES: u64 = 4_096;

/// What one block costs in memory beside its bytes.
const BLOCK_COST: u64 = 256;

/// A message that is being received. It holds no more than its share of the memory for messages.
pub(crate) struct Message {
    decoder: Decoder,
    roots: Option<Roots>,
    blocks: Vec<Block>,
    held: u64,
    limit: u64,
    /// Its share of the memory for messages.
    share: Share,
}

struct Roots {
    head: Cid,
    record: Cid,
    rungs: Vec<Cid>,
}

/// A message that was received and has the expected form.
pub(super) struct Whole {
    pub(super) head: Cid,
    pub(super) record: Block,
    /// The rungs of its ladder, lowest first.
    pub(super) rungs: Vec<Block>,
    pub(super) blocks: Vec<Block>,
    /// The share of the memory, held until this is dropped.
    pub(super) share: Share,
}

impl Message {
    pub(super) fn new(share: Share, limit: u64) -> Message {
        Message {
            decoder: Decoder::new(),
            roots: None,
            blocks: Vec::new(),
            held: 0,
            limit,
            share,
        }
    }

    /// Most bytes a message may have.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Takes the next piece and checks every block that is complete with it.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), IngestError> {
        self.reserve(self.decoder.held() as u64 + piece.len() as u64)?;
        self.decoder.push(piece);
        while let Some(event) = self.decoder.next_event()? {
            match event {
                Event::Header(header) => self.roots = Some(Roots::parse(&header.roots)?),
                Event::Block(block) => {
                    self.held += BLOCK_COST + block.bytes().len() as u64;
                    self.blocks.push(block);
                }
            }
        }
        Ok(())
    }

    /// Makes sure that the blocks so far and this much more may be held. So memory is taken by what has come, not by what is
    /// announced.
    fn reserve(&mut self, more: u64) -> Result<(), IngestError> {
        let units = (self.held + more).div_ceil(UNIT_BYTES);
        match units.checked_sub(self.share.places()) {
            Some(needed) if needed > 0 && !self.share.grow(needed) => Err(IngestError::Busy),
            _ => Ok(()),
        }
    }

    /// Checks the form of the whole message.
    pub(super) fn finish(mut self) -> Result<Whole, IngestError> {
        self.decoder.finish()?;
        let Roots {
            head,
            record,
            rungs,
        } = self
            .roots
            .ok_or(IngestError::NotAMessage("it has no header"))?;
        let last = self
            .blocks
            .pop()
            .ok_or(IngestError::NotAMessage("it has no blocks"))?;
        if *last.cid() != record {
            return Err(IngestError::NotAMessage(
                "its last block is not the record its header names",
            ));
        }
        let first = self.blocks.len().saturating_sub(rungs.len());
        let last_blocks = self.blocks.split_off(first);
        if !last_blocks.iter().map(Block::cid).eq(&rungs) {
            return Err(IngestError::NotAMessage(
                "the blocks before its record are not the rungs its header names",
            ));
        }
        Ok(Whole {
            head,
            record: last,
            rungs: last_blocks,
            blocks: self.blocks,
            share: self.share,
        })
    }
}

impl Roots {
    fn parse(roots: &[Cid]) -> Result<Roots, IngestError> {
        let is_record = |cid: &Cid| cid.codec() == Codec::Raw.code();
        match roots {
            [head, records @ ..] if records.iter().all(is_record) => match records {
                [record, rungs @ ..] if rungs.len() <= LADDER_RUNGS => Ok(Roots {
                    head: *head,
                    record: *record,
                    rungs: rungs.to_vec(),
                }),
                _ => Err(IngestError::NotAMessage(
                    "its roots are not [head, record] with at most 24 rungs behind them",
                )),
            },
            _ => Err(IngestError::NotAMessage("its roots are not [head, record]")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::codec::car;

    use super::*;
    use crate::groups::Shares;

    fn raw(bytes: Vec<u8>) -> Block {
        Block::new(Codec::Raw, bytes).unwrap()
    }

    fn receive(file: &[u8], memory_units: u64, piece: usize) -> Result<Whole, IngestError> {
        let memory = Shares::new(memory_units, memory_units);
        let mut message = Message::new(memory.none(None), 1 << 20);
        for piece in file.chunks(piece) {
            message.push(piece)?;
        }
        message.finish()
    }

    #[test]
    fn a_message_is_read_in_pieces_of_any_size() {
        let (head, record) = (raw(vec![1; 900]), raw(vec![2; 90]));
        let file = car::write(&[*head.cid(), *record.cid()], [&head, &record]).unwrap();
        for piece in [1, 7, 500, 5_000] {
            let whole = receive(&file, 100, piece).unwrap();
            assert_eq!(whole.head, *head.cid());
            assert_eq!(whole.record, record);
            assert_eq!(whole.blocks, std::slice::from_ref(&head));
        }
    }

    #[test]
    fn rungs_are_the_further_roots_and_come_right_before_the_record() {
        let (head, record) = (raw(vec![1; 900]), raw(vec![2; 90]));
        let rungs = [raw(vec![3; 90]), raw(vec![4; 90])];
        let roots = [*head.cid(), *record.cid(), *rungs[0].cid(), *rungs[1].cid()];
        let file = car::write(&roots, [&head, &rungs[0], &rungs[1], &record]).unwrap();
        let whole = receive(&file, 100, 50).unwrap();
        assert_eq!(
            (whole.rungs.as_slice(), whole.record),
            (&rungs[..], record.clone())
        );
        assert_eq!(whole.blocks, std::slice::from_ref(&head));
        let turned = [&head, &rungs[1], &rungs[0], &record];
        let absent = [&head, &rungs[1], &record];
        let many: Vec<Cid> = roots[..2]
            .iter()
            .copied()
            .chain([*rungs[0].cid(); 25])
            .collect();
        for file in [
            car::write(&roots, turned).unwrap(),
            car::write(&roots, absent).unwrap(),
            car::write(&many, [&head, &rungs[0], &record]).unwrap(),
        ] {
            let refused = receive(&file, 100, 1_000);
            assert!(matches!(refused, Err(IngestError::NotAMessage(_))));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let (head, record) = (raw(vec![1; 9]), raw(vec![2; 9]));
        let roots = [*head.cid(), *record.cid()];
        let one_root = car::write(&roots[..1], [&head, &record]).unwrap();
        let wrong_end = car::write(&roots, [&record, &head]).unwrap();
        let no_blocks = car::write(&roots, []).unwrap();
        for file in [one_root, wrong_end, no_blocks] {
            assert!(matches!(
                receive(&file, 100, 1_000),
                Err(IngestError::NotAMessage(_))
            ));
        }
        let whole = car::write(&roots, [&head, &record]).unwrap();
        for cut in 0..whole.len() {
            assert!(receive(&whole[..cut], 100, 1_000).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_message_beyond_the_memory_is_refused_and_gives_its_share_back() {
        let blocks: Vec<Block> = (0..64).map(|i| raw(vec![i; 4_096])).collect();
        let roots = [*blocks[0].cid(), *blocks[63].cid()];
        let file = car::write(&roots, &blocks).unwrap();
        let memory = Shares::new(32, 32);
        let mut message = Message::new(memory.none(None), 1 << 20);
        let refused = file
            .chunks(1_000)
            .find_map(|piece| message.push(piece).err());
        assert!(matches!(refused, Some(IngestError::Busy)));
        assert!(memory.taken() > 0);
        drop(message);
        assert_eq!(memory.taken(), 0);
    }
}
