//! Accepts connections, serves HTTP/1.1 and HTTP/2 on them, and ends cleanly.
//!
//! **Shape**: `run(listener, service, limits, shutdown, drain)` returns when `shutdown` was closed and every connection
//! has ended, at the latest `drain` later. Before that `shutdown` may say that the server leaves (`shutdown`).
//!
//! **Invariants**
//! - No task outlives [`run`], not even when its future is dropped.
//! - A connection that cannot be accepted never ends the loop.
//! - What the HTTP library refuses by itself leaves as a problem document like everything else (`wire`). The one
//!   exception is HTTP/2 below the level of a request: a head above [`MAX_H2_HEADER_LIST`] is answered by the library with a
//!   bare 431, a broken frame with GOAWAY or RST_STREAM.
//! - What the library takes and the RFCs forbid is refused before any stage works on it (`framing`, `door`).
//! - A caller that shuts its sending side, resets its stream, or vanishes, does not cancel the call: an effect that was begun is
//!   seen through and recorded (`half_close`, `desk`).
//! - A connection on which nothing is asked costs little, where there are many (`talk`).
//! - Who is refused and comes back at once does not take the processor from those who are served (`brake`).

mod brake;
mod desk;
mod door;
mod framing;
mod refusal;
mod shutdown;
mod talk;
mod wire;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::brake::Brake;
use self::desk::{Desk, Work};
use self::shutdown::Farewell;
pub use self::shutdown::Shutdown;
use self::talk::Library;
use self::wire::{Pace, Wire};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::telemetry::metrics;
use crate::upstream::bell::unless;

/// How many connections, and how long each may take for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at once; one more is turned away with a 503.
    pub connections: usize,
    /// Up to so many connections keep their buffers while nothing is asked; beyond, they have none then.
    pub kept: usize,
    /// For the head of a request, from its first byte.
    pub head: Duration,
    /// Between two requests on one connection.
    pub idle: Duration,
    /// For the caller to take the next part of an answer.
    pub write: Duration,
    /// The methods that there are, which `OPTIONS *` is answered with.
    pub methods: &'static str,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: DEFAULT_CONNECTIONS,
            kept: KEPT,
            head: DEFAULT_HEAD,
            idle: DEFAULT_IDLE,
            write: DEFAULT_WRITE,
            methods: METHODS,
        }
    }
}

/// Where connections come from.
pub trait Listener: Send {
    /// One connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _peer) = TcpListener::accept(self).await?;
        // Answers are one small write; Nagle's algorithm would only hold their tail back.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Serves until `shutdown` is closed, then lets what is under way finish for at most `drain`, then ends the rest.
///
/// `service` is always ready: what it has no room for it refuses.
pub async fn run<L, S>(mut listener: L, service: S, limits: ServerLimits, shutdown: impl Into<Shutdown>, drain: Duration)
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + Unpin + 'static,
{
    let shutdown = shutdown.into();
    let tasks = Tasks::default();
    // Ends every task also when the future of this function is dropped.
    let _guard = tasks.abort.clone().drop_guard();
    let library = Arc::new(Library::new(tasks.clone(), limits.kept));
    let room = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let turned_away = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    let brake = Brake::default();
    let pace = Arc::new(Pace {
        head: limits.head,
        idle: limits.idle,
        linger: LINGER,
        write: limits.write,
    });

    loop {
        let socket = tokio::select! {
            biased;
            () = shutdown.closed() => break,
            accepted = listener.accept() => match accepted {
                Ok(socket) => socket,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    // Out of file descriptors, mostly: others have to end first.
                    tracing::warn!(error = %error, "connections cannot be accepted");
                    tokio::select! {
                        biased;
                        () = shutdown.closed() => break,
                        () = tokio::time::sleep(ACCEPT_BACK_OFF) => continue,
                    }
                }
            },
        };
        if let Ok(place) = Arc::clone(&room).try_acquire_owned() {
            let desk = Arc::new(Desk::new(tasks.clone()));
            let wire = Wire::new(socket, Arc::clone(&desk), Arc::clone(&pace), brake.clone());
            let stage = Stage {
                service: service.clone(),
                desk,
                methods: limits.methods,
                shutdown: shutdown.clone(),
            };
            tasks.execute(talk::serve(Arc::clone(&library), Box::new(wire), stage, place));
        } else if let Ok(place) = Arc::clone(&turned_away).try_acquire_owned() {
            tasks.execute(async move {
                turn_away(socket).await;
                drop(place);
            });
        } else {
            // Beyond that, closing is all there is time for.
            metrics::http_refused(Reason::Overloaded);
        }
    }

    drop(listener);
    tasks.tracker.close();
    if tokio::time::timeout(drain, tasks.tracker.wait()).await.is_err() {
        tracing::warn!(connections = tasks.tracker.len(), "the time to finish is over");
        tasks.abort.cancel();
        tasks.tracker.wait().await;
    }
}

/// Tells a caller that there is no room, and closes.
async fn turn_away<I: AsyncRead + AsyncWrite + Unpin>(mut socket: I) {
    let error = GatewayError::new(Reason::Overloaded, "too many connections are open").with_retry_after(TURNED_AWAY_RETRY_AFTER);
    let answer = refusal::refuse(&error);
    let goodbye = async {
        socket.write_all(&answer).await?;
        socket.shutdown().await?;
        // Closing with unread bytes would reset the connection and could destroy the answer on its way.
        let mut scratch = [0; 1024];
        while socket.read(&mut scratch).await? > 0 {}
        io::Result::Ok(())
    };
    // Who does not listen is not waited for.
    let _ = tokio::time::timeout(LINGER, goodbye).await;
}

/// Errors of `accept` that say something about one connection and nothing about the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// The tasks of one server: connections, the streams that the HTTP/2 library starts, and calls whose callers have left.
#[derive(Clone, Debug, Default)]
struct Tasks {
    tracker: TaskTracker,
    abort: CancellationToken,
}

impl Tasks {
    /// Runs it to its end, or to that of the server.
    fn see_through(&self, call: impl Future<Output = ()> + Send + 'static) {
        // At the end of a server, or of its runtime, nothing begins any more.
        if !self.abort.is_cancelled() && Handle::try_current().is_ok() {
            self.execute(call);
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        drop(self.tracker.spawn(unless(self.abort.clone().cancelled_owned(), future)));
    }
}

/// The service of one connection: the door, and behind it the stages.
struct Stage<S> {
    service: S,
    desk: Arc<Desk>,
    methods: &'static str,
    shutdown: Shutdown,
}

impl<S> Service<Request<Incoming>> for Stage<S>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + Unpin + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Farewell<Work<S::Future>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let version = request.version();
        self.desk.took_over(version);
        Farewell::new(self.work(request), version, &self.shutdown)
    }
}

impl<S> Stage<S>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + Unpin + 'static,
{
    fn work(&self, request: Request<Incoming>) -> Work<S::Future> {
        let answer = |answer| Work::answer(answer, Arc::clone(&self.desk));
        if let Some(given) = door::answer(&request, self.methods) {
            return answer(given);
        }
        let Some(place) = self.desk.place(MAX_CALLS) else {
            let error = GatewayError::new(
                Reason::Overloaded,
                "too many calls of this connection are under way, some of them abandoned",
            )
            .with_retry_after(TURNED_AWAY_RETRY_AFTER);
            return answer(refusal::answer(&error, &request));
        };
        Work::call(self.service.call(request), place)
    }
}

/// A process has 1024 file descriptors by default on Linux; a connection may need one to a vendor, and some must be left.
pub const DEFAULT_CONNECTIONS: usize = 400;
/// To make them anew takes three thousand instructions for each request. These are 5 MiB, about what a processor has close by.
const KEPT: usize = 256;
/// A head is one packet; ten seconds allow for a slow link and cut off who sends a byte at a time.
pub const DEFAULT_HEAD: Duration = Duration::from_secs(10);
/// Above the 60 seconds for which common balancers keep a connection, so that they close first and never send into a closing one.
pub const DEFAULT_IDLE: Duration = Duration::from_secs(75);
/// Answers fit into the socket's buffer; who takes nothing for so long is gone.
pub const DEFAULT_WRITE: Duration = Duration::from_secs(30);

/// Of all paths together; a path that exists says which of them are its own.
const METHODS: &str = "GET, HEAD, OPTIONS, POST";
/// The stage behind has the real limit (64 fields) and the better answer; this one only bounds memory.
const MAX_HEADERS: usize = 128;
/// As above (32 KiB there): the buffer of a head, so also the memory that one connection can claim.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// As above, in HTTP/2's own way of counting (name + value + 32 for each field). Larger, because beyond it the library speaks.
pub const MAX_H2_HEADER_LIST: u32 = 256 * 1024;
/// Calls wait for vendors, so a batch of them on one connection is fine; RFC 9113 advises at least 100.
const MAX_H2_STREAMS: u32 = 100;
/// One connection's calls at once, those of reset streams included: resetting makes no room.
const MAX_CALLS: usize = MAX_H2_STREAMS as usize;
/// Rapid reset (CVE-2023-44487): the library's own default, written down.
const MAX_H2_PENDING_RESETS: usize = 20;
/// Streams that we reset because the caller broke the protocol; well-behaved ones cause none.
const MAX_H2_ERROR_RESETS: usize = 64;
/// Finds dead peers of idle HTTP/2 connections, which no other limit ends.
const H2_PING_EVERY: Duration = Duration::from_secs(30);
/// A living peer answers a ping within a round trip.
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Out of descriptors: long enough not to burn the processor, short enough not to be noticed.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);
/// How long a closing connection waits for the caller to have read the last answer.
const LINGER: Duration = Duration::from_secs(1);
/// Connections that are being turned away at once; each costs a descriptor for up to [`LINGER`].
const MAX_TURNED_AWAY: usize = 64;
/// Calls last about a second, so there is likely room after one.
const TURNED_AWAY_RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::service::service_fn;
    use std::collections::VecDeque;
    use tokio::io::DuplexStream;

    struct Scripted(VecDeque<io::Result<DuplexStream>>);

    impl Listener for Scripted {
        type Io = DuplexStream;

        async fn accept(&mut self) -> io::Result<DuplexStream> {
            match self.0.pop_front() {
                Some(next) => next,
                None => std::future::pending().await,
            }
        }
    }

    async fn ok(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        Ok(Response::new(Full::from("ok")))
    }

    #[tokio::test(start_paused = true)]
    async fn errors_of_accept_do_not_end_the_loop() {
        let (mut caller, server) = tokio::io::duplex(4096);
        let no_descriptors = || Err(io::Error::from_raw_os_error(24));
        let aborted = || Err(io::ErrorKind::ConnectionAborted.into());
        let listener = Scripted([no_descriptors(), aborted(), no_descriptors(), Ok(server)].into());
        let shutdown = CancellationToken::new();
        let start = tokio::time::Instant::now();
        let call = async {
            caller
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut text = String::new();
            caller.read_to_string(&mut text).await.unwrap();
            drop(caller);
            shutdown.cancel();
            text
        };
        let server = run(
            listener,
            service_fn(|request| Box::pin(ok(request))),
            ServerLimits::default(),
            shutdown.clone(),
            Duration::from_secs(9),
        );
        let (text, ()) = tokio::join!(call, server);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert_eq!(
            start.elapsed(),
            2 * ACCEPT_BACK_OFF,
            "it backs off only where others have to end first"
        );
    }

    /// Row 101: a caller who comes back at once after a refusal is read after a rest, and nobody else.
    #[tokio::test(start_paused = true)]
    async fn who_was_refused_rests() {
        async fn refuse_some(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
            let mut response = Response::new(Full::from("ok"));
            if request.uri().path() == "/refused" {
                *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                response.headers_mut().insert(http::header::RETRY_AFTER, 1.into());
            }
            Ok(response)
        }
        let (mut refused, one) = tokio::io::duplex(4096);
        let (mut served, other) = tokio::io::duplex(4096);
        let shutdown = CancellationToken::new();
        let calls = async {
            let ask = async |caller: &mut DuplexStream, path: &str| {
                let before = tokio::time::Instant::now();
                let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
                caller.write_all(head.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"\r\n\r\nok") {
                    caller.read_buf(&mut answer).await.unwrap();
                }
                before.elapsed()
            };
            let at_once = Duration::ZERO;
            assert_eq!(ask(&mut refused, "/refused").await, at_once, "a refusal does not wait");
            assert_eq!(ask(&mut served, "/").await, at_once);
            assert_eq!(ask(&mut served, "/").await, at_once, "who was served does not wait either");
            let rested = ask(&mut refused, "/").await;
            assert!(rested > at_once && rested < Duration::from_millis(10), "{rested:?}");
            assert_eq!(ask(&mut refused, "/").await, at_once, "once");
            drop((refused, served));
            shutdown.cancel();
        };
        let server = run(
            Scripted([Ok(one), Ok(other)].into()),
            service_fn(|request| Box::pin(refuse_some(request))),
            ServerLimits::default(),
            shutdown.clone(),
            Duration::from_secs(9),
        );
        tokio::join!(calls, server);
    }
}
