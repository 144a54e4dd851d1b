//! Bytes to values and back: the JSON and XML codecs, their limits and their errors.
//!
//! **Shape.** `decode` turns bytes into a `serde_json::Value`; `encode` turns a [`tree::Tree`], which keeps the order of
//! its template, into bytes. XML is read under a [`shape::Shape`] compiled from a JSON Schema.
//!
//! **Invariants.** Pure functions: no I/O, no clock, no log. A document is taken whole and exact or refused: nothing is
//! rounded, merged or dropped on the way. Work and memory grow linearly with the input. Callers bound the bytes.
//!
//! **Errors.** [`DecodeError`] and [`EncodeError`] say what was expected and where, and never repeat a value.

use std::borrow::Cow;
use std::fmt;

pub mod byte_set;
pub mod flat;
pub mod json;
pub mod node;
pub mod shape;
pub mod tree;
pub mod xml;

mod few;
mod json_read;
mod number;
mod shape_schema;
mod xml_chars;
mod xml_flat;
mod xml_frame;
mod xml_read;
#[cfg(test)]
mod xml_reference;
#[cfg(test)]
mod xml_reference_frame;
#[cfg(test)]
mod xml_reference_scope;
#[cfg(test)]
mod xml_reference_tag;
mod xml_scan;
mod xml_scope;
mod xml_tag;
mod xml_write;

/// How far a document may go before it is refused; the number of bytes is bounded by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The number of containers (JSON) or elements (XML) that may be open at once; [`DEPTH_CEILING`] at most.
    pub max_depth: usize,
    /// The number of values (JSON), or of elements and attributes (XML), in one document.
    pub max_nodes: usize,
    /// What happens to a decimal that has no exact 64-bit float.
    pub decimals: Decimals,
}

/// What happens to a decimal that has no exact 64-bit float; integers are always exact or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decimals {
    /// Refuse it, and negative zero: what the caller wrote is what the vendor gets.
    Exact,
    /// Take the nearest float: a vendor's measurements are read, not passed on.
    Rounded,
}

/// No limit goes deeper, so that everything which walks a value may recurse: `serde_json` reads 127 levels and no more.
pub const DEPTH_CEILING: usize = 127;

/// Deeper than any request schema is written by hand, and far from what a stack could feel.
const REQUEST_DEPTH: usize = 64;

/// A hundred ids, a few hundred clusters and their scan types need a tenth of it.
const REQUEST_NODES: usize = 10_000;

/// The largest page that a vendor sends holds about a thousand records of twenty members; this is ten of them.
const REPLY_NODES: usize = 200_000;

impl Limits {
    /// For canonical requests: small, and exact to the last digit.
    pub const REQUEST: Self = Self {
        max_depth: REQUEST_DEPTH,
        max_nodes: REQUEST_NODES,
        decimals: Decimals::Exact,
    };

    /// For vendor replies: room for a full page of records.
    pub const REPLY: Self = Self {
        max_depth: DEPTH_CEILING,
        max_nodes: REPLY_NODES,
        decimals: Decimals::Rounded,
    };

    /// The depth that is enforced.
    fn depth(&self) -> usize {
        self.max_depth.min(DEPTH_CEILING)
    }
}

/// Why bytes are not a document that can be taken as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail} at line {line}, column {column}")]
pub struct DecodeError {
    fault: DecodeFault,
    detail: Cow<'static, str>,
    line: usize,
    column: usize,
    pointer: Option<String>,
}

impl DecodeError {
    /// The class of the fault, stable for tests, tables and metrics.
    #[must_use]
    pub fn fault(&self) -> DecodeFault {
        self.fault
    }

    /// What was expected or found, without any value of the document.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in bytes, counted from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// The JSON Pointer of the member at fault where it is known and short; its names are those of the document.
    #[must_use]
    pub fn pointer(&self) -> Option<&str> {
        self.pointer.as_deref()
    }
}

/// The class of a [`DecodeError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DecodeFault {
    /// Deeper than the limit.
    Depth,
    /// An XML document type declaration.
    Doctype,
    /// A JSON member or an XML attribute that occurs twice.
    Duplicate,
    /// Not UTF-8, a byte order mark where none may be, or another declared encoding.
    Encoding,
    /// An XML reference to an entity that is not one of the five predefined ones.
    Entity,
    /// The document ends before it is complete.
    Incomplete,
    /// XML that is well-formed and breaks the rules of namespaces.
    Namespace,
    /// More values, elements or attributes than the limit.
    Nodes,
    /// A number that cannot be carried exactly.
    Number,
    /// XML that does not fit the schema: text that is no number, an element repeated without being a list.
    Shape,
    /// Anything else that the grammar does not allow.
    Syntax,
}

impl DecodeFault {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::Doctype => "doctype",
            Self::Duplicate => "duplicate",
            Self::Encoding => "encoding",
            Self::Entity => "entity",
            Self::Incomplete => "incomplete",
            Self::Namespace => "namespace",
            Self::Nodes => "nodes",
            Self::Number => "number",
            Self::Shape => "shape",
            Self::Syntax => "syntax",
        }
    }
}

impl fmt::Display for DecodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a tree has no XML form; `pointer` is the JSON Pointer of the member at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at `{pointer}`")]
pub struct EncodeError {
    fault: EncodeFault,
    pointer: String,
}

impl EncodeError {
    /// The class of the fault, stable for tests, tables and metrics.
    #[must_use]
    pub fn fault(&self) -> EncodeFault {
        self.fault
    }

    /// The JSON Pointer of the member at fault.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The error as seen from the object or list that holds the member.
    fn within(mut self, segment: &str) -> Self {
        self.pointer.insert_str(0, &pointer_segment(segment));
        self
    }
}

impl From<EncodeFault> for EncodeError {
    fn from(fault: EncodeFault) -> Self {
        Self {
            fault,
            pointer: String::new(),
        }
    }
}

/// The class of an [`EncodeError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EncodeFault {
    /// An attribute or a `$` that is no text, number or boolean.
    #[error("expected a text, a number or a boolean")]
    Content,
    /// Text with a character that XML 1.0 cannot carry in any spelling.
    #[error("a character that xml cannot carry")]
    Character,
    /// Two attributes of one name.
    #[error("an attribute that occurs twice")]
    Duplicate,
    /// A list that is the item of a list.
    #[error("a list within a list, which xml cannot express")]
    List,
    /// A member name that is no XML name.
    #[error("a member name that is no xml name")]
    Name,
    /// A prefix that no `@xmlns` member of the tree declares, or a forbidden declaration.
    #[error("a namespace prefix that is not declared, or may not be declared so")]
    Namespace,
    /// No root element, or more than one.
    #[error("expected an object with exactly one member, the root element")]
    Root,
}

impl EncodeFault {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Character => "character",
            Self::Duplicate => "duplicate",
            Self::List => "list",
            Self::Name => "name",
            Self::Namespace => "namespace",
            Self::Root => "root",
        }
    }
}

/// A fault and its place, before the place is counted out in lines.
#[derive(Debug)]
struct Flaw {
    fault: DecodeFault,
    detail: Cow<'static, str>,
    offset: usize,
}

impl Flaw {
    fn new(fault: DecodeFault, detail: impl Into<Cow<'static, str>>, offset: usize) -> Self {
        Self {
            fault,
            detail: detail.into(),
            offset,
        }
    }

    fn locate(self, document: &[u8]) -> DecodeError {
        let before = document.get(..self.offset).unwrap_or(document);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
        DecodeError {
            fault: self.fault,
            detail: self.detail,
            line,
            column,
            pointer: None,
        }
    }
}

/// Longer pointers help nobody who reads an error, and their names are the sender's choice.
const POINTER_LIMIT: usize = 256;

/// The JSON Pointer over the given names, unless it is too long to be shown.
fn pointer<'n>(names: impl Iterator<Item = &'n str>) -> Option<String> {
    let mut pointer = String::new();
    for name in names {
        if pointer.len() + name.len() > POINTER_LIMIT {
            return None;
        }
        pointer.push_str(&pointer_segment(name));
    }
    Some(pointer)
}

/// One step of a JSON Pointer (RFC 6901 section 3).
fn pointer_segment(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}
