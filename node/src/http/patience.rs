//! A socket that gives up on a client that does not take its answer, and tells how its client reads.
//!
//! A refusal may come while its request is still being sent. A socket that is closed with bytes that nobody has read makes the system
//! cut the connection off, and the client, or the proxy before this node, loses the answer. So what still comes is read and dropped for
//! a bounded while, after the answer is sent and the socket is closed for writing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio::time::{Instant, Sleep};

use super::readers::OpenReader;

/// How long the rest of a refused body is read and dropped. A place of its address is held for so long and no longer; a megabyte a
/// second is what brings a message of the usual largest size in that time, more or less.
const LINGER: Duration = Duration::from_secs(5);

/// How much of it: as much as the largest message may have without a setting. It is read into one small buffer, so it costs no memory.
const LINGER_BYTES: u64 = 32 << 20;

/// How much of it is dropped at once.
const DROPPED_BYTES: usize = 8 << 10;

/// Fails a write that made no progress for a while. Reading is timed by the server.
pub(super) struct Patient<S> {
    stream: S,
    reader: Option<Arc<OpenReader>>,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    /// Whether a body may be on its way that nobody reads.
    leaves_body: Arc<AtomicBool>,
    lingering: Option<Lingering>,
}

/// The rest of a body while it is dropped.
struct Lingering {
    ends: Pin<Box<Sleep>>,
    left: u64,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Patient<S> {
        Patient {
            stream,
            reader: None,
            patience,
            waiting: None,
            leaves_body: Arc::default(),
            lingering: None,
        }
    }

    /// Drops what still comes when it is shut down, while `leaves_body` says that a body may be on its way.
    pub(super) fn lingering(mut self, leaves_body: Arc<AtomicBool>) -> Patient<S> {
        self.leaves_body = leaves_body;
        self
    }

    /// Tells `reader` what its client takes.
    pub(super) fn telling(mut self, reader: Arc<OpenReader>) -> Patient<S> {
        self.reader = Some(reader);
        self
    }

    fn timed<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = polled {
            self.waiting = None;
            if let (Some(reader), Ok(written)) = (&self.reader, &written) {
                reader.took(bytes(written));
            }
            return Poll::Ready(written);
        }
        if let Some(reader) = &self.reader {
            reader.is_waited_for();
        }
        let patience = self.patience;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not take its answer",
        )))
    }
}

impl<S: Read + Unpin> Patient<S> {
    /// Reads and drops, until the client has ended or has been waited for long enough.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| Lingering {
            ends: Box::pin(tokio::time::sleep(LINGER)),
            left: LINGER_BYTES,
        });
        let mut dropped = [0; DROPPED_BYTES];
        while lingering.ends.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut dropped);
            let read = Pin::new(&mut self.stream).poll_read(context, buffer.unfilled());
            let bytes = match ready!(read) {
                Ok(()) => buffer.filled().len() as u64,
                // It is gone, and with it who would read the answer.
                Err(_) => return Poll::Ready(()),
            };
            lingering.left = lingering.left.saturating_sub(bytes);
            if bytes == 0 || lingering.left == 0 {
                return Poll::Ready(());
            }
        }
        Poll::Ready(())
    }
}

impl<S: Read + Unpin> Read for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Read + Write + Unpin> Write for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.timed(context, polled, |written| *written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.timed(context, polled, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            if !self.leaves_body.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_linger(context).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.timed(context, polled, |written| *written)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::future::poll_fn;

    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Answers a client that sends so many bytes before it reads, without reading them itself; what the client makes of it.
    async fn refused(bytes: usize) -> io::Result<Vec<u8>> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, served) = tokio::join!(client, listener.accept());
        let (mut client, (served, _)) = (client.unwrap(), served.unwrap());
        let serving = async move {
            let mut socket = Patient::new(TokioIo::new(served), LINGER)
                .lingering(Arc::new(AtomicBool::new(true)));
            let write =
                |context: &mut Context<'_>| Pin::new(&mut socket).poll_write(context, b"refused");
            assert_eq!(poll_fn(write).await.unwrap(), 7);
            poll_fn(|context| Pin::new(&mut socket).poll_shutdown(context)).await
        };
        let sending = async move {
            client.write_all(&vec![7; bytes]).await?;
            client.shutdown().await?;
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await?;
            Ok(answer)
        };
        let (served, answer) = tokio::join!(serving, sending);
        served.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_refusal_reaches_a_client_that_sends_all_of_its_body_before_it_reads() {
        assert_eq!(refused(4 << 20).await.unwrap(), b"refused");
    }

    #[tokio::test]
    async fn a_body_without_end_is_not_read_for_ever() {
        let bytes = usize::try_from(2 * LINGER_BYTES).unwrap();
        assert!(refused(bytes).await.is_err());
    }
}
