//! One connection from its first byte to its end: what is spoken on it, and what is held for it while nothing is asked.
//!
//! The HTTP library has two buffers of 8 KiB and a state of its own for each connection, asked or not. Where there are many of
//! them ([`ServerLimits::kept`]), it is there only from the first byte of a request to the last one of its answer: what nobody holds between two
//! requests needs no memory, and the next request finds the same few buffers warm that the last one on another connection had.
//!
//! **Shape**: [`serve`] ends with the connection. [`Talk`]: quiet -> the first bytes -> the library serves HTTP/1.1 -> quiet …, or HTTP/2
//! to its end.
//!
//! **Invariants**
//! - The library is taken away only between two requests: all that came in was taken over, each answer has left to its last byte
//!   ([`Desk::is_between`], told by the wire). A connection that is to end keeps it until it ends.
//! - Nothing is read twice, and nothing is lost: the first bytes are kept by the wire until the library asks for them.

use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;

#[cfg(doc)]
use super::ServerLimits;
use super::desk::Desk;
use super::shutdown::Shutdown;
use super::wire::{Begun, Pace, Wire};
use super::{
    H2_PING_EVERY, H2_PING_TIMEOUT, MAX_H2_ERROR_RESETS, MAX_H2_HEADER_LIST, MAX_H2_PENDING_RESETS, MAX_H2_STREAMS, MAX_HEAD_BYTES,
    MAX_HEADERS, Stage, Tasks,
};
use crate::upstream::bell::unless_at_last;

/// How the library serves the connections of one server.
pub(super) struct Library {
    http1: http1::Builder,
    http2: http2::Builder<Tasks>,
    tasks: Tasks,
    /// As in [`ServerLimits`].
    kept: usize,
}

impl Library {
    pub(super) fn new(tasks: Tasks, kept: usize) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            // The wire keeps the time: it can answer with a 408 and tells a slow head from an idle connection.
            .header_read_timeout(None)
            .half_close(true)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES);
        let mut http2 = http2::Builder::new(tasks.clone());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_H2_STREAMS)
            .max_pending_accept_reset_streams(MAX_H2_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_H2_ERROR_RESETS)
            .max_header_list_size(MAX_H2_HEADER_LIST)
            .keep_alive_interval(H2_PING_EVERY)
            .keep_alive_timeout(H2_PING_TIMEOUT);
        Self { http1, http2, tasks, kept }
    }

    /// Are there so few connections that each may keep what it has?
    fn has_few(&self) -> bool {
        self.tasks.tracker.len() <= self.kept
    }
}

/// Serves one connection to its end, which makes its place free.
pub(super) async fn serve<I, S>(library: Arc<Library>, wire: Box<Wire<I>>, stage: Stage<S>, place: OwnedSemaphorePermit)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + Unpin + 'static,
{
    let closed = stage.shutdown.clone().closed_owned();
    let mut talk = Talk::new(&library, wire, stage);
    let ended = match unless_at_last(closed, &mut talk).await {
        Ok(ended) => ended,
        Err(()) => {
            talk.end();
            (&mut talk).await
        }
    };
    let ended = match ended {
        Ok(Ended::Over) => Ok(()),
        // Few speak it, and the others do not carry its state.
        Ok(Ended::Http2(wire, stage)) => Box::pin(serve_http2(&library, wire, stage)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        // A caller that hangs up or sends rubbish; it was answered where that was possible.
        tracing::debug!(%error, "connection ended early");
    }
    drop(place);
}

async fn serve_http2<I, S>(library: &Library, wire: Box<Wire<I>>, stage: Stage<S>) -> hyper::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + Unpin + 'static,
{
    let (desk, pace, shutdown) = (Arc::clone(&stage.desk), Arc::clone(wire.pace()), stage.shutdown.clone());
    let connection = library.http2.serve_connection(TokioIo::new(wire), stage);
    tokio::pin!(connection);
    match unless_at_last(told(&shutdown, &desk, &pace), connection.as_mut()).await {
        Ok(ended) => ended,
        Err(Told::End) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        // What is still open after a GOAWAY are answers that nobody takes.
        Err(Told::Idle) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                ended = connection => ended,
                () = desk.idle(pace.write) => Ok(()),
            }
        }
    }
}

/// What ends a connection of HTTP/2 from outside.
enum Told {
    End,
    Idle,
}

async fn told(shutdown: &Shutdown, desk: &Desk, pace: &Pace) -> Told {
    tokio::select! {
        // Without it chance decides which is asked first, and a simulated run could not be had again.
        biased;
        () = shutdown.closed() => Told::End,
        // HTTP/2 says up to which request it listens, so that its end can begin earlier and nothing is lost. The stages say
        // it for HTTP/1.
        () = async {
            shutdown.left().await;
            desk.http2_asked().await;
        } => Told::End,
        // The wire ends idle connections of HTTP/1.1; of HTTP/2 it does not know which are.
        () = desk.idle(pace.idle) => Told::Idle,
    }
}

/// A connection until it has ended, or is known to speak HTTP/2.
struct Talk<'a, I, S>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + Unpin + 'static,
{
    library: &'a Library,
    desk: Arc<Desk>,
    state: State<I, S>,
    is_ending: bool,
}

type Http1<I, S> = http1::Connection<TokioIo<Box<Wire<I>>>, Stage<S>>;

enum State<I, S>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + Unpin + 'static,
{
    /// Nothing is asked.
    Quiet(Box<Wire<I>>, Stage<S>),
    /// The library has it.
    Served(Box<Http1<I, S>>),
    /// The last bytes are written.
    Closing(Box<Wire<I>>),
    Over,
}

/// What became of a [`Talk`].
enum Ended<I, S> {
    Over,
    Http2(Box<Wire<I>>, Stage<S>),
}

/// Nothing of it is pinned in its place.
impl<I, S> Unpin for Talk<'_, I, S>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + Unpin + 'static,
{
}

impl<'a, I, S> Talk<'a, I, S>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + Unpin + 'static,
{
    fn new(library: &'a Library, wire: Box<Wire<I>>, stage: Stage<S>) -> Self {
        Self {
            library,
            desk: Arc::clone(&stage.desk),
            state: State::Quiet(wire, stage),
            is_ending: false,
        }
    }

    /// Nothing is asked any more; what was is answered.
    fn end(&mut self) {
        self.is_ending = true;
        self.state = match mem::replace(&mut self.state, State::Over) {
            State::Quiet(wire, _) => State::Closing(wire),
            State::Served(mut connection) => {
                Pin::new(&mut *connection).graceful_shutdown();
                State::Served(connection)
            }
            state => state,
        };
    }
}

impl<I, S> Future for Talk<'_, I, S>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + Unpin + 'static,
{
    type Output = hyper::Result<Ended<I, S>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Quiet(wire, _) => {
                    let begun = ready!(wire.poll_begin(cx));
                    let State::Quiet(wire, stage) = mem::replace(&mut this.state, State::Over) else {
                        return Poll::Pending;
                    };
                    this.state = match begun {
                        Begun::Nothing => State::Closing(wire),
                        Begun::Http1 => State::Served(Box::new(this.library.http1.serve_connection(TokioIo::new(wire), stage))),
                        Begun::Http2 => return Poll::Ready(Ok(Ended::Http2(wire, stage))),
                    };
                }
                State::Served(connection) => {
                    let ended = Pin::new(&mut **connection).poll(cx);
                    if let Poll::Ready(ended) = ended {
                        this.state = State::Over;
                        return Poll::Ready(ended.map(|()| Ended::Over));
                    }
                    if this.desk.is_between()
                        && !this.is_ending
                        && !this.library.has_few()
                        && let State::Served(connection) = mem::replace(&mut this.state, State::Over)
                    {
                        // Its buffer holds empty lines at the most. The wire has just been asked and wakes this task up.
                        let parts = connection.into_parts();
                        this.state = State::Quiet(parts.io.into_inner(), parts.service);
                    }
                    return Poll::Pending;
                }
                State::Closing(wire) => {
                    // Who does not take it is gone.
                    let _ = ready!(Pin::new(wire).poll_shutdown(cx));
                    this.state = State::Over;
                    return Poll::Ready(Ok(Ended::Over));
                }
                State::Over => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::ServerLimits;
    use crate::server::brake::Brake;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let long = if request.uri().path() == "/long" { 4 * ROOM } else { 2 };
        Ok(Response::new(vec![b'x'; long].into()))
    }

    /// What fits into the pipe at once.
    const ROOM: usize = 512;

    /// What the connection holds after each of these parts, and what has come back by then.
    async fn held(kept: usize, parts: &[&str]) -> Vec<(&'static str, usize)> {
        let tasks = Tasks::default();
        let _another = tasks.tracker.token();
        let library = Library::new(tasks.clone(), kept);
        let limits = ServerLimits::default();
        let pace = Pace {
            head: limits.head,
            idle: limits.idle,
            linger: limits.write,
            write: limits.write,
        };
        let (mut caller, socket) = tokio::io::duplex(ROOM);
        let desk = Arc::new(Desk::new(tasks));
        let wire = Wire::new(socket, Arc::clone(&desk), Arc::new(pace), Brake::default());
        let stage = Stage {
            service: hyper::service::service_fn(|request| Box::pin(answer(request))),
            desk,
            methods: limits.methods,
            shutdown: Shutdown::default(),
        };
        let mut talk = Talk::new(&library, Box::new(wire), stage);
        let mut found = Vec::new();
        for part in parts {
            caller.write_all(part.as_bytes()).await.unwrap();
            let ended = poll_fn(|cx| Poll::Ready(Pin::new(&mut talk).poll(cx).is_ready())).await;
            assert!(!ended);
            let holds = match talk.state {
                State::Quiet(..) => "nothing",
                State::Served(_) => "a state",
                State::Closing(_) | State::Over => "an end",
            };
            found.push((holds, answers(&mut caller).await));
        }
        drop(caller);
        assert!(matches!((&mut talk).await, Ok(Ended::Over)));
        found
    }

    /// How many answers have begun among what is there to read.
    async fn answers(caller: &mut DuplexStream) -> usize {
        let mut read = Vec::with_capacity(2 * ROOM);
        let reading = tokio::time::timeout(std::time::Duration::ZERO, caller.read_buf(&mut read)).await;
        reading.map_or(0, |_| String::from_utf8(read).unwrap().matches("HTTP/1.1 200").count())
    }

    #[tokio::test(start_paused = true)]
    async fn between_two_requests_nothing_is_held_where_there_are_many() {
        let one = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let two = one.repeat(2);
        let parts = ["", "GET / HT", "TP/1.1\r\nhost: a\r\n\r\n", one, &two, "\r\n", one];
        let expected = [
            ("nothing", 0),
            ("a state", 0),
            ("nothing", 1),
            ("nothing", 1),
            ("nothing", 2),
            ("nothing", 0),
            ("nothing", 1),
        ];
        assert_eq!(held(0, &parts).await, expected);
        let kept = expected.map(|(holds, answers)| (if answers > 0 { "a state" } else { holds }, answers));
        let found = held(1, &parts).await;
        assert_eq!(found.get(..5), kept.get(..5), "what has been there stays");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_held_until_it_has_left() {
        let long = "GET /long HTTP/1.1\r\nhost: a\r\n\r\n";
        let found = held(0, &[long, "", "", "", "", ""]).await;
        assert_eq!(found.first(), Some(&("a state", 1)));
        assert_eq!(found.last(), Some(&("nothing", 0)));
    }
}
