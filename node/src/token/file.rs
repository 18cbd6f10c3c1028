//! The file of `http.tokens`: who may do what, a line each, `NAME SCOPE[,SCOPE…] sha256:HEX`. The tokens themselves do not stand in it,
//! only their digests, so whoever reads it can call with none of them. Empty lines and what stands behind `#` are for people.

use std::fmt;

use perennis_shared::error::{ErrorKind, Retryable};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::scope::{NoScope, Scopes};

/// Longest name of a token, in bytes.
const NAME_BYTES: usize = 64;

/// What a digest begins with.
const SHA256: &str = "sha256:";

/// A file of tokens, with all that people wrote into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFile {
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Token(NamedToken, String),
    Remark(String),
}

/// A token that somebody was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedToken {
    /// Whose it is.
    pub name: String,
    /// What it grants.
    pub scopes: Scopes,
    digest: [u8; 32],
}

/// What is wrong with a file of tokens, or with what is to become a line of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFileError {
    /// A line is none.
    #[error("line {line} {problem}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// No token is called so.
    #[error("{0:?} is no name of a token: letters, digits, `.`, `_` and `-`, at most 64")]
    Name(String),
    /// The name is taken.
    #[error("there is a token named {0} already")]
    Taken(String),
}

impl Retryable for TokenFileError {
    /// It waits for a person.
    fn kind(&self) -> ErrorKind {
        match self {
            TokenFileError::Line { .. } => ErrorKind::Fatal,
            TokenFileError::Name(_) | TokenFileError::Taken(_) => ErrorKind::Reject,
        }
    }
}

impl TokenFile {
    /// Reads all lines, or names the first that is none.
    ///
    /// # Errors
    /// [`TokenFileError::Line`].
    pub fn parse(text: &str) -> Result<TokenFile, TokenFileError> {
        let mut file = TokenFile::default();
        for (index, text) in text.lines().enumerate() {
            let refused = |problem| TokenFileError::Line {
                line: index + 1,
                problem,
            };
            let (content, remark) = text.split_at(text.find('#').unwrap_or(text.len()));
            if content.trim().is_empty() {
                file.lines.push(Line::Remark(text.to_owned()));
                continue;
            }
            let token = NamedToken::parse(content).map_err(refused)?;
            if file.find(&token.name).is_some() {
                return Err(refused(format!("names {} once more", token.name)));
            }
            file.lines.push(Line::Token(token, remark.to_owned()));
        }
        Ok(file)
    }

    /// Its tokens, in their order.
    pub fn tokens(&self) -> impl Iterator<Item = &NamedToken> {
        self.lines.iter().filter_map(|line| match line {
            Line::Token(token, _) => Some(token),
            Line::Remark(_) => None,
        })
    }

    fn find(&self, name: &str) -> Option<&NamedToken> {
        self.tokens().find(|token| token.name == name)
    }

    /// Adds a line for a token.
    ///
    /// # Errors
    /// The name is none, or taken.
    pub fn add(&mut self, name: &str, scopes: Scopes, token: &str) -> Result<(), TokenFileError> {
        if !is_name(name) {
            return Err(TokenFileError::Name(name.chars().take(80).collect()));
        }
        if self.find(name).is_some() {
            return Err(TokenFileError::Taken(name.to_owned()));
        }
        let token = NamedToken {
            name: name.to_owned(),
            scopes,
            digest: Sha256::digest(token.as_bytes()).into(),
        };
        self.lines.push(Line::Token(token, String::new()));
        Ok(())
    }

    /// Takes the line of a token out; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.lines.len();
        self.lines
            .retain(|line| !matches!(line, Line::Token(token, _) if token.name == name));
        self.lines.len() < before
    }

    /// What a token grants; none for one that is not here. Takes as long for every token that is not.
    pub(super) fn scopes_of(&self, given: &[u8]) -> Option<Scopes> {
        let digest = Sha256::digest(given);
        let mut found = None;
        for token in self.tokens() {
            if token.digest.as_slice().ct_eq(digest.as_slice()).into() {
                found = Some(token.scopes);
            }
        }
        found
    }
}

impl NamedToken {
    fn parse(text: &str) -> Result<NamedToken, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [name, scopes, digest] = words[..] else {
            return Err("is not NAME SCOPE[,SCOPE] sha256:HEX".to_owned());
        };
        if !is_name(name) {
            return Err(TokenFileError::Name(name.chars().take(80).collect()).to_string());
        }
        let scopes = scopes.parse().map_err(|error: NoScope| error.to_string())?;
        let digest = digest.strip_prefix(SHA256).and_then(parse_digest);
        let digest = digest.ok_or("has no digest: sha256: and 64 hexadecimal digits")?;
        Ok(NamedToken {
            name: name.to_owned(),
            scopes,
            digest,
        })
    }
}

fn is_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.len() <= NAME_BYTES && text.bytes().all(is_of_name)
}

fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 2 * digest.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, place) in digest.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(&text[place..place + 2], 16).ok()?;
    }
    Some(digest)
}

/// As it is written.
impl fmt::Display for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            match line {
                Line::Remark(text) => writeln!(f, "{text}")?,
                Line::Token(token, remark) => {
                    write!(f, "{token}")?;
                    match remark.is_empty() {
                        true => writeln!(f)?,
                        false => writeln!(f, " {remark}")?,
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for NamedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {SHA256}", self.name, self.scopes)?;
        self.digest
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;

    /// `printf 0123456789abcdef | sha256sum`
    const LINE: &str =
        "alice publish,pin sha256:9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";

    #[test]
    fn a_line_grants_its_scopes_to_its_token_alone() {
        let text = format!(
            "# who may\n\n{LINE}   # since May\nbob read sha256:{}\n",
            "0".repeat(64)
        );
        let file = TokenFile::parse(&text).unwrap();
        let scopes = file.scopes_of(b"0123456789abcdef").unwrap();
        assert_eq!(scopes, [Scope::Publish, Scope::Pin].into_iter().collect());
        for wrong in ["", "0123456789abcdeF", "0123456789abcdef\n"] {
            assert_eq!(file.scopes_of(wrong.as_bytes()), None);
        }
        let names: Vec<&str> = file.tokens().map(|token| &*token.name).collect();
        assert_eq!(names, ["alice", "bob"]);
        // What people wrote stays.
        let written = file.to_string();
        assert!(
            written.starts_with("# who may\n\nalice publish,pin "),
            "{written}"
        );
        assert!(written.contains(" # since May\n"), "{written}");
        assert_eq!(TokenFile::parse(&written).unwrap().to_string(), written);
    }

    #[test]
    fn tokens_are_added_and_removed_by_name() {
        let mut file = TokenFile::parse("# mine\n").unwrap();
        let scopes = "publish,pin".parse().unwrap();
        file.add("alice", scopes, "0123456789abcdef").unwrap();
        assert_eq!(file.to_string(), format!("# mine\n{LINE}\n"));
        let taken = file.add("alice", scopes, "another").unwrap_err();
        assert_eq!(taken, TokenFileError::Taken("alice".to_owned()));
        for name in ["", "a b", "a#b", "ä", &"a".repeat(65)] {
            let refused = file.add(name, scopes, "another").unwrap_err();
            assert!(matches!(refused, TokenFileError::Name(_)), "{name}");
        }
        assert!(file.remove("alice"));
        assert!(!file.remove("alice"));
        assert_eq!(file.to_string(), "# mine\n");
    }

    #[test]
    fn the_line_that_is_wrong_is_named() {
        let digest = &LINE[LINE.find("sha256").unwrap()..];
        for (line, part) in [
            ("alice".to_owned(), "is not NAME"),
            (format!("alice publish {digest} more"), "is not NAME"),
            (format!("alice public {digest}"), "\"public\" is no scope"),
            (format!("alice publish, {digest}"), "is no scope"),
            (format!("al/ice publish {digest}"), "is no name"),
            (format!("alice publish {}", &digest[7..]), "has no digest"),
            (format!("alice publish {}", &digest[..70]), "has no digest"),
            (format!("alice publish {}é", &digest[..69]), "has no digest"),
            (format!("bob publish {digest}"), "names bob once more"),
        ] {
            let text = format!("bob read {digest}\n# and\n{line}\n");
            let message = TokenFile::parse(&text).unwrap_err().to_string();
            assert!(
                message.starts_with("line 3 ") && message.contains(part),
                "{message}"
            );
        }
    }
}
