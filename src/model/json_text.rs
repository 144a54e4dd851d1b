//! JSON written by hand, for the documents and lines of which every request has one.
//!
//! **Shape**: `a"b` -> `"a\"b"`, `None` -> `null`, 502 -> `502`.
//!
//! **Invariants**: the bytes are those that serde_json writes; a property test compares them. A value stays within its quotes whatever it holds.
//!
//! **Source**: RFC 8259 section 7.

/// A text in its quotes.
pub fn text(out: &mut String, text: &str) {
    out.push('"');
    escaped(out, text);
    out.push('"');
}

/// A text in its quotes, or `null`.
pub fn option(out: &mut String, value: Option<&str>) {
    match value {
        Some(value) => text(out, value),
        None => out.push_str("null"),
    }
}

/// The inside of a text: of all that may be escaped only what must be.
pub fn escaped(out: &mut String, text: &str) {
    // Most texts have nothing to escape.
    if !must_be_escaped(text.as_bytes()) {
        out.push_str(text);
        return;
    }
    escape(out, text);
}

#[cold]
fn escape(out: &mut String, text: &str) {
    for found in text.chars() {
        match found {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' => {
                out.push_str("\\u00");
                hex(out, &[found as u8]);
            }
            _ => out.push(found),
        }
    }
}

/// Is there a control character, a quote or a backslash? Eight bytes in one step, to the end, whatever is found.
fn must_be_escaped(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let last = match text.last_chunk::<8>() {
        // Some bytes twice.
        Some(last) if !rest.is_empty() => is_suspicious(u64::from_le_bytes(*last)),
        Some(_) => 0,
        None => u64::from(
            rest.iter()
                .fold(false, |found, byte| found | matches!(byte, 0..=0x1f | b'"' | b'\\')),
        ),
    };
    let all = words.iter().map(|word| is_suspicious(u64::from_le_bytes(*word)));
    all.fold(last, |found, one| found | one) != 0
}

/// Not 0 where one of the bytes is a control character, a quote or a backslash.
///
/// Source: "Bit Twiddling Hacks" (Anderson), "Determine if a word has a byte less than n": a byte that is smaller borrows from its own
/// highest bit, where that was not set; the lowest such byte is always told right.
fn is_suspicious(word: u64) -> u64 {
    let has_less = |word: u64, than: u64| word.wrapping_sub(EACH * than) & !word;
    let (quotes, backslashes) = (word ^ (EACH * u64::from(b'"')), word ^ (EACH * u64::from(b'\\')));
    (has_less(word, 0x20) | has_less(quotes, 1) | has_less(backslashes, 1)) & (EACH * 0x80)
}

/// One in each byte.
const EACH: u64 = u64::MAX / 0xff;

/// An integer.
pub fn number(out: &mut String, number: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// Two lower-case digits for each byte, without quotes.
pub fn hex(out: &mut String, bytes: &[u8]) {
    let digit = |value: u8| char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 });
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn every_character_is_written_as_the_library_does() {
        let all: String = (0..0x180_u32).filter_map(char::from_u32).chain("日本🙂\u{2028}".chars()).collect();
        assert_eq!(written(|out| text(out, &all)), serde_json::to_string(&all).unwrap());
    }

    #[test]
    fn what_must_be_escaped_is_seen_in_every_place_beside_every_byte() {
        for length in 0..20 {
            for byte in 0..=u8::MAX {
                for neighbour in [b'a', 0x20, 0x21, b'#', b'[', b']', 0x7f, 0x80, 0xff] {
                    for at in 0..length {
                        let mut text = vec![neighbour; length];
                        text[at] = byte;
                        let must = matches!(byte, 0..=0x1f | b'"' | b'\\');
                        assert_eq!(must_be_escaped(&text), must, "{text:?}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn values_are_written_as_the_library_does(value in any::<Option<String>>(), integer in any::<u64>(), bytes in any::<[u8; 8]>()) {
            prop_assert_eq!(written(|out| option(out, value.as_deref())), serde_json::to_string(&value).unwrap());
            prop_assert_eq!(written(|out| number(out, integer)), integer.to_string());
            prop_assert_eq!(written(|out| hex(out, &bytes)), format!("{:016x}", u64::from_be_bytes(bytes)));
        }
    }
}
