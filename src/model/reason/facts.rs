//! The rows of the table of reasons.
//!
//! **Shape**: `Reason::TaskNotFound` -> `Facts { code: "TASK_NOT_FOUND", status: 404, outcome: NotDone, .. }`.
//!
//! **Invariants**: the match in [`Reason::facts`] has no wildcard, so a new reason without facts does not compile.
#![deny(clippy::wildcard_enum_match_arm)]

use super::Reason;
use crate::model::answer::Outcome;

/// Who has to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The caller sent something that cannot be served.
    Caller,
    /// taskgate itself, its configuration or its load.
    Gateway,
    /// The vendor, or the way to it.
    Vendor,
}

impl Source {
    /// `caller`, `gateway` or `vendor`: the word in logs, metrics and docs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Gateway => "gateway",
            Self::Vendor => "vendor",
        }
    }
}

/// What a reason means: the row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The stable code in the `reason` member, UPPER_SNAKE (AIP-193).
    pub code: &'static str,
    /// The title of the problem type: the same for every occurrence.
    pub title: &'static str,
    /// The HTTP status of the answer.
    pub status: u16,
    /// What is known about the effect at the vendor.
    pub outcome: Outcome,
    /// Who has to act.
    pub source: Source,
    /// May the same call be sent again as it is? Only where it provably did nothing and time alone may help.
    pub retryable: bool,
}

impl Reason {
    /// The row of this reason.
    ///
    /// ```
    /// use taskgate::model::reason::Reason;
    /// assert_eq!(Reason::TaskNotFound.facts().status, 404);
    /// assert_eq!(Reason::VendorTimeout.facts().outcome.as_str(), "unknown");
    /// ```
    #[must_use]
    pub fn facts(self) -> Facts {
        use Outcome::{NotDone, Unknown};
        use Source::{Caller, Gateway, Vendor};
        const NO: bool = false;
        const YES: bool = true;
        let row = |code, title, status, outcome, source, retryable| Facts {
            code,
            title,
            status,
            outcome,
            source,
            retryable,
        };
        match self {
            Self::ActionFailed => row(
                "ACTION_FAILED",
                "The vendor reports that the action failed",
                502,
                NotDone,
                Vendor,
                NO,
            ),
            Self::BadVendorResponse => row(
                "BAD_VENDOR_RESPONSE",
                "The vendor's answer makes no sense",
                502,
                Unknown,
                Vendor,
                NO,
            ),
            Self::BodyTooLarge => row("BODY_TOO_LARGE", "The request body is too large", 413, NotDone, Caller, NO),
            Self::DeadlineExceeded => row(
                "DEADLINE_EXCEEDED",
                "Time ran out before the vendor was called",
                504,
                NotDone,
                Gateway,
                NO,
            ),
            Self::ExpectationFailed => row("EXPECTATION_FAILED", "The expectation cannot be met", 417, NotDone, Caller, NO),
            Self::HeadersTooLarge => row("HEADERS_TOO_LARGE", "The request headers are too large", 431, NotDone, Caller, NO),
            Self::IdempotencyKeyInUse => row(
                "IDEMPOTENCY_KEY_IN_USE",
                "A call with this key is under way",
                409,
                // The call that is under way is the caller's own, and may be acting.
                Unknown,
                Caller,
                NO,
            ),
            Self::IdempotencyKeyReused => row(
                "IDEMPOTENCY_KEY_REUSED",
                "The key belongs to another call",
                422,
                NotDone,
                Caller,
                NO,
            ),
            Self::IdempotencyOutcomeLost => row(
                "IDEMPOTENCY_OUTCOME_LOST",
                "What the call with this key came to was not recorded",
                500,
                Unknown,
                Gateway,
                NO,
            ),
            Self::IdempotencyUnavailable => row(
                "IDEMPOTENCY_UNAVAILABLE",
                "The key cannot be kept for now",
                503,
                NotDone,
                Gateway,
                YES,
            ),
            Self::Internal => row("INTERNAL", "Something broke inside taskgate", 500, Unknown, Gateway, NO),
            Self::InvalidHeader => row("INVALID_HEADER", "A request header is not valid", 400, NotDone, Caller, NO),
            Self::InvalidIdempotencyKey => row(
                "INVALID_IDEMPOTENCY_KEY",
                "The idempotency key is not valid",
                400,
                NotDone,
                Caller,
                NO,
            ),
            Self::InvalidQuery => row("INVALID_QUERY", "The query is not valid", 400, NotDone, Caller, NO),
            Self::InvalidRequest => row(
                "INVALID_REQUEST",
                "The request does not fit the schema of the action",
                400,
                NotDone,
                Caller,
                NO,
            ),
            Self::InvalidTarget => row("INVALID_TARGET", "The request target is not valid", 400, NotDone, Caller, NO),
            Self::InvalidTaskId => row(
                "INVALID_TASK_ID",
                "The task id is not valid for this provider",
                400,
                NotDone,
                Caller,
                NO,
            ),
            Self::LookFailed => row("LOOK_FAILED", "The task could not be looked at", 503, NotDone, Vendor, YES),
            Self::LoopDetected => row(
                "LOOP_DETECTED",
                "The request has already passed through this gateway",
                508,
                NotDone,
                Gateway,
                NO,
            ),
            Self::MalformedBody => row("MALFORMED_BODY", "The request body cannot be read", 400, NotDone, Caller, NO),
            Self::MalformedHttp => row("MALFORMED_HTTP", "The request is not valid HTTP", 400, NotDone, Caller, NO),
            Self::MappingFailed => row(
                "MAPPING_FAILED",
                "The request cannot be mapped to the vendor's",
                500,
                NotDone,
                Gateway,
                NO,
            ),
            Self::MethodNotAllowed => row("METHOD_NOT_ALLOWED", "The method is not allowed here", 405, NotDone, Caller, NO),
            Self::MethodNotImplemented => row("METHOD_NOT_IMPLEMENTED", "The method is not known", 501, NotDone, Caller, NO),
            Self::MisdirectedRequest => row(
                "MISDIRECTED_REQUEST",
                "The request is meant for another server",
                421,
                NotDone,
                Caller,
                NO,
            ),
            Self::NotAcceptable => row(
                "NOT_ACCEPTABLE",
                "There is no answer in a form that the caller takes",
                406,
                NotDone,
                Caller,
                NO,
            ),
            Self::OperationNotFound => row("OPERATION_NOT_FOUND", "There is no such operation", 404, NotDone, Caller, NO),
            Self::OperationNotSupported => row(
                "OPERATION_NOT_SUPPORTED",
                "The provider does not offer this action",
                404,
                NotDone,
                Caller,
                NO,
            ),
            Self::Overloaded => row("OVERLOADED", "taskgate is at its limit", 503, NotDone, Gateway, YES),
            Self::ProviderBusy => row(
                "PROVIDER_BUSY",
                "Too many calls to this provider are under way",
                503,
                NotDone,
                Gateway,
                YES,
            ),
            Self::ProviderNotConfigured => row(
                "PROVIDER_NOT_CONFIGURED",
                "The provider is not configured",
                503,
                NotDone,
                Gateway,
                NO,
            ),
            Self::ProviderRateLimited => row(
                "PROVIDER_RATE_LIMITED",
                "As many calls as the vendor allows have been made for now",
                503,
                NotDone,
                Gateway,
                YES,
            ),
            Self::ProviderSuspended => row(
                "PROVIDER_SUSPENDED",
                "The vendor does not answer and is left alone for a while",
                503,
                NotDone,
                Gateway,
                YES,
            ),
            Self::RequestTimeout => row("REQUEST_TIMEOUT", "The request did not arrive in time", 408, NotDone, Caller, NO),
            Self::TargetTooLong => row("TARGET_TOO_LONG", "The request target is too long", 414, NotDone, Caller, NO),
            Self::TaskNotFound => row("TASK_NOT_FOUND", "The vendor does not know the task", 404, NotDone, Vendor, NO),
            Self::TaskStateConflict => row(
                "TASK_STATE_CONFLICT",
                "The task is not in a state that allows the action",
                409,
                NotDone,
                Vendor,
                NO,
            ),
            Self::Unauthenticated => row("UNAUTHENTICATED", "The caller has to prove who they are", 401, NotDone, Caller, NO),
            Self::UnknownAction => row("UNKNOWN_ACTION", "There is no such action", 404, NotDone, Caller, NO),
            Self::UnknownPath => row("UNKNOWN_PATH", "There is nothing at this path", 404, NotDone, Caller, NO),
            Self::UnknownProvider => row("UNKNOWN_PROVIDER", "There is no such provider", 404, NotDone, Caller, NO),
            Self::UnrepresentableValue => row(
                "UNREPRESENTABLE_VALUE",
                "A value cannot be carried to the vendor",
                400,
                NotDone,
                Caller,
                NO,
            ),
            Self::UnsupportedContentEncoding => row(
                "UNSUPPORTED_CONTENT_ENCODING",
                "The content coding is not accepted",
                415,
                NotDone,
                Caller,
                NO,
            ),
            Self::UnsupportedMediaType => row("UNSUPPORTED_MEDIA_TYPE", "The media type is not accepted", 415, NotDone, Caller, NO),
            Self::VendorAuth => row(
                "VENDOR_AUTH",
                "The vendor does not accept taskgate's credentials",
                502,
                NotDone,
                Vendor,
                NO,
            ),
            Self::VendorConnectionLost => row(
                "VENDOR_CONNECTION_LOST",
                "The connection to the vendor broke before its answer was complete",
                502,
                Unknown,
                Vendor,
                NO,
            ),
            Self::VendorError => row("VENDOR_ERROR", "The vendor has internal trouble", 502, Unknown, Vendor, NO),
            Self::VendorPermissionDenied => row(
                "VENDOR_PERMISSION_DENIED",
                "taskgate's account at the vendor may not do this",
                502,
                NotDone,
                Vendor,
                NO,
            ),
            Self::VendorQuotaExceeded => row(
                "VENDOR_QUOTA_EXCEEDED",
                "A quota at the vendor is used up",
                429,
                NotDone,
                Vendor,
                NO,
            ),
            Self::VendorRateLimited => row(
                "VENDOR_RATE_LIMITED",
                "The vendor takes no more calls for now",
                503,
                NotDone,
                Vendor,
                YES,
            ),
            Self::VendorRejected => row(
                "VENDOR_REJECTED",
                "The vendor does not accept the request",
                422,
                NotDone,
                Vendor,
                NO,
            ),
            Self::VendorTimeout => row("VENDOR_TIMEOUT", "The vendor did not answer in time", 504, Unknown, Vendor, NO),
            Self::VendorTlsFailed => row(
                "VENDOR_TLS_FAILED",
                "No secure connection to the vendor could be made",
                502,
                NotDone,
                Vendor,
                NO,
            ),
            Self::VendorUnavailable => row("VENDOR_UNAVAILABLE", "The vendor is not available", 503, NotDone, Vendor, YES),
            Self::VendorUnreachable => row("VENDOR_UNREACHABLE", "The vendor cannot be reached", 503, NotDone, Vendor, YES),
        }
    }
}
