//! The ordered tree that a request template renders to and that the codecs write.
//!
//! **Shape.** `serde_json::Value` sorts the members of an object; a template's order is the order that is sent, so
//! [`Tree::Object`] is a list of pairs. Values of the caller hang in the tree unchanged and, mostly, uncopied.
//!
//! **Invariants.** The names within one object are distinct: the compiler of the templates sees to it. Its depth is that of
//! a template plus that of a decoded value, so walking it may recurse.

use std::borrow::Cow;

use serde_json::Value;

/// A value to be written, with the members of its objects in the order of the template.
///
/// ```
/// # use serde_json::json;
/// # use taskgate::codec::tree::Tree;
/// let ids = json!([15, 25]);
/// let tree = Tree::Object(vec![("runIds".into(), Tree::Object(vec![("runId".into(), (&ids).into())]))]);
/// assert_eq!(tree.to_value(), json!({ "runIds": { "runId": [15, 25] } }));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Tree<'a> {
    /// An object whose members keep their order.
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
    /// A list.
    List(Vec<Tree<'a>>),
    /// Any value, taken as it is.
    Value(Cow<'a, Value>),
}

impl Tree<'_> {
    /// The same data without the order.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|(name, member)| (name.clone().into_owned(), member.to_value()))
                    .collect(),
            ),
            Self::List(items) => Value::Array(items.iter().map(Tree::to_value).collect()),
            Self::Value(value) => value.clone().into_owned(),
        }
    }
}

impl From<Value> for Tree<'_> {
    fn from(value: Value) -> Self {
        Self::Value(Cow::Owned(value))
    }
}

impl<'a> From<&'a Value> for Tree<'a> {
    fn from(value: &'a Value) -> Self {
        Self::Value(Cow::Borrowed(value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tree_without_its_order_is_the_value() {
        let shared = json!({ "b": [1, null], "a": "x" });
        let tree = Tree::Object(vec![
            ("z".into(), (&shared).into()),
            (
                "a".into(),
                Tree::List(vec![Tree::Object(vec![]), Tree::List(vec![]), json!(true).into()]),
            ),
        ]);
        assert_eq!(tree.to_value(), json!({ "a": [{}, [], true], "z": { "a": "x", "b": [1, null] } }));
    }
}
