//! JSON out of a tree, written at once.
//!
//! **Shape**: `Tree::Object([("ids", [15, 25])])` -> `{"ids":[15,25]}`.
//!
//! **Invariants**: the bytes are those that `serde_json` writes; a property test compares them. A text stays within its quotes whatever it holds.
//!
//! **Source**: RFC 8259.

use serde_json::{Number, Value};

use super::json_read::special;
use super::tree::Tree;

/// Adds a tree, the members of its objects in their order.
pub(super) fn tree(out: &mut String, node: &Tree<'_>) {
    match node {
        Tree::Object(members) => object(out, members.iter().map(|(name, member)| (name.as_ref(), member)), tree),
        Tree::List(items) => list(out, items, tree),
        Tree::Value(found) => value(out, found),
    }
}

fn value(out: &mut String, node: &Value) {
    match node {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(found) => number(out, found),
        Value::String(found) => text(out, found),
        Value::Array(items) => list(out, items, value),
        Value::Object(members) => object(out, members.iter().map(|(name, member)| (name.as_str(), member)), value),
    }
}

fn list<T>(out: &mut String, items: &[T], write: fn(&mut String, &T)) {
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

fn object<'t, T: 't>(out: &mut String, members: impl Iterator<Item = (&'t str, &'t T)>, write: fn(&mut String, &T)) {
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

fn number(out: &mut String, number: &Number) {
    match (number.as_i64(), number.as_u64()) {
        (Some(integer), _) => out.push_str(itoa::Buffer::new().format(integer)),
        (None, Some(integer)) => out.push_str(itoa::Buffer::new().format(integer)),
        // How a decimal is spelled is the library's to say.
        (None, None) => out.push_str(&number.to_string()),
    }
}

/// Adds a text in its quotes.
pub(super) fn text(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some((plain, after)) = special(rest.as_bytes(), 0).and_then(|at| rest.split_at_checked(at)) {
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
                let code = control.bytes().next().unwrap_or_default();
                let digit = |value: u8| char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 });
                out.push_str("\\u00");
                out.extend([digit(code >> 4), digit(code & 15)]);
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn written(node: &Tree<'_>) -> String {
        let mut out = String::new();
        tree(&mut out, node);
        out
    }

    #[test]
    fn every_character_is_written_as_the_library_does() {
        let all: String = (0..0x180_u32).filter_map(char::from_u32).chain("日本🙂\u{2028}".chars()).collect();
        let node = Tree::Object(vec![(
            all.as_str().into(),
            Tree::List(vec![json!(all).into(), Tree::Object(Vec::new())]),
        )]);
        assert_eq!(written(&node), serde_json::to_string(&node).unwrap());
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
        fn values_are_written_as_the_library_does(values in prop::collection::vec(values(), 0..4)) {
            let node = Tree::List(values.into_iter().map(Tree::from).collect());
            prop_assert_eq!(written(&node), serde_json::to_string(&node).unwrap());
        }
    }
}
