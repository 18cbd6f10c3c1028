//! How often each name is asked for, and which are asked for so often that their records are put more often.
//!
//! A question counts 1 and half as much after each half-life, so that the level of a name is a measure of its rate
//! lately: asked at a steady rate `r`, it comes to `r × half-life / ln 2`. A name becomes hot at a rate and is no longer
//! below half of it, so that none goes back and forth. Of too many hot names the hottest are.
//!
//! A pure machine: no clock, no randomness. Bounded: of too many names those asked for least are forgotten.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use crate::config::HotConfig;

/// Names whose rate is known; above that the cooler half is forgotten.
const TRACKED: usize = 131_072;

/// How long the rate of the coolest hot name is taken to stay what it was.
const BAR: Duration = Duration::from_secs(10);

/// How often names are asked for, as all who answer for them count it.
pub(crate) type SharedDemand = Arc<Mutex<Demand>>;

/// How often names are asked for.
pub(crate) struct Demand {
    config: HotConfig,
    levels: HashMap<Name, Level>,
    hot: HashSet<Name>,
    /// Those that became hot since they were last taken.
    heated: Vec<Name>,
    /// The rate of the coolest hot name when it was looked for last, and when that was.
    bar: Option<(Millis, f64)>,
}

#[derive(Clone, Copy)]
struct Level {
    level: f64,
    at: Millis,
}

impl Level {
    fn now(self, now: Millis, half_life: Duration) -> f64 {
        let passed = now.0.saturating_sub(self.at.0) as f64;
        self.level * (-passed / millis(half_life)).exp2()
    }
}

impl Demand {
    pub(crate) fn new(config: &HotConfig) -> Demand {
        Demand {
            config: config.clone(),
            levels: HashMap::new(),
            hot: HashSet::new(),
            heated: Vec::new(),
            bar: None,
        }
    }

    /// Somebody asked for a name.
    pub(crate) fn asked(&mut self, now: Millis, name: &Name) {
        if self.config.names == 0 {
            return;
        }
        if self.levels.len() >= TRACKED && !self.levels.contains_key(name) {
            self.forget_the_cooler_half(now);
        }
        let half_life = self.config.half_life;
        let level = self.levels.entry(*name).or_insert(Level {
            level: 0.0,
            at: now,
        });
        *level = Level {
            level: level.now(now, half_life) + 1.0,
            at: now,
        };
        if !self.hot.contains(name) && self.rate(now, name) >= f64::from(self.config.resolves) {
            self.heat(now, *name);
        }
    }

    /// Resolves of a name in an hour, as measured lately.
    pub(crate) fn rate(&self, now: Millis, name: &Name) -> f64 {
        let level = self.levels.get(name);
        let level = level.map_or(0.0, |level| level.now(now, self.config.half_life));
        let hours = millis(self.config.half_life) / 3_600_000.0;
        level * std::f64::consts::LN_2 / hours
    }

    /// Whether a name is put more often.
    pub(crate) fn is_hot(&mut self, now: Millis, name: &Name) -> bool {
        if !self.hot.contains(name) {
            return false;
        }
        // A level of later than now would not fall until then: the clock was set back.
        if let Some(level) = self.levels.get_mut(name) {
            level.at = level.at.min(now);
        }
        let is_hot = self.rate(now, name) >= f64::from(self.config.resolves) / 2.0;
        if !is_hot {
            self.hot.remove(name);
        }
        is_hot
    }

    /// How many names are hot.
    pub(crate) fn hot_names(&self) -> usize {
        self.hot.len()
    }

    /// Names that became hot since this was asked last.
    pub(crate) fn take_heated(&mut self) -> Vec<Name> {
        std::mem::take(&mut self.heated)
    }

    fn heat(&mut self, now: Millis, name: Name) {
        if self.hot.len() >= self.config.names {
            let rate = self.rate(now, &name);
            // Not for every question about a name that is nearly as hot: looking for the coolest takes a while.
            if let Some((at, bar)) = self.bar
                && at <= now
                && now - at < BAR
                && rate <= bar
            {
                return;
            }
            let rates = self.hot.iter().map(|hot| (self.rate(now, hot), *hot));
            let coolest = rates.min_by(|(a, _), (b, _)| a.total_cmp(b));
            match coolest {
                Some((bar, coolest)) if bar < rate => {
                    self.bar = None;
                    self.hot.remove(&coolest);
                    self.heated.retain(|heated| *heated != coolest);
                }
                coolest => {
                    self.bar = coolest.map(|(bar, _)| (now, bar));
                    return;
                }
            }
        }
        self.hot.insert(name);
        self.heated.push(name);
    }

    fn forget_the_cooler_half(&mut self, now: Millis) {
        let half_life = self.config.half_life;
        let mut levels: Vec<f64> = self
            .levels
            .values()
            .map(|level| level.now(now, half_life))
            .collect();
        let middle = levels.len() / 2;
        let (_, median, _) = levels.select_nth_unstable_by(middle, f64::total_cmp);
        let median = *median;
        let mut left = TRACKED - middle;
        let hot = &self.hot;
        // Of those at the median itself as many stay as there is room for.
        self.levels.retain(|name, level| {
            let level = level.now(now, half_life);
            let stays = level > median || hot.contains(name) || (level >= median && left > 0);
            left = left.saturating_sub(usize::from(stays));
            stays
        });
        self.hot.retain(|name| self.levels.contains_key(name));
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennis_shared::sign::SigningKey;

    const HOUR: u64 = 3_600_000;

    fn name(number: u32) -> Name {
        let mut seed = [1; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        Name::from_public_key(&SigningKey::from_seed(&seed).public())
    }

    fn demand(names: usize) -> Demand {
        Demand::new(&HotConfig {
            period: Duration::from_secs(600),
            resolves: 60,
            half_life: Duration::from_secs(3_600),
            names,
        })
    }

    #[test]
    fn a_steady_rate_is_measured_and_heats_a_name_once() {
        let mut demand = demand(10);
        let mut now = Millis(1_000_000);
        // 100 an hour, for ten hours.
        for _ in 0..1_000 {
            now.0 += HOUR / 100;
            demand.asked(now, &name(1));
        }
        let rate = demand.rate(now, &name(1));
        assert!((95.0..105.0).contains(&rate), "{rate}");
        assert!(demand.is_hot(now, &name(1)));
        assert_eq!(demand.take_heated(), [name(1)]);
        assert_eq!(demand.take_heated(), []);
        assert!(!demand.is_hot(now, &name(2)));
    }

    #[test]
    fn a_name_that_nobody_asks_for_cools_down_and_not_at_the_threshold() {
        let mut demand = demand(10);
        let start = Millis(1_000_000);
        for _ in 0..100 {
            demand.asked(start, &name(1));
        }
        // 69 an hour; half of the threshold is reached after somewhat more than one half-life.
        assert!(demand.is_hot(Millis(start.0 + HOUR), &name(1)));
        assert!(!demand.is_hot(Millis(start.0 + 2 * HOUR), &name(1)));
        // A clock that goes back heats nothing.
        assert!(demand.rate(Millis(0), &name(1)) <= 100.0);
    }

    #[test]
    fn of_too_many_the_hottest_are_hot() {
        let mut demand = demand(3);
        let now = Millis(1_000_000);
        for (number, asked) in [(1, 100), (2, 300), (3, 200), (4, 400), (5, 10)] {
            for _ in 0..asked {
                demand.asked(now, &name(number));
            }
        }
        let hot: Vec<u32> = (1..=5)
            .filter(|number| demand.is_hot(now, &name(*number)))
            .collect();
        assert_eq!(hot, [2, 3, 4]);
        assert_eq!(demand.hot_names(), 3);
    }

    #[test]
    fn none_is_hot_when_it_is_turned_off() {
        let mut demand = demand(0);
        for _ in 0..1_000 {
            demand.asked(Millis(1), &name(1));
        }
        assert!(!demand.is_hot(Millis(1), &name(1)));
        assert!(demand.levels.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_the_warm_ones_stay() {
        let mut demand = demand(10);
        let names: Vec<Name> = (0..40).map(name).collect();
        let now = Millis(1_000_000);
        for name in &names {
            for _ in 0..200 {
                demand.asked(now, name);
            }
        }
        // Keys of made-up names are cheaper than signing keys.
        for number in 0..TRACKED + 10 {
            let digest = perennis_shared::cid::cid_of(
                perennis_shared::cid::Codec::Raw,
                &number.to_be_bytes(),
            );
            let bytes = digest.hash().to_bytes();
            let Ok(cold) = Name::from_bytes(&bytes) else {
                panic!("a SHA-256 multihash is a name");
            };
            demand.asked(now, &cold);
        }
        assert!(demand.levels.len() <= TRACKED);
        assert!(names.iter().all(|name| demand.rate(now, name) > 100.0));
    }
}
