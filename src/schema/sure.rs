//! Schemas in the few keywords that have one plain meaning, held against a document without the library.
//!
//! **Shape**: `{"type":"object","required":["id"]}` and `{"id":1}` -> `Some(true)`; with a keyword that is not read here -> `None`.
//!
//! **Invariants**: what is said here is what the library says of the same document, or nothing is said and it has to be asked; a property test
//! compares them. What is wrong with a document is the library's to say.
//!
//! **Source**: JSON Schema 2020-12, validation.

use serde_json::{Map, Number, Value};

use super::alphabet::{Alphabet, has_chars};
use crate::codec::node::{Kind, Node};

/// A schema as far as it is read here.
#[derive(Debug)]
pub(super) enum Sure {
    /// `true`, `false`
    Always(bool),
    /// What has to hold, all of it.
    Checks(Box<Checks>),
    /// Not read here.
    Unsure,
}

/// Does it fit? Nothing where the library has to be asked.
type Fits = Option<bool>;

/// The keywords of one schema.
#[derive(Debug, Default)]
pub(super) struct Checks {
    kinds: Option<Kinds>,
    /// `enum` and `const`
    one_of: Option<Vec<Value>>,
    range: Option<(i64, i64)>,
    text: Option<Text>,
    list: Option<List>,
    object: Option<Object>,
    all_of: Vec<Sure>,
    any_of: Vec<Sure>,
    /// `if`, `then` and `else`
    choice: Option<[Sure; 3]>,
}

/// `type`
#[derive(Clone, Copy, Debug, Default)]
struct Kinds {
    null: bool,
    boolean: bool,
    integer: bool,
    number: bool,
    text: bool,
    list: bool,
    object: bool,
}

#[derive(Debug)]
struct Text {
    least: usize,
    most: usize,
    pattern: Option<Alphabet>,
}

#[derive(Debug)]
struct List {
    least: usize,
    most: usize,
    items: Sure,
    unique: bool,
}

#[derive(Debug)]
struct Object {
    least: usize,
    most: usize,
    /// Those that the schema names.
    members: Vec<Member>,
    /// How many of them must be there.
    required: usize,
    others: Sure,
}

#[derive(Debug)]
struct Member {
    name: String,
    required: bool,
    /// Without one it is as the others.
    sure: Option<Sure>,
}

impl Sure {
    /// Reads a schema.
    pub(super) fn of(schema: &Value) -> Self {
        match schema {
            Value::Bool(flag) => Self::Always(*flag),
            Value::Object(keywords) => Checks::of(keywords).map_or(Self::Unsure, |checks| Self::Checks(Box::new(checks))),
            _ => Self::Unsure,
        }
    }

    /// Does the document fit?
    pub(super) fn fits<'a, N: Node<'a>>(&self, node: N) -> Fits {
        match self {
            Self::Always(flag) => Some(*flag),
            Self::Checks(checks) => checks.fits(node),
            Self::Unsure => None,
        }
    }
}

impl Checks {
    /// Nothing where a keyword is not read here.
    fn of(keywords: &Map<String, Value>) -> Option<Self> {
        let mut checks = Self::default();
        for (keyword, value) in keywords {
            match keyword.as_str() {
                "type" => checks.kinds = Some(Kinds::of(value)?),
                "enum" | "const" if checks.one_of.is_some() => return None,
                "enum" => checks.one_of = Some(value.as_array()?.clone()),
                "const" => checks.one_of = Some(vec![value.clone()]),
                "allOf" => checks.all_of = value.as_array()?.iter().map(Sure::of).collect(),
                "anyOf" => checks.any_of = value.as_array()?.iter().map(Sure::of).collect(),
                "minimum"
                | "maximum"
                | "pattern"
                | "minLength"
                | "maxLength"
                | "items"
                | "minItems"
                | "maxItems"
                | "uniqueItems"
                | "properties"
                | "required"
                | "additionalProperties"
                | "minProperties"
                | "maxProperties"
                | "if"
                | "then"
                | "else" => {}
                // They say nothing about a document.
                "title" | "description" | "examples" | "default" | "deprecated" | "readOnly" | "writeOnly" | "$schema" | "$comment" => {}
                _ => return None,
            }
        }
        if checks.one_of.iter().flatten().any(|value| !is_plain(value)) {
            return None;
        }
        let has = |names: &[&str]| names.iter().any(|name| keywords.contains_key(*name));
        if has(&["minimum", "maximum"]) {
            let bound = |name, otherwise| keywords.get(name).map_or(Some(otherwise), Value::as_i64);
            checks.range = Some((bound("minimum", i64::MIN)?, bound("maximum", i64::MAX)?));
        }
        let size = |name: &str, otherwise| match keywords.get(name) {
            Some(size) => usize::try_from(size.as_u64()?).ok(),
            None => Some(otherwise),
        };
        let part = |name| keywords.get(name).map_or(Sure::Always(true), Sure::of);
        if has(&["minLength", "maxLength", "pattern"]) {
            checks.text = Some(Text {
                least: size("minLength", 0)?,
                most: size("maxLength", usize::MAX)?,
                pattern: match keywords.get("pattern") {
                    Some(pattern) => Some(Alphabet::of(pattern.as_str()?)?),
                    None => None,
                },
            });
        }
        if has(&["items", "minItems", "maxItems", "uniqueItems"]) {
            checks.list = Some(List {
                least: size("minItems", 0)?,
                most: size("maxItems", usize::MAX)?,
                items: part("items"),
                unique: keywords.get("uniqueItems").map_or(Some(false), Value::as_bool)?,
            });
        }
        if has(&["properties", "required", "additionalProperties", "minProperties", "maxProperties"]) {
            let (least, most) = (size("minProperties", 0)?, size("maxProperties", usize::MAX)?);
            checks.object = Some(Object::of(keywords, least, most, part("additionalProperties"))?);
        }
        if has(&["if"]) {
            checks.choice = Some([part("if"), part("then"), part("else")]);
        }
        Some(checks)
    }

    fn fits<'a, N: Node<'a>>(&self, node: N) -> Fits {
        let kinds = self.kinds.unwrap_or(Kinds::ALL);
        let sure = match node.kind() {
            Kind::Null => Some(kinds.null),
            Kind::Bool(_) => Some(kinds.boolean),
            Kind::Number(number) => kinds.fit(number, self.range),
            Kind::Text(text) => Some(kinds.text && self.text.as_ref().is_none_or(|rule| rule.fits(text))),
            Kind::List(items) => match &self.list {
                Some(rule) if kinds.list => rule.fit::<N>(items),
                _ => Some(kinds.list),
            },
            Kind::Object(members) => match &self.object {
                Some(rule) if kinds.object => rule.fit::<N>(members),
                _ => Some(kinds.object),
            },
        };
        // What does not fit, or may not, is decided already.
        if sure != Some(true) {
            return sure;
        }
        let listed = self.one_of.as_ref().map_or(Some(true), |values| is_one_of(node, values));
        if listed != Some(true) {
            return listed;
        }
        let all = every(self.all_of.iter().map(|part| part.fits(node)));
        if all != Some(true) {
            return all;
        }
        if !self.any_of.is_empty() {
            let any = some(self.any_of.iter().map(|part| part.fits(node)));
            if any != Some(true) {
                return any;
            }
        }
        match &self.choice {
            None => Some(true),
            Some([condition, then, otherwise]) => if condition.fits(node)? { then } else { otherwise }.fits(node),
        }
    }
}

impl Kinds {
    const ALL: Self = Self {
        null: true,
        boolean: true,
        integer: true,
        number: true,
        text: true,
        list: true,
        object: true,
    };

    fn of(names: &Value) -> Option<Self> {
        let mut kinds = Self::default();
        for name in names.as_array().map_or(std::slice::from_ref(names), Vec::as_slice) {
            match name.as_str()? {
                "null" => kinds.null = true,
                "boolean" => kinds.boolean = true,
                "integer" => kinds.integer = true,
                "number" => kinds.number = true,
                "string" => kinds.text = true,
                "array" => kinds.list = true,
                "object" => kinds.object = true,
                _ => return None,
            }
        }
        Some(kinds)
    }

    /// Decimals may be integers as well, and are compared in ways of their own.
    fn fit(self, number: &Number, range: Option<(i64, i64)>) -> Fits {
        if number.is_f64() {
            return (self.number && range.is_none()).then_some(true);
        }
        if !(self.integer || self.number) {
            return Some(false);
        }
        match range {
            None => Some(true),
            Some((least, most)) => number.as_i64().map(|number| (least..=most).contains(&number)),
        }
    }
}

impl Text {
    fn fits(&self, text: &str) -> bool {
        has_chars(text, self.least, self.most) && self.pattern.as_ref().is_none_or(|pattern| pattern.spells(text))
    }
}

impl List {
    fn fit<'a, N: Node<'a>>(&self, items: N::Items) -> Fits {
        if !(self.least..=self.most).contains(&items.len()) {
            return Some(false);
        }
        // Which values are equal is the library's to say.
        if self.unique && items.len() > 1 {
            return None;
        }
        every(items.map(|item| self.items.fits(item)))
    }
}

impl Object {
    fn of(keywords: &Map<String, Value>, least: usize, most: usize, others: Sure) -> Option<Self> {
        let mut members: Vec<Member> = Vec::new();
        if let Some(properties) = keywords.get("properties") {
            members.extend(properties.as_object()?.iter().map(|(name, schema)| Member {
                name: name.clone(),
                required: false,
                sure: Some(Sure::of(schema)),
            }));
        }
        let required = keywords
            .get("required")
            .map_or(Some(&[][..]), |names| names.as_array().map(Vec::as_slice))?;
        for name in required {
            let name = name.as_str()?;
            match members.iter_mut().find(|member| member.name == name) {
                Some(member) => member.required = true,
                None => members.push(Member {
                    name: name.to_owned(),
                    required: true,
                    sure: None,
                }),
            }
        }
        Some(Self {
            least,
            most,
            required: members.iter().filter(|member| member.required).count(),
            members,
            others,
        })
    }

    fn fit<'a, N: Node<'a>>(&self, members: N::Members) -> Fits {
        if !(self.least..=self.most).contains(&members.len()) {
            return Some(false);
        }
        let mut required = 0;
        let mut sure = Some(true);
        for (name, member) in members {
            let known = self.members.iter().find(|known| known.name == name);
            required += usize::from(known.is_some_and(|known| known.required));
            match known.and_then(|known| known.sure.as_ref()).unwrap_or(&self.others).fits(member) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => sure = None,
            }
        }
        if required < self.required { Some(false) } else { sure }
    }
}

/// One that does not fit decides, whatever is not known of others.
fn every(parts: impl Iterator<Item = Fits>) -> Fits {
    let mut sure = Some(true);
    for part in parts {
        match part {
            Some(true) => {}
            Some(false) => return Some(false),
            None => sure = None,
        }
    }
    sure
}

/// One that fits decides, whatever is not known of others.
fn some(parts: impl Iterator<Item = Fits>) -> Fits {
    every(parts.map(|part| part.map(|fits| !fits))).map(|none| !none)
}

/// A value that is equal to another one in one way only.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => !number.is_f64(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// Is it one of these plain values?
fn is_one_of<'a, N: Node<'a>>(node: N, values: &[Value]) -> Fits {
    let is = |holds: &dyn Fn(&Value) -> bool| Some(values.iter().any(holds));
    match node.kind() {
        Kind::Null => is(&Value::is_null),
        Kind::Bool(flag) => is(&|value| *value == flag),
        Kind::Number(number) if number.is_f64() => None,
        Kind::Number(number) => is(&|value| value.as_number() == Some(number)),
        Kind::Text(text) => is(&|value| *value == *text),
        Kind::List(_) | Kind::Object(_) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::Schema;
    use super::*;

    /// Schemas of all keywords that are read here, and of two that are not.
    fn schemas() -> impl Strategy<Value = Value> {
        let kind = prop::sample::select(vec!["null", "boolean", "integer", "number", "string", "array", "object"]);
        let size = 0_u64..4;
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            kind.clone().prop_map(|kind| json!({ "type": kind })),
            prop::collection::btree_set(kind.clone(), 1..3).prop_map(|kinds| json!({ "type": kinds })),
            prop::collection::btree_set(-2..3_i64, 1..3).prop_map(|values| json!({ "enum": values })),
            prop::sample::select(vec![
                json!("a"),
                json!(null),
                json!(true),
                json!(1),
                json!(1.0),
                json!([1]),
                json!({})
            ])
            .prop_map(|value| json!({ "const": value })),
            (kind, -2..3_i64, -2..3_i64).prop_map(|(kind, least, most)| json!({ "type": kind, "minimum": least, "maximum": most })),
            (size.clone(), size.clone()).prop_map(|(least, most)| json!({ "minLength": least, "maxLength": most })),
            prop::sample::select(vec![
                "^[ab]+$",
                "^[^a]*$",
                "^[a-b]{2}$",
                "^[^\\u0000-\\u001F\\u007F]{1,2}$",
                "^b",
                "^[\\s\\S]*$"
            ])
            .prop_map(|pattern| json!({ "pattern": pattern })),
            (size.clone(), size.clone()).prop_map(|(least, most)| json!({ "minItems": least, "maxItems": most })),
            (size.clone(), size).prop_map(|(least, most)| json!({ "minProperties": least, "maxProperties": most })),
            Just(json!({ "uniqueItems": true })),
            Just(json!({ "multipleOf": 2, "title": "not read here" })),
        ];
        leaf.prop_recursive(3, 24, 3, |inner| {
            let members = prop::collection::btree_map("[ab]", inner.clone(), 0..3);
            let parts = prop::collection::vec(inner.clone(), 1..3);
            prop_oneof![
                (members, prop::collection::btree_set("[abc]", 0..2), prop::option::of(inner.clone())).prop_map(
                    |(members, required, others)| {
                        let mut schema = json!({ "properties": members, "required": required });
                        if let Some(others) = others {
                            schema["additionalProperties"] = others;
                        }
                        schema
                    }
                ),
                inner.clone().prop_map(|items| json!({ "type": "array", "items": items })),
                parts.clone().prop_map(|parts| json!({ "allOf": parts })),
                parts.prop_map(|parts| json!({ "anyOf": parts, "description": "one is enough" })),
                (inner.clone(), inner.clone(), inner)
                    .prop_map(|(condition, then, otherwise)| json!({ "if": condition, "then": then, "else": otherwise })),
            ]
        })
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3..4_i64).prop_map(Value::from),
            prop::sample::select(vec![json!(u64::MAX), json!(1.0), json!(0.5), json!(-0.0), json!(1e300)]),
            prop::string::string_regex("[abé日\n]{0,4}").unwrap().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

        #[test]
        fn what_is_said_is_what_the_library_says(schema in schemas(), documents in prop::collection::vec(documents(), 8)) {
            let (sure, library) = (Sure::of(&schema), Schema::compile(&schema).unwrap());
            for document in documents {
                if let Some(fits) = sure.fits(&document) {
                    prop_assert_eq!(fits, library.validator.is_valid(&document), "{} {}", schema, document);
                }
            }
        }
    }

    #[test]
    fn everyday_schemas_are_read() {
        let schema = json!({
            "title": "A call", "type": "object", "required": ["scope"], "additionalProperties": false,
            "properties": {
                "scope": { "type": "object", "required": ["id"], "properties": {
                    "id": { "type": "string", "minLength": 1, "pattern": "^[0-9a-f-]{3}$" }, "name": { "type": ["string", "null"] } } },
                "ids": { "type": "array", "minItems": 1, "items": { "type": "integer", "minimum": 1 } },
            },
            "anyOf": [{ "required": ["ids"] }, { "required": ["scope"] }]
        });
        let sure = Sure::of(&schema);
        for (document, fits) in [
            (json!({ "scope": { "id": "a-1", "name": null }, "ids": [1, 2] }), Some(true)),
            (json!({ "scope": { "id": "a-1" } }), Some(true)),
            (json!({ "scope": { "id": "a-11" } }), Some(false)),
            (json!({ "scope": { "id": "a-1" }, "ids": [0] }), Some(false)),
            (json!({ "scope": { "id": "a-1" }, "ids": [1.0] }), None),
            (json!({ "scope": { "id": "a-1" }, "other": 1 }), Some(false)),
            (json!({}), Some(false)),
        ] {
            assert_eq!(sure.fits(&document), fits, "{document}");
        }
    }
}
