//! The steps of a scanner over a document: to the next byte that matters, over white space, over a name.
//!
//! **Shape.** A place is an offset in bytes; each step takes one and gives the next. All bytes that matter are ASCII, so a
//! place is never within a character.
//!
//! **Invariants.** Each step looks at the bytes it passes and at one word behind them; nothing is allocated.

use crate::codec::xml_chars::{COLON, NAME, NAME_START, NOT_ASCII, classes, split_name};

/// The first place from `at` on that holds one of the bytes; the end of the text if there is none.
#[inline]
pub(crate) fn find<const N: usize>(text: &str, at: usize, bytes: [u8; N]) -> usize {
    search(
        text,
        at,
        |word| bytes.iter().fold(0, |found, byte| found | equal(word, *byte)),
        |byte| bytes.contains(&byte),
    )
}

/// The first place from `at` on in the value of an attribute that is not taken as it stands: the quote that ends it, a `<`,
/// a reference or white space other than a blank.
#[inline]
pub(crate) fn find_in_value(text: &str, at: usize, quote: u8) -> usize {
    search(
        text,
        at,
        |word| equal(word, quote) | equal(word, b'<') | equal(word, b'&') | less(word, b' '),
        |byte| byte == quote || matches!(byte, b'<' | b'&' | 0..b' '),
    )
}

/// The first place from `at` on that holds no white space; a document has no other controls.
#[inline]
pub(crate) fn skip_space(text: &str, at: usize) -> usize {
    // Mostly there is none.
    if text.as_bytes().get(at).is_none_or(|byte| *byte > b' ') {
        return at;
    }
    search(text, at, above_blank, |byte| byte > b' ')
}

/// The first place from `at` on that holds no white space which is text as it stands.
#[inline]
pub(crate) fn skip_layout(text: &str, at: usize) -> usize {
    search(
        text,
        at,
        |word| above_blank(word) | equal(word, b'\r'),
        |byte| byte > b' ' || byte == b'\r',
    )
}

/// The place behind the comment that starts at a place; nothing where none does, it has no end, or `--` in it.
pub(crate) fn comment_end(text: &str, at: usize) -> Option<usize> {
    let start = at + "<!--".len();
    if text.get(at..start)? != "<!--" {
        return None;
    }
    let mut hyphen = find(text, start, [b'-']);
    while !text.get(hyphen + 1..)?.starts_with('-') {
        hyphen = find(text, hyphen + 1, [b'-']);
    }
    let end = hyphen + "-->".len();
    (text.get(hyphen..end)? == "-->").then_some(end)
}

/// A name as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written<'d> {
    pub(crate) name: &'d str,
    pub(crate) has_colon: bool,
}

/// The `Name` that starts at a place.
#[inline]
pub(crate) fn name_at(text: &str, at: usize) -> Option<Written<'_>> {
    let bytes = text.as_bytes();
    // Most names are letters alone.
    let letters_end = search(text, at, no_letter, |byte| !byte.is_ascii_alphabetic());
    let starts = bytes.get(at).is_some_and(|byte| classes(*byte) & NAME_START != 0);
    let (mut end, mut seen) = (letters_end, 0);
    while let Some(byte) = bytes.get(end) {
        let found = classes(*byte);
        seen |= found;
        if found & NAME == 0 {
            break;
        }
        end += 1;
    }
    if seen & NOT_ASCII != 0 {
        let (name, _) = split_name(text.get(at..)?)?;
        return Some(Written {
            name,
            has_colon: name.contains(':'),
        });
    }
    if !starts {
        return None;
    }
    Some(Written {
        name: text.get(at..end)?,
        has_colon: seen & COLON != 0,
    })
}

/// Looks at eight bytes at once. `flags` marks those that are looked for by their highest bit; above the first one it may
/// mark others as well.
#[inline]
fn search(text: &str, at: usize, flags: impl Fn(u64) -> u64, is_found: impl Fn(u8) -> bool) -> usize {
    let (words, rest) = text.as_bytes().get(at..).unwrap_or_default().as_chunks::<8>();
    let mut place = at;
    for word in words {
        let found = flags(u64::from_le_bytes(*word)) & HIGHEST;
        if found != 0 {
            return place + (found.trailing_zeros() / u8::BITS) as usize;
        }
        place += word.len();
    }
    place + rest.iter().position(|byte| is_found(*byte)).unwrap_or(rest.len())
}

/// Marks the bytes that equal one: its difference is zero, from which one cannot be taken without a borrow.
#[inline]
const fn equal(word: u64, byte: u8) -> u64 {
    less(word ^ (LOWEST * byte as u64), 1)
}

/// Marks the bytes that are less than one below 128.
#[inline]
const fn less(word: u64, byte: u8) -> u64 {
    word.wrapping_sub(LOWEST * byte as u64) & !word
}

/// Marks the bytes above the blank, and no others: what is added to seven bits of each carries into its own eighth.
#[inline]
const fn above_blank(word: u64) -> u64 {
    (word & !HIGHEST).wrapping_add(LOWEST * (0x7f - b' ' as u64)) | word
}

/// Marks the bytes that are no letters of ASCII, and no others.
#[inline]
const fn no_letter(word: u64) -> u64 {
    // Letters differ from capitals in one bit; what is added carries into the eighth from `a` on, or behind `z`.
    let small = (word | (LOWEST * 0x20)) & !HIGHEST;
    let (from_a, behind_z) = (
        small.wrapping_add(LOWEST * (0x80 - b'a' as u64)),
        small.wrapping_add(LOWEST * (0x7f - b'z' as u64)),
    );
    !from_a | behind_z | word
}

/// One bit for each of eight bytes, the lowest and the highest.
const LOWEST: u64 = u64::from_le_bytes([1; 8]);
const HIGHEST: u64 = u64::from_le_bytes([0x80; 8]);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_end_where_they_should() {
        for (text, name) in [
            ("a>", Some("a")),
            ("p:a b", Some("p:a")),
            ("a-._1/", Some("a-._1")),
            ("名前=", Some("名前")),
            ("a名\u{B7}×", Some("a名\u{B7}")),
            ("a×", Some("a")),
            (":", Some(":")),
            ("", None),
            ("1a", None),
            ("-", None),
            (" a", None),
            ("×", None),
            ("1名", None),
        ] {
            let expected = name.map(|name| Written {
                name,
                has_colon: name.contains(':'),
            });
            assert_eq!(name_at(text, 0), expected, "{text}");
            assert_eq!(name_at(&format!("<{text}"), 1), expected, "{text}");
        }
        assert_eq!(name_at("a", 1), None);
        assert_eq!(name_at("a", 9), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn finds_what_a_look_at_each_byte_finds(text in "[a-c<&\\]\"'\r\n\t é名\u{10FFFF}]{0,40}", at in 0..48_usize) {
            let first = |wanted: &dyn Fn(u8) -> bool| {
                text.bytes().enumerate().position(|(place, byte)| place >= at && wanted(byte)).unwrap_or(text.len().max(at))
            };
            prop_assert_eq!(find(&text, at, [b'<', b'&', b']', b'\r']), first(&|byte| matches!(byte, b'<' | b'&' | b']' | b'\r')));
            prop_assert_eq!(find(&text, at, [b'c']), first(&|byte| byte == b'c'));
            prop_assert_eq!(find_in_value(&text, at, b'\''), first(&|byte| matches!(byte, b'\'' | b'<' | b'&' | 0..b' ')));
            prop_assert_eq!(skip_space(&text, at), first(&|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')));
            prop_assert_eq!(skip_layout(&text, at), first(&|byte| !matches!(byte, b' ' | b'\t' | b'\n')));
        }

        #[test]
        fn eight_bytes_are_marked_as_one_is(bytes in any::<[u8; 8]>()) {
            let marked = |word: u64| (word & HIGHEST).to_le_bytes().map(|byte| byte != 0);
            let word = u64::from_le_bytes(bytes);
            prop_assert_eq!(marked(above_blank(word)), bytes.map(|byte| byte > b' '));
            prop_assert_eq!(marked(no_letter(word)), bytes.map(|byte| !byte.is_ascii_alphabetic()));
        }

        #[test]
        fn names_are_those_of_the_grammar(text in "[abZ@\\[`{:1.<= é名×\u{B7}]{0,12}|[a-zA-Z]{0,20}[ab:1.<= é名×\u{B7}]{0,3}") {
            let expected = split_name(&text).map(|(name, _)| Written { name, has_colon: name.contains(':') });
            prop_assert_eq!(name_at(&text, 0), expected);
        }
    }
}
