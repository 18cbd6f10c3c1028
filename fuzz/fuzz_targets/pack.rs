//! Packs of the node's store, which a stranger may send: no bytes panic; what is accepted says the same about each block
//! however it is asked.
//!
//! The format is taken in file by file: the store's crate links RocksDB, which has no place here.
#![no_main]

use std::io;

use disk::DiskFile;
use libfuzzer_sys::fuzz_target;

/// What the files below ask of a disk.
mod disk {
    use std::{fmt, io};

    pub trait DiskFile: Send + Sync + fmt::Debug {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

        fn read_vec_at(&self, length: usize, offset: u64) -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; length];
            self.read_at(&mut bytes, offset)?;
            Ok(bytes)
        }

        fn length(&self) -> io::Result<u64>;
    }
}

/// What they ask of frames.
mod frame {
    pub fn crc(bytes: &[u8]) -> u32 {
        crc32c::crc32c(bytes)
    }

    pub fn chunk_count(length: u32) -> usize {
        (length as usize).div_ceil(16 << 10).max(1)
    }

    pub fn chunk_crcs(body: &[u8]) -> Vec<u32> {
        match body {
            [] => vec![crc(body)],
            body => body.chunks(16 << 10).map(crc).collect(),
        }
    }

    pub fn align(offset: u64) -> u64 {
        offset.next_multiple_of(8)
    }
}

/// And of places.
mod location {
    #[derive(Clone, Copy, Debug)]
    pub struct FileNumber(pub u32);

    #[derive(Clone, Copy, Debug)]
    #[allow(dead_code, reason = "a part of a crate, by itself")]
    pub struct Location {
        pub file: FileNumber,
        pub offset: u32,
        pub length: u32,
    }
}

#[allow(dead_code, reason = "a part of a crate, by itself")]
#[path = "../../node/store/src/pack"]
mod pack {
    mod draft;
    mod error;
    mod footer;
    mod frame;
    mod name;
    mod partitions;
    mod verify;

    pub(crate) use draft::PackBlock;
    pub use error::PackError;
    pub(crate) use footer::{Entry, Footer};
    pub use name::PackName;
    pub(crate) use partitions::Partitions;
    pub(crate) use verify::verify;

    pub(crate) type Tag = u32;
    pub const PACK_BYTES: usize = 16 << 20;
    pub const PACK_ENTRIES: usize = 1 << 16;
    const CODECS: usize = 8;
}

fuzz_target!(|data: &[u8]| {
    // Whole files are found by nobody through their checksums; so true ones are put over what is there as well.
    for bytes in [data.to_vec(), sealed(data)] {
        let Ok(found) = pack::verify(&Bytes(bytes)) else {
            continue;
        };
        for entry in found.footer.entries() {
            let again = found.footer.entry_at(entry.offset(), entry.hash_bytes());
            assert_eq!(again.map(|again| again.index()), Some(entry.index()));
            for codec in entry.codecs() {
                for link in entry.links(codec).into_iter().flatten() {
                    let target = link.entry.and_then(|index| found.footer.entry(index));
                    assert!(target.is_none_or(|target| target.hash_bytes() == link.hash));
                }
            }
        }
    }
});

/// The bytes with the checksums that a pack of them would have.
fn sealed(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let Some(trailer) = bytes.len().checked_sub(32).filter(|at| *at >= 64) else {
        return bytes;
    };
    let mut offset = [0; 8];
    offset.copy_from_slice(&bytes[trailer..trailer + 8]);
    let footer = usize::try_from(u64::from_le_bytes(offset)).unwrap_or(usize::MAX);
    let header_sum = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&header_sum.to_le_bytes());
    if let Some(footer) = bytes.get(footer..trailer) {
        let sum = crc32c::crc32c(footer);
        bytes[trailer + 16..trailer + 20].copy_from_slice(&sum.to_le_bytes());
    }
    let sum = crc32c::crc32c(&bytes[trailer..trailer + 28]);
    bytes[trailer + 28..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl DiskFile for Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buffer.len());
        let bytes = self.0.get(start..end);
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}
