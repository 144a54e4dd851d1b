//! Looking at a task: from the vendor's page to the task's canonical state, and what that state means for an action.
//!
//! **Shape**: 200 `{"data":{"records":[{"task_id":"1dcd…","status":4}]}}` -> `Sighting { state: Stopped, .. }`; a list without
//! the task -> `TASK_NOT_FOUND`.
//!
//! **Invariants**: a task is only called unknown by a list that is complete; a state that the route does not know is
//! `unknown`, never a guess. One page serves any number of callers: nothing in it belongs to one of them.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::expression::{Bindings, Expression};
use super::fault::{FaultTable, clean};
use super::moment::Times;
use super::reply::{Reading, ReplyRules, Told, bad};
use super::request::{CallValues, Fresh, causes};
use super::template::{Placeholder, Template};
use super::values::ReplyValues;
use crate::model::answer::{Answer, Success, TaskState};
use crate::model::call::UpstreamReply;
use crate::model::error::{GatewayError, VendorFault};
use crate::model::reason::Reason;
use crate::schema::RequestSchema;

/// How a task is found on a page, and read.
#[derive(Debug)]
pub struct TaskRules {
    /// The task, or the list of those that have its id.
    pub item: Placeholder,
    /// Is the page all there is? Without it, yes.
    pub complete: Option<Expression>,
    /// A text that is a state; knows `item`.
    pub state: Template,
    /// The vendor's own word for the state.
    pub raw_state: Option<Template>,
    /// The task's name.
    pub name: Option<Template>,
    /// When it was made.
    pub created_at: Option<Template>,
    /// When it last changed.
    pub updated_at: Option<Template>,
    /// How times are written.
    pub times: Times,
}

/// A vendor's answer to a look, understood as far as it is the same for everybody.
#[derive(Debug)]
pub struct Page {
    values: ReplyValues<'static>,
    faults: Arc<FaultTable>,
    status: u16,
}

impl Page {
    /// What the vendor said, in case that it is a fault.
    fn fault(&self, bindings: &Bindings<'_>) -> VendorFault {
        self.faults.fault(self.status, bindings)
    }
}

/// A task as a page shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// Its state.
    pub state: TaskState,
    /// The vendor's word for the state.
    pub raw_state: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// When it was made, in RFC 3339.
    pub created_at: Option<String>,
    /// When it last changed, in RFC 3339.
    pub updated_at: Option<String>,
    /// The vendor's status.
    pub vendor_status: u16,
    /// The vendor's id for the exchange.
    pub vendor_request_id: Option<String>,
    /// The task as the vendor writes it.
    pub item: Value,
}

/// Which states end an action.
#[derive(Debug)]
pub struct Settles {
    /// It is done; the first is what the action aims at.
    pub done: Vec<TaskState>,
    /// It has failed.
    pub failed: Vec<TaskState>,
    /// It has failed, whatever the state; knows `item`.
    pub failed_when: Option<Expression>,
}

/// What a sighting means for an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is done.
    Done,
    /// It has failed.
    Failed,
    /// It is under way, or nothing can be said.
    No,
}

impl ReplyRules {
    /// Reads the answer to a look.
    ///
    /// # Errors
    /// A [`Reading`] that is an error: a fault by the rules, a page that does not fit its schema, anything that is no page.
    pub fn page(&self, call: &CallValues, reply: &UpstreamReply) -> Result<Page, Box<Reading>> {
        let values = ReplyValues::new(reply, self.decode_whole(reply));
        {
            let bindings = values.bind(call.bindings());
            let told = Told {
                rules: self,
                reply,
                values: &values,
                bindings: &bindings,
                shared: None,
            };
            if let Some(reading) = told.ruled("") {
                return Err(Box::new(reading));
            }
            if !reply.status.is_success() {
                return Err(Box::new(told.unruled()));
            }
            if let Some(reading) = told.unfit() {
                return Err(Box::new(reading));
            }
            // A look without a document shows nothing, whatever the schema allows.
            if !values.is_value() {
                return Err(Box::new(bad(told.fault(), "the vendor's answer is empty").into()));
            }
        }
        Ok(Page {
            values: values.into_owned(),
            faults: Arc::clone(&self.faults),
            status: reply.status.as_u16(),
        })
    }
}

impl TaskRules {
    /// Finds the task of a call on a page.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND` where a complete page does not show it; `BAD_VENDOR_RESPONSE` where nothing can be said.
    pub fn sight(&self, page: &Page, call: &CallValues) -> Result<Sighting, GatewayError> {
        let bindings = page.values.bind(call.bindings());
        let unclear = |detail: &str| bad(page.fault(&bindings), detail);
        let found = match self.item.evaluate(&bindings) {
            Ok(found) => found.map(std::borrow::Cow::into_owned),
            Err(error) => return Err(unclear("the vendor's answer lacks what the route reads from it").with_internal(causes(&error))),
        };
        let item = match found {
            None => return Err(self.absent(page, &bindings)),
            Some(Value::Array(mut items)) => match (items.pop(), items.is_empty()) {
                (None, _) => return Err(self.absent(page, &bindings)),
                (Some(item), true) => item,
                (Some(_), false) => return Err(unclear("the vendor shows the task more than once")),
            },
            Some(item @ Value::Object(_)) => item,
            Some(_) => return Err(unclear("the vendor's answer has no task where the route looks for it")),
        };
        let text = |template: Option<&Template>, bindings: &Bindings<'_>| -> Option<String> {
            let text = template?.text(bindings).ok().flatten()?;
            clean(&text, MAX_TEXT_CHARS)
        };
        let (state, raw_state, name, created_at, updated_at) = {
            let bindings = bindings.clone().with("item", &item);
            let state = match self.state.text(&bindings) {
                Ok(state) => state.and_then(|state| TaskState::parse(&state)).unwrap_or(TaskState::Unknown),
                Err(error) => return Err(unclear("the vendor's answer lacks the task's state").with_internal(causes(&error))),
            };
            let time = |template: Option<&Template>| self.times.read(&text(template, &bindings)?);
            (
                state,
                text(self.raw_state.as_ref(), &bindings),
                text(self.name.as_ref(), &bindings),
                time(self.created_at.as_ref()),
                time(self.updated_at.as_ref()),
            )
        };
        Ok(Sighting {
            state,
            raw_state,
            name,
            created_at,
            updated_at,
            vendor_status: page.status,
            vendor_request_id: page.faults.request_id(&bindings),
            item,
        })
    }

    /// The task is not on the page.
    fn absent(&self, page: &Page, bindings: &Bindings<'_>) -> GatewayError {
        let is_complete = self.complete.as_ref().map_or(Ok(true), |complete| complete.holds(bindings));
        if is_complete == Ok(true) {
            let detail = "the vendor does not know a task with this id";
            return GatewayError::new(Reason::TaskNotFound, detail).with_vendor(page.fault(bindings));
        }
        let detail = "the vendor shows only a part of its tasks, and this one is not among them";
        bad(page.fault(bindings), detail)
    }
}

impl Sighting {
    /// The answer to somebody who only looks.
    #[must_use]
    pub fn to_look(&self) -> Answer {
        let message = match (self.state, &self.raw_state) {
            (TaskState::Unknown, Some(raw)) => Some(format!("the vendor calls the state `{raw}`")),
            _ => None,
        };
        self.to_answer(Success::Done, false, message)
    }

    /// The answer to an action that this sighting tells about.
    #[must_use]
    pub fn to_answer(&self, success: Success, already: bool, message: Option<String>) -> Answer {
        Answer {
            success,
            state: self.state,
            already,
            name: self.name.clone(),
            message,
            created_at: self.created_at.clone(),
            updated_at: self.updated_at.clone(),
            operation: None,
            vendor_status: self.vendor_status,
            vendor_request_id: self.vendor_request_id.clone(),
        }
    }

    /// The error of an action that was taken and then failed.
    #[must_use]
    pub fn to_failure(&self, detail: &str) -> GatewayError {
        let vendor = VendorFault {
            status: self.vendor_status,
            code: None,
            message: self.raw_state.clone(),
            request_id: self.vendor_request_id.clone(),
        };
        GatewayError::new(Reason::ActionFailed, detail)
            .with_metadata("state", self.state.as_str())
            .with_vendor(vendor)
    }
}

impl Settles {
    /// What a sighting means.
    #[must_use]
    pub fn judge(&self, sighting: &Sighting) -> Settled {
        let bindings = Bindings::new().with("item", &sighting.item);
        let fails = self
            .failed_when
            .as_ref()
            .is_some_and(|fails| fails.holds(&bindings).unwrap_or(false));
        if fails || self.failed.contains(&sighting.state) {
            Settled::Failed
        } else if self.done.contains(&sighting.state) {
            Settled::Done
        } else {
            Settled::No
        }
    }

    /// Is the effect under way, whoever asked for it?
    #[must_use]
    pub fn is_under_way(&self, sighting: &Sighting) -> bool {
        sighting.state == TaskState::Stopping && self.done.contains(&TaskState::Stopped)
    }

    /// What there is to say about a task that ended otherwise than the action aims at.
    #[must_use]
    pub fn remark(&self, state: TaskState) -> Option<String> {
        match state {
            aimed if self.done.first() == Some(&aimed) => None,
            TaskState::Succeeded => Some("the task ended by itself, as planned".to_owned()),
            other => Some(format!("the task ended as `{}`", other.as_str())),
        }
    }
}

/// The values of a look on behalf of an action: its id, and of its `scope` what a look needs. Nothing of the single call is
/// among them, so that looks of different calls are the same.
///
/// # Errors
/// `MAPPING_FAILED` where the action's `scope` does not fit the look's schema; the compiler lets few such routes pass.
pub fn values_for_look(call: &CallValues, schema: &RequestSchema) -> Result<CallValues, GatewayError> {
    let mut body = Map::new();
    if let (Some(known), Some(Value::Object(scope))) = (schema.scope(), call.body.get("scope")) {
        let scope: Map<String, Value> = scope
            .iter()
            .filter(|(name, _)| known.binary_search(name).is_ok())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        body.insert("scope".to_owned(), Value::Object(scope));
    }
    let document = Value::Object(body);
    if !schema.schema.is_valid(&document) {
        return Err(GatewayError::new(
            Reason::MappingFailed,
            "the call does not say what is needed to look at the task",
        ));
    }
    let Value::Object(body) = document else { return Ok(call.clone()) };
    Ok(CallValues {
        id: call.id.clone(),
        body,
        call: Fresh::nothing(),
        settings: Arc::clone(&call.settings),
    })
}

/// A sentence or two of the vendor.
const MAX_TEXT_CHARS: usize = 512;
