//! YAML text -> a tree of [`Node`]s with places, with every fault of the notation collected.
//!
//! **Shape**: `limits: { in_flight: 5 }` -> `Map[(limits, Map[(in_flight, Int(5))])]`.
//!
//! **Invariants**: what a text means does not depend on the reader: plain scalars follow the core schema and whatever
//! YAML 1.1 and 1.2 read differently is refused. No anchors, aliases, tags, merge keys, directives or second documents. Keys
//! are text and unique. The tree is at most [`MAX_DEPTH`] deep and has at most [`MAX_NODES`] nodes, so walking it by
//! recursion is safe.
//!
//! **Errors**: a syntax error ends the reading; every other fault leaves a [`NodeValue::Refused`] behind and goes on.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span as RawSpan};

use crate::config::diagnostic::Diagnostics;
pub use crate::config::node::{Key, Node, NodeValue};
use crate::config::place::{FileId, Path, Span};
use crate::config::scalar::{self, Plain};

/// Reads the text of a file of `FileSet::text` (without byte-order mark).
///
/// The tree is there whenever the notation could be read to its end, also when there were faults; an empty file is a
/// [`NodeValue::Null`].
///
/// ```
/// use taskgate::config::{diagnostic::Diagnostics, files::FileSet, yaml};
///
/// let mut files = FileSet::default();
/// let id = files.add("routes.yaml", "version: 1\nversion: yes\n");
/// let mut faults = Diagnostics::default();
/// let tree = yaml::parse(files.text(id), id, &mut faults).expect("the syntax is right");
/// assert_eq!(tree.to_json(), serde_json::json!({ "version": 1 }));
/// assert_eq!(faults.len(), 2);
/// ```
pub fn parse(text: &str, file: FileId, faults: &mut Diagnostics) -> Option<Node> {
    if text.len() > MAX_BYTES {
        faults.fault(
            Span::new(file, 0, 0),
            &Path::default(),
            format!("the file is larger than {MAX_BYTES} bytes"),
        );
        return None;
    }
    Builder::new(text, file, Notation::Yaml, faults).run()
}

/// Reads a text that is valid JSON, for the places of its values and its duplicate keys.
///
/// JSON is a part of YAML 1.2 but for the meaning of numbers: they all count as JSON says, and those that a [`Node`] does
/// not hold (fractions, exponents) become [`NodeValue::Refused`] without a fault.
pub(crate) fn parse_json(text: &str, file: FileId, faults: &mut Diagnostics) -> Option<Node> {
    Builder::new(text, file, Notation::Json, faults).run()
}

/// The tree under construction.
struct Builder<'a> {
    text: &'a str,
    file: FileId,
    faults: &'a mut Diagnostics,
    notation: Notation,
    /// The open collections, outermost first.
    frames: Vec<Frame>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
}

/// What the text is written in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notation {
    Json,
    Yaml,
}

/// An open collection.
enum Frame {
    List {
        start: usize,
        items: Vec<Node>,
    },
    Map {
        start: usize,
        refused: bool,
        entries: Vec<(Key, Node)>,
        seen: HashMap<String, Span>,
        pending: Pending,
    },
}

/// What a mapping waits for.
enum Pending {
    /// A key.
    Key,
    /// The value of this key.
    Value(Key),
    /// The value of a key that was refused; its text, where it has one.
    RefusedValue(Option<String>),
}

/// The reading cannot go on; the fault has been said.
struct Stop;

impl<'a> Builder<'a> {
    /// A builder that has read nothing.
    fn new(text: &'a str, file: FileId, notation: Notation, faults: &'a mut Diagnostics) -> Self {
        Self {
            text,
            file,
            faults,
            notation,
            frames: Vec::new(),
            root: None,
            nodes: 0,
            documents: 0,
        }
    }

    /// Reads to the end.
    fn run(mut self) -> Option<Node> {
        let options = granit_parser::options! {
            disallow_directives: true,
            emit_unresolved_aliases: true,
            emit_anchor_events: true,
            simple_key_max_lookahead: match self.notation {
                // JSON knows no limit for keys.
                Notation::Json => MAX_BYTES,
                Notation::Yaml => MAX_KEY,
            },
        };
        for event in Parser::new_from_str_with_options(self.text, options) {
            let step = match event {
                Ok((event, span)) => self.event(event, span),
                Err(error) => self.syntax(&error),
            };
            step.ok()?;
        }
        Some(self.root.unwrap_or(Node {
            span: Span::new(self.file, 0, 0),
            value: NodeValue::Null,
        }))
    }

    /// Takes one event.
    fn event(&mut self, event: Event<'_>, raw: RawSpan) -> Result<(), Stop> {
        let span = self.span(raw);
        match event {
            Event::DocumentStart(..) => return self.document(span),
            Event::Anchor(_, name) => {
                self.fault(span, format!("anchor `&{name}`"))
                    .hint("anchors and aliases are not allowed: repeat the value");
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.count(span)?;
                let name = self.text.get(span.start..span.end).unwrap_or("*").trim_end();
                self.fault(span, format!("alias `{name}`"))
                    .hint("anchors and aliases are not allowed: repeat the value");
                self.complete(Node::refused(span));
            }
            Event::Scalar(text, style, _, tag) => {
                self.count(span)?;
                self.tag(tag.is_some(), raw);
                self.scalar(&text, style, span);
            }
            Event::SequenceStart(_, _, tag) => {
                self.open(
                    span,
                    Frame::List {
                        start: span.start,
                        items: Vec::new(),
                    },
                )?;
                self.tag(tag.is_some(), raw);
            }
            Event::MappingStart(_, _, tag) => {
                let frame = Frame::Map {
                    start: span.start,
                    refused: false,
                    entries: Vec::new(),
                    seen: HashMap::new(),
                    pending: Pending::Key,
                };
                self.open(span, frame)?;
                self.tag(tag.is_some(), raw);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            // StreamStart, StreamEnd and DocumentEnd say nothing; comments are not asked for.
            _ => {}
        }
        Ok(())
    }

    /// A document begins: only one may.
    fn document(&mut self, span: Span) -> Result<(), Stop> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        self.fault(span, "a second document".to_owned())
            .hint("one file holds one document: take out the `---`");
        Err(Stop)
    }

    /// A node begins: there may be so many, and no more where it has been shown enough what is wrong.
    fn count(&mut self, span: Span) -> Result<(), Stop> {
        self.nodes += 1;
        if self.faults.len() >= MAX_FAULTS {
            return Err(Stop);
        }
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        self.fault(span, format!("more than {MAX_NODES} values"));
        Err(Stop)
    }

    /// A collection begins.
    fn open(&mut self, span: Span, frame: Frame) -> Result<(), Stop> {
        self.count(span)?;
        if self.frames.len() >= MAX_DEPTH {
            self.fault(span, format!("nested more than {MAX_DEPTH} levels deep"));
            return Err(Stop);
        }
        self.frames.push(frame);
        Ok(())
    }

    /// A collection ends.
    fn close(&mut self, end: Span) {
        let Some(frame) = self.frames.pop() else { return };
        let (start, value) = match frame {
            Frame::List { start, items } => (start, NodeValue::List(items)),
            // Its keys were all refused: it is not empty, one cannot say what it is.
            Frame::Map {
                start,
                refused: true,
                entries,
                ..
            } if entries.is_empty() => (start, NodeValue::Refused),
            Frame::Map { start, entries, .. } => (start, NodeValue::Map(entries)),
        };
        // The end of a block collection is where the next token begins, behind line breaks and comments; that of a flow
        // collection is its bracket.
        let inside = self.text.get(start..end.end).unwrap_or_default().trim_end().len();
        self.complete(Node {
            span: Span::new(self.file, start, start + inside),
            value,
        });
    }

    /// A scalar: a key or a value, depending on where it stands.
    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) {
        let plain = if style == ScalarStyle::Plain {
            scalar::read(text)
        } else {
            Plain::Text
        };
        let is_key = matches!(self.frames.last(), Some(Frame::Map { pending: Pending::Key, .. }));
        if is_key && style == ScalarStyle::Plain && text == "<<" {
            self.fault(span, "merge key `<<`".to_owned())
                .hint("merge keys are not allowed: repeat the members");
            return self.complete(Node::refused(span));
        }
        let value = match plain {
            Plain::Refused(_) if self.notation == Notation::Json => NodeValue::Refused,
            Plain::Refused(why) => {
                self.fault(span, format!("`{text}` {why}"))
                    .hint(format!("write it in quotes: \"{text}\""));
                NodeValue::Refused
            }
            Plain::Bool(_) | Plain::Int(_) if is_key => NodeValue::Text(text.to_owned()),
            Plain::Bool(value) => NodeValue::Bool(value),
            Plain::Int(value) => NodeValue::Int(value),
            Plain::Null => NodeValue::Null,
            Plain::Text => NodeValue::Text(text.to_owned()),
        };
        self.complete(Node { span, value });
    }

    /// Puts a finished node where it belongs.
    fn complete(&mut self, mut node: Node) {
        let Some(Frame::Map { pending, .. }) = self.frames.last_mut() else {
            if let Some(Frame::List { items, .. }) = self.frames.last_mut() {
                items.push(node);
            } else {
                self.root = Some(node);
            }
            return;
        };
        match std::mem::replace(pending, Pending::Key) {
            Pending::Key => self.key(node),
            Pending::Value(key) => {
                // An empty value is placed at the next token, often a line below; the key is where one looks.
                if node.value == NodeValue::Null && node.span.start == node.span.end {
                    node.span = key.span;
                }
                if let Some(Frame::Map { entries, .. }) = self.frames.last_mut() {
                    entries.push((key, node));
                }
            }
            Pending::RefusedValue(_) => {}
        }
    }

    /// Takes a node as the next key of the innermost mapping.
    fn key(&mut self, node: Node) {
        let span = node.span;
        let text = match node.value {
            NodeValue::Text(text) => Some(text),
            NodeValue::Refused => None,
            NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::List(_) | NodeValue::Map(_) | NodeValue::Null => {
                let found = node.describe();
                self.fault(span, format!("a key must be text, found {found}"))
                    .hint("write the key in quotes");
                None
            }
        };
        let first = match (&text, self.frames.last()) {
            (Some(text), Some(Frame::Map { seen, .. })) => seen.get(text).copied(),
            _ => None,
        };
        if let (Some(text), Some(first)) = (&text, first) {
            self.fault(span, format!("duplicate key `{text}`")).note(first, "the first is here");
        }
        if let Some(Frame::Map {
            seen, pending, refused, ..
        }) = self.frames.last_mut()
        {
            *pending = match text {
                Some(text) if first.is_none() => {
                    seen.insert(text.clone(), span);
                    Pending::Value(Key { span, text })
                }
                text => {
                    *refused = true;
                    Pending::RefusedValue(text)
                }
            };
        }
    }

    /// Refuses the tag of a node.
    fn tag(&mut self, tagged: bool, raw: RawSpan) {
        if !tagged {
            return;
        }
        let span = self.span(raw.tag_span().unwrap_or(raw));
        let tag = self.text.get(span.start..span.end).unwrap_or("!").trim_end();
        self.fault(span, format!("tag `{tag}`"))
            .hint("tags are not allowed: text stands in quotes, numbers and booleans without");
    }

    /// The notation is broken at one place; nothing behind it can be trusted.
    fn syntax(&mut self, error: &ScanError) -> Result<(), Stop> {
        let at = error.marker().byte_offset().unwrap_or_default().min(self.text.len());
        let (message, hint) = explain(error.kind());
        let fault = self.fault(Span::new(self.file, at, at), message);
        if let Some(hint) = hint {
            fault.hint(hint);
        }
        Err(Stop)
    }

    /// Collects a fault at the path that is being read.
    fn fault(&mut self, span: Span, message: String) -> &mut crate::config::diagnostic::Diagnostic {
        let path = self.path();
        self.faults.fault(span, &path, message)
    }

    /// The path of the open collections.
    fn path(&self) -> Path {
        self.frames.iter().fold(Path::default(), |path, frame| match frame {
            Frame::List { items, .. } => path.index(items.len()),
            Frame::Map {
                pending: Pending::Value(key),
                ..
            } => path.key(&key.text),
            Frame::Map {
                pending: Pending::RefusedValue(Some(key)),
                ..
            } => path.key(key),
            Frame::Map { .. } => path,
        })
    }

    /// A place of the parser as one of ours.
    fn span(&self, raw: RawSpan) -> Span {
        let start = raw.start.byte_offset().unwrap_or_default();
        Span::new(self.file, start, raw.end.byte_offset().unwrap_or(start))
    }
}

/// What a syntax error is, and what to do about the frequent ones.
fn explain(kind: &ErrorKind) -> (String, Option<&'static str>) {
    let (message, hint) = match kind {
        ErrorKind::TabInIndentation
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabNotAllowed
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => ("a tab where YAML wants spaces", Some("indent with spaces")),
        ErrorKind::UnclosedQuotedScalar => ("the text is not closed", Some("add the closing quote")),
        ErrorKind::UnclosedFlowCollection { .. } | ErrorKind::UnexpectedEofFlowMapping | ErrorKind::UnexpectedEofFlowSequence => {
            ("a bracket is not closed", Some("add the closing `]` or `}`"))
        }
        ErrorKind::MisplacedFlowCollectionEnd | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            ("a closing bracket without its opening one", None)
        }
        ErrorKind::MappingValueNotAllowed => (
            "a `:` where no value may stand",
            Some("text that holds `: ` must be in quotes; members of one mapping start in one column"),
        ),
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => (
            "expected `,` or a closing bracket",
            Some("text that holds `{`, `}`, `[`, `]` or `,` must be in quotes inside brackets"),
        ),
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation | ErrorKind::SimpleKeyExpected => (
            "expected a key of the mapping",
            Some("members of one mapping start in one column and have a `:`"),
        ),
        ErrorKind::UnexpectedCharacter { .. } => (
            "a character that cannot stand here",
            Some("text that starts with `@` or a backtick must be in quotes"),
        ),
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            ("text behind a closing quote", Some("put quotes around the whole text"))
        }
        ErrorKind::DirectiveDisallowed => ("a directive", Some("take out the line that starts with `%`")),
        ErrorKind::UnknownQuotedScalarEscape => ("an unknown escape", Some("use single quotes when a backslash means itself")),
        ErrorKind::RecursionLimitExceeded => ("nested too deeply", None),
        other => return (format!("invalid YAML: {}", in_words(other)), None),
    };
    (message.to_owned(), hint)
}

/// `ExpectedNodeContent` -> `expected node content`.
fn in_words(kind: &ErrorKind) -> String {
    let name = format!("{kind:?}");
    let mut words = String::new();
    for c in name.chars().take_while(char::is_ascii_alphanumeric) {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// The shipped file has about 30 KiB; more than a mebibyte is not written by people.
pub const MAX_BYTES: usize = 1 << 20;
/// The shipped file has about 1,500 values.
pub const MAX_NODES: usize = 100_000;
/// Ten times what is shown.
const MAX_FAULTS: usize = 1_000;
/// The limit of YAML itself (1.2.2 section 7.4.2).
const MAX_KEY: usize = 1024;
/// Requests of vendors nest some ten levels; the limit keeps recursion over the tree safe.
pub const MAX_DEPTH: usize = 64;
