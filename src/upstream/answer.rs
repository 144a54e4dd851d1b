//! What a vendor's answer says about credentials: the values that tests and templates over it use.
//!
//! **Shape**: 201 with `X-Subject-Token: MII…` -> `headers['x-subject-token']` = `MII…`.

use serde_json::{Map, Value};

use crate::codec::{Limits, json};
use crate::mapping::expression::Bindings;
use crate::model::call::UpstreamReply;
use crate::route::credentials::AnswerTest;

/// The values of one answer.
pub(super) struct AnswerValues {
    status: Value,
    headers: Value,
    body: Value,
    text: Value,
}

impl AnswerValues {
    /// Reads the answer: `body` is null unless it is JSON, `text` empty if it is.
    pub(super) fn new(reply: &UpstreamReply) -> Self {
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
    pub(super) fn bindings(&self) -> Bindings<'_> {
        Bindings::new()
            .with("status", &self.status)
            .with("headers", &self.headers)
            .with("body", &self.body)
            .with("text", &self.text)
    }
}

/// Is this answer meant? The body is looked at only where the status fits; a condition without a value does not hold.
pub(super) fn is_meant(test: &AnswerTest, reply: &UpstreamReply) -> bool {
    test.status.matches(reply.status.as_u16())
        && test
            .when
            .as_ref()
            .is_none_or(|when| when.holds(&AnswerValues::new(reply).bindings()).unwrap_or(false))
}

/// What stands in the first 4 KiB is enough to tell one text from another.
const MAX_TEXT_BYTES: usize = 4096;
