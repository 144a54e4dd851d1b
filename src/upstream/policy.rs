//! The way of a request to its provider: is it configured, through the gate, with credentials, over the wire.
//!
//! **Shape**: `Outbound { context, route, request, .. }` -> `Exchange`.
//!
//! **Invariants**: always ready, so that a provider that hangs never makes another one wait. The pass of the gate
//! lives as long as the future of the call, so dropping the call frees its place.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::Service;

use super::client::{ClientError, UpstreamClient};
use super::credentials::{Applied, Applier, Keyring};
use super::gate::Gate;
use super::ladder::{Ladder, Terms};
use crate::layer::trace::Trace;
use crate::layer::{Exchange, Outbound};
use crate::model::call::UpstreamRequest;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::route::{Connection, Limits};
use crate::telemetry::metrics::ProviderMeter;

/// The way to one provider. Cloning shares the gate and the pool.
#[derive(Clone, Debug)]
pub struct ProviderService {
    way: Arc<Way>,
}

#[derive(Debug)]
struct Way {
    lane: Arc<Lane>,
    gate: Gate,
}

#[derive(Debug)]
struct Lane {
    meter: ProviderMeter,
    client: Result<UpstreamClient, Vec<String>>,
    /// Nothing where the client knows its fixed credentials itself.
    applier: Option<Applier>,
    ladder: Ladder,
}

impl ProviderService {
    /// The way to `provider`; without a connection it answers every call with the variables that are missing. Its credentials
    /// share their state with nobody.
    ///
    /// # Errors
    ///
    /// [`ClientError`] as [`UpstreamClient::new`].
    pub fn new(provider: &str, connection: &Result<Connection, Vec<String>>, limits: &Limits, via: &str) -> Result<Self, ClientError> {
        Self::with_keyring(provider, connection, limits, via, &Keyring::default())
    }

    /// The way to `provider`, whose credentials share the state that the keyring has for their name, over the network of the keyring.
    ///
    /// # Errors
    ///
    /// [`ClientError`] as [`UpstreamClient::new`].
    pub fn with_keyring(
        provider: &str,
        connection: &Result<Connection, Vec<String>>,
        limits: &Limits,
        via: &str,
        keyring: &Keyring,
    ) -> Result<Self, ClientError> {
        Ok(match connection {
            Ok(connection) => {
                let applier = keyring.applier(connection, via)?;
                let client = UpstreamClient::over(Arc::clone(keyring.network()), connection, limits, via)?;
                Self::build(provider, Ok(client), Some(applier), limits)
            }
            Err(missing) => Self::build(provider, Err(missing.clone()), None, limits),
        })
    }

    /// The way to `provider` over a client that is there already, or the names of the variables that are missing.
    #[must_use]
    pub fn with_client(provider: &str, client: Result<UpstreamClient, Vec<String>>, limits: &Limits) -> Self {
        Self::build(provider, client, None, limits)
    }

    fn build(provider: &str, client: Result<UpstreamClient, Vec<String>>, applier: Option<Applier>, limits: &Limits) -> Self {
        let seed = client.as_ref().map_or(0, UpstreamClient::seed);
        let lane = Arc::new(Lane {
            ladder: Ladder::new(provider, limits.in_flight, seed),
            meter: ProviderMeter::new(provider),
            client,
            applier,
        });
        let gate = Gate::new(provider, limits, Arc::default());
        gate.seed(seed);
        let way = Arc::new(Way { lane, gate });
        Self { way }
    }

    /// The same way through this gate instead of one of its own, which shares no quota with others.
    #[must_use]
    pub fn through(self, gate: Gate) -> Self {
        let lane = Arc::clone(&self.way.lane);
        gate.seed(lane.client.as_ref().map_or(0, UpstreamClient::seed));
        let way = Arc::new(Way { lane, gate });
        Self { way }
    }

    /// Sends one request with its credentials, unless the provider is not configured or the gate keeps it back. Again only where
    /// that cannot act twice: as the ladder says, and after the vendor refused it for a session that had ended.
    ///
    /// # Errors
    ///
    /// `PROVIDER_NOT_CONFIGURED` and those of the [gate](super::gate) before anything is sent, those of the credentials; then as
    /// [`UpstreamClient::send`].
    pub async fn send(&self, outbound: Outbound) -> Result<Exchange, GatewayError> {
        let Way { lane, gate } = &*self.way;
        let client = lane.client.as_ref().map_err(|missing| not_configured(missing))?;
        let pass = gate.enter(&outbound).await?;
        let _counted = lane.meter.call_begins();
        let (route, context) = (Arc::clone(&outbound.route), Arc::clone(&outbound.context));
        let terms = Terms {
            route: &route,
            deadline: context.deadline,
            doubt: &context.doubt,
            pass: &pass,
        };
        let trace = route.trace.then_some(&context.trace);
        let sender = Sender {
            lane,
            client,
            terms,
            trace,
        };
        let result = match &lane.applier {
            Some(applier) => applier.exchange(outbound, &sender).await,
            None => sender.send(&outbound.request, client.fixed()).await,
        };
        if route.is_look() { result } else { context.doubt.settle(result) }
    }
}

/// Sends the requests of one errand.
pub(super) struct Sender<'a> {
    lane: &'a Lane,
    client: &'a UpstreamClient,
    terms: Terms<'a>,
    trace: Option<&'a Trace>,
}

impl Sender<'_> {
    /// Sends a request with these credentials, as often as the ladder says.
    ///
    /// # Errors
    /// As [`Ladder::run`].
    pub(super) fn send(&self, request: &UpstreamRequest, mut applied: Applied) -> impl Future<Output = Result<Exchange, GatewayError>> {
        // Behind the signature: who stands between may change them.
        applied.extend(self.trace.into_iter().flat_map(Trace::headers));
        let Self { lane, client, terms, .. } = self;
        lane.ladder.run((client, &lane.meter), request, applied, terms)
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
