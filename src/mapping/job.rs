//! A vendor's own job: what its answers say about the action that it carries out.
//!
//! **Shape**: 202 under `pending: "status == 202"` -> [`JobReading::Pending`]; 200 `{}` -> [`JobReading::Settled`] by the action's
//! own rules; a forgotten job -> [`JobReading::Unclear`].
//!
//! **Invariants**: only the rules of the action decide what a job came to. An answer that none of them knows says nothing
//! about the action: a job that the vendor has forgotten, or a proxy's error, is not the action's failure.

use std::time::Duration;

use super::expression::Expression;
use super::reply::{Reading, ReplyRules, Told};
use super::request::{CallValues, RequestTemplate};
use super::values::ReplyValues;
use crate::model::call::UpstreamReply;

/// How to follow a job. Its id is a rule of the reply ([`ReplyRules::job`]).
#[derive(Debug)]
pub struct JobRules {
    /// What is asked; knows `job` beside the names of a request.
    pub request: RequestTemplate,
    /// Is it still under way?
    pub pending: Expression,
    /// Did it end because the session had expired?
    pub expired: Option<Expression>,
    /// Between two looks.
    pub every: Duration,
}

/// What an answer says about a job.
#[derive(Debug)]
pub enum JobReading {
    /// It did nothing, because the session had expired; what that is by the action's rules.
    Expired(Reading),
    /// It is under way.
    Pending,
    /// It has ended, and this is what the action came to.
    Settled(Reading),
    /// The answer says nothing about the action.
    Unclear,
}

impl JobRules {
    /// Reads an answer by the rules of the action.
    #[must_use]
    pub fn read(&self, rules: &ReplyRules, call: &CallValues, id: &str, reply: &UpstreamReply) -> JobReading {
        let values = ReplyValues::new(reply, rules.decode(reply));
        let bindings = values.bind(call.bindings());
        match self.pending.holds(&bindings) {
            Ok(true) => return JobReading::Pending,
            Ok(false) => {}
            Err(_) => return JobReading::Unclear,
        }
        let told = Told {
            rules,
            reply,
            values: &values,
            bindings: &bindings,
            shared: None,
        };
        let Some(reading) = told.ruled(id) else {
            return JobReading::Unclear;
        };
        let expired = self
            .expired
            .as_ref()
            .is_some_and(|expired| expired.holds(&bindings).unwrap_or(false));
        match (expired, &reading.result) {
            (true, Err(_)) => JobReading::Expired(reading),
            // Nonsense is no verdict: the next look may see more.
            (false, Err(error)) if error.reason == crate::model::reason::Reason::BadVendorResponse => JobReading::Unclear,
            _ => JobReading::Settled(reading),
        }
    }
}
