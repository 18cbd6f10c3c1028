//! How routers have done: averages of success and latency in which what is long ago counts little. Pure: the time is an
//! argument.
//!
//! Each answer has weight one, halved with every [`HALF_LIFE`] that passes, on top of a small weight of optimism: a
//! router that nothing is known about, or that failed long ago, counts as fast and good, so that it is tried again. A
//! plain average would remember for ever that one was good, and go on trusting it when it dies.

use std::{collections::BTreeMap, time::Duration};

use perennis_shared::time::Millis;

/// The time after which an answer counts half.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// What is assumed of a router before it has answered, as the weight of so many answers.
const PRIOR: f64 = 0.5;

/// Latency that is assumed of a router before it has answered, in seconds.
const PRIOR_LATENCY: f64 = 0.05;

/// What a failure costs beside the time it took, in seconds: somebody else has to be asked.
const FAILURE: f64 = 5.0;

/// Routers whose averages are kept; the one heard from longest ago gives way.
const KEPT: usize = 256;

/// The averages of many routers, by label.
#[derive(Debug, Default)]
pub struct Scores {
    routers: BTreeMap<String, Tally>,
}

/// How an answer of a router counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreInput {
    /// It gave a valid record, or said that there is none.
    Answered {
        /// The time it took.
        took: Duration,
    },
    /// It failed, gave what is not valid, or did not answer in time.
    Failed {
        /// The time it was given.
        took: Duration,
    },
}

/// The averages of one router.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The share of answers among all that was asked, 0 to 1.
    pub success: f64,
    /// The time of an answer or a failure.
    pub latency: Duration,
    /// How many answers are behind these, discounted.
    pub weight: f64,
}

impl Score {
    /// The time to expect until an answer, failures counted in. Less is better.
    #[must_use]
    pub fn cost(&self) -> Duration {
        let failing = (1.0 - self.success) * FAILURE;
        self.latency + Duration::from_secs_f64(failing.max(0.0))
    }
}

/// Discounted sums at a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    at: Millis,
    asked: f64,
    answered: f64,
    seconds: f64,
}

impl Tally {
    /// The same sums at a later moment.
    fn at(self, now: Millis) -> Tally {
        let passed = (now - self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        let kept = 0.5_f64.powf(passed);
        Tally {
            at: self.at.max(now),
            asked: self.asked * kept,
            answered: self.answered * kept,
            seconds: self.seconds * kept,
        }
    }

    fn score(self) -> Score {
        let weight = self.asked + PRIOR;
        let seconds = (self.seconds + PRIOR * PRIOR_LATENCY) / weight;
        Score {
            success: (self.answered + PRIOR) / weight,
            latency: Duration::from_secs_f64(seconds),
            weight: self.asked,
        }
    }
}

impl Scores {
    /// Counts how a router did.
    pub fn handle(&mut self, now: Millis, label: &str, input: ScoreInput) {
        let before = self.routers.get(label).copied().unwrap_or_default();
        let mut tally = before.at(now);
        let (took, answered) = match input {
            ScoreInput::Answered { took } => (took, 1.0),
            ScoreInput::Failed { took } => (took, 0.0),
        };
        tally.asked += 1.0;
        tally.answered += answered;
        tally.seconds += took.as_secs_f64();
        self.routers.insert(label.to_owned(), tally);
        if self.routers.len() > KEPT {
            let oldest = self.routers.iter().min_by_key(|(_, tally)| tally.at);
            if let Some(oldest) = oldest.map(|(label, _)| label.clone()) {
                self.routers.remove(&oldest);
            }
        }
    }

    /// The averages of a router at this moment.
    #[must_use]
    pub fn score(&self, now: Millis, label: &str) -> Score {
        let tally = self.routers.get(label).copied().unwrap_or_default();
        tally.at(now).score()
    }

    /// The places of `labels` in the order in which to hope for their answers, best first; equals stay as they are.
    #[must_use]
    pub fn order(&self, now: Millis, labels: &[String]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by_key(|index| self.score(now, &labels[*index]).cost());
        order
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Millis = Millis(1_790_000_000_000);

    fn answered(milliseconds: u64) -> ScoreInput {
        ScoreInput::Answered {
            took: Duration::from_millis(milliseconds),
        }
    }

    fn failed(milliseconds: u64) -> ScoreInput {
        ScoreInput::Failed {
            took: Duration::from_millis(milliseconds),
        }
    }

    fn labels(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    #[test]
    fn fast_and_good_comes_first() {
        let mut scores = Scores::default();
        for _ in 0..10 {
            scores.handle(NOW, "slow", answered(900));
            scores.handle(NOW, "fast", answered(80));
            scores.handle(NOW, "broken", failed(5));
        }
        let order = scores.order(NOW, &labels(&["broken", "slow", "fast"]));
        assert_eq!(order, [2, 1, 0]);
        assert!(scores.score(NOW, "broken").success < 0.1);
        assert!(scores.score(NOW, "fast").success > 0.99);
    }

    #[test]
    fn the_best_that_dies_is_left_and_tried_again_later() {
        let mut scores = Scores::default();
        for _ in 0..1_000 {
            scores.handle(NOW, "best", answered(10));
            scores.handle(NOW, "other", answered(400));
        }
        // A day later a thousand answers weigh nothing: two failures are enough.
        let day = Millis(NOW.0 + 86_400_000);
        scores.handle(day, "other", answered(400));
        for _ in 0..2 {
            scores.handle(day, "best", failed(5_000));
        }
        assert_eq!(scores.order(day, &labels(&["best", "other"])), [1, 0]);
        // Hours later it is given a chance.
        let later = Millis(day.0 + 6 * 3_600_000);
        scores.handle(later, "other", answered(400));
        assert_eq!(scores.order(later, &labels(&["best", "other"])), [0, 1]);
    }

    #[test]
    fn labels_are_bounded() {
        let mut scores = Scores::default();
        for number in 0..1_000 {
            scores.handle(Millis(NOW.0 + number), &format!("{number}"), answered(1));
        }
        assert_eq!(scores.routers.len(), KEPT);
        assert!(scores.routers.contains_key("999"));
    }

    proptest! {
        #[test]
        fn averages_stay_within_what_was_seen(
            steps in prop::collection::vec((any::<bool>(), 1_u64..60_000, 0_u64..10_000_000), 1..60),
        ) {
            let mut scores = Scores::default();
            let mut now = NOW;
            for (is_answer, took, passed) in &steps {
                now = Millis(now.0 + passed);
                let input = if *is_answer { answered(*took) } else { failed(*took) };
                scores.handle(now, "one", input);
                // A clock that goes back changes nothing much.
                let score = scores.score(Millis(now.0 - 1), "one");
                prop_assert!((0.0..=1.0).contains(&score.success));
                prop_assert!(score.latency <= Duration::from_secs(60));
                prop_assert!(score.weight <= steps.len() as f64 + 1e-6);
            }
        }
    }
}
