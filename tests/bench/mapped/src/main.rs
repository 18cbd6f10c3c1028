//! Chunks of 16 KiB at random places of a file, checked against their CRC-32C: with pread, as the store reads regions, and
//! from mapped memory. Each where the file is in the page cache and where it is not, with one thread and with eight.
//! Prints a figure a line, as JSON. The folder to write to is the only argument.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Instant;

use crc32c::crc32c;
use memmap2::{Advice, Mmap};
use rustix::fs::{Advice as CacheAdvice, fadvise};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const CHUNK_BYTES: usize = 16 << 10;
const FILE_BYTES: usize = 512 << 20;
const CHUNKS: usize = FILE_BYTES / CHUNK_BYTES;
/// Odd, for there to be a middle.
const ROUNDS: usize = 5;

/// A way to look at a chunk.
type Look<'a> = &'a (dyn Fn(usize) -> std::io::Result<u32> + Sync);

fn main() -> Result<()> {
    let folder = env::args()
        .nth(1)
        .ok_or("usage: perennis-mapped-bench FOLDER")?;
    let path = tempfile::NamedTempFile::new_in(folder)?.into_temp_path();
    let sums = write(&path)?;
    for (state, is_cached, reads) in [("cached", true, 200_000), ("cold", false, 8_000)] {
        for threads in [1, 8] {
            let mut rounds = Vec::new();
            for round in 0..ROUNDS {
                let file = File::open(&path)?;
                let by_pread = |chunk: usize| {
                    let mut bytes = vec![0; CHUNK_BYTES];
                    file.read_exact_at(&mut bytes, (chunk * CHUNK_BYTES) as u64)?;
                    Ok(crc32c(&bytes))
                };
                let read = |look: Look<'_>| -> Result<f64> {
                    prepare(&file, is_cached)?;
                    run(look, &sums, threads, reads, round)
                };
                let read_rate = read(&by_pread)?;
                // SAFETY: nobody else knows the file, so nobody changes it while it is mapped.
                let map = unsafe { Mmap::map(&file)? };
                map.advise(Advice::Random)?;
                let from_map =
                    |chunk: usize| Ok(crc32c(&map[chunk * CHUNK_BYTES..(chunk + 1) * CHUNK_BYTES]));
                rounds.push((read_rate, read(&from_map)?));
            }
            rounds.sort_by(|one, other| (one.0 / one.1).total_cmp(&(other.0 / other.1)));
            let (read, mapped) = rounds[ROUNDS / 2];
            println!(
                r#"{{"name":"region/{state}/{threads}","value":{read:.0},"unit":"regions/s","peer":"mapped memory","peer_value":{mapped:.0}}}"#
            );
        }
    }
    Ok(())
}

/// Fills the file, and tells the sum of each chunk.
fn write(path: &Path) -> Result<Vec<u32>> {
    let mut file = File::create(path)?;
    let mut sums = Vec::with_capacity(CHUNKS);
    let mut bytes = vec![0; CHUNK_BYTES];
    let mut state = 1_u64;
    for _ in 0..CHUNKS {
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&draw(&mut state).to_le_bytes());
        }
        file.write_all(&bytes)?;
        sums.push(crc32c(&bytes));
    }
    file.sync_all()?;
    Ok(sums)
}

/// Brings all of the file into the page cache, or all of it out.
fn prepare(file: &File, is_cached: bool) -> Result<()> {
    if is_cached {
        let mut bytes = vec![0; 1 << 20];
        for at in (0..FILE_BYTES).step_by(bytes.len()) {
            file.read_exact_at(&mut bytes, at as u64)?;
        }
    } else {
        fadvise(file, 0, None, CacheAdvice::DontNeed)?;
    }
    // Neither side reads ahead what it was not asked for.
    Ok(fadvise(file, 0, None, CacheAdvice::Random)?)
}

/// Looks at random chunks from many threads; says how many a second.
fn run(look: Look<'_>, sums: &[u32], threads: usize, reads: usize, round: usize) -> Result<f64> {
    let begun = Instant::now();
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || -> std::io::Result<()> {
                    let mut state = ((round * threads + thread) as u64) << 32;
                    for _ in 0..reads / threads {
                        let chunk = usize::try_from(draw(&mut state) % CHUNKS as u64).unwrap_or(0);
                        if look(chunk)? != sums[chunk] {
                            return Err(std::io::Error::other("a chunk is not what was written"));
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        running.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| "a thread panicked")?
                .map_err(Into::into)
        })
    })
    .map(|()| reads as f64 / begun.elapsed().as_secs_f64())
    .map_err(|error: Box<dyn Error>| error)
}

/// The next random number (SplitMix64).
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
