//! What the last operations through a route came to: their times, as percentiles and as a histogram. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use perennis_shared::time::Millis;
use serde::Serialize;

use crate::metrics::{BOUNDS_MS, ProbeOutcome};

/// Operations that are remembered of each kind through each route.
pub(super) const KEPT: usize = 200;

/// How long an error message is kept, in characters.
const ERROR_CHARS: usize = 300;

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at: Millis,
    pub(super) took: Duration,
    pub(super) outcome: ProbeOutcome,
}

/// The last operations of one kind through one route.
#[derive(Default)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    last_error: Option<(Millis, String)>,
}

impl History {
    pub(super) fn add(&mut self, sample: Sample, error: Option<&str>) {
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        if let Some(error) = error {
            let text = error.chars().take(ERROR_CHARS).collect();
            self.last_error = Some((sample.at, text));
        }
    }

    pub(super) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }

    pub(super) fn summary(&self) -> Summary {
        let count = |outcome| {
            let of = self.samples().filter(|sample| sample.outcome == outcome);
            of.count()
        };
        let mut times: Vec<Duration> = self
            .samples()
            .filter(|sample| sample.outcome == ProbeOutcome::Ok)
            .map(|sample| sample.took)
            .collect();
        times.sort_unstable();
        let last = self.samples.back();
        let error = self.last_error.as_ref();
        Summary {
            count: self.samples.len(),
            ok: times.len(),
            stale: count(ProbeOutcome::Stale),
            failed: count(ProbeOutcome::Failed),
            p50_ms: percentile(&times, 50).map(millis),
            p90_ms: percentile(&times, 90).map(millis),
            p99_ms: percentile(&times, 99).map(millis),
            max_ms: times.last().copied().map(millis),
            buckets: buckets(&times),
            last_at: last.map(|last| last.at.to_string()),
            last_outcome: last.map(|last| last.outcome),
            last_error: error.map(|(_, text)| text.clone()),
            last_error_at: error.map(|(at, _)| at.to_string()),
        }
    }
}

/// How the last operations of one kind did. Times are of those that ended well.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    count: usize,
    ok: usize,
    stale: usize,
    failed: usize,
    p50_ms: Option<f64>,
    p90_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
    buckets: Vec<Bucket>,
    last_at: Option<String>,
    last_outcome: Option<ProbeOutcome>,
    last_error: Option<String>,
    last_error_at: Option<String>,
}

/// One class of a histogram: how many took longer than the class before lets, and at most so long.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Bucket {
    up_to_ms: Option<u32>,
    count: usize,
}

/// The smallest of these times that so many of a hundred do not exceed (nearest rank).
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

fn buckets(sorted: &[Duration]) -> Vec<Bucket> {
    let mut below = 0;
    let bounds = BOUNDS_MS.into_iter().map(Some).chain([None]);
    bounds
        .map(|bound| {
            let up_to = bound.map_or(sorted.len(), |bound| {
                let bound = Duration::from_millis(bound.into());
                sorted.partition_point(|took| *took <= bound)
            });
            let count = up_to - below;
            below = up_to;
            Bucket {
                up_to_ms: bound,
                count,
            }
        })
        .collect()
}

/// Milliseconds with three digits behind the point.
fn millis(took: Duration) -> f64 {
    let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: &[u64]) -> Vec<Duration> {
        millis.iter().copied().map(Duration::from_millis).collect()
    }

    fn sample(took_ms: u64, outcome: ProbeOutcome) -> Sample {
        Sample {
            at: Millis(took_ms),
            took: Duration::from_millis(took_ms),
            outcome,
        }
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        let table: [(&[u64], usize, Option<u64>); 9] = [
            (&[], 50, None),
            (&[7], 50, Some(7)),
            (&[7], 99, Some(7)),
            (&[1, 2], 50, Some(1)),
            (&[1, 2, 3], 50, Some(2)),
            (&[1, 2, 3], 99, Some(3)),
            (&hundred, 50, Some(50)),
            (&hundred, 90, Some(90)),
            (&hundred, 99, Some(99)),
        ];
        for (sorted, percent, expected) in table {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(percentile(&times(sorted), percent), expected, "{percent}");
        }
    }

    #[test]
    fn every_time_is_in_one_class_and_bounds_belong_to_the_class_below() {
        let found = buckets(&times(&[0, 1, 2, 3, 60_000, 60_001, 900_000]));
        assert_eq!(found.len(), BOUNDS_MS.len() + 1);
        assert_eq!(found.iter().map(|bucket| bucket.count).sum::<usize>(), 7);
        let of = |up_to_ms| found.iter().find(|bucket| bucket.up_to_ms == up_to_ms);
        for (up_to, count) in [
            (Some(1), 2),
            (Some(2), 1),
            (Some(5), 1),
            (Some(60_000), 1),
            (None, 2),
        ] {
            assert_eq!(
                of(up_to).map(|bucket| bucket.count),
                Some(count),
                "{up_to:?}"
            );
        }
    }

    #[test]
    fn the_last_are_remembered_and_only_what_ended_well_is_timed() {
        let mut history = History::default();
        assert_eq!(history.summary().p50_ms, None);
        history.add(sample(1, ProbeOutcome::Failed), Some("gone"));
        for took in 2..=KEPT as u64 {
            history.add(sample(took, ProbeOutcome::Ok), None);
        }
        history.add(
            sample(30_000, ProbeOutcome::Failed),
            Some(&"x".repeat(1_000)),
        );
        history.add(sample(40_000, ProbeOutcome::Stale), None);
        let summary = history.summary();
        // The failure at the start and the first good one have given way.
        assert_eq!((summary.count, summary.ok), (KEPT, KEPT - 2));
        assert_eq!((summary.failed, summary.stale), (1, 1));
        assert_eq!(summary.max_ms, Some(200.0));
        assert_eq!(summary.last_outcome, Some(ProbeOutcome::Stale));
        assert_eq!(summary.last_error.map(|text| text.len()), Some(ERROR_CHARS));
        assert_eq!(summary.last_error_at, Some(Millis(30_000).to_string()));
    }
}
