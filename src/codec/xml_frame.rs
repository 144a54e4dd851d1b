//! One XML element on its way to a value: its members as they come, and the form that the schema gives them.
//!
//! **Invariants.** Nothing that was read is dropped except white space between elements: what the schema does not know is
//! kept as text, object or list, and what has no place is an error.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::map::Entry;
use serde_json::{Map, Value};

use crate::codec::number::{NumberError, parse_integer, parse_number};
use crate::codec::shape::{Kind, Scalar, Shape};
use crate::codec::xml_chars::{SPACE, is_blank};
use crate::codec::xml_scope::{Namespace, Scope};
use crate::codec::{Decimals, DecodeFault, Flaw};

/// The namespace of `xsi:nil`.
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

pub(crate) const REPEATED: &str = "expected this element once: the schema does not call it a list";

/// A longer namespace is not repeated in the names of members: it could blow a small document up.
const NAMESPACE_LIMIT: usize = 256;

/// An element that is open. What it borrows, it borrows from the document and from the shape.
#[derive(Debug)]
pub(crate) struct Frame<'d> {
    shape: &'d Shape,
    /// None where there is none, as in most elements: an empty map is not for nothing.
    members: Option<Map<String, Value>>,
    origins: Origins<'d>,
    text: Text<'d>,
    has_children: bool,
    nil: bool,
    /// Where the element starts.
    offset: usize,
}

/// Which namespaces the children are in that the schema does not declare.
///
/// Mostly it is one. Who is in that one and under its local name is known by being a member; only the rest is written down.
#[derive(Debug, Default)]
struct Origins<'d> {
    /// The namespace of the first one that is a member under its local name.
    first: Option<Namespace>,
    /// The others', by member name.
    #[expect(
        clippy::box_collection,
        reason = "elements are moved, and few have others: they carry a word, not a table"
    )]
    others: Option<Box<HashMap<&'d str, Namespace>>>,
}

impl<'d> Origins<'d> {
    /// Whether a child that is not of the first namespace may be this member; if so, it is from now on.
    fn takes_other(&mut self, key: &'d str, namespace: Namespace) -> bool {
        *self.others.get_or_insert_default().entry(key).or_insert(namespace) == namespace
    }
}

/// The character data of an open element, references resolved.
///
/// One piece is borrowed. More of them are put together at the end of a buffer that all open elements share: those within
/// are closed, and have left it, when the one around them goes on.
#[derive(Debug)]
struct Text<'d> {
    first: &'d str,
    /// Where the text starts in the buffer, if it is there.
    shared: Option<usize>,
    is_blank: bool,
}

/// Where a child goes: the member's name and the shape of the member, a list or a single one.
#[derive(Debug)]
pub(crate) struct Place<'d> {
    key: Cow<'d, str>,
    shape: &'d Shape,
}

impl<'d> Place<'d> {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The shape of the child itself.
    pub(crate) fn child(&self) -> &'d Shape {
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

impl<'d> Frame<'d> {
    #[inline]
    pub(crate) fn new(shape: &'d Shape, offset: usize) -> Self {
        Self {
            shape,
            members: None,
            origins: Origins::default(),
            text: Text {
                first: "",
                shared: None,
                is_blank: true,
            },
            has_children: false,
            nil: false,
            offset,
        }
    }

    /// Finds the member for a child element, which must be put there with [`Frame::insert`].
    #[inline]
    pub(crate) fn place(&mut self, name: Name<'d>, scope: &Scope<'_>, offset: usize) -> Result<Place<'d>, Flaw> {
        self.has_children = true;
        let namespace = scope.name(name.namespace);
        let shape = self.shape;
        match shape.members().and_then(|members| members.element(name.local, namespace)) {
            Some(property) => Ok(Place {
                key: Cow::Borrowed(&property.key),
                shape: &property.shape,
            }),
            None => self.place_undeclared(name, namespace, offset),
        }
    }

    fn place_undeclared(&mut self, name: Name<'d>, namespace: &str, offset: usize) -> Result<Place<'d>, Flaw> {
        let declared = self.shape.members();
        let rest = declared.map_or(&Shape::ANY, |members| members.undeclared());
        // The local name, unless a member of another namespace has it; then the name as it is written.
        if declared.is_none_or(|members| members.declared(name.local).is_none()) && self.takes_local(name) {
            return Ok(Place {
                key: Cow::Borrowed(name.local),
                shape: rest,
            });
        }
        if name.full.len() != name.local.len() && self.origins.takes_other(name.full, name.namespace) {
            let property = declared.and_then(|members| members.declared(name.full));
            return Ok(Place {
                key: Cow::Borrowed(name.full),
                shape: property.map_or(rest, |property| &property.shape),
            });
        }
        if namespace.len() > NAMESPACE_LIMIT {
            let detail = "elements that differ only in a long namespace";
            return Err(Flaw::new(DecodeFault::Namespace, detail, offset));
        }
        Ok(Place {
            key: Cow::Owned(format!("{{{namespace}}}{}", name.local)),
            shape: rest,
        })
    }

    /// Whether an undeclared child may be the member of its local name; if so, it is from now on.
    #[inline]
    fn takes_local(&mut self, name: Name<'d>) -> bool {
        let first = *self.origins.first.get_or_insert(name.namespace);
        let other = self.origins.others.as_ref().and_then(|others| others.get(name.local));
        match other {
            Some(other) => *other == name.namespace,
            None if first == name.namespace => true,
            // No attribute and no name with a prefix is spelled so: what is there is an element of the first namespace.
            None if self.has(name.local) => false,
            None => self.origins.takes_other(name.local, name.namespace),
        }
    }

    /// Puts a child where [`Frame::place`] said.
    ///
    /// # Errors
    /// A second element where the schema allows one.
    pub(crate) fn insert(&mut self, place: Place<'d>, value: Value, offset: usize) -> Result<(), Flaw> {
        let members = self.members.get_or_insert_default();
        let is_list = match place.shape.kind {
            Kind::List(_) => true,
            Kind::Any => false,
            Kind::Object(_) | Kind::Scalar(_) => {
                return match members.insert(place.key.into_owned(), value) {
                    None => Ok(()),
                    Some(_) => Err(Flaw::new(DecodeFault::Shape, REPEATED, offset)),
                };
            }
        };
        let first = |value| if is_list { Value::Array(vec![value]) } else { value };
        if members.len() > FEW {
            match members.entry(place.key) {
                Entry::Occupied(mut member) => append(member.get_mut(), value),
                Entry::Vacant(member) => {
                    member.insert(first(value));
                }
            }
            return Ok(());
        }
        match members.get_mut(&*place.key) {
            Some(member) => append(member, value),
            None => {
                members.insert(place.key.into_owned(), first(value));
            }
        }
        Ok(())
    }

    fn has(&self, key: &str) -> bool {
        self.members.as_ref().is_some_and(|members| members.contains_key(key))
    }

    /// Whether a child may go to its place, or another one is there already that the schema does not call a list.
    #[inline]
    pub(crate) fn admits(&self, place: &Place<'_>) -> bool {
        matches!(place.shape.kind, Kind::List(_) | Kind::Any) || !self.has(&place.key)
    }

    /// The place in its list that the next child of a member would have, where there is a list.
    pub(crate) fn next_index(&self, place: &Place<'_>) -> Option<usize> {
        match self.members.as_ref().and_then(|members| members.get(&*place.key)) {
            Some(Value::Array(items)) => Some(items.len()),
            Some(_) => None,
            None => place.shape.is_list().then_some(0),
        }
    }

    /// Takes an attribute; one without a prefix is in no namespace. One that the schema does not declare goes to `late`, if there is
    /// such a list: it is for [`Frame::attributes`].
    pub(crate) fn attribute(
        &mut self,
        name: Name<'_>,
        value: &str,
        scope: &Scope<'_>,
        decimals: Decimals,
        offset: usize,
        late: Option<&mut Vec<(String, Value)>>,
    ) -> Result<(), Flaw> {
        let prefixed = name.full.len() != name.local.len();
        let namespace = prefixed.then(|| scope.name(name.namespace));
        if self.shape.nullable && name.local == "nil" && namespace == Some(INSTANCE) {
            self.nil = matches!(value.trim_matches(SPACE), "true" | "1");
            return Ok(());
        }
        let members = self.shape.members();
        let place = if let Some(property) = members.and_then(|members| members.attribute(name.local, namespace)) {
            Place {
                key: Cow::Borrowed(&property.key),
                shape: &property.shape,
            }
        } else {
            let key = ["@", name.full].concat();
            let shape = match members.and_then(|members| members.declared(&key)) {
                None => {
                    if let Some(late) = late {
                        late.push((key, Value::String(value.to_owned())));
                        return Ok(());
                    }
                    &Shape::ANY
                }
                Some(property) if prefixed => &property.shape,
                Some(_) => {
                    // The schema gives this member to another name, and without a prefix there is no other one to keep it under.
                    let detail = "expected this attribute under the name and namespace of the schema";
                    return Err(Flaw::new(DecodeFault::Namespace, detail, offset));
                }
            };
            Place {
                key: Cow::Owned(key),
                shape,
            }
        };
        let value = match place.child().kind {
            Kind::Scalar(scalar) => convert(value, scalar, decimals, offset)?,
            Kind::Any | Kind::List(_) | Kind::Object(_) => Value::String(value.to_owned()),
        };
        self.insert(place, value, offset)
    }

    /// Takes the attributes that are late: in the order of their names the map is built at once, without a search for each.
    pub(crate) fn attributes(&mut self, mut late: Vec<(String, Value)>) {
        if late.is_empty() {
            return;
        }
        late.sort_unstable_by(|(name, _), (next, _)| name.cmp(next));
        // An element has each name once, and what is there already is declared, which these are not: nothing is overwritten.
        let mut late = late.into_iter().collect();
        match &mut self.members {
            Some(members) => members.append(&mut late),
            none => *none = Some(late),
        }
    }

    /// Takes character data as it stands in the document; `is_blank` is whether it has nothing but white space.
    #[inline]
    pub(crate) fn push_text(&mut self, text: &'d str, is_blank: bool, buffer: &mut String) {
        self.text.is_blank &= is_blank;
        if self.text.shared.is_none() && self.text.first.is_empty() {
            self.text.first = text;
        } else {
            self.text.share(buffer).push_str(text);
        }
    }

    /// Takes character data that stands in the document in another spelling.
    pub(crate) fn push_copy(&mut self, text: &str, buffer: &mut String) {
        self.text.is_blank &= is_blank(text);
        self.text.share(buffer).push_str(text);
    }

    /// Only the members, for the document around the root.
    pub(crate) fn into_members(self) -> Map<String, Value> {
        self.members.unwrap_or_default()
    }

    /// The value of the element once it is closed; its text leaves the buffer.
    ///
    /// # Errors
    /// Text that is not what the schema says.
    #[inline]
    pub(crate) fn finish(self, decimals: Decimals, buffer: &mut String) -> Result<Value, Flaw> {
        match self.text.shared {
            None => {
                let text = self.text.first;
                self.finish_with(text, decimals)
            }
            Some(start) => {
                let value = self.finish_with(buffer.get(start..).unwrap_or_default(), decimals);
                buffer.truncate(start);
                value
            }
        }
    }

    fn finish_with(mut self, text: &str, decimals: Decimals) -> Result<Value, Flaw> {
        let shape = self.shape;
        let blank = self.text.is_blank;
        let bare = self.members.is_none() && !self.has_children;
        if self.nil {
            if !bare || !blank {
                return Err(Flaw::new(DecodeFault::Shape, "an element that is nil and has content", self.offset));
            }
            return Ok(Value::Null);
        }
        if bare {
            match &shape.kind {
                Kind::Scalar(Scalar::String) => return Ok(Value::String(text.to_owned())),
                _ if shape.nullable && blank => return Ok(Value::Null),
                Kind::Any | Kind::List(_) => return Ok(Value::String(text.to_owned())),
                Kind::Scalar(scalar) => return convert(text, *scalar, decimals, self.offset),
                Kind::Object(members) => {
                    if let Some(scalar) = members.text_only.filter(|_| !blank) {
                        return convert(text, scalar, decimals, self.offset);
                    }
                }
            }
        }
        let mut found = self.members.take().unwrap_or_default();
        // White space between children is layout.
        if !(self.has_children && blank)
            && let Some(text) = self.keep_text(text, decimals)?
        {
            found.insert("$".to_owned(), text);
        }
        if let Some(members) = shape.members() {
            for key in members.filled_lists() {
                if !found.contains_key(key) {
                    found.insert(key.to_owned(), Value::Array(Vec::new()));
                }
            }
        }
        Ok(Value::Object(found))
    }

    /// The text beside attributes and children, where it is one.
    fn keep_text(&self, text: &str, decimals: Decimals) -> Result<Option<Value>, Flaw> {
        let blank = self.text.is_blank;
        let scalar = match &self.shape.kind {
            Kind::Scalar(scalar) => Some(*scalar),
            Kind::Object(members) => members.declared("$").and_then(|text| match text.shape.kind {
                Kind::Scalar(scalar) => Some(scalar),
                Kind::Any | Kind::List(_) | Kind::Object(_) => None,
            }),
            Kind::Any | Kind::List(_) => None,
        };
        let keep = match scalar {
            Some(Scalar::String) => true,
            Some(_) => !blank,
            None if self.shape.members().is_some() => !blank,
            None => !text.is_empty(),
        };
        if keep {
            convert(text, scalar.unwrap_or(Scalar::String), decimals, self.offset).map(Some)
        } else {
            Ok(None)
        }
    }
}

/// Adds an element to a member that is there; no single element is a list, so a list is the sum of the elements before.
#[inline]
fn append(member: &mut Value, value: Value) {
    match member {
        Value::Array(items) => items.push(value),
        first => *first = Value::Array(vec![first.take(), value]),
    }
}

/// Up to here two short searches beat a copy of a name that may be there already.
const FEW: usize = 16;

impl Text<'_> {
    /// The buffer with all of this text at its end.
    #[inline]
    fn share<'b>(&mut self, buffer: &'b mut String) -> &'b mut String {
        if self.shared.is_none() {
            self.shared = Some(buffer.len());
            buffer.reserve(USUAL_LAYOUT);
            buffer.push_str(self.first);
        }
        buffer
    }
}

/// The white space between the elements of a document of usual size.
const USUAL_LAYOUT: usize = 128;

/// The value of a text of this form.
pub(crate) fn convert(text: &str, scalar: Scalar, decimals: Decimals, offset: usize) -> Result<Value, Flaw> {
    let trimmed = || text.trim_matches(SPACE);
    let number = match scalar {
        Scalar::String => return Ok(Value::String(text.to_owned())),
        Scalar::Boolean => {
            return match trimmed() {
                "true" | "1" => Ok(Value::Bool(true)),
                "false" | "0" => Ok(Value::Bool(false)),
                _ => Err(Flaw::new(DecodeFault::Shape, "expected `true` or `false`", offset)),
            };
        }
        Scalar::Integer => parse_integer(trimmed()),
        Scalar::Number => parse_number(trimmed(), decimals),
    };
    number.map_err(|error| match error {
        NumberError::Form(detail) => Flaw::new(DecodeFault::Shape, detail, offset),
        NumberError::Range(detail) => Flaw::new(DecodeFault::Number, detail, offset),
    })
}
