//! One XML element on its way to a value: its members as they come, and the form that the schema gives them.
//!
//! **Invariants.** Nothing that was read is dropped except white space between elements: what the schema does not know is
//! kept as text, object or list, and what has no place is an error.

use std::collections::HashMap;

use serde_json::map::Entry;
use serde_json::{Map, Value};

use crate::codec::number::{NumberError, parse_integer, parse_number};
use crate::codec::shape::{Kind, Scalar, Shape};
use crate::codec::xml_chars::{SPACE, is_blank};
use crate::codec::xml_reference_scope::{Namespace, Scope};
use crate::codec::{Decimals, DecodeFault, Flaw};

/// The namespace of `xsi:nil`.
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

pub(crate) const REPEATED: &str = "expected this element once: the schema does not call it a list";

/// A longer namespace is not repeated in the names of members: it could blow a small document up.
const NAMESPACE_LIMIT: usize = 256;

/// An element that is open.
#[derive(Debug)]
pub(crate) struct Frame<'s> {
    shape: &'s Shape,
    members: Map<String, Value>,
    /// The namespaces of the children that the schema does not declare, by member name.
    origins: HashMap<String, Namespace>,
    text: String,
    has_children: bool,
    nil: bool,
    /// Where the element starts.
    offset: usize,
}

/// Where a child goes: the member's name and the shape of the member, a list or a single one.
#[derive(Debug)]
pub(crate) struct Place<'s> {
    key: String,
    shape: &'s Shape,
}

impl<'s> Place<'s> {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The shape of the child itself.
    pub(crate) fn child(&self) -> &'s Shape {
        self.shape.item()
    }
}

/// The name of an element or attribute, taken apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name<'d> {
    pub(crate) full: &'d str,
    pub(crate) local: &'d str,
    pub(crate) namespace: Namespace,
}

impl<'s> Frame<'s> {
    pub(crate) fn new(shape: &'s Shape, offset: usize) -> Self {
        Self {
            shape,
            members: Map::new(),
            origins: HashMap::new(),
            text: String::new(),
            has_children: false,
            nil: false,
            offset,
        }
    }

    /// Finds the member for a child element, which must be put there with [`Frame::insert`].
    pub(crate) fn place(&mut self, name: Name<'_>, scope: &Scope<'_>, offset: usize) -> Result<Place<'s>, Flaw> {
        self.has_children = true;
        let namespace = scope.name(name.namespace);
        let declared = self.shape.members();
        if let Some(property) = declared.and_then(|members| members.element(name.local, namespace)) {
            return Ok(Place {
                key: property.key.clone(),
                shape: &property.shape,
            });
        }
        let rest = declared.map_or(&Shape::ANY, |members| members.undeclared());
        // The local name, unless a member of another namespace has it; then the name as it is written.
        let mut shape = rest;
        let mut key = None;
        if declared.is_none_or(|members| members.declared(name.local).is_none()) && self.is_free(name.local, name) {
            key = Some(name.local.to_owned());
        } else if name.full != name.local && self.is_free(name.full, name) {
            shape = declared
                .and_then(|members| members.declared(name.full))
                .map_or(rest, |property| &property.shape);
            key = Some(name.full.to_owned());
        }
        let key = match key {
            Some(key) => key,
            None if namespace.len() <= NAMESPACE_LIMIT => format!("{{{namespace}}}{}", name.local),
            None => {
                return Err(Flaw::new(
                    DecodeFault::Namespace,
                    "elements that differ only in a long namespace",
                    offset,
                ));
            }
        };
        self.origins.insert(key.clone(), name.namespace);
        Ok(Place { key, shape })
    }

    /// Whether an undeclared child may have this member name.
    fn is_free(&self, key: &str, name: Name<'_>) -> bool {
        self.origins.get(key).is_none_or(|origin| *origin == name.namespace)
    }

    /// Puts a child where [`Frame::place`] said.
    ///
    /// # Errors
    /// A second element where the schema allows one.
    pub(crate) fn insert(&mut self, place: Place<'s>, value: Value, offset: usize) -> Result<(), Flaw> {
        match self.members.entry(place.key) {
            Entry::Vacant(slot) => {
                slot.insert(if place.shape.is_list() { Value::Array(vec![value]) } else { value });
            }
            Entry::Occupied(mut slot) => match (&place.shape.kind, slot.get_mut()) {
                // No single element is a list, so a list is the sum of the elements before.
                (Kind::List(_) | Kind::Any, Value::Array(items)) => items.push(value),
                (Kind::Any, first) => {
                    let first = first.take();
                    slot.insert(Value::Array(vec![first, value]));
                }
                _ => return Err(Flaw::new(DecodeFault::Shape, REPEATED, offset)),
            },
        }
        Ok(())
    }

    /// Whether a child may go to its place, or another one is there already that the schema does not call a list.
    pub(crate) fn admits(&self, place: &Place<'_>) -> bool {
        matches!(place.shape.kind, Kind::List(_) | Kind::Any) || !self.members.contains_key(&place.key)
    }

    /// The place in its list that the next child of a member would have, where there is a list.
    pub(crate) fn next_index(&self, place: &Place<'_>) -> Option<usize> {
        match self.members.get(&place.key) {
            Some(Value::Array(items)) => Some(items.len()),
            Some(_) => None,
            None => place.shape.is_list().then_some(0),
        }
    }

    /// Takes an attribute; one without a prefix is in no namespace.
    pub(crate) fn attribute(
        &mut self,
        name: Name<'_>,
        value: &str,
        scope: &Scope<'_>,
        decimals: Decimals,
        offset: usize,
    ) -> Result<(), Flaw> {
        let prefixed = name.full != name.local;
        let namespace = prefixed.then(|| scope.name(name.namespace));
        if self.shape.nullable && name.local == "nil" && namespace == Some(INSTANCE) {
            self.nil = matches!(value.trim_matches(SPACE), "true" | "1");
            return Ok(());
        }
        let mut shape = &Shape::ANY;
        let mut key = format!("@{}", name.full);
        if let Some(members) = self.shape.members() {
            if let Some(property) = members.attribute(name.local, namespace) {
                key.clone_from(&property.key);
                shape = &property.shape;
            } else if let Some(property) = members.declared(&key) {
                if !prefixed {
                    // The schema gives this member to another name, and without a prefix there is no other one to keep it under.
                    let detail = "expected this attribute under the name and namespace of the schema";
                    return Err(Flaw::new(DecodeFault::Namespace, detail, offset));
                }
                shape = &property.shape;
            }
        }
        let value = match shape.item().kind {
            Kind::Scalar(scalar) => convert(value.to_owned(), scalar, decimals, offset)?,
            Kind::Any | Kind::List(_) | Kind::Object(_) => Value::String(value.to_owned()),
        };
        self.insert(Place { key, shape }, value, offset)
    }

    /// Takes character data, references resolved.
    pub(crate) fn push_text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(crate) fn push_char(&mut self, c: char) {
        self.text.push(c);
    }

    /// Only the members, for the document around the root.
    pub(crate) fn into_members(self) -> Map<String, Value> {
        self.members
    }

    /// The value of the element once it is closed.
    ///
    /// # Errors
    /// Text that is not what the schema says.
    pub(crate) fn finish(mut self, decimals: Decimals) -> Result<Value, Flaw> {
        let shape = self.shape;
        let bare = self.members.is_empty() && !self.has_children;
        if self.nil {
            if !bare || !is_blank(&self.text) {
                return Err(Flaw::new(DecodeFault::Shape, "an element that is nil and has content", self.offset));
            }
            return Ok(Value::Null);
        }
        if bare {
            match &shape.kind {
                Kind::Scalar(Scalar::String) => return Ok(Value::String(self.text)),
                _ if shape.nullable && is_blank(&self.text) => return Ok(Value::Null),
                Kind::Any | Kind::List(_) => return Ok(Value::String(self.text)),
                Kind::Scalar(scalar) => return convert(self.text, *scalar, decimals, self.offset),
                Kind::Object(members) => {
                    if let Some(scalar) = members.text_only.filter(|_| !is_blank(&self.text)) {
                        return convert(self.text, scalar, decimals, self.offset);
                    }
                }
            }
        }
        self.keep_text(decimals)?;
        if let Some(members) = shape.members() {
            for key in members.filled_lists() {
                if !self.members.contains_key(key) {
                    self.members.insert(key.to_owned(), Value::Array(Vec::new()));
                }
            }
        }
        Ok(Value::Object(self.members))
    }

    /// Makes the text beside attributes and children the member `$`.
    fn keep_text(&mut self, decimals: Decimals) -> Result<(), Flaw> {
        let scalar = match &self.shape.kind {
            Kind::Scalar(scalar) => Some(*scalar),
            Kind::Object(members) => members.declared("$").and_then(|text| match text.shape.kind {
                Kind::Scalar(scalar) => Some(scalar),
                Kind::Any | Kind::List(_) | Kind::Object(_) => None,
            }),
            Kind::Any | Kind::List(_) => None,
        };
        let blank = is_blank(&self.text);
        let keep = match scalar {
            // White space between children is layout.
            _ if self.has_children => !blank,
            Some(Scalar::String) => true,
            Some(_) => !blank,
            None if self.shape.members().is_some() => !blank,
            None => !self.text.is_empty(),
        };
        if keep {
            let text = std::mem::take(&mut self.text);
            let value = convert(text, scalar.unwrap_or(Scalar::String), decimals, self.offset)?;
            self.members.insert("$".to_owned(), value);
        }
        Ok(())
    }
}

fn convert(text: String, scalar: Scalar, decimals: Decimals, offset: usize) -> Result<Value, Flaw> {
    let trimmed = text.trim_matches(SPACE);
    let number = match scalar {
        Scalar::String => return Ok(Value::String(text)),
        Scalar::Boolean => {
            return match trimmed {
                "true" | "1" => Ok(Value::Bool(true)),
                "false" | "0" => Ok(Value::Bool(false)),
                _ => Err(Flaw::new(DecodeFault::Shape, "expected `true` or `false`", offset)),
            };
        }
        Scalar::Integer => parse_integer(trimmed),
        Scalar::Number => parse_number(trimmed, decimals),
    };
    number.map_err(|error| match error {
        NumberError::Form(detail) => Flaw::new(DecodeFault::Shape, detail, offset),
        NumberError::Range(detail) => Flaw::new(DecodeFault::Number, detail, offset),
    })
}
