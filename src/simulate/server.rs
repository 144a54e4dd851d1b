//! One vendor behind one loopback port: reads requests, counts them, plays the armed fault and sends what the vendor answers.
//!
//! **Invariants.** A call is counted when its head has been read, before anything can fail; control calls under `/_simulator/` are never
//! counted and never meet a fault. A vendor sees complete requests only. HTTP/1.1 only, as the vendors: an HTTP/2 preface ends the
//! connection.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::clock::Clock;
use super::control;
use super::faults::{Effect, ErrorBody, Fault, FaultKind, Switch};
use super::vendor::{Vendor, VendorReply, VendorRequest};
use super::wire::{ReplyBody, Tap, Wire};

/// One vendor with its counters and its fault, shared by all of its connections.
pub(super) struct Desk {
    pub(super) vendor: Arc<dyn Vendor>,
    pub(super) switch: Switch,
    pub(super) clock: Arc<Clock>,
    calls: AtomicU64,
    seen: Mutex<VecDeque<SeenRequest>>,
    visitors: Visitors,
    /// Sessions: a kept connection stays one between its requests.
    sessions: Visitors,
}

/// How many visits there are, by `Authorization`.
type Visitors = Arc<Mutex<BTreeMap<Vec<u8>, usize>>>;

/// The session of a kept connection.
type Seat = Mutex<Option<Visit>>;

/// A request that a vendor has seen, kept for tests that compare it with the vendor's manual.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// The method.
    pub method: Method,
    /// Path and query exactly as they came.
    pub target: String,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Counts one request as being answered, or one session as open, until it is dropped.
pub(super) struct Visit {
    visitors: Visitors,
    user: Vec<u8>,
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection ends without an answer")]
struct NoAnswer;

impl Desk {
    pub(super) fn new(vendor: Arc<dyn Vendor>, clock: Arc<Clock>) -> Self {
        Self {
            vendor,
            clock,
            switch: Switch::default(),
            calls: AtomicU64::new(0),
            seen: Mutex::default(),
            visitors: Arc::default(),
            sessions: Arc::default(),
        }
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Acquire)
    }

    /// The latest requests, oldest first.
    pub(super) fn seen(&self) -> Vec<SeenRequest> {
        held(&self.seen).iter().cloned().collect()
    }

    /// Back to the start state; the armed fault stays.
    pub(super) fn reset(&self) {
        self.vendor.reset();
        self.calls.store(0, Ordering::Release);
        held(&self.seen).clear();
    }

    fn record(&self, request: &VendorRequest) {
        let mut seen = held(&self.seen);
        if seen.len() == MAX_SEEN {
            seen.pop_front();
        }
        seen.push_back(SeenRequest {
            method: request.method.clone(),
            target: request.target.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
        });
    }

    /// A session ends with its request, or with the connection when that is kept.
    fn sit_down(&self, user: &[u8], headers: &HeaderMap, seat: &Seat) -> (Option<Visit>, usize) {
        let mut seat = held(seat);
        // What was kept for an earlier request of this connection does not count twice.
        *seat = None;
        let (visit, count) = Visit::of(&self.sessions, user);
        let closes = headers
            .get(CONNECTION)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
        if closes {
            (Some(visit), count)
        } else {
            *seat = Some(visit);
            (None, count)
        }
    }

    async fn exchange(
        self: Arc<Self>,
        tap: Arc<Tap>,
        seat: Arc<Seat>,
        request: Request<Incoming>,
    ) -> Result<Response<ReplyBody>, NoAnswer> {
        let (head, body) = request.into_parts();
        if head.uri.path().starts_with(control::PREFIX) {
            let body = read(body).await?.unwrap_or_default();
            return Ok(send(control::answer(&self, &head.method, head.uri.path(), &body)));
        }
        self.calls.fetch_add(1, Ordering::AcqRel);
        let user = head.headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes()).to_vec();
        let (visit, at_once) = Visit::of(&self.visitors, &user);
        let (session, sessions) = self.sit_down(&user, &head.headers, &seat);
        let Some(body) = read(body).await? else {
            return Ok(send(VendorReply::empty(StatusCode::PAYLOAD_TOO_LARGE)));
        };
        let request = VendorRequest {
            target: head
                .uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), |target| target.as_str().to_owned()),
            origin: origin(&head.headers),
            method: head.method,
            headers: head.headers,
            body,
            at_once,
            sessions,
        };
        self.record(&request);
        let response = match self.switch.take(request.path()) {
            Some(fault) => play(&fault, self.vendor.as_ref(), &request, &tap).await?,
            None if request.path() == LOGIN_PATH => send(VendorReply::html(StatusCode::OK, LOGIN_PAGE)),
            None => send(self.vendor.answer(&request)),
        };
        Ok(response.map(|body| body.during((visit, session))))
    }
}

impl Visit {
    /// One more visit, and how many there are with it.
    fn of(visitors: &Visitors, user: &[u8]) -> (Self, usize) {
        let mut held = held(visitors);
        let count = held.entry(user.to_vec()).or_insert(0);
        *count += 1;
        let visit = Self {
            visitors: Arc::clone(visitors),
            user: user.to_vec(),
        };
        (visit, *count)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut visitors = held(&self.visitors);
        if let Some(count) = visitors.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                visitors.remove(&self.user);
            }
        }
    }
}

/// Binds a loopback address.
///
/// # Errors
/// `InvalidInput` for an address that other machines could reach, and whatever the system says about the port.
pub(super) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_loopback() {
        let refusal = format!("simulators listen on loopback only, and {address} is not loopback");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, refusal));
    }
    TcpListener::bind(address).await
}

/// Accepts connections until told to stop, and returns when the last connection is gone.
pub(super) async fn serve(listener: TcpListener, desk: Arc<Desk>, mut stop: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Also when the sender is gone, which is an owner that was dropped without a shutdown.
            _ = stop.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&desk)));
                }
                // Out of file descriptors, or a caller that left early: both pass.
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, desk: Arc<Desk>) {
    let tap = Arc::<Tap>::default();
    // Dripped bytes are to leave one by one.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Wire::new(stream, Arc::clone(&tap)));
    let seat = Arc::<Seat>::default();
    let service = service_fn(|request| Arc::clone(&desk).exchange(Arc::clone(&tap), Arc::clone(&seat), request));
    // Every error here is a caller that left, or a fault that was asked for.
    let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(io, service).await;
}

/// Answers with the fault in place of, or around, what the vendor answers.
async fn play(fault: &Fault, vendor: &dyn Vendor, request: &VendorRequest, tap: &Arc<Tap>) -> Result<Response<ReplyBody>, NoAnswer> {
    let answer = match (fault.effect, fault.kind) {
        (Effect::Applied, _) | (Effect::None, FaultKind::Drip { .. } | FaultKind::Latency { .. }) => vendor.answer(request),
        (Effect::None, _) => vendor.error(request, StatusCode::SERVICE_UNAVAILABLE),
    };
    let response = match fault.kind {
        FaultKind::Cut => {
            let half = answer.body.slice(..answer.body.len() / 2);
            let declared = answer.body.len().max(MISSING_BYTES);
            early(answer, declared, ReplyBody::early(half, Some(Arc::clone(tap))))
        }
        FaultKind::Drip { pause } => {
            let body = ReplyBody::drip(&answer.body, pause);
            send(answer).map(|_| body)
        }
        FaultKind::Empty => send(VendorReply::empty(StatusCode::OK)),
        FaultKind::Failure => send(vendor.failure(request)),
        FaultKind::Garbage => {
            tap.send_instead(Bytes::from_static(GARBAGE));
            send(VendorReply::empty(StatusCode::OK).header(CONNECTION, HeaderValue::from_static("close")))
        }
        FaultKind::Hang => match std::future::pending::<Infallible>().await {},
        FaultKind::Html { status } => send(VendorReply::html(status, PROXY_PAGE)),
        FaultKind::Latency { delay } => {
            sleep(delay).await;
            send(answer)
        }
        FaultKind::Redirect => {
            send(VendorReply::html(StatusCode::FOUND, LOGIN_PAGE).header(LOCATION, HeaderValue::from_static(LOGIN_PATH)))
        }
        FaultKind::Reset => {
            tap.reset();
            return Err(NoAnswer);
        }
        FaultKind::Status { status, body } => send(match body {
            ErrorBody::Empty => VendorReply::empty(status),
            ErrorBody::Vendor => vendor.error(request, status),
        }),
        FaultKind::Throttle { by } => send(vendor.throttled(request, by)),
        FaultKind::Truncated => {
            let body = answer.body.clone();
            let declared = body.len() + MISSING_BYTES;
            early(answer, declared, ReplyBody::early(body, None))
        }
    };
    Ok(response)
}

fn send(reply: VendorReply) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

fn early(mut reply: VendorReply, declared: usize, body: ReplyBody) -> Response<ReplyBody> {
    reply.headers.insert(CONTENT_LENGTH, declared.into());
    send(reply).map(|_| body)
}

/// The whole body, or none when it is larger than any vendor takes.
async fn read(body: Incoming) -> Result<Option<Bytes>, NoAnswer> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(Some(collected.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(_) => Err(NoAnswer),
    }
}

fn origin(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("http://{host}")
}

/// No code that could panic runs under these locks, so a poisoned one is as good as any.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The API gateway in front of three of the vendors refuses bodies above 12 MB; the others get the same.
const MAX_BODY: usize = 12 * 1024 * 1024;

/// Enough to see what a test has sent, and little enough to forget about under load.
const MAX_SEEN: usize = 64;

/// How long the accept loop waits after an error, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// By how much a `Content-Length` exceeds what is sent.
const MISSING_BYTES: usize = 16;

/// Where a redirect fault points: a client that follows it is seen in the counters and ends with a 200.
const LOGIN_PATH: &str = "/_login";

const LOGIN_PAGE: &str = "<!DOCTYPE html><html><head><title>Login</title></head><body>\
    <form method=\"post\"><input name=\"user\"><input name=\"password\" type=\"password\"></form></body></html>";

const PROXY_PAGE: &str = "<!DOCTYPE html><html><head><title>Load balancer</title></head><body>\
    <h1>The page cannot be shown</h1></body></html>";

const GARBAGE: &[u8] = b"\x16\x03\x01\x00\xffthis is not HTTP\r\n\x00\x01\x02\r\n\r\n";
