//! When the power goes, and how much goes with it.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

/// The power that the doubles hang on. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Power(Arc<Mutex<PowerState>>);

#[derive(Debug, Default)]
struct PowerState {
    points: u64,
    cut_at: Option<u64>,
    off: bool,
    fault: Option<(u64, io::ErrorKind)>,
}

/// How a point goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// As asked.
    Go,
    /// The power goes while it is under way: it may happen in part, and is not answered.
    Cut,
    /// The power is off: nothing happens.
    Off,
    /// It fails, in part done; the next point may go well.
    Fail(io::ErrorKind),
}

impl Power {
    /// Power that goes at the point of this number (the first is 0).
    #[must_use]
    pub fn cut_at(point: u64) -> Self {
        let power = Self::default();
        power.0.lock().cut_at = Some(point);
        power
    }

    /// How many points there were.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.0.lock().points
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.0.lock().off
    }

    /// Cuts the power now.
    pub fn cut(&self) {
        self.0.lock().off = true;
    }

    /// Gives power again: what was killed left all in the memory of the system.
    pub fn restore(&self) {
        let mut state = self.0.lock();
        state.off = false;
        state.cut_at = None;
    }

    /// Cuts the power at a point to come: 0 is the next.
    pub fn cut_after(&self, points: u64) {
        let mut state = self.0.lock();
        state.cut_at = Some(state.points + points);
    }

    /// Lets the point of this number fail with an error of this kind, and only that one.
    pub fn fail_at(&self, point: u64, kind: io::ErrorKind) {
        self.0.lock().fault = Some((point, kind));
    }

    pub(super) fn step(&self) -> Step {
        let mut state = self.0.lock();
        if state.off {
            return Step::Off;
        }
        let point = state.points;
        state.points += 1;
        if state.cut_at == Some(point) {
            state.off = true;
            return Step::Cut;
        }
        match state.fault {
            Some((at, kind)) if at == point => Step::Fail(kind),
            _ => Step::Go,
        }
    }
}

/// What a power cut takes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it.
    Everything,
    /// None of it: it had reached the disk by chance.
    Nothing,
    /// Some sectors of some writes; this seed says which.
    Some(u64),
}

impl Loss {
    pub(super) fn dice(self, salt: u64) -> Dice {
        Dice {
            loss: self,
            state: salt.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
        .seeded()
    }
}

/// Draws from a seed (SplitMix64).
#[derive(Debug)]
pub(super) struct Dice {
    loss: Loss,
    state: u64,
}

impl Dice {
    fn seeded(mut self) -> Self {
        if let Loss::Some(seed) = self.loss {
            self.state ^= seed.wrapping_mul(0xd134_2543_de82_ef95);
        }
        self
    }

    /// One of `0..=most`: how many of an ordered series survive.
    pub(super) fn prefix(&mut self, most: usize) -> usize {
        match self.loss {
            Loss::Everything => 0,
            Loss::Nothing => most,
            Loss::Some(_) => usize::try_from(self.draw() % (most as u64 + 1)).unwrap_or(most),
        }
    }

    /// Whether one of several independent things survives.
    pub(super) fn survives(&mut self) -> bool {
        self.prefix(1) == 1
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
