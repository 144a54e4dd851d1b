//! Where one connection hands its requests over: how many are under way, and that each is seen through.
//!
//! **Invariants**
//! - A call that was begun ends, whether its caller is still there or not. The library drops it when a stream of HTTP/2 is
//!   reset or a connection breaks; it is finished by a task of the server then, which the end of the server waits for.
//! - In the ordinary case nothing is spawned for that.
//! - A call that is seen through keeps its place, so that nobody gets more than [`Desk::place`] gives by leaving.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;

use super::Tasks;

/// What becomes of a request.
pub(super) type Answered = Result<Response<Full<Bytes>>, Infallible>;

/// The desk of one connection.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// A request was taken over, and the first byte of its answer has not been written.
    busy: AtomicBool,
    /// Requests so far.
    requests: AtomicUsize,
    /// Calls that have not ended.
    under_way: AtomicUsize,
}

impl Desk {
    /// A request has arrived.
    pub(super) fn took_over(&self) {
        self.busy.store(true, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Its answer is being written.
    pub(super) fn answered(&self) {
        self.busy.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// A place for one call, as long as there are fewer than `most`.
    pub(super) fn place(self: &Arc<Self>, most: usize) -> Option<Place> {
        let place = Place(Arc::clone(self));
        // The place gives back what it has not got as well.
        (self.under_way.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }

    /// Returns when nothing was asked and nothing was under way for `long`, and for less than twice as long.
    pub(super) async fn idle(&self, long: Duration) {
        loop {
            let before = self.requests.load(Ordering::Relaxed);
            tokio::time::sleep(long).await;
            if self.requests.load(Ordering::Relaxed) == before && self.under_way.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }
}

/// One call of a connection.
#[derive(Debug)]
pub(super) struct Place(Arc<Desk>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The future of a request: an answer that is there, or a call that is seen through.
pub(super) enum Work<F>
where
    F: Future<Output = Answered> + Send + 'static,
{
    /// Answered at the door.
    Answer(Option<Response<Full<Bytes>>>),
    /// A call.
    Call(Call<F>),
}

impl<F> Future for Work<F>
where
    F: Future<Output = Answered> + Send + 'static,
{
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        match self.get_mut() {
            Self::Answer(answer) => answer.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer))),
            Self::Call(call) => call.poll(cx),
        }
    }
}

/// A call that outlives whoever waits for it.
pub(super) struct Call<F>
where
    F: Future<Output = Answered> + Send + 'static,
{
    /// None once it has ended, and while it is being polled: what has panicked is not polled again.
    under_way: Option<(Pin<Box<F>>, Place)>,
    tasks: Tasks,
}

impl<F> Call<F>
where
    F: Future<Output = Answered> + Send + 'static,
{
    pub(super) fn new(future: F, place: Place, tasks: Tasks) -> Self {
        Self {
            under_way: Some((Box::pin(future), place)),
            tasks,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answered> {
        let Some((mut future, place)) = self.under_way.take() else { return Poll::Pending };
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            self.under_way = Some((future, place));
        }
        polled
    }
}

impl<F> Drop for Call<F>
where
    F: Future<Output = Answered> + Send + 'static,
{
    fn drop(&mut self) {
        if let Some((future, place)) = self.under_way.take() {
            self.tasks.see_through(async move {
                // Log and metrics have it; there is nobody left to tell.
                let _ = future.await;
                drop(place);
            });
        }
    }
}
