//! A schema with references -> one without.
//!
//! **Shape**: `{ "items": { "$ref": "#/$defs/id" }, "$defs": … }` -> `{ "items": { "type": "string", … } }`.
//!
//! **Invariants**: a `$ref` beside assertions becomes a member of `allOf`, so that both count; beside annotations alone the
//! target takes its place. The result has at most [`MAX_VALUES`] values and [`MAX_LEVELS`] levels.

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::config::diagnostic::Diagnostics;
use crate::config::json::Document;
use crate::config::place::Path;
use crate::config::schemas::{Holds, place_of, split_reference};
use crate::config::yaml::Node;

/// Puts schemas together.
pub(crate) struct Flattener<'a> {
    documents: BTreeMap<String, Arc<Document>>,
    faults: &'a mut Diagnostics,
    /// The references that are being followed: file and fragment.
    following: Vec<(String, String)>,
    values: usize,
    levels: usize,
}

/// It cannot be put together; the fault is said.
struct Stop;

/// A schema and where it stands.
#[derive(Clone, Copy)]
struct Located<'d> {
    file: &'d str,
    value: &'d Value,
    node: &'d Node,
}

impl<'a> Flattener<'a> {
    /// Over files whose references all lead somewhere.
    pub(crate) fn new(documents: BTreeMap<String, Arc<Document>>, faults: &'a mut Diagnostics) -> Self {
        Self {
            documents,
            faults,
            following: Vec::new(),
            values: 0,
            levels: 0,
        }
    }

    /// The schema of a file without references; nothing after a fault.
    pub(crate) fn flatten(&mut self, file: &str) -> Option<Value> {
        let document = Arc::clone(self.documents.get(file)?);
        self.following.push((file.to_owned(), String::new()));
        self.schema(Located {
            file,
            value: &document.value,
            node: &document.tree,
        })
        .ok()
    }

    /// One schema.
    fn schema(&mut self, at: Located<'_>) -> Result<Value, Stop> {
        self.levels += 1;
        if self.levels > MAX_LEVELS {
            return Err(self.fault(
                at.node,
                format!("with its references the schema is more than {MAX_LEVELS} levels deep"),
            ));
        }
        let flat = match at.value {
            Value::Object(members) => self.object(at, members),
            other => self.data(at.node, other),
        };
        self.levels -= 1;
        flat
    }

    /// A schema that is an object.
    fn object(&mut self, at: Located<'_>, members: &Map<String, Value>) -> Result<Value, Stop> {
        let mut flat = Map::new();
        for (keyword, value) in members.iter().filter(|(keyword, _)| !DROPPED.contains(&keyword.as_str())) {
            let node = at.node.member(keyword).unwrap_or(at.node);
            let inner = Located { value, node, ..at };
            let value = match (place_of(keyword), value) {
                (Holds::NamedSchemas, Value::Object(named)) => self.named(inner, named)?,
                (Holds::SchemaList, Value::Array(list)) => self.list(inner, list)?,
                (Holds::Schema, _) => self.schema(inner)?,
                (Holds::Data | Holds::NamedSchemas | Holds::SchemaList, _) => self.data(node, value)?,
            };
            flat.insert(keyword.clone(), value);
        }
        match members.get("$ref").and_then(Value::as_str) {
            Some(reference) => Ok(join(self.follow(at, reference)?, flat)),
            None => Ok(Value::Object(flat)),
        }
    }

    /// Schemas by name.
    fn named(&mut self, at: Located<'_>, named: &Map<String, Value>) -> Result<Value, Stop> {
        let mut flat = Map::new();
        for (name, value) in named {
            let node = at.node.member(name).unwrap_or(at.node);
            flat.insert(name.clone(), self.schema(Located { value, node, ..at })?);
        }
        Ok(Value::Object(flat))
    }

    /// Schemas in a list.
    fn list(&mut self, at: Located<'_>, list: &[Value]) -> Result<Value, Stop> {
        let nodes = at.node.as_list().unwrap_or_default();
        let mut flat = Vec::new();
        for (index, value) in list.iter().enumerate() {
            flat.push(self.schema(Located {
                value,
                node: nodes.get(index).unwrap_or(at.node),
                ..at
            })?);
        }
        Ok(Value::Array(flat))
    }

    /// What is not searched for references.
    fn data(&mut self, node: &Node, value: &Value) -> Result<Value, Stop> {
        self.values += count(value);
        if self.values > MAX_VALUES {
            return Err(self.fault(node, format!("with its references the schema has more than {MAX_VALUES} values")));
        }
        Ok(value.clone())
    }

    /// The schema that a reference leads to.
    fn follow(&mut self, at: Located<'_>, reference: &str) -> Result<Value, Stop> {
        let node = at.node.member("$ref").unwrap_or(at.node);
        let target = split_reference(at.file, reference).and_then(|(file, fragment)| {
            let document = Arc::clone(self.documents.get(&file)?);
            Some((file, fragment, document))
        });
        let Some((file, fragment, document)) = target else {
            return Err(self.fault(node, format!("`$ref` leads nowhere: `{}`", reference.escape_debug())));
        };
        let Some((value, inner)) = fragment_target(&document, &fragment) else {
            return Err(self.fault(node, format!("`$ref` leads nowhere: `{}`", reference.escape_debug())));
        };
        let step = (file.clone(), fragment);
        if self.following.contains(&step) {
            return Err(self.fault(node, format!("`$ref` leads round in a circle: `{}`", reference.escape_debug())));
        }
        // References alone make no values, but following them takes time.
        self.data(node, &Value::Null)?;
        self.following.push(step);
        let flat = self.schema(Located {
            file: &file,
            value,
            node: inner,
        })?;
        self.following.pop();
        Ok(flat)
    }

    /// Collects a fault.
    fn fault(&mut self, node: &Node, message: String) -> Stop {
        self.faults.fault(node.span, &Path::default(), message);
        Stop
    }
}

/// What a fragment leads to: the whole, a JSON Pointer or an `$anchor`.
pub(crate) fn fragment_target<'d>(document: &'d Document, fragment: &str) -> Option<(&'d Value, &'d Node)> {
    let fragment = percent_decode_str(fragment).decode_utf8().ok()?;
    if fragment.is_empty() || fragment.starts_with('/') {
        let (value, node) = (document.value.pointer(&fragment)?, document.tree.at(&fragment)?);
        return (value.is_object() || value.is_boolean()).then_some((value, node));
    }
    anchored(&document.value, &document.tree, &fragment)
}

/// The schema with this `$anchor`.
fn anchored<'d>(value: &'d Value, node: &'d Node, anchor: &str) -> Option<(&'d Value, &'d Node)> {
    match value {
        Value::Object(members) if members.get("$anchor").and_then(Value::as_str) == Some(anchor) => Some((value, node)),
        Value::Object(members) => members.iter().find_map(|(key, value)| anchored(value, node.member(key)?, anchor)),
        Value::Array(items) => items
            .iter()
            .zip(node.as_list()?)
            .find_map(|(value, node)| anchored(value, node, anchor)),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => None,
    }
}

/// The target of a reference together with what stands beside the reference.
fn join(target: Value, mut beside: Map<String, Value>) -> Value {
    if beside.is_empty() {
        return target;
    }
    match target {
        Value::Object(mut members) if beside.keys().all(|keyword| ANNOTATIONS.contains(&keyword.as_str())) => {
            members.extend(beside);
            Value::Object(members)
        }
        target => {
            let mut all = vec![target];
            if let Some(Value::Array(others)) = beside.remove("allOf") {
                all.extend(others);
            }
            beside.insert("allOf".to_owned(), Value::Array(all));
            Value::Object(beside)
        }
    }
}

/// The number of values in a value.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Keywords that have no meaning in a schema without references.
const DROPPED: [&str; 5] = ["$anchor", "$defs", "$id", "$ref", "$schema"];
/// Keywords that check nothing.
const ANNOTATIONS: [&str; 7] = ["$comment", "default", "deprecated", "description", "examples", "readOnly", "title"];
/// References to references to references can grow without bound; the largest shipped schema has some hundred values.
const MAX_VALUES: usize = 50_000;
/// Validation walks a schema by recursion.
const MAX_LEVELS: usize = 128;
