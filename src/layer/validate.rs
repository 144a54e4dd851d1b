//! Validate: [`RoutedCall`] -> [`ValidCall`]: id, defaults and schema.

use std::future::ready;
use std::sync::Arc;

use futures_util::future::Either;
use uuid::Uuid;

use super::{CallContext, Completed, Failed, RoutedCall, Stage, ValidCall};
use crate::mapping::request::Fresh;
use crate::mapping::validate::validate_taking;
use crate::model::error::GatewayError;

/// The stage.
#[derive(Debug)]
pub struct Validate<S> {
    inner: S,
}

impl<S> Validate<S> {
    /// In front of what takes valid calls.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Stage<RoutedCall> for Validate<S>
where
    S: Stage<ValidCall, Done = Box<Completed>, Failed = Box<Failed>>,
{
    type Done = Box<Completed>;
    type Failed = Box<Failed>;

    fn run<'a>(
        &'a self,
        context: &'a Arc<CallContext>,
        call: RoutedCall,
    ) -> impl Future<Output = Result<Box<Completed>, Box<Failed>>> + Send {
        match valid(call) {
            Ok(call) => Either::Left(self.inner.run(context, call)),
            Err(error) => Either::Right(ready(Err(error.into()))),
        }
    }
}

/// The call, where it says what its action needs.
///
/// # Errors
/// As [`validate_taking`].
pub(super) fn valid(RoutedCall { mut call, provider, route }: RoutedCall) -> Result<ValidCall, GatewayError> {
    // It may be a key that the vendor tells calls apart by, so its chance is the operating system's; that is asked where a route has it.
    let uuid = route.reads_call.then(|| Uuid::new_v4().simple().to_string());
    let mut values = validate_taking(&mut call, &provider, &route, uuid.as_deref().unwrap_or_default())?;
    if uuid.is_none() {
        values.call = Fresh::unknown();
    }
    Ok(ValidCall {
        id: call.id,
        values,
        wait: call.wait,
        resumed: call.resumed,
        provider,
        route,
    })
}
