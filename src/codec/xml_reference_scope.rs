//! Which namespace a prefix stands for, at any place of an XML document, in time that does not grow with the declarations.
//!
//! **Source.** Namespaces in XML 1.0 third edition, sections 3, 5 and 6.

use std::borrow::Cow;
use std::collections::HashMap;

/// A namespace of the document at hand: equal names have equal numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Namespace(usize);

impl Namespace {
    /// No namespace.
    pub(crate) const NONE: Self = Self(0);
}

/// The namespace that the prefix `xml` always stands for.
const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// The namespace of the declarations themselves, which nothing may be bound to.
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// The declarations in force, innermost last; the default namespace has the empty prefix.
#[derive(Debug)]
pub(crate) struct Scope<'d> {
    names: Vec<Cow<'d, str>>,
    numbers: HashMap<Cow<'d, str>, Namespace>,
    bindings: HashMap<Cow<'d, str>, Vec<Namespace>>,
    undo: Vec<Cow<'d, str>>,
}

/// A place to return to when an element ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

impl<'d> Scope<'d> {
    pub(crate) fn new() -> Self {
        let mut scope = Self {
            names: Vec::new(),
            numbers: HashMap::new(),
            bindings: HashMap::new(),
            undo: Vec::new(),
        };
        scope.bind(Cow::Borrowed(""), Cow::Borrowed(""));
        scope.bind(Cow::Borrowed("xml"), Cow::Borrowed(XML));
        scope
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(self.undo.len())
    }

    pub(crate) fn rewind(&mut self, mark: Mark) {
        for prefix in self.undo.drain(mark.0.min(self.undo.len())..) {
            if let Some(bound) = self.bindings.get_mut(&prefix) {
                bound.pop();
            }
        }
    }

    /// Takes a declaration of the element that was opened last.
    ///
    /// # Errors
    /// The reserved prefixes and names, and a prefix bound to nothing.
    pub(crate) fn declare(&mut self, prefix: &'d str, name: Cow<'d, str>) -> Result<(), &'static str> {
        if prefix == "xmlns" || name == XMLNS {
            return Err("a declaration of the reserved prefix `xmlns` or of its namespace");
        }
        if (prefix == "xml") != (name == XML) {
            return Err("the prefix `xml` and its namespace belong to each other");
        }
        if name.is_empty() && !prefix.is_empty() {
            return Err("a prefix bound to no namespace");
        }
        self.bind(Cow::Borrowed(prefix), name);
        Ok(())
    }

    fn bind(&mut self, prefix: Cow<'d, str>, name: Cow<'d, str>) {
        let next = Namespace(self.names.len());
        let number = *self.numbers.entry(name.clone()).or_insert(next);
        if number == next {
            self.names.push(name);
        }
        self.bindings.entry(prefix.clone()).or_default().push(number);
        self.undo.push(prefix);
    }

    /// The namespace of a prefix, or the default one; `None` where the prefix is not declared.
    pub(crate) fn resolve(&self, prefix: Option<&str>) -> Option<Namespace> {
        self.bindings
            .get(prefix.unwrap_or_default())
            .and_then(|bound| bound.last())
            .copied()
    }

    /// The name of a namespace, empty for none.
    pub(crate) fn name(&self, namespace: Namespace) -> &str {
        self.names.get(namespace.0).map_or("", |name| name)
    }
}
