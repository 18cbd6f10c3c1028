//! Every written byte of every file of a small store, flipped once: prints what came of them, a figure a line, as JSON, and fails
//! where one was silent. `--quick` (and Cargo's own check that benches run) tries few; `--mask 255` flips other bits.
#![allow(clippy::print_stdout, reason = "figures are printed")]

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use perennis_store::testing::flip::{Outcome, Sample};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<usize>().ok()
    };
    let is_quick = arguments.iter().any(|argument| argument == "--quick")
        || !arguments.iter().any(|argument| argument == "--bench");
    let mask = value("--mask").and_then(|mask| u8::try_from(mask).ok());
    // Below the target folder: the system's folder for temporary files may be memory, where a sync costs nothing.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let sample = Sample::fill(&dir.path().join("store"))?;
    let places = sample.places()?;
    let step = value("--step").unwrap_or(if is_quick { places.len() / 20 } else { 1 });
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism()?.get();
    let work = |thread: usize| {
        let scratch = dir.path().join(format!("copy-{thread}"));
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        loop {
            let at = next.fetch_add(step, Ordering::Relaxed);
            let Some(place) = places.get(at) else {
                return counts;
            };
            let mask = mask.unwrap_or(1 << (at % 8));
            let outcome = sample.flip(&scratch, place, mask);
            let complain =
                |what: &dyn Display| eprintln!("{} at {}: {what}", place.0.display(), place.1);
            match &outcome {
                Ok(Outcome::Silent(what)) => complain(what),
                Ok(_) => {}
                Err(error) => complain(error),
            }
            let kind = outcome.as_ref().map_or("not tried", Outcome::word);
            *counts.entry(kind).or_default() += 1;
        }
    };
    let mut counts = thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        let mut all: BTreeMap<&str, u64> = BTreeMap::new();
        for thread in threads {
            for (kind, count) in thread.join().unwrap_or_default() {
                *all.entry(kind).or_default() += count;
            }
        }
        all
    });
    counts.entry("silent").or_default();
    for (kind, count) in &counts {
        println!(r#"{{"name":"flips/{kind}","value":{count},"unit":"bytes"}}"#);
    }
    if counts["silent"] > 0 {
        return Err("a flipped byte was silent".into());
    }
    Ok(())
}
