//! Sealed key files, as they are and behind a right beginning and checksum.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::keywrap::open;
use sha2::{Digest, Sha256};

fuzz_target!(|data: &[u8]| {
    // An empty passphrase is refused after the file was read and before anything is stretched.
    assert!(open(data, "").is_err());
    let mut file = b"PERKEYS\0\x01".to_vec();
    file.extend_from_slice(data);
    let digest = Sha256::digest(&file);
    file.extend_from_slice(&digest[..8]);
    assert!(open(&file, "").is_err());
});
