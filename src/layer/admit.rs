//! Admit: HTTP request -> [`Admitted`], or why not. The only stage that sees the caller's headers and body bytes.
//!
//! **Invariants**: everything about the head is decided before a byte of the body is read; the body is read once, within a
//! size and a time; nothing that the caller says is ignored in silence.

use std::borrow::Cow;
use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, HeaderValue, VIA};
use http::{HeaderMap, Method, Request, Uri};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{Admitted, CallContext, Failed, Keyed, Reply, Stage, prefer};
use crate::codec::{Limits, json};
use crate::idempotency::IdempotencyKey;
use crate::model::call::{Asked, BatchCall, OperationCall, TaskCall};
use crate::model::error::GatewayError;
use crate::model::method;
use crate::model::reason::Reason;
use crate::negotiation::{self, Coding};
use crate::path::{self, Target};
use crate::query;

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

/// The stage.
#[derive(Debug)]
pub struct Admit<S> {
    inner: S,
    limits: AdmitLimits,
    passthrough: Arc<HashSet<HeaderName>>,
}

impl<S> Admit<S> {
    /// Admits within these limits; of the caller's headers those of `passthrough` go on, see [`crate::route::RouteTable`].
    #[must_use]
    pub fn new(limits: AdmitLimits, passthrough: Arc<HashSet<HeaderName>>, inner: S) -> Self {
        Self {
            inner,
            limits,
            passthrough,
        }
    }
}

impl<S, B> Stage<Box<Request<B>>> for Admit<S>
where
    S: Stage<Admitted, Done = Reply, Failed = Box<Failed>>,
    B: http_body::Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Done = Reply;
    type Failed = Box<Failed>;

    async fn run(&self, context: &Arc<CallContext>, mut request: Box<Request<B>>) -> Result<Reply, Box<Failed>> {
        let limits = &self.limits;
        let fields = Fields::read(request.headers());
        let (target, validate_only) = check_head(&request, &fields, limits)?;
        let acts = acts(&target);
        // A look changes nothing, whatever it is called.
        let key = match fields.has_key && acts {
            true => IdempotencyKey::parse(request.headers())?,
            false => None,
        };
        let (wait, respond_async) = match fields.prefers {
            true => (prefer::wait(request.headers()), prefer::respond_async(request.headers())),
            false => (None, false),
        };
        let (length, is_typed) = (fields.length, fields.media_type.is_some());
        let bytes = read_body(request.body_mut(), length, limits, context.deadline).await?;
        if !acts && !bytes.is_empty() {
            return Err(GatewayError::new(Reason::MalformedBody, "a look has no body").into());
        }
        let body = if acts { parse_body(&bytes, is_typed)? } else { Map::new() };
        drop(bytes);
        let keyed = match key {
            // What is only shown is no call: the key stays free for the one that it is for.
            Some(_) if validate_only => None,
            Some(key) => Some(Box::new(Keyed {
                key,
                path: request.uri().path().to_owned(),
            })),
            None => None,
        };
        let asked = match target {
            Target::Task(path) => Asked::Task(TaskCall {
                query: match request.uri().query() {
                    Some(query) if !acts => query::parse(query)?,
                    _ => Vec::new(),
                },
                wait: wait.filter(|_| acts),
                provider: path.provider,
                id: path.id,
                action: path.action,
                body,
                resumed: None,
            }),
            Target::Batch(path) => Asked::Batch(BatchCall {
                provider: path.provider,
                action: path.action,
                body,
                wait,
            }),
            Target::Operation(token) => Asked::Operation(OperationCall { token, wait }),
        };
        let wait = match &asked {
            Asked::Task(TaskCall { wait, .. }) | Asked::Batch(BatchCall { wait, .. }) | Asked::Operation(OperationCall { wait, .. }) => {
                *wait
            }
            Asked::Preview(_) | Asked::PreviewMany(_) => None,
        };
        let asked = match asked {
            Asked::Task(call) if validate_only => Asked::Preview(call),
            Asked::Batch(call) if validate_only => Asked::PreviewMany(call),
            asked => asked,
        };
        let passed = passed(request.headers(), &self.passthrough);
        drop(request);
        let mut context = Cow::Borrowed(context);
        if wait.is_some() || !passed.is_empty() {
            let own = Arc::make_mut(context.to_mut());
            // A caller who wants to wait has more time for the answer, not for the request.
            own.deadline += wait.unwrap_or_default();
            own.credentials.passed = passed;
        }
        let mut replied = self.inner.run(&context, Admitted { asked, keyed }).await;
        if respond_async {
            match &mut replied {
                Ok(Reply::Completed(completed)) => completed.trail.respond_async = true,
                Ok(Reply::Spoken(spoken)) => spoken.trail.respond_async = true,
                Err(_) => {}
            }
        }
        replied
    }
}

/// What of the caller's headers decides, seen in one pass.
#[derive(Debug, Default)]
struct Fields<'a> {
    /// Names and values of all fields.
    bytes: usize,
    /// `Content-Coding`s other than none.
    is_coded: bool,
    /// The first `Content-Length`, where it is a number.
    length: Option<u64>,
    has_length: bool,
    /// The first `Content-Type`.
    media_type: Option<&'a HeaderValue>,
    has_media_types: bool,
    /// Something else than `100-continue`.
    expects: bool,
    has_key: bool,
    prefers: bool,
    /// `Accept` with more than that JSON is fine.
    accepts: bool,
    /// `Accept-Encoding` with weights.
    weighs_codings: bool,
    has_come_via: bool,
}

impl<'a> Fields<'a> {
    fn read(headers: &'a HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            fields.bytes += name.as_str().len() + value.len();
            match name.as_str() {
                "via" => fields.has_come_via = true,
                "expect" => fields.expects |= !value.as_bytes().eq_ignore_ascii_case(b"100-continue"),
                "prefer" => fields.prefers = true,
                "accept" => fields.accepts |= !negotiation::plainly_takes_json(value),
                "accept-encoding" => fields.weighs_codings |= value.as_bytes().contains(&b';'),
                "content-type" if fields.media_type.is_some() => fields.has_media_types = true,
                "content-type" => fields.media_type = Some(value),
                "content-length" if !fields.has_length => {
                    fields.has_length = true;
                    fields.length = value.to_str().ok().and_then(|length| length.parse().ok());
                }
                "idempotency-key" => fields.has_key = true,
                "content-encoding" => fields.is_coded |= !value.as_bytes().eq_ignore_ascii_case(b"identity"),
                _ => {}
            }
        }
        fields
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

/// What is too large is refused for its size, whatever it asks for.
///
/// # Errors
/// `TARGET_TOO_LONG`, `HEADERS_TOO_LARGE`.
pub(super) fn check_size(uri: &Uri, headers: usize, header_bytes: usize, limits: &AdmitLimits) -> Result<(), GatewayError> {
    let target_bytes = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target_bytes > limits.max_target_bytes {
        let detail = format!("the request target has more than {} bytes", limits.max_target_bytes);
        return Err(GatewayError::new(Reason::TargetTooLong, detail));
    }
    if headers > limits.max_headers || header_bytes > limits.max_header_bytes {
        let (fields, bytes) = (limits.max_headers, limits.max_header_bytes);
        let detail = format!("at most {fields} header fields with {bytes} bytes are taken");
        return Err(GatewayError::new(Reason::HeadersTooLarge, detail));
    }
    Ok(())
}

/// What the head asks for, and whether that is only to be shown.
fn check_head<B>(head: &Request<B>, fields: &Fields<'_>, limits: &AdmitLimits) -> Result<(Target, bool), GatewayError> {
    check_size(head.uri(), head.headers().len(), fields.bytes, limits)?;
    if !method::is_known(head.method()) {
        let detail = "this method is not one of RFC 9110; an action on a task is a POST, a look at it a GET";
        return Err(GatewayError::new(Reason::MethodNotImplemented, detail));
    }
    // Before the path: a vendor's path that leads back here is a loop, not an unknown path.
    if fields.has_come_via {
        check_loop(head.headers(), &limits.via)?;
    }
    let target = path::target(head.uri().path())?;
    let (allowed, allow, detail): (&[Method], _, _) = match &target {
        Target::Task(path::TaskPath { action: None, .. }) => (
            &[Method::GET, Method::HEAD],
            "GET, HEAD",
            "a look at a task is a GET; an action has its verb after a colon",
        ),
        Target::Operation(_) => (&[Method::GET, Method::HEAD], "GET, HEAD", "a look at an operation is a GET"),
        Target::Task(_) | Target::Batch(_) => (&[Method::POST], "POST", "an action is a POST"),
    };
    if !allowed.contains(head.method()) {
        let mut error = GatewayError::new(Reason::MethodNotAllowed, detail);
        error.allow = Some(allow);
        return Err(error);
    }
    let is_look = matches!(&target, Target::Task(path) if path.action.is_none());
    let validate_only = match head.uri().query() {
        Some(query) if !is_look => validate_only(query, &target)?,
        Some(_) | None => false,
    };
    check_expectation(fields)?;
    check_coding(fields)?;
    check_answer(fields, head.headers())?;
    Ok((target, validate_only))
}

/// The one parameter that an action has (AIP-163).
fn validate_only(query: &str, target: &Target) -> Result<bool, GatewayError> {
    let acts = acts(target);
    match query {
        "validate_only=true" if acts => Ok(true),
        "validate_only=false" if acts => Ok(false),
        query => {
            let name = query.split(['&', '=']).next().unwrap_or_default();
            let known_shape = !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let detail = match name {
                "validate_only" if acts => {
                    "`validate_only` is `true` or `false`, once, and the only query parameter of an action".to_owned()
                }
                _ if known_shape => format!("there is no query parameter `{name}`"),
                _ => "an action takes no query but `validate_only`".to_owned(),
            };
            Err(GatewayError::new(Reason::InvalidQuery, detail))
        }
    }
}

/// Is there an answer that the caller takes? Afterwards it would be too late.
fn check_answer(fields: &Fields<'_>, headers: &HeaderMap) -> Result<(), GatewayError> {
    if fields.accepts && !negotiation::takes_json(headers) {
        let detail = "answers are `application/json`, and problems `application/problem+json`";
        return Err(GatewayError::new(Reason::NotAcceptable, detail).with_metadata("header", "accept"));
    }
    if fields.weighs_codings && Coding::asked(headers) == Coding::Nothing {
        let detail = "answers are sent with gzip, or without a content coding";
        return Err(GatewayError::new(Reason::NotAcceptable, detail).with_metadata("header", "accept-encoding"));
    }
    Ok(())
}

/// Does it act, or only look?
fn acts(target: &Target) -> bool {
    match target {
        Target::Task(path) => path.action.is_some(),
        Target::Batch(_) => true,
        Target::Operation(_) => false,
    }
}

fn check_expectation(fields: &Fields<'_>) -> Result<(), GatewayError> {
    if fields.expects {
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

fn check_coding(fields: &Fields<'_>) -> Result<(), GatewayError> {
    if fields.is_coded {
        return Err(GatewayError::new(
            Reason::UnsupportedContentEncoding,
            "a request body is sent without a content coding",
        ));
    }
    match fields.media_type {
        None => Ok(()),
        Some(value) if !fields.has_media_types && (value == "application/json" || value.to_str().is_ok_and(is_json)) => Ok(()),
        Some(_) => Err(unsupported_media_type()),
    }
}

fn unsupported_media_type() -> GatewayError {
    GatewayError::new(
        Reason::UnsupportedMediaType,
        "a request body is sent with `Content-Type: application/json`",
    )
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

async fn read_body<B>(body: &mut B, announced: Option<u64>, limits: &AdmitLimits, deadline: Instant) -> Result<Bytes, GatewayError>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if announced.is_some_and(|length| length > limits.max_body_bytes as u64) {
        return Err(too_large(limits));
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut collected = pin!(collect(body, limits));
    // Most bodies come with their head, and then nobody has to watch the time.
    if let Poll::Ready(collected) = futures_util::poll!(collected.as_mut()) {
        return collected;
    }
    let due = deadline.min(Instant::now() + limits.body);
    match tokio::time::timeout_at(due, collected).await {
        Ok(collected) => collected,
        Err(_elapsed) => Err(GatewayError::new(Reason::RequestTimeout, "the request body did not arrive in time")),
    }
}

/// The whole body. One that comes in one piece is not copied.
async fn collect<B>(body: &mut B, limits: &AdmitLimits) -> Result<Bytes, GatewayError>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| {
            GatewayError::new(Reason::MalformedBody, "the request body ended before it was complete")
                .with_internal(error.into().to_string())
        })?;
        // Trailers say nothing that is asked for.
        let Ok(piece) = frame.into_data() else { continue };
        if piece.len() > limits.max_body_bytes - first.len() - all.len() {
            return Err(too_large(limits));
        }
        if all.is_empty() && first.is_empty() {
            first = piece;
        } else {
            all.extend_from_slice(&first);
            all.extend_from_slice(&piece);
            first = Bytes::new();
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(if all.is_empty() { first } else { Bytes::from(all) })
}

fn too_large(limits: &AdmitLimits) -> GatewayError {
    let detail = format!("a request body has at most {} bytes", limits.max_body_bytes);
    GatewayError::new(Reason::BodyTooLarge, detail).with_metadata("max_body_bytes", limits.max_body_bytes)
}

/// No body is an empty request: the everyday call needs none.
fn parse_body(bytes: &Bytes, is_typed: bool) -> Result<Map<String, Value>, GatewayError> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    if !is_typed {
        return Err(unsupported_media_type());
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
        headers.insert("x-auth-token", HeaderValue::from_static("the-callers"));
        headers.insert("x-other", HeaderValue::from_static("hop-by-hop"));
        headers.insert("authorization", HeaderValue::from_static("not-named"));
        headers.insert(CONNECTION, HeaderValue::from_static("close, X-Other"));
        let passed = passed(&headers, &names);
        assert_eq!(passed.len(), 1);
        assert_eq!(passed["x-auth-token"], "the-callers");
        assert!(!format!("{passed:?}").contains("the-callers"));
    }

    #[test]
    fn loops_are_seen_by_our_name_only() {
        let headers = |via: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(VIA, HeaderValue::from_static(via));
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
