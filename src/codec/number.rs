//! Numbers that survive: which tokens an integer or a 64-bit float carries without loss.
//!
//! **Invariants.** An integer is an `i64` or a `u64` or refused. A decimal is finite; under [`Decimals::Exact`] the
//! text that will be written for its float denotes the same number as the token.

use serde_json::{Number, Value};

use crate::codec::Decimals;

/// Checks a number token of a JSON document before the parser, which forgets tokens, has seen it.
///
/// A token that is no JSON number passes: the parser refuses it and says it better.
pub(crate) fn check_token(token: &str, decimals: Decimals) -> Result<(), &'static str> {
    let negative = token.starts_with('-');
    let digits = token.strip_prefix('-').unwrap_or(token);
    if is_digits(digits) {
        let zero = digits.bytes().all(|digit| digit == b'0');
        return match integer(token) {
            Some(_) if zero && negative && decimals == Decimals::Exact => Err(NEGATIVE_ZERO),
            Some(_) => Ok(()),
            None => Err(INTEGER_RANGE),
        };
    }
    match token.parse::<f64>() {
        Ok(value) => check_decimal(token, value, decimals),
        Err(_) => Ok(()),
    }
}

/// Reads an integer as XML Schema spells it: an optional sign and digits.
pub(crate) fn parse_integer(text: &str) -> Result<Value, NumberError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !is_digits(unsigned) {
        return Err(NumberError::Form("expected an integer"));
    }
    integer(text).map(Value::Number).ok_or(NumberError::Range(INTEGER_RANGE))
}

/// Reads a number as XML Schema spells it, without its infinities.
pub(crate) fn parse_number(text: &str, decimals: Decimals) -> Result<Value, NumberError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if is_digits(unsigned) {
        return parse_integer(text);
    }
    // Rust's own grammar also takes the words for infinity and not-a-number; the alphabet leaves them out.
    let spelled = unsigned
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let value = match text.parse::<f64>() {
        Ok(value) if spelled => value,
        _ => return Err(NumberError::Form("expected a number")),
    };
    check_decimal(text, value, decimals).map_err(NumberError::Range)?;
    Number::from_f64(value).map(Value::Number).ok_or(NumberError::Range(DECIMAL_RANGE))
}

/// Why a text is not taken as a number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NumberError {
    /// It is none.
    Form(&'static str),
    /// It is one that cannot be carried.
    Range(&'static str),
}

const INTEGER_RANGE: &str = "expected an integer between -2^63 and 2^64-1";
const DECIMAL_RANGE: &str = "expected a number within the range of a 64-bit float";
const DECIMAL_EXACT: &str = "expected a number with as many digits as a 64-bit float holds exactly";
const NEGATIVE_ZERO: &str = "expected a number other than negative zero";

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn integer(text: &str) -> Option<Number> {
    text.parse::<i64>()
        .map(Number::from)
        .or_else(|_| text.parse::<u64>().map(Number::from))
        .ok()
}

fn check_decimal(token: &str, value: f64, decimals: Decimals) -> Result<(), &'static str> {
    if !value.is_finite() {
        return Err(DECIMAL_RANGE);
    }
    if decimals == Decimals::Rounded {
        return Ok(());
    }
    if value == 0.0 && value.is_sign_negative() {
        return Err(NEGATIVE_ZERO);
    }
    // Two shortest texts of one float can exist, so the one that counts is the one that the encoders write.
    let written = Number::from_f64(value).map(|number| number.to_string()).ok_or(DECIMAL_RANGE)?;
    let (found, kept) = (Significand::of(token), Significand::of(&written));
    if found.exponent == kept.exponent && found.digits().eq(kept.digits()) {
        Ok(())
    } else {
        Err(DECIMAL_EXACT)
    }
}

/// A decimal without the zeros and the spelling that do not matter: `digits` times ten to the `exponent`.
struct Significand<'t> {
    whole: &'t str,
    fraction: &'t str,
    leading: usize,
    count: usize,
    exponent: i64,
}

impl<'t> Significand<'t> {
    fn of(token: &'t str) -> Self {
        let unsigned = token.trim_start_matches(['+', '-']);
        let (mantissa, power) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = || whole.bytes().chain(fraction.bytes());
        let total = whole.len() + fraction.len();
        let leading = all().take_while(|digit| *digit == b'0').count();
        let trailing = all().rev().take_while(|digit| *digit == b'0').count();
        if leading == total {
            return Self {
                whole,
                fraction,
                leading,
                count: 0,
                exponent: 0,
            };
        }
        // A power beyond `i64` belongs to a token that its float, zero or infinite, does not equal anyway.
        let power = power.parse::<i64>().unwrap_or(i64::MAX);
        let shift = i64::try_from(trailing).unwrap_or(i64::MAX) - i64::try_from(fraction.len()).unwrap_or(i64::MAX);
        Self {
            whole,
            fraction,
            leading,
            count: total - leading - trailing,
            exponent: power.saturating_add(shift),
        }
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.bytes().chain(self.fraction.bytes()).skip(self.leading).take(self.count)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_pass_only_when_they_survive() {
        let long = format!("0.{}1", "0".repeat(400));
        let digits = "1".repeat(400);
        let decimal_digits = format!("{digits}.0");
        let shifted = format!("0.{}1e401", "0".repeat(400));
        // (token, passes when exact, passes when rounded)
        let table: &[(&str, bool, bool)] = &[
            ("0", true, true),
            ("-1", true, true),
            ("9007199254740993", true, true),
            ("9223372036854775807", true, true),
            ("9223372036854775808", true, true),
            ("18446744073709551615", true, true),
            ("18446744073709551616", false, false),
            ("-9223372036854775808", true, true),
            ("-9223372036854775809", false, false),
            ("-0", false, true),
            ("-0.0", false, true),
            ("-0e5", false, true),
            ("0.0", true, true),
            ("0e99999999999999999999", true, true),
            ("1.0", true, true),
            ("1.50", true, true),
            ("1e2", true, true),
            ("100e-2", true, true),
            ("1E+2", true, true),
            ("0.1", true, true),
            ("0.30000000000000004", true, true),
            ("0.1000000000000000055511151231257827", false, true),
            ("9007199254740993.0", false, true),
            ("1e400", false, false),
            ("-1e400", false, false),
            ("1e99999999999999999999", false, false),
            ("1e-400", false, true),
            ("1e-99999999999999999999", false, true),
            // Both have 17 digits and are the same float, of which the first is written.
            ("11454266185697.312", true, true),
            ("11454266185697.313", false, true),
            ("5e-324", true, true),
            ("4e-324", false, true),
            ("1.7976931348623157e308", true, true),
            (&long, false, true),
            (&shifted, true, true),
            (&digits, false, false),
            (&decimal_digits, false, false),
        ];
        for (token, exact, rounded) in table {
            assert_eq!(check_token(token, Decimals::Exact).is_ok(), *exact, "exact {token}");
            assert_eq!(check_token(token, Decimals::Rounded).is_ok(), *rounded, "rounded {token}");
        }
    }

    #[test]
    fn what_is_no_number_is_left_to_the_parser() {
        for token in ["-", "--1", "1-2", "1e", "1e+", "1.2.3", "01", "1.", "-01"] {
            assert_eq!(check_token(token, Decimals::Exact), Ok(()), "{token}");
        }
    }

    #[test]
    fn xml_numbers() {
        assert_eq!(parse_integer("007"), Ok(json!(7)));
        assert_eq!(parse_integer("+5"), Ok(json!(5)));
        assert_eq!(parse_integer("-0"), Ok(json!(0)));
        assert_eq!(parse_integer("18446744073709551615"), Ok(json!(u64::MAX)));
        assert!(matches!(parse_integer("18446744073709551616"), Err(NumberError::Range(_))));
        for text in ["", "+", "-", "1.0", "1e3", "0x5", "١", "1 2", "--1", "+-1"] {
            assert!(matches!(parse_integer(text), Err(NumberError::Form(_))), "{text}");
        }
        for (text, value) in [
            ("12", json!(12)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("5.", json!(5.0)),
            ("+1e3", json!(1000.0)),
        ] {
            assert_eq!(parse_number(text, Decimals::Exact), Ok(value), "{text}");
        }
        for text in ["", "inf", "INF", "-INF", "NaN", "infinity", ".", "e5", "1e", "1,5", "1 5", "+-1.0"] {
            assert!(matches!(parse_number(text, Decimals::Rounded), Err(NumberError::Form(_))), "{text}");
        }
        assert!(matches!(parse_number("1e400", Decimals::Rounded), Err(NumberError::Range(_))));
        assert!(matches!(
            parse_number("9007199254740993.0", Decimals::Exact),
            Err(NumberError::Range(_))
        ));
        assert_eq!(
            parse_number("9007199254740993", Decimals::Exact),
            Ok(json!(9_007_199_254_740_993_i64))
        );
    }
}
