//! From the vendor's reply to the canonical answer.
//!
//! **Shape**: 200 `{"data":{"id":"ebf8…","name":"test"}}` under the rule `status == 200 -> accepted, stopping` ->
//! `Answer { success: Accepted, state: Stopping, .. }`; 400 `{"error_code":"CFW.00200005",…}` -> `TASK_NOT_FOUND`.
//!
//! **Invariants**: the rules run before anything else. A success needs a body that was read to its end, decodes, and fits
//! the route's schema; whatever no rule and no table understands is `unknown`. Nothing of the vendor's page or headers goes on
//! but its code, message and request id.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Map, Value};

use super::expression::{Bindings, Expression};
use super::fault::{FaultTable, StatusPattern, clean, retry_after};
use super::request::{CallValues, causes};
use super::template::{Placeholder, RenderError, Template};
use crate::codec::shape::Shape;
use crate::codec::{Limits, json, xml};
use crate::model::answer::{Answer, Success, TaskState};
use crate::model::call::UpstreamReply;
use crate::model::error::{GatewayError, VendorFault};
use crate::model::reason::Reason;
use crate::schema::Schema;

/// What the answers of a route mean.
#[derive(Debug)]
pub struct ReplyRules {
    /// How a body is read.
    pub body: ReplyBody,
    /// What a success looks like; `None` only where a success has no body.
    pub schema: Option<Schema>,
    /// The first rule that matches decides.
    pub outcome: Vec<OutcomeRule>,
    /// The vendor's errors.
    pub faults: std::sync::Arc<FaultTable>,
    /// The id of the vendor's job, in an answer that only takes the request.
    pub job: Option<Template>,
}

/// How a body is read.
#[derive(Debug)]
pub enum ReplyBody {
    /// A success has none; an error is JSON.
    Empty,
    /// JSON.
    Json,
    /// XML, steered by the shape of the schema.
    Xml(Box<Shape>),
}

/// One rule over the reply.
#[derive(Debug)]
pub struct OutcomeRule {
    /// Which statuses.
    pub status: StatusPattern,
    /// And under what condition.
    pub when: Option<Expression>,
    /// What it is.
    pub verdict: Verdict,
}

/// What a rule says.
#[derive(Debug)]
pub enum Verdict {
    /// The vendor did not do it.
    Fault {
        /// Fixed, or by the fault table.
        reason: Option<Reason>,
        /// The vendor's code where the table would not find it.
        code: Option<Template>,
        /// Its message likewise.
        message: Option<Template>,
    },
    /// The vendor did it or took it.
    Success(Box<SuccessRule>),
}

/// What is read from an answer that is a success.
#[derive(Debug)]
pub struct SuccessRule {
    /// Confirmed or taken.
    pub success: Success,
    /// A text that is a state.
    pub state: Template,
    /// The task's name.
    pub name: Option<Template>,
    /// The vendor's message.
    pub message: Option<Template>,
    /// Where the answer lists results per id.
    pub items: Option<Items>,
}

/// Results per id.
#[derive(Debug)]
pub struct Items {
    /// The entries that succeeded.
    pub done: Placeholder,
    /// The entries that failed.
    pub failed: Placeholder,
    /// An entry's id, over `item`.
    pub id: Template,
    /// An entry's message, over `item`.
    pub message: Option<Template>,
    /// What an entry of `failed` means.
    pub reason: Reason,
}

/// The reading of one reply.
#[derive(Debug)]
pub struct Reading {
    /// What it means.
    pub result: Result<Answer, GatewayError>,
    /// Was it outside the route's schema? Counts as schema drift.
    pub drift: bool,
    /// The vendor's job, where the request was only taken and there is one.
    pub job: Option<String>,
}

impl From<GatewayError> for Reading {
    fn from(error: GatewayError) -> Self {
        Self {
            result: Err(error),
            drift: false,
            job: None,
        }
    }
}

impl ReplyRules {
    /// Says what the reply means for the call. Total: every reply has a meaning, if only `unknown`.
    #[must_use]
    pub fn normalize(&self, call: &CallValues, id: &str, reply: &UpstreamReply) -> Reading {
        let decoded = self.decode(reply);
        let values = ReplyValues::new(reply, &decoded);
        let bindings = values.bind(call.bindings());
        let fault = self.vendor_fault(reply, &bindings);
        self.ruled(id, reply, &decoded, &bindings, &fault)
            .unwrap_or_else(|| self.unruled(&decoded, fault, &bindings, reply))
    }

    /// What the vendor said, in case that it is a fault.
    pub(super) fn vendor_fault(&self, reply: &UpstreamReply, bindings: &Bindings<'_>) -> VendorFault {
        VendorFault {
            status: reply.status.as_u16(),
            code: self.faults.code(bindings),
            message: self.faults.message(bindings),
            request_id: self.faults.request_id(bindings),
        }
    }

    /// What the route's own rules say; nothing where none matches.
    pub(super) fn ruled(
        &self,
        id: &str,
        reply: &UpstreamReply,
        decoded: &Decoded,
        bindings: &Bindings<'_>,
        fault: &VendorFault,
    ) -> Option<Reading> {
        for rule in self.outcome.iter().filter(|rule| rule.status.matches(fault.status)) {
            match rule.when.as_ref().map_or(Ok(true), |condition| condition.holds(bindings)) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    let detail = "the vendor's answer lacks what the route's rules look at";
                    return Some(drifted(bad(fault.clone(), detail).with_internal(causes(&error))));
                }
            }
            return Some(match &rule.verdict {
                Verdict::Fault { reason, code, message } => self
                    .fault(*reason, code.as_ref(), message.as_ref(), fault.clone(), bindings, reply)
                    .into(),
                Verdict::Success(rule) => match self.unfit(decoded, fault) {
                    Some(reading) => reading,
                    None => Reading {
                        job: self.job.as_ref().and_then(|job| job.render_text(bindings).ok().flatten()),
                        ..rule.read(id, bindings, fault.clone())
                    },
                },
            });
        }
        None
    }

    pub(super) fn decode(&self, reply: &UpstreamReply) -> Decoded {
        let body = reply.body.as_ref();
        if body.iter().all(u8::is_ascii_whitespace) {
            return Decoded::Empty;
        }
        if header(reply, CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return Decoded::Unreadable("the body has a content coding that was not asked for".to_owned());
        }
        if header(reply, CONTENT_TYPE).is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html")) {
            return Decoded::Unreadable("the body is an HTML page".to_owned());
        }
        let read = match &self.body {
            ReplyBody::Empty | ReplyBody::Json => json::decode(body, &Limits::REPLY),
            ReplyBody::Xml(shape) => xml::decode(body, shape, &Limits::REPLY),
        };
        match read {
            Ok(value) => Decoded::Value(value),
            Err(error) => match std::str::from_utf8(body) {
                Ok(text) if self.faults.reads_text && is_plain(text) => Decoded::Text(clean(text, MAX_TEXT_CHARS).unwrap_or_default()),
                _ => Decoded::Unreadable(error.to_string()),
            },
        }
    }

    /// Why the body cannot be that of a success.
    pub(super) fn unfit(&self, decoded: &Decoded, fault: &VendorFault) -> Option<Reading> {
        let misfit = |detail: &str, internal: String| Some(drifted(bad(fault.clone(), detail).with_internal(internal)));
        match (&self.body, decoded) {
            (ReplyBody::Empty, Decoded::Empty) => None,
            (ReplyBody::Empty, _) => misfit("the vendor's answer has a body where a success has none", String::new()),
            (_, Decoded::Empty) => misfit("the vendor's answer is empty", String::new()),
            (_, Decoded::Text(_)) => misfit("the vendor's answer is plain text", String::new()),
            (_, Decoded::Unreadable(why)) => misfit("the vendor's answer cannot be read", why.clone()),
            (_, Decoded::Value(value)) => {
                let violations = self.schema.as_ref().map(|schema| schema.violations(value)).unwrap_or_default();
                let first = violations.first()?;
                misfit(
                    "the vendor's answer does not fit the route's schema",
                    format!("at `{}`: {}", first.pointer, first.detail),
                )
            }
        }
    }

    fn fault(
        &self,
        reason: Option<Reason>,
        code: Option<&Template>,
        message: Option<&Template>,
        mut fault: VendorFault,
        bindings: &Bindings<'_>,
        reply: &UpstreamReply,
    ) -> GatewayError {
        let text = |template: Option<&Template>, limit| {
            template
                .and_then(|t| t.render_text(bindings).ok().flatten())
                .and_then(|text| clean(&text, limit))
        };
        fault.code = text(code, MAX_SHORT_CHARS).or(fault.code);
        fault.message = text(message, MAX_TEXT_CHARS).map(|text| self.faults.cut(text)).or(fault.message);
        match reason {
            Some(reason) => vendor_error(reason, fault, reply),
            None => match self.faults.by_rule(fault.status, bindings) {
                Err(error) => bad(fault, "the vendor's answer lacks what the rules look at").with_internal(causes(&error)),
                Ok(by_rule) => {
                    let by_code = || fault.code.as_deref().and_then(|code| self.faults.by_code(code));
                    match by_rule.or_else(by_code) {
                        Some(reason) => vendor_error(reason, fault, reply),
                        // A rule calls it a fault: below 400 the vendor says that the action failed.
                        None if fault.status < 400 => vendor_error(Reason::ActionFailed, fault, reply),
                        None => vendor_error(Reason::of_vendor_status(fault.status), fault, reply),
                    }
                }
            },
        }
    }

    /// No rule of the route knows the reply.
    pub(super) fn unruled(&self, decoded: &Decoded, fault: VendorFault, bindings: &Bindings<'_>, reply: &UpstreamReply) -> Reading {
        match self.faults.by_rule(fault.status, bindings) {
            Err(error) => {
                return bad(fault, "the vendor's answer lacks what the rules look at")
                    .with_internal(causes(&error))
                    .into();
            }
            Ok(Some(reason)) => return vendor_error(reason, fault, reply).into(),
            Ok(None) => {}
        }
        if fault.status < 400 {
            return drifted(bad(fault, "the vendor's answer has a status that the route does not know"));
        }
        if let Some(reason) = fault.code.as_deref().and_then(|code| self.faults.by_code(code)) {
            return vendor_error(reason, fault, reply).into();
        }
        let by_status = Reason::of_vendor_status(fault.status);
        // A refusal that any proxy on the way may utter needs no body; everything else must be in the vendor's own voice.
        let speaks_for_itself = matches!(by_status, Reason::VendorAuth | Reason::VendorRateLimited);
        let readable = match decoded {
            Decoded::Value(_) => self.faults.code.is_empty() || fault.code.is_some() || fault.message.is_some(),
            Decoded::Text(_) => true,
            Decoded::Empty | Decoded::Unreadable(_) => false,
        };
        if readable || speaks_for_itself {
            return vendor_error(by_status, fault, reply).into();
        }
        let why = match decoded {
            Decoded::Unreadable(why) => why.clone(),
            Decoded::Empty | Decoded::Text(_) | Decoded::Value(_) => String::new(),
        };
        bad(fault, "the vendor answered with an error that is not in its own form")
            .with_internal(why)
            .into()
    }
}

impl SuccessRule {
    /// The answer, unless a list of results says otherwise or something that the route reads is not there.
    fn read(&self, id: &str, bindings: &Bindings<'_>, fault: VendorFault) -> Reading {
        let entry_message = match self.items.as_ref().map(|items| items.verdict(id, bindings, &fault)) {
            None => None,
            Some(Ok(message)) => message,
            Some(Err(error)) => return (*error).into(),
        };
        match self.answer(bindings, &fault, entry_message) {
            Ok(answer) => Reading {
                result: Ok(answer),
                drift: false,
                job: None,
            },
            Err(error) => drifted(bad(fault, "the vendor's answer lacks what the route reads from it").with_internal(causes(&error))),
        }
    }

    fn answer(&self, bindings: &Bindings<'_>, fault: &VendorFault, entry_message: Option<String>) -> Result<Answer, RenderError> {
        let text = |template: Option<&Template>| -> Result<Option<String>, RenderError> {
            let text = template.map_or(Ok(None), |template| template.render_text(bindings))?;
            Ok(text.and_then(|text| clean(&text, MAX_TEXT_CHARS)))
        };
        let state = self.state.render_text(bindings)?.and_then(|state| TaskState::parse(&state));
        Ok(Answer {
            success: self.success,
            state: state.unwrap_or(TaskState::Unknown),
            already: false,
            name: text(self.name.as_ref())?,
            message: text(self.message.as_ref())?.or(entry_message),
            created_at: None,
            updated_at: None,
            vendor_status: fault.status,
            vendor_request_id: fault.request_id.clone(),
        })
    }
}

impl Items {
    /// The message of the id's entry, where it is among those that succeeded, and only there.
    fn verdict(&self, id: &str, bindings: &Bindings<'_>, fault: &VendorFault) -> Result<Option<String>, Box<GatewayError>> {
        let unclear = |detail: &str| Err(Box::new(bad(fault.clone(), detail)));
        let (Ok(done), Ok(failed)) = (self.entries(&self.done, id, bindings), self.entries(&self.failed, id, bindings)) else {
            return unclear("the vendor's list of results cannot be read");
        };
        match (done.as_slice(), failed.as_slice()) {
            ([message], []) => Ok(message.clone()),
            ([], [message]) => {
                let fault = VendorFault {
                    message: message.clone().or_else(|| fault.message.clone()),
                    ..fault.clone()
                };
                let detail = "the vendor lists the task among the failures";
                Err(Box::new(GatewayError::new(self.reason, detail).with_vendor(fault)))
            }
            ([], []) => unclear("the vendor's answer does not mention the task"),
            _ => unclear("the vendor's answer mentions the task more than once"),
        }
    }

    /// The messages of the entries with this id.
    fn entries(&self, list: &Placeholder, id: &str, bindings: &Bindings<'_>) -> Result<Vec<Option<String>>, ()> {
        let Some(list) = list.evaluate(bindings).map_err(drop)? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for item in list.as_array().ok_or(())? {
            let bindings = bindings.clone().with("item", item);
            if self.id.render_text(&bindings).map_err(drop)?.ok_or(())? == id {
                let message = self
                    .message
                    .as_ref()
                    .and_then(|message| message.render_text(&bindings).ok().flatten());
                found.push(message.and_then(|message| clean(&message, MAX_TEXT_CHARS)));
            }
        }
        Ok(found)
    }
}

/// A body as far as it could be read.
pub(super) enum Decoded {
    Empty,
    Text(String),
    Unreadable(String),
    Value(Value),
}

/// The reply's names in expressions.
#[derive(Debug)]
pub(super) struct ReplyValues {
    status: Value,
    headers: Value,
    body: Value,
    text: Value,
}

impl ReplyValues {
    pub(super) fn new(reply: &UpstreamReply, decoded: &Decoded) -> Self {
        let headers: Map<String, Value> = reply
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), Value::from(value.to_str().ok()?))))
            .collect();
        let (body, text) = match decoded {
            Decoded::Value(value @ (Value::Object(_) | Value::Array(_))) => (value.clone(), ""),
            Decoded::Text(text) => (Value::Object(Map::new()), text.as_str()),
            // `has(body.x)` must be askable of any answer, so a body that is not there, or is a bare scalar, is an empty object.
            Decoded::Empty | Decoded::Unreadable(_) | Decoded::Value(_) => (Value::Object(Map::new()), ""),
        };
        Self {
            status: Value::from(reply.status.as_u16()),
            headers: Value::Object(headers),
            body,
            text: Value::from(text),
        }
    }

    pub(super) fn bind<'a>(&'a self, call: Bindings<'a>) -> Bindings<'a> {
        call.with("status", &self.status)
            .with("headers", &self.headers)
            .with("body", &self.body)
            .with("text", &self.text)
    }
}

fn header(reply: &UpstreamReply, name: http::HeaderName) -> Option<&str> {
    reply.headers.get(name)?.to_str().ok()
}

/// Text that a person wrote, as opposed to a page or a broken document.
fn is_plain(text: &str) -> bool {
    !text.trim_start().starts_with(['<', '{', '['])
}

pub(super) fn bad(fault: VendorFault, detail: &str) -> GatewayError {
    GatewayError::new(Reason::BadVendorResponse, detail).with_vendor(fault)
}

fn drifted(error: GatewayError) -> Reading {
    Reading {
        drift: true,
        ..Reading::from(error)
    }
}

fn vendor_error(reason: Reason, fault: VendorFault, reply: &UpstreamReply) -> GatewayError {
    let detail = match reason {
        Reason::BadVendorResponse => "the vendor's answer makes no sense; the action may have happened",
        Reason::VendorError => "the vendor has internal trouble; the action may have happened",
        Reason::VendorAuth => "the vendor does not accept taskgate's own credentials; the caller's are fine",
        Reason::VendorPermissionDenied => "taskgate's account at the vendor may not do this",
        Reason::TaskNotFound => "the vendor does not know a task with this id",
        Reason::TaskStateConflict => "the task is not in a state that allows the action",
        Reason::VendorRateLimited => "the vendor takes no more calls for now; nothing was done",
        _ => "the vendor did not do it; `vendor` has its own words",
    };
    let mut error = GatewayError::new(reason, detail).with_vendor(fault);
    if reason.facts().retryable {
        error.retry_after = Some(retry_after(&reply.headers).unwrap_or(DEFAULT_RETRY_AFTER));
    }
    error
}

/// A sentence or two of the vendor.
const MAX_TEXT_CHARS: usize = 512;
/// The longest code in the vendors' documents has 36 characters.
const MAX_SHORT_CHARS: usize = 128;
/// Vendors that throttle mostly do not say for how long; their windows are seconds to a minute.
const DEFAULT_RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(10);
