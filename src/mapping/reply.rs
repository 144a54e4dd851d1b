//! From the vendor's reply to the canonical answer.
//!
//! **Shape**: 200 `{"data":{"id":"ebf8…","name":"test"}}` under the rule `status == 200 -> accepted, stopping` ->
//! `Answer { success: Accepted, state: Stopping, .. }`; 400 `{"error_code":"CFW.00200005",…}` -> `TASK_NOT_FOUND`.
//!
//! **Invariants**: the rules run before anything else. A success needs a body that was read to its end, decodes, and fits
//! the route's schema; whatever no rule and no table understands is `unknown`. Nothing of the vendor's page or headers goes on
//! but its code, message and request id.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::Value;

use super::expression::{Bindings, Expression};
use super::fault::{FaultTable, StatusPattern, clean, retry_after};
pub use super::items::Items;
use super::items::Shared;
use super::request::{CallValues, causes};
use super::template::{RenderError, Template};
use super::values::{Decoded, ReplyValues};
use crate::codec::node::{Kind, Node as _};
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

/// The reading of one reply.
#[derive(Clone, Debug)]
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
        let values = ReplyValues::new(reply, self.decode(reply));
        self.read(call, id, reply, &values, None)
    }

    /// Says what one reply means for each of many calls that are the same but for their ids. It is decoded, held against its schema and
    /// searched for results once.
    #[must_use]
    pub fn normalize_each<'c>(&self, calls: impl IntoIterator<Item = (&'c CallValues, &'c str)>, reply: &UpstreamReply) -> Vec<Reading> {
        let values = ReplyValues::new(reply, self.decode(reply));
        let shared = Shared::default();
        let read = |(call, id)| self.read(call, id, reply, &values, Some(&shared));
        calls.into_iter().map(read).collect()
    }

    fn read(&self, call: &CallValues, id: &str, reply: &UpstreamReply, values: &ReplyValues<'_>, shared: Option<&Shared>) -> Reading {
        let bindings = values.bind(call.bindings());
        let told = Told {
            rules: self,
            reply,
            values,
            bindings: &bindings,
            shared,
        };
        told.ruled(id).unwrap_or_else(|| told.unruled())
    }

    /// The body as far as it can be read, for those who look a few values up.
    pub(super) fn decode<'r>(&'r self, reply: &'r UpstreamReply) -> Decoded<'r> {
        self.decode_up_to(MAX_FLAT_BYTES, reply)
    }

    /// The same for those who need all of it.
    pub(super) fn decode_whole<'r>(&'r self, reply: &'r UpstreamReply) -> Decoded<'r> {
        self.decode_up_to(0, reply)
    }

    fn decode_up_to<'r>(&'r self, most_flat_bytes: usize, reply: &'r UpstreamReply) -> Decoded<'r> {
        let body = reply.body.as_ref();
        if body.iter().all(u8::is_ascii_whitespace) {
            return Decoded::Empty;
        }
        if header(reply, CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return Decoded::Unreadable("the body has a content coding that was not asked for".to_owned());
        }
        if header(reply, CONTENT_TYPE).is_some_and(is_page) {
            return Decoded::Unreadable("the body is an HTML page".to_owned());
        }
        if body.len() <= most_flat_bytes {
            let flat = match &self.body {
                ReplyBody::Empty | ReplyBody::Json => json::read_flat(body, &Limits::REPLY),
                ReplyBody::Xml(shape) => xml::read_flat(body, shape, &Limits::REPLY),
            };
            if let Some(flat) = flat {
                return match flat.root().kind() {
                    Kind::List(_) | Kind::Object(_) => Decoded::Document(flat.into()),
                    _ => Decoded::Scalar(flat.root().to_value()),
                };
            }
        }
        let read = match &self.body {
            ReplyBody::Empty | ReplyBody::Json => json::decode(body, &Limits::REPLY),
            ReplyBody::Xml(shape) => xml::decode(body, shape, &Limits::REPLY),
        };
        match read {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Decoded::Document(value.into()),
            Ok(scalar) => Decoded::Scalar(scalar),
            Err(error) => match std::str::from_utf8(body) {
                Ok(text) if self.faults.reads_text && is_plain(text) => Decoded::Text(clean(text, MAX_TEXT_CHARS).unwrap_or_default()),
                _ => Decoded::Unreadable(error.to_string()),
            },
        }
    }
}

/// One reply in the light of the rules: what it says is worked out only as far as somebody asks.
pub(super) struct Told<'t> {
    pub(super) rules: &'t ReplyRules,
    pub(super) reply: &'t UpstreamReply,
    pub(super) values: &'t ReplyValues<'t>,
    pub(super) bindings: &'t Bindings<'t>,
    /// What is the same for all who are told of by this reply, where it tells of many.
    pub(super) shared: Option<&'t Shared>,
}

impl Told<'_> {
    fn status(&self) -> u16 {
        self.reply.status.as_u16()
    }

    /// What the vendor said, in case that it is a fault.
    pub(super) fn fault(&self) -> VendorFault {
        self.rules.faults.fault(self.status(), self.bindings)
    }

    pub(super) fn bad(&self, detail: &str) -> GatewayError {
        bad(self.fault(), detail)
    }

    /// What the route's own rules say; nothing where none matches.
    pub(super) fn ruled(&self, id: &str) -> Option<Reading> {
        for rule in self.rules.outcome.iter().filter(|rule| rule.status.matches(self.status())) {
            match rule.when.as_ref().map_or(Ok(true), |condition| condition.holds(self.bindings)) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    let detail = "the vendor's answer lacks what the route's rules look at";
                    return Some(drifted(self.bad(detail).with_internal(causes(&error))));
                }
            }
            return Some(match &rule.verdict {
                Verdict::Fault { reason, code, message } => self.refusal(*reason, code.as_ref(), message.as_ref()).into(),
                Verdict::Success(rule) => match self.unfit() {
                    Some(reading) => reading,
                    None => Reading {
                        job: self.job(),
                        ..self.success(rule, id)
                    },
                },
            });
        }
        None
    }

    fn job(&self) -> Option<String> {
        self.rules.job.as_ref()?.render_text(self.bindings).ok().flatten()
    }

    /// Why the body cannot be that of a success.
    pub(super) fn unfit(&self) -> Option<Reading> {
        let misfit = |detail: &str, internal: String| Some(drifted(self.bad(detail).with_internal(internal)));
        match (&self.rules.body, &self.values.decoded) {
            (ReplyBody::Empty, Decoded::Empty) => return None,
            (ReplyBody::Empty, _) => return misfit("the vendor's answer has a body where a success has none", String::new()),
            (_, Decoded::Empty) => return misfit("the vendor's answer is empty", String::new()),
            (_, Decoded::Text(_)) => return misfit("the vendor's answer is plain text", String::new()),
            (_, Decoded::Unreadable(why)) => return misfit("the vendor's answer cannot be read", why.clone()),
            (_, Decoded::Document(_) | Decoded::Scalar(_)) => {}
        }
        let look = || self.values.misfit(self.rules.schema.as_ref()?);
        let internal = match self.shared {
            None => look(),
            Some(shared) => shared.misfit(look),
        };
        misfit("the vendor's answer does not fit the route's schema", internal?)
    }

    fn refusal(&self, reason: Option<Reason>, code: Option<&Template>, message: Option<&Template>) -> GatewayError {
        let text = |template: Option<&Template>, limit| {
            template
                .and_then(|template| template.text(self.bindings).ok().flatten())
                .and_then(|text| clean(&text, limit))
        };
        let faults = &self.rules.faults;
        let mut fault = self.fault();
        fault.code = text(code, MAX_SHORT_CHARS).or(fault.code);
        fault.message = text(message, MAX_TEXT_CHARS).map(|text| faults.cut(text)).or(fault.message);
        match reason {
            Some(reason) => vendor_error(reason, fault, self.reply),
            None => match faults.by_rule(fault.status, self.bindings) {
                Err(error) => bad(fault, "the vendor's answer lacks what the rules look at").with_internal(causes(&error)),
                Ok(by_rule) => {
                    let by_code = || fault.code.as_deref().and_then(|code| faults.by_code(code));
                    match by_rule.or_else(by_code) {
                        Some(reason) => vendor_error(reason, fault, self.reply),
                        // A rule calls it a fault: below 400 the vendor says that the action failed.
                        None if fault.status < 400 => vendor_error(Reason::ActionFailed, fault, self.reply),
                        None => vendor_error(Reason::of_vendor_status(fault.status), fault, self.reply),
                    }
                }
            },
        }
    }

    /// No rule of the route knows the reply.
    pub(super) fn unruled(&self) -> Reading {
        let (faults, fault) = (&self.rules.faults, self.fault());
        match faults.by_rule(fault.status, self.bindings) {
            Err(error) => {
                return bad(fault, "the vendor's answer lacks what the rules look at")
                    .with_internal(causes(&error))
                    .into();
            }
            Ok(Some(reason)) => return vendor_error(reason, fault, self.reply).into(),
            Ok(None) => {}
        }
        if fault.status < 400 {
            return drifted(bad(fault, "the vendor's answer has a status that the route does not know"));
        }
        if let Some(reason) = fault.code.as_deref().and_then(|code| faults.by_code(code)) {
            return vendor_error(reason, fault, self.reply).into();
        }
        let by_status = Reason::of_vendor_status(fault.status);
        // A refusal that any proxy on the way may utter needs no body; everything else must be in the vendor's own voice.
        let speaks_for_itself = matches!(by_status, Reason::VendorAuth | Reason::VendorRateLimited);
        let readable = match &self.values.decoded {
            Decoded::Document(_) | Decoded::Scalar(_) => faults.code.is_empty() || fault.code.is_some() || fault.message.is_some(),
            Decoded::Text(_) => true,
            Decoded::Empty | Decoded::Unreadable(_) => false,
        };
        if readable || speaks_for_itself {
            return vendor_error(by_status, fault, self.reply).into();
        }
        let why = match &self.values.decoded {
            Decoded::Unreadable(why) => why.clone(),
            Decoded::Empty | Decoded::Text(_) | Decoded::Document(_) | Decoded::Scalar(_) => String::new(),
        };
        bad(fault, "the vendor answered with an error that is not in its own form")
            .with_internal(why)
            .into()
    }

    /// The answer, unless a list of results says otherwise or something that the route reads is not there.
    fn success(&self, rule: &SuccessRule, id: &str) -> Reading {
        let entry_message = match rule.items.as_ref().map(|items| items.verdict(self, id)) {
            None => None,
            Some(Ok(message)) => message,
            Some(Err(error)) => return (*error).into(),
        };
        match self.answer(rule, entry_message) {
            Ok(answer) => Reading {
                result: Ok(answer),
                drift: false,
                job: None,
            },
            Err(error) => {
                let detail = "the vendor's answer lacks what the route reads from it";
                drifted(self.bad(detail).with_internal(causes(&error)))
            }
        }
    }

    fn answer(&self, rule: &SuccessRule, entry_message: Option<String>) -> Result<Answer, RenderError> {
        let text = |template: Option<&Template>| -> Result<Option<String>, RenderError> {
            let Some(template) = template else { return Ok(None) };
            let text = template.text(self.bindings)?;
            Ok(text.and_then(|text| clean(&text, MAX_TEXT_CHARS)))
        };
        let state = rule.state.text(self.bindings)?.and_then(|state| TaskState::parse(&state));
        Ok(Answer {
            success: rule.success,
            state: state.unwrap_or(TaskState::Unknown),
            already: false,
            name: text(rule.name.as_ref())?,
            message: text(rule.message.as_ref())?.or(entry_message),
            created_at: None,
            updated_at: None,
            operation: None,
            vendor_status: self.status(),
            vendor_request_id: self.rules.faults.request_id(self.bindings),
        })
    }
}

fn header(reply: &UpstreamReply, name: http::HeaderName) -> Option<&str> {
    reply.headers.get(name)?.to_str().ok()
}

fn is_page(content_type: &str) -> bool {
    const PAGE: &str = "text/html";
    content_type
        .trim_start()
        .as_bytes()
        .get(..PAGE.len())
        .is_some_and(|kind| kind.eq_ignore_ascii_case(PAGE.as_bytes()))
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
pub(super) const MAX_TEXT_CHARS: usize = 512;
/// The longest code in the vendors' documents has 36 characters.
const MAX_SHORT_CHARS: usize = 128;
/// Longer than any answer to an action; what is longer is mostly looked through.
const MAX_FLAT_BYTES: usize = 16 << 10;
/// Vendors that throttle mostly do not say for how long; their windows are seconds to a minute.
const DEFAULT_RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(10);
