//! The tree that YAML and JSON texts become: values with places.
//!
//! **Shape**: `limits: { in_flight: 5 }` -> `Map[(limits, Map[(in_flight, Int(5))])]`.

use serde_json::{Number, Value};

use crate::config::place::Span;

/// A value of a YAML file and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// From the first to the last character of the value. An empty value has the place of its key.
    pub span: Span,
    /// The value.
    pub value: NodeValue,
}

/// What a [`Node`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeValue {
    /// `true` or `false`.
    Bool(bool),
    /// An exact integer between `i64::MIN` and `u64::MAX`.
    Int(i128),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the file.
    Map(Vec<(Key, Node)>),
    /// Nothing, `~` or `null`.
    Null,
    /// A value that was refused. The fault is in the collector already: say nothing more about it.
    Refused,
    /// Text, quoted or not.
    Text(String),
}

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where it stands.
    pub span: Span,
    /// Its text; the keys `0` and `true` have the texts `0` and `true`.
    pub text: String,
}

impl Node {
    /// A value that was refused, at a place.
    #[must_use]
    pub fn refused(span: Span) -> Self {
        Self {
            span,
            value: NodeValue::Refused,
        }
    }

    /// The text, where it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Text(text) => Some(text),
            NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::List(_) | NodeValue::Map(_) | NodeValue::Null | NodeValue::Refused => None,
        }
    }

    /// The members, where it is a mapping.
    #[must_use]
    pub fn as_map(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            NodeValue::Map(entries) => Some(entries),
            NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::List(_) | NodeValue::Null | NodeValue::Refused | NodeValue::Text(_) => None,
        }
    }

    /// The items, where it is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match &self.value {
            NodeValue::List(items) => Some(items),
            NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::Map(_) | NodeValue::Null | NodeValue::Refused | NodeValue::Text(_) => None,
        }
    }

    /// Was it refused, so that there is nothing more to say about it?
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.value == NodeValue::Refused
    }

    /// The member `key` of a mapping.
    #[must_use]
    pub fn member(&self, key: &str) -> Option<&Self> {
        self.as_map()?.iter().find(|(name, _)| name.text == key).map(|(_, node)| node)
    }

    /// What it is, for error texts: `a list`, `the text "x"`.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.value {
            NodeValue::Bool(value) => format!("the boolean `{value}`"),
            NodeValue::Int(value) => format!("the number {value}"),
            NodeValue::List(_) => "a list".to_owned(),
            NodeValue::Map(_) => "a mapping".to_owned(),
            NodeValue::Null => "nothing".to_owned(),
            NodeValue::Refused => "something unusable".to_owned(),
            NodeValue::Text(text) if text.chars().count() <= MAX_QUOTED => format!("the text `{}`", text.escape_debug()),
            NodeValue::Text(_) => "a long text".to_owned(),
        }
    }

    /// The node that a JSON Pointer (RFC 6901) leads to.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Option<&Self> {
        pointer.split('/').skip(1).try_fold(self, |node, token| match &node.value {
            NodeValue::List(items) => items.get(token.parse::<usize>().ok()?),
            NodeValue::Map(_) => node.member(&token.replace("~1", "/").replace("~0", "~")),
            NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::Null | NodeValue::Refused | NodeValue::Text(_) => None,
        })
    }

    /// The value as JSON; integers stay exact, what was refused becomes null.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.value {
            NodeValue::Bool(value) => Value::Bool(*value),
            NodeValue::Int(value) => Number::from_i128(*value).map_or(Value::Null, Value::Number),
            NodeValue::List(items) => items.iter().map(Self::to_json).collect(),
            NodeValue::Map(entries) => entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect(),
            NodeValue::Null | NodeValue::Refused => Value::Null,
            NodeValue::Text(text) => Value::String(text.clone()),
        }
    }
}

/// Longer texts are not repeated in messages: the excerpt shows them.
const MAX_QUOTED: usize = 60;
