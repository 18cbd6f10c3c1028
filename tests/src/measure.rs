//! What the benches share: doing a thing for a while, and saying a figure as the line that `cargo xtask bench` reads.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// How long one figure is measured, after a tenth of it to warm up.
const LONG_ENOUGH: Duration = Duration::from_secs(3);

/// How often `work` can be done in a second, one after the other; its argument counts the calls.
pub fn per_second<T>(mut work: impl FnMut(u64) -> T) -> f64 {
    let mut round = |time: Duration, from: u64| {
        let start = Instant::now();
        let mut done = from;
        while start.elapsed() < time {
            for _ in 0..16 {
                black_box(work(done));
                done += 1;
            }
        }
        (done, (done - from) as f64 / start.elapsed().as_secs_f64())
    };
    let (warm, _) = round(LONG_ENOUGH / 10, 0);
    round(LONG_ENOUGH, warm).1
}

/// How long `work` takes, in seconds, and what it returned.
pub fn seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64(), result)
}

/// How often a bench does its thing: as often as its arguments say, else `usual` times, and twice where Cargo only tests that benches run.
pub fn times(usual: u64) -> u64 {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = arguments.iter().find_map(|argument| argument.parse().ok());
    // Cargo says so when it measures.
    let is_measured = arguments.iter().any(|argument| argument == "--bench");
    asked.unwrap_or(if is_measured { usual } else { 2 })
}

/// Prints one figure.
#[allow(
    clippy::print_stdout,
    reason = "standard output is how a bench reports"
)]
pub fn say(name: &str, value: f64, unit: &str) {
    println!("{{\"name\":\"{name}\",\"value\":{value},\"unit\":\"{unit}\"}}");
}

/// Repeatable bytes that do not compress, different for each seed.
pub fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}
