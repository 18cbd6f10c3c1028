//! Questions to one node over HTTP, answered with JSON.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use perennis_rt::http::{Body, Http, HttpError, HttpTimes, Request, Response};
use perennis_sdk::remote::{BearerToken, RemoteError, kind_of_status};
use perennis_sdk::{NodeTokens, NodeUrl};
use perennis_shared::error::{ErrorKind, Retryable as _};
use serde_json::Value;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::args::{OneNode, OperatorNode, PageArgs, TokenArgs};
use super::failure::{Exit, Failure, root_cause};
use super::files::{self, name_of};
use super::session::{Session, nodes_to_ask, parse_node};
use crate::context::Context;

/// Where the operator of a node of this machine calls, unless http.admin-listen says otherwise.
const DEFAULT_ADMIN: &str = "http://127.0.0.1:4783";

/// Names the file of a token, where no flag does.
const TOKEN_VARIABLE: &str = "PERENNIS_TOKEN_FILE";

/// Largest answer that is read, in bytes.
const ANSWER_BYTES: usize = 16 << 20;

/// Largest token file, in bytes.
const TOKEN_BYTES: u64 = 4_096;

/// Bytes of a file that are read at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// How long a change may take: the DHT is slow at times.
const CHANGE: Duration = Duration::from_secs(120);

/// How long an answer that is read while it is made may take.
const LONG: Duration = Duration::from_secs(24 * 3_600);

/// What a request that changes something does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Post,
    Put,
    Delete,
}

/// A node to ask.
pub(crate) struct NodeClient {
    pub(crate) url: String,
    http: Http,
    token: Option<BearerToken>,
}

impl NodeClient {
    /// The node that was named, else the first one this home used, else the default: for what is for everybody.
    pub(crate) fn new(context: &Context<'_>, node: &OneNode) -> Result<Self, Failure> {
        let named: Vec<String> = node.url.iter().cloned().collect();
        let nodes = nodes_to_ask(&context.home()?, &named)?;
        Self::with(nodes.first(), None)
    }

    /// The node that was named, else the one of this machine where its operator calls.
    pub(crate) fn of_operator(node: &OperatorNode) -> Result<Self, Failure> {
        let url = node.url.as_deref().unwrap_or(DEFAULT_ADMIN);
        Self::at_url(url, &node.token)
    }

    /// The node at a URL, asked with the token in the file that was named, if one was.
    pub(crate) fn at_url(url: &str, token: &TokenArgs) -> Result<Self, Failure> {
        let node = parse_node(url)?;
        let token = read_token(token)?;
        if token.is_some() {
            expect_confidential(&node)?;
        }
        Self::with(Some(&node), token)
    }

    fn with(node: Option<&NodeUrl>, token: Option<BearerToken>) -> Result<Self, Failure> {
        let times = HttpTimes {
            connect: Duration::from_secs(5),
            ..HttpTimes::default()
        };
        let http = Http::new(times).map_err(|error| Failure::of(&error, "http_client"))?;
        Ok(Self {
            url: node.map(ToString::to_string).unwrap_or_default(),
            http,
            token,
        })
    }

    /// GET; the status and the body as JSON (null when there is none).
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, Value), Failure> {
        self.ask(Request::get(self.at(path))).await
    }

    /// The URL of a path at the node.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    async fn ask(&self, request: Request) -> Result<(u16, Value), Failure> {
        let answer = async {
            let request = self.carrying_token(request);
            let request = request.accepting("application/json");
            let response = self.http.send(request).await?;
            let status = response.status();
            Ok((status, response.bytes(ANSWER_BYTES).await?))
        };
        let (status, body) = answer
            .await
            .map_err(|error: HttpError| self.silent(error))?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// GET, where anything but 200 is a failure.
    pub(crate) async fn expect(&self, path: &str) -> Result<Value, Failure> {
        let (status, body) = self.get(path).await?;
        self.expected(status, body)
    }

    /// Asks for a change, with a JSON document or nothing, where anything but 200 is a failure.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        document: Option<&Value>,
    ) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.url);
        let body = document.map_or_else(Bytes::new, |document| document.to_string().into());
        let request = match method {
            Method::Post => Request::post(url, "application/json", body),
            Method::Put => Request::put(url, "application/json", body),
            Method::Delete => Request::delete(url),
        };
        self.change(request.within(CHANGE)).await
    }

    /// Asks for a change whose answer is read while it is made.
    pub(crate) async fn stream(&self, path: &str) -> Result<Body, Failure> {
        let url = format!("{}{path}", self.url);
        let request = Request::post(url, "application/json", Bytes::new());
        self.open(request).await
    }

    /// Sends a file of any size, which a thread reads piece by piece, and gives the answer that is made when it is there. `told` hears
    /// of the bytes of each piece.
    pub(crate) async fn send_file(
        &self,
        path: &str,
        content_type: &'static str,
        length: Option<u64>,
        mut source: impl Read + Send + 'static,
        told: impl Fn(u64) + Send + 'static,
    ) -> Result<Body, Failure> {
        let (parts, body) = mpsc::channel(4);
        thread::spawn(move || {
            loop {
                let mut piece = vec![0; PIECE_BYTES];
                let read = match source.read(&mut piece) {
                    Ok(0) => return,
                    Ok(length) => {
                        piece.truncate(length);
                        told(length as u64);
                        Ok(Bytes::from(piece))
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let is_last = read.is_err();
                // The node has answered already where nobody takes it.
                if parts.blocking_send(read).is_err() || is_last {
                    return;
                }
            }
        });
        let request = Request::upload(self.at(path)).within(LONG);
        let request = self.carrying_token(request);
        let sent = self.http.send_stream(request, content_type, length, body);
        self.opened(sent.await).await
    }

    /// A body that is too large to be held.
    pub(crate) async fn read(&self, path: &str) -> Result<Body, Failure> {
        self.open(Request::get(format!("{}{path}", self.url))).await
    }

    /// The next part of such a body; `None` at its end.
    pub(crate) async fn next_chunk(&self, body: &mut Body) -> Result<Option<Bytes>, Failure> {
        body.chunk().await.map_err(|error| self.silent(error))
    }

    async fn open(&self, request: Request) -> Result<Body, Failure> {
        let request = self.carrying_token(request.within(LONG));
        self.opened(self.http.send(request).await).await
    }

    async fn opened(&self, sent: Result<Response, HttpError>) -> Result<Body, Failure> {
        let response = sent.map_err(|error| self.silent(error))?;
        let status = response.status();
        if status == 200 {
            return Ok(response.into_body());
        }
        let body = response
            .bytes(ANSWER_BYTES)
            .await
            .map_err(|error| self.silent(error))?;
        match self.expected(status, serde_json::from_slice(&body).unwrap_or(Value::Null)) {
            Err(failure) => Err(failure),
            Ok(_) => Err(Failure::unreachable(format!(
                "{} answered {status}",
                self.url
            ))),
        }
    }

    fn silent(&self, error: HttpError) -> Failure {
        let error = RemoteError::from(error);
        let code = match error.kind() {
            ErrorKind::Retry => "not_reachable",
            _ => error.code(),
        };
        let failure = Failure::of(&error, code);
        Failure {
            message: format!(
                "the node {} does not answer: {}",
                self.url,
                root_cause(&error)
            ),
            ..failure
        }
        .hint("start it with `perennis node run`, or name another one with --node")
    }

    /// Any request for a change, where anything but 200 with a document, or 204, is a failure.
    pub(crate) async fn change(&self, request: Request) -> Result<Value, Failure> {
        let (status, body) = self.ask(request).await?;
        self.expected(status, body)
    }

    fn carrying_token(&self, request: Request) -> Request {
        match &self.token {
            Some(token) => token.carried_by(request),
            None => request,
        }
    }

    fn expected(&self, status: u16, body: Value) -> Result<Value, Failure> {
        if status == 204 || (status == 200 && body.is_object()) {
            return Ok(body);
        }
        let text = |field: &str| {
            body["error"][field]
                .as_str()
                .map(super::page::plain)
                .filter(|text| !text.is_empty())
        };
        let kind = match status {
            400.. => kind_of_status(status),
            // What answers there is no node.
            _ => ErrorKind::Retry,
        };
        // A node has several codes for what is not there, and another server has none.
        let of_exit = if status == 404 { "not_found" } else { "" };
        Err(Failure::new(
            Exit::of(kind, of_exit),
            text("code").unwrap_or_else(|| "http_status".to_owned()),
            text("message").unwrap_or_else(|| format!("{} answered {status}", self.url)),
        )
        .hint(text("hint").unwrap_or_else(|| "check that a perennis node runs there".to_owned())))
    }
}

/// The token in the file that was named, or else in the one that the environment names; none where none is.
fn read_token(token: &TokenArgs) -> Result<Option<BearerToken>, Failure> {
    let of_environment = || std::env::var_os(TOKEN_VARIABLE).map(PathBuf::from);
    let file = token.token_file.clone().or_else(of_environment);
    file.map(|file| token_in(&file)).transpose()
}

/// The token in a file.
fn token_in(file: &Path) -> Result<BearerToken, Failure> {
    let bytes = Zeroizing::new(files::read_bounded(file, TOKEN_BYTES)?);
    let unusable = || {
        Failure::usage(format!("{} holds no token", name_of(file)))
            .hint("it is a file that `perennis node token NAME --out FILE` wrote at the node, or the one that http.token-file names there")
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| unusable().because(&error))?;
    BearerToken::parse(text).ok_or_else(unusable)
}

/// The tokens of the nodes: the one that was named where there is one node, since no other is to learn it, else what the home's folder
/// `tokens` has of each in the file of its `HOST` or `HOST:PORT`.
pub(crate) fn tokens_of(session: &Session, named: &TokenArgs) -> Result<NodeTokens, Failure> {
    let mut tokens = NodeTokens::default();
    if let Some(token) = read_token(named)? {
        let [node] = &session.nodes[..] else {
            let message = "a token is of one node, and there are several to publish to";
            let hint = format!(
                "name that node alone with --node URL, or put the token of each into {}",
                name_of(&session.home.tokens_path().join("HOST:PORT"))
            );
            return Err(Failure::usage(message).hint(hint));
        };
        keep(&mut tokens, node, token)?;
        return Ok(tokens);
    }
    for node in &session.nodes {
        let path = session.home.tokens_path().join(node.authority());
        if path.symlink_metadata().is_ok() {
            keep(&mut tokens, node, token_in(&path)?)?;
        }
    }
    Ok(tokens)
}

fn keep(tokens: &mut NodeTokens, node: &NodeUrl, token: BearerToken) -> Result<(), Failure> {
    expect_confidential(node)?;
    tokens
        .insert(node.clone(), token)
        .map_err(|error| Failure::of(&error, error.code()))
}

/// A token is told to nobody on the way.
fn expect_confidential(node: &NodeUrl) -> Result<(), Failure> {
    if node.is_confidential() {
        return Ok(());
    }
    let message = format!("the token would be sent to {node} without encryption");
    Err(Failure::usage(message).hint("name the node by https, or call it without a token"))
}

/// The query of one page.
pub(crate) fn page_query(page: &PageArgs) -> String {
    let mut query = format!("?limit={}", page.limit);
    if let Some(after) = &page.after {
        query.push_str("&after=");
        query.push_str(&escaped(after));
    }
    query
}

/// A text as it stands in a query.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_escaped_in_the_query() {
        let page = PageArgs {
            after: Some("a/b&c=d é".to_owned()),
            limit: 5,
        };
        assert_eq!(page_query(&page), "?limit=5&after=a%2Fb%26c%3Dd%20%C3%A9");
    }
}
