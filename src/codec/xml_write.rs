//! The writing of XML: a tree to a document, in the order of the tree.
//!
//! **Invariants.** What is written is well-formed, or nothing is: characters, names, prefixes and the single root are
//! checked, and what is markup in a text is spelled as a reference. Recursion is as deep as a template and a decoded value are.

use std::borrow::Cow;
use std::slice;

use serde_json::{Value, map};

use crate::codec::few::Few;
use crate::codec::tree::Tree;
use crate::codec::xml_chars::{SPELLED_IN_TEXT, SPELLED_IN_VALUE, classes, find_forbidden, is_plain_name, split_prefix};
use crate::codec::xml_scan::name_at;
use crate::codec::xml_scope::{Namespace, Scope};
use crate::codec::{EncodeError, EncodeFault};
use crate::json_text;

/// Writes one document; [`crate::codec::xml::encode`] says how.
pub(crate) fn encode(tree: &Tree<'_>) -> Result<Vec<u8>, EncodeError> {
    let mut members = Node::Tree(tree).members().ok_or(EncodeFault::Root)?;
    let (Some((name, root)), None) = (members.next(), members.next()) else {
        return Err(EncodeFault::Root.into());
    };
    if name.starts_with(['@', '$']) {
        return Err(EncodeError::from(EncodeFault::Root).within(name));
    }
    let root = match root.items() {
        None => root,
        Some(mut items) => match (items.next(), items.next()) {
            (Some(single), None) => single,
            _ => return Err(EncodeError::from(EncodeFault::Root).within(name)),
        },
    };
    let mut encoder = Encoder {
        document: String::with_capacity(USUAL_LENGTH),
        scope: Scope::new(),
    };
    encoder.document.push_str(DECLARATION);
    encoder.element(name, root).map_err(|error| error.within(name))?;
    Ok(encoder.document.into_bytes())
}

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

/// What most requests stay below, so that the document is not moved while it grows.
const USUAL_LENGTH: usize = 512;

/// A part of the tree, whichever way it is held.
#[derive(Debug, Clone, Copy)]
enum Node<'t> {
    Tree(&'t Tree<'t>),
    Value(&'t Value),
}

impl<'t> Node<'t> {
    /// The value, unless the node is an object or list of the tree.
    fn value(self) -> Option<&'t Value> {
        match self {
            Self::Tree(Tree::Value(value)) => Some(value),
            Self::Tree(Tree::Object(_) | Tree::List(_)) => None,
            Self::Value(value) => Some(value),
        }
    }

    fn members(self) -> Option<Members<'t>> {
        match self {
            Self::Tree(Tree::Object(members)) => Some(Members::Tree(members.iter())),
            _ => Some(Members::Value(self.value()?.as_object()?.iter())),
        }
    }

    fn items(self) -> Option<Items<'t>> {
        match self {
            Self::Tree(Tree::List(items)) => Some(Items::Tree(items.iter())),
            _ => Some(Items::Value(self.value()?.as_array()?.iter())),
        }
    }

    /// The text of a string, number or boolean, checked.
    fn text(self) -> Result<Cow<'t, str>, EncodeFault> {
        match self.value() {
            Some(Value::String(text)) if find_forbidden(text).is_some() => Err(EncodeFault::Character),
            Some(Value::String(text)) => Ok(Cow::Borrowed(text)),
            Some(Value::Bool(value)) => Ok(Cow::Borrowed(if *value { "true" } else { "false" })),
            Some(Value::Number(number)) => Ok(Cow::Owned(number.to_string())),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => Err(EncodeFault::Content),
        }
    }

    fn is_null(self) -> bool {
        self.value().is_some_and(Value::is_null)
    }
}

/// The members of an object, in its order.
#[derive(Debug, Clone)]
enum Members<'t> {
    Tree(slice::Iter<'t, (Cow<'t, str>, Tree<'t>)>),
    Value(map::Iter<'t>),
}

impl<'t> Iterator for Members<'t> {
    type Item = (&'t str, Node<'t>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Tree(members) => members.next().map(|(name, member)| (name.as_ref(), Node::Tree(member))),
            Self::Value(members) => members.next().map(|(name, member)| (name.as_str(), Node::Value(member))),
        }
    }
}

/// The items of a list.
#[derive(Debug)]
enum Items<'t> {
    Tree(slice::Iter<'t, Tree<'t>>),
    Value(slice::Iter<'t, Value>),
}

impl<'t> Iterator for Items<'t> {
    type Item = Node<'t>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Tree(items) => items.next().map(Node::Tree),
            Self::Value(items) => items.next().map(Node::Value),
        }
    }
}

struct Encoder<'t> {
    /// As far as it is written; thrown away where the rest cannot be.
    document: String,
    scope: Scope<'t>,
}

impl<'t> Encoder<'t> {
    /// Writes one element with all that is in it.
    fn element(&mut self, name: &'t str, node: Node<'t>) -> Result<(), EncodeError> {
        let mark = self.scope.mark();
        self.document.push('<');
        self.document.push_str(name);
        if let Some(members) = node.members() {
            let has_attributes = members.clone().any(|(name, _)| name.starts_with('@'));
            if has_attributes {
                self.declare(members.clone())?;
                self.attributes(members.clone())?;
            }
            self.check_name(name)?;
            let mut content = members.filter(|(name, _)| !name.starts_with('@')).peekable();
            if content.peek().is_none() {
                self.document.push_str("/>");
            } else {
                self.document.push('>');
                for (name, member) in content {
                    self.member(name, member).map_err(|error| error.within(name))?;
                }
                self.end_tag(name);
            }
        } else {
            self.check_name(name)?;
            if node.items().is_some() {
                return Err(EncodeFault::List.into());
            }
            self.content(name, node)?;
        }
        self.scope.rewind(mark);
        Ok(())
    }

    /// Writes the text of an element that has nothing else, behind its name.
    fn content(&mut self, name: &str, node: Node<'t>) -> Result<(), EncodeError> {
        if node.is_null() {
            self.document.push_str("/>");
            return Ok(());
        }
        let before = self.document.len();
        self.document.push('>');
        let start = self.document.len();
        self.text(node)?;
        if self.document.len() == start {
            self.document.truncate(before);
            self.document.push_str("/>");
        } else {
            self.end_tag(name);
        }
        Ok(())
    }

    fn end_tag(&mut self, name: &str) {
        self.document.push_str("</");
        self.document.push_str(name);
        self.document.push('>');
    }

    /// Writes a member that is no attribute: the text, one element, or one element for each item of a list.
    fn member(&mut self, name: &'t str, node: Node<'t>) -> Result<(), EncodeError> {
        if name == "$" {
            if !node.is_null() {
                self.text(node)?;
            }
            return Ok(());
        }
        match node.items() {
            None => self.element(name, node),
            Some(items) => {
                for (index, item) in items.enumerate() {
                    self.element(name, item).map_err(|error| error.within(&index.to_string()))?;
                }
                Ok(())
            }
        }
    }

    fn declare(&mut self, members: Members<'t>) -> Result<(), EncodeError> {
        for (name, node) in members {
            let prefix = match name.strip_prefix("@xmlns") {
                Some("") => "",
                Some(rest) => match rest.strip_prefix(':') {
                    Some(prefix) if is_plain_name(prefix) => prefix,
                    Some(_) => return Err(EncodeError::from(EncodeFault::Name).within(name)),
                    None => continue,
                },
                None => continue,
            };
            let declared = node
                .text()
                .and_then(|uri| self.scope.declare(prefix, uri).map_err(|_| EncodeFault::Namespace));
            declared.map_err(|fault| EncodeError::from(fault).within(name))?;
        }
        Ok(())
    }

    fn attributes(&mut self, members: Members<'t>) -> Result<(), EncodeError> {
        let mut names = Few::new();
        for (name, node) in members {
            let Some(full) = name.strip_prefix('@') else {
                continue;
            };
            let written = self.attribute_name(full).and_then(|(namespace, local)| {
                if !names.insert((namespace, local)) {
                    return Err(EncodeFault::Duplicate);
                }
                self.attribute(full, &node.text()?);
                Ok(())
            });
            written.map_err(|fault| EncodeError::from(fault).within(name))?;
        }
        Ok(())
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.document.push(' ');
        self.document.push_str(name);
        self.document.push_str("=\"");
        self.spell(value, SPELLED_IN_VALUE);
        self.document.push('"');
    }

    /// The expanded name of an attribute; declarations, which have none, stand for themselves.
    fn attribute_name(&self, full: &'t str) -> Result<(Namespace, &'t str), EncodeFault> {
        if full == "xmlns" || full.starts_with("xmlns:") {
            return Ok((Namespace::NONE, full));
        }
        match self.check_name(full)? {
            (None, local) => Ok((Namespace::NONE, local)),
            (prefix, local) => self.scope.resolve(prefix).map(|found| (found, local)).ok_or(EncodeFault::Namespace),
        }
    }

    /// Checks that a name is one and that its prefix is declared.
    fn check_name<'n>(&self, name: &'n str) -> Result<(Option<&'n str>, &'n str), EncodeFault> {
        let written = name_at(name, 0).filter(|found| found.name.len() == name.len());
        if !written.ok_or(EncodeFault::Name)?.has_colon {
            return Ok((None, name));
        }
        let (prefix, local) = split_prefix(name).ok_or(EncodeFault::Name)?;
        if prefix.is_some() && self.scope.resolve(prefix).is_none() {
            return Err(EncodeFault::Namespace);
        }
        Ok((prefix, local))
    }

    /// Writes the text of a string, number or boolean.
    fn text(&mut self, node: Node<'t>) -> Result<(), EncodeFault> {
        match node.value() {
            Some(number @ Value::Number(_)) => json_text::value(&mut self.document, number),
            _ => self.spell(&node.text()?, SPELLED_IN_TEXT),
        }
        Ok(())
    }

    /// Writes a text, and what belongs to a class as references.
    fn spell(&mut self, text: &str, class: u8) {
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|byte| classes(byte) & class != 0) {
            let (before, found) = rest.split_at(at);
            let (special, after) = found.split_at(1);
            self.document.push_str(before);
            self.document.push_str(match special {
                "<" => "&lt;",
                ">" => "&gt;",
                "&" => "&amp;",
                "\"" => "&quot;",
                "'" => "&apos;",
                "\t" => "&#9;",
                "\n" => "&#10;",
                "\r" => "&#13;",
                as_it_stands => as_it_stands,
            });
            rest = after;
        }
        self.document.push_str(rest);
    }
}
