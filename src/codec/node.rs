//! A document to be looked at, however it is kept.
//!
//! **Shape**: `{"id":5}` -> `Kind::Object`, which yields `("id", node)`, whose kind is `Kind::Number`.
//!
//! **Invariants**: the names of an object are distinct; their order says nothing.

use serde_json::{Number, Value};

/// One value of a document.
pub trait Node<'a>: Copy {
    /// The items of a list.
    type Items: ExactSizeIterator<Item = Self>;
    /// The members of an object.
    type Members: ExactSizeIterator<Item = (&'a str, Self)>;

    /// What it is.
    fn kind(self) -> Kind<'a, Self>;
}

/// What a value is, with what is in it.
#[derive(Debug)]
pub enum Kind<'a, N: Node<'a>> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Number(&'a Number),
    /// A text.
    Text(&'a str),
    /// A list.
    List(N::Items),
    /// An object.
    Object(N::Members),
}

impl<'a> Node<'a> for &'a Value {
    type Items = std::slice::Iter<'a, Value>;
    type Members = Members<'a>;

    fn kind(self) -> Kind<'a, Self> {
        match self {
            Value::Null => Kind::Null,
            Value::Bool(flag) => Kind::Bool(*flag),
            Value::Number(number) => Kind::Number(number),
            Value::String(text) => Kind::Text(text),
            Value::Array(items) => Kind::List(items.iter()),
            Value::Object(members) => Kind::Object(Members(members.iter())),
        }
    }
}

/// The members of a [`Value`].
#[derive(Debug)]
pub struct Members<'a>(serde_json::map::Iter<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, member)| (name.as_str(), member))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Members<'_> {}
