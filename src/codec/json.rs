//! JSON: bytes to a value that holds all of them, and a tree to bytes.
//!
//! **Shape.** `{"ids":[15,25]}` is `Object {"ids": Array [15, 25]}`; a [`Tree`] is written without white space in its order.
//!
//! **Invariants.** No member is lost (a repeated name is refused), no number is rounded behind the caller's back, no string
//! holds half a surrogate pair. Depth and numbers are checked on the bytes, before `serde_json` recurses or forgets them.
//!
//! **Source.** RFC 8259, read as RFC 7493 (I-JSON) asks.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::codec::flat::Flat;
use crate::codec::number::check_token;
use crate::codec::tree::Tree;
use crate::codec::{DecodeError, DecodeFault, Flaw, Limits, json_read, pointer};
use crate::json_text;

/// Reads one JSON document.
///
/// ```
/// # use serde_json::json;
/// # use taskgate::codec::{Limits, json::decode};
/// let value = decode(br#"{"id":9007199254740993}"#, &Limits::REQUEST)?;
/// assert_eq!(value, json!({ "id": 9007199254740993_i64 }));
/// assert!(decode(br#"{"force":true,"force":false}"#, &Limits::REQUEST).is_err());
/// # Ok::<(), taskgate::codec::DecodeError>(())
/// ```
///
/// # Errors
/// [`DecodeFault::Encoding`] for what is not UTF-8 or starts with a byte order mark, [`Depth`](DecodeFault::Depth) and
/// [`Nodes`](DecodeFault::Nodes) beyond the limits, [`Number`](DecodeFault::Number) for one that cannot be carried,
/// [`Duplicate`](DecodeFault::Duplicate) for a repeated name, [`Incomplete`](DecodeFault::Incomplete) for a document that
/// ends too soon, and [`Syntax`](DecodeFault::Syntax) for the rest.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Value, DecodeError> {
    let text = read_text(bytes).map_err(|flaw| flaw.locate(bytes))?;
    match json_read::read(text, limits) {
        Some(value) => Ok(value),
        // What the reader in one pass does not take is looked at again, to say what is wrong with it.
        None => decode_carefully(text, limits),
    }
}

/// Reads one document without a fault into what can be looked at, texts and names where they stand.
///
/// Nothing where [`decode`] has to be asked: it refuses the document, or the document is not an everyday one.
#[must_use]
pub fn read_flat<'t>(bytes: &'t [u8], limits: &Limits) -> Option<Flat<'t>> {
    Flat::read(read_text(bytes).ok()?, limits)
}

/// Reads a document and says what is wrong with it, and where.
fn decode_carefully(text: &str, limits: &Limits) -> Result<Value, DecodeError> {
    scan(text, limits).map_err(|flaw| flaw.locate(text.as_bytes()))?;
    let context = Context {
        left: Cell::new(limits.max_nodes),
        refusal: Cell::new(None),
        names: RefCell::new(Vec::new()),
    };
    let mut source = serde_json::Deserializer::from_str(text);
    match Node(&context)
        .deserialize(&mut source)
        .and_then(|value| source.end().map(|()| value))
    {
        Ok(value) => Ok(value),
        Err(error) => Err(context.explain(&error)),
    }
}

/// Writes a tree without white space, the members of its objects in their order.
#[must_use]
pub fn encode(tree: &Tree<'_>) -> Vec<u8> {
    let mut out = String::with_capacity(USUAL_DOCUMENT);
    write(&mut out, tree);
    out.into_bytes()
}

/// Adds a tree to a JSON text.
pub fn write(out: &mut String, tree: &Tree<'_>) {
    match tree {
        Tree::Object(members) => json_text::object(out, members.iter().map(|(name, member)| (name.as_ref(), member)), write),
        Tree::List(items) => json_text::list(out, items, write),
        Tree::Value(value) => json_text::value(out, value),
    }
}

fn read_text(bytes: &[u8]) -> Result<&str, Flaw> {
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return Err(Flaw::new(DecodeFault::Encoding, "expected no byte order mark", 0));
    }
    std::str::from_utf8(bytes).map_err(|error| Flaw::new(DecodeFault::Encoding, "expected utf-8", error.valid_up_to()))
}

/// Checks depth and number tokens over the raw text; whatever else is wrong with it is the parser's to find.
fn scan(text: &str, limits: &Limits) -> Result<(), Flaw> {
    let mut depth = 0_usize;
    let mut rest = text;
    let offset = |rest: &str| text.len() - rest.len();
    while let Some(start) = rest
        .bytes()
        .position(|byte| matches!(byte, b'"' | b'[' | b']' | b'{' | b'}' | b'-' | b'0'..=b'9'))
    {
        let (_, found) = rest.split_at(start);
        match found.as_bytes().first() {
            Some(b'"') => {
                rest = after_string(found);
                continue;
            }
            Some(b'[' | b'{') => {
                depth += 1;
                if depth > limits.depth() {
                    let detail = format!("expected at most {} nested objects and lists", limits.depth());
                    return Err(Flaw::new(DecodeFault::Depth, detail, offset(found)));
                }
            }
            Some(b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {
                let end = found
                    .bytes()
                    .position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
                    .unwrap_or(found.len());
                let (token, after) = found.split_at(end);
                check_token(token, limits.decimals).map_err(|detail| Flaw::new(DecodeFault::Number, detail, offset(found)))?;
                rest = after;
                continue;
            }
        }
        // Every bracket is one byte.
        rest = found.split_at(1).1;
    }
    Ok(())
}

/// What follows the string literal that `text` starts with.
fn after_string(text: &str) -> &str {
    let mut escaped = true;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            // The opening quote counts as escaped: it does not close the string.
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return text.split_at(at + 1).1,
            _ => {}
        }
    }
    ""
}

/// What the visitor of one document shares between its levels.
struct Context {
    left: Cell<usize>,
    refusal: Cell<Option<(DecodeFault, &'static str)>>,
    /// The path to a repeated name, innermost first; filled only while an error unwinds.
    names: RefCell<Vec<String>>,
}

impl Context {
    fn refuse<E: serde::de::Error>(&self, fault: DecodeFault, detail: &'static str) -> E {
        self.refusal.set(Some((fault, detail)));
        E::custom(detail)
    }

    fn trace(&self, name: impl Into<String>) {
        if self.refusal.get().is_some() {
            self.names.borrow_mut().push(name.into());
        }
    }

    fn explain(&self, error: &serde_json::Error) -> DecodeError {
        let (fault, detail, pointer) = match self.refusal.get() {
            Some((fault, detail)) => {
                let names = self.names.borrow();
                (fault, Cow::Borrowed(detail), pointer(names.iter().rev().map(String::as_str)))
            }
            None if error.is_eof() => (
                DecodeFault::Incomplete,
                Cow::Borrowed("expected the rest of the json document"),
                None,
            ),
            None => (DecodeFault::Syntax, Cow::Owned(without_position(error)), None),
        };
        DecodeError {
            fault,
            detail,
            line: error.line(),
            column: error.column(),
            pointer,
        }
    }
}

/// The message of a syntax error; those of `serde_json` are fixed texts, with the position at the end.
fn without_position(error: &serde_json::Error) -> String {
    let mut message = error.to_string();
    if let Some(end) = message.rfind(" at line ") {
        message.truncate(end);
    }
    message
}

/// Reads one value: the place where nodes are counted and repeated names are found.
#[derive(Clone, Copy)]
struct Node<'c>(&'c Context);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        match self.0.left.get().checked_sub(1) {
            Some(left) => self.0.left.set(left),
            None => return Err(self.0.refuse(DecodeFault::Nodes, "expected fewer values")),
        }
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a json value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| self.0.refuse(DecodeFault::Number, "expected a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            match source.next_element_seed(self) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => return Ok(Value::Array(items)),
                Err(error) => {
                    self.0.trace(items.len().to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = source.next_key::<String>()? {
            if members.contains_key(&name) {
                let error = self.0.refuse(DecodeFault::Duplicate, "expected each member once");
                self.0.trace(name);
                return Err(error);
            }
            match source.next_value_seed(self) {
                Ok(value) => members.insert(name, value),
                Err(error) => {
                    self.0.trace(name);
                    return Err(error);
                }
            };
        }
        Ok(Value::Object(members))
    }
}

/// Longer than what most routes send.
pub(crate) const USUAL_DOCUMENT: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::codec::Decimals;

    /// A flat document holds what the careful reader reads, and is there wherever no name has escapes.
    #[track_caller]
    fn is_flat_alike(document: &str, limits: &Limits) {
        let (flat, value) = (read_flat(document.as_bytes(), limits), decode_carefully(document, limits).ok());
        if !document.contains('\\') || flat.is_some() {
            assert_eq!(flat.map(|flat| flat.root().to_value()), value, "{document:.80}");
        }
    }

    #[track_caller]
    fn check(document: &str, expected: Result<Value, DecodeFault>) {
        let found = decode(document.as_bytes(), &Limits::REQUEST);
        assert_eq!(
            json_read::read(document, &Limits::REQUEST).as_ref(),
            expected.as_ref().ok(),
            "{document:.80}"
        );
        is_flat_alike(document, &Limits::REQUEST);
        assert_eq!(
            found.as_ref().map_err(DecodeError::fault),
            expected.as_ref().map_err(|fault| *fault),
            "{document:.80} {found:?}"
        );
    }

    #[test]
    fn takes_what_json_is() {
        check("{}", Ok(json!({})));
        check(" \t\r\n[ ]\n", Ok(json!([])));
        check("null", Ok(json!(null)));
        check(
            r#"{"a":[true,false,null,"x",-5,1.5,{"b":{}}]}"#,
            Ok(json!({"a":[true,false,null,"x",-5,1.5,{"b":{}}]})),
        );
        check(r#"{"id":9007199254740993}"#, Ok(json!({"id": 9_007_199_254_740_993_i64})));
        check("18446744073709551615", Ok(json!(u64::MAX)));
        check("-9223372036854775808", Ok(json!(i64::MIN)));
        check(r#""\u0000\ud83d\ude00\"[{\\""#, Ok(json!("\0😀\"[{\\")));
        check("\"\u{FFFE} \u{7f}\"", Ok(json!("\u{FFFE} \u{7f}")));
        check(r#"{"a":1,"A":2,"":3,"__proto__":4}"#, Ok(json!({"a":1,"A":2,"":3,"__proto__":4})));
        check(r#"{"n":1.0}"#, Ok(json!({"n":1.0})));
    }

    #[test]
    fn refuses_what_would_lose_something() {
        check(r#"{"force":true,"force":false}"#, Err(DecodeFault::Duplicate));
        check(r#"{"a":[{"b":1,"\u0062":1}]}"#, Err(DecodeFault::Duplicate));
        for number in [
            "18446744073709551616",
            "-9223372036854775809",
            "-0",
            "-0.0",
            "1e400",
            "-1e400",
            "0.1000000000000000055511151231257827",
        ] {
            check(number, Err(DecodeFault::Number));
            check(&format!("{{\"a\":[{number}]}}"), Err(DecodeFault::Number));
        }
        check(&"9".repeat(400), Err(DecodeFault::Number));
        check(r#""18446744073709551616 -0 1e400""#, Ok(json!("18446744073709551616 -0 1e400")));
        check(r#""\" -0""#, Ok(json!("\" -0")));
    }

    #[test]
    fn refuses_what_is_no_json() {
        for document in [
            "{} {}",
            "[1,2,]",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "[1 2]",
            "01",
            "1.",
            ".5",
            "+1",
            "--1",
            "1e",
            "nul",
            "NaN",
            "Infinity",
            "\"\\x\"",
            "\"\u{1}\"",
            "\"a\nb\"",
            "// c\n1",
            "{\"a\" 1}",
            "]",
            "{}x",
            "\u{a0}1",
            "{\"a\":1}\0",
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\u0041""#,
            r#"{"\ud800":1}"#,
            r#""\ud800\ud800""#,
            "{1:2}",
            "0x10",
        ] {
            let found = decode(document.as_bytes(), &Limits::REQUEST).unwrap_err();
            assert!(
                matches!(found.fault(), DecodeFault::Syntax | DecodeFault::Incomplete),
                "{document} {found:?}"
            );
        }
        for document in ["", " ", "{", "[1,", "{\"a\":", "\"abc", "\"\\", "tru", "[[]", "{\"a\":{}"] {
            check(document, Err(DecodeFault::Incomplete));
        }
    }

    #[test]
    fn refuses_what_is_not_utf8() {
        for document in [
            b"\xEF\xBB\xBF{}".as_slice(),
            b"\xFE\xFF\0{\0}",
            b"\xFF\xFE{\0}\0",
            b"\"\xFF\"",
            b"\"\xC0\xAE\"",
            b"\"\xED\xA0\x80\"",
            b"\"\xE2\x82",
        ] {
            assert_eq!(
                decode(document, &Limits::REQUEST).unwrap_err().fault(),
                DecodeFault::Encoding,
                "{document:?}"
            );
        }
        assert_eq!(decode(b"{\0}\0", &Limits::REQUEST).unwrap_err().fault(), DecodeFault::Syntax);
    }

    #[test]
    fn refuses_beyond_the_limits_without_recursion() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(decode(nested(64).as_bytes(), &Limits::REQUEST).is_ok());
        assert!(decode(nested(127).as_bytes(), &Limits::REPLY).is_ok());
        check(&nested(65), Err(DecodeFault::Depth));
        check(&nested(100_000), Err(DecodeFault::Depth));
        check(&"{\"a\":".repeat(100_000), Err(DecodeFault::Depth));
        let boundless = Limits {
            max_depth: usize::MAX,
            ..Limits::REPLY
        };
        assert_eq!(decode(nested(128).as_bytes(), &boundless).unwrap_err().fault(), DecodeFault::Depth);
        check(&format!("\"{}\"", "[".repeat(1000)), Ok(json!("[".repeat(1000))));

        let items = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert!(decode(items(REQUEST_ITEMS).as_bytes(), &Limits::REQUEST).is_ok());
        check(&items(REQUEST_ITEMS + 1), Err(DecodeFault::Nodes));
        check(&items(1_000_000), Err(DecodeFault::Nodes));
    }

    const REQUEST_ITEMS: usize = Limits::REQUEST.max_nodes - 1;

    #[test]
    fn an_error_names_the_place_and_no_value() {
        let error = decode(b"{\n \"a\": [0, {\"s/e~c\": \"sesame\",\n \"s/e~c\": 1}]}", &Limits::REQUEST).unwrap_err();
        assert_eq!(error.pointer(), Some("/a/1/s~1e~0c"));
        assert_eq!(error.to_string(), "expected each member once at line 3, column 8");
        let error = decode(b"{\n  \"a\": 18446744073709551616}", &Limits::REQUEST).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected an integer between -2^63 and 2^64-1 at line 2, column 8"
        );
        let error = decode(b"{\"a\": sesame}", &Limits::REQUEST).unwrap_err();
        assert_eq!(error.to_string(), "expected value at line 1, column 7");
        let name = "n".repeat(1000);
        let error = decode(format!("{{\"{name}\":1,\"{name}\":1}}").as_bytes(), &Limits::REQUEST).unwrap_err();
        assert_eq!((error.fault(), error.pointer()), (DecodeFault::Duplicate, None));
    }

    #[test]
    fn a_reply_may_round_decimals_and_nothing_else() {
        assert_eq!(decode(b"0.1000000000000000055511151231257827", &Limits::REPLY).unwrap(), json!(0.1));
        assert!(decode(b"18446744073709551616", &Limits::REPLY).is_err());
        assert!(decode(b"1e400", &Limits::REPLY).is_err());
    }

    #[test]
    fn writes_in_the_order_of_the_tree() {
        let tree = Tree::Object(vec![
            ("z".into(), json!([1, "a\"\n\u{0}"]).into()),
            (
                "a".into(),
                Tree::List(vec![Tree::Object(vec![
                    ("y".into(), json!(null).into()),
                    ("b".into(), json!(1.5).into()),
                ])]),
            ),
        ]);
        assert_eq!(
            String::from_utf8(encode(&tree)).unwrap(),
            r#"{"z":[1,"a\"\n\u0000"],"a":[{"y":null,"b":1.5}]}"#
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>()
                .prop_filter("json has no other", |n| n.is_finite() && (*n != 0.0 || n.is_sign_positive()))
                .prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn what_is_written_is_read_back(value in value()) {
            prop_assert_eq!(decode(&encode(&Tree::from(&value)), &Limits::REQUEST), Ok(value));
        }

        #[test]
        fn both_readers_take_the_same(value in value(), cut in any::<prop::sample::Index>(), put in "[\\[\\]{}\",:0-9eE.+\\-\\\\ua ]{0,2}") {
            let mut text = serde_json::to_string_pretty(&value).unwrap();
            for limits in [Limits::REQUEST, Limits::REPLY, Limits { max_depth: 2, max_nodes: 12, ..Limits::REQUEST }] {
                prop_assert_eq!(json_read::read(&text, &limits), decode_carefully(&text, &limits).ok());
                is_flat_alike(&text, &limits);
            }
            // Broken somewhere, or not.
            let at = cut.index(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
                text.replace_range(at..=at, &put);
            }
            prop_assert_eq!(json_read::read(&text, &Limits::REPLY), decode_carefully(&text, &Limits::REPLY).ok());
            is_flat_alike(&text, &Limits::REPLY);
        }

        #[test]
        fn both_readers_take_the_same_of_anything(text in prop_oneof!["[\\[\\]{}\",:0-9eE.+\\-\\\\ua ]{0,40}", "-?[0-9]{0,21}[.]?[0-9]{0,4}[eE]?-?[0-9]{0,3}"]) {
            for limits in [Limits::REQUEST, Limits::REPLY] {
                prop_assert_eq!(json_read::read(&text, &limits), decode_carefully(&text, &limits).ok());
                is_flat_alike(&text, &limits);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes, &Limits::REQUEST);
        }

        #[test]
        fn no_near_json_panics_and_what_is_taken_is_what_serde_takes(text in "[\\[\\]{}\",:0-9eE.+\\-\\\\ua ]{0,40}") {
            let limits = Limits { decimals: Decimals::Rounded, ..Limits::REQUEST };
            if let Ok(value) = decode(text.as_bytes(), &limits) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            }
        }
    }
}
