//! Passphrases: making good ones and refusing weak ones.
//!
//! Whoever learns a passphrase is the identity, and anybody may guess at it offline, since identities are public: the
//! stretching ([`crate::kdf`]) makes a guess dear, and this module makes guesses useless. A generated passphrase has
//! 11 bits for each word. A typed one must pass [`check`]; the estimate behind it is our own and errs to the low side,
//! because the scores of common estimators are made for logins that lock after some tries (their best grade begins at
//! 2^33 guesses), and because their dictionaries are larger than this whole crate in a browser.

use alloc::string::String;

use bip39::Language;
use zeroize::Zeroizing;

mod estimate;

pub use estimate::{Estimate, Weakness, estimate};

/// Words of a generated passphrase unless asked otherwise: 66 bits.
pub const WORDS: usize = 6;

/// Fewest words of a generated passphrase: 55 bits.
pub const LEAST_WORDS: usize = 5;

/// Most words of a generated passphrase; 24 have the 256 bits of the keys made of them, and more.
pub const MOST_WORDS: usize = 24;

/// Bits a typed passphrase must have by our estimate. At half a second and 128 MiB for each guess, 2^50 guesses take
/// ten million years of one core.
pub const LEAST_BITS: u32 = 50;

/// Random bytes that [`generate`] takes for each word.
pub const RANDOM_BYTES_PER_WORD: usize = 2;

/// Makes a passphrase of words from random bytes, two for each word: small letters, single spaces.
///
/// The words are those of BIP-39's English list: 2,048 of them, which are told apart by their first four letters. Each
/// is chosen by 11 of its 16 random bits, so every one is equally likely.
///
/// # Errors
/// Refuses fewer than [`LEAST_WORDS`] and more than [`MOST_WORDS`] words, and another number of random bytes than
/// [`RANDOM_BYTES_PER_WORD`] for each.
pub fn generate(words: usize, random: &[u8]) -> Result<Zeroizing<String>, GenerateError> {
    if !(LEAST_WORDS..=MOST_WORDS).contains(&words) {
        return Err(GenerateError::Words { words });
    }
    if random.len() != words * RANDOM_BYTES_PER_WORD {
        return Err(GenerateError::Randomness {
            given: random.len(),
        });
    }
    let list = Language::English.word_list();
    // No word has more than eight letters: the text never moves and leaves no copy behind.
    let mut phrase = Zeroizing::new(String::with_capacity(9 * words));
    for pair in random.chunks_exact(RANDOM_BYTES_PER_WORD) {
        if !phrase.is_empty() {
            phrase.push(' ');
        }
        let index = usize::from(u16::from_be_bytes([pair[0], pair[1]])) % list.len();
        phrase.push_str(list[index]);
    }
    Ok(phrase)
}

/// Lets a typed passphrase pass if it is good enough for a new identity.
///
/// Only for new ones: an identity that exists is derived from whatever its passphrase is.
///
/// # Errors
/// [`WeakPassphrase`] says how far off it is, why, and what would help.
pub fn check(passphrase: &str) -> Result<Estimate, WeakPassphrase> {
    let estimate = estimate(passphrase);
    if estimate.bits >= LEAST_BITS {
        return Ok(estimate);
    }
    Err(WeakPassphrase {
        bits: estimate.bits,
        weakness: estimate.weakness,
        words_missing: (LEAST_BITS - estimate.bits).div_ceil(estimate::WORD_BITS),
    })
}

/// Why no passphrase is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// Too few words to be safe or too many to be of use.
    #[error("a passphrase has 5 to 24 words, not {words}")]
    Words {
        /// The number asked for.
        words: usize,
    },
    /// The caller brought too little or too much randomness.
    #[error("two random bytes are needed for each word; {given} bytes were given")]
    Randomness {
        /// The number of bytes.
        given: usize,
    },
}

/// A typed passphrase that is not good enough for a new identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this passphrase could be guessed: {weakness}. It is worth about {bits} bits and {LEAST_BITS} are needed. Let a \
     passphrase of six random words be made for you, or add at least {words_missing} more words that have nothing to do \
     with the others"
)]
pub struct WeakPassphrase {
    /// What it is worth by our estimate: the logarithm of the guesses to base 2.
    pub bits: u32,
    /// What makes it weak above all.
    pub weakness: Weakness,
    /// How many unrelated words would make it good enough.
    pub words_missing: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn words_follow_from_the_random_bytes() {
        let random = [0, 0, 0, 1, 0x07, 0xff, 0x08, 0x00, 0xff, 0xff, 0x12, 0x34];
        let phrase = generate(6, &random).unwrap();
        assert_eq!(*phrase, "abandon ability zoo abandon zoo educate");
    }

    #[test]
    fn every_word_is_equally_likely() {
        let mut counts = vec![0u32; 2048];
        let list = Language::English.word_list();
        for number in 0..=u16::MAX {
            let random: Vec<u8> = [number; LEAST_WORDS]
                .iter()
                .flat_map(|n| n.to_be_bytes())
                .collect();
            let phrase = generate(LEAST_WORDS, &random).unwrap();
            let first = phrase.split(' ').next().unwrap();
            counts[list.binary_search(&first).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| *count == 32));
    }

    #[test]
    fn the_list_is_what_the_documentation_says() {
        let list = Language::English.word_list();
        assert!(list.iter().all(|word| (3..=8).contains(&word.len())));
        assert!(
            list.iter()
                .all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
        );
        let start = |word: &'static str| &word[..word.len().min(4)];
        assert!(list.windows(2).all(|pair| start(pair[0]) != start(pair[1])));
    }

    #[test]
    fn wrong_numbers_of_words_and_bytes_are_refused() {
        for words in [0, 4, 25, usize::MAX] {
            assert_eq!(generate(words, &[]), Err(GenerateError::Words { words }));
        }
        for given in [0, 11, 13] {
            assert_eq!(
                generate(6, &vec![0; given]),
                Err(GenerateError::Randomness { given })
            );
        }
    }

    #[test]
    fn a_refusal_says_why_and_what_to_do() {
        let weak = check("correct horse battery staple").unwrap_err();
        assert_eq!(weak.weakness, Weakness::WellKnown);
        let text = check("violet harbor").unwrap_err().to_string();
        assert_eq!(
            text,
            "this passphrase could be guessed: it is short. It is worth about 20 bits and 50 are needed. Let a passphrase \
             of six random words be made for you, or add at least 3 more words that have nothing to do with the others"
        );
        assert!(check("violet harbor tundra mosaic pickle").is_ok());
    }

    #[test]
    fn common_words_and_a_repeated_one_may_be_in_a_generated_passphrase() {
        assert!(check("dragon baby love secret summer flower").is_ok());
        assert!(check("you can ozone ozone zebra trade velvet").is_ok());
        assert!(check("dragon baby love secret summer").is_err());
    }

    proptest! {
        #[test]
        fn generated_passphrases_pass(random: [u8; 2 * WORDS]) {
            let phrase = generate(WORDS, &random).unwrap();
            let mut words: Vec<&str> = phrase.split(' ').collect();
            prop_assert_eq!(words.len(), WORDS);
            // One in a hundred thousand repeats two words or has three that hold sentences together.
            let function_words = words.iter().filter(|word| estimate::FUNCTION_WORDS.contains(word));
            prop_assume!(function_words.count() <= 2);
            words.sort_unstable();
            words.dedup();
            prop_assume!(words.len() >= LEAST_WORDS);
            prop_assert!(check(&phrase).is_ok(), "{:?}", estimate(&phrase));
        }
    }
}
