//! Resolve: [`TaskCall`] -> [`RoutedCall`]: finds the provider and its route.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use tower::{Layer, Service};

use super::{BoxFuture, Completed, Failed, RoutedCall, Staged, caller_reason};
use crate::model::call::TaskCall;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::route::{Provider, Route, RouteTable};

/// Makes [`Resolve`].
#[derive(Clone, Debug)]
pub struct ResolveLayer {
    table: Arc<RouteTable>,
}

impl ResolveLayer {
    /// Resolves by this table.
    #[must_use]
    pub fn new(table: Arc<RouteTable>) -> Self {
        Self { table }
    }
}

impl<S> Layer<S> for ResolveLayer {
    type Service = Resolve<S>;

    fn layer(&self, inner: S) -> Resolve<S> {
        Resolve {
            inner,
            table: Arc::clone(&self.table),
        }
    }
}

/// The stage.
#[derive(Clone, Debug)]
pub struct Resolve<S> {
    inner: S,
    table: Arc<RouteTable>,
}

impl<S> Service<Staged<TaskCall>> for Resolve<S>
where
    S: Service<Staged<RoutedCall>, Response = Completed, Error = Box<Failed>> + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Completed;
    type Error = Box<Failed>;
    type Future = BoxFuture<Completed, Box<Failed>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, Staged { context, call }: Staged<TaskCall>) -> Self::Future {
        let routed = match resolve(&self.table, call) {
            Ok(routed) => routed,
            Err(error) => return Box::pin(std::future::ready(Err(error.into()))),
        };
        let (route, id, reason) = (Arc::clone(&routed.route), routed.call.id.clone(), caller_reason(&routed.call.body));
        let going = match configured(&routed.provider) {
            Ok(()) => Either::Left(self.inner.call(Staged { context, call: routed })),
            Err(error) => Either::Right(std::future::ready(Err(error.into()))),
        };
        // The way back notes what was called: log line and metrics need it whatever happened below.
        Box::pin(async move {
            let mut result = going.await;
            let trail = match &mut result {
                Ok(completed) => &mut completed.trail,
                Err(failed) => &mut failed.trail,
            };
            trail.route = Some(route);
            trail.id = Some(id);
            trail.caller_reason = reason;
            result
        })
    }
}

/// Finds provider and route.
///
/// # Errors
/// `UNKNOWN_PROVIDER`, `UNKNOWN_ACTION` (no provider has the verb), `OPERATION_NOT_SUPPORTED` (this one has not).
pub fn resolve(table: &RouteTable, call: TaskCall) -> Result<RoutedCall, GatewayError> {
    let Some(provider) = table.providers.get(&call.provider) else {
        let names: Vec<&str> = table.providers.keys().map(String::as_str).collect();
        let detail = format!("there is no such provider; there are {}", names.join(", "));
        return Err(GatewayError::new(Reason::UnknownProvider, detail).with_metadata("providers", names));
    };
    let route = match &call.action {
        Some(action) => action_of(table, provider, action)?,
        None => look_of(provider)?,
    };
    Ok(RoutedCall {
        provider: Arc::clone(provider),
        route: Arc::clone(route),
        call,
    })
}

/// Is it known where and as whom the provider is called?
///
/// # Errors
/// `PROVIDER_NOT_CONFIGURED` with the variables that are missing.
pub fn configured(provider: &Provider) -> Result<(), GatewayError> {
    let Err(missing) = &provider.connection else { return Ok(()) };
    let mut detail = format!(
        "`{}` is not configured here: {} must be set where taskgate runs",
        provider.name,
        missing.join(", ")
    );
    let mut error = GatewayError::new(Reason::ProviderNotConfigured, "").with_metadata("missing", missing.clone());
    if !provider.alternatives.is_empty() {
        let sets: Vec<String> = provider.alternatives.iter().map(|set| set.join(", ")).collect();
        detail.push_str(&format!("; for the credentials one of these sets is enough: {}", sets.join(" | ")));
        error = error.with_metadata("alternatives", provider.alternatives.clone());
    }
    error.detail = detail;
    Err(error)
}

fn action_of<'a>(table: &RouteTable, provider: &'a Provider, action: &str) -> Result<&'a Arc<Route>, GatewayError> {
    provider.actions.get(action).ok_or_else(|| {
        if !table.verbs.contains(action) {
            let verbs: Vec<&str> = table.verbs.iter().map(String::as_str).collect();
            let detail = format!("there is no such action; there are {}", verbs.join(", "));
            return GatewayError::new(Reason::UnknownAction, detail).with_metadata("actions", verbs);
        }
        let verbs: Vec<&str> = provider.actions.keys().map(String::as_str).collect();
        let detail = format!("`{}` does not offer `{action}`; it offers {}", provider.name, verbs.join(", "));
        GatewayError::new(Reason::OperationNotSupported, detail).with_metadata("actions", verbs)
    })
}

fn look_of(provider: &Provider) -> Result<&Arc<Route>, GatewayError> {
    provider.task.as_ref().map(|task| &task.route).ok_or_else(|| {
        let detail = format!("the tasks of `{}` cannot be looked at", provider.name);
        GatewayError::new(Reason::OperationNotSupported, detail)
    })
}
