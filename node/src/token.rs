//! Bearer tokens: those that callers show, and those that this node carries to others.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use perennis_sdk::remote::BearerToken;
use perennis_sdk::{NodeTokens, NodeUrl, TokenExposed};
use perennis_shared::error::{ErrorKind, Retryable};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::config::HttpConfig;
use crate::scope::Scopes;

/// Shortest token that is taken, in bytes.
const SHORTEST: usize = 16;

/// Largest token file that is read, in bytes.
const FILE_BYTES: u64 = 4_096;

mod file;
mod named;

pub use file::{NamedToken, TokenFile, TokenFileError};
use named::NamedTokens;

/// The tokens that callers may show.
pub(crate) struct Tokens {
    /// That of `http.token-file`, which grants everything.
    all: Option<Zeroizing<Vec<u8>>>,
    /// Those of `http.tokens`.
    named: Option<NamedTokens>,
}

impl Tokens {
    /// Reads those that the configuration names.
    pub(crate) fn read(config: &HttpConfig) -> Result<Tokens, TokenError> {
        let all = config.token_file.as_deref().map(read_token).transpose()?;
        let named = config
            .tokens
            .as_deref()
            .map(NamedTokens::read)
            .transpose()?;
        Ok(Tokens { all, named })
    }

    /// What a token grants; none for one that is not known. Takes as long for every wrong token of one length.
    pub(crate) fn scopes_of(&self, given: &[u8]) -> Option<Scopes> {
        let all = self.all.as_ref();
        let is_all = all.is_some_and(|all| all.as_slice().ct_eq(given).into());
        let named = self.named.as_ref().and_then(|named| named.scopes_of(given));
        match is_all {
            true => Some(Scopes::all()),
            false => named,
        }
    }
}

/// The token in a file; white space around it is not part of it.
fn read_token(path: &Path) -> Result<Zeroizing<Vec<u8>>, TokenError> {
    let text = read_some(path)?;
    let token = text.trim_ascii();
    if token.len() < SHORTEST || !token.iter().all(u8::is_ascii_graphic) {
        return Err(TokenError::Unusable {
            path: path.to_owned(),
        });
    }
    Ok(Zeroizing::new(token.to_vec()))
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

/// The tokens that records carry to the routers of the configuration.
#[derive(Default)]
pub(crate) struct RouterTokens(NodeTokens);

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
        let mut tokens = NodeTokens::default();
        let mut used = HashSet::new();
        for (_, router) in routers {
            let file = OsString::from(router.authority());
            if !files.contains(&file) {
                continue;
            }
            let path = folder.join(&file);
            used.insert(file);
            let text = read_some(&path)?;
            let token = str::from_utf8(&text).ok().and_then(BearerToken::parse);
            let token = token.ok_or_else(|| TokenError::Unusable { path: path.clone() })?;
            let exposed = |TokenExposed { node: router, .. }| TokenError::Readable { path, router };
            tokens.insert(router, token).map_err(exposed)?;
        }
        for file in files.difference(&used) {
            tracing::warn!(file = %folder.join(file).display(), "no router of ipns.routers has this name: the token in it is not used");
        }
        Ok(RouterTokens(tokens))
    }

    /// That of a router.
    pub(crate) fn of(&self, router: &NodeUrl) -> Option<&BearerToken> {
        self.0.of(router)
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
    /// A line of it is none.
    #[error("the file of tokens {} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TokenFileError,
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
    /// Fatal: without its tokens the node would refuse whom the operator lets in, so it waits for a person.
    fn kind(&self) -> ErrorKind {
        match self {
            TokenError::Io { .. }
            | TokenError::File { .. }
            | TokenError::Unusable { .. }
            | TokenError::Readable { .. } => ErrorKind::Fatal,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn read(file: &Path) -> Result<Tokens, TokenError> {
        Tokens::read(&HttpConfig {
            token_file: Some(file.to_owned()),
            ..HttpConfig::default()
        })
    }

    #[test]
    fn only_the_whole_token_is_admitted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let tokens = read(&file).unwrap();
        assert_eq!(tokens.scopes_of(b"0123456789abcdef"), Some(Scopes::all()));
        for wrong in [
            &b""[..],
            b"0123456789abcde",
            b"0123456789abcdef0",
            b"0123456789abcdeF",
        ] {
            assert_eq!(tokens.scopes_of(wrong), None);
        }
        let none = Tokens::read(&HttpConfig::default()).unwrap();
        assert_eq!(none.scopes_of(b""), None);
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
        assert!(matches!(read(&file), Err(TokenError::Io { .. })));
        for text in ["", "short", "0123456789 abcdef"] {
            std::fs::write(&file, text).unwrap();
            assert!(
                matches!(read(&file), Err(TokenError::Unusable { .. })),
                "{text}"
            );
        }
    }
}
