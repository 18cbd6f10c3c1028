//! What a caller of the node may do: the scopes that routes need and tokens grant.

use std::fmt;
use std::str::FromStr;

use perennis_shared::error::{ErrorKind, Retryable};

/// What a route is for, and so what its caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// It shows what is for everybody, and changes nothing: content, records, where names lead, whether the node lives.
    Public,
    /// It shows what the operator looks at.
    Read,
    /// It stores what a name's owner has signed.
    Publish,
    /// It changes what the node keeps for its operator.
    Pin,
    /// It steers the node itself.
    Admin,
}

impl Scope {
    /// Those that a token may grant. Nobody needs one for [`Scope::Public`].
    pub const GRANTED: [Scope; 4] = [Scope::Read, Scope::Publish, Scope::Pin, Scope::Admin];

    /// All, as they stand in documents.
    pub const ALL: [Scope; 5] = [
        Scope::Public,
        Scope::Read,
        Scope::Publish,
        Scope::Pin,
        Scope::Admin,
    ];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Scope::Public => "public",
            Scope::Read => "read",
            Scope::Publish => "publish",
            Scope::Pin => "pin",
            Scope::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a token grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// All that can be granted.
    #[must_use]
    pub fn all() -> Scopes {
        Scope::GRANTED.into_iter().collect()
    }

    /// Whether it is among them.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Scopes {
        Scopes(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// As they stand in a file of tokens: words with commas between.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = Scope::ALL.into_iter().filter(|scope| self.has(*scope));
        let words: Vec<&str> = words.map(Scope::word).collect();
        f.write_str(&words.join(","))
    }
}

/// A word that is no scope of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scope: there are read, publish, pin and admin")]
pub struct NoScope(String);

impl Retryable for NoScope {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Reject
    }
}

impl FromStr for Scopes {
    type Err = NoScope;

    /// At least one word.
    fn from_str(text: &str) -> Result<Scopes, NoScope> {
        let parse = |word: &str| {
            let scope = Scope::GRANTED
                .into_iter()
                .find(|scope| scope.word() == word);
            scope.ok_or_else(|| NoScope(word.chars().take(40).collect()))
        };
        text.split(',').map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for (text, granted) in [
            ("read", vec![Scope::Read]),
            ("publish,pin", vec![Scope::Publish, Scope::Pin]),
            ("pin,publish,pin", vec![Scope::Publish, Scope::Pin]),
            ("read,publish,pin,admin", Scope::GRANTED.to_vec()),
        ] {
            let scopes: Scopes = text.parse().unwrap();
            for scope in Scope::ALL {
                assert_eq!(
                    scopes.has(scope),
                    granted.contains(&scope),
                    "{text} {scope}"
                );
            }
            assert_eq!(scopes.to_string().parse(), Ok(scopes));
        }
        for text in ["", ",", "read,", "public", "Read", "read pin", "everything"] {
            assert!(text.parse::<Scopes>().is_err(), "{text}");
        }
        assert_eq!(Scopes::all().to_string(), "read,publish,pin,admin");
    }
}
