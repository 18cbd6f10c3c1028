//! What the DHT is told of, region after region of its keyspace.

use perennis_net::dht::{Point, point_of};
use perennis_shared::cid::Cid;
use perennis_shared::time::Millis;
use perennis_store::Batch;

use super::keys::PROVIDED;
use super::{Storage, StorageError};
use crate::config::ProvideStrategy;

/// Rows read at once.
const READ: usize = 4_096;

/// How far the DHT has been told of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProvideRound {
    /// When the round was begun.
    pub(crate) begun: Millis,
    /// The region that is next.
    pub(crate) region: u16,
}

impl Storage {
    /// How far the DHT has been told; `None` when it was never.
    pub(crate) async fn provide_round(&self) -> Result<Option<ProvideRound>, StorageError> {
        let parse = |row: &[u8]| {
            let (begun, rest) = row.split_first_chunk::<8>()?;
            Some(ProvideRound {
                begun: Millis(u64::from_be_bytes(*begun)),
                region: u16::from_be_bytes(rest.try_into().ok()?),
            })
        };
        self.blocking(move |this| this.row(PROVIDED, |row| parse(row).ok_or("it is no place")))
            .await
    }

    pub(crate) async fn save_provide_round(&self, round: ProvideRound) -> Result<(), StorageError> {
        let mut row = round.begun.0.to_be_bytes().to_vec();
        row.extend_from_slice(&round.region.to_be_bytes());
        let mut batch = Batch::new();
        batch.put_meta(PROVIDED, row);
        self.write(batch).await
    }

    /// The blocks that are told of and stand in one of so many regions, in the order of the keyspace.
    pub(crate) async fn provided_in(
        &self,
        region: u16,
        regions: u16,
        strategy: ProvideStrategy,
    ) -> Result<Vec<Cid>, StorageError> {
        self.blocking(move |this| {
            let mut found: Vec<(Point, Cid)> = Vec::new();
            let mut take = |cid: Cid| {
                let point = point_of(&cid.hash().to_bytes());
                if region_of(&point, regions) == region {
                    found.push((point, cid));
                }
            };
            match strategy {
                ProvideStrategy::Off => {}
                ProvideStrategy::Roots => this.each_root(take)?,
                ProvideStrategy::All => {
                    let mut after: Option<Cid> = None;
                    loop {
                        let cids = this.store.cids(after.as_ref(), READ)?;
                        let Some(last) = cids.last().copied() else {
                            break;
                        };
                        after = Some(last);
                        cids.into_iter().for_each(&mut take);
                    }
                }
            }
            found.sort_unstable();
            // Blocks of one content under several codecs have one key.
            found.dedup_by_key(|(point, _)| *point);
            let mut here = Vec::with_capacity(found.len());
            for (_, cid) in found {
                if this.store.has(&cid)? {
                    here.push(cid);
                }
            }
            Ok(here)
        })
        .await
    }
}

/// The region of a point, of so many of one size.
fn region_of(point: &Point, regions: u16) -> u16 {
    let start = u16::from_be_bytes([point[0], point[1]]);
    let scaled = (u32::from(start) * u32::from(regions)) >> 16;
    u16::try_from(scaled).unwrap_or(regions.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_of_one_size_and_in_order() {
        let mut last = 0;
        let mut sizes = [0_usize; 64];
        for start in 0..=u16::MAX {
            let mut point = [0xff; 32];
            point[..2].copy_from_slice(&start.to_be_bytes());
            let region = region_of(&point, 64);
            assert!(region >= last);
            last = region;
            sizes[usize::from(region)] += 1;
        }
        assert_eq!(sizes, [1_024; 64]);
    }
}
