//! Translate: an [`Errand`] -> [`Outbound`], and on the way back [`Exchange`] -> what the errand reports.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use tower::Service;

use super::errand::Errand;
use super::{Aim, CallContext, Exchange, Failed, Outbound};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// The stage. Behind it stand the ways to the vendors.
#[derive(Debug)]
pub struct Translate<U> {
    upstream: U,
}

impl<U> Translate<U>
where
    U: Service<Outbound, Response = Exchange, Error = GatewayError> + Clone + Send + Sync + 'static,
    U::Future: Send + 'static,
{
    /// Sends by these ways.
    #[must_use]
    pub fn new(upstream: U) -> Self {
        Self { upstream }
    }

    /// Runs one errand, once.
    ///
    /// # Errors
    /// What the errand, the way to the vendor or the vendor says.
    pub async fn run<E: Errand>(&self, context: &Arc<CallContext>, errand: E) -> Result<E::Report, Box<Failed>> {
        let outbound = Outbound {
            request: Box::new(errand.render()?),
            context: Arc::clone(context),
            provider: Arc::clone(errand.provider()),
            route: Arc::clone(errand.route()),
            aim: errand.aim(),
            credentials: errand.credentials(),
        };
        let _place = match &context.member {
            Some(member) => Some(Box::pin(place(&member.places, context.deadline)).await?),
            None => None,
        };
        if let (Aim::Act | Aim::ActUnseen, Some(claim)) = (errand.aim(), &context.claim) {
            Box::pin(claim.sending()).await?;
        }
        // A clone per errand: readiness belongs to it alone.
        let mut way = self.upstream.clone();
        poll_fn(|cx| way.poll_ready(cx)).await?;
        let exchange = way.call(outbound).await?;
        errand.read(&exchange)
    }
}

/// One of the places for batches, as soon as there is one.
async fn place(places: &Semaphore, deadline: Instant) -> Result<SemaphorePermit<'_>, GatewayError> {
    match timeout_at(deadline, places.acquire()).await {
        Ok(Ok(place)) => Ok(place),
        Ok(Err(_)) | Err(_) => {
            let detail = "the time of the batch was over before it was this task's turn; nothing was sent for it";
            Err(GatewayError::new(Reason::DeadlineExceeded, detail))
        }
    }
}
