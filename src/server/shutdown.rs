//! How a server ends: callers are told to go elsewhere while they are still served, then nothing is accepted any more.
//!
//! **Shape**: [`Shutdown::leave`] -> answers say `Connection: close`, HTTP/2 connections get GOAWAY, new ones are still taken;
//! [`Shutdown::close`] -> no new connection, idle ones are closed, the others after their answer.
//!
//! **Invariants**: while leaving, no idle HTTP/1 connection is closed: its caller may be sending on it at this moment, and would
//! not know whether the call was taken.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, HeaderValue};
use http::{Response, Version};
use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The end of a server, in two steps. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// As the token `left`, without its lock: each answer asks.
    leaving: Arc<AtomicBool>,
    left: CancellationToken,
    closed: CancellationToken,
}

impl Shutdown {
    /// Tells callers to go elsewhere; who comes is still served.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.left.cancel();
    }

    /// Ends accepting.
    pub fn close(&self) {
        self.closed.cancel();
    }

    pub(super) async fn left(&self) {
        self.left.cancelled().await;
    }

    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// As [`Self::closed`], and borrowing nothing.
    pub(super) fn closed_owned(self) -> WaitForCancellationFutureOwned {
        self.closed.cancelled_owned()
    }
}

impl From<CancellationToken> for Shutdown {
    /// Only the second step, when the token is cancelled.
    fn from(closed: CancellationToken) -> Self {
        Self { closed, ..Self::default() }
    }
}

pin_project! {
    /// An answer that says goodbye where the server is leaving.
    pub(super) struct Farewell<F> {
        #[pin]
        answer: F,
        leaving: Option<Arc<AtomicBool>>,
    }
}

impl<F> Farewell<F> {
    pub(super) fn new(answer: F, version: Version, shutdown: &Shutdown) -> Self {
        // HTTP/2 has GOAWAY, and no such header.
        let leaving = (version < Version::HTTP_2).then(|| Arc::clone(&shutdown.leaving));
        Self { answer, leaving }
    }
}

impl<F, B, E> Future for Farewell<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.answer.poll(cx));
        if let (Ok(response), Some(leaving)) = (&mut answer, this.leaving)
            && leaving.load(Ordering::Relaxed)
        {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(answer)
    }
}
