//! Translate: an [`Errand`] -> [`Outbound`], and on the way back [`Exchange`] -> what the errand reports.

use std::sync::Arc;
use std::task::{Context, Poll};

use tower::util::ServiceExt;
use tower::{Layer, Service};

use super::errand::Errand;
use super::{BoxFuture, CallContext, Exchange, Failed, Outbound, Staged};
use crate::model::error::GatewayError;

/// Makes [`Translate`].
#[derive(Clone, Debug, Default)]
pub struct TranslateLayer;

impl<S> Layer<S> for TranslateLayer {
    type Service = Translate<S>;

    fn layer(&self, inner: S) -> Translate<S> {
        Translate { inner }
    }
}

/// The stage.
#[derive(Clone, Debug)]
pub struct Translate<S> {
    inner: S,
}

impl<S> Translate<S>
where
    S: Service<Outbound, Response = Exchange, Error = GatewayError> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    /// Runs one errand, once.
    ///
    /// # Errors
    /// What the errand, the way to the vendor or the vendor says.
    pub async fn run<E: Errand>(&self, context: &CallContext, errand: E) -> Result<E::Report, Box<Failed>> {
        let staged = Staged {
            context: context.clone(),
            call: errand,
        };
        self.clone().oneshot(staged).await
    }
}

impl<S, E> Service<Staged<E>> for Translate<S>
where
    S: Service<Outbound, Response = Exchange, Error = GatewayError>,
    S::Future: Send + 'static,
    E: Errand,
{
    type Response = E::Report;
    type Error = Box<Failed>;
    type Future = BoxFuture<E::Report, Box<Failed>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, Staged { context, call: errand }: Staged<E>) -> Self::Future {
        let request = match errand.render() {
            Ok(request) => request,
            Err(error) => return Box::pin(std::future::ready(Err(error.into()))),
        };
        let going = self.inner.call(Outbound {
            context,
            provider: Arc::clone(errand.provider()),
            route: Arc::clone(errand.route()),
            aim: errand.aim(),
            request,
            credentials: errand.credentials(),
        });
        Box::pin(async move {
            let exchange = going.await?;
            errand.read(&exchange)
        })
    }
}
