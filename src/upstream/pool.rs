//! The connections of one provider: lent to one exchange at a time, kept between two of them, and never trusted after a fault.
//!
//! **Shape**: [`Pool::take`] or [`Pool::connect`] -> [`Kept`]; [`Kept::exchange`] -> [`UpstreamReply`] or [`Broken`];
//! [`Pool::give`] back.
//!
//! **Invariants**
//! - A connection has no task of its own: it works while somebody polls an exchange on it, and dropping it closes it. So
//!   nothing runs on behalf of a call that has ended, and nobody else can write to it or read from it.
//! - What comes back is kept only when its answer was read to the end and the connection is ready for another request. What lies
//!   idle is looked at before it is lent: closed, or with bytes that nobody asked for, it is dropped.
//! - The last one that came back goes first. One that was idle for [`IDLE`] is closed, by a task that lives while there are idle
//!   ones and not longer than the pool. At most `most` are idle. As a connection is made only when none is idle, as many calls at
//!   once as the gate lets in have as many connections at most.
//! - [`Broken`] says whether anything of the request can have left. It has not where the library gives the request back, and not
//!   where the transport has not taken a byte since the request was handed over (a [`Meter`] below the library counts).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep_until};

use super::bell::Rope;
use super::connect::{ConnectFailure, Connected, Connector};
use super::meter::Meter;
use super::network::Transport;

/// The connections of one provider.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    protocol: http1::Builder,
    shelf: Arc<Shelf>,
    /// So many are kept idle; 0 where each is closed after its exchange.
    most: usize,
}

/// Where idle connections lie.
#[derive(Debug, Default)]
struct Shelf(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The longest idle first.
    #[expect(clippy::vec_box, reason = "they are moved in and out while the lock is held")]
    idle: Vec<Box<Kept>>,
    /// Is somebody there who closes what is idle for too long?
    tended: bool,
    tasks: JoinSet<()>,
}

type Http1 = http1::Connection<TokioIo<Box<dyn Transport>>, Full<Bytes>>;

/// One connection.
pub(super) struct Kept {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Nothing once it has ended.
    connection: Option<Http1>,
    meter: Arc<Meter>,
    /// Wakes the connection up, and who polls it where that is news to them.
    rope: Rope,
    /// One timer for all exchanges: moving it to a later time costs next to nothing.
    alarm: Pin<Box<Sleep>>,
    idle_since: Instant,
}

/// Why there is no answer, and what can have left.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection was found ended, or broke, and the transport has taken nothing of the request.
    Unsent(hyper::Error),
    /// It broke after something may have left.
    Lost(hyper::Error),
    /// Interim answers without end.
    Flood,
    /// Nothing complete by the time that was set.
    Time {
        /// Can anything have left?
        sent: bool,
    },
    /// The answer is larger than what is read of one.
    TooLarge,
    /// The head was read and is none that the request can have, in these words.
    Unfit(&'static str),
    /// The head was read and the rest was not.
    Body(hyper::Error),
}

/// What the library says of a request.
type Answered = Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>>;

/// Why the polling stopped.
enum Halt {
    Flood,
    Time,
}

impl Pool {
    pub(super) fn new(connector: Connector, most: usize) -> Self {
        let mut protocol = http1::Builder::new();
        protocol.max_buf_size(MAX_REPLY_HEAD_BYTES).max_headers(MAX_REPLY_HEADERS);
        Self {
            connector,
            protocol,
            shelf: Arc::default(),
            most,
        }
    }

    /// An idle connection that looks alive `now`, where there is one.
    pub(super) fn take(&self, now: Instant) -> Option<Box<Kept>> {
        loop {
            let mut kept = self.shelf.state().idle.pop()?;
            kept.look();
            if kept.idle_since + IDLE > now && kept.is_ready() {
                return Some(kept);
            }
            kept.end();
        }
    }

    /// A new connection, by `deadline`.
    ///
    /// # Errors
    /// [`ConnectFailure`]
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Box<Kept>, ConnectFailure> {
        let Connected { stream, meter } = self.connector.connect(deadline).await?;
        // Writes nothing and waits for nothing: HTTP/1.1 has no greeting.
        let (sender, connection) = self
            .protocol
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ConnectFailure::Tls(error.into()))?;
        Ok(Box::new(Kept {
            sender,
            connection: Some(connection),
            meter,
            rope: Rope::new(),
            alarm: Box::pin(sleep_until(Instant::now())),
            idle_since: Instant::now(),
        }))
    }

    /// Takes a connection back whose exchange has `now` gone well.
    pub(super) fn give(&self, mut kept: Box<Kept>, now: Instant) {
        if !kept.is_ready() {
            kept.look();
        }
        if self.most == 0 || !kept.is_ready() {
            kept.end();
            return;
        }
        kept.idle_since = now;
        let mut state = self.shelf.state();
        if state.idle.len() >= self.most {
            drop(state);
            kept.end();
            return;
        }
        let first_end = state.idle.first().unwrap_or(&kept).idle_since + IDLE;
        state.idle.push(kept);
        if !state.tended {
            state.tended = true;
            while state.tasks.try_join_next().is_some() {}
            state.tasks.spawn(tend(Arc::downgrade(&self.shelf), first_end));
        }
    }

    /// Drops all that is idle: one of them was found dead, and the others lay longer.
    pub(super) fn clear(&self) {
        let idle = std::mem::take(&mut self.shelf.state().idle);
        idle.into_iter().for_each(Kept::end);
    }
}

impl Shelf {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what is idle for too long, until nothing is idle or the shelf is gone.
async fn tend(shelf: Weak<Shelf>, mut next: Instant) {
    loop {
        sleep_until(next).await;
        let Some(shelf) = shelf.upgrade() else { return };
        let now = Instant::now();
        let mut state = shelf.state();
        let old_ones = state.idle.iter().take_while(|kept| kept.idle_since + IDLE <= now).count();
        let old: Vec<_> = state.idle.drain(..old_ones).collect();
        match state.idle.first() {
            Some(kept) => next = kept.idle_since + IDLE,
            None => {
                state.tended = false;
                drop(state);
                old.into_iter().for_each(Kept::end);
                return;
            }
        }
        drop(state);
        old.into_iter().for_each(Kept::end);
    }
}

impl Kept {
    /// Sends the request and reads the answer to its end, unless `until` comes first; `fits` judges the head, `limit` bounds the
    /// body.
    ///
    /// # Errors
    /// [`Broken`]. The connection is of no more use then.
    pub(super) fn exchange(
        &mut self,
        mut request: Request<Full<Bytes>>,
        until: Instant,
        limit: usize,
        fits: impl FnOnce(&Response<Incoming>) -> Result<(), Broken>,
    ) -> impl Future<Output = Result<Response<Bytes>, Broken>> {
        let before = self.meter.written();
        let meter = Arc::clone(&self.meter);
        hyper::ext::on_informational(&mut request, move |_| meter.interim_answer());
        self.meter.request_begins();
        self.alarm.as_mut().reset(until);
        let sending = self.sender.try_send_request(request);
        async move {
            // What is of the sending only is gone before the answer is read, so that the future has room for one of them.
            let (head, mut body) = {
                let mut response = pin!(sending);
                let answered = self.drive(|cx| response.as_mut().poll(cx)).await;
                let response = self.answer(answered, before)?;
                fits(&response)?;
                response.into_parts()
            };
            let mut read = Pieces::default();
            // What came with the head is there already.
            self.rope.bell.hold();
            let early = read.poll(&mut body, limit, &mut Context::from_waker(&self.rope.waker));
            self.rope.bell.release();
            if let Poll::Ready(ended) = early {
                return ended.map(|()| Response::from_parts(head, read.whole()));
            }
            match self.drive(|cx| read.poll(&mut body, limit, cx)).await {
                Ok(Ok(())) => Ok(Response::from_parts(head, read.whole())),
                Ok(Err(broken)) => Err(broken),
                Err(Halt::Flood) => Err(Broken::Flood),
                Err(Halt::Time) => Err(Broken::Time { sent: true }),
            }
        }
    }

    /// What came of sending, where the connection had taken so many bytes before.
    fn answer(&self, answered: Result<Answered, Halt>, before: u64) -> Result<Response<Incoming>, Broken> {
        let sent = self.meter.written() != before;
        match answered {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut error)) => {
                let sent = sent && error.take_message().is_none();
                let error = error.into_error();
                Err(if sent { Broken::Lost(error) } else { Broken::Unsent(error) })
            }
            Err(Halt::Flood) => Err(Broken::Flood),
            Err(Halt::Time) => Err(Broken::Time { sent }),
        }
    }

    /// Asks `what` until it is ready, and lets the connection work that it waits for.
    async fn drive<T>(&mut self, mut what: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Result<T, Halt> {
        let Self {
            connection,
            meter,
            rope,
            alarm,
            ..
        } = self;
        poll_fn(|cx| {
            rope.bell.listen(cx);
            let inside = &mut Context::from_waker(&rope.waker);
            // Again, as what is taken from the connection makes room for more; what one of them tells the other is no news outside.
            for _ in 0..MOST_TURNS {
                rope.bell.hold();
                work(connection, inside);
                if meter.interim_answers() > MAX_INTERIM_ANSWERS {
                    return Poll::Ready(Err(Halt::Flood));
                }
                let output = what(inside);
                let has_rung = rope.bell.release();
                if let Poll::Ready(output) = output {
                    return Poll::Ready(Ok(output));
                }
                if !has_rung {
                    ready!(alarm.as_mut().poll(cx));
                    return Poll::Ready(Err(Halt::Time));
                }
            }
            // Others first.
            cx.waker().wake_by_ref();
            ready!(alarm.as_mut().poll(cx));
            Poll::Ready(Err(Halt::Time))
        })
        .await
    }

    /// Can it take a request, as far as is known?
    fn is_ready(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Looks at what has come in: an end, or bytes that nobody asked for.
    fn look(&mut self) {
        work(&mut self.connection, &mut Context::from_waker(Waker::noop()));
    }

    /// Closes the connection politely, as far as that needs no waiting: TLS says goodbye.
    fn end(self: Box<Self>) {
        let Self { sender, connection, .. } = *self;
        drop(sender);
        if let Some(mut connection) = connection {
            let _ended = Pin::new(&mut connection).poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// Lets a connection work. When it has ended it is dropped: that hands back what it had not begun to send.
fn work(connection: &mut Option<Http1>, cx: &mut Context<'_>) {
    if let Some(working) = connection
        && Pin::new(working).poll(cx).is_ready()
    {
        *connection = None;
    }
}

/// A body as far as it has been read. Most come in one piece, which is handed on as it is.
#[derive(Debug, Default)]
struct Pieces {
    first: Bytes,
    all: BytesMut,
}

impl Pieces {
    /// Ready when the body has ended.
    fn poll(&mut self, body: &mut Incoming, limit: usize, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            let data = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(Broken::Body(error))),
                // Trailers tell nothing that anybody asks for.
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            if data.len() > limit.saturating_sub(self.len()) {
                return Poll::Ready(Err(Broken::TooLarge));
            }
            if self.len() == 0 {
                self.first = data;
            } else if !data.is_empty() {
                self.all.extend_from_slice(&std::mem::take(&mut self.first));
                self.all.extend_from_slice(&data);
            }
        }
    }

    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn whole(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("idle_since", &self.idle_since).finish_non_exhaustive()
    }
}

/// Common servers keep an idle connection for 60 seconds (nginx 75, Tomcat 20 to 60, Apache 5); giving it up before most of
/// them do makes it rare that a request meets a connection that the vendor is closing.
const IDLE: Duration = Duration::from_secs(20);

/// Heads of real answers are below 2 KiB; this is also the size of the read buffer, so it bounds memory per connection.
pub(super) const MAX_REPLY_HEAD_BYTES: usize = 64 * 1024;

/// Real answers have about ten to thirty headers.
const MAX_REPLY_HEADERS: usize = 128;

/// A body in many pieces takes two turns for each; others wait meanwhile.
const MOST_TURNS: usize = 16;

/// 100, 102 and 103 come once or twice; progress reports of a patient server may be a few more.
const MAX_INTERIM_ANSWERS: usize = 32;
