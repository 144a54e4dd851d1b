//! Translate: [`ValidCall`] -> [`Outbound`], and on the way back [`Exchange`] -> [`Completed`].

use std::sync::Arc;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::{BoxFuture, Completed, CredentialUse, Exchange, Failed, Outbound, Staged, Trail, ValidCall};
use crate::mapping::request::RequestError;
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

impl<S> Service<Staged<ValidCall>> for Translate<S>
where
    S: Service<Outbound, Response = Exchange, Error = GatewayError>,
    S::Future: Send + 'static,
{
    type Response = Completed;
    type Error = Box<Failed>;
    type Future = BoxFuture<Completed, Box<Failed>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, Staged { context, call }: Staged<ValidCall>) -> Self::Future {
        let request = match call.route.request.render(&call.values.bindings()) {
            Ok(request) => request,
            Err(error) => return Box::pin(std::future::ready(Err(RequestError::into_gateway_error(error).into()))),
        };
        let going = self.inner.call(Outbound {
            context,
            provider: Arc::clone(&call.provider),
            route: Arc::clone(&call.route),
            request,
            credentials: CredentialUse::Normal,
        });
        Box::pin(async move {
            let exchange = going.await?;
            let reading = call.route.reply.normalize(&call.values, &call.id, &exchange.reply);
            let trail = Trail {
                vendor_elapsed: Some(exchange.elapsed),
                drift: reading.drift,
                ..Trail::default()
            };
            match reading.result {
                Ok(answer) => Ok(Completed { answer, trail }),
                Err(error) => Err(Box::new(Failed { error, trail })),
            }
        })
    }
}
