//! Dispatch: sends an [`Outbound`] down its own provider's way, so that no provider waits for another one.

use std::collections::{BTreeMap, HashMap};
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use tokio_util::sync::DropGuard;
use tower::Service;
use tower::util::{Oneshot, ServiceExt};

use super::{Exchange, Outbound};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// The ways to all providers, by name. Always ready: a provider that is not ready answers for itself.
#[derive(Debug)]
pub struct Dispatch<S> {
    ways: Arc<Ways<S>>,
}

#[derive(Debug)]
struct Ways<S> {
    by_name: BTreeMap<String, S>,
    _dropped: Option<DropGuard>,
}

impl<S> Clone for Dispatch<S> {
    fn clone(&self) -> Self {
        Self {
            ways: Arc::clone(&self.ways),
        }
    }
}

impl<S> Dispatch<S> {
    /// Dispatches by the provider's name.
    #[must_use]
    pub fn new(ways: HashMap<String, S>) -> Self {
        Self::telling(ways, None)
    }

    /// As [`Self::new`]; the guard is dropped when nobody, no call that has begun either, can send by these ways any more.
    #[must_use]
    pub fn telling(ways: HashMap<String, S>, dropped: Option<DropGuard>) -> Self {
        Self {
            ways: Arc::new(Ways {
                by_name: ways.into_iter().collect(),
                _dropped: dropped,
            }),
        }
    }
}

impl<S> Service<Outbound> for Dispatch<S>
where
    S: Service<Outbound, Response = Exchange, Error = GatewayError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Exchange;
    type Error = GatewayError;
    type Future = Either<Oneshot<S, Outbound>, Ready<Result<Exchange, GatewayError>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outbound: Outbound) -> Self::Future {
        match self.ways.by_name.get(&outbound.provider.name) {
            // A clone per call: readiness belongs to this call alone.
            Some(way) => Either::Left(way.clone().oneshot(outbound)),
            None => {
                let error = GatewayError::new(Reason::MappingFailed, "the provider has no way to its vendor; nothing was sent");
                Either::Right(ready(Err(error)))
            }
        }
    }
}
