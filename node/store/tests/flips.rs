//! Flipped bytes in a real folder, with a real RocksDB.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use perennis_store::testing::flip::{Outcome, Sample};

/// How many places are tried; the bench `flips` tries all.
const SAMPLES: usize = 2_000;
const THREADS: usize = 4;

#[test]
fn a_flipped_byte_in_any_file_is_repaired_or_told() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::fill(&dir.path().join("store")).unwrap();
    let places = sample.places().unwrap();
    // With a stride that meets every field, and the first and the last byte of each file.
    let step = (places.len() / SAMPLES).max(1) | 1;
    let is_edge = |at: usize| {
        let path = |at: Option<usize>| at.and_then(|at| places.get(at)).map(|(path, _)| path);
        let here = path(Some(at));
        path(at.checked_sub(1)) != here || path(Some(at + 1)) != here
    };
    let chosen = (0..places.len()).filter(|at| at.is_multiple_of(step) || is_edge(*at));
    let chosen: Vec<_> = chosen.map(|at| &places[at]).collect();
    let outcomes: Vec<(PathBuf, usize, Outcome)> = std::thread::scope(|scope| {
        let threads = (0..THREADS).map(|thread| {
            let (sample, chosen) = (&sample, &chosen);
            let scratch = dir.path().join(format!("copy-{thread}"));
            scope.spawn(move || {
                let mine = chosen.iter().enumerate().skip(thread).step_by(THREADS);
                mine.map(|(number, place)| {
                    let mask = 1 << (number % 8);
                    let outcome = sample.flip(&scratch, place, mask).unwrap();
                    (place.0.clone(), place.1, outcome)
                })
                .collect::<Vec<_>>()
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut counts: BTreeMap<(String, &str), u64> = BTreeMap::new();
    let mut silent = Vec::new();
    for (path, offset, outcome) in &outcomes {
        if let Outcome::Silent(what) = outcome {
            silent.push(format!("{} at {offset}: {what}", path.display()));
        }
        let folder = path.parent().unwrap().display().to_string();
        *counts.entry((folder, outcome.word())).or_default() += 1;
    }
    assert!(silent.is_empty(), "{silent:#?}\n{counts:#?}");
    // Each is met: else the test does not do what it says.
    for kind in ["right", "repaired", "told", "refused"] {
        assert!(
            counts.keys().any(|(_, found)| *found == kind),
            "no {kind}: {counts:#?}"
        );
    }
}
