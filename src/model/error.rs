//! The one error of the request path, and the problem document that it becomes (RFC 9457).
//!
//! **Invariants**: `detail` is written for the caller and never holds a secret, a host or a vendor's page; `internal` is
//! for the log only. The pair has no `Display`, so an internal text cannot be shown by accident. Errors are the exception: what makes
//! one is `#[cold]`, so that the compiler lays the code around it out of the way of calls that go well.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::answer::to_json;
use super::reason::Reason;

/// A call that did not succeed.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayError {
    /// The row of the table of reasons.
    pub reason: Reason,
    /// Helps the reader to mend it; goes to the caller.
    pub detail: String,
    /// What only the log may know: causes, addresses, the start of a broken answer.
    pub internal: Option<String>,
    /// Everything that `detail` says, for programs (AIP-193).
    pub metadata: Map<String, Value>,
    /// Where the request does not fit its schema.
    pub violations: Vec<Violation>,
    /// What the vendor said, where it said something.
    pub vendor: Option<Box<VendorFault>>,
    /// After what time another try makes sense: the `Retry-After` header.
    pub retry_after: Option<Duration>,
    /// For 405: the `Allow` header.
    pub allow: Option<&'static str>,
    /// Nothing was sent, because nobody knows yet whether the vendor is back: a look would tell. Not shown to anybody.
    pub look_first: bool,
}

/// One place where a document does not fit its schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// JSON Pointer into the request body (RFC 6901).
    pub pointer: String,
    /// What is expected there; never repeats the value.
    pub detail: String,
}

/// What the vendor said when it did not do it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VendorFault {
    /// The vendor's HTTP status.
    pub status: u16,
    /// The vendor's own code.
    pub code: Option<String>,
    /// The vendor's own message, cut to a sane length.
    pub message: Option<String>,
    /// The vendor's id for the exchange.
    pub request_id: Option<String>,
}

impl GatewayError {
    /// An error with a text for the caller.
    #[must_use]
    #[cold]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            internal: None,
            metadata: Map::new(),
            violations: Vec::new(),
            vendor: None,
            retry_after: None,
            allow: None,
            look_first: false,
        }
    }

    /// Adds what only the log may know.
    #[must_use]
    #[cold]
    pub fn with_internal(mut self, internal: impl Into<String>) -> Self {
        self.internal = Some(internal.into());
        self
    }

    /// Adds one value of `detail` for programs.
    #[must_use]
    #[cold]
    pub fn with_metadata(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Adds what the vendor said.
    #[must_use]
    #[cold]
    pub fn with_vendor(mut self, vendor: VendorFault) -> Self {
        self.vendor = Some(Box::new(vendor));
        self
    }

    /// Adds after what time another try makes sense.
    #[must_use]
    #[cold]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The problem document (RFC 9457) for this error.
    ///
    /// `instance` is the path of the request without its query; `provider` is given where the path named a known one.
    #[must_use]
    #[cold]
    pub fn to_problem(&self, instance: &str, provider: Option<&str>, request_id: &str) -> String {
        let facts = self.reason.facts();
        to_json(&Problem {
            kind: format!("urn:taskgate:problem:{}", self.reason.slug()),
            title: facts.title,
            status: facts.status,
            detail: &self.detail,
            instance,
            reason: facts.code,
            outcome: facts.outcome.as_str(),
            retryable: facts.retryable,
            provider,
            request_id,
            vendor: self.vendor.as_deref(),
            errors: &self.violations,
            metadata: &self.metadata,
        })
    }
}

/// The members in the order in which people read them.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    reason: &'static str,
    outcome: &'static str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<&'a VendorFault>,
    #[serde(skip_serializing_if = "<[Violation]>::is_empty")]
    errors: &'a [Violation],
    #[serde(skip_serializing_if = "Map::is_empty")]
    metadata: &'a Map<String, Value>,
}
