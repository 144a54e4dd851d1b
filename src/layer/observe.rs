//! Observe: the outermost stage. Gives each request its id and deadline, and turns [`Spoken`] into HTTP, one log line and
//! the request metrics. Nothing leaves taskgate without passing here.
//!
//! **Invariants**: a caller's `X-Request-Id` is kept only when it is short and plain; every answer carries the id; answers
//! have the headers of the list below and no others.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, VARY, VIA,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::Instant;

use super::prefer::{self, PREFERENCE_APPLIED};
use super::quota::{RATELIMIT, RATELIMIT_POLICY, RateLimits, Said};
use super::rescue::Spoken;
use super::resolve::OPERATION;
use super::trace::{Trace, TraceIds};
use super::{CallContext, CallCredentials, Doubt, Stage, request_id};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::negotiation::Coding;
use crate::telemetry::log::{self, RequestRecord};
use crate::telemetry::metrics;
use crate::telemetry::metrics::{InFlight, RequestMeter};

/// The stage.
#[derive(Debug)]
pub struct Observe<S> {
    inner: S,
    deadline: Duration,
    in_flight: InFlight,
    /// Counts the requests that name no route.
    nowhere: RequestMeter,
    rate_limits: RateLimits,
    /// What is said of the way of an answer that a vendor's led to.
    via: Option<HeaderValue>,
}

impl<S> Observe<S> {
    /// Every answer is due this long after the head of its request, says what is left of these limits, and names the gateway as `via`.
    #[must_use]
    pub fn new(deadline: Duration, rate_limits: RateLimits, via: &str, inner: S) -> Self {
        Self {
            inner,
            deadline,
            in_flight: InFlight::default(),
            nowhere: RequestMeter::new(metrics::NONE, metrics::NONE),
            rate_limits,
            via: HeaderValue::from_str(&format!("1.1 {via}")).ok(),
        }
    }

    /// Answers a request, whatever becomes of it.
    pub async fn answer<B>(&self, request: Box<Request<B>>) -> Response<Full<Bytes>>
    where
        S: Stage<Box<Request<B>>, Done = Box<Spoken>, Failed = Infallible>,
        B: Send,
    {
        let _under_way = self.in_flight.begins();
        let begun = Instant::now();
        let is_head = request.method() == Method::HEAD;
        let coding = Coding::asked(request.headers());
        let context = Arc::new(CallContext {
            request_id: request_id(request.headers()),
            trace: Trace::of(request.headers()),
            deadline: begun + self.deadline,
            credentials: CallCredentials::default(),
            doubt: Doubt::default(),
            claim: None,
            member: None,
        });
        let Ok(spoken) = self.inner.run(&context, request).await;
        self.record(&spoken, &context, begun.elapsed());
        let via = self.via.as_ref().filter(|_| spoken.vendor.is_some());
        let limits = spoken.trail.route.as_ref().and_then(|route| self.rate_limits.of(route));
        let mut response = to_http(spoken, &context.request_id, coding);
        if let Some(via) = via {
            response.headers_mut().insert(VIA, via.clone());
        }
        if let Some(said) = limits {
            add_limits(response.headers_mut(), said);
        }
        if is_head { without_content(response) } else { response }
    }

    fn record(&self, spoken: &Spoken, context: &CallContext, elapsed: Duration) {
        let trail = &spoken.trail;
        // Nobody else knows of a trace that began here and stayed here.
        let is_told = trail.route.as_ref().is_some_and(|route| route.trace) || trail.many.as_ref().is_some_and(|many| many.traced);
        let is_known = context.trace.is_callers() || is_told;
        let meter = trail.meter.as_deref().unwrap_or(&self.nowhere);
        let reason = spoken.error.as_ref().map(|error| error.reason);
        meter.ended(spoken.outcome, reason, elapsed);
        if trail.drift {
            meter.drifted();
        }
        let ids = is_known.then(|| context.trace.ids());
        log_line(spoken, &context.request_id, ids, elapsed);
    }
}

/// Writes the line of a call, or of one of many.
pub(super) fn log_line(spoken: &Spoken, request_id: &str, trace: Option<TraceIds>, elapsed: Duration) {
    let trail = &spoken.trail;
    let (provider, action) = match (&trail.route, &trail.many) {
        (Some(route), _) if trail.resumed => (Some(route.provider.as_str()), Some(OPERATION)),
        (Some(route), _) => (Some(route.provider.as_str()), Some(route.action.as_str())),
        (None, Some(many)) => (many.provider.as_deref(), Some(many.action.as_str())),
        (None, None) => (None, None),
    };
    log::request_line(&RequestRecord {
        request_id,
        trace,
        validate_only: trail.validated_only,
        provider,
        action,
        id: trail.id.as_deref(),
        outcome: spoken.outcome.as_str(),
        reason: spoken.error.as_ref().map(|error| error.reason.code()),
        status: spoken.status,
        duration: elapsed,
        vendor_status: spoken.vendor.as_ref().map(|(status, _)| *status),
        vendor_duration: trail.vendor_elapsed,
        vendor_request_id: spoken.vendor.as_ref().and_then(|(_, id)| id.as_deref()),
        caller_reason: trail.caller_reason.as_deref(),
        error: spoken.error.as_ref().and_then(|error| error.internal.as_deref()),
    });
}

/// The caller's id where it is short and plain, a fresh one otherwise.
pub(super) fn request_id(headers: &HeaderMap) -> Arc<str> {
    let mut given = headers.get_all(X_REQUEST_ID).iter();
    match (given.next().and_then(|value| value.to_str().ok()), given.next()) {
        (Some(id), None) if is_plain(id) => Arc::from(id),
        _ => request_id::fresh(),
    }
}

fn is_plain(id: &str) -> bool {
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A fresh id for a request; sorts by time.
#[must_use]
pub fn new_request_id() -> String {
    request_id::fresh().as_ref().to_owned()
}

fn to_http(mut spoken: Box<Spoken>, request_id: &str, coding: Coding) -> Response<Full<Bytes>> {
    let content_type = if spoken.error.is_some() { PROBLEM_JSON } else { JSON };
    let (packed, varies) = (coding.pack(&spoken.document), coding.varies(&spoken.document));
    let is_packed = packed.is_some();
    let mut response = Response::new(packed.map_or_else(|| Full::from(std::mem::take(&mut spoken.document)), Full::from));
    *response.status_mut() = StatusCode::from_u16(spoken.status).expect("the tables of answers and reasons have valid statuses");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(X_REQUEST_ID, id);
    }
    if is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if varies {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    if let Some(applied) = prefer::applied(spoken.trail.waited, spoken.trail.respond_async && spoken.status == 202) {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    if let Some(error) = &spoken.error {
        add_error_headers(headers, error);
    }
    // Few answers have more.
    if !spoken.headers.is_empty() {
        headers.extend(std::mem::take(&mut spoken.headers));
    }
    response
}

/// The answer to a HEAD: the head of that to a GET (RFC 9110 section 9.3.2).
pub(crate) fn without_content(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let length = http_body::Body::size_hint(response.body()).lower();
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    *response.body_mut() = Full::default();
    response
}

/// What is left of the limits. Somebody may have taken the turn that a refusal speaks of: `Retry-After` is never the earlier one.
fn add_limits(headers: &mut HeaderMap, Said { policy, left, wait }: Said) {
    headers.insert(RATELIMIT_POLICY, policy);
    headers.insert(RATELIMIT, left);
    let told = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told < rounded_up(wait)) {
        headers.insert(RETRY_AFTER, HeaderValue::from(rounded_up(wait)));
    }
}

/// Whole seconds: a caller that comes back a moment too early comes in vain.
pub(super) fn rounded_up(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

/// `Allow`, `Retry-After` and `Accept-Encoding`, where the error calls for them.
#[cold]
fn add_error_headers(headers: &mut HeaderMap, error: &GatewayError) {
    if let Some(allow) = error.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(after) = error.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(rounded_up(after)));
    }
    if error.reason == Reason::Unauthenticated {
        // RFC 9110 section 15.5.2 wants a challenge; this one names the header that is handed on.
        let header = error.metadata.get("header").and_then(serde_json::Value::as_str).unwrap_or_default();
        if let Ok(challenge) = HeaderValue::from_str(&format!("Passthrough header=\"{header}\"")) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
    }
    if error.reason == Reason::UnsupportedContentEncoding {
        // RFC 9110 section 15.5.16: says that the coding is the fault, not the type.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
}

/// A problem document as a whole answer, for those who have no stack: the admin listener and the wire.
#[must_use]
pub fn problem_response(error: &GatewayError, instance: &str, request_id: &str) -> Response<Full<Bytes>> {
    let spoken = Box::new(Spoken {
        status: error.reason.facts().status,
        document: error.to_problem(instance, None, request_id),
        outcome: error.reason.facts().outcome,
        error: Some(error.clone()),
        vendor: None,
        heard: false,
        trail: super::Trail::default(),
        headers: Vec::new(),
    });
    to_http(spoken, request_id, Coding::Plain)
}

/// The header with the id of the request, on every answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The media type of a problem document (RFC 9457).
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// A UUID has 36 characters; some callers put a name before it.
const MAX_REQUEST_ID: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_ids_are_kept() {
        for (id, kept) in [
            ("a-1_B.2", true),
            ("", false),
            ("a b", false),
            ("x\"y", false),
            ("a/b", false),
            ("0123456789012345678901234567890123456789012345678901234567890123", true),
            ("01234567890123456789012345678901234567890123456789012345678901234", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_str(id).unwrap());
            assert_eq!(&*request_id(&headers) == id, kept, "{id}");
        }
        let mut twice = HeaderMap::new();
        twice.append(X_REQUEST_ID, HeaderValue::from_static("a"));
        twice.append(X_REQUEST_ID, HeaderValue::from_static("a"));
        assert_ne!(&*request_id(&twice), "a");
    }
}
