//! Admit: HTTP request -> [`TaskCall`], or why not. The only stage that sees the caller's headers and body bytes.
//!
//! **Invariants**: everything about the head is decided before a byte of the body is read; the body is read once, within a
//! size and a time; nothing that the caller says is ignored in silence.

use std::collections::HashSet;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName, VIA};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tower::{Layer, Service};

use super::{BoxFuture, CallContext, Completed, Failed, Staged, prefer, take_ready};
use crate::codec::{Limits, json};
use crate::model::call::TaskCall;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::{path, query};

/// What a request may be.
#[derive(Clone, Debug)]
pub struct AdmitLimits {
    /// Path and query, in bytes.
    pub max_target_bytes: usize,
    /// Header fields.
    pub max_headers: usize,
    /// Names and values of all header fields, in bytes.
    pub max_header_bytes: usize,
    /// The body, in bytes.
    pub max_body_bytes: usize,
    /// For the body to arrive whole, from the end of the head; less where the answer is due before.
    pub body: Duration,
    /// Our own name in `Via`: a request that carries it has been here before.
    pub via: String,
}

impl Default for AdmitLimits {
    fn default() -> Self {
        Self {
            max_target_bytes: MAX_TARGET_BYTES,
            max_headers: MAX_HEADERS,
            max_header_bytes: MAX_HEADER_BYTES,
            max_body_bytes: MAX_BODY_BYTES,
            body: DEFAULT_BODY,
            via: DEFAULT_VIA.to_owned(),
        }
    }
}

/// Makes [`Admit`].
#[derive(Clone, Debug)]
pub struct AdmitLayer {
    limits: Arc<AdmitLimits>,
    passthrough: Arc<HashSet<HeaderName>>,
}

impl AdmitLayer {
    /// Admits within these limits; of the caller's headers those of `passthrough` go on, see [`crate::route::RouteTable`].
    #[must_use]
    pub fn new(limits: AdmitLimits, passthrough: Arc<HashSet<HeaderName>>) -> Self {
        Self {
            limits: Arc::new(limits),
            passthrough,
        }
    }
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Admit<S> {
        Admit {
            inner,
            limits: Arc::clone(&self.limits),
            passthrough: Arc::clone(&self.passthrough),
        }
    }
}

/// The stage.
#[derive(Clone, Debug)]
pub struct Admit<S> {
    inner: S,
    limits: Arc<AdmitLimits>,
    passthrough: Arc<HashSet<HeaderName>>,
}

impl<S, B> Service<(CallContext, Request<B>)> for Admit<S>
where
    S: Service<Staged<TaskCall>, Response = Completed, Error = Box<Failed>> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Completed;
    type Error = Box<Failed>;
    type Future = BoxFuture<Completed, Box<Failed>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, (mut context, request): (CallContext, Request<B>)) -> Self::Future {
        let mut inner = take_ready(&mut self.inner);
        let limits = Arc::clone(&self.limits);
        if !self.passthrough.is_empty() {
            context.credentials.passed = Arc::new(passed(request.headers(), &self.passthrough));
        }
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let path = check_head(&head, &limits)?;
            let bytes = read_body(body, &head.headers, &limits, &context).await?;
            let body = match path.action {
                None if !bytes.is_empty() => return Err(GatewayError::new(Reason::MalformedBody, "a look at a task has no body").into()),
                _ => parse_body(&bytes, &head.headers)?,
            };
            let query = match head.uri.query() {
                Some(query) if path.action.is_none() => query::parse(query)?,
                _ => Vec::new(),
            };
            let wait = prefer::wait(&head.headers).filter(|_| path.action.is_some());
            // A caller who wants to wait has more time for the answer, not for the request.
            let context = CallContext {
                deadline: context.deadline + wait.unwrap_or_default(),
                ..context
            };
            let call = TaskCall {
                provider: path.provider,
                id: path.id,
                action: path.action,
                body,
                query,
                wait,
            };
            inner.call(Staged { context, call }).await
        })
    }
}

/// The headers that are handed on. One that `Connection` names ends here (RFC 9110 section 7.6.1).
fn passed(headers: &HeaderMap, names: &HashSet<HeaderName>) -> HeaderMap {
    let ends_here = |name: &HeaderName| {
        let listed = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        listed
            .flat_map(|list| list.split(','))
            .any(|listed| listed.trim().eq_ignore_ascii_case(name.as_str()))
    };
    let mut passed = HeaderMap::new();
    for name in names.iter().filter(|name| !ends_here(name)) {
        for value in headers.get_all(name) {
            let mut value = value.clone();
            value.set_sensitive(true);
            passed.append(name.clone(), value);
        }
    }
    passed
}

fn check_head(head: &http::request::Parts, limits: &AdmitLimits) -> Result<path::TaskPath, GatewayError> {
    let target_bytes = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target_bytes > limits.max_target_bytes {
        let detail = format!("the request target has more than {} bytes", limits.max_target_bytes);
        return Err(GatewayError::new(Reason::TargetTooLong, detail));
    }
    let header_bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if head.headers.len() > limits.max_headers || header_bytes > limits.max_header_bytes {
        let detail = format!(
            "at most {} header fields with {} bytes are taken",
            limits.max_headers, limits.max_header_bytes
        );
        return Err(GatewayError::new(Reason::HeadersTooLarge, detail));
    }
    if !KNOWN_METHODS.contains(&head.method) && head.method.as_str() != "QUERY" {
        let detail = "this method is not one of RFC 9110; an action on a task is a POST, a look at it a GET";
        return Err(GatewayError::new(Reason::MethodNotImplemented, detail));
    }
    // Before the path: a vendor's path that leads back here is a loop, not an unknown path.
    check_loop(&head.headers, &limits.via)?;
    let path = path::parse(head.uri.path())?;
    let (allowed, allow, detail): (&[Method], _, _) = match &path.action {
        Some(_) => (&[Method::POST], "POST", "an action on a task is a POST"),
        None => (
            &[Method::GET, Method::HEAD],
            "GET, HEAD",
            "a look at a task is a GET; an action has its verb after a colon",
        ),
    };
    if !allowed.contains(&head.method) {
        let mut error = GatewayError::new(Reason::MethodNotAllowed, detail);
        error.allow = Some(allow);
        return Err(error);
    }
    if let Some(query) = head.uri.query().filter(|_| path.action.is_some()) {
        let name = query.split(['&', '=']).next().unwrap_or_default();
        let known_shape = !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let detail = if known_shape {
            format!("there is no query parameter `{name}`")
        } else {
            "an action takes no query".to_owned()
        };
        return Err(GatewayError::new(Reason::InvalidQuery, detail));
    }
    check_promises(&head.headers)?;
    check_expectation(&head.headers)?;
    check_coding(&head.headers)?;
    Ok(path)
}

/// What a caller would rely on, and what is not kept here, is refused rather than ignored.
fn check_promises(headers: &HeaderMap) -> Result<(), GatewayError> {
    if headers.contains_key(IDEMPOTENCY_KEY) {
        let detail = "idempotency keys are not offered: a second call would be a second call";
        return Err(GatewayError::new(Reason::InvalidHeader, detail).with_metadata("header", IDEMPOTENCY_KEY.as_str()));
    }
    Ok(())
}

fn check_expectation(headers: &HeaderMap) -> Result<(), GatewayError> {
    if headers
        .get_all(EXPECT)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(GatewayError::new(
            Reason::ExpectationFailed,
            "the only expectation that can be met is `100-continue`",
        ));
    }
    Ok(())
}

/// A gateway must not forward a message to itself. Source: RFC 9110 section 7.6.3.
fn check_loop(headers: &HeaderMap, name: &str) -> Result<(), GatewayError> {
    let passed_here = |via: &str| via.split(',').any(|hop| hop.split_ascii_whitespace().nth(1) == Some(name));
    if headers.get_all(VIA).iter().any(|value| value.to_str().is_ok_and(passed_here)) {
        let detail = "the request has passed through this gateway before: an endpoint of a provider points back to it";
        return Err(GatewayError::new(Reason::LoopDetected, detail));
    }
    Ok(())
}

fn check_coding(headers: &HeaderMap) -> Result<(), GatewayError> {
    if headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(GatewayError::new(
            Reason::UnsupportedContentEncoding,
            "a request body is sent without a content coding",
        ));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (None, _) => Ok(()),
        (Some(value), None) if value.to_str().is_ok_and(is_json) => Ok(()),
        _ => Err(GatewayError::new(
            Reason::UnsupportedMediaType,
            "a request body is sent with `Content-Type: application/json`",
        )),
    }
}

/// `application/json`, alone or with `charset=utf-8`. Source: RFC 9110 section 8.3.1, RFC 8259 section 8.1.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    is_json
        && parts.all(|parameter| {
            parameter
                .split_once('=')
                .is_some_and(|(name, value)| name.eq_ignore_ascii_case("charset") && value.trim_matches('"').eq_ignore_ascii_case("utf-8"))
        })
}

async fn read_body<B>(body: B, headers: &HeaderMap, limits: &AdmitLimits, context: &CallContext) -> Result<Bytes, GatewayError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let too_large = || {
        let detail = format!("a request body has at most {} bytes", limits.max_body_bytes);
        GatewayError::new(Reason::BodyTooLarge, detail).with_metadata("max_body_bytes", limits.max_body_bytes)
    };
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.max_body_bytes as u64) {
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let due = context.deadline.min(Instant::now() + limits.body);
    let collected = tokio::time::timeout_at(due, Limited::new(Box::pin(body), limits.max_body_bytes).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            Err(GatewayError::new(Reason::MalformedBody, "the request body ended before it was complete").with_internal(error.to_string()))
        }
        Err(_elapsed) => Err(GatewayError::new(Reason::RequestTimeout, "the request body did not arrive in time")),
    }
}

/// No body is an empty request: the everyday call needs none.
fn parse_body(bytes: &Bytes, headers: &HeaderMap) -> Result<Map<String, Value>, GatewayError> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    if !headers.contains_key(CONTENT_TYPE) {
        return Err(GatewayError::new(
            Reason::UnsupportedMediaType,
            "a request body is sent with `Content-Type: application/json`",
        ));
    }
    match json::decode(bytes, &Limits::REQUEST) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(GatewayError::new(Reason::MalformedBody, "a request body is a JSON object")),
        Err(error) => {
            let mut problem = GatewayError::new(Reason::MalformedBody, format!("the request body cannot be taken: {error}"))
                .with_metadata("line", error.line())
                .with_metadata("column", error.column());
            if let Some(pointer) = error.pointer() {
                problem = problem.with_metadata("pointer", pointer);
            }
            Err(problem)
        }
    }
}

/// The methods of RFC 9110 section 9 and RFC 5789: known, whether allowed or not.
const KNOWN_METHODS: [Method; 9] = [
    Method::CONNECT,
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
    Method::TRACE,
];
/// The longest good target is an id of 256 characters, each percent-encoded from four bytes.
const MAX_TARGET_BYTES: usize = 4096;
/// A browser behind two proxies sends about thirty.
const MAX_HEADERS: usize = 64;
/// Room for a large token or cookie of a proxy in front.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// The largest canonical request, 200 clusters with their scan types, has about 30 KiB.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Even the largest body takes less on a line of a megabit a second; who drips holds a place among the calls in flight.
pub const DEFAULT_BODY: Duration = Duration::from_secs(15);
/// draft-ietf-httpapi-idempotency-key-header.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// One name for the whole fleet, so that a loop over another instance is seen as well.
pub const DEFAULT_VIA: &str = "taskgate";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_by_one_table() {
        for (content_type, fits) in [
            ("application/json", true),
            ("APPLICATION/JSON", true),
            ("application/json; charset=utf-8", true),
            ("application/json;charset=\"UTF-8\"", true),
            ("application/json; charset=latin1", false),
            ("application/json;;", false),
            ("application/json; version=1", false),
            ("text/json", false),
            ("application/x-www-form-urlencoded", false),
            ("application/jsonp", false),
        ] {
            assert_eq!(is_json(content_type), fits, "{content_type}");
        }
    }

    #[test]
    fn only_named_headers_are_handed_on_and_stay_secret() {
        let names = HashSet::from([HeaderName::from_static("x-auth-token"), HeaderName::from_static("x-other")]);
        let mut headers = HeaderMap::new();
        headers.insert("x-auth-token", http::HeaderValue::from_static("the-callers"));
        headers.insert("x-other", http::HeaderValue::from_static("hop-by-hop"));
        headers.insert("authorization", http::HeaderValue::from_static("not-named"));
        headers.insert(CONNECTION, http::HeaderValue::from_static("close, X-Other"));
        let passed = passed(&headers, &names);
        assert_eq!(passed.len(), 1);
        assert_eq!(passed["x-auth-token"], "the-callers");
        assert!(!format!("{passed:?}").contains("the-callers"));
    }

    #[test]
    fn loops_are_seen_by_our_name_only() {
        let headers = |via: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(VIA, http::HeaderValue::from_static(via));
            headers
        };
        for (via, passes) in [
            ("1.1 taskgate", false),
            ("1.1 a, 1.1 taskgate (x)", false),
            ("1.1 other", true),
            ("1.1 taskgate2", true),
            ("taskgate", true),
        ] {
            assert_eq!(check_loop(&headers(via), "taskgate").is_ok(), passes, "{via}");
        }
    }
}
