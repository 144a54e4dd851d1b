//! Validate: [`RoutedCall`] -> [`ValidCall`]: id, defaults and schema.

use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::{BoxFuture, Completed, Failed, RoutedCall, Staged, ValidCall};
use crate::mapping::validate::validate_taking;

/// Makes [`Validate`].
#[derive(Clone, Debug, Default)]
pub struct ValidateLayer;

impl<S> Layer<S> for ValidateLayer {
    type Service = Validate<S>;

    fn layer(&self, inner: S) -> Validate<S> {
        Validate { inner }
    }
}

/// The stage.
#[derive(Clone, Debug)]
pub struct Validate<S> {
    inner: S,
}

impl<S> Service<Staged<RoutedCall>> for Validate<S>
where
    S: Service<Staged<ValidCall>, Response = Completed, Error = Box<Failed>>,
    S::Future: Send + 'static,
{
    type Response = Completed;
    type Error = Box<Failed>;
    type Future = BoxFuture<Completed, Box<Failed>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, Staged { context, call }: Staged<RoutedCall>) -> Self::Future {
        let RoutedCall { mut call, provider, route } = call;
        let uuid = uuid::Uuid::new_v4().simple().to_string();
        match validate_taking(&mut call, &provider, &route, &uuid) {
            Ok(values) => Box::pin(self.inner.call(Staged {
                context,
                call: ValidCall {
                    id: call.id,
                    values,
                    wait: call.wait,
                    provider,
                    route,
                },
            })),
            Err(error) => Box::pin(std::future::ready(Err(error.into()))),
        }
    }
}
