//! The names that an expression may refer to, and what they stand for.
//!
//! **Shape**: `id`, `scope`, `status`, `body`, … -> values that are borrowed from a call and from a reply.
//!
//! **Invariants**: what is not asked for is not made: headers and the fresh id of a call are looked up where they stand.

use std::borrow::Cow;

use serde_json::Value;

use super::expression::{Reference, Step};
use super::headers::Headers;
use super::plan::Gap;
use super::request::Fresh;

/// The values that an expression may refer to, by name.
#[derive(Clone, Debug, Default)]
pub struct Bindings<'a> {
    names: Vec<(&'a str, Bound<'a>)>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound<'a> {
    /// What is fresh for each call.
    Fresh(&'a Fresh),
    /// The headers of a reply, of which most are never asked for.
    Headers(&'a Headers<'a>),
    /// A value.
    Value(&'a Value),
}

impl<'a> Bindings<'a> {
    /// No names.
    #[must_use]
    pub fn new() -> Self {
        Self {
            names: Vec::with_capacity(USUAL_NAMES),
        }
    }

    /// Adds a name; a later one hides an earlier one.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: &'a Value) -> Self {
        self.names.push((name, Bound::Value(value)));
        self
    }

    /// The same names and one more, whose value changes from item to item.
    pub(super) fn over_items<'i>(&self, name: &'i str) -> Bindings<'i>
    where
        'a: 'i,
    {
        let mut names = Vec::with_capacity(self.names.len() + 1);
        names.extend_from_slice(&self.names);
        names.push((name, Bound::Value(&Value::Null)));
        Bindings { names }
    }

    /// Gives the last name another value.
    pub(super) fn set_item(&mut self, item: &'a Value) {
        if let Some((_, bound)) = self.names.last_mut() {
            *bound = Bound::Value(item);
        }
    }

    /// Adds what is fresh for each call under a name.
    #[must_use]
    pub(super) fn with_fresh(mut self, name: &'a str, fresh: &'a Fresh) -> Self {
        self.names.push((name, Bound::Fresh(fresh)));
        self
    }

    /// Adds the headers of a reply under a name.
    #[must_use]
    pub(super) fn with_headers(mut self, name: &'a str, headers: &'a Headers<'a>) -> Self {
        self.names.push((name, Bound::Headers(headers)));
        self
    }

    pub(super) fn look_up(&self, name: &str) -> Option<Bound<'a>> {
        self.names.iter().rev().find(|(known, _)| *known == name).map(|(_, bound)| *bound)
    }

    /// Where a chain begins, and the steps that are left from there.
    ///
    /// # Errors
    /// [`Gap::Unsure`] where there is no such name, [`Gap::Absent`] where there is no such header.
    pub(super) fn start<'r>(&self, reference: &'r Reference) -> Result<(Cow<'a, Value>, &'r [Step]), Gap> {
        match (self.look_up(&reference.root).ok_or(Gap::Unsure)?, reference.steps.as_slice()) {
            (Bound::Headers(headers), [Step::Member(name), rest @ ..]) => match headers.get(name) {
                Some(text) => Ok((Cow::Owned(Value::from(text)), rest)),
                None => Err(Gap::Absent),
            },
            (Bound::Fresh(fresh), [Step::Member(name), rest @ ..]) if fresh.get(name).is_some() => {
                Ok((Cow::Owned(Value::from(fresh.get(name))), rest))
            }
            (bound, steps) => Ok((Cow::Borrowed(bound.value()), steps)),
        }
    }
}

impl<'a> Bound<'a> {
    pub(super) fn value(self) -> &'a Value {
        match self {
            Self::Fresh(fresh) => fresh.whole(),
            Self::Headers(headers) => headers.whole(),
            Self::Value(value) => value,
        }
    }
}

/// A request has four to six, a reply four more.
const USUAL_NAMES: usize = 12;
