//! Problem documents for what is refused before every stage: as bytes of HTTP/1.1, or as the answer to a request.
//!
//! **Shape**: `GatewayError` -> `HTTP/1.1 400 Bad Request`, `content-type: application/problem+json`, `x-request-id`, the document.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::layer::observe::{new_request_id, problem_response, without_content};
use crate::layer::rescue::instance;
use crate::model::error::GatewayError;
use crate::telemetry::log::{self, RequestRecord};
use crate::telemetry::metrics;

/// The answer as bytes of HTTP/1.1, after which the connection is closed; counted and logged.
pub(super) fn refuse(error: &GatewayError) -> Bytes {
    let request_id = note(error);
    let facts = error.reason.facts();
    // The target could not be read, so the document names none: the empty reference is the request itself.
    let document = error.to_problem("", None, &request_id);
    let mut text = String::with_capacity(document.len() + 256);
    let phrase = StatusCode::from_u16(facts.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error");
    let mut line = |name: &str, value: &dyn std::fmt::Display| write!(text, "{name}{value}\r\n").expect("writing to a string cannot fail");
    line("HTTP/1.1 ", &format_args!("{} {phrase}", facts.status));
    line("content-type: ", &"application/problem+json");
    line("content-length: ", &document.len());
    line("cache-control: ", &"no-store");
    line("x-request-id: ", &request_id);
    if let Some(after) = error.retry_after {
        line("retry-after: ", &whole_seconds(after));
    }
    line("connection: ", &"close");
    line("date: ", &httpdate::fmt_http_date(SystemTime::now()));
    line("", &"");
    text.push_str(&document);
    Bytes::from(text)
}

/// The answer to a request that no stage sees; counted and logged.
pub(super) fn answer<B>(error: &GatewayError, request: &Request<B>) -> Response<Full<Bytes>> {
    let request_id = note(error);
    let response = problem_response(error, &instance(request.uri()), &request_id);
    match *request.method() {
        Method::HEAD => without_content(response),
        _ => response,
    }
}

/// Counts and logs it under a fresh id.
fn note(error: &GatewayError) -> String {
    let request_id = new_request_id();
    let facts = error.reason.facts();
    metrics::http_refused(error.reason);
    log::request_line(&RequestRecord {
        request_id: &request_id,
        outcome: facts.outcome.as_str(),
        reason: Some(facts.code),
        status: facts.status,
        ..RequestRecord::default()
    });
    request_id
}

/// Rounded up: a caller that comes back a moment too early comes in vain.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}
