//! What an expression may refer to, and what of it is sure to be there: read from the JSON Schemas.
//!
//! **Shape**: `scope.instance` under a schema that requires it -> `Found { guaranteed: true, schema: {"type":"string"} }`.
//!
//! **Invariants**: what a schema does not list is unknown, unless the schema says nothing at all about the place.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::Value;

use crate::mapping::expression::{Reference, Step};

/// The names of one place, outermost first.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    roots: Vec<Root>,
}

#[derive(Clone, Debug)]
struct Root {
    name: String,
    /// What is known of the value; `None`: anything may be below it.
    schema: Option<Value>,
    /// Is it always there?
    guaranteed: bool,
    /// The canonical path that it stands for: `c` of an `each` stands for `parameters.clusters[]`.
    origin: Vec<String>,
    /// Has a reference to it been looked up, here or in a clone?
    is_read: Rc<Cell<bool>>,
}

/// What a reference leads to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lookup {
    /// Something that the schema knows.
    Found {
        /// Is it always there?
        guaranteed: bool,
        /// Its schema; `None` where the schema says nothing.
        schema: Option<Value>,
    },
    /// No such name; the names that there are.
    Unknown {
        /// The word that is not known.
        word: String,
        /// What stands in its place.
        candidates: Vec<String>,
    },
}

impl Names {
    /// Adds a name with its schema.
    pub(super) fn with(mut self, name: &str, schema: Option<Value>, guaranteed: bool) -> Self {
        self.roots.push(Root {
            name: name.to_owned(),
            schema,
            guaranteed,
            origin: vec![name.to_owned()],
            is_read: Rc::default(),
        });
        self
    }

    /// Adds the name of a list's item.
    pub(super) fn with_item(&self, name: &str, list: Option<&Reference>) -> Self {
        let mut names = self.clone();
        let (schema, origin) = match list {
            None => (None, vec![name.to_owned()]),
            Some(reference) => {
                let schema = match self.look_up(reference) {
                    Lookup::Found { schema: Some(schema), .. } => schema.get("items").cloned(),
                    _ => None,
                };
                let mut origin = self.origin(reference);
                origin.push("[]".to_owned());
                (schema, origin)
            }
        };
        names.roots.push(Root {
            name: name.to_owned(),
            schema,
            guaranteed: true,
            origin,
            is_read: Rc::default(),
        });
        names
    }

    /// Takes a name away.
    pub(super) fn remove(&mut self, name: &str) {
        self.roots.retain(|root| root.name != name);
    }

    /// What is known of the value that a reference leads to.
    pub(super) fn schema_of(&self, reference: &Reference) -> Option<Value> {
        match self.look_up(reference) {
            Lookup::Found { schema, .. } => schema,
            Lookup::Unknown { .. } => None,
        }
    }

    /// Has anything that was compiled with these names, or with some that were made of them, a reference to this one?
    pub(super) fn is_read(&self, name: &str) -> bool {
        self.root(name).is_some_and(|root| root.is_read.get())
    }

    fn root(&self, name: &str) -> Option<&Root> {
        self.roots.iter().rev().find(|root| root.name == name)
    }

    /// Follows a reference through the schemas.
    pub(super) fn look_up(&self, reference: &Reference) -> Lookup {
        let Some(root) = self.root(&reference.root) else {
            let candidates = self.roots.iter().map(|root| root.name.clone()).collect();
            return Lookup::Unknown {
                word: reference.root.clone(),
                candidates,
            };
        };
        root.is_read.set(true);
        let mut guaranteed = root.guaranteed;
        let Some(schema) = &root.schema else {
            return Lookup::Found {
                guaranteed: guaranteed && reference.steps.is_empty(),
                schema: None,
            };
        };
        let mut schema = schema.clone();
        for step in &reference.steps {
            let (next, always) = match step {
                Step::Member(name) => match member(&schema, name) {
                    Some(found) => found,
                    None if is_open(&schema) => {
                        return Lookup::Found {
                            guaranteed: false,
                            schema: None,
                        };
                    }
                    None => {
                        return Lookup::Unknown {
                            word: name.clone(),
                            candidates: member_names(&schema).into_iter().collect(),
                        };
                    }
                },
                Step::Index(index) => match schema.get("items") {
                    Some(items) => {
                        let at_least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
                        (items.clone(), (*index as u64) < at_least)
                    }
                    None if is_open(&schema) || kind(&schema).is_some_and(|kind| kind == "array") => {
                        return Lookup::Found {
                            guaranteed: false,
                            schema: None,
                        };
                    }
                    None => {
                        return Lookup::Unknown {
                            word: format!("[{index}]"),
                            candidates: Vec::new(),
                        };
                    }
                },
            };
            guaranteed &= always;
            schema = next;
        }
        Lookup::Found {
            guaranteed,
            schema: Some(schema),
        }
    }

    /// The canonical path that a reference reads.
    pub(super) fn origin(&self, reference: &Reference) -> Vec<String> {
        let mut path = self
            .root(&reference.root)
            .map_or_else(|| vec![reference.root.clone()], |root| root.origin.clone());
        path.extend(reference.steps.iter().map(|step| match step {
            Step::Index(_) => "[]".to_owned(),
            Step::Member(name) => name.clone(),
        }));
        path
    }
}

/// The one type of a schema, where it has one.
pub(super) fn kind(schema: &Value) -> Option<&str> {
    own_kind(schema).or_else(|| all_of(schema).find_map(kind))
}

fn own_kind(schema: &Value) -> Option<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => Some(kind),
        Some(Value::Array(kinds)) => match kinds
            .iter()
            .filter_map(Value::as_str)
            .filter(|kind| *kind != "null")
            .collect::<Vec<_>>()
            .as_slice()
        {
            [kind] => Some(kind),
            _ => None,
        },
        _ => None,
    }
}

/// The values that a schema allows, where it lists them.
pub(super) fn enumeration(schema: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| crate::mapping::template::to_text(value).map(std::borrow::Cow::into_owned);
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return Some(values.iter().filter_map(text).collect());
    }
    if let Some(value) = schema.get("const") {
        return text(value).map(|value| vec![value]);
    }
    if let Some(values) = all_of(schema).find_map(enumeration) {
        return Some(values);
    }
    (kind(schema) == Some("boolean")).then(|| vec!["false".to_owned(), "true".to_owned()])
}

/// The schemas that hold beside this one.
fn all_of(schema: &Value) -> impl Iterator<Item = &Value> {
    schema.get("allOf").and_then(Value::as_array).into_iter().flatten()
}

/// Every place of an object schema that a caller may fill, as paths: `["parameters", "clusters", "[]", "id"]`.
pub(super) fn leaves(schema: &Value) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    collect_leaves(schema, &mut Vec::new(), &mut found);
    found
}

fn collect_leaves(schema: &Value, path: &mut Vec<String>, found: &mut BTreeSet<Vec<String>>) {
    let names = member_names(schema);
    if !names.is_empty() {
        for name in names {
            if let Some((below, _)) = member(schema, &name) {
                path.push(name);
                collect_leaves(&below, path, found);
                path.pop();
            }
        }
    } else if let Some(items) = schema.get("items").filter(|items| !member_names(items).is_empty()) {
        path.push("[]".to_owned());
        collect_leaves(items, path, found);
        path.pop();
    } else if !path.is_empty() {
        found.insert(path.clone());
    }
}

/// A member's schema and whether it is always there.
fn member(schema: &Value, name: &str) -> Option<(Value, bool)> {
    let found = parts(schema).find_map(|part| part.get("properties")?.get(name).cloned());
    // What is filled in is what stands here or under `allOf`: a branch may not be the one that holds.
    let defaulted = std::iter::once(schema)
        .chain(all_of(schema))
        .any(|part| part.pointer("/properties").and_then(|all| all.get(name)?.get("default")).is_some());
    let always = schema_requires(schema, name) || defaulted;
    match found {
        Some(property) => Some((property, always)),
        None => match schema.get("additionalProperties") {
            Some(Value::Object(rest)) => Some((Value::Object(rest.clone()), false)),
            _ => None,
        },
    }
}

fn schema_requires(schema: &Value, name: &str) -> bool {
    let lists = |part: &Value| {
        part.get("required")
            .and_then(Value::as_array)
            .is_some_and(|list| list.iter().any(|item| item == name))
    };
    lists(schema)
        || schema
            .get("allOf")
            .and_then(Value::as_array)
            .is_some_and(|parts| parts.iter().any(|part| schema_requires(part, name)))
        || ["anyOf", "oneOf"].iter().any(|keyword| {
            let branches = schema.get(*keyword).and_then(Value::as_array);
            branches.is_some_and(|branches| !branches.is_empty() && branches.iter().all(|branch| schema_requires(branch, name)))
        })
}

fn member_names(schema: &Value) -> BTreeSet<String> {
    parts(schema)
        .filter_map(|part| part.get("properties")?.as_object())
        .flat_map(|properties| properties.keys().cloned())
        .collect()
}

/// The schema and the schemas that it is made of.
fn parts(schema: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    let inner = ["allOf", "anyOf", "oneOf"]
        .into_iter()
        .filter_map(|keyword| schema.get(keyword)?.as_array())
        .flatten();
    Box::new(std::iter::once(schema).chain(inner.flat_map(parts)))
}

/// Does the schema say nothing about what is below?
fn is_open(schema: &Value) -> bool {
    member_names(schema).is_empty() && !matches!(kind(schema), Some("string" | "integer" | "number" | "boolean" | "array"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::expression::Expression;
    use serde_json::json;

    fn names() -> Names {
        let scope = json!({ "type": "object", "required": ["instance"], "properties": {
            "instance": { "type": "string" }, "project": { "type": "string" } } });
        let parameters = json!({ "type": "object", "properties": {
            "clusters": { "type": "array", "minItems": 1, "items": { "type": "object", "required": ["id"], "properties": { "id": { "type": "string" } } } },
            "force": { "type": "boolean", "default": false } } });
        Names::default()
            .with("scope", Some(scope), true)
            .with("parameters", Some(parameters), true)
            .with("body", None, true)
    }

    fn reference(source: &str) -> Reference {
        match Expression::parse(source).unwrap() {
            Expression::Reference(reference) => reference,
            Expression::Cel(_) => panic!("{source} is a reference"),
        }
    }

    #[track_caller]
    fn check(source: &str, expected: Option<bool>) {
        let found = match names().look_up(&reference(source)) {
            Lookup::Found { guaranteed, .. } => Some(guaranteed),
            Lookup::Unknown { .. } => None,
        };
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn guarantees_come_from_the_schema() {
        check("scope.instance", Some(true));
        check("scope.project", Some(false));
        check("scope.instanc", None);
        check("scop.instance", None);
        check("scope.instance.x", None);
        check("parameters.force", Some(true));
        check("parameters.clusters[0].id", Some(false));
        check("body.anything.at[0].all", Some(false));
    }

    #[test]
    fn items_stand_for_their_list() {
        let names = names().with_item("c", Some(&reference("parameters.clusters")));
        assert_eq!(
            names.look_up(&reference("c.id")),
            Lookup::Found {
                guaranteed: true,
                schema: Some(json!({ "type": "string" }))
            }
        );
        assert_eq!(names.origin(&reference("c.id")), ["parameters", "clusters", "[]", "id"]);
    }

    #[test]
    fn leaves_are_what_a_caller_may_fill() {
        let schema = json!({ "properties": {
            "force": { "type": "boolean" },
            "scope": { "properties": { "project": {} } },
            "parameters": { "properties": { "clusters": { "items": { "properties": { "id": {} } } }, "tags": { "items": { "type": "string" } } } } } });
        let leaves: Vec<String> = leaves(&schema).iter().map(|path| path.join(".")).collect();
        assert_eq!(leaves, ["force", "parameters.clusters.[].id", "parameters.tags", "scope.project"]);
    }
}
