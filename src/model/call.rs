//! A call on its way: what the caller asked for, and what goes to and comes from the vendor.
//!
//! **Shape**: `TaskCall { provider, id, action, body, .. }` … `UpstreamRequest { method, target, headers, body }` …
//! `UpstreamReply { status, headers, body }`.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value};

/// What a request says, read but not yet resolved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskCall {
    /// The provider as it stands in the path.
    pub provider: String,
    /// The id, percent-decoded once.
    pub id: String,
    /// The verb after the last colon; none where the task is only looked at.
    pub action: Option<String>,
    /// The canonical request; empty when there was no body.
    pub body: Map<String, Value>,
    /// The query parameters of a look, decoded, in the order of the target.
    pub query: Vec<(String, String)>,
    /// How long the caller wants to wait for the action to settle.
    pub wait: Option<Duration>,
    /// The action was accepted before: it is followed, and nothing is sent that acts. Behind a pointer, as few calls have it.
    pub resumed: Option<Box<Resumed>>,
}

/// What is known of an action that was accepted before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// The vendor's own job for it, where it made one.
    pub job: Option<String>,
    /// The vendor's HTTP status when it took it; none where its answer was lost, so that nobody knows whether it did.
    pub vendor_status: Option<u16>,
    /// How long ago it was accepted.
    pub age: Duration,
}

/// What a request asks for, read but not yet resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// To act on a task, or to look at it.
    Task(TaskCall),
    /// To act on many.
    Batch(BatchCall),
    /// What would be sent to act on a task. Nothing is.
    Preview(TaskCall),
    /// What would be sent to act on many.
    PreviewMany(BatchCall),
    /// What became of an action that was accepted.
    Operation(OperationCall),
}

/// One action on many tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchCall {
    /// The provider as it stands in the path; none: the tasks name theirs.
    pub provider: Option<String>,
    /// The verb of one of them.
    pub action: String,
    /// The request; empty when there was no body.
    pub body: Map<String, Value>,
    /// How long the caller wants to wait for the actions to settle.
    pub wait: Option<Duration>,
}

/// A question for an action that was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationCall {
    /// Its token as it stands in the path.
    pub token: String,
    /// How long the caller wants to wait for it to settle.
    pub wait: Option<Duration>,
}

/// One request to a vendor, complete but for its credentials.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamRequest {
    /// The vendor's method.
    pub method: Method,
    /// Path and query below the provider's endpoint, percent-encoded, query sorted by name.
    pub target: String,
    /// Headers that the route asks for, `Content-Type` included.
    pub headers: HeaderMap,
    /// The encoded body; empty when the route has none.
    pub body: Bytes,
}

/// One answer of a vendor, read to its end within the limits.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamReply {
    /// The vendor's status.
    pub status: StatusCode,
    /// The vendor's headers; none of them is relayed.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}
