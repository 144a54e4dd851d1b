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
use http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use http::{Response, Version};
use http_body_util::Full;
use tokio::sync::Notify;

use super::Tasks;
use crate::upstream::bell::Rope;

/// What becomes of a request.
pub(super) type Answered = Result<Response<Full<Bytes>>, Infallible>;

/// The desk of one connection.
#[derive(Debug)]
pub(super) struct Desk {
    /// A request was taken over, and the first byte of its answer has not been written.
    busy: AtomicBool,
    /// The answer that is written next tells its caller to come back later.
    refused: AtomicBool,
    /// Requests so far.
    requests: AtomicUsize,
    /// How many of them have arrived to their last byte. Known of HTTP/1.1, where they come and are answered one after the other.
    whole: AtomicUsize,
    /// Calls that have not ended.
    under_way: AtomicUsize,
    /// The library has nothing in hand, neither to read nor to write. Known of HTTP/1.1.
    between: AtomicBool,
    /// Told when a request has come by HTTP/2.
    http2: Notify,
    /// Who sees through what nobody waits for any more.
    tasks: Tasks,
}

impl Desk {
    pub(super) fn new(tasks: Tasks) -> Self {
        Self {
            busy: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            whole: AtomicUsize::new(usize::MAX),
            under_way: AtomicUsize::new(0),
            between: AtomicBool::new(false),
            http2: Notify::new(),
            tasks,
        }
    }

    /// So many requests have arrived to their last byte.
    pub(super) fn arrived(&self, whole: usize) {
        self.whole.store(whole, Ordering::Relaxed);
    }

    /// An answer that comes before the end of its request is the last one: what is left of a body is not read. Who gets it should know.
    fn close_unless_whole(&self, answer: &mut Answered) {
        let is_whole = self.requests.load(Ordering::Relaxed) <= self.whole.load(Ordering::Relaxed);
        if let (Ok(response), false) = (answer, is_whole) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// The head of a request has arrived.
    pub(super) fn took_over(&self, version: Version) {
        self.busy.store(true, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        if version == Version::HTTP_2 {
            self.http2.notify_one();
        }
    }

    /// Returns when a request has come by HTTP/2.
    pub(super) async fn http2_asked(&self) {
        self.http2.notified().await;
    }

    /// What came in is read, and what was written has left: whether that is the end of a request and its answer.
    pub(super) fn set_between(&self, between: bool) {
        let is_between = between && !self.is_busy() && self.requests.load(Ordering::Relaxed) == self.whole.load(Ordering::Relaxed);
        self.between.store(is_between, Ordering::Relaxed);
    }

    /// Is the connection between two requests, with nothing left to be read or written?
    pub(super) fn is_between(&self) -> bool {
        self.between.load(Ordering::Relaxed)
    }

    /// Its answer is being written; whether that is a refusal.
    pub(super) fn answered(&self) -> bool {
        self.busy.store(false, Ordering::Relaxed);
        self.refused.swap(false, Ordering::Relaxed)
    }

    /// Notes an answer that tells its caller to come back later.
    fn note(&self, answer: &Answered) {
        if answer.as_ref().is_ok_and(|response| response.headers().contains_key(RETRY_AFTER)) {
            self.refused.store(true, Ordering::Relaxed);
        }
    }

    /// Gives an answer to the library, and with it what that has to know.
    fn hand_out(&self, mut answer: Answered) -> Answered {
        self.close_unless_whole(&mut answer);
        self.note(&answer);
        answer
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
pub(super) struct Work<F>
where
    F: Future<Output = Answered> + Send + Unpin + 'static,
{
    /// None once it has ended, and while it is being polled: what has panicked is not polled again.
    rest: Option<Rest<F>>,
}

enum Rest<F> {
    Answer(Answered, Arc<Desk>),
    /// Polled only when its bell has rung: most of what wakes a connection up is between it and its socket.
    Call(F, Place, Rope),
}

impl<F> Work<F>
where
    F: Future<Output = Answered> + Send + Unpin + 'static,
{
    /// There is nothing to be done.
    pub(super) fn answer(answer: Response<Full<Bytes>>, desk: Arc<Desk>) -> Self {
        let rest = Some(Rest::Answer(Ok(answer), desk));
        Self { rest }
    }

    /// A call, which outlives whoever waits for it.
    pub(super) fn call(future: F, place: Place) -> Self {
        let rest = Some(Rest::Call(future, place, Rope::new()));
        Self { rest }
    }
}

impl<F> Future for Work<F>
where
    F: Future<Output = Answered> + Send + Unpin + 'static,
{
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        let this = self.get_mut();
        match this.rest.take() {
            None => Poll::Pending,
            Some(Rest::Answer(answer, desk)) => Poll::Ready(desk.hand_out(answer)),
            Some(Rest::Call(mut future, place, rope)) => {
                rope.bell.listen(cx);
                let polled = match rope.bell.answer() {
                    true => Pin::new(&mut future).poll(&mut Context::from_waker(&rope.waker)),
                    false => Poll::Pending,
                };
                if polled.is_pending() {
                    this.rest = Some(Rest::Call(future, place, rope));
                    return Poll::Pending;
                }
                polled.map(|answer| place.0.hand_out(answer))
            }
        }
    }
}

impl<F> Drop for Work<F>
where
    F: Future<Output = Answered> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        if let Some(Rest::Call(future, place, _)) = self.rest.take() {
            let desk = Arc::clone(&place.0);
            desk.tasks.see_through(async move {
                // Log and metrics have it; there is nobody left to tell.
                let _ = future.await;
                drop(place);
            });
        }
    }
}
