//! Which namespace a prefix stands for, at any place of an XML document, in time that hardly grows with the declarations.
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

    /// That of the prefix `xml`.
    const OF_XML: Self = Self(1);
}

/// The namespace that the prefix `xml` always stands for.
const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// The namespace of the declarations themselves, which nothing may be bound to.
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// The declarations in force, innermost last; the default namespace has the empty prefix.
///
/// Most documents declare none or a few, so looking at each is the way; where there are many they are indexed.
#[derive(Debug, Default)]
pub(crate) struct Scope<'d> {
    /// Those that were met in the document, from the third on: the first two need no declaration.
    names: Vec<Cow<'d, str>>,
    bindings: Vec<Binding<'d>>,
    index: Option<Box<Index<'d>>>,
}

#[derive(Debug, Clone, Copy)]
struct Binding<'d> {
    prefix: &'d str,
    namespace: Namespace,
}

/// Where many declarations are found.
#[derive(Debug, Default)]
struct Index<'d> {
    numbers: HashMap<Cow<'d, str>, Namespace>,
    bindings: HashMap<&'d str, Vec<Namespace>>,
}

/// A place to return to when an element ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

impl<'d> Scope<'d> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(self.bindings.len())
    }

    #[inline]
    pub(crate) fn rewind(&mut self, mark: Mark) {
        // Most elements declare nothing.
        if self.bindings.len() != mark.0 {
            self.forget(mark);
        }
    }

    fn forget(&mut self, mark: Mark) {
        if let Some(index) = &mut self.index {
            for binding in self.bindings.iter().skip(mark.0) {
                if let Some(bound) = index.bindings.get_mut(binding.prefix) {
                    bound.pop();
                }
            }
        }
        self.bindings.truncate(mark.0);
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
        let namespace = self.number(name);
        self.bindings.push(Binding { prefix, namespace });
        match &mut self.index {
            Some(index) => index.bindings.entry(prefix).or_default().push(namespace),
            None if self.bindings.len().max(self.names.len()) > FEW => self.index = Some(self.build_index()),
            None => {}
        }
        Ok(())
    }

    /// The number of a name, a new one where it is met for the first time.
    fn number(&mut self, name: Cow<'d, str>) -> Namespace {
        let next = Namespace(self.names.len() + DECLARED_BY_NONE);
        if name.is_empty() {
            return Namespace::NONE;
        }
        if name == XML {
            return Namespace::OF_XML;
        }
        if let Some(index) = &mut self.index {
            let number = *index.numbers.entry(name.clone()).or_insert(next);
            if number == next {
                self.names.push(name);
            }
            return number;
        }
        match self.names.iter().position(|known| *known == name) {
            Some(known) => Namespace(known + DECLARED_BY_NONE),
            None => {
                self.names.push(name);
                next
            }
        }
    }

    fn build_index(&self) -> Box<Index<'d>> {
        let mut index = Box::<Index<'d>>::default();
        for (place, name) in self.names.iter().enumerate() {
            index.numbers.insert(name.clone(), Namespace(place + DECLARED_BY_NONE));
        }
        for binding in &self.bindings {
            index.bindings.entry(binding.prefix).or_default().push(binding.namespace);
        }
        index
    }

    /// The namespace of a prefix, or the default one; `None` where the prefix is not declared.
    #[inline]
    pub(crate) fn resolve(&self, prefix: Option<&str>) -> Option<Namespace> {
        let prefix = prefix.unwrap_or_default();
        if self.bindings.is_empty() && prefix.is_empty() {
            return Some(Namespace::NONE);
        }
        self.declared(prefix).or(match prefix {
            "" => Some(Namespace::NONE),
            "xml" => Some(Namespace::OF_XML),
            _ => None,
        })
    }

    fn declared(&self, prefix: &str) -> Option<Namespace> {
        match &self.index {
            Some(index) => index.bindings.get(prefix)?.last().copied(),
            None => {
                let bound = self.bindings.iter().rev().find(|binding| binding.prefix == prefix)?;
                Some(bound.namespace)
            }
        }
    }

    /// The name of a namespace, empty for none.
    #[inline]
    pub(crate) fn name(&self, namespace: Namespace) -> &str {
        match namespace {
            Namespace::NONE => "",
            Namespace::OF_XML => XML,
            Namespace(number) => self.names.get(number - DECLARED_BY_NONE).map_or("", |name| name),
        }
    }
}

/// Up to here looking at each declaration beats hashing its prefix.
const FEW: usize = 16;

/// No namespace and that of `xml`.
const DECLARED_BY_NONE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_end_with_their_element() {
        let mut scope = Scope::new();
        assert_eq!(scope.resolve(None), Some(Namespace::NONE));
        assert_eq!(scope.resolve(Some("xml")).map(|found| scope.name(found)), Some(XML));
        assert_eq!(scope.resolve(Some("p")), None);
        let outer = scope.mark();
        scope.declare("p", "urn:a".into()).unwrap();
        scope.declare("", "urn:a".into()).unwrap();
        assert_eq!(scope.resolve(Some("p")), scope.resolve(None));
        let inner = scope.mark();
        scope.declare("p", "urn:b".into()).unwrap();
        scope.declare("", "".into()).unwrap();
        assert_eq!(scope.resolve(Some("p")).map(|found| scope.name(found)), Some("urn:b"));
        assert_eq!(scope.resolve(None), Some(Namespace::NONE));
        scope.rewind(inner);
        assert_eq!(scope.resolve(None).map(|found| scope.name(found)), Some("urn:a"));
        scope.rewind(outer);
        assert_eq!(scope.resolve(Some("p")), None);
    }

    #[test]
    fn many_declarations_are_as_good_as_few() {
        let names: Vec<(String, String)> = (0..3 * FEW).map(|n| (format!("p{n}"), format!("urn:{}", n / 2))).collect();
        let mut scope = Scope::new();
        let mut marks = Vec::new();
        for (prefix, name) in names.iter().chain(&names) {
            marks.push(scope.mark());
            scope.declare("", "urn:0".into()).unwrap();
            scope.declare(prefix, name.into()).unwrap();
        }
        for round in 0..2 {
            for (prefix, name) in &names {
                assert_eq!(scope.resolve(Some(prefix)).map(|found| scope.name(found)), Some(&**name), "{round}");
            }
            assert_eq!(scope.resolve(Some("p0")), scope.resolve(None));
            assert_eq!(scope.resolve(Some("p0")), scope.resolve(Some("p1")));
            assert_eq!(scope.resolve(Some("xml")).map(|found| scope.name(found)), Some(XML));
            // The first half is still in force.
            scope.rewind(marks[names.len()]);
        }
        scope.rewind(marks[0]);
        assert_eq!(scope.resolve(None), Some(Namespace::NONE));
        assert!(names.iter().all(|(prefix, _)| scope.resolve(Some(prefix)).is_none()));
    }

    #[test]
    fn reserved_names() {
        for (prefix, name, allowed) in [
            ("xml", XML, true),
            ("xml", "urn:a", false),
            ("p", XML, false),
            ("", XML, false),
            ("xmlns", "urn:a", false),
            ("xmlns", XMLNS, false),
            ("p", XMLNS, false),
            ("", XMLNS, false),
            ("p", "", false),
            ("", "", true),
            ("xmlfoo", "urn:a", true),
        ] {
            assert_eq!(Scope::new().declare(prefix, name.into()).is_ok(), allowed, "{prefix}={name}");
        }
    }
}
