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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(inside: &str, expected: Result<&[(&str, &str)], DecodeFault>) {
        let found = Tag::parse(inside, 0, 100);
        let found = found.map(|tag| {
            tag.attributes
                .iter()
                .map(|attribute| (attribute.name, attribute.raw))
                .collect::<Vec<_>>()
        });
        assert_eq!(found.map_err(|flaw| flaw.fault), expected.map(<[_]>::to_vec), "{inside}");
    }

    #[test]
    fn tags() {
        check("a", Ok(&[]));
        check("a \t\r\n", Ok(&[]));
        check("p:a b=\"1\"\nc = '\"'", Ok(&[("b", "1"), ("c", "\"")]));
        check("a b=''", Ok(&[("b", "")]));
        check("a b='>' p:c='&amp;'", Ok(&[("b", ">"), ("p:c", "&amp;")]));
        for inside in [
            "",
            " a",
            "1a",
            "a/",
            "a /",
            "a b",
            "a b=",
            "a b=c",
            "a b='1'c='2'",
            "a b=\"1'",
            "a b='1",
            "a='1'",
            "a 1='1'",
            "a b='<'",
            "a b = = '1'",
            "a ,b='1'",
            "a b='1' /",
            "a\"b",
            "a\u{a0}b='1'",
        ] {
            check(inside, Err(DecodeFault::Syntax));
        }
        check("a b='1' b='1'", Err(DecodeFault::Duplicate));
        let many: String = (0..50).map(|n| format!(" a{n}=''")).collect();
        check(&format!("a{many} a3=''"), Err(DecodeFault::Duplicate));
        check(&format!("a{many} a49=''"), Err(DecodeFault::Duplicate));
        assert_eq!(Tag::parse(&format!("a{many}"), 0, 49).unwrap_err().fault, DecodeFault::Nodes);
        assert_eq!(Tag::parse(&format!("a{many}"), 0, 50).unwrap().attributes.len(), 50);
    }

    #[test]
    fn places() {
        let tag = Tag::parse("a  b =  'x'", 10, 5).unwrap();
        let attribute = tag.attributes.first().unwrap();
        assert_eq!((attribute.offset, attribute.value_offset), (13, 19));
        assert_eq!(Tag::parse("a b='1<2'", 10, 5).unwrap_err().offset, 16);
    }

    #[test]
    fn declarations() {
        for inside in [
            "xml version='1.0'",
            "xml version=\"1.0\" ",
            "xml version='1.1'",
            "xml version='1.0' encoding='utf-8'",
            "xml version='1.0' encoding='UTF-8' standalone='yes'",
            "xml version='1.0' standalone='no'",
            "xml version='1.0' encoding='US-ASCII'",
        ] {
            assert!(check_declaration(inside, 0, true).is_ok(), "{inside}");
        }
        for (inside, fault) in [
            ("xml", DecodeFault::Syntax),
            ("xml encoding='UTF-8'", DecodeFault::Syntax),
            ("xml version='2.0'", DecodeFault::Syntax),
            ("xml version='1.'", DecodeFault::Syntax),
            ("xml version=' 1.0'", DecodeFault::Syntax),
            ("xml version=1.0", DecodeFault::Syntax),
            ("xml version='1.0'encoding='UTF-8'", DecodeFault::Syntax),
            ("xml version='1.0' standalone='yes' encoding='UTF-8'", DecodeFault::Syntax),
            ("xml version='1.0' standalone='YES'", DecodeFault::Syntax),
            ("xml version='1.0' other=''", DecodeFault::Syntax),
            ("xml version='1.0' version='1.0'", DecodeFault::Duplicate),
            ("xml version='1.0' encoding='UTF-16'", DecodeFault::Encoding),
            ("xml version='1.0' encoding='ISO-8859-1'", DecodeFault::Encoding),
            ("xml version='1.0' encoding=''", DecodeFault::Encoding),
        ] {
            assert_eq!(check_declaration(inside, 0, true).unwrap_err().fault, fault, "{inside}");
        }
        assert_eq!(
            check_declaration("xml version='1.0' encoding='us-ascii'", 0, false)
                .unwrap_err()
                .fault,
            DecodeFault::Encoding
        );
    }
}
