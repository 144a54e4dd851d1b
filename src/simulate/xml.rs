//! XML for the vendors that speak it: a small tree read strictly, and a JSON value written by the vendor's own convention.
//!
//! **Shape.** `{"a": {"@b": "1", "c": [2, 3]}}` is written as `<a b="1"><c>2</c><c>3</c></a>`: `@name` is an attribute, `$` the text beside
//! attributes, a list repeats its element. Reading gives [`Element`]s; whitespace between elements means nothing.
//!
//! **Errors.** [`XmlFault`] for anything that is not one well-formed element: a DOCTYPE, an unknown entity, too many levels.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::{escape, resolve_xml_entity};
use quick_xml::events::{BytesStart, Event};
use serde_json::Value;

/// One element and what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) children: Vec<Element>,
    /// The text; of an element with children only what is left after trimming.
    pub(super) text: String,
}

/// Why a text is no document.
#[derive(Debug, thiserror::Error)]
pub(super) enum XmlFault {
    #[error("the document is more than {MAX_DEPTH} levels deep")]
    Depth,
    #[error("expected one element, found {0}")]
    Misplaced(&'static str),
    #[error("the document is not well-formed")]
    Syntax(#[from] quick_xml::Error),
    #[error("the document is not UTF-8")]
    Text(#[from] std::str::Utf8Error),
    #[error("unknown entity `{0}`")]
    UnknownEntity(String),
}

impl Element {
    /// Reads a document that is one element, after an optional declaration and beside comments.
    pub(super) fn parse(document: &[u8]) -> Result<Self, XmlFault> {
        let mut reader = Reader::from_str(std::str::from_utf8(document)?);
        let mut open: Vec<Self> = Vec::new();
        let mut root = None;
        loop {
            match reader.read_event()? {
                Event::Start(start) => {
                    if root.is_some() {
                        return Err(XmlFault::Misplaced("a second one"));
                    }
                    if open.len() == MAX_DEPTH {
                        return Err(XmlFault::Depth);
                    }
                    open.push(Self::opened(&start)?);
                }
                Event::Empty(start) if root.is_none() => {
                    place(Self::opened(&start)?, &mut open, &mut root);
                }
                Event::Empty(_) => return Err(XmlFault::Misplaced("a second one")),
                Event::End(_) => match open.pop() {
                    Some(element) => place(element.closed(), &mut open, &mut root),
                    None => return Err(XmlFault::Misplaced("an end tag")),
                },
                Event::Text(text) => write_text(&text.xml10_content(), &mut open)?,
                Event::CData(text) => write_text(&text.xml10_content(), &mut open)?,
                Event::GeneralRef(reference) => match reference.resolve_char_ref()? {
                    Some(character) => write_text(character.encode_utf8(&mut [0; 4]), &mut open)?,
                    None => match resolve_xml_entity(&reference) {
                        Some(text) => write_text(text, &mut open)?,
                        None => return Err(XmlFault::UnknownEntity((*reference).to_owned())),
                    },
                },
                Event::DocType(_) => return Err(XmlFault::Misplaced("a DOCTYPE")),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof if open.is_empty() => {
                    return root.ok_or(XmlFault::Misplaced("nothing"));
                }
                Event::Eof => return Err(XmlFault::Misplaced("the end of the document")),
            }
        }
    }

    /// The only child of that name; none when there are several.
    pub(super) fn only(&self, name: &str) -> Option<&Self> {
        let mut found = self.children.iter().filter(|child| child.name == name);
        found.next().filter(|_| found.next().is_none())
    }

    fn opened(start: &BytesStart<'_>) -> Result<Self, XmlFault> {
        let mut attributes = BTreeMap::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(quick_xml::Error::from)?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0)?.into_owned();
            attributes.insert(attribute.key.as_ref().to_owned(), value);
        }
        Ok(Self {
            name: start.name().as_ref().to_owned(),
            attributes,
            ..Self::default()
        })
    }

    fn closed(mut self) -> Self {
        if !self.children.is_empty() {
            self.text = self.text.trim().to_owned();
        }
        self
    }
}

/// Writes a document; `value` is an object or list member as the module says.
pub(super) fn write_document(root: &str, value: &Value) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n");
    write_element(&mut out, root, value);
    out
}

fn write_element(out: &mut String, name: &str, value: &Value) {
    match value {
        Value::Array(items) => {
            for item in items {
                write_element(out, name, item);
            }
        }
        Value::Object(members) => {
            let _ = write!(out, "<{name}");
            for (key, value) in members {
                if let Some(attribute) = key.strip_prefix('@') {
                    let _ = write!(out, " {attribute}=\"{}\"", escape(plain(value)));
                }
            }
            out.push('>');
            for (key, value) in members {
                if key == "$" {
                    out.push_str(&escape(plain(value)));
                } else if !key.starts_with('@') {
                    write_element(out, key, value);
                }
            }
            let _ = write!(out, "</{name}>");
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = write!(out, "<{name}>{}</{name}>", escape(plain(value)));
        }
    }
}

/// A scalar without the quotes of JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn place(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

fn write_text(text: &str, open: &mut [Element]) -> Result<(), XmlFault> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(XmlFault::Misplaced("text")),
    }
    Ok(())
}

/// No vendor's document comes near this, and a tree of this depth is dropped without trouble.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(document: &str, expected: &str) {
        let found = match Element::parse(document.as_bytes()) {
            Ok(root) => format!("{}: {:?}", root.name, root.text),
            Err(fault) => format!("error: {fault}"),
        };
        assert_eq!(found, expected, "{document}");
    }

    #[test]
    fn documents_are_read_strictly() {
        for (document, expected) in [
            ("<a>1 &lt; &#x32;</a>", "a: \"1 < 2\""),
            ("<?xml version=\"1.0\" ?><!-- c --><a><![CDATA[<x>]]></a>\n", "a: \"<x>\""),
            ("<a> <b/> </a>", "a: \"\""),
            ("", "error: expected one element, found nothing"),
            ("<a/><b/>", "error: expected one element, found a second one"),
            ("<a/><b></b>", "error: expected one element, found a second one"),
            ("<a>", "error: expected one element, found the end of the document"),
            ("<a></b>", "error: the document is not well-formed"),
            ("text", "error: expected one element, found text"),
            ("<!DOCTYPE a><a/>", "error: expected one element, found a DOCTYPE"),
            ("<a>&x;</a>", "error: unknown entity `x`"),
        ] {
            check(document, expected);
        }
        check(&"<a>".repeat(MAX_DEPTH + 1), "error: the document is more than 64 levels deep");
    }

    #[test]
    fn what_is_written_can_be_read() {
        let value = json!({"@b": "\"&<", "c": [2, "x<y"], "d": {"@e": true, "$": "t"}, "f": null});
        let document = write_document("a", &value);
        let root = Element::parse(document.as_bytes()).unwrap();
        assert_eq!(root.attributes["b"], "\"&<");
        assert_eq!(root.children.len(), 3);
        assert_eq!(root.children[1].text, "x<y");
        assert!(root.only("c").is_none());
        let d = root.only("d").unwrap();
        assert_eq!((d.attributes["e"].as_str(), d.text.as_str()), ("true", "t"));
    }
}
