//! The header `Idempotency-Key`: a String of RFC 9651, and nothing beside it.
//!
//! **Shape**: `Idempotency-Key: "8e03978e-40d5"` -> the 13 characters between the quotes.
//!
//! **Invariants**: a key that cannot be read in full is refused, never ignored: who sends one relies on it. `Debug` does not show
//! it, as who knows it can hear its call's answer.
//!
//! The grammar of one String is ten lines; a library for all of structured fields would bring numbers, dates, lists and dictionaries
//! that nothing here reads.
//!
//! **Errors**: `INVALID_IDEMPOTENCY_KEY`.
//!
//! **Source**: RFC 9651 sections 3.3.3 and 4.2.5; draft-ietf-httpapi-idempotency-key-header-07 section 2.1.

use std::fmt;

use http::HeaderMap;
use http::header::HeaderName;

use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// What the caller calls the call.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the key of a request, where it has one.
    ///
    /// ```
    /// use taskgate::idempotency::IdempotencyKey;
    /// let headers = http::HeaderMap::from_iter([(http::HeaderName::from_static("idempotency-key"), http::HeaderValue::from_static("\"k-1\""))]);
    /// assert_eq!(IdempotencyKey::parse(&headers).unwrap().unwrap().as_str(), "k-1");
    /// assert!(IdempotencyKey::parse(&http::HeaderMap::new()).unwrap().is_none());
    /// ```
    ///
    /// # Errors
    /// `INVALID_IDEMPOTENCY_KEY` where it stands there twice, is no String, has parameters, or has none or more than
    /// [`MAX_KEY_CHARS`] characters.
    pub fn parse(headers: &HeaderMap) -> Result<Option<Self>, GatewayError> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(invalid("a request has one idempotency key"));
        }
        let key = string(value.as_bytes()).map_err(invalid)?;
        match key.len() {
            0 => Err(invalid("an idempotency key is not empty")),
            length if length > MAX_KEY_CHARS => Err(invalid("an idempotency key has at most 255 characters")),
            _ => Ok(Some(Self(key))),
        }
    }

    /// The key without its quotes: 1 to [`MAX_KEY_CHARS`] printable characters of ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({} characters)", self.0.len())
    }
}

/// RFC 9651 section 4.2.5, over the whole of a field value. Parameters would be well-formed (section 3.3) and have no meaning here;
/// who sends some means something that is not kept.
fn string(value: &[u8]) -> Result<String, &'static str> {
    let value = value.trim_ascii();
    let Some(inner) = value.strip_prefix(b"\"") else {
        return Err(QUOTES);
    };
    let mut key = String::new();
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if bytes.as_slice().is_empty() => return Ok(key),
            b'"' if bytes.as_slice().trim_ascii_start().starts_with(b";") => return Err("an idempotency key has no parameters"),
            b'"' => return Err("after the closing quote of an idempotency key comes nothing"),
            b'\\' => match bytes.next() {
                Some(escaped @ (b'"' | b'\\')) => key.push(char::from(*escaped)),
                _ => return Err("in an idempotency key a backslash stands before a quote or a backslash"),
            },
            b' '..=b'~' => key.push(char::from(*byte)),
            _ => return Err("an idempotency key has printable characters of ASCII"),
        }
    }
    Err(QUOTES)
}

fn invalid(detail: &'static str) -> GatewayError {
    GatewayError::new(Reason::InvalidIdempotencyKey, detail).with_metadata("header", IDEMPOTENCY_KEY.as_str())
}

const QUOTES: &str = "an idempotency key stands between double quotes, as in `Idempotency-Key: \"8e03978e\"`";
/// The header of a request.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of an answer that was given before.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Room for any id with a prefix; the practice of those who offer keys.
pub const MAX_KEY_CHARS: usize = 255;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn parse(lines: &[&[u8]]) -> Result<Option<IdempotencyKey>, GatewayError> {
        let lines = lines.iter().map(|line| (IDEMPOTENCY_KEY, HeaderValue::from_bytes(line).unwrap()));
        IdempotencyKey::parse(&lines.collect())
    }

    #[test]
    fn strings_are_read() {
        let longest = format!("\"{}\"", "k".repeat(MAX_KEY_CHARS));
        let escaped = format!("\"{}\"", "\\\\".repeat(MAX_KEY_CHARS));
        for (line, key) in [
            ("\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
            ("\"a b\"", "a b"),
            (" \"a\" ", "a"),
            ("\" a \"", " a "),
            (r#""\"\\""#, r#""\"#),
            ("\";,=\"", ";,="),
            (&longest, &longest[1..=MAX_KEY_CHARS]),
            (&escaped, &"\\".repeat(MAX_KEY_CHARS)),
        ] {
            let parsed = parse(&[line.as_bytes()]).unwrap().unwrap();
            assert_eq!(parsed.as_str(), key, "{line}");
            assert!(!format!("{parsed:?}").contains("8e03978e"));
        }
        assert_eq!(parse(&[]), Ok(None));
    }

    #[test]
    fn anything_else_is_refused() {
        let too_long = format!("\"{}\"", "k".repeat(MAX_KEY_CHARS + 1));
        let lines: [&[u8]; 22] = [
            b"",
            b"8e03978e",
            b"\"",
            b"\"\"",
            b"\"a",
            b"a\"",
            b"'a'",
            b"\"a\" b",
            b"\"a\", \"b\"",
            b"\"a\";v=1",
            b"\"a\" ;v",
            b"\"a\\\"",
            b"\"\\n\"",
            b"\"a\tb\"",
            b"\"\xc3\xa9\"",
            b"\"\xff\"",
            b":YQ==:",
            b"12",
            b"?1",
            b"%\"a\"",
            b"(\"a\")",
            too_long.as_bytes(),
        ];
        for line in lines {
            let error = parse(&[line]).unwrap_err();
            assert_eq!(error.reason, Reason::InvalidIdempotencyKey, "{}", line.escape_ascii());
        }
        assert!(parse(&[b"\"a\"", b"\"a\""]).is_err());
    }
}
