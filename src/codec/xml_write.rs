//! The writing of XML: a tree to a document, in the order of the tree.
//!
//! **Invariants.** What is written is well-formed, or nothing is: characters, names, prefixes and the single root are
//! checked, the writer escapes. Recursion is as deep as a template and a decoded value are.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;

use quick_xml::Writer;
use quick_xml::escape::partial_escape;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use serde_json::Value;

use crate::codec::tree::Tree;
use crate::codec::xml_chars::{find_forbidden, is_plain_name, split_name, split_prefix};
use crate::codec::xml_scope::{Namespace, Scope};
use crate::codec::{EncodeError, EncodeFault};

/// Writes one document; [`crate::codec::xml::encode`] says how.
pub(crate) fn encode(tree: &Tree<'_>) -> Result<Vec<u8>, EncodeError> {
    let members = Node::Tree(tree).members().ok_or(EncodeFault::Root)?;
    let [(name, root)] = members.as_slice() else {
        return Err(EncodeFault::Root.into());
    };
    if name.starts_with(['@', '$']) {
        return Err(EncodeError::from(EncodeFault::Root).within(name));
    }
    let items = root.items();
    let root = match items.as_deref() {
        None => *root,
        Some([single]) => *single,
        Some(_) => return Err(EncodeError::from(EncodeFault::Root).within(name)),
    };
    let mut encoder = Encoder {
        writer: Writer::new(Vec::new()),
        scope: Scope::new(),
    };
    encoder.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
    encoder.element(name, root).map_err(|error| error.within(name))?;
    Ok(encoder.writer.into_inner())
}

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

    fn members(self) -> Option<Vec<(&'t str, Self)>> {
        if let Self::Tree(Tree::Object(members)) = self {
            return Some(members.iter().map(|(name, member)| (name.as_ref(), Self::Tree(member))).collect());
        }
        let members = self.value()?.as_object()?;
        Some(members.iter().map(|(name, member)| (name.as_str(), Self::Value(member))).collect())
    }

    fn items(self) -> Option<Vec<Self>> {
        if let Self::Tree(Tree::List(items)) = self {
            return Some(items.iter().map(Self::Tree).collect());
        }
        Some(self.value()?.as_array()?.iter().map(Self::Value).collect())
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

struct Encoder<'t> {
    writer: Writer<Vec<u8>>,
    scope: Scope<'t>,
}

impl<'t> Encoder<'t> {
    /// Writes one element with all that is in it.
    fn element(&mut self, name: &'t str, node: Node<'t>) -> Result<(), EncodeError> {
        let members = node.members();
        let mark = self.scope.mark();
        let mut start = BytesStart::new(name);
        if let Some(members) = &members {
            self.declare(members)?;
            self.attributes(&mut start, members)?;
        }
        self.check_name(name)?;
        match members {
            Some(members) => {
                let mut content = members.into_iter().filter(|(name, _)| !name.starts_with('@')).peekable();
                if content.peek().is_none() {
                    self.event(Event::Empty(start));
                } else {
                    self.event(Event::Start(start));
                    for (name, member) in content {
                        self.member(name, member).map_err(|error| error.within(name))?;
                    }
                    self.event(Event::End(BytesEnd::new(name)));
                }
            }
            None if node.items().is_some() => return Err(EncodeFault::List.into()),
            None if node.is_null() => self.event(Event::Empty(start)),
            None => {
                let text = node.text()?;
                if text.is_empty() {
                    self.event(Event::Empty(start));
                } else {
                    self.event(Event::Start(start));
                    self.text(&text);
                    self.event(Event::End(BytesEnd::new(name)));
                }
            }
        }
        self.scope.rewind(mark);
        Ok(())
    }

    /// Writes a member that is no attribute: the text, one element, or one element for each item of a list.
    fn member(&mut self, name: &'t str, node: Node<'t>) -> Result<(), EncodeError> {
        if name == "$" {
            if !node.is_null() {
                self.text(&node.text()?);
            }
            return Ok(());
        }
        match node.items() {
            None => self.element(name, node),
            Some(items) => {
                for (index, item) in items.into_iter().enumerate() {
                    self.element(name, item).map_err(|error| error.within(&index.to_string()))?;
                }
                Ok(())
            }
        }
    }

    fn declare(&mut self, members: &[(&'t str, Node<'t>)]) -> Result<(), EncodeError> {
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

    fn attributes(&self, start: &mut BytesStart<'_>, members: &[(&'t str, Node<'t>)]) -> Result<(), EncodeError> {
        let mut names = HashSet::new();
        for (name, node) in members {
            let Some(full) = name.strip_prefix('@') else {
                continue;
            };
            let written = self.attribute_name(full).and_then(|(namespace, local)| {
                if !names.insert((namespace, local)) {
                    return Err(EncodeFault::Duplicate);
                }
                start.push_attribute((full, node.text()?));
                Ok(())
            });
            written.map_err(|fault| EncodeError::from(fault).within(name))?;
        }
        Ok(())
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
        let (prefix, local) = split_prefix(name).ok_or(EncodeFault::Name)?;
        if !matches!(split_name(name), Some((_, ""))) {
            return Err(EncodeFault::Name);
        }
        if prefix.is_some() && self.scope.resolve(prefix).is_none() {
            return Err(EncodeFault::Namespace);
        }
        Ok((prefix, local))
    }

    fn text(&mut self, text: &str) {
        self.event(Event::Text(BytesText::from_escaped(partial_escape(text))));
    }

    fn event(&mut self, event: Event<'_>) {
        let written: io::Result<()> = self.writer.write_event(event);
        written.expect("a vector takes any number of bytes");
    }
}
