//! How many peers a network has, from how near the nearest ones are.
//!
//! Peers stand evenly in the keyspace, so the *i*-th nearest of *n* is `i / (n + 1)` of it away from a key, in the mean.
//! With *n* known, it can be told of a single distance whether a peer is likely to be among the closest, before a
//! lookup has come to its end: what *optimistic provide* of the Go implementation rests on.

use std::collections::VecDeque;

use super::{REPLICAS, keyspace::Point};

/// Lookups that count.
const LOOKUPS: usize = 32;

/// Lookups before there is an estimate.
const ENOUGH: usize = 4;

/// The Poisson mean at which nine of ten times fewer than [`REPLICAS`] occur: a peer that is nearer to a key than this
/// many peers in the mean is among the closest with a probability of 0.9.
const NEAR: f64 = 14.525;

/// As [`NEAR`], for the mean distance of [`REPLICAS`] peers, which is that of the eleventh: when it is below this, there
/// are hardly any nearer ones.
const ALL_NEAR: f64 = 15.407;

/// What lookups have shown of a network's size.
#[derive(Debug, Default)]
pub(crate) struct Size {
    /// The distances of the closest peers, nearest first, of each lookup; the latest is the last.
    lookups: VecDeque<[f64; REPLICAS]>,
}

impl Size {
    /// Takes in the distances of the closest peers of a lookup that came to its end. A network too small for a whole
    /// set tells nothing.
    pub(super) fn learn<'a>(&mut self, distances: impl Iterator<Item = &'a Point>) {
        let distances: Vec<f64> = distances.map(fraction).collect();
        let Ok(distances) = distances.try_into() else {
            return;
        };
        if self.lookups.len() == LOOKUPS {
            self.lookups.pop_front();
        }
        self.lookups.push_back(distances);
    }

    /// How many peers there are; `None` before enough lookups.
    pub(super) fn peers(&self) -> Option<f64> {
        if self.lookups.len() < ENOUGH {
            return None;
        }
        // The line through zero that is nearest to the mean distance of each rank.
        let (mut products, mut squares) = (0.0, 0.0);
        for distances in &self.lookups {
            for (rank, distance) in (1..).map(f64::from).zip(distances) {
                products += rank * distance;
                squares += rank * rank;
            }
        }
        let slope = products / squares;
        (slope > 0.0).then(|| (1.0 / slope - 1.0).max(1.0))
    }
}

/// Whether a peer at this distance is likely to be among the closest of so many.
pub(super) fn is_near(distance: &Point, peers: f64) -> bool {
    fraction(distance) * peers < NEAR
}

/// Whether these are so near that hardly any nearer ones can exist.
pub(super) fn are_nearest<'a>(distances: impl Iterator<Item = &'a Point>, peers: f64) -> bool {
    let (mut sum, mut count) = (0.0, 0_u32);
    for distance in distances {
        sum += fraction(distance);
        count += 1;
    }
    count as usize == REPLICAS && sum / f64::from(count) * peers < ALL_NEAR
}

/// A distance as a part of the keyspace.
fn fraction(distance: &Point) -> f64 {
    let bytes = distance.first_chunk::<8>().expect("a point has 32 bytes");
    let [high, low] = [u64::from_be_bytes(*bytes) >> 32, u64::from_be_bytes(*bytes)]
        .map(|bits| u32::try_from(bits & 0xffff_ffff).expect("32 bits are left"));
    (f64::from(high) + f64::from(low) / 2_f64.powi(32)) / 2_f64.powi(32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::keyspace::{distance, network, point_of};

    fn distances(points: &[Point], key: u32) -> Vec<Point> {
        let target = point_of(&key.to_be_bytes());
        let mut distances: Vec<Point> = points.iter().map(|at| distance(at, &target)).collect();
        distances.sort_unstable();
        distances
    }

    fn points(peers: u32) -> Vec<Point> {
        let peers = network(peers).into_iter();
        peers
            .map(|contact| point_of(&contact.peer.to_bytes()))
            .collect()
    }

    #[test]
    fn a_few_lookups_show_the_size_of_a_network() {
        for peers in [200, 3_000] {
            let points = points(peers);
            let mut size = Size::default();
            for key in 1_000..1_000 + 16 {
                size.learn(distances(&points, key)[..REPLICAS].iter());
            }
            let known = size.peers().expect("sixteen lookups are enough");
            let share = known / f64::from(peers);
            assert!((0.7..1.4).contains(&share), "{known} of {peers}");
        }
    }

    #[test]
    fn nothing_is_said_after_too_few_lookups_or_of_a_small_network() {
        let mut size = Size::default();
        for key in 0..3 {
            size.learn(distances(&points(100), key)[..REPLICAS].iter());
        }
        assert_eq!(size.peers(), None);
        let mut size = Size::default();
        for key in 0..10 {
            size.learn(distances(&points(12), key).iter());
        }
        assert_eq!(size.peers(), None);
    }

    #[test]
    fn who_counts_as_near_is_among_the_closest_nine_times_of_ten() {
        let points = points(2_000);
        let keys = 5_000..5_400;
        let crowded = keys.clone().filter(|key| {
            let near = distances(&points, *key);
            near.iter().filter(|at| is_near(at, 2_000.0)).count() > REPLICAS
        });
        assert!(crowded.count() < 60);
        // The closest of all mostly pass, those behind them do not.
        let (mut closest, mut others) = (0, 0);
        for key in keys {
            let ranked = distances(&points, key);
            closest += usize::from(are_nearest(ranked[..REPLICAS].iter(), 2_000.0));
            others += usize::from(are_nearest(ranked[20..40].iter(), 2_000.0));
        }
        assert!(closest > 340 && others == 0, "{closest} {others}");
    }
}
