//! The reading of XML: a strict pass over the tokens that builds the value as the schema shapes it.
//!
//! **Invariants.** The tokeniser finds markup and matches tags; everything else that well-formedness and namespaces demand
//! is checked here, in [`xml_tag`](crate::codec::xml_tag) and [`xml_chars`](crate::codec::xml_chars). There is no document
//! type declaration, so there are no entities, no defaults and nothing to fetch. No recursion; linear time.

use quick_xml::Reader;
use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::events::Event;
use serde_json::Value;

use crate::codec::shape::Shape;
use crate::codec::xml_chars::{SPACE, attribute_value, find_forbidden, is_blank, resolve, split_name, split_prefix, unify_line_ends};
use crate::codec::xml_frame::{Frame, Name, Place, REPEATED};
use crate::codec::xml_scope::{Mark, Namespace, Scope};
use crate::codec::xml_tag::{RawAttribute, Tag, check_declaration};
use crate::codec::{DecodeError, DecodeFault, Flaw, Limits, pointer};

/// Reads one document; [`crate::codec::xml::decode`] says how.
pub(crate) fn decode(bytes: &[u8], shape: &Shape, limits: &Limits) -> Result<Value, DecodeError> {
    // A byte order mark belongs to the encoding, not to the document.
    let document = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let text = read_text(document).map_err(|flaw| flaw.locate(document))?;
    let mut decoder = Decoder {
        text,
        limits: *limits,
        left: limits.max_nodes,
        scope: Scope::new(),
        document: Frame::new(shape, 0),
        stack: Vec::new(),
        has_root: false,
    };
    match decoder.run() {
        Ok(()) => Ok(Value::Object(decoder.document.into_members())),
        Err(flaw) => {
            let pointer = decoder.pointer();
            Err(DecodeError {
                pointer,
                ..flaw.locate(document)
            })
        }
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

fn read_text(bytes: &[u8]) -> Result<&str, Flaw> {
    let text = std::str::from_utf8(bytes).map_err(|error| Flaw::new(DecodeFault::Encoding, "expected utf-8", error.valid_up_to()))?;
    match find_forbidden(text) {
        // UTF-16 without a mark is valid UTF-8 as long as it is ASCII.
        Some(0 | 1) if text.trim_start_matches('\0').starts_with('<') => Err(Flaw::new(DecodeFault::Encoding, "expected utf-8", 0)),
        Some(offset) => Err(Flaw::new(DecodeFault::Syntax, "a character that xml forbids", offset)),
        // A second mark is a character, and the tokeniser would swallow it.
        None if text.starts_with('\u{FEFF}') => Err(Flaw::new(DecodeFault::Syntax, OUTSIDE, 0)),
        None => Ok(text),
    }
}

const NO_DOCTYPE: &str = "expected no document type declaration";
const OUTSIDE: &str = "expected nothing but white space outside the root element";

struct Decoder<'d, 's> {
    text: &'d str,
    limits: Limits,
    /// How many elements and attributes may still come.
    left: usize,
    scope: Scope<'d>,
    document: Frame<'s>,
    stack: Vec<Open<'s>>,
    has_root: bool,
}

/// An element that is open, where it goes when it is closed, and what its declarations hide.
struct Open<'s> {
    frame: Frame<'s>,
    place: Place<'s>,
    mark: Mark,
    offset: usize,
}

impl<'d, 's> Decoder<'d, 's> {
    fn run(&mut self) -> Result<(), Flaw> {
        let mut reader = Reader::from_str(self.text);
        reader.config_mut().check_comments = true;
        loop {
            let start = position(reader.buffer_position());
            if self.rest(start).starts_with("<!D") {
                return Err(Flaw::new(DecodeFault::Doctype, NO_DOCTYPE, start));
            }
            let event = match reader.read_event() {
                Ok(event) => event,
                Err(error) => return Err(explain(&error, position(reader.error_position()))),
            };
            let end = position(reader.buffer_position());
            let raw = self.text.get(start..end).unwrap_or_default();
            match event {
                Event::Start(_) => self.open(strip(raw, "<", ">"), start)?,
                Event::Empty(_) => {
                    self.open(strip(raw, "<", "/>"), start)?;
                    self.close()?;
                }
                Event::End(_) => self.close()?,
                Event::Text(_) => self.read_text(raw, start)?,
                Event::CData(_) => {
                    self.inside(start)?.push_text(&unify_line_ends(strip(raw, "<![CDATA[", "]]>")));
                }
                Event::GeneralRef(_) => {
                    let c = resolve(strip(raw, "&", ";"), start)?;
                    self.inside(start)?.push_char(c);
                }
                Event::Comment(_) => {}
                Event::PI(_) => check_instruction(strip(raw, "<?", "?>"), start)?,
                Event::Decl(_) if start == 0 => {
                    check_declaration(strip(raw, "<?", "?>"), start + 2, self.text.is_ascii())?;
                }
                Event::Decl(_) => {
                    let detail = "expected the xml declaration at the very start";
                    return Err(Flaw::new(DecodeFault::Syntax, detail, start));
                }
                Event::DocType(_) => {
                    return Err(Flaw::new(DecodeFault::Doctype, NO_DOCTYPE, start));
                }
                Event::Eof => return self.end(),
            }
        }
    }

    fn rest(&self, offset: usize) -> &'d str {
        self.text.get(offset..).unwrap_or_default()
    }

    fn open(&mut self, inside: &'d str, start: usize) -> Result<(), Flaw> {
        if self.stack.is_empty() && self.has_root {
            return Err(Flaw::new(DecodeFault::Syntax, "expected a single root element", start));
        }
        if self.stack.len() >= self.limits.depth() {
            let detail = format!("expected at most {} nested elements", self.limits.depth());
            return Err(Flaw::new(DecodeFault::Depth, detail, start));
        }
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| Flaw::new(DecodeFault::Nodes, "expected fewer elements and attributes", start))?;
        let tag = Tag::parse(inside, start + 1, self.left)?;
        self.left -= tag.attributes.len();
        self.has_root = true;

        let mark = self.scope.mark();
        self.declare(&tag.attributes)?;
        let name = self.resolve_name(tag.name, true, start + 1)?;
        let parent = self.stack.last_mut().map_or(&mut self.document, |open| &mut open.frame);
        let place = parent.place(name, &self.scope, start)?;
        let admitted = parent.admits(&place);
        let frame = Frame::new(place.child(), start);
        // On the stack before anything else is found: an error points to this element.
        self.stack.push(Open {
            frame,
            place,
            mark,
            offset: start,
        });
        if !admitted {
            return Err(Flaw::new(DecodeFault::Shape, REPEATED, start));
        }
        self.read_attributes(&tag.attributes)
    }

    fn declare(&mut self, attributes: &[RawAttribute<'d>]) -> Result<(), Flaw> {
        for attribute in attributes {
            if let Some(prefix) = declared_prefix(attribute.name) {
                let fail = |detail: &'static str| Flaw::new(DecodeFault::Namespace, detail, attribute.offset);
                split_prefix(attribute.name).ok_or_else(|| fail("expected a prefix to declare"))?;
                let name = attribute_value(attribute.raw, attribute.value_offset)?;
                self.scope.declare(prefix, name).map_err(fail)?;
            }
        }
        Ok(())
    }

    fn read_attributes(&mut self, attributes: &[RawAttribute<'d>]) -> Result<(), Flaw> {
        let mut expanded = Vec::new();
        for attribute in attributes {
            if declared_prefix(attribute.name).is_some() {
                continue;
            }
            let name = self.resolve_name(attribute.name, false, attribute.offset)?;
            let value = attribute_value(attribute.raw, attribute.value_offset)?;
            if name.full != name.local {
                expanded.push((name.namespace, name.local, attribute.offset));
            }
            if let Some(open) = self.stack.last_mut() {
                open.frame
                    .attribute(name, &value, &self.scope, self.limits.decimals, attribute.offset)?;
            }
        }
        // Two prefixes of one namespace can spell the same attribute twice.
        expanded.sort_unstable();
        for pair in expanded.windows(2) {
            if let [(namespace, local, _), (next_namespace, next_local, offset)] = pair
                && (namespace, local) == (next_namespace, next_local)
            {
                return Err(Flaw::new(DecodeFault::Duplicate, "expected each attribute once", *offset));
            }
        }
        Ok(())
    }

    /// Resolves the prefix of a name; the default namespace is for elements alone.
    fn resolve_name(&self, full: &'d str, use_default: bool, offset: usize) -> Result<Name<'d>, Flaw> {
        let fail = |detail: &'static str| Flaw::new(DecodeFault::Namespace, detail, offset);
        let (prefix, local) = split_prefix(full).ok_or_else(|| fail("expected a name with at most one prefix"))?;
        let namespace = match prefix {
            None if !use_default => Namespace::NONE,
            _ => self.scope.resolve(prefix).ok_or_else(|| fail("a prefix that is not declared"))?,
        };
        Ok(Name { full, local, namespace })
    }

    fn close(&mut self) -> Result<(), Flaw> {
        // The tokeniser has refused an end tag without its start tag.
        let Some(Open {
            frame,
            place,
            mark,
            offset,
        }) = self.stack.pop()
        else {
            return Ok(());
        };
        self.scope.rewind(mark);
        let decimals = self.limits.decimals;
        let parent = self.stack.last_mut().map_or(&mut self.document, |open| &mut open.frame);
        match frame.finish(decimals) {
            Ok(value) => parent.insert(place, value, offset),
            Err(flaw) => {
                // Back it goes, for the pointer.
                self.stack.push(Open {
                    frame: Frame::new(&Shape::ANY, offset),
                    place,
                    mark,
                    offset,
                });
                Err(flaw)
            }
        }
    }

    fn read_text(&mut self, raw: &str, start: usize) -> Result<(), Flaw> {
        if let Some(at) = raw.find("]]>") {
            return Err(Flaw::new(DecodeFault::Syntax, "a `]]>` in text", start + at));
        }
        if self.stack.is_empty() && is_blank(raw) {
            return Ok(());
        }
        self.inside(start)?.push_text(&unify_line_ends(raw));
        Ok(())
    }

    /// The innermost element, for character data.
    fn inside(&mut self, offset: usize) -> Result<&mut Frame<'s>, Flaw> {
        match self.stack.last_mut() {
            Some(open) => Ok(&mut open.frame),
            None => Err(Flaw::new(DecodeFault::Syntax, OUTSIDE, offset)),
        }
    }

    fn end(&self) -> Result<(), Flaw> {
        let detail = if !self.stack.is_empty() {
            "expected the end tags of the open elements"
        } else if !self.has_root {
            "expected a root element"
        } else {
            return Ok(());
        };
        Err(Flaw::new(DecodeFault::Incomplete, detail, self.text.len()))
    }

    /// The path to the innermost element.
    fn pointer(&self) -> Option<String> {
        let mut names = Vec::new();
        let mut parent = &self.document;
        for open in &self.stack {
            names.push(open.place.key().to_owned());
            names.extend(parent.next_index(&open.place).map(|index| index.to_string()));
            parent = &open.frame;
        }
        if names.is_empty() {
            None
        } else {
            pointer(names.iter().map(String::as_str))
        }
    }
}

/// The prefix that an attribute declares, empty for the default namespace.
fn declared_prefix(name: &str) -> Option<&str> {
    if name == "xmlns" { Some("") } else { name.strip_prefix("xmlns:") }
}

/// Checks a processing instruction, given the text between `<?` and `?>`; what it says is of no concern here.
fn check_instruction(inside: &str, start: usize) -> Result<(), Flaw> {
    let named = split_name(inside).filter(|(_, rest)| rest.is_empty() || rest.starts_with(SPACE));
    match named {
        Some((target, _)) if !target.eq_ignore_ascii_case("xml") => {
            if target.contains(':') {
                // Namespaces in XML 1.0, section 7.
                let detail = "expected the target of a processing instruction without a colon";
                return Err(Flaw::new(DecodeFault::Namespace, detail, start));
            }
            Ok(())
        }
        _ => Err(Flaw::new(
            DecodeFault::Syntax,
            "expected the target of a processing instruction",
            start,
        )),
    }
}

fn strip<'t>(raw: &'t str, before: &str, after: &str) -> &'t str {
    raw.strip_prefix(before).and_then(|raw| raw.strip_suffix(after)).unwrap_or_default()
}

/// Positions come from a slice in memory, whose length is a `usize`.
fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// The fault of the tokeniser in our words: its own repeat the names of the document.
fn explain(error: &Error, offset: usize) -> Flaw {
    let (fault, detail) = match error {
        Error::Syntax(SyntaxError::InvalidBangMarkup) => (DecodeFault::Syntax, "expected a comment or a cdata section"),
        Error::Syntax(_) => (DecodeFault::Incomplete, "expected the rest of the markup"),
        Error::IllFormed(IllFormedError::MismatchedEndTag { .. } | IllFormedError::UnmatchedEndTag(_)) => {
            (DecodeFault::Syntax, "expected the end tag of the open element")
        }
        Error::IllFormed(IllFormedError::DoubleHyphenInComment) => (DecodeFault::Syntax, "a `--` in a comment"),
        Error::IllFormed(IllFormedError::UnclosedReference) => (DecodeFault::Syntax, "expected `;` after a reference"),
        Error::IllFormed(IllFormedError::MissingDoctypeName) => (DecodeFault::Doctype, NO_DOCTYPE),
        _ => (DecodeFault::Syntax, "expected well-formed xml"),
    };
    Flaw::new(fault, detail, offset)
}
