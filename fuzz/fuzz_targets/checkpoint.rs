//! Checkpoints of the node's store: no bytes panic or are taken for rows that were not written; what is accepted is made of
//! sorted rows and comes back when it is encoded again.
//!
//! The format is taken in as a file: the store's crate links RocksDB, which has no place here.
#![no_main]

#[allow(dead_code, reason = "a part of a crate, by itself")]
#[path = "../../node/store/src/checkpoint/format.rs"]
mod format;

/// What it asks of segments.
mod segment {
    pub(crate) const FILE_BYTES: u64 = 1 << 34;
}

use format::{Decoder, Encoder, FormatError, HEADER_BYTES, Header, Part};
use libfuzzer_sys::fuzz_target;
use perennis_shared::time::Millis;

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fuzz_target!(|data: &[u8]| {
    // Whole files are found by nobody through their checksums; so a payload is also put into a frame that is right.
    let framed = framed(data);
    for bytes in [data, &framed] {
        if let Ok((header, rows)) = decode(bytes) {
            assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0));
            assert_eq!(decode(&encode(header, &rows)).ok(), Some((header, rows)));
        }
    }
});

fn decode(bytes: &[u8]) -> Result<(Header, Rows), FormatError> {
    let read = |length: usize, offset: u64| {
        let start = usize::try_from(offset).expect("within the file");
        Ok(bytes[start..start + length].to_vec())
    };
    let (mut decoder, header) = Decoder::new(read, bytes.len() as u64)?;
    let mut rows = Rows::new();
    loop {
        match decoder.next_part()? {
            Part::Chunk(chunk) => rows.extend(
                chunk
                    .rows()
                    .map(|(key, value)| (key.to_vec(), value.to_vec())),
            ),
            Part::End(summary) => {
                assert_eq!(summary.rows, rows.len() as u64);
                return Ok((header, rows));
            }
        }
    }
}

fn encode(header: Header, rows: &Rows) -> Vec<u8> {
    let mut encoder = Encoder::new(header);
    for (key, value) in rows {
        encoder.push(key, value).expect("they were accepted");
    }
    encoder.finish().0
}

/// A file of one chunk: the first byte is its number of rows, the rest its payload.
fn framed(data: &[u8]) -> Vec<u8> {
    let header = Header {
        store: [1; 16],
        group: 2,
        file: 3,
        offset: 4,
        written_at: Millis(5),
    };
    let (count, payload) = data.split_first().unwrap_or((&0, &[]));
    let mut file = encode(header, &Rows::new());
    let end = file.split_off(HEADER_BYTES);
    let mut head = b"PCC1\0\0\0\0".to_vec();
    head.extend_from_slice(&u32::from(*count).to_le_bytes());
    head.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    head.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    head.extend_from_slice(&crc32c::crc32c(&head).to_le_bytes());
    file.extend(head);
    file.extend_from_slice(payload);
    let mut end = end[..END_FIELDS].to_vec();
    end[4..8].copy_from_slice(&1_u32.to_le_bytes());
    end[8..16].copy_from_slice(&u64::from(*count).to_le_bytes());
    end[16..24].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    end[24..56].copy_from_slice(blake3::hash(&file).as_bytes());
    end.extend_from_slice(&crc32c::crc32c(&end).to_le_bytes());
    file.extend(end);
    file
}

const END_FIELDS: usize = format::END_BYTES - 4;
