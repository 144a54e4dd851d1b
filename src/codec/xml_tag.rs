//! The inside of an XML tag: a name and attributes, by the letter of the grammar.
//!
//! **Shape.** `<run id="15" p:state='up'/>` is the name `run` and two attributes, their values still as written.
//!
//! **Invariants.** White space before each attribute, quotes around each value, no `<` in one, no name twice. Time is linear
//! in the length of the tag.
//!
//! **Source.** XML 1.0 fifth edition, sections 2.8 (declaration) and 3.1 (tags).

use std::collections::HashSet;

use crate::codec::xml_scan::{Written, find, find_in_value, name_at, skip_space};
use crate::codec::{DecodeFault, Flaw};

/// A tag that has been read.
#[derive(Debug)]
pub(crate) struct Tag<'d> {
    pub(crate) name: Written<'d>,
    /// Whether it opens an element and closes it.
    pub(crate) is_empty: bool,
    /// The place after it.
    pub(crate) end: usize,
}

/// An attribute as it is written.
#[derive(Debug)]
pub(crate) struct RawAttribute<'d> {
    pub(crate) name: &'d str,
    pub(crate) has_colon: bool,
    /// The text between the quotes.
    pub(crate) raw: &'d str,
    /// Whether that text is the value.
    pub(crate) is_plain: bool,
    /// Where the name starts.
    pub(crate) offset: usize,
    /// Where the value starts.
    pub(crate) value_offset: usize,
}

/// Reads the tag whose `<` is at `start`, its attributes in order into an empty list.
///
/// # Errors
/// Anything the grammar does not allow, an attribute twice, and more than `most` attributes. Where the tag has no end is
/// for [`find_end`] to say.
#[inline]
pub(crate) fn read<'d>(text: &'d str, start: usize, most: usize, attributes: &mut Vec<RawAttribute<'d>>) -> Result<Tag<'d>, Flaw> {
    let name = name_at(text, start + 1).ok_or_else(|| syntax("expected a name", start + 1))?;
    let at = start + 1 + name.name.len();
    // Most tags are a name alone.
    if text.as_bytes().get(at) == Some(&b'>') {
        return Ok(Tag {
            name,
            is_empty: false,
            end: at + 1,
        });
    }
    let (at, end) = read_attributes(text, at, most, attributes, |rest| match rest {
        [b'>', ..] => Some(1),
        [b'/', b'>', ..] => Some(2),
        _ => None,
    })?;
    Ok(Tag {
        name,
        is_empty: end == 2,
        end: at + end,
    })
}

/// Up to here comparing each name with each other one beats hashing them.
const FEW: usize = 8;

/// The place after the tag that starts here: a `>` within quotes does not end it.
pub(crate) fn find_end(text: &str, start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        at = find(text, at, [b'>', b'"', b'\'']);
        match *text.as_bytes().get(at)? {
            b'>' => return Some(at + 1),
            quote => at = find(text, at + 1, [quote]) + 1,
        }
    }
}

/// Reads attributes up to the end; `ends` says how long it is where it is. Gives its place and its length.
fn read_attributes<'d>(
    text: &'d str,
    mut at: usize,
    most: usize,
    attributes: &mut Vec<RawAttribute<'d>>,
    ends: impl Fn(&[u8]) -> Option<usize>,
) -> Result<(usize, usize), Flaw> {
    let bytes = text.as_bytes();
    let mut names: Option<HashSet<&str>> = None;
    loop {
        let start = skip_space(text, at);
        if let Some(end) = ends(bytes.get(start..).unwrap_or_default()) {
            return Ok((start, end));
        }
        if start == at {
            return Err(syntax("expected white space, or the end of the tag", at));
        }
        let name = name_at(text, start).ok_or_else(|| syntax("expected an attribute", start))?;
        at = skip_space(text, start + name.name.len());
        if bytes.get(at) != Some(&b'=') {
            return Err(syntax("expected `=`", at));
        }
        at = skip_space(text, at + 1);
        let attribute = read_value(text, at, name, start).ok_or_else(|| syntax("expected a value in quotes", at))?;
        if !attribute.is_plain
            && let Some(at) = attribute.raw.find('<')
        {
            return Err(syntax("a `<` in an attribute", attribute.value_offset + at));
        }
        if attributes.len() == most {
            return Err(Flaw::new(DecodeFault::Nodes, "expected fewer elements and attributes", start));
        }
        let twice = if attributes.len() < FEW {
            attributes.iter().any(|known| known.name == name.name)
        } else {
            let names = names.get_or_insert_with(|| attributes.iter().map(|known| known.name).collect());
            !names.insert(name.name)
        };
        if twice {
            return Err(Flaw::new(DecodeFault::Duplicate, "expected each attribute once", start));
        }
        at = attribute.value_offset + attribute.raw.len() + 1;
        attributes.push(attribute);
    }
}

/// Reads the value whose first quote is at `at`.
#[inline]
fn read_value<'d>(text: &'d str, at: usize, name: Written<'d>, offset: usize) -> Option<RawAttribute<'d>> {
    let bytes = text.as_bytes();
    let quote = *bytes.get(at).filter(|byte| matches!(byte, b'"' | b'\''))?;
    let mut end = find_in_value(text, at + 1, quote);
    let is_plain = *bytes.get(end)? == quote;
    if !is_plain {
        end = find(text, end, [quote]);
        bytes.get(end)?;
    }
    Some(RawAttribute {
        name: name.name,
        has_colon: name.has_colon,
        raw: text.get(at + 1..end)?,
        is_plain,
        offset,
        value_offset: at + 1,
    })
}

fn syntax(detail: &'static str, offset: usize) -> Flaw {
    Flaw::new(DecodeFault::Syntax, detail, offset)
}

/// Checks the XML declaration at the very start of a document; its `?>` is at `end`.
///
/// # Errors
/// [`DecodeFault::Encoding`] where it names an encoding other than that of the bytes, else [`DecodeFault::Syntax`].
pub(crate) fn check_declaration(document: &str, end: usize) -> Result<(), Flaw> {
    let start = "<?".len();
    let inside = document.get(..end).unwrap_or(document);
    let mut attributes = Vec::new();
    let after_name = start + "xml".len();
    read_attributes(inside, after_name, PSEUDO_ATTRIBUTES.len(), &mut attributes, |rest| {
        rest.is_empty().then_some(0)
    })?;
    let mut expected = PSEUDO_ATTRIBUTES.iter();
    if attributes.first().is_none_or(|first| first.name != "version") {
        return Err(syntax("expected the version of xml", start));
    }
    for attribute in &attributes {
        if !expected.any(|name| *name == attribute.name) {
            let detail = "expected `version`, `encoding` and `standalone`, in this order";
            return Err(syntax(detail, attribute.offset));
        }
        let (value, at) = (attribute.raw, attribute.value_offset);
        match attribute.name {
            "version" => {
                let minor = value.strip_prefix("1.").unwrap_or_default();
                if minor.is_empty() || !minor.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(syntax("expected version 1.0", at));
                }
            }
            "encoding" => {
                let is_ascii = || value.eq_ignore_ascii_case("us-ascii") && document.is_ascii();
                if !value.eq_ignore_ascii_case("utf-8") && !is_ascii() {
                    return Err(Flaw::new(DecodeFault::Encoding, "expected the encoding utf-8", at));
                }
            }
            _ => {
                if value != "yes" && value != "no" {
                    return Err(syntax("expected `yes` or `no`", at));
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
        for end in [">", "/>", "> '<a b=\">"] {
            let text = format!("<{inside}{end}");
            let found = parse(&text, 100).map(|attributes| {
                attributes
                    .iter()
                    .map(|attribute| (attribute.name, attribute.raw))
                    .collect::<Vec<_>>()
            });
            assert_eq!(found.map_err(|flaw| flaw.fault), expected.map(<[_]>::to_vec), "{text}");
        }
    }

    fn parse(text: &str, most: usize) -> Result<Vec<RawAttribute<'_>>, Flaw> {
        let mut attributes = Vec::new();
        let tag = read(text, 0, most, &mut attributes)?;
        assert_eq!(find_end(text, 0), Some(tag.end), "{text}");
        assert_eq!(text[..tag.end].ends_with("/>"), tag.is_empty, "{text}");
        Ok(attributes)
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
            "a//",
            "a / ",
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
            "a b='1' / ",
            "a b='1'/ ",
            "a\"b",
            "a\u{a0}b='1'",
        ] {
            check(inside, Err(DecodeFault::Syntax));
        }
        check("a b='1' b='1'", Err(DecodeFault::Duplicate));
        let many: String = (0..50).map(|n| format!(" a{n}=''")).collect();
        check(&format!("a{many} a3=''"), Err(DecodeFault::Duplicate));
        check(&format!("a{many} a49=''"), Err(DecodeFault::Duplicate));
        let text = format!("<a{many}>");
        assert_eq!(parse(&text, 49).unwrap_err().fault, DecodeFault::Nodes);
        assert_eq!(parse(&text, 50).unwrap().len(), 50);
    }

    #[test]
    fn places() {
        let attributes = parse("<a  b =  'x'>", 5).unwrap();
        let attribute = attributes.first().unwrap();
        assert_eq!((attribute.offset, attribute.value_offset, attribute.is_plain), (4, 10, true));
        let values = parse("<a b='\t' c='&lt;' d='>\u{7f}é\"'/>", 5).unwrap();
        assert_eq!(values.iter().map(|value| value.is_plain).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(parse("<a b='1<2'>", 5).unwrap_err().offset, 7);
        assert_eq!(parse("<a b='&1<2'>", 5).unwrap_err().offset, 8);
    }

    #[test]
    fn ends() {
        for (text, end) in [
            ("<a>>", Some(3)),
            ("<a b='>'>", Some(9)),
            ("</a b=\"'>\">'", Some(11)),
            ("<a", None),
            ("<a '>", None),
            ("<a '>\"'\"", None),
        ] {
            assert_eq!(find_end(text, 0), end, "{text}");
        }
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
            assert!(declare(inside).is_ok(), "{inside}");
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
            assert_eq!(declare(inside).unwrap_err().fault, fault, "{inside}");
        }
        let document = "<?xml version='1.0' encoding='us-ascii'?><é/>";
        let end = document.find("?>").unwrap();
        assert_eq!(check_declaration(document, end).unwrap_err().fault, DecodeFault::Encoding);
    }

    fn declare(inside: &str) -> Result<(), Flaw> {
        check_declaration(&format!("<?{inside}?><a/>"), "<?".len() + inside.len())
    }
}
