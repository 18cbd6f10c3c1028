//! Somebody who publishes without a client in between: messages made and signed here, sent over one connection.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec::car;
use perennis_shared::did::{DidDocument, Identity, Profile};
use perennis_shared::ipns::{self, Name, RecordFields};
use perennis_shared::log::{self, Author, Entry};
use perennis_shared::taglist::{Handle, Label, Note, Op, Tag};
use perennis_shared::time::{Millis, Timestamp};
use zeroize::Zeroizing;

const LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Longest wait for an answer: far above what the slowest machine needs.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// An identity of its own for each number, and the log it has published so far.
pub struct Publisher {
    identity: Identity,
    document: Block,
    blocks: BTreeMap<Cid, Bytes>,
    head: Option<Entry>,
    sequence: u64,
}

/// A publish message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it is posted.
    pub path: String,
    /// The CAR file.
    pub body: Vec<u8>,
    /// The sequence of its record.
    pub sequence: u64,
    /// Its log entry.
    pub head: Cid,
    /// The blocks that no message before it had.
    pub blocks: Vec<Cid>,
}

impl Publisher {
    /// The publisher with this number.
    ///
    /// # Panics
    /// Never: a document without anything special can be made.
    #[must_use]
    pub fn new(number: u8) -> Self {
        let mut root = [0x5a; 32];
        root[0] = number;
        let identity = Identity::from_root(Profile::V2, Zeroizing::new(root));
        let document = DidDocument::new(&identity, now());
        Self {
            document: document.to_block().expect("a document within its limits"),
            identity,
            blocks: BTreeMap::new(),
            head: None,
            sequence: 0,
        }
    }

    /// The name it publishes under.
    #[must_use]
    pub fn name(&self) -> Name {
        self.identity.name()
    }

    /// Makes the next message, which follows all before it: one label on a new handle.
    ///
    /// # Panics
    /// Never: what it signs is within all limits.
    #[must_use]
    pub fn next_message(&mut self) -> Message {
        let label = label(self.sequence + 1);
        self.message(vec![Op::Set(label)])
    }

    /// Makes the next message with so many labels, each with the longest note there is: nearly a KiB.
    ///
    /// # Panics
    /// Never, for as many labels as a message holds.
    #[must_use]
    pub fn large_message(&mut self, labels: u32) -> Message {
        let note = Note::parse(&"€".repeat(280)).expect("a note within its limit");
        let ops = (0..u64::from(labels)).map(|number| {
            Op::Set(Label {
                note: Some(note.clone()),
                ..label(number)
            })
        });
        self.message(ops.collect())
    }

    /// Makes a message that says that the name points at a graph of any kind: for a node that is told to follow it, by
    /// `PUT /v1/names/{name}`.
    ///
    /// # Panics
    /// Never: two roots are within all limits.
    #[must_use]
    pub fn graph_message<'a>(
        &mut self,
        root: &Cid,
        blocks: impl IntoIterator<Item = &'a Block>,
    ) -> Message {
        self.sequence += 1;
        let record = self.record(root);
        self.with_record(root, &record, blocks)
    }

    /// The same in several messages, of which each has some of the blocks and all have the same record.
    ///
    /// # Panics
    /// Never: two roots are within all limits.
    #[must_use]
    pub fn graph_messages(&mut self, root: &Cid, parts: &[&[Block]]) -> Vec<Message> {
        self.sequence += 1;
        let record = self.record(root);
        let messages = parts
            .iter()
            .map(|part| self.with_record(root, &record, *part));
        messages.collect()
    }

    fn with_record<'a>(
        &self,
        root: &Cid,
        record: &Block,
        blocks: impl IntoIterator<Item = &'a Block>,
    ) -> Message {
        let blocks: Vec<&Block> = blocks.into_iter().collect();
        let body = car::write(
            &[*root, *record.cid()],
            blocks.iter().copied().chain([record]),
        );
        Message {
            path: format!("/v1/names/{}", self.name()),
            body: body.expect("two roots"),
            sequence: self.sequence,
            head: *root,
            blocks: blocks.iter().map(|block| *block.cid()).collect(),
        }
    }

    /// A record that points at this head, as a block.
    fn record(&self, head: &Cid) -> Block {
        let fields = RecordFields {
            value: &format!("/ipfs/{head}"),
            sequence: self.sequence,
            validity: Timestamp::from(now() + LIFETIME),
            ttl: Duration::from_secs(300),
        };
        let record = ipns::create(self.identity.ipns_signer(), &fields).expect("a short value");
        Block::new(Codec::Raw, record.bytes().clone()).expect("a short record")
    }

    fn message(&mut self, ops: Vec<Op>) -> Message {
        self.sequence += 1;
        let now = now();
        let author = Author {
            did: self.identity.did(),
            signer: self.identity.signer(),
            document: *self.document.cid(),
        };
        let appended = log::append(&author, self.head.as_ref(), ops, now, &self.blocks)
            .expect("all blocks of the log are here");
        let head = *appended.entry.cid();
        let record = self.record(&head);
        let document = (self.sequence == 1).then_some(&self.document);
        let added: Vec<&Block> = document.into_iter().chain(&appended.added).collect();
        let roots = [head, *record.cid()];
        let body = car::write(&roots, added.iter().copied().chain([&record]));
        let message = Message {
            path: format!("/v1/names/{}/publish", self.name()),
            body: body.expect("two roots and small blocks"),
            sequence: self.sequence,
            head,
            blocks: added.iter().map(|block| *block.cid()).collect(),
        };
        for block in &appended.added {
            self.blocks.insert(*block.cid(), block.bytes().clone());
        }
        self.head = Some(appended.entry);
        message
    }
}

/// A connection to a node that messages are posted over, one after the other.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// The node does not accept.
    pub fn open(address: &str) -> io::Result<Self> {
        Self::over(address, TcpStream::connect(address)?)
    }

    /// Takes a connection to `HOST:PORT` that somebody has opened.
    ///
    /// # Errors
    /// It cannot be set up.
    pub fn over(address: &str, stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self {
            address: address.to_owned(),
            stream: BufReader::new(stream),
        })
    }

    /// Posts a message; gives the status and the body of the answer.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn post(&mut self, message: &Message) -> io::Result<(u16, Vec<u8>)> {
        let mut request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/vnd.ipld.car\r\n\
             Content-Length: {}\r\n\r\n",
            message.path,
            self.address,
            message.body.len()
        )
        .into_bytes();
        request.extend_from_slice(&message.body);
        self.stream.get_mut().write_all(&request)?;
        let head = self.line()?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let mut length = 0;
        loop {
            let line = self.line()?;
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().unwrap_or_default();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok((status, answer))
    }

    /// The next line; a connection that ends has none.
    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }
}

fn label(number: u64) -> Label {
    let handle = Handle::parse(&format!("@h{number}")).expect("a short handle");
    Label::new(handle, Tag::parse("seen").expect("a label"), now())
}

/// The wall-clock time.
///
/// # Panics
/// When the machine's clock is before 1970.
#[must_use]
pub fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a clock after 1970");
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
