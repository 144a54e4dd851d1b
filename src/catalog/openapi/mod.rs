//! The description of the interface: OpenAPI 3.1, made of the routes, their schemas, the table of reasons and the cases.
//!
//! **Shape**: [`RouteTable`] -> `{"openapi":"3.1.1","paths":{"/tasks/acme/{id}:stop":{…}},…}`. Each provider has paths of its own, with its own
//! rule for ids and its own request schemas.
//!
//! **Invariants**: the same table gives the same bytes; every `$ref` leads somewhere and every component is used.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::shapes;
use crate::route::RouteTable;

mod discovery;
mod responses;
mod tasks;

/// The document of a table, to be read by people.
#[must_use]
pub fn print(table: &RouteTable) -> String {
    super::pretty(&document(table))
}

/// The document of a table.
#[must_use]
pub fn document(table: &RouteTable) -> Value {
    let mut builder = Builder {
        table,
        paths: Map::new(),
        components: Map::new(),
        operation_ids: BTreeSet::new(),
    };
    builder.tasks();
    builder.discovery();
    builder.finish()
}

/// What is put together.
struct Builder<'a> {
    table: &'a RouteTable,
    paths: Map<String, Value>,
    components: Map<String, Value>,
    operation_ids: BTreeSet<String>,
}

impl Builder<'_> {
    /// Puts an operation at a path.
    fn operation(&mut self, path: &str, method: &str, operation: Value) {
        let item = self.paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation;
    }

    /// An id for an operation that no other one has: names that differ in a hyphen only would have the same one.
    fn operation_id(&mut self, wanted: &str) -> String {
        let mut id = wanted.to_owned();
        let mut number = 2;
        while !self.operation_ids.insert(id.clone()) {
            id = format!("{wanted}{number}");
            number += 1;
        }
        id
    }

    /// Puts a component in its place, once, and says how it is referred to.
    fn component(&mut self, kind: &str, name: &str, make: impl FnOnce() -> Value) -> Value {
        let components = self.components.entry(kind).or_insert_with(|| json!({}));
        if components.get(name).is_none() {
            components[name] = make();
        }
        json!({ "$ref": format!("#/components/{kind}/{name}") })
    }

    /// A schema as a component, without what has a place in files only.
    fn schema(&mut self, name: &str, schema: impl FnOnce() -> Value) -> Value {
        let mut hoisted = Vec::new();
        let reference = self.component("schemas", name, || {
            let mut schema = schema();
            if let Some(members) = schema.as_object_mut() {
                members.remove("$schema");
                if let Some(Value::Object(definitions)) = members.remove("$defs") {
                    hoisted.extend(definitions);
                }
            }
            published(&mut schema, name);
            schema
        });
        for (definition, mut schema) in hoisted {
            published(&mut schema, name);
            self.component("schemas", &format!("{name}{}", pascal(&definition)), || schema);
        }
        reference
    }

    /// The schema of every answer about a task.
    fn answer(&mut self) -> Value {
        self.schema("Answer", || parsed(shapes::ANSWER_SCHEMA))
    }

    /// The schema of every problem document.
    fn problem(&mut self) -> Value {
        self.schema("Problem", || parsed(shapes::PROBLEM_SCHEMA))
    }

    /// The schema of what is shown in place of being sent.
    fn preview(&mut self) -> Value {
        self.schema("Preview", || parsed(shapes::PREVIEW_SCHEMA))
    }

    /// The schema of every answer about many tasks.
    fn batch_answer(&mut self) -> Value {
        self.answer();
        self.problem();
        self.schema("Batch", || parsed(shapes::BATCH_SCHEMA))
    }

    /// The schema of what is shown in place of being sent for many tasks.
    fn batch_preview(&mut self) -> Value {
        self.batch_answer();
        self.preview();
        self.schema("BatchPreview", || parsed(shapes::BATCH_PREVIEW_SCHEMA))
    }

    fn finish(self) -> Value {
        let mut tags: Vec<Value> = self
            .table
            .providers
            .values()
            .map(|provider| json!({ "name": provider.name, "description": provider.title }))
            .collect();
        if !self.table.providers.is_empty() {
            tags.push(json!({ "name": BATCH_TAG, "description": "Many tasks in one call" }));
            tags.push(json!({ "name": OPERATIONS_TAG, "description": "What was accepted and is under way" }));
        }
        tags.push(json!({ "name": DISCOVERY_TAG, "description": "What can be called; no vendor is called for it" }));
        json!({
            "openapi": "3.1.1",
            "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
            "info": {
                "title": "taskgate",
                "version": env!("CARGO_PKG_VERSION"),
                "summary": env!("CARGO_PKG_DESCRIPTION"),
                "description": DESCRIPTION,
                "contact": { "name": "Whoever runs this gateway" },
                "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
            },
            // Whom it serves is for whoever runs it to say; by itself it listens on loopback.
            "servers": [{ "url": "/", "description": "The gateway that this document comes from: a local one, staging or production", "x-internal": true }],
            // taskgate does not authenticate callers: something in front of it does, in a way that is not known here.
            "security": [],
            "tags": tags,
            "paths": self.paths,
            "components": self.components,
        })
    }
}

/// Makes a schema fit for the document: integers say their format, and references stay inside it.
fn published(schema: &mut Value, owner: &str) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get_mut("$ref") {
                if let Some(definition) = reference.strip_prefix("#/$defs/") {
                    *reference = format!("#/components/schemas/{owner}{}", pascal(definition));
                } else if let Some((file, definition)) = reference.split_once(".json#/$defs/") {
                    *reference = format!("#/components/schemas/{}{}", pascal(file), pascal(definition));
                } else if let Some(file) = reference.strip_suffix(".json") {
                    *reference = format!("#/components/schemas/{}", pascal(file));
                }
            }
            let is_integer = members.get("type").and_then(Value::as_str) == Some("integer");
            if is_integer && !members.contains_key("format") {
                let fits = |name: &str| {
                    members
                        .get(name)
                        .and_then(Value::as_i64)
                        .is_some_and(|bound| i32::try_from(bound).is_ok())
                };
                let format = if fits("minimum") && fits("maximum") { "int32" } else { "int64" };
                members.insert("format".to_owned(), format.into());
            }
            members.values_mut().for_each(|inner| published(inner, owner));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| published(inner, owner)),
        _ => {}
    }
}

/// `acme-eu` style -> `AcmeEu` style, for names in the document.
fn pascal(name: &str) -> String {
    name.split(['-', '_'])
        .map(|part| {
            let mut letters = part.chars();
            letters
                .next()
                .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
        })
        .collect()
}

/// A schema that the program carries; a test parses all of them.
fn parsed(schema: &str) -> Value {
    serde_json::from_str(schema).unwrap_or_default()
}

const DESCRIPTION: &str = "One endpoint that acts on tasks at any of several vendors, and says truthfully what happened.\n\n\
    Every answer has an `outcome`: `done` (the vendor confirms the effect), `accepted` (the vendor took the request; the effect is under way), \
    `not_done` (nothing happened at the vendor), `unknown` (it may have happened: look before you call again). Trust it rather than the status.\n\n\
    Every error is a problem document (RFC 9457). Its `reason` is stable; `/problems/{slug}` says what to do about it. New states, reasons and \
    members of `metadata` may come; none changes its meaning.";
const BATCH_TAG: &str = "batch";
const DISCOVERY_TAG: &str = "discovery";
const OPERATIONS_TAG: &str = "operations";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_a_hyphen_have_ids_of_their_own() {
        let mut builder = Builder {
            table: &RouteTable::default(),
            paths: Map::new(),
            components: Map::new(),
            operation_ids: BTreeSet::new(),
        };
        assert_eq!(builder.operation_id("StopA1Task"), "StopA1Task");
        assert_eq!(builder.operation_id("StopA1Task"), "StopA1Task2");
        assert_eq!(pascal("a-b_cD"), "ABCD");
    }

    #[test]
    fn the_schemas_that_the_program_carries_can_be_read() {
        for (file, schema) in shapes::CANONICAL {
            assert!(parsed(schema).is_object(), "{file}");
        }
    }
}
