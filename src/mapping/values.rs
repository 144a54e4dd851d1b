//! The values of one reply by the names that expressions have for them.
//!
//! **Shape**: 200 `{"data":{"id":"ebf8…"}}` -> `status` = 200, `headers`, `body` = the tree as it was decoded, `text` = "".
//!
//! **Invariants**: the body is moved in and never copied.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::bindings::{Bindings, Bound};
use super::document::Document;
use super::headers::Headers;
use crate::model::call::UpstreamReply;
use crate::schema::Schema;

/// A body as far as it could be read.
#[derive(Debug)]
pub(super) enum Decoded<'r> {
    /// An object or a list.
    Document(Document<'r>),
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
    pub(super) decoded: Decoded<'r>,
    text: Value,
}

impl<'r> ReplyValues<'r> {
    pub(super) fn new(reply: &'r UpstreamReply, mut decoded: Decoded<'r>) -> Self {
        let text = match &mut decoded {
            Decoded::Text(text) => std::mem::take(text),
            Decoded::Document(_) | Decoded::Empty | Decoded::Scalar(_) | Decoded::Unreadable(_) => String::new(),
        };
        Self {
            status: Value::from(reply.status.as_u16()),
            headers: Headers::new(&reply.headers),
            decoded,
            text: Value::String(text),
        }
    }

    pub(super) fn bind<'a>(&'a self, call: Bindings<'a>) -> Bindings<'a> {
        call.with_reply(self)
    }

    /// What one of its names stands for.
    pub(super) fn named(&self, name: &str) -> Option<Bound<'_>> {
        match name {
            "status" => Some(Bound::Value(&self.status)),
            "headers" => Some(Bound::Headers(&self.headers)),
            "body" => Some(Bound::Document(self.document().unwrap_or(&NOTHING))),
            "text" => Some(Bound::Value(&self.text)),
            _ => None,
        }
    }

    /// The body, where it is an object or a list.
    fn document(&self) -> Option<&Document<'r>> {
        match &self.decoded {
            Decoded::Document(document) => Some(document),
            Decoded::Empty | Decoded::Scalar(_) | Decoded::Text(_) | Decoded::Unreadable(_) => None,
        }
    }

    /// Is the body a value of any kind?
    pub(super) fn is_value(&self) -> bool {
        matches!(self.decoded, Decoded::Document(_) | Decoded::Scalar(_))
    }

    /// What does not fit about the body, in words; nothing where it fits.
    pub(super) fn misfit(&self, schema: &Schema) -> Option<String> {
        let value = match &self.decoded {
            Decoded::Document(document) if document.surely_fits(schema) => return None,
            Decoded::Document(document) => document.whole(),
            Decoded::Scalar(scalar) => scalar,
            Decoded::Empty | Decoded::Text(_) | Decoded::Unreadable(_) => return None,
        };
        let violations = schema.violations(value);
        let first = violations.first()?;
        Some(format!("at `{}`: {}", first.pointer, first.detail))
    }

    /// The same for longer than the reply.
    pub(super) fn into_owned(self) -> ReplyValues<'static> {
        ReplyValues {
            status: self.status,
            headers: self.headers.into_owned(),
            decoded: match self.decoded {
                Decoded::Document(document) => Decoded::Document(document.into_owned()),
                Decoded::Empty => Decoded::Empty,
                Decoded::Scalar(scalar) => Decoded::Scalar(scalar),
                Decoded::Text(text) => Decoded::Text(text),
                Decoded::Unreadable(why) => Decoded::Unreadable(why),
            },
            text: self.text,
        }
    }
}

/// The body where it has nothing in it: `has(body.x)` must be askable of any answer, so that is an empty object.
static NOTHING: LazyLock<Document<'static>> = LazyLock::new(|| Value::Object(Map::new()).into());
