//! The alphabet of XML 1.0: which characters and names a document may hold, and what references and line ends mean.
//!
//! **Source.** XML 1.0 fifth edition, sections 2.2 (characters), 2.3 (names), 2.11 (line ends), 3.3.3 (attribute values),
//! 4.1 and 4.6 (references).

use std::borrow::Cow;

use crate::codec::{DecodeFault, Flaw};

/// The white space of the grammar, which is narrower than Rust's.
pub(crate) const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Whether a text has nothing but white space.
pub(crate) fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Production `Char`; surrogates are no `char` anyway.
pub(crate) fn is_char(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}')
}

/// The offset of the first character that XML has no way to carry.
///
/// Apart from controls there are two, U+FFFE and U+FFFF, and both start with one rare byte: most blocks hold neither.
pub(crate) fn find_forbidden(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (blocks, rest) = bytes.as_chunks::<32>();
    let may_hold = |block: &[u8; 32]| block.iter().fold(false, |found, byte| found | may_be_forbidden(*byte));
    let mut start = 0;
    for block in blocks {
        if may_hold(block)
            && let Some(at) = (start..start + block.len()).find(|at| is_forbidden(bytes, *at))
        {
            return Some(at);
        }
        start += block.len();
    }
    // The rest as a part of a block that has been looked at in part.
    if bytes.last_chunk().is_some_and(|block| !may_hold(block)) {
        return None;
    }
    (start..start + rest.len()).find(|at| is_forbidden(bytes, *at))
}

/// Whether a character that starts with this byte may be one that XML forbids. Without a branch, for many bytes at once.
#[inline]
const fn may_be_forbidden(byte: u8) -> bool {
    (byte < b' ') & (byte != b'\t') & (byte != b'\n') & (byte != b'\r') | (byte == FIRST_OF_LAST)
}

/// Whether a character that XML forbids starts here.
#[inline]
fn is_forbidden(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at) {
        Some(&FIRST_OF_LAST) => matches!(bytes.get(at + 1..at + 3), Some([0xBF, 0xBE | 0xBF])),
        Some(byte) => may_be_forbidden(*byte),
        None => false,
    }
}

/// The first byte of U+F000 to U+FFFF in UTF-8.
const FIRST_OF_LAST: u8 = 0xEF;

/// What a byte may be: a set of the classes below.
#[inline]
pub(crate) fn classes(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// A byte that a name may start with.
pub(crate) const NAME_START: u8 = 1;
/// A byte that a name may hold.
pub(crate) const NAME: u8 = 1 << 1;
/// The byte that ends a prefix.
pub(crate) const COLON: u8 = 1 << 5;
/// A byte of a longer character, which has to be looked at as a whole.
pub(crate) const NOT_ASCII: u8 = 1 << 2;
/// A byte that text has to spell as a reference.
pub(crate) const SPELLED_IN_TEXT: u8 = 1 << 3;
/// A byte that the value of an attribute has to spell as a reference.
pub(crate) const SPELLED_IN_VALUE: u8 = 1 << 4;

const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b':' => NAME_START | NAME | COLON,
            b'_' | b'A'..=b'Z' | b'a'..=b'z' => NAME_START | NAME,
            b'-' | b'.' | b'0'..=b'9' => NAME,
            b'<' | b'>' | b'&' | b'\r' => SPELLED_IN_TEXT | SPELLED_IN_VALUE,
            b'"' | b'\'' | b'\t' | b'\n' => SPELLED_IN_VALUE,
            0x80.. => NOT_ASCII,
            _ => 0,
        };
        byte += 1;
    }
    table
};

/// Production `NameStartChar`.
fn is_name_start(c: char) -> bool {
    matches!(c,
        ':' | 'A'..='Z' | '_' | 'a'..='z'
        | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}'
        | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

/// Production `NameChar`.
fn is_name_char(c: char) -> bool {
    is_name_start(c) || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// Splits the `Name` off that a text starts with.
pub(crate) fn split_name(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with(is_name_start) {
        return None;
    }
    Some(text.split_at(text.find(|c| !is_name_char(c)).unwrap_or(text.len())))
}

/// Whether a text is a name without a colon (`NCName` of Namespaces in XML 1.0).
pub(crate) fn is_plain_name(text: &str) -> bool {
    !text.contains(':') && matches!(split_name(text), Some((_, "")))
}

/// Splits a name into prefix and local name; `None` where its colons make it no `QName`.
#[inline]
pub(crate) fn split_prefix(name: &str) -> Option<(Option<&str>, &str)> {
    // Names are short: a search made for long texts costs more than it saves.
    if !name.bytes().fold(false, |found, byte| found | (byte == b':')) {
        return Some((None, name));
    }
    match name.split_once(':') {
        None => Some((None, name)),
        Some((prefix, local)) => (is_plain_name(prefix) && is_plain_name(local)).then_some((Some(prefix), local)),
    }
}

/// What a reference stands for, given the text between `&` and `;`.
///
/// Every reference that needs no document type declaration stands for one character.
pub(crate) fn resolve(reference: &str, offset: usize) -> Result<char, Flaw> {
    if let Some(number) = reference.strip_prefix('#') {
        let code = match number.strip_prefix('x') {
            Some(digits) => code_point(digits, 16),
            None => code_point(number, 10),
        };
        let code = code.ok_or_else(|| Flaw::new(DecodeFault::Syntax, "expected a character reference", offset))?;
        return char::from_u32(code)
            .filter(|c| is_char(*c))
            .ok_or_else(|| Flaw::new(DecodeFault::Syntax, "a reference to a character that xml forbids", offset));
    }
    Ok(match reference {
        "amp" => '&',
        "apos" => '\'',
        "gt" => '>',
        "lt" => '<',
        "quot" => '"',
        name if matches!(split_name(name), Some((_, ""))) => {
            return Err(Flaw::new(
                DecodeFault::Entity,
                "a reference to an entity that is not predefined",
                offset,
            ));
        }
        _ => {
            return Err(Flaw::new(DecodeFault::Syntax, "expected a reference", offset));
        }
    })
}

/// A number of any length; beyond the code points it stays beyond.
fn code_point(digits: &str, radix: u32) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.chars().try_fold(0_u32, |code, digit| {
        digit.to_digit(radix).map(|digit| code.saturating_mul(radix).saturating_add(digit))
    })
}

/// Character data with every line end as one line feed.
pub(crate) fn unify_line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The value of an attribute from the text between its quotes: references resolved, white space made spaces.
pub(crate) fn attribute_value(raw: &str, offset: usize) -> Result<Cow<'_, str>, Flaw> {
    if !raw.contains(['&', '\t', '\r', '\n']) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find(['&', '\t', '\r', '\n']) {
        let (before, found) = rest.split_at(at);
        value.push_str(before);
        if let Some(reference) = found.strip_prefix('&') {
            let place = offset + raw.len() - found.len();
            let end = reference
                .find([';', '&'])
                .filter(|end| reference.as_bytes().get(*end) == Some(&b';'));
            let Some((name, after)) = end.map(|end| reference.split_at(end)) else {
                return Err(Flaw::new(DecodeFault::Syntax, "expected `;` after a reference", place));
            };
            value.push(resolve(name, place)?);
            rest = after.strip_prefix(';').unwrap_or(after);
        } else {
            value.push(' ');
            rest = found.strip_prefix("\r\n").unwrap_or(found.split_at(1).1);
        }
    }
    value.push_str(rest);
    Ok(Cow::Owned(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn characters() {
        for c in [
            '\t',
            '\n',
            '\r',
            ' ',
            '\u{7f}',
            '\u{85}',
            '\u{D7FF}',
            '\u{E000}',
            '\u{FEFF}',
            '\u{FFFD}',
            '\u{10000}',
            '\u{1FFFE}',
            '\u{10FFFF}',
        ] {
            assert!(is_char(c), "{c:?}");
        }
        for c in ['\0', '\u{1}', '\u{8}', '\u{B}', '\u{C}', '\u{E}', '\u{1F}', '\u{FFFE}', '\u{FFFF}'] {
            assert!(!is_char(c), "{c:?}");
        }
        assert_eq!(find_forbidden("é\u{B}"), Some(2));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn forbidden_characters_are_found_wherever_they_stand(text in "([a ]{0,20}|[\t\n\r\u{1}\u{1F}é\u{F000}\u{FEFF}\u{FFFD}\u{FFFE}\u{FFFF}\u{1FFFF}]?){0,12}") {
            prop_assert_eq!(find_forbidden(&text), text.char_indices().find(|(_, c)| !is_char(*c)).map(|(at, _)| at));
        }
    }

    #[test]
    fn classes_are_those_of_the_characters() {
        for byte in 0..0x80_u8 {
            let c = char::from(byte);
            assert_eq!(classes(byte) & NAME_START != 0, is_name_start(c), "{c:?}");
            assert_eq!(classes(byte) & NAME != 0, is_name_char(c), "{c:?}");
        }
        assert!((0x80..=0xFF).all(|byte| classes(byte) == NOT_ASCII));
    }

    #[test]
    fn names() {
        for name in ["a", "_", "A-1.b", "é", "名前", "a\u{B7}", "a\u{300}", "𐀀"] {
            assert!(is_plain_name(name), "{name}");
        }
        for name in [
            "",
            "1a",
            "-a",
            ".a",
            "a b",
            "a:b",
            "a/",
            "\u{B7}",
            "\u{300}",
            "×",
            "a×",
            "a\u{37E}",
            "\u{F0000}",
            "@a",
            "$",
        ] {
            assert!(!is_plain_name(name), "{name}");
        }
        assert_eq!(split_prefix("a"), Some((None, "a")));
        assert_eq!(split_prefix("p:a"), Some((Some("p"), "a")));
        for name in [":a", "a:", "a:b:c", ":", "a:1", "1:a"] {
            assert_eq!(split_prefix(name), None, "{name}");
        }
    }

    #[test]
    fn references() {
        let fault = |reference| resolve(reference, 0).map_err(|flaw| flaw.fault);
        for (reference, c) in [
            ("lt", '<'),
            ("gt", '>'),
            ("amp", '&'),
            ("apos", '\''),
            ("quot", '"'),
            ("#65", 'A'),
            ("#x41", 'A'),
            ("#000000000000065", 'A'),
            ("#x1F600", '😀'),
            ("#9", '\t'),
            ("#xD", '\r'),
        ] {
            assert_eq!(fault(reference), Ok(c), "{reference}");
        }
        for reference in ["nbsp", "AMP", "a:b", "copy"] {
            assert_eq!(fault(reference), Err(DecodeFault::Entity), "{reference}");
        }
        for reference in [
            "",
            " amp",
            "amp ",
            "#",
            "#x",
            "#X41",
            "#-65",
            "#+65",
            "# 65",
            "#6a",
            "#0",
            "#x0",
            "#8",
            "#xFFFE",
            "#xD800",
            "#xDFFF",
            "#x110000",
            "#99999999999999999999",
            "1",
            "a b",
        ] {
            assert_eq!(fault(reference), Err(DecodeFault::Syntax), "{reference}");
        }
    }

    #[test]
    fn white_space() {
        assert_eq!(unify_line_ends("a\r\nb\rc\n\r\r\n"), "a\nb\nc\n\n\n");
        let value = |raw| {
            attribute_value(raw, 0)
                .map(Cow::into_owned)
                .map_err(|flaw| (flaw.fault, flaw.offset))
        };
        assert_eq!(value("a\r\nb\rc\td\n\ne"), Ok("a b c d  e".to_owned()));
        assert_eq!(value("a&#13;&#10;b&#9;&amp;lt;"), Ok("a\r\nb\t&lt;".to_owned()));
        assert_eq!(value("ab&nope;"), Err((DecodeFault::Entity, 2)));
        for raw in ["&", "a&b", "&amp", "&&amp;", "&;"] {
            assert_eq!(value(raw).map_err(|(fault, _)| fault), Err(DecodeFault::Syntax), "{raw}");
        }
    }
}
