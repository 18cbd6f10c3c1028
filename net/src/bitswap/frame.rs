//! One message from a stream, one message onto a stream.
//!
//! Reading takes little memory before bytes arrive, and never more than a budget has left. A transfer that has begun must move in each
//! period and end within a number of them; between messages a stream may rest for as long as it likes.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{AsyncRead, AsyncWrite};
use perennis_rt::{self as rt, BoxFuture};
use perennis_shared::{
    codec::CodecError,
    limits::BITSWAP_MESSAGE_BYTES,
    wire::{FrameError, LENGTH_BYTES, bitswap::Message, read_length},
};

use super::budget::{Budget, Loan};

/// Memory taken for a message before any of its bytes have come, in bytes.
pub(super) const FIRST_BYTES: usize = 64 << 10;
/// Messages larger than that which are read at once from one connection.
pub(super) const LARGE_AT_ONCE: usize = 16;
/// Periods after which a transfer is given up even if it moves.
const PERIODS: u32 = 8;

/// Why a stream gave no message.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream broke.
    #[error("the stream broke")]
    Stream(#[from] io::Error),
    /// The length in front of the message is refused.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The message is refused.
    #[error(transparent)]
    Message(#[from] CodecError),
    /// The message began and did not come to its end in time.
    #[error("a message stalled")]
    Stalled,
}

impl ReadError {
    /// Whether no sound implementation sends such bytes.
    pub(super) fn is_garbage(&self) -> bool {
        matches!(self, Self::Frame(_) | Self::Message(_))
    }
}

/// Memory for messages: that of one connection and that of all. And how many large ones the connection may be at.
#[derive(Clone, Copy)]
pub(super) struct Budgets<'a> {
    pub(super) own: &'a Budget,
    pub(super) shared: &'a Budget,
    pub(super) large: &'a Budget,
}

/// Reads the next message; nothing at the end of the stream.
///
/// A small message takes from its connection alone, so that wants and word of blocks pass when blocks have to wait. A
/// large one waits for its turn before it takes anything, and that is not held against the peer; then it asks for all it will need once its first part has come: it never waits again while it holds something
/// that others wait for.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    budgets: Budgets<'_>,
    stall: Duration,
) -> Result<Option<(Message, Loan)>, ReadError> {
    let Some(length) = length(stream, stall).await? else {
        return Ok(None);
    };
    let mut turn = Loan::default();
    if length > FIRST_BYTES {
        turn.take(budgets.large, 1).await;
    }
    let mut watch = Watch::new(stall);
    let mut loan = Loan::default();
    let first = length.min(FIRST_BYTES);
    watch.wait(loan.take(budgets.own, first)).await?;
    let mut body = vec![0; first];
    watch.fill(stream, &mut body).await?;
    if first < length {
        watch.wait(loan.take(budgets.own, length - first)).await?;
        watch.wait(loan.take(budgets.shared, length)).await?;
        let mut whole = vec![0; length];
        whole[..first].copy_from_slice(&body);
        watch.fill(stream, &mut whole[first..]).await?;
        body = whole;
    }
    Ok(Some((Message::decode(&Bytes::from(body))?, loan)))
}

/// Reads the length in front of a message; nothing at the end of the stream.
async fn length(
    stream: &mut (impl AsyncRead + Unpin),
    stall: Duration,
) -> Result<Option<usize>, ReadError> {
    let mut prefix = [0; LENGTH_BYTES];
    let mut arrived = 0;
    let mut watch = Watch::new(stall);
    loop {
        let next = &mut prefix[arrived..=arrived];
        if arrived == 0 {
            if poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, next)).await? == 0 {
                return Ok(None);
            }
        } else {
            watch.read(stream, next).await?;
        }
        arrived += 1;
        if let Some((length, _)) = read_length(&prefix[..arrived], BITSWAP_MESSAGE_BYTES)? {
            return Ok(Some(length));
        }
    }
}

/// Writes a message and flushes the stream.
///
/// # Errors
/// The stream breaks, or the other side does not take the bytes in time ([`io::ErrorKind::TimedOut`]).
pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    pieces: &[Bytes],
    stall: Duration,
) -> io::Result<()> {
    let mut watch = Watch::new(stall);
    for piece in pieces {
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let write = |cx: &mut Context<'_>| Pin::new(&mut *stream).poll_write(cx, rest);
            let written = watch.within(write).await??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[written..];
        }
    }
    watch
        .within(|cx| Pin::new(&mut *stream).poll_flush(cx))
        .await?
}

/// Notices when nothing moves. A timer is made only once something has to be waited for.
struct Watch {
    stall: Duration,
    timer: Option<BoxFuture<'static, ()>>,
    has_moved: bool,
    periods_left: u32,
}

/// Nothing moved for a whole period, or too little for too many.
struct Stalled;

impl From<Stalled> for ReadError {
    fn from(_: Stalled) -> Self {
        Self::Stalled
    }
}

impl From<Stalled> for io::Error {
    fn from(_: Stalled) -> Self {
        io::Error::new(io::ErrorKind::TimedOut, "the other side takes no bytes")
    }
}

impl Watch {
    fn new(stall: Duration) -> Self {
        Self {
            stall,
            timer: None,
            has_moved: false,
            periods_left: PERIODS,
        }
    }

    async fn read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        into: &mut [u8],
    ) -> Result<usize, ReadError> {
        let read = |cx: &mut Context<'_>| Pin::new(&mut *stream).poll_read(cx, into);
        match self.within(read).await?? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            read => Ok(read),
        }
    }

    async fn fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        into: &mut [u8],
    ) -> Result<(), ReadError> {
        let mut filled = 0;
        while filled < into.len() {
            filled += self.read(stream, &mut into[filled..]).await?;
        }
        Ok(())
    }

    async fn wait<F: Future>(&mut self, future: F) -> Result<F::Output, Stalled> {
        let mut future = std::pin::pin!(future);
        self.within(|cx| future.as_mut().poll(cx)).await
    }

    async fn within<T>(
        &mut self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Stalled> {
        poll_fn(|cx| {
            if let Poll::Ready(done) = poll(cx) {
                self.has_moved = true;
                return Poll::Ready(Ok(done));
            }
            self.poll_stalled(cx).map(Err)
        })
        .await
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Stalled> {
        loop {
            let stall = self.stall;
            let timer = self.timer.get_or_insert_with(|| Box::pin(rt::sleep(stall)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
            self.periods_left -= 1;
            if !std::mem::take(&mut self.has_moved) || self.periods_left == 0 {
                return Poll::Ready(Stalled);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use futures_util::io::{AsyncReadExt, Cursor};
    use perennis_shared::{
        cid::{Block, Codec},
        wire::bitswap::Payload,
    };

    use super::*;

    const STALL: Duration = Duration::from_secs(5);
    const SHORT: Duration = Duration::from_millis(40);

    fn budget() -> Budget {
        Budget::new(64 << 20)
    }

    fn both(budget: &Budget) -> Budgets<'_> {
        Budgets {
            own: budget,
            shared: budget,
            large: budget,
        }
    }

    fn message(sizes: &[usize]) -> Message {
        let block = |size: &usize| Block::new(Codec::Raw, vec![7; *size]).unwrap();
        Message {
            payload: sizes
                .iter()
                .map(|size| Payload::new(&block(size)))
                .collect(),
            ..Message::default()
        }
    }

    async fn written(message: &Message) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        write(&mut out, &message.encode(), STALL).await.unwrap();
        out.into_inner()
    }

    #[tokio::test]
    async fn messages_of_every_size_come_back_one_after_another() {
        let sent = [message(&[]), message(&[1]), message(&[300_000, 1 << 20, 9])];
        let mut bytes = Vec::new();
        for message in &sent {
            bytes.extend(written(message).await);
        }
        let budget = budget();
        let mut stream = Cursor::new(bytes);
        for expected in sent {
            let (read, _) = read(&mut stream, both(&budget), STALL)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(read, expected);
        }
        assert!(
            read(&mut stream, both(&budget), STALL)
                .await
                .unwrap()
                .is_none()
        );
    }

    #[tokio::test]
    async fn bad_lengths_and_bad_messages_are_garbage_and_an_early_end_is_not() {
        let budget = budget();
        for bytes in [
            &[0xff, 0xff, 0xff, 0x7f][..],
            &[0xff; 9],
            &[0x80, 0],
            &[2, 0x0b, 0],
        ] {
            let mut stream = Cursor::new(bytes);
            let error = read(&mut stream, both(&budget), STALL).await.unwrap_err();
            assert!(error.is_garbage(), "{error:?}");
        }
        let mut cut = Cursor::new([9, 0x0a]);
        let error = read(&mut cut, both(&budget), STALL).await.unwrap_err();
        assert!(matches!(error, ReadError::Stream(_)), "{error:?}");
    }

    #[tokio::test]
    async fn a_message_that_does_not_move_stalls_and_one_that_crawls_too() {
        let budget = budget();
        let length: &[u8] = &[0x80, 0x80, 0x80, 0x01];
        let mut never = length.chain(Silent);
        let error = read(&mut never, both(&budget), SHORT).await.unwrap_err();
        assert!(matches!(error, ReadError::Stalled), "{error:?}");
        let mut crawling = length.chain(Crawling(Box::pin(rt::sleep(SHORT / 2))));
        let error = read(&mut crawling, both(&budget), SHORT).await.unwrap_err();
        assert!(matches!(error, ReadError::Stalled), "{error:?}");
    }

    struct Silent;

    impl AsyncRead for Silent {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    /// One byte in each half period.
    struct Crawling(BoxFuture<'static, ()>);

    impl AsyncRead for Crawling {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            std::task::ready!(self.0.as_mut().poll(cx));
            self.0 = Box::pin(rt::sleep(SHORT / 2));
            Poll::Ready(Ok(1))
        }
    }
}
