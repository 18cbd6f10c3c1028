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

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// Reads the passphrase from `file` (`-` is stdin), or asks for it on the terminal.
pub(crate) fn read_passphrase(file: Option<&Path>, prompt: &str) -> Result<Passphrase, Failure> {
    match file {
        Some(path) => read_file(path),
        None => ask(prompt),
    }
}

/// Reads the passphrase from `file` (`-` is stdin).
pub(crate) fn read_passphrase_file(file: &Path) -> Result<Passphrase, Failure> {
    read_file(file)
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
    parse_passphrase(Zeroizing::new(typed.into_bytes()), "the terminal")
}

fn read_file(path: &Path) -> Result<Passphrase, Failure> {
    if path == Path::new("-") {
        let bytes = read_bounded(io::stdin().lock())
            .map_err(|error| file_failure("read the passphrase from", path, &error))?;
        return parse_passphrase(bytes, "stdin");
    }
    let bytes = File::open(path)
        .and_then(read_bounded)
        .map_err(|error| file_failure("read the passphrase from", path, &error))?;
    parse_passphrase(bytes, &path.display().to_string())
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

/// One line end is not part of the passphrase; everything else is, spaces too.
fn parse_passphrase(bytes: Zeroizing<Vec<u8>>, origin: &str) -> Result<Passphrase, Failure> {
    let content = bytes
        .strip_suffix(b"\r\n")
        .or_else(|| bytes.strip_suffix(b"\n"))
        .unwrap_or(&bytes);
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
        parse_passphrase(Zeroizing::new(bytes.to_vec()), "a test")
            .map(|phrase| phrase.reveal().to_owned())
            .map_err(|failure| failure.code.into_owned())
    }

    #[test]
    fn one_line_end_is_stripped_and_nothing_else() {
        assert_eq!(parse(b"words\n").unwrap(), "words");
        assert_eq!(parse(b"words\r\n").unwrap(), "words");
        assert_eq!(parse(b"words\n\n").unwrap(), "words\n");
        assert_eq!(parse(b"words\r").unwrap(), "words\r");
        assert_eq!(parse(b"  words  ").unwrap(), "  words  ");
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
        assert!(parse_passphrase(bytes, "a test").is_err());
    }
}
