//! Bearer tokens: the one that calls which change something here must carry, and those that this node carries to others.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use perennis_sdk::NodeUrl;
use perennis_sdk::remote::BearerToken;
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
        let text = read_some(path)?;
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

/// What is in a file; nothing where that is too long for a token.
fn read_some(path: &Path) -> Result<Zeroizing<Vec<u8>>, TokenError> {
    let failed = |source| TokenError::Io {
        path: path.to_owned(),
        source,
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES {
        return Ok(Zeroizing::new(Vec::new()));
    }
    Ok(Zeroizing::new(fs::read(path).map_err(failed)?))
}

/// The tokens that records carry to the routers of the configuration, by `HOST` or `HOST:PORT`.
#[derive(Default)]
pub(crate) struct RouterTokens(HashMap<String, BearerToken>);

impl RouterTokens {
    /// Reads those of a folder that are of one of these routers. A file that is of none is told in the log.
    pub(crate) fn read<'a>(
        folder: &Path,
        routers: impl Iterator<Item = (&'a String, NodeUrl)>,
    ) -> Result<RouterTokens, TokenError> {
        let failed = |source| TokenError::Io {
            path: folder.to_owned(),
            source,
        };
        let mut files = HashSet::new();
        for file in fs::read_dir(folder).map_err(failed)? {
            files.insert(file.map_err(failed)?.file_name());
        }
        let mut tokens = HashMap::new();
        for (_, router) in routers {
            let authority = router.authority();
            if !files.remove(std::ffi::OsStr::new(authority)) {
                continue;
            }
            let path = folder.join(authority);
            if !router.is_confidential() {
                return Err(TokenError::Readable { path, router });
            }
            let text = read_some(&path)?;
            let token = str::from_utf8(&text).ok().and_then(BearerToken::parse);
            let token = token.ok_or(TokenError::Unusable { path })?;
            tokens.insert(authority.to_owned(), token);
        }
        for file in files {
            tracing::warn!(file = %folder.join(file).display(), "no router of ipns.routers has this name: the token in it is not used");
        }
        Ok(RouterTokens(tokens))
    }

    /// That of a router.
    pub(crate) fn of(&self, router: &NodeUrl) -> Option<&BearerToken> {
        self.0.get(router.authority())
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
    /// Everybody on the way would read it.
    #[error("the token in {} would be sent to {router} without encryption", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Whom it is for.
        router: NodeUrl,
    },
}

impl Retryable for TokenError {
    /// Fatal: without its token the node would let everybody write, so it waits for a person.
    fn kind(&self) -> ErrorKind {
        match self {
            TokenError::Io { .. } | TokenError::Unusable { .. } | TokenError::Readable { .. } => {
                ErrorKind::Fatal
            }
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
    fn a_router_gets_the_token_in_the_file_of_its_name_and_only_where_nobody_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let texts = [
            "https://node.example".to_owned(),
            "http://127.0.0.1:4780/".to_owned(),
            "https://without.example".to_owned(),
        ];
        let routers = |texts: &[String]| {
            let urls = texts.iter().map(|text| text.parse::<NodeUrl>().unwrap());
            urls.collect::<Vec<_>>()
        };
        let read = |texts: &[String]| {
            let urls = routers(texts);
            RouterTokens::read(dir.path(), texts.iter().zip(urls))
        };
        std::fs::write(dir.path().join("node.example"), "one\n").unwrap();
        std::fs::write(dir.path().join("127.0.0.1:4780"), "two").unwrap();
        std::fs::write(dir.path().join("nobody.example"), "three").unwrap();
        let tokens = read(&texts).unwrap();
        let has = routers(&texts)
            .iter()
            .map(|url| tokens.of(url).is_some())
            .collect::<Vec<_>>();
        assert_eq!(has, [true, true, false]);

        let open = ["http://node.example".to_owned()];
        assert!(matches!(read(&open), Err(TokenError::Readable { .. })));
        std::fs::write(dir.path().join("node.example"), " \n").unwrap();
        assert!(matches!(read(&texts), Err(TokenError::Unusable { .. })));
        let gone = dir.path().join("gone");
        let tokens = RouterTokens::read(&gone, texts.iter().zip(routers(&texts)));
        assert!(matches!(tokens, Err(TokenError::Io { .. })));
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
