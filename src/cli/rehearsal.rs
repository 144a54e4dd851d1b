//! Plays a case against the real stack with a scripted vendor, and says where the play differs from the script.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use tower::{Service, ServiceExt};

use crate::codec::shape::Shape;
use crate::codec::{Limits, json, xml};
use crate::config::case::{Case, CaseReply, ExpectedRequest, Fault, VendorTurn};
use crate::layer::hub::Pace;
use crate::layer::{BoxFuture, CredentialUse, Exchange, Outbound};
use crate::model::call::UpstreamReply;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::path::verb_for_many;
use crate::route::{LOOK, RouteTable};
use crate::stack::{self, StackLimits};
use crate::upstream::credentials;

/// What the caller was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The document.
    pub body: Value,
}

/// Plays a case. The differences, one line each; none when the play follows the script.
pub async fn play(table: &Arc<RouteTable>, case: &Case) -> (Vec<String>, Option<Told>) {
    let vendor = ScriptedVendor::new(&case.content.vendor);
    // The vendor's turns are written down, so nobody has to sleep between them.
    let limits = StackLimits {
        pace: Pace::Counted,
        ..StackLimits::default()
    };
    let gateway = stack::build::<_, Full<Bytes>>(Arc::clone(table), &limits, vendor.clone());
    let told = match request(case) {
        Ok(request) => match gateway.oneshot(request).await {
            Ok(response) => read(response).await,
            Err(never) => match never {},
        },
        Err(error) => return (vec![format!("the call cannot be made: {error}")], None),
    };
    let mut differences = vendor.differences();
    if told.status != case.content.answer.status {
        differences.push(format!(
            "answer: expected status {}, found {}",
            case.content.answer.status, told.status
        ));
    }
    compare(
        &Value::Object(case.content.answer.body.clone()),
        &told.body,
        "answer",
        &mut differences,
    );
    if !differences.is_empty() {
        differences.push(format!("the answer was {}", told.body));
    }
    (differences, Some(told))
}

/// The caller's request of a case.
fn request(case: &Case) -> Result<Request<Full<Bytes>>, http::Error> {
    let id = utf8_percent_encode(&case.content.call.id, NON_ALPHANUMERIC);
    let ids = case.content.call.ids.as_ref();
    let mut builder = if ids.is_some() {
        Request::post(format!("/tasks/{}:{}", case.provider, verb_for_many(&case.action)))
    } else if case.action == LOOK {
        let pair = |(name, value): (&String, &String)| {
            format!(
                "{}={}",
                utf8_percent_encode(name, NON_ALPHANUMERIC),
                utf8_percent_encode(value, NON_ALPHANUMERIC)
            )
        };
        let query: Vec<String> = case.content.call.query.iter().map(pair).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        Request::get(format!("/tasks/{}/{id}{mark}{}", case.provider, query.join("&")))
    } else {
        Request::post(format!("/tasks/{}/{id}:{}", case.provider, case.action))
    };
    if let Some(prefer) = &case.content.call.prefer {
        builder = builder.header("prefer", prefer);
    }
    let body = match (&case.content.call.body, ids) {
        (body, None) => body.clone(),
        (body, Some(ids)) => {
            let mut members = body.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
            members.insert("ids".to_owned(), Value::Array(ids.clone()));
            Some(Value::Object(members))
        }
    };
    match body {
        Some(body) => builder
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_string())),
        None => builder.body(Full::default()),
    }
}

async fn read(response: http::Response<Full<Bytes>>) -> Told {
    let (head, body) = response.into_parts();
    let bytes = match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(never) => match never {},
    };
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Told {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    }
}

/// A vendor that plays its turns and notes what it should not have got.
#[derive(Clone, Debug)]
struct ScriptedVendor {
    state: Arc<Mutex<Script>>,
}

#[derive(Debug)]
struct Script {
    turns: VecDeque<VendorTurn>,
    differences: Vec<String>,
}

impl ScriptedVendor {
    fn new(turns: &[VendorTurn]) -> Self {
        Self {
            state: Arc::new(Mutex::new(Script {
                turns: turns.iter().cloned().collect(),
                differences: Vec::new(),
            })),
        }
    }

    /// What differed, and the turns that were never played.
    fn differences(&self) -> Vec<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let unplayed = state
            .turns
            .iter()
            .map(|turn| format!("vendor: `{} {}` was never sent", turn.request.method, turn.request.target));
        state.differences.iter().cloned().chain(unplayed).collect()
    }

    fn answer(&self, outbound: &Outbound) -> Result<Exchange, GatewayError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.turns.pop_front() {
            None => {
                let request = &outbound.request;
                state
                    .differences
                    .push(format!("vendor: unexpected `{} {}`", request.method, request.target));
                Err(GatewayError::new(Reason::VendorUnreachable, "the case has no vendor for this"))
            }
            Some(turn) => {
                let VendorTurn { request, reply } = turn;
                compare_request(&request, outbound, &mut state.differences);
                to_exchange(&reply)
            }
        }
    }
}

impl Service<Outbound> for ScriptedVendor {
    type Response = Exchange;
    type Error = GatewayError;
    type Future = BoxFuture<Exchange, GatewayError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outbound: Outbound) -> Self::Future {
        Box::pin(std::future::ready(self.answer(&outbound)))
    }
}

/// The reply of a case as the client would hand it up.
///
/// # Errors
/// The client's error for the fault that the case plays.
pub fn to_exchange(reply: &CaseReply) -> Result<Exchange, GatewayError> {
    let error = |reason: Reason| Err(GatewayError::new(reason, "as the case says"));
    match reply.fault {
        Some(Fault::ConnectionLost | Fault::Truncated) => return error(Reason::VendorConnectionLost),
        Some(Fault::Timeout) => return error(Reason::VendorTimeout),
        Some(Fault::Unreachable) => return error(Reason::VendorUnreachable),
        None => {}
    }
    let status = StatusCode::from_u16(reply.status.unwrap_or(200)).unwrap_or_default();
    let headers = to_headers(&reply.headers);
    Ok(Exchange {
        reply: UpstreamReply {
            status,
            headers,
            body: reply.body().into(),
        },
        elapsed: Duration::ZERO,
    })
}

fn to_headers(headers: &BTreeMap<String, String>) -> HeaderMap {
    headers
        .iter()
        .filter_map(|(name, value)| Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?)))
        .collect()
}

fn compare_request(expected: &ExpectedRequest, outbound: &Outbound, differences: &mut Vec<String>) {
    let mut signed = outbound.request.clone();
    let applied = match &outbound.provider.connection {
        Ok(connection) if outbound.credentials != CredentialUse::None => {
            credentials::preview(&connection.credentials, &mut signed, &connection.endpoint).unwrap_or_default()
        }
        Ok(_) | Err(_) => Vec::new(),
    };
    let found = &signed;
    let mut differ = |what: &str, expected: &str, found: &str| differences.push(format!("{what}: expected `{expected}`, found `{found}`"));
    if expected.method != found.method.as_str() {
        differ("request method", &expected.method, found.method.as_str());
    }
    if expected.target != found.target {
        differ("request target", &expected.target, &found.target);
    }
    let mut headers = found.headers.clone();
    headers.extend(applied);
    for (name, value) in &expected.headers {
        match headers.get(name.as_str()).map(|found| String::from_utf8_lossy(found.as_bytes())) {
            Some(_) if value == "*" => {}
            Some(found) if found == value.as_str() => {}
            Some(found) => differ(&format!("request header {name}"), value, &found),
            None => differ(&format!("request header {name}"), value, "nothing"),
        }
    }
    let shown = String::from_utf8_lossy(&found.body);
    if let Some(form) = &expected.form {
        if shown != form.as_str() {
            differ("request body", form, &shown);
        }
        return;
    }
    match (&expected.json, &expected.xml, expected.empty) {
        (Some(json), ..) => match json::decode(&found.body, &Limits::REPLY) {
            Ok(body) => compare_exactly(json, &body, "request body", differences),
            Err(_) => differ("request body", &json.to_string(), &shown),
        },
        (None, Some(document), _) => match (parse_xml(document.as_bytes()), parse_xml(&found.body)) {
            (Some(expected), Some(body)) => compare_exactly(&expected, &body, "request body", differences),
            _ => differ("request body", document, &shown),
        },
        (None, None, true) if !found.body.is_empty() => differ("request body", "nothing", &shown),
        (None, None, false) => {
            differences.push("the case does not say what the body is: `json`, `xml`, `form` or `empty: true`".to_owned())
        }
        (None, None, true) => {}
    }
}

fn parse_xml(bytes: &[u8]) -> Option<Value> {
    let shape = Shape::compile(&Value::Bool(true)).ok()?;
    xml::decode(bytes, &shape, &Limits::REPLY).ok()
}

fn compare_exactly(expected: &Value, found: &Value, place: &str, differences: &mut Vec<String>) {
    if expected != found {
        differences.push(format!("{place}: expected {expected}, found {found}"));
    }
}

/// Every member that is expected is there; others are allowed in objects, and in those of lists.
fn compare(expected: &Value, found: &Value, place: &str, differences: &mut Vec<String>) {
    match (expected, found) {
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (at, (expected, found)) in expected.iter().zip(found).enumerate() {
                compare(expected, found, &format!("{place}[{at}]"), differences);
            }
        }
        (Value::Object(expected), Value::Object(found)) => compare_members(expected, found, place, differences),
        (Value::String(any), _) if any == "*" && !found.is_null() => {}
        _ => compare_exactly(expected, found, place, differences),
    }
}

fn compare_members(expected: &Map<String, Value>, found: &Map<String, Value>, place: &str, differences: &mut Vec<String>) {
    for (name, expected) in expected {
        match found.get(name) {
            Some(found) => compare(expected, found, &format!("{place}.{name}"), differences),
            None => differences.push(format!("{place}.{name}: expected {expected}, found nothing")),
        }
    }
}
