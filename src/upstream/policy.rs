//! What is decided per provider before a request is sent: is it configured, and is there room.
//!
//! **Shape**: `Outbound { context, route, request, .. }` -> `Exchange`.
//!
//! **Invariants**: always ready, so that a provider that hangs never makes another one wait; nothing queues. A permit
//! lives as long as the future of the call, so dropping the call frees its place.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::Service;

use super::client::{ClientError, UpstreamClient};
use crate::layer::{Exchange, Outbound};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::route::{Connection, Limits};
use crate::telemetry::metrics;

/// The way to one provider. Cloning shares the limit and the pool.
#[derive(Clone, Debug)]
pub struct ProviderService {
    lane: Arc<Lane>,
}

#[derive(Debug)]
struct Lane {
    provider: String,
    client: Result<UpstreamClient, Vec<String>>,
    room: Semaphore,
    in_flight: usize,
}

impl ProviderService {
    /// The way to `provider`; without a connection it answers every call with the variables that are missing.
    ///
    /// # Errors
    ///
    /// [`ClientError`] as [`UpstreamClient::new`].
    pub fn new(provider: &str, connection: &Result<Connection, Vec<String>>, limits: &Limits, via: &str) -> Result<Self, ClientError> {
        let client = match connection {
            Ok(connection) => Ok(UpstreamClient::new(connection, limits, via)?),
            Err(missing) => Err(missing.clone()),
        };
        Ok(Self::with_client(provider, client, limits))
    }

    /// The way to `provider` over a client that is there already, or the names of the variables that are missing.
    #[must_use]
    pub fn with_client(provider: &str, client: Result<UpstreamClient, Vec<String>>, limits: &Limits) -> Self {
        let room = Semaphore::new(limits.in_flight.min(Semaphore::MAX_PERMITS));
        Self {
            lane: Arc::new(Lane {
                provider: provider.to_owned(),
                client,
                room,
                in_flight: limits.in_flight,
            }),
        }
    }

    /// Sends one request once, unless the provider is not configured or has no room.
    ///
    /// # Errors
    ///
    /// `PROVIDER_NOT_CONFIGURED` and `PROVIDER_BUSY` before anything is sent; then as [`UpstreamClient::send`].
    pub async fn send(&self, outbound: Outbound) -> Result<Exchange, GatewayError> {
        let lane = &*self.lane;
        let client = lane.client.as_ref().map_err(|missing| not_configured(missing))?;
        let _permit = lane.room.try_acquire().map_err(|_| busy(lane.in_flight))?;
        let _counted = metrics::vendor_call_begins(&lane.provider);
        let start = Instant::now();
        let result = client.send(outbound.request, outbound.context.deadline).await;
        metrics::vendor_call_ended(&lane.provider, &outbound.route.action, start.elapsed());
        result
    }
}

impl Service<Outbound> for ProviderService {
    type Response = Exchange;
    type Error = GatewayError;
    type Future = Pin<Box<dyn Future<Output = Result<Exchange, GatewayError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outbound: Outbound) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { service.send(outbound).await })
    }
}

fn not_configured(missing: &[String]) -> GatewayError {
    let detail = format!("the provider is not configured: {} must be set", missing.join(", "));
    GatewayError::new(Reason::ProviderNotConfigured, detail).with_metadata("missing", missing)
}

fn busy(in_flight: usize) -> GatewayError {
    GatewayError::new(
        Reason::ProviderBusy,
        format!("{in_flight} calls to this provider are under way, and more are not allowed"),
    )
    .with_metadata("in_flight_limit", in_flight)
    .with_retry_after(BUSY_RETRY_AFTER)
}

/// Calls last about a second, so there is likely room after one.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);
