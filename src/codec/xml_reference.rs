//! The second opinion on the reading of XML: the reader over a library's tokeniser that taskgate had before its own, and what
//! the two, and the reader of everyday documents, are compared on.
//!
//! **Shape.** `xml_reference_frame`, `_scope` and `_tag` belong to it. It shares the alphabet (`xml_chars`), the numbers and the
//! shapes with `xml_read`, and nothing else.
//!
//! **Invariants.** Both give the same value, or the same error at the same place; [`agree`] has the two exceptions.

use quick_xml::Reader;
use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::events::Event;
use serde_json::Value;

use crate::codec::shape::Shape;
use crate::codec::xml_chars::{SPACE, attribute_value, find_forbidden, is_blank, resolve, split_name, split_prefix, unify_line_ends};
use crate::codec::xml_reference_frame::{Frame, Name, Place, REPEATED};
use crate::codec::xml_reference_scope::{Mark, Namespace, Scope};
use crate::codec::xml_reference_tag::{RawAttribute, Tag, check_declaration};
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::codec::{xml_flat, xml_read};

    /// Reads a document both ways under every shape.
    #[track_caller]
    fn agree(document: &[u8]) {
        agree_within(document, &LIMITS);
    }

    #[track_caller]
    fn agree_within(document: &[u8], limits: &Limits) {
        static SHAPES: LazyLock<[Shape; 3]> = LazyLock::new(shapes);
        for shape in &*SHAPES {
            let own = xml_read::decode(document, shape, limits);
            if let Some(flat) = xml_flat::read(document, shape, limits) {
                assert_eq!(Ok(flat.root().to_value()), own, "{}", String::from_utf8_lossy(document));
            }
            let reference = decode(document, shape, limits);
            let (Err(error), Err(expected)) = (&own, &reference) else {
                assert_eq!(own, reference, "{}", String::from_utf8_lossy(document));
                continue;
            };
            let has = |markup: &[u8]| document.windows(markup.len()).any(|found| found == markup);
            // The tokeniser looks for the end of any declaration in small letters, and says that it is incomplete.
            let is_declaration = has(b"<!d") && matches!(expected.fault(), DecodeFault::Doctype | DecodeFault::Incomplete);
            // It counts the place from the last hyphen before.
            let is_comment = expected.detail() == "a `--` in a comment" && expected.detail() == error.detail();
            if !is_declaration && !is_comment {
                assert_eq!(error, expected, "{}", String::from_utf8_lossy(document));
            }
        }
    }

    /// Small, so that they are met.
    const LIMITS: Limits = Limits {
        max_depth: 6,
        max_nodes: 30,
        ..Limits::REPLY
    };

    fn shapes() -> [Shape; 3] {
        let scalars = json!({
            "a": { "type": "integer" }, "b": { "type": ["boolean", "null"] }, "id": { "type": ["number", "null"] },
            "c": { "type": "array", "items": { "type": "string" } }, "@x": { "type": "integer" }, "$": { "type": "integer" },
        });
        let nested = json!({
            "a": { "type": "object", "properties": scalars, "xml": { "namespace": "urn:p" } },
            "other": { "type": "object", "properties": scalars, "xml": { "name": "a", "namespace": "urn:q" } },
            "p:b": { "type": "string" },
            "b": { "type": ["object", "string", "null"], "properties": { "c": { "type": "array" } }, "additionalProperties": { "type": "integer" } },
            "c": { "type": "array", "items": { "type": "object", "properties": scalars } },
            "id": { "type": "string" }, "@x": { "type": "string", "xml": { "namespace": "urn:p" } }, "@p:y": { "type": "boolean" }, "@y": {},
            "$": { "type": "string" },
        });
        let root = json!({ "properties": {
            "a": { "type": "object", "properties": nested }, "r": { "type": "array", "items": { "properties": nested } },
            "b": { "type": "object", "properties": { "a": { "type": "object", "properties": nested } } },
        } });
        let lists = json!({ "additionalProperties": { "additionalProperties": { "type": "array", "items": { "additionalProperties": { "type": "number" } } } } });
        [Shape::ANY, Shape::compile(&root).unwrap(), Shape::compile(&lists).unwrap()]
    }

    #[test]
    fn agree_on_every_document_that_is_kept_for_fuzzing() {
        let mut count = 0;
        for folder in ["xml", "reply"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(folder);
            for entry in fs::read_dir(folder).unwrap() {
                let document = fs::read(entry.unwrap().path()).unwrap();
                agree(&document);
                // A message has a head before its document.
                let body = document.iter().position(|byte| *byte == b'<').unwrap_or(0);
                agree(&document[body..]);
                // Cut and changed at many places.
                for at in (body..document.len()).step_by(1 + (document.len() - body) / 16) {
                    agree(&document[body..at]);
                    let byte = BYTES[at % BYTES.len()];
                    agree(&[&document[body..at], &[byte], &document[at + 1..]].concat());
                    agree(&[&document[body..at], &document[at + 1..]].concat());
                }
                count += 1;
            }
        }
        assert!(count >= 40, "{count}");
    }

    /// What a document breaks at.
    const BYTES: &[u8] = b"<>&;/!?='\"-]:# \n\r\tax1\0\xFF\xC3\xEF";

    /// An element with all that may be in it, or something that may not.
    fn element() -> impl Strategy<Value = String> {
        let leaf = (name(), attributes(), text()).prop_map(|(name, attributes, text)| format!("<{name}{attributes}>{text}</{name}>"));
        let empty = (name(), attributes(), "[ \n]?").prop_map(|(name, attributes, space)| format!("<{name}{attributes}{space}/>"));
        prop_oneof![2 => leaf, 1 => empty].prop_recursive(5, 24, 5, |inner| {
            let content = prop::collection::vec(prop_oneof![2 => inner, 1 => text(), 1 => "\n[ ]{0,3}"], 0..5);
            (name(), attributes(), content, "[ \t]?")
                .prop_map(|(name, attributes, content, space)| format!("<{name}{attributes}>{}</{name}{space}>", content.concat()))
        })
    }

    fn name() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "a",
            "b",
            "c",
            "id",
            "p:a",
            "p:b",
            "q:a",
            "q:id",
            "r",
            "é",
            "xml:a",
            "p:é-1.",
            "long_name_of_an_element",
        ])
    }

    fn attributes() -> impl Strategy<Value = String> {
        let attribute = prop::sample::select(vec![
            " x='1'",
            "\n  x = \"2\"",
            " y='true'",
            " p:x='1'",
            " q:x='1'",
            " p:y='0'",
            " q:y='a long value in which nothing is'",
            " z='&lt;\n\t&#65;'",
            " z='>'",
            " xml:lang='en'",
            " xmlns='urn:p'",
            " xmlns=''",
            " xmlns:p='urn:p'",
            " xmlns:p='urn:&#113;'",
            " xmlns:q='urn:q'",
            " xmlns:q='urn:p'",
            " xmlns:i='http://www.w3.org/2001/XMLSchema-instance'",
            " i:nil='true'",
            " i:nil=' 1 '",
            " i:nil='false'",
            " xmlns:xml='http://www.w3.org/XML/1998/namespace'",
            " é='名'",
            " w='<'",
            " w='&x;'",
            " w=1",
            " p:q:r=''",
            " xmlns:='u'",
            " xmlns:n=''",
            "w=''",
        ]);
        prop_oneof![3 => Just(String::new()), 4 => prop::collection::vec(attribute, 1..4).prop_map(|all| all.concat())]
    }

    fn text() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "1",
            "15",
            " 7 ",
            "1.50",
            "true",
            "0",
            "text",
            "a longer text of several words",
            "\n  ",
            " ",
            "\r\n",
            "\r",
            "&lt;",
            "&amp;",
            "&#65;",
            "&#xA;",
            "]]",
            "]",
            ">",
            "é",
            "名前",
            "\u{FEFF}",
            "<!-- a - b -->",
            "<!---->",
            "<![CDATA[<1>]]>",
            "<![CDATA[\r]]>",
            "<?p i?>",
            "<?p?>",
            "]]>",
            "&x;",
            "&",
            "<!-- -- -->",
            "<?xml?>",
            "<!DOCTYPE",
            "<!d",
            "<!",
            "<",
            "\u{1}",
            "-18446744073709551616",
        ]);
        prop_oneof![
            4 => prop::sample::select(vec!["", "1", "15", "true", "text", "a longer text"]).prop_map(str::to_owned),
            3 => prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
        ]
    }

    fn document() -> impl Strategy<Value = String> {
        let before = prop::sample::select(vec![
            "",
            "",
            "<?xml version=\"1.0\"?>\n",
            "\u{FEFF}<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>",
            "<?xml version='1.0' encoding='us-ascii'?>",
            "<?xml version='1.0' encoding='latin1'?>",
            "<!-- x -->\n<?p i?>",
            " ",
            "\u{FEFF}\u{FEFF}",
            "x",
            "<!DOCTYPE a>",
            "<?xml version='1.0' bad=''?>",
        ]);
        let after = prop::sample::select(vec!["", "", "", "\n", " <!-- --> ", "<a/>", "x", "&lt;", "\r<?p?>"]);
        (before, element(), after).prop_map(|(before, element, after)| format!("{before}{element}{after}"))
    }

    /// An element with more attributes and children, of more names and namespaces, than a reply has.
    fn wide() -> impl Strategy<Value = String> {
        let prefix = || prop::sample::select(vec!["", "", "", "", "p:", "q:"]);
        let name = || prop_oneof![1 => name().prop_map(str::to_owned), 8 => (prefix(), 0..90_u8).prop_map(|(prefix, number)| format!("{prefix}n{number}"))];
        let attribute = prop_oneof![
            1 => prop::sample::select(vec!["x", "y", "p:x", "p:y", "q:y", "xml:lang"]).prop_map(str::to_owned),
            30 => (prefix(), 0..200_u8).prop_map(|(prefix, number)| format!("{prefix}n{number}")),
        ];
        // Once each but for a few, and in no order.
        let attributes = (
            prop::collection::hash_set(attribute, 0..120),
            prop::collection::vec(0..200_u8, 0..2),
        )
            .prop_map(|(once, twice)| {
                once.into_iter()
                    .chain(twice.iter().map(|number| format!("n{number}")))
                    .map(|name| format!(" {name}='1'"))
                    .collect()
            });
        let of = prop::sample::select(vec![
            "",
            "",
            "",
            "",
            "",
            "",
            " xmlns='urn:p'",
            " xmlns='urn:s'",
            " xmlns:p='urn:s'",
            " xmlns:q='urn:p'",
        ]);
        let child =
            (name(), of, prop::sample::select(vec!["", "1", "true"])).prop_map(|(name, of, text)| format!("<{name}{of}>{text}</{name}>"));
        let root = prop::sample::select(vec!["a", "r", "x"]);
        (root, attributes, prop::collection::vec(child, 0..150)).prop_map(|(root, attributes, children): (_, String, _)| {
            format!("<{root} xmlns:p='urn:p' xmlns:q='urn:q'{attributes}>{}</{root}>", children.concat())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

        #[test]
        fn agree_on_documents(document in document()) {
            agree(document.as_bytes());
            let declared = document.replacen("<a", "<a xmlns:p='urn:p' xmlns:q='urn:q' xmlns:i='http://www.w3.org/2001/XMLSchema-instance'", 1);
            agree(declared.as_bytes());
        }

        #[test]
        fn agree_on_wide_documents(document in wide()) {
            agree_within(document.as_bytes(), &Limits::REPLY);
        }

        #[test]
        fn agree_on_what_is_nearly_one(document in document(), edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(BYTES), 0..3_u8), 1..4)) {
            let mut document = document.into_bytes();
            for (place, byte, kind) in edits {
                let at = place.index(document.len().max(1)).min(document.len().saturating_sub(1));
                match kind {
                    0 => document.insert(at, byte),
                    1 if !document.is_empty() => document[at] = byte,
                    _ if !document.is_empty() => { document.remove(at); }
                    _ => {}
                }
            }
            agree(&document);
        }
    }
}
