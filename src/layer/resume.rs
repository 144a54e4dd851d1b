//! Resume: what an accepted action is asked for by, and what a question about it becomes: a call that follows and never acts.
//!
//! **Shape**: an accepted answer -> `operations/AQ3f…`; `GET /operations/AQ3f…` -> a [`TaskCall`] with [`Resumed`].
//!
//! **Invariants**: the routes that run now decide how it is followed; an operation whose provider or action is gone is not found. Nothing
//! is kept of an operation but the keys.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Failed, ValidCall};
use crate::model::call::{OperationCall, Resumed, TaskCall};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::operation::{Accepted, DEFAULT_LIFETIME, OpenError, Operation, OperationKeys};

/// How operations are named, and for how long.
#[derive(Clone, Debug)]
pub struct Operations {
    /// What names are made with; without any no operation has a name.
    pub keys: Option<Arc<OperationKeys>>,
    /// How long they can be asked for.
    pub lifetime: SignedDuration,
}

impl Default for Operations {
    fn default() -> Self {
        Self {
            keys: None,
            lifetime: DEFAULT_LIFETIME,
        }
    }
}

impl Operations {
    /// The name of an action that the vendor has just taken; none without keys, or where it would be too long.
    #[must_use]
    pub fn name(&self, call: &ValidCall, job: Option<&str>, vendor_status: u16) -> Option<String> {
        let keys = self.keys.as_ref()?;
        let now = Timestamp::now();
        let (accepted_at, expires_at) = Operation::times(now, self.lifetime);
        let operation = Accepted {
            provider: &call.provider.name,
            id: &call.id,
            action: &call.route.action,
            job,
            body: &call.values.body,
            vendor_status,
            accepted_at,
            expires_at,
        };
        keys.seal(COLLECTION, operation, now).ok()
    }

    /// The call that follows the operation of this name.
    ///
    /// # Errors
    /// `OPERATION_NOT_FOUND`.
    pub fn open(&self, call: &OperationCall) -> Result<TaskCall, GatewayError> {
        let keys = self.keys.as_ref().ok_or_else(|| OpenError::Unknown.into_gateway_error())?;
        let now = Timestamp::now();
        let operation = keys.open(&call.token, now).map_err(OpenError::into_gateway_error)?;
        Ok(TaskCall {
            provider: operation.provider,
            id: operation.id,
            action: Some(operation.action),
            body: operation.body,
            query: Vec::new(),
            wait: call.wait,
            resumed: Some(Box::new(Resumed {
                job: operation.job,
                vendor_status: Some(operation.vendor_status),
                // Clocks of a fleet differ by seconds: what was accepted a moment from now is new.
                age: Duration::try_from(now.duration_since(operation.accepted_at)).unwrap_or_default(),
            })),
        })
    }
}

/// The name as it is asked for.
#[must_use]
pub fn name(call: &OperationCall) -> String {
    format!("{COLLECTION}{}", call.token)
}

/// A good token whose call the routes do not take (any more): there is no such operation.
#[must_use]
pub fn outdated(mut failed: Box<Failed>) -> Box<Failed> {
    if matches!(
        failed.error.reason,
        Reason::InvalidRequest | Reason::InvalidTaskId | Reason::OperationNotSupported | Reason::UnknownAction | Reason::UnknownProvider
    ) {
        let detail = "the operation belongs to routes that do not run here (any more)";
        let why = failed.error.reason.code();
        failed.error = GatewayError::new(Reason::OperationNotFound, detail).with_internal(why);
    }
    failed
}

/// What stands before every token.
const COLLECTION: &str = "operations/";
