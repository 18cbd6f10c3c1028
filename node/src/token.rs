//! The bearer token that calls which change something must carry.

use std::io;
use std::path::{Path, PathBuf};

use perennis_shared::error::{ErrorKind, Retryable};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Shortest token that is taken, in bytes.
const SHORTEST: usize = 16;

/// Largest token file that is read, in bytes.
const FILE_BYTES: u64 = 4_096;

/// The token of a node, or none: then everybody who reaches the node may call.
pub(crate) struct Token(Option<Zeroizing<Vec<u8>>>);

impl Token {
    /// No token.
    pub(crate) fn none() -> Token {
        Token(None)
    }

    /// Reads the token from a file; white space around it is not part of it.
    pub(crate) fn read(path: &Path) -> Result<Token, TokenError> {
        let failed = |source| TokenError::Io {
            path: path.to_owned(),
            source,
        };
        let length = std::fs::metadata(path).map_err(failed)?.len();
        let text = if length <= FILE_BYTES {
            Zeroizing::new(std::fs::read(path).map_err(failed)?)
        } else {
            Zeroizing::new(Vec::new())
        };
        let token = text.trim_ascii();
        if token.len() < SHORTEST || !token.iter().all(u8::is_ascii_graphic) {
            return Err(TokenError::Unusable {
                path: path.to_owned(),
            });
        }
        Ok(Token(Some(Zeroizing::new(token.to_vec()))))
    }

    /// Whether a call that carries this token may change something. Takes as long for every wrong token of one length.
    pub(crate) fn admits(&self, given: Option<&[u8]>) -> bool {
        match (&self.0, given) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(token), Some(given)) => token.as_slice().ct_eq(given).into(),
        }
    }
}

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It cannot be read.
    #[error("the token file {} cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system reported.
        source: io::Error,
    },
    /// It holds no token.
    #[error("{} holds no token of at least 16 visible characters", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
    },
}

impl Retryable for TokenError {
    /// Fatal: without its token the node would let everybody write, so it waits for a person.
    fn kind(&self) -> ErrorKind {
        match self {
            TokenError::Io { .. } | TokenError::Unusable { .. } => ErrorKind::Fatal,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn only_the_whole_token_is_admitted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let token = Token::read(&file).unwrap();
        assert!(token.admits(Some(b"0123456789abcdef")));
        for wrong in [
            &b""[..],
            b"0123456789abcde",
            b"0123456789abcdef0",
            b"0123456789abcdeF",
        ] {
            assert!(!token.admits(Some(wrong)));
        }
        assert!(!token.admits(None));
        assert!(Token::none().admits(None));
    }

    #[test]
    fn every_failure_has_its_kind() {
        let path = || PathBuf::from("/token");
        let unread = TokenError::Io {
            path: path(),
            source: io::Error::other("no luck"),
        };
        for (error, kind) in [
            (unread, ErrorKind::Fatal),
            (TokenError::Unusable { path: path() }, ErrorKind::Fatal),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    #[test]
    fn weak_and_missing_tokens_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        assert!(matches!(Token::read(&file), Err(TokenError::Io { .. })));
        for text in ["", "short", "0123456789 abcdef"] {
            std::fs::write(&file, text).unwrap();
            assert!(
                matches!(Token::read(&file), Err(TokenError::Unusable { .. })),
                "{text}"
            );
        }
    }
}
