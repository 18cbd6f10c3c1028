//! A process that writes and is killed at any moment, and the oracle that holds what it acknowledged against what the
//! next start shows.
//!
//! The process ([`work`]) says on its standard output what was acknowledged: `ack WRITER NUMBER`. The parent ([`run`])
//! kills it with `SIGKILL`, reads what is left in the pipe, opens the store itself and looks: what was acknowledged and
//! is not there is *lost*; a batch of which a part is there is *half*. The killed process collects garbage, packs, scrubs and
//! writes checkpoints all the while. Now and then it finds its index marked as damaged, and is killed while it makes it anew.

mod load;

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use self::load::WRITERS;
use crate::{IndexOptions, Store, StoreOptions, UpkeepError};

/// Kills after which the folder is emptied, so that looking at everything stays quick.
const KILLS_PER_FOLDER: u64 = 100;
/// Most acknowledgements before a kill.
const ACKS: u64 = 60;
/// Every so many kills the index is marked as damaged before the process is started.
const REBUILD_EVERY: u64 = 5;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Times the process was killed and the store looked at.
    pub points: u64,
    /// Writes it had acknowledged by then, all times together.
    pub acknowledged: u64,
    /// Acknowledged writes that were not there.
    pub lost: u64,
    /// Writes of which a part was there.
    pub half: u64,
    /// Stores that could not be opened.
    pub starts_failed: u64,
}

impl Outcome {
    /// Whether nothing was lost, half or in the way.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.half == 0 && self.starts_failed == 0
    }
}

fn options() -> StoreOptions {
    StoreOptions {
        // Small, so that segments fill, die and are flushed between two kills.
        segment_bytes: 128 << 10,
        reserve_bytes: 128 << 10,
        flush_bytes: 256 << 10,
        checkpoint_bytes: 256 << 10,
        index: IndexOptions {
            memtable_bytes: 1 << 20,
            ..IndexOptions::default()
        },
    }
}

/// What the killed process does: opens the store in `dir` and writes until it dies.
///
/// # Errors
/// The store cannot be opened, or a write fails: the parent sees it as a failed start.
pub fn work(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open(dir, &options())?;
    let told = Mutex::new(io::stdout());
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, told) = (&store, &told);
            scope.spawn(move || {
                let mut number = load::current(store, writer);
                loop {
                    number += 1;
                    let result = store.commit(load::batch(writer, number));
                    let line = match result {
                        Ok(_) => format!("ack {writer} {number}\n"),
                        Err(error) => format!("failed {writer} {number}: {error}\n"),
                    };
                    // A pipe that is closed means that the parent is gone.
                    let told = told.lock().map(|mut told| told.write_all(line.as_bytes()));
                    if !matches!(told, Ok(Ok(()))) {
                        std::process::exit(1);
                    }
                }
            });
        }
        loop {
            let upkeep = || -> Result<(), UpkeepError> {
                store.collect()?.finish()?;
                while !store.compact(60)?.done {}
                if store.checkpoint_due() {
                    store.checkpoint()?;
                }
                store.scrub(1 << 20).map(drop)
            };
            if let Err(error) = upkeep()
                && !matches!(error, UpkeepError::Busy)
            {
                let _ = told
                    .lock()
                    .map(|mut told| writeln!(told, "failed upkeep: {error}"));
            }
        }
    })
}

/// Kills `points` times and looks after each. `command` starts a process that calls [`work`] on the folder; `seed`
/// says when it is killed; `told` is given a line for everything that is wrong.
///
/// # Errors
/// The process cannot be started, or the folder cannot be emptied.
pub fn run(
    dir: &Path,
    points: u64,
    seed: u64,
    command: impl Fn(&Path) -> io::Result<Command>,
    mut told: impl FnMut(&str),
) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut acknowledged = [0; WRITERS];
    let mut draw = seed;
    for point in 0..points {
        if point % KILLS_PER_FOLDER == 0 {
            if dir.exists() {
                std::fs::remove_dir_all(dir)?;
            }
            acknowledged = [0; WRITERS];
        }
        draw = draw
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        let moment = draw >> 33;
        let before = acknowledged;
        if point % REBUILD_EVERY == REBUILD_EVERY - 1 {
            options()
                .index
                .home(dir)
                .condemn("so that it is made anew")
                .map_err(io::Error::other)?;
        }
        kill_once(
            &mut command(dir)?,
            moment,
            &mut acknowledged,
            &mut outcome,
            &mut told,
        )?;
        outcome.points += 1;
        for (now, then) in acknowledged.iter().zip(before) {
            outcome.acknowledged += now - then;
        }
        match Store::open(dir, &options()) {
            Ok(store) => {
                // Being killed damages nothing, and what is told for no reason hides what is told for one.
                let found = store.found_at_start().iter();
                for loss in found.filter(|loss| loss.kind.is_of_acknowledged_data()) {
                    told(&format!("point {point}: {loss}"));
                    outcome.lost += 1;
                }
                for (writer, acknowledged) in acknowledged.iter_mut().enumerate() {
                    let found = load::look(&store, writer, *acknowledged);
                    if let Some(wrong) = &found.wrong {
                        told(&format!("point {point}, writer {writer}: {wrong}"));
                    }
                    outcome.lost += u64::from(found.lost);
                    outcome.half += u64::from(found.half);
                    // What was not acknowledged and is there all the same stays.
                    *acknowledged = found.number.max(*acknowledged);
                }
            }
            Err(error) => {
                told(&format!("point {point}: {error:?}"));
                outcome.starts_failed += 1;
            }
        }
    }
    Ok(outcome)
}

/// Starts the process, kills it at a moment, and notes what it acknowledged.
fn kill_once(
    command: &mut Command,
    moment: u64,
    acknowledged: &mut [u64; WRITERS],
    outcome: &mut Outcome,
    told: &mut impl FnMut(&str),
) -> io::Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
    let mut line = String::new();
    let mut lines = Vec::new();
    // One in eight dies while it opens.
    let acks = if moment.is_multiple_of(8) {
        0
    } else {
        moment / 8 % ACKS
    };
    while (lines.len() as u64) < acks && output.read_line(&mut line)? > 0 {
        lines.push(std::mem::take(&mut line));
    }
    // Between two acknowledgements too.
    for _ in 0..moment % 100_000 {
        std::hint::spin_loop();
    }
    child.kill()?;
    child.wait()?;
    let mut rest = String::new();
    output.read_to_string(&mut rest)?;
    // A last line that is cut short says nothing.
    line.push_str(rest.rsplit_once('\n').map_or("", |(whole, _)| whole));
    for line in lines
        .iter()
        .flat_map(|line| line.lines())
        .chain(line.lines())
    {
        let mut words = line.split_ascii_whitespace();
        match (
            words.next(),
            words.next().and_then(|word| word.parse::<usize>().ok()),
            words.next(),
        ) {
            (Some("ack"), Some(writer), Some(number)) if writer < WRITERS => {
                acknowledged[writer] = number.parse().unwrap_or(acknowledged[writer]);
            }
            (Some("failed"), ..) => {
                told(line);
                outcome.starts_failed += 1;
            }
            // A test harness says things of its own.
            _ => {}
        }
    }
    Ok(())
}
