//! Answers and headers: what every operation may say, by the table of reasons.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Builder;
use crate::catalog::problems;
use crate::model::reason::{Reason, Source};
use crate::route::LOOK;

/// What an operation is, as far as its problems depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Acts on one task.
    Act,
    /// Acts on many.
    Batch,
    /// Looks at a task.
    Look,
    /// Asks what became of an action.
    Operation,
    /// A document of the catalog.
    Page,
    /// A document of the catalog about something that may not be there.
    PageOf,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Act => "Act",
            Self::Batch => "Batch",
            Self::Look => "Look",
            Self::Operation => "Operation",
            Self::Page => "Page",
            Self::PageOf => "PageOf",
        }
    }

    fn acts(self) -> bool {
        matches!(self, Self::Act | Self::Batch)
    }

    /// Can an operation of this kind end so? Of what is not listed the vendor's verdicts belong to what calls a vendor, and the rest to what takes
    /// a body.
    fn may_say(self, reason: Reason) -> bool {
        if NOT_OF_AN_OPERATION.contains(&reason) {
            return false;
        }
        if OF_EVERY_OPERATION.contains(&reason) {
            return true;
        }
        let is_lookup = matches!(
            reason,
            Reason::UnknownPath | Reason::UnknownProvider | Reason::UnknownAction | Reason::OperationNotSupported
        );
        if OF_KEYS.contains(&reason) {
            return self.acts();
        }
        if reason == Reason::OperationNotFound {
            return self == Self::Operation;
        }
        match self {
            Self::Page => false,
            Self::PageOf => is_lookup && reason != Reason::UnknownAction,
            Self::Act => !is_lookup,
            Self::Batch => !is_lookup && reason.facts().source != Source::Vendor,
            Self::Look => !is_lookup && !matches!(reason, Reason::ActionFailed | Reason::InvalidRequest | Reason::LookFailed),
            Self::Operation => {
                !is_lookup
                    && !matches!(
                        reason,
                        Reason::ActionFailed | Reason::InvalidRequest | Reason::InvalidTaskId | Reason::LookFailed
                    )
            }
        }
    }
}

/// Said to a request that is no call of any operation.
const NOT_OF_AN_OPERATION: &[Reason] = &[Reason::MethodNotImplemented];

/// Said of an idempotency key.
const OF_KEYS: &[Reason] = &[
    Reason::IdempotencyKeyInUse,
    Reason::IdempotencyKeyReused,
    Reason::IdempotencyOutcomeLost,
    Reason::IdempotencyUnavailable,
    Reason::InvalidIdempotencyKey,
];

/// Said before it is known which operation is called, or whatever it is.
const OF_EVERY_OPERATION: &[Reason] = &[
    Reason::HeadersTooLarge,
    Reason::Internal,
    Reason::InvalidHeader,
    Reason::InvalidQuery,
    Reason::InvalidTarget,
    Reason::MalformedBody,
    Reason::MalformedHttp,
    Reason::MethodNotAllowed,
    Reason::MisdirectedRequest,
    Reason::Overloaded,
    Reason::RequestTimeout,
    Reason::TargetTooLong,
];

impl Builder<'_> {
    /// The answers of an operation that are problems, by status.
    pub(super) fn problems(&mut self, kind: Kind) -> Map<String, Value> {
        let mut by_status: BTreeMap<u16, Vec<Reason>> = BTreeMap::new();
        for reason in Reason::ALL.into_iter().filter(|reason| kind.may_say(*reason)) {
            by_status.entry(reason.facts().status).or_default().push(reason);
        }
        by_status
            .into_iter()
            .map(|(status, reasons)| {
                let response = self.problem_response(kind, status, &reasons);
                let name = format!("{}Problem{status}", kind.name());
                (status.to_string(), self.component("responses", &name, || response))
            })
            .collect()
    }

    fn problem_response(&mut self, kind: Kind, status: u16, reasons: &[Reason]) -> Value {
        let schema = self.problem();
        let mut headers = self.headers(&["X-Request-Id"]);
        match status {
            401 => headers.extend(self.headers(&["WWW-Authenticate"])),
            405 => headers.extend(self.headers(&["Allow"])),
            415 => headers.extend(self.headers(&["Accept-Encoding"])),
            429 | 503 => headers.extend(self.headers(&["Retry-After"])),
            _ => {}
        }
        if matches!(kind, Kind::Act | Kind::Look) {
            headers.extend(self.headers(&["RateLimit", "RateLimit-Policy"]));
        }
        if kind.acts() {
            headers.extend(self.headers(&["Idempotency-Replayed"]));
        }
        // Looks and actions are shown by cases of their own.
        let (looks, others): (Vec<_>, Vec<_>) = self
            .table
            .examples
            .all()
            .iter()
            .cloned()
            .partition(|example| example.action == LOOK);
        let cases = if kind == Kind::Look { looks } else { others };
        let examples: Map<String, Value> = reasons
            .iter()
            .map(|reason| {
                let value = problems::example(*reason, &cases);
                (reason.code().to_owned(), json!({ "summary": reason.facts().title, "value": value }))
            })
            .collect();
        let titles: Vec<String> = reasons
            .iter()
            .map(|reason| format!("`{}`: {}", reason.code(), reason.facts().title))
            .collect();
        json!({
            "description": titles.join(". ") + ".",
            "headers": headers,
            "content": { "application/problem+json": { "schema": schema, "examples": examples } },
        })
    }

    /// References to headers of answers.
    pub(super) fn headers(&mut self, names: &[&str]) -> Map<String, Value> {
        let mut headers = Map::new();
        for name in names {
            let component: String = name.split('-').collect();
            headers.insert((*name).to_owned(), self.component("headers", &component, || header(name)));
        }
        headers
    }
}

/// What a header of an answer says.
fn header(name: &str) -> Value {
    let text = |description: &str, max: u32, pattern: &str, required: bool| json!({ "description": description, "required": required, "schema": { "type": "string", "maxLength": max, "pattern": pattern } });
    match name {
        "Accept-Encoding" => text("Which content codings a request may have.", 64, "^[a-z, -]*$", false),
        "Allow" => text("The methods of this path.", 64, "^[A-Z, ]+$", true),
        "ETag" => text(
            "Changes when the document does; send it in `If-None-Match`.",
            64,
            "^\"[0-9a-z-]+\"$",
            true,
        ),
        "Idempotency-Replayed" => json!({
            "description": "`true` where this is the first answer to a key once more.",
            "required": false,
            "schema": { "type": "boolean" },
        }),
        "Preference-Applied" => text("Which of the wishes in `Prefer` were followed.", 128, "^[ -~]+$", false),
        "RateLimit" => text("What is left of the limit that is nearest.", 1024, "^[ -~]+$", false),
        "RateLimit-Policy" => text("The limits that apply.", 1024, "^[ -~]+$", false),
        "Retry-After" => json!({
            "description": "After how many seconds another call makes sense, where that can be said.",
            "required": false,
            "schema": { "type": "integer", "format": "int32", "minimum": 0, "maximum": 86400 },
        }),
        "Via" => text("An answer of the vendor led to this one.", 128, "^[ -~]+$", false),
        "WWW-Authenticate" => text("Names the header with which a caller proves who they are.", 256, "^[ -~]+$", true),
        _ => text(
            "The id of this call; also in the log. The caller's own where that is short and plain.",
            64,
            "^[0-9A-Za-z._-]+$",
            true,
        ),
    }
}
