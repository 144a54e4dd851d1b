//! The one table of reasons: what each means for the caller, the task and the person on call.
//!
//! **Shape**: `Reason::TaskNotFound` -> `Facts { code: "TASK_NOT_FOUND", status: 404, outcome: NotDone, .. }`.
//!
//! **Invariants**: `docs/errors.md` is compared with this table by a test. The pair (domain, code) is the contract with callers: a
//! code is never reused for another meaning (AIP-193).

mod facts;

pub use facts::{Facts, Source};

/// Why a call did not succeed. One variant, one row of [`Reason::facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is described by its row in `facts`")]
pub enum Reason {
    ActionFailed,
    BadVendorResponse,
    BodyTooLarge,
    DeadlineExceeded,
    ExpectationFailed,
    HeadersTooLarge,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IdempotencyOutcomeLost,
    IdempotencyUnavailable,
    Internal,
    InvalidHeader,
    InvalidIdempotencyKey,
    InvalidQuery,
    InvalidRequest,
    InvalidTarget,
    InvalidTaskId,
    LookFailed,
    LoopDetected,
    MalformedBody,
    MalformedHttp,
    MappingFailed,
    MethodNotAllowed,
    MethodNotImplemented,
    MisdirectedRequest,
    NotAcceptable,
    OperationNotFound,
    OperationNotSupported,
    Overloaded,
    ProviderBusy,
    ProviderNotConfigured,
    ProviderRateLimited,
    ProviderSuspended,
    RequestTimeout,
    TargetTooLong,
    TaskNotFound,
    TaskStateConflict,
    Unauthenticated,
    UnknownAction,
    UnknownPath,
    UnknownProvider,
    UnrepresentableValue,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
    VendorAuth,
    VendorConnectionLost,
    VendorError,
    VendorPermissionDenied,
    VendorQuotaExceeded,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorTlsFailed,
    VendorUnavailable,
    VendorUnreachable,
}

impl Reason {
    /// Every reason, in alphabetical order.
    pub const ALL: [Self; 55] = [
        Self::ActionFailed,
        Self::BadVendorResponse,
        Self::BodyTooLarge,
        Self::DeadlineExceeded,
        Self::ExpectationFailed,
        Self::HeadersTooLarge,
        Self::IdempotencyKeyInUse,
        Self::IdempotencyKeyReused,
        Self::IdempotencyOutcomeLost,
        Self::IdempotencyUnavailable,
        Self::Internal,
        Self::InvalidHeader,
        Self::InvalidIdempotencyKey,
        Self::InvalidQuery,
        Self::InvalidRequest,
        Self::InvalidTarget,
        Self::InvalidTaskId,
        Self::LookFailed,
        Self::LoopDetected,
        Self::MalformedBody,
        Self::MalformedHttp,
        Self::MappingFailed,
        Self::MethodNotAllowed,
        Self::MethodNotImplemented,
        Self::MisdirectedRequest,
        Self::NotAcceptable,
        Self::OperationNotFound,
        Self::OperationNotSupported,
        Self::Overloaded,
        Self::ProviderBusy,
        Self::ProviderNotConfigured,
        Self::ProviderRateLimited,
        Self::ProviderSuspended,
        Self::RequestTimeout,
        Self::TargetTooLong,
        Self::TaskNotFound,
        Self::TaskStateConflict,
        Self::Unauthenticated,
        Self::UnknownAction,
        Self::UnknownPath,
        Self::UnknownProvider,
        Self::UnrepresentableValue,
        Self::UnsupportedContentEncoding,
        Self::UnsupportedMediaType,
        Self::VendorAuth,
        Self::VendorConnectionLost,
        Self::VendorError,
        Self::VendorPermissionDenied,
        Self::VendorQuotaExceeded,
        Self::VendorRateLimited,
        Self::VendorRejected,
        Self::VendorTimeout,
        Self::VendorTlsFailed,
        Self::VendorUnavailable,
        Self::VendorUnreachable,
    ];

    /// The stable code, such as `TASK_NOT_FOUND`.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.facts().code
    }

    /// The last part of the problem type URN, `urn:taskgate:problem:<slug>`: the code in lower case with hyphens.
    #[must_use]
    pub fn slug(self) -> String {
        self.code().to_ascii_lowercase().replace('_', "-")
    }

    /// The reason with this code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.facts().code == code)
    }

    /// Reasons that a routes file may give to a vendor's answer: those that say something about the vendor or the task. That a
    /// look failed is said by who looks.
    #[must_use]
    pub fn is_vendor_verdict(self) -> bool {
        self.facts().source == Source::Vendor && self != Self::LookFailed
    }

    /// What a status of 400 or more means when neither a rule nor a code of the route knows better.
    ///
    /// A refusal (4xx) says that nothing was done, with the exception of 408, where the vendor only says that it
    /// stopped waiting; a 5xx says nothing about the effect. Source: RFC 9110 section 15.
    #[must_use]
    pub fn of_vendor_status(status: u16) -> Self {
        match status {
            401 | 407 => Self::VendorAuth,
            403 => Self::VendorPermissionDenied,
            404 | 410 => Self::TaskNotFound,
            408 => Self::VendorError,
            409 | 423 | 425 => Self::TaskStateConflict,
            429 => Self::VendorRateLimited,
            400..=499 => Self::VendorRejected,
            500..=599 => Self::VendorError,
            _ => Self::BadVendorResponse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::answer::Outcome;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_upper_snake_and_sorted() {
        let codes: Vec<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
        for reason in Reason::ALL {
            let facts = reason.facts();
            assert!(
                facts.code.len() <= 63 && facts.code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'),
                "{}",
                facts.code
            );
            assert_eq!(Reason::parse(facts.code), Some(reason));
            assert!((400..600).contains(&facts.status), "{}", facts.code);
        }
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        assert_eq!(codes, sorted, "ALL is in alphabetical order");
    }

    #[test]
    fn only_what_provably_did_nothing_is_retryable() {
        for reason in Reason::ALL {
            let facts = reason.facts();
            assert!(
                !facts.retryable || (facts.outcome == Outcome::NotDone && facts.status == 503),
                "{}",
                facts.code
            );
            assert!(
                facts.outcome != Outcome::Done && facts.outcome != Outcome::Accepted,
                "{}",
                facts.code
            );
        }
    }

    #[test]
    fn every_error_status_has_a_default_reason() {
        for status in 400..600 {
            assert!(Reason::of_vendor_status(status).is_vendor_verdict());
        }
        assert_eq!(Reason::of_vendor_status(302), Reason::BadVendorResponse);
    }
}
