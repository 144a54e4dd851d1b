//! What a simulated vendor is, and the request and reply that it deals in.
//!
//! **Shape.** The engine reads one HTTP request in full, hands it over as a [`VendorRequest`] and sends the [`VendorReply`] back.
//! A vendor decides without waiting and keeps its own state behind a lock, so that answering is a plain function call.
//!
//! **Invariants.** A vendor never sees the control calls under `/_simulator/`, and never learns which fault is armed.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::board::Phase;
use super::faults::ThrottledBy;
use super::settings::SettingError;

/// One vendor that can be called: stateful like the shipped five, or stateless like a
/// [`StubVendor`](super::StubVendor).
pub trait Vendor: Send + Sync {
    /// The provider name that faults, counters and ports are addressed by.
    fn name(&self) -> &str;

    /// Answers a request, and changes the state when the request does so.
    fn answer(&self, request: &VendorRequest) -> VendorReply;

    /// The error reply that this vendor would send with `status`, without touching any state.
    fn error(&self, request: &VendorRequest, status: StatusCode) -> VendorReply;

    /// A reply with status 200 that nevertheless says the call failed, without touching any state.
    fn failure(&self, request: &VendorRequest) -> VendorReply;

    /// Every task that the vendor knows, in the order of the ids.
    fn tasks(&self) -> Vec<TaskView>;

    /// Goes back to the start state: tasks, jobs and effects.
    fn reset(&self);

    /// The environment variables that a gateway needs to call this vendor at `endpoint`, with secrets that need no login.
    fn environment(&self, endpoint: &str) -> Vec<(String, String)>;

    /// The same with what a login needs, where the vendor has one.
    fn login_environment(&self, endpoint: &str) -> Vec<(String, String)> {
        self.environment(endpoint)
    }

    /// The same with the keys that requests are signed with, where the vendor takes signatures.
    fn signature_environment(&self, endpoint: &str) -> Vec<(String, String)> {
        self.environment(endpoint)
    }

    /// What can be set while it runs, with the values.
    fn settings(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Sets one of the settings.
    ///
    /// # Errors
    /// [`SettingError`] for a name that is not among them, and for a value that does not fit.
    fn set(&self, name: &str, _value: &str) -> Result<(), SettingError> {
        Err(SettingError::Unknown {
            name: name.to_owned(),
            known: Vec::new(),
        })
    }

    /// Puts a task into a phase, without an effect; false when there is no such task.
    fn place(&self, _task: &str, _phase: Phase) -> bool {
        false
    }

    /// Ends every login at once.
    fn revoke(&self) {}

    /// Logins, sessions and locked keys, for the control interface; no secret is in it.
    fn logins(&self) -> Value {
        json!({})
    }

    /// What the vendor says to one call too many, without touching any state.
    fn throttled(&self, request: &VendorRequest, _by: ThrottledBy) -> VendorReply {
        self.error(request, StatusCode::TOO_MANY_REQUESTS)
    }
}

/// One task as tests and the control interface see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// The vendor's id of the task.
    pub id: String,
    /// The state, in words that a reader understands without the vendor's manual.
    pub state: String,
    /// How often the task really was stopped or retried: the number that at-most-once is proven with.
    pub effects: u64,
}

/// One request, read to its end.
#[derive(Debug, Clone)]
pub struct VendorRequest {
    /// The method.
    pub method: Method,
    /// Path and query exactly as they came.
    pub target: String,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Scheme and authority that the caller used, such as `http://127.0.0.1:40123`.
    pub origin: String,
    /// How many requests with the same `Authorization` are being answered now, this one included.
    pub at_once: usize,
    /// How many sessions the same `Authorization` has, this one included: requests being answered, and connections that were kept.
    pub sessions: usize,
}

impl VendorRequest {
    /// The path, still percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The path segments, percent-decoded one by one, so that `%2F` stays inside its segment.
    #[must_use]
    pub fn segments(&self) -> Vec<String> {
        self.path().trim_start_matches('/').split('/').map(decode).collect()
    }

    /// Every query parameter, decoded, in the order of the target.
    #[must_use]
    pub fn query(&self) -> Vec<(String, String)> {
        let Some((_, query)) = self.target.split_once('?') else {
            return Vec::new();
        };
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decode(&name.replace('+', " ")), decode(&value.replace('+', " "))))
            .collect()
    }

    /// The first query parameter of that name.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query().into_iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// A header field as text; a value that is not text counts as absent.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The media type of the body in lower case, without its parameters; empty when there is none.
    #[must_use]
    pub fn media_type(&self) -> String {
        let value = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let media = value.split_once(';').map_or(value, |(media, _)| media);
        media.trim().to_ascii_lowercase()
    }

    /// The body as a JSON object, when it is one and says that it is JSON.
    #[must_use]
    pub fn json_object(&self) -> Option<serde_json::Map<String, Value>> {
        if self.media_type() != "application/json" {
            return None;
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(members)) => Some(members),
            Ok(_) | Err(_) => None,
        }
    }
}

/// One reply, complete before a byte of it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorReply {
    /// The status.
    pub status: StatusCode,
    /// The header fields; `Content-Length` and `Date` are the engine's.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl VendorReply {
    /// A reply without body and without Content-Type.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// A reply whose body has no Content-Type at all.
    #[must_use]
    pub fn untyped(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..Self::empty(status)
        }
    }

    /// A reply with a body of the given media type.
    #[must_use]
    pub fn typed(status: StatusCode, media: &'static str, body: impl Into<Bytes>) -> Self {
        Self::untyped(status, body).header(CONTENT_TYPE, HeaderValue::from_static(media))
    }

    /// A JSON reply, `application/json`.
    #[must_use]
    pub fn json(status: StatusCode, body: &Value) -> Self {
        Self::typed(status, "application/json", body.to_string())
    }

    /// An HTML page.
    #[must_use]
    pub fn html(status: StatusCode, page: &'static str) -> Self {
        Self::typed(status, "text/html;charset=UTF-8", page)
    }

    /// The same reply with one more header field.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

/// Percent-decodes once; bytes that are no UTF-8 become replacement characters, which no id has.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str) -> VendorRequest {
        VendorRequest {
            method: Method::GET,
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            origin: String::new(),
            at_once: 1,
            sessions: 1,
        }
    }

    #[test]
    fn an_encoded_slash_stays_inside_its_segment() {
        assert_eq!(request("/v5/a%2Fb/c?x=/").segments(), ["v5", "a/b", "c"]);
    }

    #[test]
    fn query_values_are_decoded_once_and_the_first_one_counts() {
        let request = request("/p?a=%2525&b&a=2&c=x+y");
        assert_eq!(request.query_value("a").as_deref(), Some("%25"));
        assert_eq!(request.query_value("b").as_deref(), Some(""));
        assert_eq!(request.query_value("c").as_deref(), Some("x y"));
        assert_eq!(request.query_value("d"), None);
    }

    #[test]
    fn a_json_object_needs_the_media_type_and_the_shape() {
        let mut request = request("/");
        request.body = Bytes::from_static(b"{\"a\":1}");
        assert!(request.json_object().is_none());
        request
            .headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("Application/JSON;charset=utf-8"));
        assert!(request.json_object().is_some());
        request.body = Bytes::from_static(b"[1]");
        assert!(request.json_object().is_none());
    }
}
