//! The body of a reply: looked up where it stands, and made a value for those who need more of it than a text or a number.
//!
//! **Shape**: `{"data":{"id":"ebf8…","tags":[]}}` -> `body.data.id` = `ebf8…` from its bytes, `body.data.tags` from the whole as a value.
//!
//! **Invariants**: what a look-up finds is what it would find in the value.

use std::sync::OnceLock;

use serde_json::Value;

use super::expression::Step;
use super::plan::Gap;
use crate::codec::flat::{Flat, FlatNode, Items};
use crate::codec::node::{Kind, Node as _};
use crate::schema::Schema;

/// An object or a list, or an item of one.
#[derive(Debug)]
pub(super) struct Document<'r> {
    bytes: Bytes<'r>,
    whole: OnceLock<Value>,
}

/// Where it stands as it was read.
#[derive(Debug)]
enum Bytes<'r> {
    Flat(Flat<'r>),
    /// In another one.
    Node(FlatNode<'r>),
    /// It is the value alone.
    None,
}

impl From<Value> for Document<'_> {
    fn from(value: Value) -> Self {
        Self {
            bytes: Bytes::None,
            whole: value.into(),
        }
    }
}

impl<'r> From<Flat<'r>> for Document<'r> {
    fn from(flat: Flat<'r>) -> Self {
        Self {
            bytes: Bytes::Flat(flat),
            whole: OnceLock::new(),
        }
    }
}

impl<'r> From<FlatNode<'r>> for Document<'r> {
    fn from(node: FlatNode<'r>) -> Self {
        Self {
            bytes: Bytes::Node(node),
            whole: OnceLock::new(),
        }
    }
}

impl Document<'_> {
    /// All of it.
    pub(super) fn whole(&self) -> &Value {
        self.whole.get_or_init(|| self.root().map_or(Value::Null, FlatNode::to_value))
    }

    /// The same for longer than the reply.
    pub(super) fn into_owned(self) -> Document<'static> {
        self.whole();
        Document {
            bytes: Bytes::None,
            whole: self.whole,
        }
    }

    /// A text, number, boolean or null at the end of a chain. Nothing where the whole has to be looked into.
    ///
    /// # Errors
    /// [`Gap::Absent`] where an object lacks the member.
    pub(super) fn scalar(&self, steps: &[Step]) -> Option<Result<Value, Gap>> {
        match self.walk(steps)? {
            Err(gap) => Some(Err(gap)),
            Ok(node) => match node.kind() {
                Kind::List(_) | Kind::Object(_) => None,
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => Some(Ok(node.to_value())),
            },
        }
    }

    /// The items of the list at the end of a chain. Nothing where the whole has to be looked into.
    ///
    /// # Errors
    /// [`Gap::Absent`] where an object lacks the member.
    pub(super) fn items(&self, steps: &[Step]) -> Option<Result<Items<'_>, Gap>> {
        match self.walk(steps)? {
            Err(gap) => Some(Err(gap)),
            Ok(node) => match node.kind() {
                Kind::List(items) => Some(Ok(items)),
                _ => None,
            },
        }
    }

    /// Has the object at the end of a chain this member? Nothing where the whole has to be looked into.
    pub(super) fn has(&self, steps: &[Step], field: &str) -> Option<bool> {
        match self.walk(steps)?.ok()?.kind() {
            Kind::Object(mut members) => Some(members.any(|(name, _)| name == field)),
            _ => None,
        }
    }

    /// Does a chain lead to null? Nothing where the whole has to be looked into.
    ///
    /// # Errors
    /// [`Gap::Absent`] where an object lacks the member.
    pub(super) fn is_null(&self, steps: &[Step]) -> Option<Result<bool, Gap>> {
        let found = self.walk(steps)?;
        Some(found.map(|node| matches!(node.kind(), Kind::Null)))
    }

    /// Does it fit for certain?
    pub(super) fn surely_fits(&self, schema: &Schema) -> bool {
        match self.unmade() {
            Some(flat) => schema.surely_takes(flat),
            None => schema.surely_takes(self.whole()),
        }
    }

    /// What stands at the end of a chain. Nothing for what is no member of an object and no item of a list.
    fn walk(&self, steps: &[Step]) -> Option<Result<FlatNode<'_>, Gap>> {
        let mut node = self.unmade()?;
        for step in steps {
            node = match (step, node.kind()) {
                (Step::Member(wanted), Kind::Object(mut members)) => match members.find(|(name, _)| name == wanted) {
                    Some((_, member)) => member,
                    None => return Some(Err(Gap::Absent)),
                },
                (Step::Index(index), Kind::List(mut items)) => items.nth(*index)?,
                _ => return None,
            };
        }
        Some(Ok(node))
    }

    /// While nobody has needed the value.
    fn unmade(&self) -> Option<FlatNode<'_>> {
        if self.whole.get().is_some() { None } else { self.root() }
    }

    fn root(&self) -> Option<FlatNode<'_>> {
        match &self.bytes {
            Bytes::Flat(flat) => Some(flat.root()),
            Bytes::Node(node) => Some(*node),
            Bytes::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::expression::{Bindings, Expression};
    use super::super::values::{Decoded, ReplyValues};
    use super::*;
    use crate::codec::Limits;
    use crate::codec::json::read_flat;
    use crate::model::call::UpstreamReply;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop::sample::select(vec![
            json!(null),
            json!(true),
            json!(5),
            json!(0.5),
            json!("a"),
            json!({}),
            json!([]),
        ]);
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[ab]", inner, 0..3).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn expressions_see_the_same_in_the_bytes_and_in_the_value(value in prop::collection::btree_map("[ab]", values(), 0..3)) {
            let value: Value = value.into_iter().collect();
            let text = value.to_string();
            let reply = UpstreamReply { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() };
            let expressions = [
                "body", "body.a", "body.a.b", "body.a[0]", "body['b'].a", "body.a.b.a", "has(body.a)", "has(body.a.b)", "has(body.a.b.a)",
                "has(body.a) && body.a == 5", "body.a == 'a' || has(body.b.a)", "size(body.a)", "body.a.exists(x, x == 5)", "body.b in body.a",
                "body.a != null", "body.a == null", "body == null", "has(body.a) && body.a != null", "body.a.b == null", "body.a[0] == null",
            ];
            for expression in expressions {
                let expression = Expression::parse(expression).unwrap();
                let (flat, whole) = (Document::from(read_flat(text.as_bytes(), &Limits::REPLY).unwrap()), Document::from(value.clone()));
                let (flat, whole) = (ReplyValues::new(&reply, Decoded::Document(flat)), ReplyValues::new(&reply, Decoded::Document(whole)));
                let (in_bytes, in_value) = (flat.bind(Bindings::new()), whole.bind(Bindings::new()));
                prop_assert_eq!(expression.evaluate(&in_bytes), expression.evaluate(&in_value), "{} in {}", expression, value);
                prop_assert_eq!(expression.holds(&in_bytes), expression.holds(&in_value), "{} in {}", expression, value);
                prop_assert_eq!(expression.holds(&in_value), expression.holds(&Bindings::new().with("body", &value)), "{} in {}", expression, value);
            }
        }
    }
}
