//! The inside of an XML tag: a name and attributes, by the letter of the grammar.
//!
//! **Shape.** `run id="15" p:state='up'` is the name `run` and two attributes, their values still as written.
//!
//! **Invariants.** White space before each attribute, quotes around each value, no `<` in one, no name twice. The tokeniser
//! below leaves all of that open. Time is linear in the length of the tag.
//!
//! **Source.** XML 1.0 fifth edition, sections 2.8 (declaration) and 3.1 (tags).

use std::collections::HashSet;

use crate::codec::xml_chars::{SPACE, split_name};
use crate::codec::{DecodeFault, Flaw};

/// A tag with its attributes in order.
#[derive(Debug)]
pub(crate) struct Tag<'d> {
    pub(crate) name: &'d str,
    pub(crate) attributes: Vec<RawAttribute<'d>>,
}

/// An attribute as it is written.
#[derive(Debug)]
pub(crate) struct RawAttribute<'d> {
    pub(crate) name: &'d str,
    /// The text between the quotes.
    pub(crate) raw: &'d str,
    /// Where the name starts.
    pub(crate) offset: usize,
    /// Where the value starts.
    pub(crate) value_offset: usize,
}

/// Up to here comparing each name with each other one beats hashing them.
const FEW: usize = 8;

impl<'d> Tag<'d> {
    /// Reads what stands between `<` and `>` or `/>`; `offset` is its place in the document.
    ///
    /// # Errors
    /// Anything the grammar does not allow, an attribute twice, and more than `most` attributes.
    pub(crate) fn parse(inside: &'d str, offset: usize, most: usize) -> Result<Self, Flaw> {
        let place = |rest: &str| offset + inside.len() - rest.len();
        let syntax = |detail: &'static str, rest: &str| Flaw::new(DecodeFault::Syntax, detail, place(rest));
        let (name, mut rest) = split_name(inside).ok_or_else(|| syntax("expected a name", inside))?;
        let mut attributes: Vec<RawAttribute<'d>> = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let start = rest.trim_start_matches(SPACE);
            if start.is_empty() {
                return Ok(Self { name, attributes });
            }
            if start.len() == rest.len() {
                return Err(syntax("expected white space, or the end of the tag", rest));
            }
            let (key, after) = split_name(start).ok_or_else(|| syntax("expected an attribute", start))?;
            let after = after.trim_start_matches(SPACE);
            let after = after.strip_prefix('=').ok_or_else(|| syntax("expected `=`", after))?;
            let after = after.trim_start_matches(SPACE);
            let (raw, next) = split_quoted(after).ok_or_else(|| syntax("expected a value in quotes", after))?;
            if let Some(at) = raw.find('<') {
                return Err(Flaw::new(DecodeFault::Syntax, "a `<` in an attribute", place(after) + 1 + at));
            }
            if attributes.len() == most {
                return Err(Flaw::new(
                    DecodeFault::Nodes,
                    "expected fewer elements and attributes",
                    place(start),
                ));
            }
            let twice = if attributes.len() < FEW {
                attributes.iter().any(|known| known.name == key)
            } else {
                if seen.is_empty() {
                    seen.extend(attributes.iter().map(|known| known.name));
                }
                !seen.insert(key)
            };
            if twice {
                return Err(Flaw::new(DecodeFault::Duplicate, "expected each attribute once", place(start)));
            }
            attributes.push(RawAttribute {
                name: key,
                raw,
                offset: place(start),
                value_offset: place(after) + 1,
            });
            rest = next;
        }
    }
}

fn split_quoted(text: &str) -> Option<(&str, &str)> {
    match text.as_bytes().first()? {
        b'"' => text.strip_prefix('"')?.split_once('"'),
        b'\'' => text.strip_prefix('\'')?.split_once('\''),
        _ => None,
    }
}

/// Checks the XML declaration, given the text between `<?` and `?>`; `ascii` is whether the document has no other bytes.
///
/// # Errors
/// [`DecodeFault::Encoding`] where it names an encoding other than that of the bytes, else [`DecodeFault::Syntax`].
pub(crate) fn check_declaration(inside: &str, offset: usize, ascii: bool) -> Result<(), Flaw> {
    let tag = Tag::parse(inside, offset, PSEUDO_ATTRIBUTES.len())?;
    let syntax = |detail: &'static str, offset| Err(Flaw::new(DecodeFault::Syntax, detail, offset));
    let mut expected = PSEUDO_ATTRIBUTES.iter();
    if tag.attributes.first().is_none_or(|first| first.name != "version") {
        return syntax("expected the version of xml", offset);
    }
    for attribute in &tag.attributes {
        if !expected.any(|name| *name == attribute.name) {
            return syntax("expected `version`, `encoding` and `standalone`, in this order", attribute.offset);
        }
        let (value, at) = (attribute.raw, attribute.value_offset);
        match attribute.name {
            "version" => {
                let minor = value.strip_prefix("1.").unwrap_or_default();
                if minor.is_empty() || !minor.bytes().all(|byte| byte.is_ascii_digit()) {
                    return syntax("expected version 1.0", at);
                }
            }
            "encoding" => {
                let all_ascii = value.eq_ignore_ascii_case("us-ascii") && ascii;
                if !all_ascii && !value.eq_ignore_ascii_case("utf-8") {
                    return Err(Flaw::new(DecodeFault::Encoding, "expected the encoding utf-8", at));
                }
            }
            _ => {
                if value != "yes" && value != "no" {
                    return syntax("expected `yes` or `no`", at);
                }
            }
        }
    }
    Ok(())
}

const PSEUDO_ATTRIBUTES: [&str; 3] = ["version", "encoding", "standalone"];
