//! Two habits that make a text look random and are in every guesser's rules: walking over neighbouring keys, and writing
//! digits and signs in the place of letters.

use alloc::string::String;

use zeroize::Zeroizing;

/// The keys of the usual keyboard, row under row, each row half a key to the right.
const KEYS: [&str; 4] = ["1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./"];
/// The same with the shift key.
const SHIFTED: [&str; 4] = ["!@#$%^&*()_+", "QWERTYUIOP{}", "ASDFGHJKL:\"", "ZXCVBNM<>?"];

/// Letters of a walk that could be a word.
const WALKED_WORD: usize = 5;
/// Letters of a walk that has more than letters.
const WALKED_KEYS: usize = 4;

/// What stands for a letter.
const SUBSTITUTES: [(char, char); 10] = [
    ('@', 'a'),
    ('4', 'a'),
    ('8', 'b'),
    ('3', 'e'),
    ('1', 'i'),
    ('!', 'i'),
    ('0', 'o'),
    ('5', 's'),
    ('$', 's'),
    ('7', 't'),
];

/// The text without its walks over the keyboard, in the place of each of which there is a gap, and how many they were; none
/// where there is none.
pub(super) fn without_walks(text: &str) -> Option<(Zeroizing<String>, u32)> {
    let mut rest = Zeroizing::new(String::with_capacity(text.len()));
    let mut walks = 0;
    let mut walk = Zeroizing::new(String::with_capacity(text.len()));
    let mut last = None;
    for letter in text.chars().map(Some).chain([None]) {
        let key = letter.and_then(key_of);
        let goes_on = matches!((last, key), (Some(last), Some(key)) if are_neighbours(last, key));
        if !goes_on {
            if is_walk(&walk) {
                walks += 1;
                rest.push(' ');
            } else {
                rest.push_str(&walk);
            }
            walk.clear();
        }
        walk.extend(letter);
        last = key;
    }
    (walks > 0).then_some((rest, walks))
}

fn is_walk(walk: &str) -> bool {
    let letters = walk.chars().count();
    let has_other_keys = walk.chars().any(|letter| !letter.is_alphabetic());
    letters >= WALKED_WORD || (letters >= WALKED_KEYS && has_other_keys)
}

/// Row and place of the key that a letter is on.
fn key_of(letter: char) -> Option<(i32, i32)> {
    for rows in [KEYS, SHIFTED] {
        for (row, keys) in rows.iter().enumerate() {
            if let Some(place) = keys.find(letter) {
                return Some((row as i32, place as i32));
            }
        }
    }
    None
}

/// Whether two keys, other than one and the same, touch.
fn are_neighbours(one: (i32, i32), other: (i32, i32)) -> bool {
    let (upper, lower) = if one.0 <= other.0 {
        (one, other)
    } else {
        (other, one)
    };
    match lower.0 - upper.0 {
        0 => (lower.1 - upper.1).abs() == 1,
        // The lower row is half a key to the right.
        1 => matches!(upper.1 - lower.1, 0 | 1),
        _ => false,
    }
}

/// The text with known words in the place of what stands for them, and how many they were; none where there is none. What
/// follows such a word without a gap, as in `passw0rd1!`, stays.
pub(super) fn without_substitutes(
    text: &str,
    is_known: impl Fn(&str) -> bool,
) -> Option<(Zeroizing<String>, u32)> {
    let mut rest = Zeroizing::new(String::with_capacity(2 * text.len()));
    let mut words = 0;
    for piece in text.split_inclusive(char::is_whitespace) {
        let end = piece
            .trim_end_matches(|letter: char| !letter.is_alphabetic())
            .len();
        // The longest reading first: signs at the end may stand for letters too.
        let ends = [piece.trim_end().len(), end];
        let known = ends.into_iter().find_map(|end| {
            let word = &piece[..end];
            let read = plain(word);
            (*read != *word && is_known(&read)).then_some((read, end))
        });
        match known {
            Some((read, end)) => {
                words += 1;
                rest.push_str(&read);
                rest.push(' ');
                rest.push_str(&piece[end..]);
            }
            None => rest.push_str(piece),
        }
    }
    (words > 0).then_some((rest, words))
}

/// The text with letters in the place of the digits and signs that stand for them.
pub(super) fn plain(text: &str) -> Zeroizing<String> {
    let mut read = Zeroizing::new(String::with_capacity(text.len()));
    read.extend(text.chars().map(|letter| {
        let substitute = SUBSTITUTES.iter().find(|(written, _)| *written == letter);
        substitute.map_or(letter, |(_, meant)| *meant)
    }));
    read
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn walks_are_taken_out_and_words_stay() {
        let walked =
            |text: &str| without_walks(text).map(|(rest, walks)| (rest.to_string(), walks));
        assert_eq!(walked("1qaz2wsx"), Some(("  ".into(), 2)));
        assert_eq!(walked("my qwerty dog"), Some(("my   dog".into(), 1)));
        for words in [
            "were trees",
            "orbit velvet canyon",
            "x7$kq9!zpw2@lm4#",
            "aaaa",
            "",
        ] {
            assert_eq!(
                walked(words).filter(|(_, walks)| *walks > 1),
                None,
                "{words}"
            );
        }
        assert_eq!(walked("orbit velvet canyon"), None);
    }

    #[test]
    fn words_are_seen_through_their_digits() {
        let seen = |text: &str| {
            let known = |word: &str| ["password", "ace"].contains(&word);
            without_substitutes(text, known).map(|(rest, words)| (rest.to_string(), words))
        };
        assert_eq!(seen("p@ssw0rd!"), Some(("password !".into(), 1)));
        assert_eq!(seen("4c3 x p4ssw0rd"), Some(("ace  x password ".into(), 2)));
        for text in ["password", "ace 4711", "x7$kq9", ""] {
            assert_eq!(seen(text), None, "{text}");
        }
    }
}
