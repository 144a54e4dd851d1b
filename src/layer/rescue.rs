//! Rescue: whatever comes from below, a success, an error or a panic, becomes one [`Spoken`] answer.
//!
//! **Invariants**: below this stage calls fail, above it they do not, so the server never drops a connection over an error.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Request, Uri};

use super::{CallContext, Completed, Failed, Reply, Stage, Trail};
use crate::model::answer::Outcome;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// An answer in our own voice, before it is HTTP.
#[derive(Debug)]
pub struct Spoken {
    /// The HTTP status.
    pub status: u16,
    /// The document.
    pub document: String,
    /// Why it did not succeed.
    pub error: Option<GatewayError>,
    /// What is known about the effect.
    pub outcome: Outcome,
    /// The vendor's status and request id, where there is an answer of it.
    pub vendor: Option<(u16, Option<String>)>,
    /// Has a vendor heard of the call? Where it is for many tasks: is what came of one of them said again under its idempotency key?
    pub heard: bool,
    /// What was called.
    pub trail: Trail,
    /// Headers of this answer besides those that every answer has.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The stage.
#[derive(Debug)]
pub struct Rescue<S> {
    inner: S,
}

impl<S> Rescue<S> {
    /// Around what may fail.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, B> Stage<Box<Request<B>>> for Rescue<S>
where
    S: Stage<Box<Request<B>>, Done = Reply, Failed = Box<Failed>>,
    B: Send,
{
    type Done = Box<Spoken>;
    type Failed = Infallible;

    async fn run(&self, context: &Arc<CallContext>, request: Box<Request<B>>) -> Result<Box<Spoken>, Infallible> {
        // Shares the bytes of the head.
        let uri = request.uri().clone();
        let below = pin!(self.inner.run(context, request));
        let failed = match AssertUnwindSafe(below).catch_unwind().await {
            Ok(Ok(Reply::Completed(completed))) => return Ok(Box::new(speak(*completed, &context.request_id))),
            Ok(Ok(Reply::Spoken(spoken))) => return Ok(spoken),
            Ok(Err(failed)) => *failed,
            Err(panic) => Failed {
                error: panicked(panic.as_ref()),
                trail: Trail::default(),
            },
        };
        Ok(Box::new(complain(failed, &instance(&uri), &context.request_id)))
    }
}

/// The path of a request as the `instance` of a problem document.
pub(crate) fn instance(uri: &Uri) -> String {
    uri.path().chars().take(MAX_INSTANCE_CHARS).collect()
}

/// What is said of a call that succeeded.
pub(crate) fn speak(Completed { answer, trail }: Completed, request_id: &str) -> Spoken {
    let route = trail.route.as_deref();
    let provider = route.map_or("", |route| route.provider.as_str());
    let action = route.filter(|route| !route.is_look()).map(|route| route.action.as_str());
    Spoken {
        status: answer.success.status(),
        document: answer.to_document(provider, trail.id.as_deref().unwrap_or_default(), action, request_id),
        error: None,
        outcome: answer.success.outcome(),
        vendor: Some((answer.vendor_status, answer.vendor_request_id)),
        heard: true,
        trail,
        headers: Vec::new(),
    }
}

/// What is said of a call that did not succeed.
#[cold]
pub(crate) fn complain(Failed { error, trail }: Failed, instance: &str, request_id: &str) -> Spoken {
    let facts = error.reason.facts();
    let provider = trail.route.as_ref().map(|route| route.provider.as_str());
    Spoken {
        status: facts.status,
        document: error.to_problem(instance, provider, request_id),
        outcome: facts.outcome,
        vendor: error.vendor.as_ref().map(|vendor| (vendor.status, vendor.request_id.clone())),
        // That nothing was done is the vendor's word, or is proven by nothing having left.
        heard: error.vendor.is_some(),
        error: Some(error),
        trail,
        headers: Vec::new(),
    }
}

#[cold]
pub(super) fn panicked(panic: &(dyn std::any::Any + Send)) -> GatewayError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    GatewayError::new(Reason::Internal, "something broke inside taskgate; the action may have happened")
        .with_internal(format!("panic: {}", text.unwrap_or("no text")))
}

/// `instance` repeats the caller's path; a path that is refused for its length is not repeated in full.
pub(super) const MAX_INSTANCE_CHARS: usize = 512;
