//! Passphrases come from a file, from stdin or from the terminal; never from an argument or a variable.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::failure::{Failure, file_failure};

/// Longest passphrase that is read, in bytes: far above any that is typed, and no device file fills the memory.
const PASSPHRASE_BYTES: usize = 4096;

/// A passphrase in memory; wiped when dropped.
pub(crate) struct Passphrase(Zeroizing<String>);

impl Passphrase {
    pub(crate) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// What in it cannot be seen and is part of it all the same.
    pub(crate) fn invisible(&self) -> Option<&'static str> {
        let is_edge = |text: &str| {
            text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace)
        };
        if self.0.chars().any(is_invisible) {
            Some("characters that cannot be seen")
        } else if is_edge(&self.0) {
            Some("a blank at its beginning or end")
        } else {
            None
        }
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// Characters that take no place: controls, what joins and directs, and blanks other than the space.
fn is_invisible(letter: char) -> bool {
    let is_format = matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}');
    is_format || letter.is_control() || (letter.is_whitespace() && letter != ' ')
}

/// Reads the passphrase from `file` (`-` is stdin), which has several `lines` or one, or asks for it on the terminal.
pub(crate) fn read_passphrase(
    file: Option<&Path>,
    lines: bool,
    prompt: &str,
) -> Result<Passphrase, Failure> {
    match file {
        Some(path) => read_passphrase_file(path, lines),
        None => ask(prompt),
    }
}

/// Asks for a new passphrase on the terminal, twice; `None` when it is left empty, or when there is no terminal to
/// ask on.
pub(crate) fn ask_new_passphrase(prompt: &str) -> Result<Option<Passphrase>, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let first = match ask(prompt) {
        Err(failure) if failure.code == "passphrase_empty" => return Ok(None),
        typed => typed?,
    };
    let second = ask("The same again: ")?;
    if first.reveal() != second.reveal() {
        return Err(
            Failure::invalid("passphrases_differ", "the two passphrases are not the same")
                .hint("run the command again"),
        );
    }
    Ok(Some(first))
}

fn ask(prompt: &str) -> Result<Passphrase, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            super::failure::Exit::Usage,
            "passphrase_needed",
            "a passphrase is needed and there is no terminal to ask on",
        )
        .hint("give --passphrase-file FILE, or --passphrase-file - and write it to stdin"));
    }
    let typed = rpassword::prompt_password(prompt).map_err(|error| {
        Failure::failed("terminal", "cannot read from the terminal")
            .because(&error)
            .hint("give --passphrase-file FILE instead")
    })?;
    parse_passphrase(Zeroizing::new(typed.into_bytes()), "the terminal", false)
}

/// Reads the passphrase from a file (`-` is stdin), which has several `lines` or one.
pub(crate) fn read_passphrase_file(path: &Path, lines: bool) -> Result<Passphrase, Failure> {
    if path == Path::new("-") {
        let bytes = read_bounded(io::stdin().lock())
            .map_err(|error| file_failure("read the passphrase from", path, &error))?;
        return parse_passphrase(bytes, "stdin", lines);
    }
    let bytes = File::open(path)
        .and_then(read_bounded)
        .map_err(|error| file_failure("read the passphrase from", path, &error))?;
    parse_passphrase(bytes, &path.display().to_string(), lines)
}

/// Reads into a buffer that never moves, so that no copy is left behind.
fn read_bounded(mut source: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut buffer = Zeroizing::new(vec![0; PASSPHRASE_BYTES + 3]);
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

/// A byte order mark and one line end are not part of the passphrase; everything else is, spaces too. Several `lines` are
/// taken only where they are asked for: most files that have them are not what was meant.
fn parse_passphrase(
    bytes: Zeroizing<Vec<u8>>,
    origin: &str,
    lines: bool,
) -> Result<Passphrase, Failure> {
    let content = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let content = content
        .strip_suffix(b"\r\n")
        .or_else(|| content.strip_suffix(b"\n"))
        .unwrap_or(content);
    if content.len() > PASSPHRASE_BYTES {
        return Err(Failure::invalid(
            "passphrase_too_long",
            format!("the passphrase from {origin} is longer than {PASSPHRASE_BYTES} bytes"),
        )
        .hint("check that this is the right file"));
    }
    if content.is_empty() {
        return Err(Failure::invalid(
            "passphrase_empty",
            format!("the passphrase from {origin} is empty"),
        )
        .hint("put the passphrase on the first line"));
    }
    if !lines && content.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Err(Failure::invalid(
            "passphrase_of_lines",
            format!("the passphrase from {origin} has more than one line"),
        )
        .hint("put the passphrase on the only line, with nothing below it; or say with --passphrase-lines that it has several"));
    }
    match std::str::from_utf8(content) {
        Ok(text) => Ok(Passphrase(Zeroizing::new(text.to_owned()))),
        Err(error) => Err(Failure::invalid(
            "passphrase_not_text",
            format!("the passphrase from {origin} is not UTF-8 text"),
        )
        .because(&error)
        .hint("save the file as UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<String, String> {
        parse_passphrase(Zeroizing::new(bytes.to_vec()), "a test", false)
            .map(|phrase| phrase.reveal().to_owned())
            .map_err(|failure| failure.code.into_owned())
    }

    #[test]
    fn one_line_end_is_stripped_and_nothing_else() {
        assert_eq!(parse(b"words\n").unwrap(), "words");
        assert_eq!(parse(b"words\r\n").unwrap(), "words");
        assert_eq!(parse(b"  words  ").unwrap(), "  words  ");
        assert_eq!(parse("\u{feff}words\n".as_bytes()).unwrap(), "words");
        for lines in [
            &b"words\n\n"[..],
            b"words\r",
            b"one\ntwo",
            b"one\r\ntwo\r\n",
        ] {
            assert_eq!(parse(lines).unwrap_err(), "passphrase_of_lines");
            let bytes = Zeroizing::new(lines.to_vec());
            assert!(parse_passphrase(bytes, "a test", true).is_ok());
        }
    }

    #[test]
    fn what_cannot_be_seen_is_told() {
        let told = |text: &str| Passphrase::new(Zeroizing::new(text.to_owned())).invisible();
        for plain in ["orbit velvet", "s\u{e4}ge caf\u{e9}", "\u{5bc6}\u{7801}"] {
            assert_eq!(told(plain), None, "{plain}");
        }
        for text in [
            "or\u{200b}bit",
            "orbit\u{feff}",
            "orbit\tvelvet",
            "orbit\u{a0}velvet",
            "\u{202e}orbit",
            " orbit",
            "orbit ",
        ] {
            assert!(told(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_passphrase_is_refused() {
        assert_eq!(parse(b"").unwrap_err(), "passphrase_empty");
        assert_eq!(parse(b"\n").unwrap_err(), "passphrase_empty");
        assert_eq!(parse(b"\xff\xfe").unwrap_err(), "passphrase_not_text");
        assert_eq!(
            parse(&[b'a'; PASSPHRASE_BYTES + 1]).unwrap_err(),
            "passphrase_too_long"
        );
    }

    #[test]
    fn an_endless_source_is_cut() {
        let bytes = read_bounded(io::repeat(b'a')).unwrap();
        assert!(parse_passphrase(bytes, "a test", true).is_err());
    }
}
