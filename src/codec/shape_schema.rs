//! From a JSON Schema to a [`Shape`]: what all its parts say together, and the form that follows.
//!
//! **Invariants.** Types meet and join as sets, members as maps, so the order of `allOf` and `anyOf` does not matter.
//! Recursion is as deep as the schema, which is a decoded document.

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde_json::{Map, Value};

use crate::codec::pointer_segment;
use crate::codec::shape::{Kind, Members, Property, Scalar, Shape, ShapeError};

/// Compiles a schema in which every reference is resolved.
pub(crate) fn compile(schema: &Value) -> Result<Shape, ShapeError> {
    Draft::read(schema, "")?.finish("")
}

/// A set of JSON Schema types. `NUMBER` holds the numbers that are no integers, so that sets of types meet and join as sets.
type Types = u8;
const BOOLEAN: Types = 1;
const INTEGER: Types = 1 << 1;
const FRACTION: Types = 1 << 2;
const STRING: Types = 1 << 3;
const NULL: Types = 1 << 4;
const OBJECT: Types = 1 << 5;
const LIST: Types = 1 << 6;
const ALL: Types = (1 << 7) - 1;
const SCALARS: Types = BOOLEAN | INTEGER | FRACTION | STRING;

/// Keywords that give members a form which cannot be known when an element is opened, or that should be gone by now.
const UNSUPPORTED: [(&str, &str); 4] = [
    ("$dynamicRef", "a reference that is not resolved"),
    ("$ref", "a reference that is not resolved"),
    ("patternProperties", "`patternProperties` cannot drive the reading of xml"),
    ("prefixItems", "`prefixItems` cannot drive the reading of xml"),
];

/// What has been gathered about one schema, before a form is chosen.
#[derive(Debug, Clone)]
struct Draft {
    types: Types,
    properties: BTreeMap<String, DraftProperty>,
    rest: Option<Box<Draft>>,
    items: Option<Box<Draft>>,
    xml: XmlName,
}

#[derive(Debug, Clone)]
struct DraftProperty {
    draft: Draft,
    fill: bool,
}

#[derive(Debug, Clone, Default)]
struct XmlName {
    name: Option<String>,
    namespace: Option<String>,
}

impl Draft {
    fn unknown() -> Self {
        Self {
            types: ALL,
            properties: BTreeMap::new(),
            rest: None,
            items: None,
            xml: XmlName::default(),
        }
    }

    fn read(schema: &Value, at: &str) -> Result<Self, ShapeError> {
        let Some(schema) = schema.as_object() else {
            return match schema {
                Value::Bool(_) => Ok(Self::unknown()),
                _ => Err(ShapeError::new("expected a schema", at)),
            };
        };
        for (keyword, detail) in UNSUPPORTED {
            if schema.contains_key(keyword) {
                return Err(ShapeError::new(detail, &below(at, keyword)));
            }
        }
        let mut draft = Self::read_own(schema, at)?;
        for (place, part) in parts(schema, "allOf", at)? {
            draft = draft.meet(Self::read(part, &place)?, &place)?;
        }
        for keyword in ["anyOf", "oneOf"] {
            let mut choice: Option<Self> = None;
            for (place, part) in parts(schema, keyword, at)? {
                let part = Self::read(part, &place)?;
                choice = Some(match choice {
                    Some(choice) => choice.join(part),
                    None => part,
                });
            }
            if let Some(choice) = choice {
                draft = draft.meet(choice, &below(at, keyword))?;
            }
        }
        Ok(draft)
    }

    /// The keywords of the schema itself.
    fn read_own(schema: &Map<String, Value>, at: &str) -> Result<Self, ShapeError> {
        let mut draft = Self::unknown();
        if let Some(types) = schema.get("type") {
            draft.types &= read_types(types).ok_or_else(|| ShapeError::new("expected types", &below(at, "type")))?;
        }
        if let Some(value) = schema.get("const") {
            draft.types &= type_of(value);
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            draft.types &= values.iter().map(type_of).fold(0, |types, one| types | one);
        }
        if draft.types == 0 {
            return Err(ShapeError::new(EXCLUSIVE, at));
        }
        if let Some(properties) = schema.get("properties") {
            let place = below(at, "properties");
            let properties = properties
                .as_object()
                .ok_or_else(|| ShapeError::new("expected properties", &place))?;
            for (key, property) in properties {
                let property = Self::read(property, &below(&place, key))?;
                draft.properties.insert(
                    key.clone(),
                    DraftProperty {
                        draft: property,
                        fill: true,
                    },
                );
            }
        }
        if let Some(rest @ Value::Object(_)) = schema.get("additionalProperties") {
            draft.rest = Some(Box::new(Self::read(rest, &below(at, "additionalProperties"))?));
        }
        if let Some(items) = schema.get("items") {
            draft.items = Some(Box::new(Self::read(items, &below(at, "items"))?));
        }
        if let Some(xml) = schema.get("xml") {
            draft.xml = XmlName::read(xml).ok_or_else(|| {
                ShapeError::new(
                    "expected `name` and `namespace` alone; a member `@name` is an attribute",
                    &below(at, "xml"),
                )
            })?;
        }
        Ok(draft)
    }

    /// Both hold.
    fn meet(self, other: Self, at: &str) -> Result<Self, ShapeError> {
        let types = self.types & other.types;
        if types == 0 {
            return Err(ShapeError::new(EXCLUSIVE, at));
        }
        let mut properties = self.properties;
        for (key, found) in other.properties {
            let merged = match properties.remove(&key) {
                Some(known) => DraftProperty {
                    draft: known.draft.meet(found.draft, at)?,
                    fill: known.fill || found.fill,
                },
                None => found,
            };
            properties.insert(key, merged);
        }
        Ok(Self {
            types,
            properties,
            rest: merge(self.rest, other.rest, |a, b| a.meet(b, at))?,
            items: merge(self.items, other.items, |a, b| a.meet(b, at))?,
            xml: self.xml.or(other.xml),
        })
    }

    /// Either holds.
    fn join(self, other: Self) -> Self {
        // An alternative that is no object says nothing about the members of one.
        let (left_object, right_object) = (self.types & OBJECT != 0, other.types & OBJECT != 0);
        let mut properties = BTreeMap::new();
        let mut others = other.properties;
        for (key, known) in self.properties {
            let merged = match others.remove(&key) {
                Some(found) => DraftProperty {
                    draft: known.draft.join(found.draft),
                    fill: known.fill && found.fill,
                },
                None => DraftProperty {
                    fill: known.fill && !right_object,
                    ..known
                },
            };
            properties.insert(key, merged);
        }
        for (key, found) in others {
            properties.insert(
                key,
                DraftProperty {
                    fill: found.fill && !left_object,
                    ..found
                },
            );
        }
        let join = |a: Self, b: Self| Ok::<_, Infallible>(a.join(b));
        let Ok(rest) = merge(self.rest, other.rest, join);
        let Ok(items) = merge(self.items, other.items, join);
        Self {
            types: self.types | other.types,
            properties,
            rest,
            items,
            xml: self.xml.or(other.xml),
        }
    }

    /// Chooses the form.
    fn finish(self, at: &str) -> Result<Shape, ShapeError> {
        let open = self.types == ALL;
        let nullable = !open && self.types & NULL != 0;
        let describes_object = !self.properties.is_empty() || self.rest.is_some();
        let list = if open { self.items.is_some() } else { self.types & LIST != 0 };
        let object = if open { describes_object } else { self.types & OBJECT != 0 };
        let kind = if list {
            Kind::List(Box::new(self.finish_item(open, at)?))
        } else if object {
            let text_only = if open { None } else { scalar(self.types) };
            Kind::Object(Box::new(finish_members(self.properties, self.rest, text_only, at)?))
        } else if open {
            Kind::Any
        } else {
            scalar(self.types).map_or(Kind::Any, Kind::Scalar)
        };
        Ok(Shape { kind, nullable })
    }

    /// The item of a list; a schema that also allows the item on its own joins in.
    fn finish_item(self, open: bool, at: &str) -> Result<Shape, ShapeError> {
        let single = self.types & !(LIST | NULL);
        let single = (!open && single != 0).then(|| Self {
            types: single,
            items: None,
            ..self.clone()
        });
        let item = match (self.items, single) {
            (Some(items), Some(single)) => items.join(single),
            (Some(items), None) => *items,
            (None, Some(single)) => single,
            (None, None) => Self::unknown(),
        };
        let item = item.finish(&below(at, "items"))?;
        if item.is_list() {
            return Err(ShapeError::new("a list of lists has no xml form", &below(at, "items")));
        }
        Ok(item)
    }
}

/// Chooses the forms of the members of an object.
fn finish_members(
    drafts: BTreeMap<String, DraftProperty>,
    rest: Option<Box<Draft>>,
    text_only: Option<Scalar>,
    at: &str,
) -> Result<Members, ShapeError> {
    let rest = rest.map(|rest| rest.finish(&below(at, "additionalProperties"))).transpose()?;
    let mut members = Members::new(rest, text_only);
    for (key, DraftProperty { draft, fill }) in drafts {
        // A list may name its elements at the list or at the item.
        let items = draft.items.as_ref().map(|items| items.xml.clone()).unwrap_or_default();
        let XmlName { name, namespace } = draft.xml.clone().or(items);
        let shape = draft.finish(&below(&below(at, "properties"), &key))?;
        members.push(
            Property {
                key,
                shape,
                namespace,
                fill,
            },
            name,
        );
    }
    Ok(members)
}

impl XmlName {
    fn read(annotation: &Value) -> Option<Self> {
        let mut xml = Self::default();
        for (keyword, value) in annotation.as_object()? {
            let value = Some(value.as_str()?.to_owned());
            match keyword.as_str() {
                "name" => xml.name = value,
                "namespace" => xml.namespace = value,
                _ => return None,
            }
        }
        Some(xml)
    }

    fn or(self, other: Self) -> Self {
        Self {
            name: self.name.or(other.name),
            namespace: self.namespace.or(other.namespace),
        }
    }
}

const EXCLUSIVE: &str = "types that exclude each other";

fn merge<E>(
    a: Option<Box<Draft>>,
    b: Option<Box<Draft>>,
    both: impl FnOnce(Draft, Draft) -> Result<Draft, E>,
) -> Result<Option<Box<Draft>>, E> {
    match (a, b) {
        (Some(a), Some(b)) => both(*a, *b).map(|draft| Some(Box::new(draft))),
        (one, other) => Ok(one.or(other)),
    }
}

/// The subschemas of a combining keyword with their places.
fn parts<'s>(schema: &'s Map<String, Value>, keyword: &str, at: &str) -> Result<Vec<(String, &'s Value)>, ShapeError> {
    let place = below(at, keyword);
    match schema.get(keyword) {
        None => Ok(Vec::new()),
        Some(Value::Array(parts)) => Ok(parts
            .iter()
            .enumerate()
            .map(|(index, part)| (below(&place, &index.to_string()), part))
            .collect()),
        Some(_) => Err(ShapeError::new("expected a list of schemas", &place)),
    }
}

fn read_types(types: &Value) -> Option<Types> {
    match types {
        Value::String(name) => read_type(name),
        Value::Array(names) => names.iter().try_fold(0, |types, name| Some(types | read_type(name.as_str()?)?)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn read_type(name: &str) -> Option<Types> {
    Some(match name {
        "array" => LIST,
        "boolean" => BOOLEAN,
        "integer" => INTEGER,
        "null" => NULL,
        "number" => INTEGER | FRACTION,
        "object" => OBJECT,
        "string" => STRING,
        _ => return None,
    })
}

fn type_of(value: &Value) -> Types {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOLEAN,
        Value::Number(number) if number.is_f64() => INTEGER | FRACTION,
        Value::Number(_) => INTEGER,
        Value::String(_) => STRING,
        Value::Array(_) => LIST,
        Value::Object(_) => OBJECT,
    }
}

/// The form of a text that may have any of the given types; text holds what no narrower form does.
fn scalar(types: Types) -> Option<Scalar> {
    match types & SCALARS {
        0 => None,
        BOOLEAN => Some(Scalar::Boolean),
        INTEGER => Some(Scalar::Integer),
        types if types & !(INTEGER | FRACTION) == 0 => Some(Scalar::Number),
        _ => Some(Scalar::String),
    }
}

fn below(at: &str, name: &str) -> String {
    format!("{at}{}", pointer_segment(name))
}
