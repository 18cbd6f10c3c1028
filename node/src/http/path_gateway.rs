//! `/ipfs/{cid}/…` and `/ipns/{name}/…` for browsers (path gateway specification): files as their bytes, directories as pages,
//! documents as they are or as a page, and all that the trustless gateway serves.
//!
//! It is on a listener of its own, because it serves HTML of strangers from one origin. So each answer that is made of content has
//! a policy that puts it into an origin of its own ([`SANDBOX`]): its scripts run, and have neither storage nor service workers nor
//! other content of this origin in common. Must never touch: what could change something.
//!
//! A file is sent as a graph is, within the memory for answers ([`gateway::Graph`]). Subdomains, DNSLink and `_redirects` are not
//! served.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::ipns::Name;
use perennis_shared::unixfs::{File, Node, PathError, PathWalk};

use super::answer::{Answer, Body, answer, text_header};
use super::call::Call;
use super::file_name::{self, Disposition};
use super::gateway::{self, Format, Graph, PATH, ROOTS, Region, Selection};
use super::html::{HTML, SHOWS_ONLY};
use super::media::is_named;
use super::parameter::parse_name;
use super::refusal::Refusal;
use super::service::Service;
use super::{records, request_cache};

mod beginning;
mod document_page;
mod listing;
mod media_type;
mod representation;
mod target;

use listing::Listing;
use representation::{DocumentType, Representation, Wanted};
use target::{Target, domain, split};

/// Content of strangers: an origin of its own for each document, in which scripts run. Without `allow-same-origin` no document reaches
/// another one, storage or a service worker of this origin.
const SANDBOX: HeaderValue = HeaderValue::from_static(
    "sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts",
);

/// The version of what pages are made like; raised with each change of it, so that caches take the new ones.
const PAGE_VERSION: u32 = 1;

const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

/// What stands at a path behind `/ipfs/`.
pub(super) async fn ipfs(call: Call) -> Result<Answer, Refusal> {
    let answered = match Target::of_cid(&call.parameter) {
        Ok(target) => served(&call, "ipfs", target).await,
        Err(refusal) => Err(refusal),
    };
    Ok(told(&call, answered))
}

/// What stands at a path behind `/ipns/`.
pub(super) async fn ipns(call: Call) -> Result<Answer, Refusal> {
    let answered = of_name(&call).await;
    Ok(told(&call, answered))
}

/// The answer, or why there is none, as a page where a browser asks.
fn told(call: &Call, answered: Result<Answer, Refusal>) -> Answer {
    let request = &call.request;
    match answered {
        Ok(answer) => answer,
        Err(refusal) if refusal.is_absence() && request_cache::only_if_cached(request) => {
            request_cache::not_cached()
        }
        Err(refusal) if is_named(request.headers(), &["text/html"]) => refusal.into_page(),
        Err(refusal) => refusal.into_answer(),
    }
}

async fn of_name(call: &Call) -> Result<Answer, Refusal> {
    let (text, path) = split(&call.parameter);
    let name = match parse_name(text) {
        Ok(name) => name,
        Err(_) if text.contains('.') => return Err(domain(text)),
        Err(refusal) => return Err(refusal),
    };
    if let Some(location) = usual_location(&name, text, &call.request) {
        return Ok(redirect(StatusCode::FOUND, location));
    }
    if Wanted::of(&call.request)?.representation == Representation::Record {
        return records::gateway_record(call).await;
    }
    let target = Target::of_name(&call.node, name, path, &call.request).await?;
    served(call, "ipns", target).await
}

/// The address with the name in its usual form, where it was given in another one.
fn usual_location(name: &Name, text: &str, request: &Request<Incoming>) -> Option<String> {
    let usual = name.to_string();
    if usual == text {
        return None;
    }
    let uri = request.uri();
    let path = uri.path().strip_prefix("/ipns/")?;
    let rest = path.find('/').map_or("", |at| &path[at..]);
    let query = uri.query().map(|query| format!("?{query}"));
    Some(format!("/ipns/{usual}{rest}{}", query.unwrap_or_default()))
}

async fn served(call: &Call, namespace: &str, target: Target) -> Result<Answer, Refusal> {
    let (node, request) = (&call.node, &call.request);
    if request.headers().contains_key(SERVICE_WORKER) {
        return Err(Refusal::new(
            "service_worker",
            "no service worker is registered for content of this gateway",
            "run the page from an origin of its own",
        ));
    }
    let wanted = Wanted::of(request)?;
    let walk = gateway::follow(node, &target.root, &target.path).await?;
    if let Representation::Verifiable(Format::Car { repeats }) = wanted.representation {
        let mut answer = gateway::graph(node, &target.text, walk, repeats, request).await?;
        if is_success(&answer) {
            target.control(&mut answer);
        }
        return Ok(answer);
    }
    if walk.is_inside() {
        return Err(Refusal::new(
            "path_inside_document",
            format!(
                "the path leads into block {}, to what is no link",
                walk.at()
            ),
            "ask for the path that leads to the block, and read the value there",
        ));
    }
    let segments = [namespace]
        .into_iter()
        .chain(split_all(&call.parameter))
        .collect();
    let asked = Asked {
        node,
        request,
        roots: gateway::roots(&target.text, &walk),
        target,
        walk,
        segments,
        name: file_name::given(request),
        is_download: file_name::is_download(request),
    };
    asked.answered(wanted).await
}

fn split_all(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

fn is_success(answer: &Answer) -> bool {
    answer.status().is_success() || answer.status() == StatusCode::NOT_MODIFIED
}

fn redirect(status: StatusCode, location: String) -> Answer {
    let mut answer = answer(status, HTML, Bytes::new());
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::LOCATION, text_header(location));
    answer
}

/// A request whose path was followed to its end.
struct Asked<'a> {
    node: &'a Arc<Service>,
    request: &'a Request<Incoming>,
    target: Target,
    walk: PathWalk,
    /// The block that each segment of the path leads to, for the header.
    roots: String,
    /// The namespace, the root as it was written, and the names behind it.
    segments: Vec<&'a str>,
    /// The name that the query gives.
    name: Option<String>,
    is_download: bool,
}

/// Content that is sent as it is.
struct Content {
    etag: String,
    media_type: String,
    /// Under which name a client keeps it, and whether it does.
    disposition: Option<HeaderValue>,
}

/// What of some content is sent.
enum Extent {
    All,
    Part { first: usize, end: usize },
}

impl Asked<'_> {
    async fn answered(&self, wanted: Wanted) -> Result<Answer, Refusal> {
        let at = self.walk.at();
        match wanted.representation {
            Representation::Record => Err(Refusal::new(
                "no_record_here",
                "a record is of a name, and stands under /ipns/",
                "ask for /ipns/{name}?format=ipns-record",
            )),
            Representation::Verifiable(_) => {
                let text = at.to_string();
                let mut answer = gateway::raw(self.node, &text, at, self.request).await?;
                if is_success(&answer) {
                    self.target.control(&mut answer);
                    let roots = text_header(self.roots.clone());
                    answer.headers_mut().insert(ROOTS, roots);
                }
                Ok(answer)
            }
            Representation::Usual => self.usual(None).await,
            Representation::Document(document) => {
                let found = Codec::from_code(at.codec()).and_then(DocumentType::of);
                match found {
                    Some(found) if found.is_also(document) => self.document(document).await,
                    _ if wanted.or_usual => self.usual(None).await,
                    None if document == DocumentType::Json => self.usual(Some(document)).await,
                    _ => Err(self.other_codec(document)),
                }
            }
        }
    }

    fn other_codec(&self, document: DocumentType) -> Refusal {
        Refusal::new(
            "not_acceptable",
            format!("block {} is no {}", self.walk.at(), document.name()),
            "codecs are not converted here: ask for ?format=raw and convert the block, or leave format out",
        )
    }

    /// The form that content is read in. Where it is taken as one type only, it is that or refused.
    async fn usual(&self, only: Option<DocumentType>) -> Result<Answer, Refusal> {
        let at = self.walk.at();
        match Codec::from_code(at.codec()) {
            Some(Codec::Raw | Codec::DagPb) => self.unixfs(only).await,
            codec => match codec.and_then(DocumentType::of) {
                Some(document) if document.has_links() && self.is_for_person() => {
                    self.document_page(document).await
                }
                Some(document) => self.document(document).await,
                None => Err(Refusal::new(
                    "not_acceptable",
                    format!("block {at} has a codec that is not read here"),
                    "ask for ?format=raw",
                )),
            },
        }
    }

    /// Whether a browser asks, to show what it is sent.
    fn is_for_person(&self) -> bool {
        is_named(self.request.headers(), &["text/html"]) && !self.is_download
    }

    fn is_head(&self) -> bool {
        self.request.method() == Method::HEAD
    }

    /// The redirect to the same path with a slash at its end; none where it has one.
    fn with_slash(&self) -> Option<Answer> {
        let uri = self.request.uri();
        if uri.path().ends_with('/') {
            return None;
        }
        let query = uri.query().map(|query| format!("?{query}"));
        let location = format!("{}/{}", uri.path(), query.unwrap_or_default());
        let mut answer = redirect(StatusCode::MOVED_PERMANENTLY, location);
        let control = self.target.content_control();
        answer.headers_mut().insert(header::CACHE_CONTROL, control);
        Some(answer)
    }

    async fn document(&self, document: DocumentType) -> Result<Answer, Refusal> {
        let cid = self.walk.at();
        let extension = document.extension();
        let name = match &self.name {
            Some(name) => name.clone(),
            None => format!("{cid}.{extension}"),
        };
        let disposition = if extension == "json" && !self.is_download {
            Disposition::Inline
        } else {
            Disposition::Attachment
        };
        let content = Content {
            etag: format!("\"{cid}.{}\"", document.name()),
            media_type: document.media_type().to_owned(),
            disposition: Some(file_name::named(disposition, &name)),
        };
        if let Some(unchanged) = self.unchanged(&content.etag, &self.target.content_control()) {
            return Ok(unchanged);
        }
        let block = gateway::read(self.node, cid).await?;
        let own = 0..block.bytes().len();
        let mut answer = self.block(block, own, content).await?;
        if let Some(location) = document.location(self.request) {
            let headers = answer.headers_mut();
            headers.insert(header::CONTENT_LOCATION, location);
        }
        Ok(answer)
    }

    async fn document_page(&self, document: DocumentType) -> Result<Answer, Refusal> {
        if let Some(redirect) = self.with_slash() {
            return Ok(redirect);
        }
        let etag = format!("\"DagIndex-{PAGE_VERSION}_CID-{}\"", self.walk.at());
        if let Some(unchanged) = self.unchanged(&etag, &self.target.page_control()) {
            return Ok(unchanged);
        }
        let block = gateway::read(self.node, self.walk.at()).await?;
        let page = Bytes::from(document_page::page(&block, document));
        let answer = self.page(page.into(), etag);
        Ok(self.node.answers.count(answer, false))
    }

    async fn unixfs(&self, only: Option<DocumentType>) -> Result<Answer, Refusal> {
        let block = gateway::read(self.node, self.walk.at()).await?;
        let node = parsed(&block)?;
        match node {
            Node::File(file) => {
                let etag = format!("\"{}\"", block.cid());
                let name = self.name.as_deref().or_else(|| self.last_name());
                let named = name.and_then(media_type::of_name);
                self.file(block, file, etag, named, only).await
            }
            _ if only.is_some_and(|only| only == DocumentType::Json) => {
                Err(self.other_codec(DocumentType::Json))
            }
            Node::Symlink(target) => self.symlink(target),
            Node::Directory(_) | Node::Shard(_) => self.directory(&block, &node).await,
        }
    }

    /// The name of what the path leads to; none of a root.
    fn last_name(&self) -> Option<&str> {
        self.segments.get(2..)?.last().copied()
    }

    async fn file(
        &self,
        block: Block,
        file: File,
        etag: String,
        media_type: Option<String>,
        only: Option<DocumentType>,
    ) -> Result<Answer, Refusal> {
        if let Some(unchanged) = self.unchanged(&etag, &self.target.content_control()) {
            return Ok(unchanged);
        }
        let size = file.size().and_then(|size| usize::try_from(size).ok());
        let size = size.ok_or_else(|| unreadable(block.cid()))?;
        let media_type = match media_type {
            Some(media_type) => media_type,
            None => {
                let begun = beginning::of_file(self.node, &block, &file).await;
                media_type::of_beginning(&begun, begun.len() >= size).to_owned()
            }
        };
        if only.is_some_and(|only| only.media_type() != media_type) {
            return Err(self.other_codec(DocumentType::Json));
        }
        let content = Content {
            etag,
            media_type,
            disposition: self.file_disposition(),
        };
        if file.below().next().is_none() {
            let own = file.own_in(&(0..u64::MAX));
            return self.block(block, own, content).await;
        }
        let extent = self.extent(&content.etag, size)?;
        let bytes = match extent {
            Extent::All => 0..size,
            Extent::Part { first, end } => first..end,
        };
        let cid = *block.cid();
        drop(block);
        let place = self.node.answers.place().await?;
        let wanted = bytes.start as u64..bytes.end as u64;
        let selection = Selection::of_file(cid, wanted, size as u64);
        let graph = Graph::begin(self.node, selection, place).await?;
        // It can be begun, which is to be known without a body too.
        let body = if self.is_head() {
            Body::Empty
        } else {
            graph.into_body()
        };
        let mut answer = self.content(body, &content, &extent, size);
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        Ok(answer)
    }

    /// What is said of a file that was asked for under a name, or to be kept.
    fn file_disposition(&self) -> Option<HeaderValue> {
        if self.is_download {
            let usual = self.walk.at().to_string();
            let name = self.name.as_deref().or_else(|| self.last_name());
            let name = name.unwrap_or(&usual);
            return Some(file_name::named(Disposition::Attachment, name));
        }
        let name = self.name.as_deref()?;
        Some(file_name::named(Disposition::Inline, name))
    }

    fn symlink(&self, target: Vec<u8>) -> Result<Answer, Refusal> {
        let etag = format!("\"{}\"", self.walk.at());
        if let Some(unchanged) = self.unchanged(&etag, &self.target.content_control()) {
            return Ok(unchanged);
        }
        let content = Content {
            etag,
            media_type: "inode/symlink".to_owned(),
            disposition: self.file_disposition(),
        };
        let size = target.len();
        let body = Bytes::from(target).into();
        let answer = self.content(body, &content, &Extent::All, size);
        Ok(self.node.answers.count(answer, false))
    }

    async fn directory(&self, block: &Block, node: &Node) -> Result<Answer, Refusal> {
        if let Some(redirect) = self.with_slash() {
            return Ok(redirect);
        }
        let cid = block.cid();
        if let Some(index) = self.index(block, node).await? {
            let block = gateway::read(self.node, &index).await?;
            let Node::File(file) = parsed(&block)? else {
                return Err(Refusal::new(
                    "unreadable_links",
                    "index.html of the directory is no file",
                    "ask for the directory with ?format=car, or for a name in it",
                ));
            };
            let html = Some("text/html".to_owned());
            return self
                .file(block, file, format!("\"{cid}\""), html, None)
                .await;
        }
        let etag = format!("\"DirIndex-{PAGE_VERSION}_CID-{cid}\"");
        if let Some(unchanged) = self.unchanged(&etag, &self.target.page_control()) {
            return Ok(unchanged);
        }
        let place = self.node.answers.place().await?;
        let listing = Listing::begin(self.node, *cid, &self.segments, place).await?;
        // It can be begun, which is to be known without a body too.
        let body = if self.is_head() {
            Body::Empty
        } else {
            listing.into_body()
        };
        Ok(self.page(body, etag))
    }

    /// The page that a directory has itself.
    async fn index(&self, block: &Block, node: &Node) -> Result<Option<Cid>, Refusal> {
        const INDEX: &str = "index.html";
        if let Node::Directory(directory) = node {
            return Ok(directory.find(INDEX.as_bytes()).copied());
        }
        let mut walk = PathWalk::new(*block.cid(), INDEX).map_err(gateway::refused)?;
        while !walk.is_at_end() {
            let block = gateway::read(self.node, walk.at()).await?;
            match walk.follow(block.bytes()) {
                Err(PathError::Absent { .. }) => return Ok(None),
                followed => followed.map_err(gateway::refused)?,
            }
        }
        Ok(Some(*walk.at()))
    }

    /// The answer with bytes of one block, of which these are the content.
    async fn block(
        &self,
        block: Block,
        own: Range<usize>,
        content: Content,
    ) -> Result<Answer, Refusal> {
        let size = own.len();
        let extent = self.extent(&content.etag, size)?;
        let part = match extent {
            Extent::All => own,
            Extent::Part { first, end } => own.start + first..own.start + end,
        };
        let bytes = gateway::sent(self.node, block, part, self.request).await?;
        Ok(self.content(bytes.into(), &content, &extent, size))
    }

    /// What of so many bytes is asked for: the first of the ranges, where there are several (RFC 9110, section 15.3.7).
    fn extent(&self, etag: &str, size: usize) -> Result<Extent, Refusal> {
        let range = gateway::range(self.request, etag);
        let first = range.and_then(|range| range.split(',').next());
        let Some(range) = first else {
            return Ok(Extent::All);
        };
        match gateway::region(range.trim(), size) {
            Region::Unread => Ok(Extent::All),
            Region::Outside => Err(gateway::outside(size)),
            Region::Inside { first, end } => Ok(Extent::Part { first, end }),
        }
    }

    /// The answer with content of a stranger.
    fn content(&self, body: Body, content: &Content, extent: &Extent, size: usize) -> Answer {
        let status = match extent {
            Extent::All => StatusCode::OK,
            Extent::Part { .. } => StatusCode::PARTIAL_CONTENT,
        };
        let media_type = text_header(content.media_type.clone());
        let mut answer = answer(status, media_type, body);
        self.common(&mut answer, &content.etag, self.target.content_control());
        let headers = answer.headers_mut();
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(disposition) = &content.disposition {
            headers.insert(header::CONTENT_DISPOSITION, disposition.clone());
        }
        // No browser shows a PDF in a sandbox, and none runs a script of one in its origin.
        if content.media_type != "application/pdf" {
            headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
        }
        if let Extent::Part { first, end } = extent {
            let range = format!("bytes {first}-{}/{size}", end - 1);
            headers.insert(header::CONTENT_RANGE, text_header(range));
        }
        answer
    }

    /// The answer with a page of the node's own.
    fn page(&self, body: Body, etag: String) -> Answer {
        let mut answer = answer(StatusCode::OK, HTML, body);
        self.common(&mut answer, &etag, self.target.page_control());
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, SHOWS_ONLY);
        answer
    }

    fn common(&self, answer: &mut Answer, etag: &str, control: HeaderValue) {
        let headers = answer.headers_mut();
        headers.insert(header::ETAG, text_header(etag.to_owned()));
        headers.insert(header::CACHE_CONTROL, control);
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        headers.insert(ROOTS, text_header(self.roots.clone()));
        let path = self.request.uri().path();
        headers.insert(PATH, text_header(path.to_owned()));
    }

    /// The answer where the client has what this tag stands for.
    fn unchanged(&self, etag: &str, control: &HeaderValue) -> Option<Answer> {
        if !gateway::known(self.request, etag) {
            return None;
        }
        let mut answer = answer(StatusCode::NOT_MODIFIED, HTML, Bytes::new());
        self.common(&mut answer, etag, control.clone());
        answer.headers_mut().remove(header::CONTENT_TYPE);
        Some(answer)
    }
}

/// What a block is in UnixFS.
fn parsed(block: &Block) -> Result<Node, Refusal> {
    let node = Node::parse(block.cid(), block.bytes()).ok().flatten();
    node.ok_or_else(|| unreadable(block.cid()))
}

fn unreadable(cid: &Cid) -> Refusal {
    Refusal::new(
        "unreadable_links",
        format!("block {cid} is no UnixFS that can be read"),
        "ask for ?format=raw, and for the graph with ?format=car",
    )
}
