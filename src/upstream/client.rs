//! Sends one request to a vendor once, and reads the answer to its end within the limits.
//!
//! **Shape**: `UpstreamRequest { method, target, headers, body }` -> `Exchange { reply, elapsed }`.
//!
//! **Invariants**
//! - An attempt writes the request at most once. Redirects are answers like any other, and an expired attempt closes its
//!   connection. Whether there is another attempt is the ladder's to say (`ladder.rs`).
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
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::connect::Connector;
use super::credentials::Applied;
use super::failure::{self, Missed};
use super::network::{Network, System};
use super::pool::{Broken, MAX_REPLY_HEAD_BYTES, Pool};
use crate::layer::Exchange;
use crate::model::call::{UpstreamReply, UpstreamRequest};
use crate::model::error::GatewayError;
use crate::route::{Connection, Endpoint, Limits};

/// The client of one provider. Cloning shares the pool.
#[derive(Clone)]
pub struct UpstreamClient {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    endpoint: Endpoint,
    credentials: Option<(HeaderName, HeaderValue)>,
    /// What only credentials may set.
    reserved: Vec<HeaderName>,
    via: HeaderValue,
    host: HeaderValue,
    limits: Limits,
    seed: u64,
}

/// A request that can be sent, as often as it has to.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    request: &'a UpstreamRequest,
    uri: Uri,
    applied: Applied,
}

/// On which connection an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// On one that was kept, where there is one.
    Any,
    /// On a new one; those that were kept are closed.
    New,
}

/// Why a client cannot be made. Nothing has been sent.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host of the endpoint cannot stand in a header.
    #[error("`{0}` cannot stand in a Host header")]
    Host(String),
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
        let endpoint = connection.endpoint.clone();
        let host = host(&endpoint).ok_or_else(|| ClientError::Host(endpoint.authority.to_string()))?;
        let credentials = connection.credentials.as_header().map(|(name, value)| {
            let mut value = value.clone();
            value.set_sensitive(true);
            (name, value)
        });
        let name = connection.trust.server_name.clone();
        let seed = network.seed();
        let connector = Connector::new(network, &endpoint, tls, name, limits.connect_timeout);
        Ok(Self {
            inner: Arc::new(Inner {
                pool: Pool::new(connector, if limits.close { 0 } else { limits.in_flight }),
                endpoint,
                credentials,
                reserved: connection.credentials.header_names(),
                via,
                host,
                limits: limits.clone(),
                seed,
            }),
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
        let prepared = self.prepare(&request, self.fixed())?;
        let attempted = self.attempt(&prepared, deadline, Way::Any, Instant::now()).await;
        attempted.map_err(|missed| missed.error)
    }

    /// The credentials of the connection, where they are fixed.
    pub(super) fn fixed(&self) -> Applied {
        self.inner.credentials.clone().into_iter().collect()
    }

    /// Where chance begins, as its network says.
    pub(super) fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// The request, checked, with these credentials and no others.
    ///
    /// # Errors
    /// `MAPPING_FAILED` where the request is none that can be sent.
    pub(super) fn prepare<'a>(&self, request: &'a UpstreamRequest, applied: Applied) -> Result<Prepared<'a>, GatewayError> {
        check_headers(&request.headers, &self.inner.reserved)?;
        let uri = uri(&self.inner.endpoint, &request.target).map_err(Unsendable::into_error)?;
        Ok(Prepared { request, uri, applied })
    }

    /// The request as it goes out.
    fn to_http(&self, Prepared { request, uri, applied }: &Prepared<'_>) -> Request<Full<Bytes>> {
        let inner = &*self.inner;
        let UpstreamRequest { method, body, .. } = request;
        let mut http = Request::new(Full::new(body.clone()));
        *http.method_mut() = method.clone();
        *http.uri_mut() = uri.clone();
        let headers = http.headers_mut();
        headers.reserve(request.headers.len() + 4 + applied.len());
        for (name, value) in &request.headers {
            headers.append(name.clone(), value.clone());
        }
        headers.insert(VIA, inner.via.clone());
        // hyper leaves the length of an empty body out; RFC 9110 section 8.6 wants it where the method gives a body meaning.
        if body.is_empty() && matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if inner.limits.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        for (name, value) in applied {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(HOST, inner.host.clone());
        http
    }

    /// Sends the request once, beginning `start`, which is now.
    ///
    /// # Errors
    /// [`Missed`], with an error as in the table of this module.
    pub(super) async fn attempt(&self, request: &Prepared<'_>, deadline: Instant, way: Way, start: Instant) -> Result<Exchange, Missed> {
        let Inner { pool, limits, .. } = &*self.inner;
        if deadline <= start {
            return Err(Missed::own(failure::out_of_time()));
        }
        let kept = match way {
            Way::Any => pool.take(start),
            Way::New => {
                pool.clear();
                None
            }
        };
        let was_kept = kept.is_some();
        let (mut connection, connected) = match kept {
            Some(kept) => (kept, start),
            // Boxed: most have one that was kept.
            None => match Box::pin(pool.connect(deadline)).await {
                Ok(new) => (new, Instant::now()),
                Err(_) if Instant::now() >= deadline => return Err(Missed::own(failure::out_of_time())),
                Err(failure) => return Err(Missed::connect(&failure)),
            },
        };
        let limit = limits.timeout.min(deadline.saturating_duration_since(connected));
        let fits = |response: &Response<Incoming>| self.fits(response);
        let exchanged = connection
            .exchange(self.to_http(request), connected + limit, limits.max_reply_bytes, fits)
            .await;
        match exchanged {
            Ok(response) => {
                let end = Instant::now();
                pool.give(connection, end);
                let (head, body) = response.into_parts();
                Ok(Exchange {
                    reply: UpstreamReply {
                        status: head.status,
                        headers: head.headers,
                        body,
                    },
                    elapsed: end.saturating_duration_since(start),
                })
            }
            Err(broken) => {
                // Cut short by the caller's deadline, silence says little about the vendor.
                let cut = limit < limits.timeout.min(SILENCE);
                Err(Missed::exchange(broken, was_kept, limit, cut, limits.max_reply_bytes))
            }
        }
    }

    /// Is it a head that an answer to the request can have?
    fn fits(&self, response: &Response<Incoming>) -> Result<(), Broken> {
        let (status, headers) = (response.status(), response.headers());
        if status.is_informational() {
            return Err(Broken::Unfit("the vendor switched to another protocol without being asked"));
        }
        // hyper bounds its buffer only roughly: it may read, and then accept, up to twice of that.
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if size > MAX_REPLY_HEAD_BYTES {
            return Err(Broken::Unfit("the head of the vendor's answer is too large"));
        }
        // Two ways to say where the answer ends are a sign of something in between that sees another end (RFC 9112 section 6.3).
        if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
            return Err(Broken::Unfit("the vendor's answer has both a length and a transfer coding"));
        }
        let announced = usize::try_from(response.body().size_hint().lower());
        if announced.map_or(true, |announced| announced > self.inner.limits.max_reply_bytes) {
            return Err(Broken::TooLarge);
        }
        Ok(())
    }
}

/// Can the request be sent to this endpoint, with credentials in these headers?
///
/// # Errors
/// `MAPPING_FAILED` where it cannot.
pub(super) fn check(request: &UpstreamRequest, endpoint: &Endpoint, reserved: &[HeaderName]) -> Result<(), GatewayError> {
    check_headers(&request.headers, reserved)?;
    uri(endpoint, &request.target).map(drop).map_err(Unsendable::into_error)
}

/// The path of a request, below the endpoint's.
fn uri(endpoint: &Endpoint, target: &str) -> Result<Uri, Unsendable> {
    if !target.starts_with('/') {
        return Err(Unsendable::Target("no leading slash".to_owned()));
    }
    let mut whole = String::with_capacity(endpoint.prefix.len() + target.len());
    whole.push_str(&endpoint.prefix);
    whole.push_str(target);
    let path = PathAndQuery::from_maybe_shared(Bytes::from(whole)).map_err(|error| Unsendable::Target(error.to_string()))?;
    Ok(Uri::from(path))
}

/// Headers that frame the message, tell the way or prove who asks are not for routes to set.
fn check_headers(headers: &HeaderMap, reserved: &[HeaderName]) -> Result<(), GatewayError> {
    let is_reserved = |name: &HeaderName| {
        RESERVED.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection") || reserved.contains(name)
    };
    match headers.keys().find(|name| is_reserved(name)) {
        Some(name) => Err(Unsendable::Header(name.clone()).into_error()),
        None => Ok(()),
    }
}

/// The value of `Host`: without the port where it is the scheme's own (RFC 9110 section 4.2.3).
fn host(endpoint: &Endpoint) -> Option<HeaderValue> {
    let default = if endpoint.scheme == Scheme::HTTPS { 443 } else { 80 };
    let authority = &endpoint.authority;
    let text = match authority.port_u16() {
        Some(port) if port != default => authority.as_str(),
        Some(_) | None => authority.host(),
    };
    HeaderValue::from_str(text).ok()
}

impl fmt::Debug for UpstreamClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The credentials print their header's name and `Sensitive`.
        let inner = &*self.inner;
        f.debug_struct("UpstreamClient")
            .field("endpoint", &inner.endpoint)
            .field("credentials", &inner.credentials)
            .field("via", &inner.via)
            .field("limits", &inner.limits)
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

/// A healthy vendor answers within a second or two; who does not for so long is silent, even where the call had no more time.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
