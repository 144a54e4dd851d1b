//! The connection below HTTP, where the faults live that no HTTP library would produce: resets, cut bodies, bytes that are not HTTP.
//!
//! **Shape.** A [`Wire`] wraps the socket that hyper writes to; a [`Tap`] is the handle by which the one request in progress on that
//! connection bends it. HTTP/1.1 answers one request at a time, so the tap has one user at a time.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::server::Visit;

/// The socket of one connection.
pub(super) struct Wire {
    stream: TcpStream,
    tap: Arc<Tap>,
}

/// Bends one connection.
#[derive(Debug, Default)]
pub(super) struct Tap {
    reset: AtomicBool,
    instead: Mutex<Option<Bytes>>,
}

impl Tap {
    /// Ends the connection with a reset, not with an orderly close, as soon as it is dropped.
    pub(super) fn reset(&self) {
        self.reset.store(true, Ordering::Release);
    }

    /// Sends these bytes in place of everything that is written from now on.
    pub(super) fn send_instead(&self, bytes: Bytes) {
        *self.instead.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
    }
}

impl Wire {
    pub(super) fn new(stream: TcpStream, tap: Arc<Tap>) -> Self {
        Self { stream, tap }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.tap.reset.load(Ordering::Acquire) {
            // With no linger time the kernel answers with RST; a socket that is gone already needs none.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, tap } = self.get_mut();
        let mut instead = tap.instead.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bytes) = instead.as_mut() else {
            return Pin::new(stream).poll_write(cx, buffer);
        };
        while bytes.has_remaining() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => bytes.advance(written),
            }
        }
        Poll::Ready(Ok(buffer.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The body of a reply, sent whole, byte by byte, or not to its end.
pub(super) struct ReplyBody {
    pieces: VecDeque<Bytes>,
    pause: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    ending: Ending,
    /// Keeps the request counted as being answered, and its session as open, for as long as its body is sent.
    visit: Option<(Visit, Option<Visit>)>,
}

/// How a body ends.
enum Ending {
    /// In order.
    Whole,
    /// Too early for its `Content-Length`, with a reset where there is a tap for it.
    Early(Option<Arc<Tap>>),
    /// As before, and all pieces are with hyper: it is time to let them out and then to fail.
    Failing(Option<Arc<Tap>>),
}

impl ReplyBody {
    pub(super) fn whole(body: Bytes) -> Self {
        Self {
            pieces: VecDeque::from([body]),
            pause: None,
            timer: None,
            ending: Ending::Whole,
            visit: None,
        }
    }

    pub(super) fn drip(body: &Bytes, pause: Duration) -> Self {
        Self {
            pieces: (0..body.len()).map(|at| body.slice(at..=at)).collect(),
            pause: Some(pause),
            ..Self::whole(Bytes::new())
        }
    }

    /// A body that stops after `body`; with a tap by a reset, otherwise by an orderly close of the connection.
    pub(super) fn early(body: Bytes, reset: Option<Arc<Tap>>) -> Self {
        Self {
            ending: Ending::Early(reset),
            ..Self::whole(body)
        }
    }

    pub(super) fn during(mut self, visit: (Visit, Option<Visit>)) -> Self {
        self.visit = Some(visit);
        self
    }

    fn remaining(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(timer) = self.timer.as_mut() {
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
        if let Some(piece) = self.pieces.pop_front() {
            if let (Some(pause), false) = (self.pause, self.pieces.is_empty()) {
                self.timer = Some(Box::pin(sleep(pause)));
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match std::mem::replace(&mut self.ending, Ending::Whole) {
            Ending::Whole => {
                self.visit = None;
                Poll::Ready(None)
            }
            Ending::Early(tap) => {
                // An error drops what hyper holds in its buffer, and a reset what the caller has not read yet.
                self.ending = Ending::Failing(tap);
                self.timer = Some(Box::pin(sleep(TIME_TO_ARRIVE)));
                self.poll_frame(cx)
            }
            Ending::Failing(tap) => {
                if let Some(tap) = tap {
                    tap.reset();
                }
                Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.ending, Ending::Whole) && self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        match self.ending {
            Ending::Whole => SizeHint::with_exact(self.remaining()),
            Ending::Early(_) | Ending::Failing(_) => SizeHint::default(),
        }
    }
}

/// How long the sent part of a cut body gets to reach the caller before the connection ends: plenty on loopback.
const TIME_TO_ARRIVE: Duration = Duration::from_millis(30);
