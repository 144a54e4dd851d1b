//! The names that an expression may refer to, and what they stand for.
//!
//! **Shape**: `id`, `scope`, `status`, `body`, … -> values that are borrowed from a call and from a reply.
//!
//! **Invariants**: what is not asked for is not made: what a call and a reply have is looked up where it stands.

use std::borrow::Cow;

use serde_json::Value;

use super::document::Document;
use super::expression::{Reference, Step};
use super::headers::Headers;
use super::plan::Gap;
use super::request::{CallValues, Fresh};
use super::values::ReplyValues;
use crate::codec::flat::Items;

/// The values that an expression may refer to, by name.
#[derive(Clone, Debug, Default)]
pub struct Bindings<'a> {
    call: Option<&'a CallValues>,
    reply: Option<&'a ReplyValues<'a>>,
    /// Before those of the reply and of the call, the last one first.
    names: Vec<(&'a str, Bound<'a>)>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound<'a> {
    /// The body of a reply, or an item in it, of which most is never asked for.
    Document(&'a Document<'a>),
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
        Self::default()
    }

    /// The names of a call.
    pub(super) fn of_call(call: &'a CallValues) -> Self {
        Self {
            call: Some(call),
            ..Self::default()
        }
    }

    /// Adds the names of a reply.
    #[must_use]
    pub(super) fn with_reply(mut self, reply: &'a ReplyValues<'a>) -> Self {
        self.reply = Some(reply);
        self
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
        Bindings {
            call: self.call,
            reply: self.reply,
            names,
        }
    }

    /// Gives the last name another value.
    pub(super) fn set_item(&mut self, item: impl Into<Bound<'a>>) {
        if let Some((_, bound)) = self.names.last_mut() {
            *bound = item.into();
        }
    }

    pub(super) fn look_up(&self, name: &str) -> Option<Bound<'a>> {
        if let Some((_, bound)) = self.names.iter().rev().find(|(known, _)| *known == name) {
            return Some(*bound);
        }
        let of_reply = self.reply.and_then(|reply| reply.named(name));
        of_reply.or_else(|| self.call?.named(name))
    }

    /// The header that a chain stands for, if it is the name of one.
    pub(super) fn header(&self, reference: &Reference) -> Option<Option<&'a str>> {
        match (self.look_up(&reference.root)?, reference.steps.as_slice()) {
            (Bound::Headers(headers), [Step::Member(name)]) => Some(headers.get(name)),
            _ => None,
        }
    }

    /// The items of the list that a chain leads to, to be looked at where they stand. Nothing where that is to be seen by the value.
    pub(super) fn items(&self, reference: &Reference) -> Option<Result<Items<'a>, Gap>> {
        match self.look_up(&reference.root)? {
            Bound::Document(document) => document.items(&reference.steps),
            Bound::Fresh(_) | Bound::Headers(_) | Bound::Value(_) => None,
        }
    }

    /// Has what a chain leads to this member? Nothing where that is to be seen by the value.
    pub(super) fn has(&self, reference: &Reference, field: &str) -> Option<bool> {
        match self.look_up(&reference.root)? {
            Bound::Document(document) => document.has(&reference.steps, field),
            Bound::Fresh(_) | Bound::Headers(_) | Bound::Value(_) => None,
        }
    }

    /// Does a chain lead to null? Nothing where that is to be seen by the value.
    pub(super) fn is_null(&self, reference: &Reference) -> Option<Result<bool, Gap>> {
        match self.look_up(&reference.root)? {
            Bound::Document(document) => document.is_null(&reference.steps),
            Bound::Fresh(_) | Bound::Headers(_) | Bound::Value(_) => None,
        }
    }

    /// Where a chain begins, and the steps that are left from there.
    ///
    /// # Errors
    /// [`Gap::Unsure`] where there is no such name, [`Gap::Absent`] where there is no such header or member.
    pub(super) fn start<'r>(&self, reference: &'r Reference) -> Result<(Cow<'a, Value>, &'r [Step]), Gap> {
        match (self.look_up(&reference.root).ok_or(Gap::Unsure)?, reference.steps.as_slice()) {
            (Bound::Headers(headers), [Step::Member(name), rest @ ..]) => match headers.get(name) {
                Some(text) => Ok((Cow::Owned(Value::from(text)), rest)),
                None => Err(Gap::Absent),
            },
            (Bound::Fresh(fresh), [Step::Member(name), rest @ ..]) if fresh.get(name).is_some() => {
                Ok((Cow::Owned(Value::from(fresh.get(name))), rest))
            }
            (Bound::Document(document), steps) => match document.scalar(steps) {
                Some(found) => found.map(|scalar| (Cow::Owned(scalar), [].as_slice())),
                None => Ok((Cow::Borrowed(document.whole()), steps)),
            },
            (bound, steps) => Ok((Cow::Borrowed(bound.value()), steps)),
        }
    }
}

impl<'a> From<&'a Value> for Bound<'a> {
    fn from(value: &'a Value) -> Self {
        Self::Value(value)
    }
}

impl<'a> From<&'a Document<'a>> for Bound<'a> {
    fn from(document: &'a Document<'a>) -> Self {
        Self::Document(document)
    }
}

impl<'a> Bound<'a> {
    pub(super) fn value(self) -> &'a Value {
        match self {
            Self::Document(document) => document.whole(),
            Self::Fresh(fresh) => fresh.whole(),
            Self::Headers(headers) => headers.whole(),
            Self::Value(value) => value,
        }
    }
}
