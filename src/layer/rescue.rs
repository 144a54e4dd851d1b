//! Rescue: whatever comes from below, a success, an error, a foreign tower error or a panic, becomes one [`Spoken`] answer.
//!
//! **Invariants**: below this layer services fail, above it they do not, so the server never drops a connection over an
//! error. Foreign errors are recognised here and nowhere else.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Uri};
use tower::load_shed::error::Overloaded;
use tower::{BoxError, Layer, Service};

use super::{BoxFuture, CallContext, Completed, Failed, Trail};
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
    /// What was called.
    pub trail: Trail,
}

/// Makes [`Rescue`].
#[derive(Clone, Debug, Default)]
pub struct RescueLayer;

impl<S> Layer<S> for RescueLayer {
    type Service = Rescue<S>;

    fn layer(&self, inner: S) -> Rescue<S> {
        Rescue { inner }
    }
}

/// The stage.
#[derive(Clone, Debug)]
pub struct Rescue<S> {
    inner: S,
}

impl<S, B> Service<(CallContext, Request<B>)> for Rescue<S>
where
    S: Service<(CallContext, Request<B>), Response = Completed, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Spoken;
    type Error = Infallible;
    type Future = BoxFuture<Spoken, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Readiness below is load shedding, which is always ready; its error would be one of `call` as well.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (context, request): (CallContext, Request<B>)) -> Self::Future {
        let mut inner = self.inner.clone();
        let instance = instance(request.uri());
        let request_id = std::sync::Arc::clone(&context.request_id);
        Box::pin(async move {
            let below = async move {
                std::future::poll_fn(|cx| inner.poll_ready(cx)).await?;
                inner.call((context, request)).await
            };
            let result = match AssertUnwindSafe(below).catch_unwind().await {
                Ok(result) => result,
                Err(panic) => {
                    let failed = Failed {
                        error: panicked(panic.as_ref()),
                        trail: Trail::default(),
                    };
                    return Ok(complain(failed, &instance, &request_id));
                }
            };
            Ok(match result {
                Ok(completed) => speak(completed, &request_id),
                Err(error) => complain(recognise(error), &instance, &request_id),
            })
        })
    }
}

/// The path of a request as the `instance` of a problem document.
pub(crate) fn instance(uri: &Uri) -> String {
    uri.path().chars().take(MAX_INSTANCE_CHARS).collect()
}

fn speak(Completed { answer, trail }: Completed, request_id: &str) -> Spoken {
    let route = trail.route.as_deref();
    let provider = route.map_or("", |route| route.provider.as_str());
    let action = route.filter(|route| !route.is_look()).map(|route| route.action.as_str());
    Spoken {
        status: answer.success.status(),
        document: answer.to_document(provider, trail.id.as_deref().unwrap_or_default(), action, request_id),
        error: None,
        outcome: answer.success.outcome(),
        vendor: Some((answer.vendor_status, answer.vendor_request_id.clone())),
        trail,
    }
}

fn complain(Failed { error, trail }: Failed, instance: &str, request_id: &str) -> Spoken {
    let facts = error.reason.facts();
    let provider = trail.route.as_ref().map(|route| route.provider.as_str());
    Spoken {
        status: facts.status,
        document: error.to_problem(instance, provider, request_id),
        outcome: facts.outcome,
        vendor: error.vendor.as_ref().map(|vendor| (vendor.status, vendor.request_id.clone())),
        error: Some(error),
        trail,
    }
}

/// A foreign error by its type; an unknown one is a bug of ours and says so.
fn recognise(error: BoxError) -> Failed {
    let error = match error.downcast::<Box<Failed>>() {
        Ok(failed) => return **failed,
        Err(error) => error,
    };
    let error = if error.is::<Overloaded>() {
        GatewayError::new(Reason::Overloaded, "taskgate serves as many calls as it can; nothing was done")
            .with_retry_after(OVERLOAD_RETRY_AFTER)
    } else {
        GatewayError::new(Reason::Internal, "something broke inside taskgate; the action may have happened")
            .with_internal(error.to_string())
    };
    Failed {
        error,
        trail: Trail::default(),
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> GatewayError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    GatewayError::new(Reason::Internal, "something broke inside taskgate; the action may have happened")
        .with_internal(format!("panic: {}", text.unwrap_or("no text")))
}

/// Calls take milliseconds to seconds: a second later there is room again.
const OVERLOAD_RETRY_AFTER: Duration = Duration::from_secs(1);
/// `instance` repeats the caller's path; a path that is refused for its length is not repeated in full.
const MAX_INSTANCE_CHARS: usize = 512;
