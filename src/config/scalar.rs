//! What a plain (unquoted) scalar of YAML means here: the core schema, and a refusal where YAML 1.1 and 1.2 disagree.
//!
//! **Shape**: `true` -> `Bool(true)`; `15` -> `Int(15)`; `2xx` -> `Text`; `yes`, `012`, `1.5` -> `Refused("…")`.
//!
//! **Source**: YAML 1.2.2 section 10.3 (core schema); YAML 1.1 types bool, int, float, merge.

/// The meaning of a plain scalar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A decimal integer that fits 64 bits, with or without sign.
    Int(i128),
    /// Any other text.
    Text,
    /// It means different things to different readers; the text says what is wrong.
    Refused(&'static str),
}

/// Reads a plain scalar.
pub(crate) fn read(text: &str) -> Plain {
    match text {
        "" | "~" | "null" => return Plain::Null,
        "true" => return Plain::Bool(true),
        "false" => return Plain::Bool(false),
        _ => {}
    }
    if LOOK_ALIKES.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return Plain::Refused("is a boolean or null to some readers of YAML and text to others");
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Plain::Text;
    }
    read_number(text, unsigned)
}

/// Reads what starts as a number does.
fn read_number(text: &str, unsigned: &str) -> Plain {
    if unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return if text.starts_with('+') || (unsigned.len() > 1 && unsigned.starts_with('0')) {
            Plain::Refused("is octal, decimal or text, depending on the reader")
        } else {
            match text.parse::<i128>() {
                Ok(number) if (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&number) => Plain::Int(number),
                _ => Plain::Refused("is an integer that does not fit 64 bits"),
            }
        };
    }
    if is_float(unsigned) {
        return Plain::Refused("is a number with a fraction or an exponent, which is not exact");
    }
    if is_based(unsigned) || is_grouped(unsigned) || is_sexagesimal(unsigned) {
        return Plain::Refused("is a number to some readers of YAML and text to others");
    }
    Plain::Text
}

/// `1.5`, `.5`, `5.`, `1e3`, `.inf`, `.nan`.
fn is_float(unsigned: &str) -> bool {
    if matches!(unsigned.to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa
        .split_once('.')
        .map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let has_digit = !whole.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty());
    has_digit
        && digits(whole)
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
        && (fraction.is_some() || exponent.is_some())
}

/// `0x1F`, `0o17`, `0b11`.
fn is_based(unsigned: &str) -> bool {
    let bytes = unsigned.as_bytes();
    let radix = match bytes.get(..2) {
        Some(b"0x" | b"0X") => 16,
        Some(b"0o" | b"0O") => 8,
        Some(b"0b" | b"0B") => 2,
        _ => return false,
    };
    unsigned.len() > 2 && unsigned.chars().skip(2).all(|c| c == '_' || c.is_digit(radix))
}

/// `1_000`.
fn is_grouped(unsigned: &str) -> bool {
    unsigned.contains('_')
        && unsigned.starts_with(|c: char| c.is_ascii_digit())
        && unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'_' | b'.'))
}

/// `12:30`, which YAML 1.1 reads as 750.
fn is_sexagesimal(unsigned: &str) -> bool {
    let mut parts = unsigned.split(':');
    let first = parts
        .next()
        .is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let mut rest = parts.peekable();
    first
        && rest.peek().is_some()
        && rest.all(|part| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()) && part < "60")
}

/// Booleans and nulls of YAML 1.1, and spellings other than the one that is taken here.
const LOOK_ALIKES: [&str; 7] = ["yes", "no", "on", "off", "true", "false", "null"];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(texts: &[&str], expected: fn(&Plain) -> bool) {
        for text in texts {
            let plain = read(text);
            assert!(expected(&plain), "{text:?} is {plain:?}");
        }
    }

    #[test]
    fn plain_scalars_have_one_meaning_or_are_refused() {
        check(&["", "~", "null"], |p| *p == Plain::Null);
        check(&["true"], |p| *p == Plain::Bool(true));
        check(&["0"], |p| *p == Plain::Int(0));
        check(&["-15"], |p| *p == Plain::Int(-15));
        check(&["18446744073709551615"], |p| *p == Plain::Int(u64::MAX.into()));
        check(&["-9223372036854775808"], |p| *p == Plain::Int(i64::MIN.into()));
        check(
            &[
                "2xx",
                "10s",
                "250ms",
                "a",
                "-",
                "-a",
                "1.2.3",
                "1-2",
                "0xyz",
                "2001-12-14",
                "127.0.0.1:80",
                "5e",
                ".",
                "_1",
                "e3",
                "10:99",
                "+",
            ],
            |p| *p == Plain::Text,
        );
        check(
            &[
                "yes", "No", "ON", "off", "True", "FALSE", "Null", "012", "+5", "0x1F", "0o17", "0b11", "1_000", "12:30", "1.5", ".5",
                "5.", "1e3",
            ],
            |p| matches!(p, Plain::Refused(_)),
        );
        check(
            &["-1.5e-3", ".inf", "-.INF", ".NaN", "18446744073709551616", "-9223372036854775809"],
            |p| matches!(p, Plain::Refused(_)),
        );
    }
}
