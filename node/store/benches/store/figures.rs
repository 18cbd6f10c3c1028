//! What is measured with, and how it is printed.

use std::fs;
use std::time::Duration;

use perennis_shared::cid::{Block, Codec};

use crate::Result;

pub(crate) fn print(name: &str, value: f64, unit: &str) {
    println!(r#"{{"name":"{name}","value":{value},"unit":"{unit}"}}"#);
}

pub(crate) fn print_beside(name: &str, value: f64, unit: &str, peer: (&str, f64)) {
    let (peer, of_peer) = peer;
    println!(
        r#"{{"name":"{name}","value":{value},"unit":"{unit}","peer":"{peer}","peer_value":{of_peer}}}"#
    );
}

/// Random numbers that are the same in every run (xorshift).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    fn next(&mut self) -> u64 {
        let mut state = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0 = self.0.wrapping_add(1);
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap_or(0)
    }

    pub(crate) fn block(&mut self, length: usize) -> Block {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        Block::new(Codec::Raw, bytes).expect("blocks are measured within their limit")
    }
}

pub(crate) fn contents(count: usize, length: usize) -> Vec<Block> {
    let mut draw = Draw(length as u64 * 1_000_003);
    (0..count).map(|_| draw.block(length)).collect()
}

/// Bytes that this process has sent to the disk; not told on every system.
pub(crate) fn written_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("write_bytes: "))?
        .parse()
        .ok()
}

/// Processor time that all threads of this process have had, in steps of 10 ms; not told on every system.
pub(crate) fn processor_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program before it may hold spaces.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 10))
}

/// Resident memory of this process.
pub(crate) fn resident_mib() -> Result<f64> {
    memory_mib("VmRSS:")
}

/// The most resident memory that this process has had since this was asked last.
pub(crate) fn peak_mib() -> Result<f64> {
    let peak = memory_mib("VmHWM:")?;
    // What comes next has a peak of its own (proc(5), clear_refs).
    fs::write("/proc/self/clear_refs", "5")?;
    Ok(peak)
}

fn memory_mib(name: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib: f64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .ok_or("no resident memory is told")?
        .parse()?;
    Ok(kib / 1024.0)
}
