//! Doubles that drive the store into what real machines do seldom: a disk that lies and an index that forgets.
//!
//! [`LyingDisk`] and [`MortalKv`] hang on one [`Power`]. Every change that either is asked for is a *point*; the power
//! can be cut at any of them. What was written and not synced then survives in an arbitrary part, chosen by a
//! [`Loss`]: a store is opened on the survivors, and what it shows is held against what was acknowledged. Points can
//! also fail without a cut, space can run out, and bytes that were safe can be damaged.
//!
//! [`kill`] is the same idea with a real process, a real disk and `SIGKILL`.
//!
//! Nothing here reads a clock or draws randomness: a seed names a run.

mod disk;
mod durable;
pub mod flip;
pub mod kill;
mod kv;
mod machine;
mod power;
mod seeded;

pub use disk::LyingDisk;
pub use durable::Durable;
pub use kv::{MortalHome, MortalKv};
pub use machine::{DIR, Machine};
pub use power::{Loss, Power};
pub use seeded::Seeded;
