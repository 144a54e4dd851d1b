//! Sends one request to a vendor once, and reads the answer to its end within the limits.
//!
//! **Shape**: `UpstreamRequest { method, target, headers, body }` -> `Exchange { reply, elapsed }`.
//!
//! **Invariants**
//! - A request is written at most once. The pool's own re-sending is switched off, redirects are answers like any
//!   other, and an expired attempt closes its connection.
//! - What goes out is the route's request, `Host`, `Via`, the framing and the credentials; nothing else. Credentials
//!   come last and no route header can stand in their place.
//! - Dropping the future of [`UpstreamClient::send`] closes the connection; it does not undo what the vendor began. Who
//!   drops it after the hand-over has to say `unknown`.
//!
//! **Errors**
//!
//! | what happens | reason | outcome |
//! |---|---|---|
//! | the deadline has passed, or passes while connecting | `DEADLINE_EXCEEDED` | not done |
//! | no address, refused, no route, connect limit | `VENDOR_UNREACHABLE` | not done |
//! | no secure channel | `VENDOR_TLS_FAILED` | not done |
//! | a kept connection breaks before it took the request | `VENDOR_UNREACHABLE` | not done |
//! | no complete answer within the attempt's limit | `VENDOR_TIMEOUT` | unknown |
//! | reset or end before the answer is complete | `VENDOR_CONNECTION_LOST` | unknown |
//! | head or chunk that is not HTTP, head or body too large, unasked upgrade, flood of interim answers | `BAD_VENDOR_RESPONSE` | unknown |

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{Method, Request, Response, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::connect::Connector;
use super::credentials::Applied;
use super::failure;
use super::network::{Network, System};
use crate::layer::Exchange;
use crate::model::call::{UpstreamReply, UpstreamRequest};
use crate::model::error::GatewayError;
use crate::route::{Connection, Endpoint, Limits};

/// The client of one provider. Cloning shares the pool.
#[derive(Clone)]
pub struct UpstreamClient {
    client: Client<Connector, Full<Bytes>>,
    endpoint: Endpoint,
    credentials: Option<(HeaderName, HeaderValue)>,
    /// What only credentials may set.
    reserved: Vec<HeaderName>,
    via: HeaderValue,
    limits: Limits,
}

/// Why a client cannot be made. Nothing has been sent.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The TLS settings cannot be used.
    #[error("tls cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The pseudonym cannot stand in a header.
    #[error("`{0}` cannot stand in a Via header")]
    Via(String),
}

impl UpstreamClient {
    /// A client of one provider that trusts whom its connection says; `via` is the pseudonym in the `Via` header.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when `via` is not a token or TLS cannot be set up.
    pub fn new(connection: &Connection, limits: &Limits, via: &str) -> Result<Self, ClientError> {
        Self::over(Arc::new(System), connection, limits, via)
    }

    /// As [`Self::new`], over this network.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn over(network: Arc<dyn Network>, connection: &Connection, limits: &Limits, via: &str) -> Result<Self, ClientError> {
        Self::build(network, connection, limits, via, connection.trust.client_config()?)
    }

    /// A client with TLS settings of its own, made with [`trusting`](super::tls::trusting).
    ///
    /// # Errors
    ///
    /// [`ClientError`] when `via` is not a token.
    pub fn with_tls(connection: &Connection, limits: &Limits, via: &str, tls: rustls::ClientConfig) -> Result<Self, ClientError> {
        Self::build(Arc::new(System), connection, limits, via, tls)
    }

    fn build(
        network: Arc<dyn Network>,
        connection: &Connection,
        limits: &Limits,
        via: &str,
        tls: rustls::ClientConfig,
    ) -> Result<Self, ClientError> {
        // A token is what a header name is made of (RFC 9110 sections 5.6.2 and 7.6.3).
        let token = HeaderName::from_bytes(via.as_bytes()).is_ok();
        let via = HeaderValue::from_str(&format!("1.1 {via}"))
            .ok()
            .filter(|_| token)
            .ok_or_else(|| ClientError::Via(via.to_owned()))?;
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(if limits.close { 0 } else { limits.in_flight })
            .retry_canceled_requests(false)
            .http1_max_buf_size(MAX_REPLY_HEAD_BYTES)
            .http1_max_headers(MAX_REPLY_HEADERS)
            .build(Connector::new(
                network,
                tls,
                connection.trust.server_name.clone(),
                limits.connect_timeout,
            ));
        let credentials = connection.credentials.as_header().map(|(name, value)| {
            let mut value = value.clone();
            value.set_sensitive(true);
            (name, value)
        });
        Ok(Self {
            client,
            endpoint: connection.endpoint.clone(),
            credentials,
            reserved: connection.credentials.header_names(),
            via,
            limits: limits.clone(),
        })
    }

    /// Sends the request once, with the fixed credentials of the connection, and reads the whole answer, whatever its status.
    ///
    /// The connection has `limits.connect_timeout`, the exchange on it `limits.timeout`; the deadline cuts both.
    ///
    /// # Errors
    ///
    /// As in the table of this module.
    pub async fn send(&self, request: UpstreamRequest, deadline: Instant) -> Result<Exchange, GatewayError> {
        self.send_with(request, self.fixed(), deadline).await
    }

    /// The credentials of the connection, where they are fixed.
    pub(super) fn fixed(&self) -> Applied {
        self.credentials.clone().into_iter().collect()
    }

    /// Sends the request once with these credentials and no others.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub(super) async fn send_with(&self, request: UpstreamRequest, applied: Applied, deadline: Instant) -> Result<Exchange, GatewayError> {
        let start = Instant::now();
        if deadline <= start {
            return Err(failure::out_of_time());
        }
        let mut request = self.to_http(request, applied).map_err(Unsendable::into_error)?;
        let mut connection = capture_connection(&mut request);
        let flood = InterimLimit::watch(&mut request);
        let exchange = async {
            let response = self.client.request(request).await.map_err(Broken::Attempt)?;
            self.read(response).await.map_err(Broken::Answer)
        };
        tokio::pin!(exchange);

        // Connecting. The order matters: an exchange that got its connection in this very poll goes on below.
        let finished = tokio::select! {
            biased;
            finished = &mut exchange => Some(finished),
            _connected = connection.wait_for_connection_metadata() => None,
            () = sleep_until(deadline) => return Err(failure::out_of_time()),
        };
        // Handed over: from here on the vendor may have heard of it.
        let finished = match finished {
            Some(finished) => finished,
            None => {
                let limit = self.limits.timeout.min(deadline.saturating_duration_since(Instant::now()));
                tokio::select! {
                    biased;
                    finished = timeout(limit, &mut exchange) => finished.map_err(|_| failure::timed_out(limit))?,
                    () = flood.exceeded() => return Err(failure::not_an_answer("the vendor sends interim answers without end")),
                }
            }
        };
        match finished {
            Ok(reply) => Ok(Exchange {
                reply,
                elapsed: start.elapsed(),
            }),
            Err(Broken::Answer(error)) => {
                // Where one answer made no sense, the next one on the same connection would not be believed.
                if let Some(connection) = connection.connection_metadata().as_ref() {
                    connection.poison();
                }
                Err(error)
            }
            Err(Broken::Attempt(error)) => {
                let handed_over = connection.connection_metadata().is_some();
                Err(failure::of_attempt(&error, handed_over))
            }
        }
    }

    fn to_http(&self, request: UpstreamRequest, applied: Applied) -> Result<Request<Full<Bytes>>, Unsendable> {
        let UpstreamRequest {
            method,
            target,
            mut headers,
            body,
        } = request;
        if let Some(name) = headers.keys().find(|name| self.is_reserved(name)) {
            return Err(Unsendable::Header(name.clone()));
        }
        if !target.starts_with('/') {
            return Err(Unsendable::Target("no leading slash".to_owned()));
        }
        let uri = Uri::builder()
            .scheme(self.endpoint.scheme.clone())
            .authority(self.endpoint.authority.clone())
            .path_and_query(format!("{}{target}", self.endpoint.prefix))
            .build()
            .map_err(|error| Unsendable::Target(error.to_string()))?;
        headers.insert(VIA, self.via.clone());
        // hyper leaves the length of an empty body out; RFC 9110 section 8.6 wants it where the method gives a body meaning.
        if body.is_empty() && matches!(method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if self.limits.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        for (name, value) in applied {
            headers.insert(name, value);
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Headers that frame the message, tell the way or prove who asks are not for routes to set.
    fn is_reserved(&self, name: &HeaderName) -> bool {
        RESERVED.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection") || self.reserved.contains(name)
    }

    async fn read(&self, response: Response<Incoming>) -> Result<UpstreamReply, GatewayError> {
        let (head, body) = response.into_parts();
        if head.status.is_informational() {
            return Err(failure::not_an_answer(
                "the vendor switched to another protocol without being asked",
            ));
        }
        // hyper bounds its buffer only roughly: it may read, and then accept, up to twice of that.
        if head
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum::<usize>()
            > MAX_REPLY_HEAD_BYTES
        {
            return Err(failure::not_an_answer("the head of the vendor's answer is too large"));
        }
        // Two ways to say where the answer ends are a sign of something in between that sees another end (RFC 9112 section 6.3).
        if head.headers.contains_key(CONTENT_LENGTH) && head.headers.contains_key(TRANSFER_ENCODING) {
            return Err(failure::not_an_answer(
                "the vendor's answer has both a length and a transfer coding",
            ));
        }
        let limit = self.limits.max_reply_bytes;
        if usize::try_from(body.size_hint().lower()).map_or(true, |announced| announced > limit) {
            return Err(failure::too_large(limit));
        }
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                failure::too_large(limit)
            } else {
                failure::of_body(error.as_ref())
            }
        })?;
        Ok(UpstreamReply {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

impl fmt::Debug for UpstreamClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The credentials print their header's name and `Sensitive`.
        let Self {
            client: _,
            endpoint,
            credentials,
            reserved: _,
            via,
            limits,
        } = self;
        f.debug_struct("UpstreamClient")
            .field("endpoint", endpoint)
            .field("credentials", credentials)
            .field("via", via)
            .field("limits", limits)
            .finish_non_exhaustive()
    }
}

/// Why a mapped request is not sent.
enum Unsendable {
    /// It sets a header that only the gateway may set.
    Header(HeaderName),
    /// Its target is no path and query.
    Target(String),
}

impl Unsendable {
    fn into_error(self) -> GatewayError {
        match self {
            Self::Header(name) => failure::unsendable("the mapping sets a header that only the gateway may set")
                .with_internal(format!("reserved header {name}")),
            Self::Target(why) => failure::unsendable("the mapping made a target that is no path").with_internal(format!("target: {why}")),
        }
    }
}

/// Where an exchange broke.
enum Broken {
    /// Before the head of the answer.
    Attempt(Error),
    /// After it; classified where it happened.
    Answer(GatewayError),
}

/// Counts interim answers (1xx), of which a vendor may send any number before the real one.
struct InterimLimit(Arc<Notify>);

impl InterimLimit {
    fn watch(request: &mut Request<Full<Bytes>>) -> Self {
        let exceeded = Arc::new(Notify::new());
        let notify = Arc::clone(&exceeded);
        let seen = AtomicUsize::new(0);
        hyper::ext::on_informational(request, move |_| {
            if seen.fetch_add(1, Ordering::Relaxed) == MAX_INTERIM_ANSWERS {
                notify.notify_one();
            }
        });
        Self(exceeded)
    }

    async fn exceeded(&self) {
        self.0.notified().await;
    }
}

/// What a route cannot set: framing, hop-by-hop fields, and codings that taskgate does not undo.
const RESERVED: [HeaderName; 11] = [
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    VIA,
];

/// Common servers keep an idle connection for 60 seconds (nginx 75, Tomcat 20 to 60, Apache 5); giving it up before most of
/// them do makes it rare that a request meets a connection that the vendor is closing.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Heads of real answers are below 2 KiB; this is also the size of the read buffer, so it bounds memory per connection.
const MAX_REPLY_HEAD_BYTES: usize = 64 * 1024;

/// Real answers have about ten to thirty headers.
const MAX_REPLY_HEADERS: usize = 128;

/// 100, 102 and 103 come once or twice; progress reports of a patient server may be a few more.
const MAX_INTERIM_ANSWERS: usize = 32;
