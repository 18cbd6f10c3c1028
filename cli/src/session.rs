//! A home with its store open, and the client that works on it.

use std::future::Future;
use std::path::Path;
use std::str::FromStr as _;

use perennis_sdk::NodeUrl;
use perennis_sdk::client::{Client, ClientConfig};
use perennis_sdk::store::{Disk, DiskOptions};
use perennis_shared::did::{Did, DidError};
use perennis_shared::ipns::Name;
use perennis_shared::uri::{self, NamedError};
use tempfile::TempDir;

use super::failure::Failure;
use super::home::{DEFAULT_NODE, Home, HomeLock, STORE};
use super::page::plain;
use super::when::span_text;
use crate::context::Context;

/// A home that this process works in.
pub(crate) struct Session {
    pub(crate) home: Home,
    pub(crate) client: Client<Disk>,
    /// The nodes that were named, else those used before, else the default.
    pub(crate) nodes: Vec<NodeUrl>,
    _lock: Option<HomeLock>,
    /// Where what the home holds was copied to, where nothing can be written in the home.
    _copy: Option<TempDir>,
}

impl Session {
    /// Opens the home for a command that only reads. Where nothing can be written there, it works on a copy of what the home holds,
    /// which is gone afterwards: what is learned meanwhile, such as how new a record was, is not remembered.
    pub(crate) async fn open_to_read(
        context: &Context<'_>,
        nodes: &[String],
    ) -> Result<Self, Failure> {
        let home = context.home()?;
        if home.is_writable() {
            return Self::open(context, nodes).await;
        }
        let nodes = nodes_to_ask(&home, nodes)?;
        let copy = home.copy_store(context.output)?;
        let path = copy.path().join(STORE);
        Ok(Self {
            client: client_of(&path, &nodes).await?,
            home,
            nodes,
            _lock: None,
            _copy: Some(copy),
        })
    }

    /// Opens the home's store, waiting for another process that works in it.
    pub(crate) async fn open(context: &Context<'_>, nodes: &[String]) -> Result<Self, Failure> {
        let home = context.home()?;
        let nodes = nodes_to_ask(&home, nodes)?;
        let lock = home.lock(context.output)?;
        let client = client_of(&home.store_path(), &nodes).await?;
        tell_clock(context, &client).await;
        Ok(Self {
            home,
            client,
            nodes,
            _lock: Some(lock),
            _copy: None,
        })
    }
}

/// A client that works on the store in a file.
async fn client_of(path: &Path, nodes: &[NodeUrl]) -> Result<Client<Disk>, Failure> {
    let store = Disk::open(path, DiskOptions::default())
        .await
        .map_err(|error| Failure::of(&error, error.code()))?;
    let config = ClientConfig {
        nodes: nodes.to_vec(),
        ..ClientConfig::default()
    };
    Client::new(store, config).map_err(|error| Failure::of(&error, "http_client"))
}

/// Undoes what was signed while this machine's clock was ahead, and says so. Where that fails, the command meets the cause.
async fn tell_clock(context: &Context<'_>, client: &Client<Disk>) {
    let Ok(Some(mended)) = client.mend_clock().await else {
        return;
    };
    let counted = |count: usize, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    };
    let ahead = u64::try_from(mended.ahead.as_millis()).unwrap_or(u64::MAX);
    context.output.warn(format!(
        "the clock of this machine was {} ahead when it signed {} (until {}), which no node took: that is undone, and {} to be published again",
        span_text(ahead),
        counted(mended.entries, "entry of your list", "entries of your list"),
        mended.dated,
        counted(mended.changes, "change waits", "changes wait"),
    ));
}

/// The nodes that were named, else those this home used before, else the default.
pub(crate) fn nodes_to_ask(home: &Home, named: &[String]) -> Result<Vec<NodeUrl>, Failure> {
    if !named.is_empty() {
        return named.iter().map(|url| parse_node(url)).collect();
    }
    let known = home.nodes()?;
    if known.is_empty() {
        return Ok(vec![parse_node(DEFAULT_NODE)?]);
    }
    known.iter().map(|url| parse_node(url)).collect()
}

/// Reads the URL of a node.
pub(crate) fn parse_node(url: &str) -> Result<NodeUrl, Failure> {
    NodeUrl::from_str(url).map_err(|error| {
        Failure::usage(format!("not the address of a node: {}", plain(url)))
            .because(&error)
            .hint("write it as http://HOST:PORT")
    })
}

/// A DID or an IPNS name from the command line.
pub(crate) fn parse_did(text: &str) -> Result<Did, Failure> {
    uri::parse_did(text).map_err(|error| {
        if error == DidError::UnsupportedKey && uri::parse_name(text).is_ok() {
            let message = format!(
                "{} is the name of another key than Ed25519, and lists and documents are of Ed25519 identities",
                plain(text)
            );
            return Failure::usage(message).hint(
                "`perennis resolve` and `perennis name show` take names of any key: they tell where it leads",
            );
        }
        let failure = Failure::usage(format!("not a DID or IPNS name: {}", plain(text)));
        // That it is in no form of a name is said; which rule of multibase it breaks helps nobody.
        let failure = match error {
            DidError::Name(_) | DidError::NotAKey => failure,
            _ => failure.because(&error),
        };
        failure.hint("write it as did:ipns:k51…, did:key:z6Mk…, k51… or ipns://k51…")
    })
}

/// Reads a name of any key type, or a DID, which stands for its name.
pub(crate) fn parse_name(text: &str) -> Result<Name, Failure> {
    uri::parse_name(text).map_err(|error| {
        let failure = Failure::usage(format!("not an IPNS name or DID: {}", plain(text)));
        let failure = match error {
            NamedError::Did(error @ (DidError::UnknownMethod | DidError::UnsupportedKey)) => {
                failure.because(&error)
            }
            _ => failure,
        };
        failure.hint("write it as k51…, ipns://k51…, did:ipns:k51… or did:key:z6Mk…")
    })
}

/// Runs a command's asynchronous part to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("runtime", "cannot start").because(&error))?;
    runtime.block_on(future)
}

/// [`Failure::of`] for `map_err`, with the code the error names itself.
macro_rules! failure_of {
    () => {
        |error| $crate::failure::Failure::of(&error, error.code())
    };
}
pub(crate) use failure_of;
