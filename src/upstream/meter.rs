//! Counts what a connection takes: the proof that of a request nothing has left.
//!
//! **Invariants**: the count is made where the bytes leave the process, below TLS: what TLS holds back has not left. What cannot be
//! told from the request (an alert of TLS) counts as if it were one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::network::Transport;

/// What has happened on a connection.
#[derive(Debug, Default)]
pub(super) struct Meter {
    written: AtomicU64,
    interim: AtomicUsize,
}

impl Meter {
    /// Bytes that the transport has taken, ever.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// A new request: no interim answers (1xx) yet.
    pub(super) fn request_begins(&self) {
        self.interim.store(0, Ordering::Relaxed);
    }

    /// One more interim answer.
    pub(super) fn interim_answer(&self) {
        self.interim.fetch_add(1, Ordering::Relaxed);
    }

    /// The interim answers to the request under way.
    pub(super) fn interim_answers(&self) -> usize {
        self.interim.load(Ordering::Relaxed)
    }
}

/// A transport that counts what it takes.
pub(super) struct Metered {
    stream: Box<dyn Transport>,
    meter: Arc<Meter>,
}

impl Metered {
    /// Counts with this meter what the stream takes.
    pub(super) fn new(stream: Box<dyn Transport>, meter: Arc<Meter>) -> Self {
        Self { stream, meter }
    }

    fn count(&self, taken: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &taken {
            let bytes = u64::try_from(*bytes).unwrap_or(u64::MAX);
            self.meter.written.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(taken)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.count(taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
