//! The values that a schema gives to members that are left out.
//!
//! **Shape**: `{"properties":{"force":{"default":false}}}` and `{}` -> `{"force":false}`.
//!
//! **Invariants**: what a caller says is never replaced; a default is not filled in itself.

use serde_json::{Map, Value};

/// The defaults of one schema, without the members that have none.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    members: Vec<Member>,
    /// Of the items of a list.
    items: Option<Box<Self>>,
}

#[derive(Debug)]
struct Member {
    name: String,
    default: Option<Value>,
    /// Of what is in the member, where the caller gives it.
    inner: Defaults,
}

impl Defaults {
    /// Those that a schema mentions.
    pub(super) fn of(schema: &Value) -> Self {
        let parts = schema.get("allOf").and_then(Value::as_array).into_iter().flatten();
        let members = std::iter::once(schema)
            .chain(parts)
            .filter_map(|part| part.get("properties").and_then(Value::as_object))
            .flatten()
            .map(|(name, property)| Member {
                name: name.clone(),
                default: property.get("default").cloned(),
                inner: Self::of(property),
            })
            .filter(|member| member.default.is_some() || !member.inner.is_empty())
            .collect();
        let items = schema.get("items").map(|items| Box::new(Self::of(items)));
        Self {
            members,
            items: items.filter(|items| !items.is_empty()),
        }
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.items.is_none()
    }

    /// Fills in what is left out, in every object that is there.
    pub(super) fn fill_in(&self, object: &mut Map<String, Value>) {
        for member in &self.members {
            match (object.get_mut(&member.name), &member.default) {
                (Some(value), _) => member.inner.fill_in_value(value),
                (None, Some(default)) => {
                    object.insert(member.name.clone(), default.clone());
                }
                (None, None) => {}
            }
        }
    }

    fn fill_in_value(&self, value: &mut Value) {
        match (value, &self.items) {
            (Value::Object(object), _) => self.fill_in(object),
            (Value::Array(list), Some(items)) => list.iter_mut().for_each(|item| items.fill_in_value(item)),
            _ => {}
        }
    }
}
