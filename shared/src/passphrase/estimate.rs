//! What a typed passphrase is worth, on the low side.
//!
//! The passphrase is read as a row of words, numbers and signs. Each gets the bits of a guesser who knows the habits
//! of people and has the usual lists: an unrelated word is one of a thousand (10 bits, less than a random word of any
//! list in use), a common word or a row of the keyboard is one of sixteen, something that was there before adds one
//! bit. Words of a sentence predict each other and count less. Nothing in it knows songs or books: that is why the
//! bar lies at five unrelated words, and why the advice is a generated passphrase.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bip39::Language;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use zeroize::Zeroizing;

use super::WORDS;

mod disguise;

/// An unrelated word.
pub(super) const WORD_BITS: u32 = 10;
/// A word of a sentence.
const SENTENCE_WORD_BITS: u32 = 7;
/// An unrelated word of three letters.
const SHORT_WORD_BITS: u32 = 8;
/// One of one or two letters that make no common word, for each letter.
const LETTER_BITS: u32 = 4;
/// A sign of a script that writes words with one or two signs (Chinese, Japanese, Korean).
const IDEOGRAPH_BITS: u32 = 5;
/// A common word, a row of the keyboard, a run of the alphabet.
const COMMON_BITS: u32 = 4;
/// A word that holds sentences together.
const FUNCTION_WORD_BITS: u32 = 3;
const DIGIT_BITS: u32 = 3;
const YEAR_BITS: u32 = 6;
const SIGN_BITS: u32 = 3;
/// Which letters of a word have a digit or a sign in their place.
const SUBSTITUTE_BITS: u32 = 2;
const EMOJI_BITS: u32 = 6;
/// Anything that was there before.
const REPEAT_BITS: u32 = 1;

/// Letters that one word of a text without spaces is counted to have.
const LETTERS_PER_WORD: usize = 7;

/// Words that make a text a sentence.
pub(super) const FUNCTION_WORDS: &[&str] = &[
    "a", "all", "am", "an", "and", "are", "as", "at", "be", "but", "by", "can", "do", "for",
    "from", "has", "have", "he", "her", "him", "his", "i", "if", "in", "is", "it", "its", "me",
    "my", "no", "not", "of", "on", "or", "our", "she", "so", "that", "the", "their", "they",
    "this", "to", "up", "us", "was", "we", "were", "what", "who", "will", "with", "you", "your",
];

/// Words that stand at the head of every list of leaked passwords.
const COMMON_WORDS: &[&str] = &[
    "abc", "access", "admin", "angel", "asdf", "baby", "bailey", "baseball", "batman", "charlie",
    "cookie", "daniel", "dragon", "facebook", "flower", "football", "freedom", "google", "hello",
    "hockey", "hunter", "iloveyou", "jesus", "jordan", "killer", "letmein", "login", "love",
    "lovely", "master", "michael", "michelle", "monkey", "ninja", "pass", "passw", "password",
    "passwort", "pepper", "pokemon", "princess", "qazwsx", "root", "secret", "shadow", "soccer",
    "starwars", "summer", "sunshine", "superman", "test", "thomas", "trustno", "twitter", "user",
    "welcome", "whatever", "winter", "zaq",
];

/// Phrases everybody knows, without spaces. Who types one of them has typed nothing of their own.
const WELL_KNOWN: &[&str] = &[
    "allworkandnoplaymakesjack",
    "askandyeshallreceive",
    "callmeishmael",
    "correcthorsebatterystaple",
    "fourscoreandsevenyearsago",
    "howmuchwoodwouldawoodchuck",
    "inthebeginninggodcreated",
    "ithinkthereforeiam",
    "itwasadarkandstormynight",
    "itwasthebestoftimes",
    "loremipsumdolorsitamet",
    "maytheforcebewithyou",
    "nevergonnagiveyouup",
    "onceuponatime",
    "ourfatherwhoartinheaven",
    "quickbrownfox",
    "shesellsseashells",
    "threeringsfortheelvenkings",
    "tobeornottobe",
    "twinkletwinklelittlestar",
    "winteriscoming",
];

/// Rows of keys and of letters; a run along one of them, either way, is no word.
const ROWS: &[&str] = &[
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "01234567890",
];

/// What a passphrase is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The logarithm to base 2 of the guesses it takes.
    pub bits: u32,
    /// What makes it weak above all, if it is weak.
    pub weakness: Weakness,
}

/// What makes a passphrase weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Weakness {
    /// Nothing but that there is too little of it.
    Short,
    /// It is a sentence, whose words predict each other.
    Sentence,
    /// It holds a year or a date.
    Date,
    /// It holds one of the commonest passwords.
    Common,
    /// Digits and signs stand in it for letters of a known word.
    Disguise,
    /// It holds a run of the keyboard, the alphabet or the numbers.
    Run,
    /// It repeats itself.
    Repeats,
    /// It is a phrase everybody knows.
    WellKnown,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Weakness::Short => "it is short",
            Weakness::Sentence => {
                "it is a sentence, and the words of a sentence predict each other"
            }
            Weakness::Date => "it holds a date",
            Weakness::Common => "it holds one of the commonest passwords",
            Weakness::Disguise => "digits and signs in the place of letters hide no word",
            Weakness::Run => "it holds a run of the keyboard, the alphabet or the numbers",
            Weakness::Repeats => "it repeats itself",
            Weakness::WellKnown => "it is a phrase everybody knows",
        })
    }
}

/// Estimates what a passphrase is worth, on the low side. Takes time in proportion to its length.
pub fn estimate(passphrase: &str) -> Estimate {
    let mut text = Zeroizing::new(String::with_capacity(4 * passphrase.len()));
    for letter in passphrase.nfkd().take(LONGEST) {
        text.extend(letter.to_lowercase());
    }
    let mut least = judged(&text);
    // Whoever guesses tries these as well, so the cheapest reading counts.
    if let Some((walked, walks)) = disguise::without_walks(&text) {
        least = least.min(judged(&walked).worse_by(walks * COMMON_BITS, Weakness::Run));
    }
    if let Some((plain, words)) = disguise::without_substitutes(&text, is_known_word) {
        let disguised = judged(&plain).worse_by(words * SUBSTITUTE_BITS, Weakness::Disguise);
        least = least.min(disguised);
    }
    if is_well_known(&text) || is_well_known(&disguise::plain(&text)) {
        return Estimate {
            bits: least.bits.min(WORD_BITS),
            weakness: Weakness::WellKnown,
        };
    }
    least
}

impl Estimate {
    /// This estimate with `bits` for what was taken out before, and why that was.
    fn worse_by(self, bits: u32, weakness: Weakness) -> Estimate {
        Estimate {
            bits: self.bits + bits,
            weakness: self.weakness.max(weakness),
        }
    }

    fn min(self, other: Estimate) -> Estimate {
        if other.bits < self.bits { other } else { self }
    }
}

/// Whether a guesser has the word in the first lists that are tried.
fn is_known_word(word: &str) -> bool {
    COMMON_WORDS.contains(&word) || Language::English.word_list().binary_search(&word).is_ok()
}

/// What a text is worth as it stands.
fn judged(text: &str) -> Estimate {
    let tokens = tokens(text);
    let mut judge = Judge {
        seen: Vec::with_capacity(tokens.len()),
        word_bits: WORD_BITS,
        weakness: Weakness::Short,
    };
    let function_words = tokens
        .iter()
        .filter(|token| FUNCTION_WORDS.contains(&token.text))
        .count();
    if function_words >= 2 {
        judge.word_bits = SENTENCE_WORD_BITS;
        judge.note(Weakness::Sentence);
    }
    let bits: u32 = tokens.iter().map(|token| judge.bits(token)).sum();
    if looks_generated(&tokens, function_words) {
        return Estimate {
            bits: bits.max(judge.seen.len() as u32 * WORD_BITS),
            weakness: Weakness::Short,
        };
    }
    Estimate {
        bits,
        weakness: judge.weakness,
    }
}

/// Whether this is what [`super::generate`] makes: its words in its number and nothing else. Some of
/// them are common words, and one in two hundred is there twice, by chance and not by habit. Who
/// writes six words that mean something hardly finds all of them in the list.
fn looks_generated(tokens: &[Token<'_>], function_words: usize) -> bool {
    let list = Language::English.word_list();
    tokens.len() >= WORDS
        && function_words <= 2
        && tokens
            .iter()
            .all(|token| list.binary_search(&token.text).is_ok())
}

/// Letters of a passphrase that are looked at; what comes after them is worth nothing more.
const LONGEST: usize = 1_024;

/// A piece of a passphrase.
#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Number,
    Ideograph,
    Sign,
    /// Spaces and what people put in place of them.
    Gap,
}

/// Cuts a text into words and numbers; every other sign is a piece of its own, and gaps are dropped.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut start = 0;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let kind = kind_of(letter);
        let end = at + letter.len_utf8();
        let goes_on = matches!(kind, Kind::Word | Kind::Number)
            && letters
                .peek()
                .is_some_and(|(_, next)| kind_of(*next) == kind);
        if goes_on {
            continue;
        }
        if kind != Kind::Gap {
            let text = &text[start..end];
            tokens.push(Token { text, kind });
        }
        start = end;
    }
    tokens
}

fn kind_of(letter: char) -> Kind {
    let is_ideograph = matches!(letter, '\u{2e80}'..='\u{1efff}');
    if is_ideograph {
        Kind::Ideograph
    } else if letter.is_numeric() {
        Kind::Number
    } else if letter.is_alphabetic() || is_combining_mark(letter) {
        Kind::Word
    } else if letter.is_whitespace() || matches!(letter, '-' | '_' | '.' | ',' | '\'') {
        Kind::Gap
    } else {
        Kind::Sign
    }
}

/// Adds up a passphrase, remembering what it has seen of it.
struct Judge<'a> {
    seen: Vec<&'a str>,
    word_bits: u32,
    weakness: Weakness,
}

impl<'a> Judge<'a> {
    /// Remembers the worst.
    fn note(&mut self, weakness: Weakness) {
        self.weakness = self.weakness.max(weakness);
    }

    fn bits(&mut self, token: &Token<'a>) -> u32 {
        if self.seen.contains(&token.text) {
            if token.kind == Kind::Word
                && token.text.len() > 2
                && !FUNCTION_WORDS.contains(&token.text)
            {
                self.note(Weakness::Repeats);
            }
            return REPEAT_BITS;
        }
        self.seen.push(token.text);
        match token.kind {
            Kind::Word => self.bits_of_word(token.text),
            Kind::Number => self.bits_of_number(token.text),
            Kind::Ideograph => IDEOGRAPH_BITS,
            Kind::Sign if token.text >= "\u{1f000}" => EMOJI_BITS,
            Kind::Sign => SIGN_BITS,
            Kind::Gap => 0,
        }
    }

    fn bits_of_word(&mut self, word: &str) -> u32 {
        if FUNCTION_WORDS.contains(&word) {
            return FUNCTION_WORD_BITS;
        }
        if COMMON_WORDS.contains(&word) {
            self.note(Weakness::Common);
            return COMMON_BITS;
        }
        if is_run(word) {
            self.note(Weakness::Run);
            return COMMON_BITS;
        }
        if let Some(unit) = repeated_unit(word) {
            self.note(Weakness::Repeats);
            return self.bits_of_word(unit) + REPEAT_BITS;
        }
        match word.chars().count() {
            letters @ 0..=2 => letters as u32 * LETTER_BITS,
            3 => SHORT_WORD_BITS.min(self.word_bits),
            letters => self.word_bits * (letters / LETTERS_PER_WORD / 2).max(1) as u32,
        }
    }

    fn bits_of_number(&mut self, number: &str) -> u32 {
        if is_run(number) || is_count(number) {
            self.note(Weakness::Run);
            return COMMON_BITS;
        }
        if let Some(unit) = repeated_unit(number) {
            self.note(Weakness::Repeats);
            return self.bits_of_number(unit) + REPEAT_BITS;
        }
        let digits = number.chars().count() as u32;
        let Some(years) = dates_in(number) else {
            return digits * DIGIT_BITS;
        };
        self.note(Weakness::Date);
        years * YEAR_BITS
    }
}

/// Whether the digits go on by one step again and again, past the nine as well: 1234567890123, 97531, 13579.
fn is_count(number: &str) -> bool {
    let digits: Zeroizing<Vec<u32>> = Zeroizing::new(
        number
            .chars()
            .filter_map(|digit| digit.to_digit(10))
            .collect(),
    );
    let mut steps = digits.windows(2).map(|pair| (10 + pair[1] - pair[0]) % 10);
    let first = steps.next();
    digits.len() >= 4
        && digits.len() == number.chars().count()
        && steps.all(|step| Some(step) == first)
}

/// How many years a number is worth that is a row of years, a year and a day, or a day of a year; none where it is no date.
fn dates_in(number: &str) -> Option<u32> {
    let is_year = |digits: Option<&str>| {
        digits.is_some_and(|year| year.starts_with("19") || year.starts_with("20"))
    };
    let part = |at: usize| {
        number
            .get(at..at + 2)
            .and_then(|part| part.parse::<u32>().ok())
    };
    let is_day = |day: Option<u32>, month: Option<u32>| {
        day.is_some_and(|day| (1..=31).contains(&day))
            && month.is_some_and(|month| (1..=12).contains(&month))
    };
    let is_short_date =
        || is_day(part(0), part(2)) || is_day(part(2), part(0)) || is_day(part(4), part(2));
    match number.len() {
        8 if is_year(number.get(..4)) || is_year(number.get(4..)) => Some(2),
        6 if is_short_date() => Some(2),
        length if length > 0 && length.is_multiple_of(4) => {
            let mut years = (0..length).step_by(4).map(|at| number.get(at..at + 4));
            years.all(is_year).then_some(length as u32 / 4)
        }
        _ => None,
    }
}

/// Whether three or more letters lie side by side on a row of keys or in the alphabet, in either direction.
fn is_run(text: &str) -> bool {
    let reversed: Zeroizing<String> = Zeroizing::new(text.chars().rev().collect());
    text.len() >= 3
        && ROWS
            .iter()
            .any(|row| row.contains(text) || row.contains(reversed.as_str()))
}

/// The shortest piece that the text is two or more of.
fn repeated_unit(text: &str) -> Option<&str> {
    let cuts = text.char_indices().skip(1).map(|(at, _)| at);
    cuts.take_while(|at| at * 2 <= text.len())
        .filter(|at| text.len().is_multiple_of(*at))
        .map(|at| &text[..at])
        .find(|unit| text.len() > 2 && text.split(unit).all(str::is_empty))
}

/// Whether a third of the letters or more are a phrase everybody knows.
fn is_well_known(text: &str) -> bool {
    let mut letters = Zeroizing::new(String::with_capacity(text.len()));
    letters.extend(text.chars().filter(|letter| letter.is_alphabetic()));
    WELL_KNOWN
        .iter()
        .any(|phrase| phrase.len() * 3 >= letters.len() && letters.contains(phrase))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn habits_of_people_are_worth_little() {
        let table = [
            ("", 0, Weakness::Short),
            ("password", 4, Weakness::Common),
            ("Password123", 8, Weakness::Run),
            ("qwertyuiop", 4, Weakness::Run),
            ("poiuy 4321", 8, Weakness::Run),
            ("aaaaaaaaaaaaaaaaaaaa", 4, Weakness::Repeats),
            ("horse horse horse horse horse", 14, Weakness::Repeats),
            ("horsehorsehorsehorsehorse", 11, Weakness::Repeats),
            ("summer 1987", 10, Weakness::Common),
            ("anna 24121987", 22, Weakness::Date),
            ("p@ssw0rd!", 9, Weakness::Disguise),
            ("1234567890123456789", 4, Weakness::Run),
            ("98765432109876543210", 4, Weakness::Run),
            ("13579135791357913579", 4, Weakness::Run),
            ("1987199219952003", 24, Weakness::Date),
            ("241287", 12, Weakness::Date),
            ("1qaz2wsx3edc4rfv", 16, Weakness::Run),
            ("!QAZ@WSX#EDC$RFV", 16, Weakness::Run),
            ("zxcvbnm,./asdfghjkl;'", 8, Weakness::Run),
            ("dr4g0n m0nk3y", 12, Weakness::Disguise),
            ("c0rr3ct h0rs3 b4tt3ry st4pl3", 10, Weakness::WellKnown),
            (
                "To be, or not to be: that is the question",
                10,
                Weakness::WellKnown,
            ),
            ("Correct-Horse-Battery-Staple1", 10, Weakness::WellKnown),
            (
                "my dog likes to eat the green apples",
                44,
                Weakness::Sentence,
            ),
        ];
        for (phrase, bits, weakness) in table {
            assert_eq!(estimate(phrase), Estimate { bits, weakness }, "{phrase}");
            assert!(super::super::check(phrase).is_err(), "{phrase}");
        }
    }

    #[test]
    fn unrelated_words_and_random_signs_pass() {
        for phrase in [
            "orbit velvet canyon ladder mosaic",
            "Orbit-Velvet-Canyon-Ladder-Mosaic",
            "trieb wolke säge ofen gurke",
            "密码短语用于测试的句子",
            "x7$Kq9!zPw2@Lm4#",
            "орбита бархат каньон лестница мозаика",
        ] {
            assert!(
                super::super::check(phrase).is_ok(),
                "{phrase}: {:?}",
                estimate(phrase)
            );
        }
    }

    #[test]
    fn the_unicode_form_and_the_case_do_not_matter() {
        assert_eq!(
            estimate("S\u{e4}ge Caf\u{e9}"),
            estimate("sa\u{308}ge cafe\u{301}")
        );
    }

    #[test]
    fn endless_text_is_worth_no_more_than_its_beginning() {
        let long = "violet harbor ".repeat(100_000);
        assert_eq!(estimate(&long).weakness, Weakness::Repeats);
    }

    proptest! {
        #[test]
        fn any_text_is_estimated_without_panic(text in ".{0,200}") {
            let _ = estimate(&text);
        }

        #[test]
        fn no_letter_is_worth_more_than_a_random_one(text in "[ -~]{1,60}") {
            // 95 signs can be typed: log2 of that is below 7 bits.
            prop_assert!(estimate(&text).bits <= 7 * text.len() as u32);
        }
    }
}
