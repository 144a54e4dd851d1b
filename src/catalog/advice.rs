//! What a caller should do about a problem: a sentence or two for each reason.
//!
//! **Invariants**: every reason has its row (a test says which one has not); a row says nothing that the table of reasons does not allow,
//! such as to send again what may have acted.

use crate::model::reason::Reason;

/// What to do about a problem of this kind. Empty for a reason without a row.
#[must_use]
pub fn advice(reason: Reason) -> &'static str {
    let row = ADVICE.iter().find(|(of, _)| *of == reason);
    row.map_or("", |(_, advice)| advice)
}

const ADVICE: &[(Reason, &str)] = &[
    (
        Reason::ActionFailed,
        "The vendor took the request, tried, and says that it failed; `vendor.code` and `vendor.message` are its words. Mend what they name, then \
         call again.",
    ),
    (
        Reason::BadVendorResponse,
        "The vendor answered with something that its interface does not have, so nobody knows what it did. Look at the task, and call again only \
         if it shows that nothing has happened. Whoever runs the gateway finds the cause in its log under `request_id`.",
    ),
    (Reason::BodyTooLarge, "Send a smaller body; `metadata.max_body_bytes` is the limit."),
    (
        Reason::DeadlineExceeded,
        "The call had used up its time before anything was sent. It may be sent again; where this comes often, the gateway or the way to the \
         vendor is slow.",
    ),
    (
        Reason::ExpectationFailed,
        "Leave the header `Expect` out, or send `Expect: 100-continue`.",
    ),
    (
        Reason::HeadersTooLarge,
        "Send fewer or shorter headers; large cookies of other applications are the usual cause.",
    ),
    (
        Reason::IdempotencyKeyInUse,
        "Your call with this key is under way. Ask again with the same key and the same request after the time in `Retry-After`: then you get its answer. \
         A new key would be a new call. Look at the task if you cannot wait.",
    ),
    (
        Reason::IdempotencyKeyReused,
        "This key came with another request before. Nothing of this one was sent. Make a key for each call, and keep it for that call's repetitions \
         only.",
    ),
    (
        Reason::IdempotencyOutcomeLost,
        "A call with this key was made and may have acted, but what it came to was not recorded. Look at the task before you call again, with a new key.",
    ),
    (
        Reason::IdempotencyUnavailable,
        "Nothing was sent: a key that cannot be kept would promise too much. Call again after the time in `Retry-After` with the same key.",
    ),
    (
        Reason::Internal,
        "A fault of the gateway. Look at the task before you call again: the action may have happened. Report `request_id` to whoever runs the \
         gateway.",
    ),
    (
        Reason::InvalidHeader,
        "`detail` names the header; correct it or leave it out. Nothing that a caller relies on is ignored in silence.",
    ),
    (
        Reason::InvalidIdempotencyKey,
        "Send one `Idempotency-Key` with 1 to 255 printable characters between double quotes, such as a random UUID. Without the header the call has \
         no key.",
    ),
    (
        Reason::InvalidQuery,
        "`detail` and `metadata` name the parameter and those that there are. A parameter stands there once, percent-encoded.",
    ),
    (
        Reason::InvalidRequest,
        "`errors` lists every place of the body that does not fit, as JSON Pointers. The schema is linked from `/providers/{provider}`.",
    ),
    (
        Reason::InvalidTarget,
        "Percent-encode what stands in the path; a target is a path and perhaps a query.",
    ),
    (
        Reason::InvalidTaskId,
        "`detail` says what an id of this provider looks like. An id is one segment of the path, percent-encoded once.",
    ),
    (
        Reason::LookFailed,
        "The action needs a look at the task first, and that came to nothing; nothing was changed. Call again later.",
    ),
    (
        Reason::LoopDetected,
        "An address in the configuration leads back to the gateway. Only whoever runs it can mend that.",
    ),
    (
        Reason::MalformedBody,
        "Send a JSON object in UTF-8, without duplicate members; `metadata` has line and column of the first fault. A look has no body.",
    ),
    (
        Reason::MalformedHttp,
        "The bytes are no request that has one meaning. A broken client or something between it and the gateway is at fault; the connection was \
         closed.",
    ),
    (
        Reason::MappingFailed,
        "The route cannot make the vendor's request out of this one. Only whoever wrote the route can mend that; `taskgate explain` shows where.",
    ),
    (
        Reason::MethodNotAllowed,
        "The header `Allow` lists the methods of this path: an action is a POST, everything else a GET.",
    ),
    (Reason::MethodNotImplemented, "Use POST for an action and GET for everything else."),
    (
        Reason::MisdirectedRequest,
        "The target names another host than the header `Host`. Send both alike, or a path alone.",
    ),
    (
        Reason::NotAcceptable,
        "Answers are JSON, as they are or with gzip: let `Accept` and `Accept-Encoding` take one of these, or leave them out. Nothing was sent.",
    ),
    (
        Reason::OperationNotFound,
        "The name is none that this gateway gave, or it has expired. What became of the action says a look at the task.",
    ),
    (Reason::OperationNotSupported, "`metadata.actions` lists what the provider offers."),
    (
        Reason::Overloaded,
        "Nothing was done. Call again after the time in `Retry-After`, not earlier and not from many places at once.",
    ),
    (
        Reason::ProviderBusy,
        "Nothing was sent. As many calls as this provider takes at once are under way; call again after the time in `Retry-After`.",
    ),
    (
        Reason::ProviderNotConfigured,
        "`metadata.missing` names the variables that whoever runs the gateway has to set. Calling again does not help before that.",
    ),
    (
        Reason::ProviderRateLimited,
        "Nothing was sent. `Retry-After` says exactly when the next call fits into what the vendor allows; `metadata.wait_ms` to the millisecond.",
    ),
    (
        Reason::ProviderSuspended,
        "Nothing was sent. The vendor has not answered lately and is asked again from time to time; `Retry-After` says when to come back.",
    ),
    (
        Reason::RequestTimeout,
        "Send the whole request without long pauses. It was not acted on and may be sent again.",
    ),
    (Reason::TargetTooLong, "Send a shorter path or query."),
    (
        Reason::TaskNotFound,
        "The vendor has no such task, or not where `scope` says. Check the id, and the members of `scope` that name the place.",
    ),
    (
        Reason::TaskStateConflict,
        "The task is in a state in which the vendor does not take the action. Look at the task; what has ended by itself is no error.",
    ),
    (
        Reason::Unauthenticated,
        "Send the header that `metadata.header` names: the vendor is called with the caller's own credentials.",
    ),
    (
        Reason::UnknownAction,
        "`metadata.actions` lists the verbs; they stand after the last `:` of the path, in lowerCamelCase.",
    ),
    (
        Reason::UnknownPath,
        "Paths are case-sensitive and have no slash at their end. `/openapi.json` and `/docs` list all of them.",
    ),
    (
        Reason::UnknownProvider,
        "`metadata.providers` lists the providers; `/providers` says more about them.",
    ),
    (
        Reason::UnrepresentableValue,
        "A value holds characters that the vendor's format has no way to carry; `metadata` says where. Leave them out.",
    ),
    (Reason::UnsupportedContentEncoding, "Send the body without a content coding."),
    (
        Reason::UnsupportedMediaType,
        "Send `Content-Type: application/json`, alone or with `charset=utf-8`.",
    ),
    (
        Reason::VendorAuth,
        "The credentials of the gateway at the vendor have expired or are wrong. Whoever runs the gateway has to renew them; nothing was done.",
    ),
    (
        Reason::VendorConnectionLost,
        "The request was on its way when the connection broke: the action may have happened. Look at the task before you call again.",
    ),
    (
        Reason::VendorError,
        "The vendor failed in the middle of it: the action may have happened. Look at the task before you call again.",
    ),
    (
        Reason::VendorPermissionDenied,
        "The gateway's account at the vendor lacks a right; `vendor.message` may name it. Whoever runs the account has to grant it.",
    ),
    (
        Reason::VendorQuotaExceeded,
        "A quota of the account is used up. Free some of it or have it raised; time alone does not help.",
    ),
    (
        Reason::VendorRateLimited,
        "Nothing was done. Call again after the time in `Retry-After`.",
    ),
    (
        Reason::VendorRejected,
        "The vendor understood the request and refuses it; `vendor.code` and `vendor.message` say why. Change the request.",
    ),
    (
        Reason::VendorTimeout,
        "The request was sent and no answer came in time: the action may have happened. Look at the task before you call again.",
    ),
    (
        Reason::VendorTlsFailed,
        "The vendor's certificate is not trusted, or the connection was tampered with. Nothing was sent; whoever runs the gateway has to look into it.",
    ),
    (
        Reason::VendorUnavailable,
        "The vendor says that it cannot work now. Nothing was done; call again later.",
    ),
    (
        Reason::VendorUnreachable,
        "No connection to the vendor could be made, so nothing was sent. Call again later; whoever runs the gateway may have to look at the way.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::answer::Outcome;

    #[test]
    fn every_reason_has_its_advice_and_none_has_two() {
        let without: Vec<&str> = Reason::ALL
            .into_iter()
            .filter(|reason| advice(*reason).is_empty())
            .map(Reason::code)
            .collect();
        assert!(without.is_empty(), "src/catalog/advice.rs has no row for {without:?}");
        assert_eq!(ADVICE.len(), Reason::ALL.len());
    }

    #[test]
    fn what_may_have_acted_is_looked_at_first() {
        for reason in Reason::ALL.into_iter().filter(|reason| reason.facts().outcome == Outcome::Unknown) {
            assert!(advice(reason).contains("Look at the task"), "{}", reason.code());
        }
    }

    #[test]
    fn what_can_be_repeated_says_when() {
        for reason in Reason::ALL.into_iter().filter(|reason| reason.facts().retryable) {
            let advice = advice(reason);
            assert!(advice.contains("again") || advice.contains("Retry-After"), "{}", reason.code());
        }
    }
}
