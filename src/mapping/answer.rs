//! What a vendor's answer says about credentials: the values that tests and templates over it use.
//!
//! **Shape**: 201 with `X-Subject-Token: MII…` -> `headers['x-subject-token']` = `MII…`.

use serde_json::{Map, Value};

use super::expression::{Bindings, Expression};
use super::fault::StatusPattern;
use crate::codec::{Limits, json};
use crate::model::call::UpstreamReply;

/// The values of one answer.
pub struct AnswerValues {
    status: Value,
    headers: Value,
    body: Value,
    text: Value,
}

impl std::fmt::Debug for AnswerValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The answer to a login has a token in it.
        f.debug_struct("AnswerValues").field("status", &self.status).finish_non_exhaustive()
    }
}

impl AnswerValues {
    /// Reads the answer: `body` is null unless it is JSON, `text` empty if it is.
    #[must_use]
    pub fn new(reply: &UpstreamReply) -> Self {
        let headers: Map<String, Value> = reply
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), Value::from(value.to_str().ok()?))))
            .collect();
        let body = json::decode(&reply.body, &Limits::REPLY).ok();
        let text = match &body {
            Some(_) => String::new(),
            None => String::from_utf8_lossy(reply.body.get(..MAX_TEXT_BYTES).unwrap_or(&reply.body)).into_owned(),
        };
        Self {
            status: reply.status.as_u16().into(),
            headers: Value::Object(headers),
            body: body.unwrap_or(Value::Null),
            text: text.into(),
        }
    }

    /// The values by name.
    #[must_use]
    pub fn bindings(&self) -> Bindings<'_> {
        Bindings::new()
            .with("status", &self.status)
            .with("headers", &self.headers)
            .with("body", &self.body)
            .with("text", &self.text)
    }
}

/// Which answers are meant: by status, by condition, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerTest {
    /// The statuses.
    pub status: StatusPattern,
    /// Over `status`, `headers`, `body` and `text`; one that cannot be evaluated does not hold.
    pub when: Option<Expression>,
}

impl AnswerTest {
    /// Is this answer meant? The body is looked at only where the status fits.
    #[must_use]
    pub fn holds(&self, reply: &UpstreamReply) -> bool {
        let when = |when: &Expression| when.holds(&AnswerValues::new(reply).bindings()).unwrap_or(false);
        self.status.matches(reply.status.as_u16()) && self.when.as_ref().is_none_or(when)
    }
}

/// What stands in the first 4 KiB is enough to tell one text from another.
const MAX_TEXT_BYTES: usize = 4096;
