//! JSON text, written by hand: answers, log lines, names of operations and requests to vendors, of which every call has some.
//!
//! **Shape**: `a"b` -> `"a\"b"`, `None` -> `null`, 502 -> `502`, a value -> its text without white space.
//!
//! **Invariants**: the bytes are those that serde_json writes; property tests compare them. A value stays within its quotes whatever it holds.
//!
//! **Source**: RFC 8259.

use serde_json::Value;

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
    // Most texts have nothing to escape, and are not searched for where it would be.
    if is_plain(text.as_bytes()) {
        out.push_str(text);
    } else {
        escape(out, text);
    }
}

/// Is no byte a quote, a backslash or a control character?
fn is_plain(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    match (bytes.last_chunk::<8>(), rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        // The last word looks at some bytes again, so that none is left.
        (Some(last), ..) => words.iter().fold(marks(*last), |found, word| found | marks(*word)) == 0,
        (None, Some([a, b, c, d]), Some([e, f, g, h])) => marks([*a, *b, *c, *d, *e, *f, *g, *h]) == 0,
        (None, ..) => !rest.iter().any(is_special),
    }
}

#[cold]
fn escape(out: &mut String, text: &str) {
    let (mut rest, mut next) = (text, special(text.as_bytes(), 0));
    while let Some((plain, after)) = next.and_then(|at| rest.split_at_checked(at)) {
        out.push_str(plain);
        let (found, after) = after.split_at(1);
        match found {
            "\"" => out.push_str("\\\""),
            "\\" => out.push_str("\\\\"),
            "\u{8}" => out.push_str("\\b"),
            "\t" => out.push_str("\\t"),
            "\n" => out.push_str("\\n"),
            "\u{c}" => out.push_str("\\f"),
            "\r" => out.push_str("\\r"),
            control => {
                out.push_str("\\u00");
                hex(out, control.as_bytes());
            }
        }
        rest = after;
        next = special(rest.as_bytes(), 0);
    }
    out.push_str(rest);
}

/// The place of the next quote, backslash or control character.
#[must_use]
pub fn special(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    // Eight bytes at once: the lowest top bit that is left stands in the first byte that is one of them.
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let found = marks(*eight);
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(is_special).map(|place| at + place)
}

/// The lowest bit that is set is the top bit of the first quote, backslash or control character; 0 where there is none.
///
/// Source: "Bit Twiddling Hacks" (Anderson), "Determine if a word has a byte less than n": a byte that is smaller borrows from its own
/// highest bit, where that was not set; the lowest such byte is always told right.
fn marks(eight: [u8; 8]) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    let word = u64::from_le_bytes(eight);
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c)) | control) & TOPS
}

fn is_special(byte: &u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\')
}

/// A value; nested no deeper than documents that are taken may be.
pub fn value(out: &mut String, node: &Value) {
    match node {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(found) => match (found.as_i64(), found.as_u64()) {
            (Some(integer), _) => number(out, integer),
            (None, Some(integer)) => number(out, integer),
            // How a decimal is spelled is the library's to say.
            (None, None) => out.push_str(&found.to_string()),
        },
        Value::String(found) => text(out, found),
        Value::Array(items) => list(out, items, value),
        Value::Object(members) => object(out, members.iter().map(|(name, member)| (name.as_str(), member)), value),
    }
}

/// A list, each item by `write`.
pub fn list<T>(out: &mut String, items: &[T], write: fn(&mut String, &T)) {
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

/// An object, each member by `write`, in this order.
pub fn object<'t, T: 't>(out: &mut String, members: impl Iterator<Item = (&'t str, &'t T)>, write: fn(&mut String, &T)) {
    out.push('{');
    for (at, (name, member)) in members.enumerate() {
        if at > 0 {
            out.push(',');
        }
        text(out, name);
        out.push(':');
        write(out, member);
    }
    out.push('}');
}

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
    fn a_special_byte_is_found_wherever_it_stands() {
        for length in 0..20 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    for neighbour in [b'a', 0x20, 0x21, b'#', b'[', b']', 0x7f, 0x80, 0xff] {
                        let mut bytes = vec![neighbour; length];
                        bytes[place] = byte;
                        let expected = matches!(byte, 0..=0x1f | b'"' | b'\\').then_some(place);
                        assert_eq!(
                            special(&bytes, 0),
                            expected,
                            "{byte:#x} at {place} of {length} beside {neighbour:#x}"
                        );
                        assert_eq!(is_plain(&bytes), expected.is_none());
                    }
                }
            }
        }
        assert_eq!(special("é\u{80}ÿ\u{20}0123456\"".as_bytes(), 0), Some(14));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[ -~\n]{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn one_special_byte_among_any(bytes in prop::collection::vec(any::<u8>(), 0..40), from in 0_usize..40) {
            let rest = bytes.get(from..);
            let expected = rest.and_then(|rest| rest.iter().position(|byte| matches!(byte, 0..=0x1f | b'"' | b'\\')));
            prop_assert_eq!(special(&bytes, from), expected.map(|place| from + place));
        }

        #[test]
        fn values_are_written_as_the_library_does(node in values()) {
            prop_assert_eq!(written(|out| value(out, &node)), node.to_string());
        }

        #[test]
        fn single_ones_as_well(value in any::<Option<String>>(), integer in any::<u64>(), bytes in any::<[u8; 8]>()) {
            prop_assert_eq!(written(|out| option(out, value.as_deref())), serde_json::to_string(&value).unwrap());
            prop_assert_eq!(written(|out| number(out, integer)), integer.to_string());
            prop_assert_eq!(written(|out| hex(out, &bytes)), format!("{:016x}", u64::from_be_bytes(bytes)));
        }
    }
}
