//! A document for those who look a few values up: one list of its values, texts and names where they stand in its bytes.
//!
//! **Shape**: `{"data":{"id":"ebf8…"}}` -> `[object, data: object, id: "ebf8…"]`, each with the place behind all that is in it.
//!
//! **Invariants**: it holds what [`super::json::decode`] and [`super::xml::decode`] give for the same bytes; a document that is refused there is
//! not read here.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Number, Value};

use super::Limits;
use super::json_read::{Build, read_into};
use super::node::{Kind, Node};

/// The values of a document, each before what is in it.
#[derive(Debug)]
pub struct Flat<'t> {
    parts: Vec<Part<'t>>,
}

/// A value with its name, empty for the items of a list and for the whole.
#[derive(Debug)]
struct Part<'t> {
    name: &'t str,
    held: Held<'t>,
    /// Where the next one stands that is not in it.
    end: usize,
}

#[derive(Debug)]
enum Held<'t> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'t, str>),
    /// With the number of its items.
    List(usize),
    /// With the number of its members.
    Object(usize),
}

impl<'t> Flat<'t> {
    /// Nothing where the document is refused, or a name in it is spelled with escapes.
    pub(super) fn read(text: &'t str, limits: &Limits) -> Option<Self> {
        read_into(Flattening::new(), text, limits).map(|((), built)| built.into())
    }

    /// The whole of it.
    #[must_use]
    pub fn root(&self) -> FlatNode<'_> {
        FlatNode { parts: &self.parts, at: 0 }
    }
}

/// One value of a [`Flat`] document.
#[derive(Clone, Copy, Debug)]
pub struct FlatNode<'a> {
    parts: &'a [Part<'a>],
    at: usize,
}

impl<'a> FlatNode<'a> {
    /// The same as a value.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self.kind() {
            Kind::Null => Value::Null,
            Kind::Bool(flag) => Value::Bool(flag),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text) => Value::from(text),
            Kind::List(items) => items.map(Self::to_value).collect(),
            Kind::Object(members) => members.map(|(name, member)| (name.to_owned(), member.to_value())).collect(),
        }
    }

    fn parts(self, count: usize) -> Parts<'a> {
        Parts {
            parts: self.parts,
            at: self.at + 1,
            left: count,
        }
    }
}

impl<'a> Node<'a> for FlatNode<'a> {
    type Items = Items<'a>;
    type Members = Parts<'a>;

    fn kind(self) -> Kind<'a, Self> {
        match self.parts.get(self.at).map(|part| &part.held) {
            None | Some(Held::Null) => Kind::Null,
            Some(Held::Bool(flag)) => Kind::Bool(*flag),
            Some(Held::Number(number)) => Kind::Number(number),
            Some(Held::Text(text)) => Kind::Text(text),
            Some(Held::List(count)) => Kind::List(Items(self.parts(*count))),
            Some(Held::Object(count)) => Kind::Object(self.parts(*count)),
        }
    }
}

/// The members of an object.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    parts: &'a [Part<'a>],
    at: usize,
    left: usize,
}

impl<'a> Iterator for Parts<'a> {
    type Item = (&'a str, FlatNode<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let found = FlatNode {
            parts: self.parts,
            at: self.at,
        };
        let part = self.parts.get(self.at)?;
        self.at = part.end;
        Some((part.name, found))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Parts<'_> {}

/// The items of a list.
#[derive(Clone, Debug)]
pub struct Items<'a>(Parts<'a>);

impl<'a> Iterator for Items<'a> {
    type Item = FlatNode<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(_, item)| item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Items<'_> {}

impl<'t> From<Flattening<'t>> for Flat<'t> {
    fn from(built: Flattening<'t>) -> Self {
        Self { parts: built.parts }
    }
}

/// A document that is being read.
pub(super) struct Flattening<'t> {
    parts: Vec<Part<'t>>,
    /// Of the value that comes next.
    name: &'t str,
}

/// A container that is being read: where it stands, and how much is in it.
pub(super) struct Open<'t> {
    at: usize,
    count: usize,
    /// Those of an object where there are many.
    names: Option<HashSet<&'t str>>,
}

impl<'t> Flattening<'t> {
    pub(super) fn new() -> Self {
        Self {
            parts: Vec::with_capacity(USUAL_VALUES),
            name: "",
        }
    }

    /// Is there a member of this name already?
    pub(super) fn has(&self, members: &Open<'t>, name: &str) -> bool {
        match &members.names {
            Some(names) => names.contains(name),
            None => self.names(members).any(|known| known == name),
        }
    }

    fn push(&mut self, held: Held<'t>) {
        let name = std::mem::take(&mut self.name);
        let end = self.parts.len() + 1;
        self.parts.push(Part { name, held, end });
    }

    fn open(&mut self) -> Open<'t> {
        let at = self.parts.len();
        self.push(Held::Null);
        Open { at, count: 0, names: None }
    }

    /// The names of the members so far.
    fn names(&self, members: &Open<'t>) -> impl Iterator<Item = &'t str> {
        let (mut at, mut left) = (members.at + 1, members.count);
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let part = self.parts.get(at)?;
            at = part.end;
            Some(part.name)
        })
    }

    fn close(&mut self, at: usize, held: Held<'t>) {
        let end = self.parts.len();
        if let Some(part) = self.parts.get_mut(at) {
            part.held = held;
            part.end = end;
        }
    }
}

impl<'t> Build<'t> for Flattening<'t> {
    type Value = ();
    type Items = Open<'t>;
    type Members = Open<'t>;
    type Name = ();

    fn null(&mut self) {
        self.push(Held::Null);
    }

    fn bool(&mut self, flag: bool) {
        self.push(Held::Bool(flag));
    }

    fn number(&mut self, number: Number) {
        self.push(Held::Number(number));
    }

    fn text(&mut self, text: Cow<'t, str>) {
        self.push(Held::Text(text));
    }

    fn items(&mut self) -> Open<'t> {
        self.open()
    }

    fn item(&mut self, items: &mut Open<'t>, (): ()) {
        items.count += 1;
    }

    fn list(&mut self, items: Open<'t>) {
        self.close(items.at, Held::List(items.count));
    }

    fn members(&mut self) -> Open<'t> {
        self.open()
    }

    fn name(&mut self, members: &mut Open<'t>, name: Cow<'t, str>) -> Option<()> {
        // A name with escapes is not worth a text of its own in every value.
        let Cow::Borrowed(name) = name else { return None };
        self.name = name;
        let is_new = if members.count < FEW {
            self.names(members).all(|known| known != name)
        } else {
            if members.names.is_none() {
                members.names = Some(self.names(members).collect());
            }
            members.names.as_mut().is_some_and(|names| names.insert(name))
        };
        is_new.then_some(())
    }

    fn member(&mut self, members: &mut Open<'t>, (): (), (): ()) -> Option<()> {
        members.count += 1;
        Some(())
    }

    fn object(&mut self, members: Open<'t>) {
        self.close(members.at, Held::Object(members.count));
    }
}

/// Up to here comparing each name with each other one beats hashing them.
const FEW: usize = 8;

/// What an answer to an action holds, so that one allocation is enough.
const USUAL_VALUES: usize = 20;
