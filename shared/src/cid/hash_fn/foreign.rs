//! The hash functions that we create nothing with, for content of others.

use blake2::{
    Blake2bVarCore, Blake2sVarCore,
    digest::block_api::{Buffer, UpdateCore, VariableOutputCore},
};
use sha1_checked::Sha1;
use sha3::{Keccak224, Keccak256, Keccak384, Keccak512, Sha3_224, Sha3_256, Sha3_384, Sha3_512};
use shake::{ExtendableOutput, Shake256, Update, XofReader};

use super::HashFn;
use crate::{cid::VerifyError, limits::DIGEST_BYTES};

/// Writes the whole digest to the start of `digest`.
///
/// # Errors
/// [`VerifyError::Collision`] of SHA-1, and the functions that are not of this module.
pub(super) fn write(
    hash: HashFn,
    content: &[u8],
    digest: &mut [u8; DIGEST_BYTES],
) -> Result<(), VerifyError> {
    match hash {
        HashFn::Sha1 => return write_sha1(content, digest),
        HashFn::Sha3_224 => super::write::<Sha3_224>(content, digest),
        HashFn::Sha3_256 => super::write::<Sha3_256>(content, digest),
        HashFn::Sha3_384 => super::write::<Sha3_384>(content, digest),
        HashFn::Sha3_512 => super::write::<Sha3_512>(content, digest),
        HashFn::Keccak224 => super::write::<Keccak224>(content, digest),
        HashFn::Keccak256 => super::write::<Keccak256>(content, digest),
        HashFn::Keccak384 => super::write::<Keccak384>(content, digest),
        HashFn::Keccak512 => super::write::<Keccak512>(content, digest),
        HashFn::Shake256 => {
            let mut hasher = Shake256::default();
            hasher.update(content);
            hasher.finalize_xof().read(digest);
        }
        HashFn::Blake2b(_) => write_blake2::<Blake2bVarCore>(hash, content, digest),
        HashFn::Blake2s(_) => write_blake2::<Blake2sVarCore>(hash, content, digest),
        HashFn::Identity
        | HashFn::Sha2_256
        | HashFn::Sha2_512
        | HashFn::DblSha2_256
        | HashFn::Blake3 => return Err(VerifyError::HashNotAllowed { code: hash.code() }),
    }
    Ok(())
}

/// Two contents with one SHA-1 show in the blocks of each that were made for it, so one of them alone is known by its
/// looks (Stevens, "Counter-cryptanalysis").
fn write_sha1(content: &[u8], digest: &mut [u8; DIGEST_BYTES]) -> Result<(), VerifyError> {
    let found = Sha1::try_digest(content);
    if found.has_collision() {
        return Err(VerifyError::Collision);
    }
    digest[..found.hash().len()].copy_from_slice(found.hash());
    Ok(())
}

/// The crate's own hashers have the length in their type; here it comes with the block.
fn write_blake2<Core: VariableOutputCore + UpdateCore>(
    hash: HashFn,
    content: &[u8],
    digest: &mut [u8; DIGEST_BYTES],
) {
    let length = hash.longest_digest();
    let mut core = Core::new(length).expect("the function's number says a length that it makes");
    let mut buffer = Buffer::<Core>::default();
    buffer.digest_blocks(content, |blocks| core.update_blocks(blocks));
    let mut whole = Default::default();
    core.finalize_variable_core(&mut buffer, &mut whole);
    digest[..length].copy_from_slice(&whole[..length]);
}
