//! The reading of XML: one strict pass over the document that builds the value as the schema shapes it.
//!
//! **Invariants.** All that well-formedness and namespaces demand is checked here, in [`xml_tag`](crate::codec::xml_tag) and
//! in [`xml_chars`](crate::codec::xml_chars). There is no document type declaration, so there are no entities, no defaults and
//! nothing to fetch. No recursion; linear time. Text that stands in the document as it is meant is copied once, into the
//! value. ADR 0012 says why no library reads here; the one that did is the reference of the tests.

use serde_json::Value;

use crate::codec::shape::Shape;
use crate::codec::xml_chars::{SPACE, attribute_value, find_forbidden, is_blank, resolve, split_name, split_prefix, unify_line_ends};
use crate::codec::xml_frame::{Frame, Name, Place, REPEATED};
use crate::codec::xml_scan::{comment_end, find, skip_layout, skip_space};
use crate::codec::xml_scope::{Mark, Namespace, Scope};
use crate::codec::xml_tag::{self, RawAttribute, Tag, check_declaration};
use crate::codec::{DecodeError, DecodeFault, Flaw, Limits, pointer};

/// Reads one document; [`crate::codec::xml::decode`] says how.
pub(crate) fn decode(bytes: &[u8], shape: &Shape, limits: &Limits) -> Result<Value, DecodeError> {
    let document = document(bytes);
    let text = read_text(document).map_err(|flaw| flaw.locate(document))?;
    let mut decoder = Decoder {
        text,
        at: 0,
        limits: *limits,
        left: limits.max_nodes,
        scope: Scope::new(),
        document: Frame::new(shape, 0),
        stack: Vec::with_capacity(USUAL_DEPTH),
        has_root: false,
        attributes: Vec::new(),
        buffer: String::new(),
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

/// The document without a byte order mark: that belongs to the encoding.
pub(crate) fn document(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What vendors nest; deeper documents are as good.
const USUAL_DEPTH: usize = 8;

pub(crate) fn read_text(bytes: &[u8]) -> Result<&str, Flaw> {
    let text = std::str::from_utf8(bytes).map_err(|error| Flaw::new(DecodeFault::Encoding, "expected utf-8", error.valid_up_to()))?;
    match find_forbidden(text) {
        // UTF-16 without a mark is valid UTF-8 as long as it is ASCII.
        Some(0 | 1) if text.trim_start_matches('\0').starts_with('<') => Err(Flaw::new(DecodeFault::Encoding, "expected utf-8", 0)),
        Some(offset) => Err(Flaw::new(DecodeFault::Syntax, "a character that xml forbids", offset)),
        None => Ok(text),
    }
}

/// Up to here attributes are taken one by one; no reply that is one has an element with more.
const FEW: usize = 64;

const OUTSIDE: &str = "expected nothing but white space outside the root element";

struct Decoder<'d> {
    text: &'d str,
    /// How far it has been read.
    at: usize,
    limits: Limits,
    /// How many elements and attributes may still come.
    left: usize,
    scope: Scope<'d>,
    document: Frame<'d>,
    stack: Vec<Open<'d>>,
    has_root: bool,
    /// Those of the tag at hand; kept for its room.
    attributes: Vec<RawAttribute<'d>>,
    /// Texts of open elements that are put together from pieces, innermost last.
    buffer: String,
}

/// An element that is open, where it goes when it is closed, and what its declarations hide.
struct Open<'d> {
    frame: Frame<'d>,
    place: Place<'d>,
    mark: Mark,
    /// Its name as it is written, which its end tag repeats.
    name: &'d str,
    offset: usize,
}

impl<'d> Decoder<'d> {
    fn run(&mut self) -> Result<(), Flaw> {
        let bytes = self.text.as_bytes();
        loop {
            let start = self.at;
            match (bytes.get(start), bytes.get(start + 1)) {
                (Some(b'<'), Some(b'/')) => self.read_end_tag(start)?,
                (Some(b'<'), Some(b'!')) => self.read_declaration(start)?,
                (Some(b'<'), Some(b'?')) => self.read_instruction(start)?,
                (Some(b'<'), Some(_)) => self.read_start_tag(start)?,
                (Some(b'<'), None) => return Err(unfinished(start)),
                (Some(b'&'), _) => self.read_reference(start)?,
                (Some(_), _) => self.read_text(start)?,
                (None, _) => return self.end(),
            }
        }
    }

    fn read_start_tag(&mut self, start: usize) -> Result<(), Flaw> {
        self.attributes.clear();
        let tag = match self
            .may_open(start)
            .and_then(|()| xml_tag::read(self.text, start, self.left, &mut self.attributes))
        {
            Ok(tag) => tag,
            // What has no end is no tag, whatever stands in it.
            Err(_) if xml_tag::find_end(self.text, start).is_none() => return Err(unfinished(start)),
            Err(flaw) => return Err(flaw),
        };
        self.at = tag.end;
        self.left -= self.attributes.len();
        self.has_root = true;
        self.open(&tag, start)?;
        if tag.is_empty { self.close() } else { Ok(()) }
    }

    /// Counts an element, if there may be one here.
    #[inline]
    fn may_open(&mut self, start: usize) -> Result<(), Flaw> {
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
        Ok(())
    }

    fn open(&mut self, tag: &Tag<'d>, start: usize) -> Result<(), Flaw> {
        let mark = self.scope.mark();
        // Taken for the time of this tag, so that the rest can be written to.
        let attributes = std::mem::take(&mut self.attributes);
        self.declare(&attributes)?;
        let name = self.resolve_name(tag.name.name, tag.name.has_colon, true, start + 1)?;
        let parent = self.stack.last_mut().map_or(&mut self.document, |open| &mut open.frame);
        let place = parent.place(name, &self.scope, start)?;
        let admitted = parent.admits(&place);
        let frame = Frame::new(place.child(), start);
        // On the stack before anything else is found: an error points to this element.
        self.stack.push(Open {
            frame,
            place,
            mark,
            name: tag.name.name,
            offset: start,
        });
        if !admitted {
            return Err(Flaw::new(DecodeFault::Shape, REPEATED, start));
        }
        if !attributes.is_empty() {
            self.read_attributes(&attributes)?;
        }
        self.attributes = attributes;
        Ok(())
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
        let mut late = (attributes.len() > FEW).then(|| Vec::with_capacity(attributes.len()));
        for attribute in attributes {
            if declared_prefix(attribute.name).is_some() {
                continue;
            }
            let name = self.resolve_name(attribute.name, attribute.has_colon, false, attribute.offset)?;
            let value = if attribute.is_plain {
                attribute.raw.into()
            } else {
                attribute_value(attribute.raw, attribute.value_offset)?
            };
            if name.full.len() != name.local.len() {
                expanded.push((name.namespace, name.local, attribute.offset));
            }
            if let Some(open) = self.stack.last_mut() {
                let (decimals, offset) = (self.limits.decimals, attribute.offset);
                open.frame.attribute(name, &value, &self.scope, decimals, offset, late.as_mut())?;
            }
        }
        if let (Some(open), Some(late)) = (self.stack.last_mut(), late) {
            open.frame.attributes(late);
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
    #[inline]
    fn resolve_name(&self, full: &'d str, has_colon: bool, use_default: bool, offset: usize) -> Result<Name<'d>, Flaw> {
        let fail = |detail: &'static str| Flaw::new(DecodeFault::Namespace, detail, offset);
        let (prefix, local) = if has_colon {
            split_prefix(full).ok_or_else(|| fail("expected a name with at most one prefix"))?
        } else {
            (None, full)
        };
        let namespace = match prefix {
            None if !use_default => Namespace::NONE,
            _ => self.scope.resolve(prefix).ok_or_else(|| fail("a prefix that is not declared"))?,
        };
        Ok(Name { full, local, namespace })
    }

    fn read_end_tag(&mut self, start: usize) -> Result<(), Flaw> {
        let bytes = self.text.as_bytes();
        if let Some(open) = self.stack.last() {
            let name = start + "</".len();
            let end = name + open.name.len();
            if bytes.get(name..end) == Some(open.name.as_bytes()) {
                let end = skip_space(self.text, end);
                if bytes.get(end) == Some(&b'>') {
                    self.at = end + 1;
                    return self.close();
                }
            }
        }
        Err(match xml_tag::find_end(self.text, start) {
            None => unfinished(start),
            Some(_) => Flaw::new(DecodeFault::Syntax, "expected the end tag of the open element", start),
        })
    }

    fn close(&mut self) -> Result<(), Flaw> {
        // An end tag without its start tag has been refused.
        let Some(open) = self.stack.pop() else {
            return Ok(());
        };
        let Open {
            frame,
            place,
            mark,
            name,
            offset,
        } = open;
        self.scope.rewind(mark);
        match frame.finish(self.limits.decimals, &mut self.buffer) {
            Ok(value) => {
                let parent = self.stack.last_mut().map_or(&mut self.document, |open| &mut open.frame);
                parent.insert(place, value, offset)
            }
            Err(flaw) => {
                // Back it goes, for the pointer.
                self.stack.push(Open {
                    frame: Frame::new(&Shape::ANY, offset),
                    place,
                    mark,
                    name,
                    offset,
                });
                Err(flaw)
            }
        }
    }

    /// Reads character data up to the next markup or reference.
    fn read_text(&mut self, start: usize) -> Result<(), Flaw> {
        let text = self.text;
        let byte_at = |at: usize| text.as_bytes().get(at);
        // Layout between elements is most of it.
        let mut end = skip_layout(text, start);
        let mut blank = true;
        let mut as_it_stands = true;
        if !matches!(byte_at(end), Some(b'<' | b'&') | None) {
            blank = false;
            end = find(text, end, [b'<', b'&', b']', b'\r']);
            if matches!(byte_at(end), Some(b']' | b'\r')) {
                as_it_stands = false;
                end = find(text, end, [b'<', b'&']);
            }
        }
        self.at = end;
        let raw = text.get(start..end).unwrap_or_default();
        if !as_it_stands {
            if let Some(at) = raw.find("]]>") {
                return Err(Flaw::new(DecodeFault::Syntax, "a `]]>` in text", start + at));
            }
            blank = is_blank(raw);
        }
        if blank && self.stack.is_empty() {
            return Ok(());
        }
        if as_it_stands {
            let (frame, buffer) = self.inside(start)?;
            frame.push_text(raw, blank, buffer);
        } else {
            self.push_unified(raw, start)?;
        }
        Ok(())
    }

    /// Takes character data whose line ends may be of another kind.
    fn push_unified(&mut self, raw: &'d str, start: usize) -> Result<(), Flaw> {
        let (frame, buffer) = self.inside(start)?;
        frame.push_copy(&unify_line_ends(raw), buffer);
        Ok(())
    }

    /// Reads a reference in text.
    fn read_reference(&mut self, start: usize) -> Result<(), Flaw> {
        let end = find(self.text, start + 1, [b';', b'&', b'<']);
        if self.text.as_bytes().get(end) != Some(&b';') {
            return Err(Flaw::new(DecodeFault::Syntax, "expected `;` after a reference", start));
        }
        self.at = end + 1;
        let c = resolve(self.text.get(start + 1..end).unwrap_or_default(), start)?;
        let (frame, buffer) = self.inside(start)?;
        frame.push_copy(c.encode_utf8(&mut [0; 4]), buffer);
        Ok(())
    }

    /// Reads what starts with `<!`: a comment or a section of character data.
    fn read_declaration(&mut self, start: usize) -> Result<(), Flaw> {
        let rest = self.text.get(start..).unwrap_or_default();
        if let Some(end) = comment_end(self.text, start) {
            self.at = end;
            return Ok(());
        }
        if let Some(inside) = rest.strip_prefix("<!--") {
            // What has no end is no comment, whatever stands in it.
            return Err(match inside.find("--") {
                Some(end) if inside.get(end..).unwrap_or_default().contains("-->") => {
                    Flaw::new(DecodeFault::Syntax, "a `--` in a comment", start + "<!--".len() + end)
                }
                _ => unfinished(start),
            });
        }
        if let Some(inside) = rest.strip_prefix("<![CDATA[") {
            let end = inside.find("]]>").ok_or_else(|| unfinished(start))?;
            self.at = start + "<![CDATA[".len() + end + "]]>".len();
            return self.push_unified(inside.get(..end).unwrap_or_default(), start);
        }
        let word = rest.as_bytes().get(.."<!DOCTYPE".len()).unwrap_or(rest.as_bytes());
        Err(if rest.starts_with("<!D") || word.eq_ignore_ascii_case(b"<!DOCTYPE") {
            Flaw::new(DecodeFault::Doctype, "expected no document type declaration", start)
        } else if rest.starts_with("<!-") || rest.starts_with("<![") {
            unfinished(start)
        } else {
            Flaw::new(DecodeFault::Syntax, "expected a comment or a cdata section", start)
        })
    }

    /// Reads what starts with `<?`: a processing instruction, or at the very start the XML declaration.
    fn read_instruction(&mut self, start: usize) -> Result<(), Flaw> {
        let inside = self.text.get(start + "<?".len()..).unwrap_or_default();
        let end = inside
            .find("?>")
            .filter(|_| !inside.starts_with('>'))
            .ok_or_else(|| unfinished(start))?;
        let end_of_inside = start + "<?".len() + end;
        self.at = end_of_inside + "?>".len();
        let inside = inside.get(..end).unwrap_or_default();
        match inside.strip_prefix("xml") {
            Some(rest) if rest.is_empty() || rest.starts_with(SPACE) => {
                if start == 0 {
                    return check_declaration(self.text, end_of_inside);
                }
                let detail = "expected the xml declaration at the very start";
                Err(Flaw::new(DecodeFault::Syntax, detail, start))
            }
            _ => check_instruction(inside, start),
        }
    }

    /// The innermost element, for character data, and where that is put together.
    #[inline]
    fn inside(&mut self, offset: usize) -> Result<(&mut Frame<'d>, &mut String), Flaw> {
        match self.stack.last_mut() {
            Some(open) => Ok((&mut open.frame, &mut self.buffer)),
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
#[inline]
fn declared_prefix(name: &str) -> Option<&str> {
    match name.strip_prefix("xmlns")? {
        "" => Some(""),
        rest => rest.strip_prefix(':'),
    }
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

/// Markup that the document ends in.
fn unfinished(start: usize) -> Flaw {
    Flaw::new(DecodeFault::Incomplete, "expected the rest of the markup", start)
}
