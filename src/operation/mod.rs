//! Operations: what has to be known to follow an accepted action, sealed into the token that the caller gets for it.
//!
//! **Shape**: [`Accepted`] -> [`OperationKeys::seal`] -> `AQ3f…` (base64url) -> [`OperationKeys::open`] -> an [`Operation`] that says the same.
//!
//! **Invariants**: a token is all there is of an operation: nothing is kept, so any instance with one of the keys can answer for it,
//! and a restart loses none. Who has no key learns nothing from it but its length class, and can neither make nor change one.
//! The caller's `reason` and credentials are in no token: where they go on to the vendor, who asks sends their own.
//!
//! **Source**: AIP-151 (long-running operations).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::model::error::GatewayError;
use crate::model::reason::Reason;

mod keys;
mod nonce;
mod payload;
#[cfg(test)]
mod tests;

pub use keys::{KEY_BYTES, KeysError, MAX_TOKEN_CHARS, OperationKeys};

/// An accepted action that may still be under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Whose vendor took it.
    pub provider: String,
    /// The id of the task, as the caller wrote it.
    pub id: String,
    /// The verb.
    pub action: String,
    /// The vendor's own job for it, where it made one.
    pub job: Option<String>,
    /// Of the canonical request what says where the task is and how it was acted on; only the members of [`CARRIED`] travel.
    pub body: Map<String, Value>,
    /// The vendor's HTTP status when it took it.
    pub vendor_status: u16,
    /// When the vendor took it, to the second.
    pub accepted_at: Timestamp,
    /// From when on the token opens nothing, to the second.
    pub expires_at: Timestamp,
}

/// An action that has just been accepted: what is sealed. The members are those of [`Operation`].
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "described at the members of `Operation`")]
pub struct Accepted<'a> {
    pub provider: &'a str,
    pub id: &'a str,
    pub action: &'a str,
    pub job: Option<&'a str>,
    pub body: &'a Map<String, Value>,
    pub vendor_status: u16,
    pub accepted_at: Timestamp,
    pub expires_at: Timestamp,
}

impl Operation {
    /// The same, to be sealed.
    #[must_use]
    pub fn accepted(&self) -> Accepted<'_> {
        Accepted {
            provider: &self.provider,
            id: &self.id,
            action: &self.action,
            job: self.job.as_deref(),
            body: &self.body,
            vendor_status: self.vendor_status,
            accepted_at: self.accepted_at,
            expires_at: self.expires_at,
        }
    }

    /// Until when an operation that is accepted now can be asked for; `now` to the second, as tokens hold it.
    #[must_use]
    pub fn times(now: Timestamp, lifetime: SignedDuration) -> (Timestamp, Timestamp) {
        let accepted = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let expires = accepted.checked_add(lifetime).unwrap_or(Timestamp::MAX);
        (accepted, expires)
    }
}

/// Why a token is not made: what has to be carried is longer than a token may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operation takes more than {MAX_TOKEN_CHARS} characters")]
pub struct TooLong;

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was good, and its time is over.
    #[error("the operation has expired")]
    Expired,
    /// No key of ours made it, or it was changed; which of the two nobody is told.
    #[error("there is no such operation")]
    Unknown,
}

impl OpenError {
    /// As it is told: 404 either way. Only who holds a good token hears that it has expired.
    #[must_use]
    pub fn into_gateway_error(self) -> GatewayError {
        let detail = match self {
            Self::Expired => "the operation has expired; a GET of its task says what the vendor shows",
            Self::Unknown => "there is no such operation, or it was not made with a key of this gateway",
        };
        let error = GatewayError::new(Reason::OperationNotFound, detail);
        match self {
            Self::Expired => error.with_metadata("expired", true),
            Self::Unknown => error,
        }
    }
}

/// The members of a canonical request that a look, a question about a job, and the reading of their answers may use.
pub const CARRIED: [&str; 3] = ["force", "parameters", "scope"];
/// A day: whoever starts something in the evening can still ask in the morning.
pub const DEFAULT_LIFETIME: SignedDuration = SignedDuration::from_hours(24);
