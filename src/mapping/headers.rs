//! The headers of a reply as values of expressions, looked up when they are asked for.
//!
//! **Shape**: `X-Request-Id: 8080d3…` -> `headers['x-request-id']` = `8080d3…`.
//!
//! **Invariants**: names are in lower case; of a header that is repeated the last text counts; a value that is no text is absent.

use std::borrow::Cow;
use std::sync::OnceLock;

use http::HeaderMap;
use serde_json::{Map, Value};

/// The headers of one reply.
#[derive(Debug)]
pub(super) struct Headers<'r> {
    fields: Cow<'r, HeaderMap>,
    /// All of them as an object, for those who ask for it.
    whole: OnceLock<Value>,
}

impl<'r> Headers<'r> {
    /// The headers of a reply.
    pub(super) fn new(fields: &'r HeaderMap) -> Self {
        Self {
            fields: Cow::Borrowed(fields),
            whole: OnceLock::new(),
        }
    }

    /// One header by its name in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let named = self.fields.iter().filter(|(known, _)| known.as_str() == name);
        named.filter_map(|(_, value)| value.to_str().ok()).last()
    }

    /// All headers as an object.
    pub(super) fn whole(&self) -> &Value {
        self.whole.get_or_init(|| {
            let texts = self
                .fields
                .iter()
                .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
            let members: Map<String, Value> = texts.map(|(name, text)| (name.to_owned(), Value::from(text))).collect();
            Value::Object(members)
        })
    }

    /// The same for longer than the reply.
    pub(super) fn into_owned(self) -> Headers<'static> {
        Headers {
            fields: Cow::Owned(self.fields.into_owned()),
            whole: self.whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn one_header_is_what_the_whole_says() {
        let mut fields = HeaderMap::new();
        for (name, value) in [
            ("x-request-id", "8080d3"),
            ("x-twice", "first"),
            ("x-twice", "second"),
            ("x-twice", "\u{e9}"),
            ("x-bytes", "\u{e9}"),
            ("content-type", "application/json"),
        ] {
            fields.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let headers = Headers::new(&fields);
        for name in [
            "x-request-id",
            "X-Request-Id",
            "x-twice",
            "x-bytes",
            "content-type",
            "absent",
            "",
            "no name",
        ] {
            assert_eq!(headers.get(name), headers.whole().get(name).and_then(Value::as_str), "{name}");
        }
        assert_eq!(headers.get("x-twice"), Some("second"));
        assert_eq!(headers.into_owned().get("x-request-id"), Some("8080d3"));
    }
}
