//! The values of one reply by the names that expressions have for them.
//!
//! **Shape**: 200 `{"data":{"id":"ebf8…"}}` -> `status` = 200, `headers`, `body` = the tree as it was decoded, `text` = "".
//!
//! **Invariants**: the tree is moved in and never copied.

use serde_json::{Map, Value};

use super::expression::Bindings;
use super::headers::Headers;
use crate::model::call::UpstreamReply;

/// A body as far as it could be read.
#[derive(Debug)]
pub(super) enum Decoded {
    /// An object or a list.
    Document(Value),
    Empty,
    /// A value that has nothing in it.
    Scalar(Value),
    Text(String),
    Unreadable(String),
}

/// The reply's names in expressions.
#[derive(Debug)]
pub(super) struct ReplyValues<'r> {
    status: Value,
    headers: Headers<'r>,
    pub(super) decoded: Decoded,
    /// The body where it has nothing in it: `has(body.x)` must be askable of any answer, so that is an empty object.
    nothing: Value,
    text: Value,
}

impl<'r> ReplyValues<'r> {
    pub(super) fn new(reply: &'r UpstreamReply, mut decoded: Decoded) -> Self {
        let text = match &mut decoded {
            Decoded::Text(text) => std::mem::take(text),
            Decoded::Document(_) | Decoded::Empty | Decoded::Scalar(_) | Decoded::Unreadable(_) => String::new(),
        };
        Self {
            status: Value::from(reply.status.as_u16()),
            headers: Headers::new(&reply.headers),
            decoded,
            nothing: Value::Object(Map::new()),
            text: Value::String(text),
        }
    }

    pub(super) fn bind<'a>(&'a self, call: Bindings<'a>) -> Bindings<'a> {
        call.with("status", &self.status)
            .with_headers("headers", &self.headers)
            .with("body", self.document().unwrap_or(&self.nothing))
            .with("text", &self.text)
    }

    /// The body, where it is an object or a list.
    pub(super) fn document(&self) -> Option<&Value> {
        match &self.decoded {
            Decoded::Document(value) => Some(value),
            Decoded::Empty | Decoded::Scalar(_) | Decoded::Text(_) | Decoded::Unreadable(_) => None,
        }
    }

    /// Is the body a value of any kind?
    pub(super) fn is_value(&self) -> bool {
        matches!(self.decoded, Decoded::Document(_) | Decoded::Scalar(_))
    }

    /// The same for longer than the reply.
    pub(super) fn into_owned(self) -> ReplyValues<'static> {
        ReplyValues {
            status: self.status,
            headers: self.headers.into_owned(),
            decoded: self.decoded,
            nothing: self.nothing,
            text: self.text,
        }
    }
}
