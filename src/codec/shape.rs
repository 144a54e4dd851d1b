//! What a JSON Schema says about the form of an XML document: which elements are lists, numbers, objects.
//!
//! **Shape.** `{"properties": {"run": {"type": "array", "items": {"type": "integer"}}}}` makes `<run>15</run>` the member
//! `"run": [15]`. A member `@name` is an attribute, `$` the text beside attributes and children.
//!
//! **Invariants.** Only the form is taken from the schema; whether the value is allowed is the validator's to say.
//! Where a schema leaves a choice, the form that holds every case wins: a list over a single item, an object over its
//! text, text over a number.
//!
//! **Source.** JSON Schema 2020-12; the `xml` annotation of OpenAPI 3.1 (`name` and `namespace`).

use serde_json::Value;

use crate::codec::shape_schema;

/// The form of a document, compiled from a schema in which every reference is resolved.
#[derive(Debug, Clone)]
pub struct Shape {
    pub(crate) kind: Kind,
    /// Whether an element without content is `null`.
    pub(crate) nullable: bool,
}

/// The forms that an element or attribute can have.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Any,
    List(Box<Shape>),
    Object(Box<Members>),
    Scalar(Scalar),
}

/// The forms that a text can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Boolean,
    Integer,
    Number,
    String,
}

/// Why a schema gives no form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail} at `{pointer}`")]
pub struct ShapeError {
    detail: &'static str,
    pointer: String,
}

impl ShapeError {
    pub(crate) fn new(detail: &'static str, pointer: &str) -> Self {
        Self {
            detail,
            pointer: pointer.to_owned(),
        }
    }

    /// The JSON Pointer of the keyword at fault, within the schema.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.pointer
    }
}

impl Shape {
    /// A shape that knows nothing: text is a string, a repeated element a list.
    pub const ANY: Self = Self {
        kind: Kind::Any,
        nullable: false,
    };

    /// Compiles a schema; the root element is a member of the object that it describes.
    ///
    /// ```
    /// # use serde_json::json;
    /// # use taskgate::codec::{Limits, shape::Shape, xml};
    /// let run = json!({ "type": "array", "items": { "type": "integer" } });
    /// let shape = Shape::compile(&json!({ "properties": { "runs": { "properties": { "run": run } } } }))?;
    /// let value = xml::decode(b"<runs><run>15</run></runs>", &shape, &Limits::REPLY)?;
    /// assert_eq!(value, json!({ "runs": { "run": [15] } }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A keyword that cannot be followed while reading XML (`$ref`, `patternProperties`, `prefixItems`), a list of lists,
    /// an `xml` annotation with other members than `name` and `namespace`, types that exclude each other.
    pub fn compile(schema: &Value) -> Result<Self, ShapeError> {
        shape_schema::compile(schema)
    }

    /// The shape of one element: that of the item where this one is a list.
    pub(crate) fn item(&self) -> &Self {
        match &self.kind {
            Kind::List(item) => item,
            Kind::Any | Kind::Object(_) | Kind::Scalar(_) => self,
        }
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(_))
    }

    pub(crate) fn members(&self) -> Option<&Members> {
        match &self.kind {
            Kind::Object(members) => Some(members),
            Kind::Any | Kind::List(_) | Kind::Scalar(_) => None,
        }
    }
}

/// The members of an object that a schema declares, found by their XML names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    properties: Vec<Property>,
    /// Places in `properties` by member name.
    keys: Names,
    /// Places in `properties` by local element name.
    elements: Names,
    /// Places in `properties` by local attribute name, without the `@`.
    attributes: Names,
    /// Places in `properties` of the lists that are never absent.
    filled: Vec<usize>,
    /// The shape of members that are not declared.
    rest: Option<Shape>,
    /// The form of an element that has nothing but text, where the schema allows text as well as an object.
    pub(crate) text_only: Option<Scalar>,
}

/// Names and what they stand for, in the order of the names: what is few is found by looking at each.
#[derive(Debug, Clone, Default)]
struct Names(Vec<(String, usize)>);

/// One declared member.
#[derive(Debug, Clone)]
pub(crate) struct Property {
    pub(crate) key: String,
    pub(crate) shape: Shape,
    /// The namespace that an element or attribute must have; elements may have any where it is absent.
    pub(crate) namespace: Option<String>,
    /// Whether an absent list is an empty one: not so where only some alternatives of the schema have the member.
    pub(crate) fill: bool,
}

impl Members {
    pub(crate) fn new(rest: Option<Shape>, text_only: Option<Scalar>) -> Self {
        Self {
            rest,
            text_only,
            ..Self::default()
        }
    }

    /// Adds a member; `name` is its local XML name where that is not the name of the member.
    pub(crate) fn push(&mut self, property: Property, name: Option<String>) {
        let place = self.properties.len();
        self.keys.insert(property.key.clone(), place);
        let (local, names) = match property.key.strip_prefix('@') {
            Some(local) => (local, &mut self.attributes),
            None => (property.key.as_str(), &mut self.elements),
        };
        if property.key != "$" {
            names.insert(name.unwrap_or_else(|| local.to_owned()), place);
        }
        if property.fill && property.shape.is_list() && !property.key.starts_with('@') {
            self.filled.push(place);
        }
        self.properties.push(property);
    }

    /// The member for an element of this local name and namespace (`""` is none).
    pub(crate) fn element(&self, local: &str, namespace: &str) -> Option<&Property> {
        let mut of_any = None;
        for property in self.named(&self.elements, local) {
            match &property.namespace {
                Some(own) if own == namespace => return Some(property),
                Some(_) => {}
                None => of_any = of_any.or(Some(property)),
            }
        }
        of_any
    }

    /// The member for an attribute; one with a prefix is in a namespace, one without is in none.
    pub(crate) fn attribute(&self, local: &str, namespace: Option<&str>) -> Option<&Property> {
        self.named(&self.attributes, local)
            .find(|property| property.namespace.as_deref() == namespace)
    }

    fn named<'s>(&'s self, names: &'s Names, local: &str) -> impl Iterator<Item = &'s Property> {
        names.find(local).filter_map(|place| self.properties.get(place))
    }

    /// The member of exactly this name.
    pub(crate) fn declared(&self, key: &str) -> Option<&Property> {
        self.named(&self.keys, key).next()
    }

    /// The shape of a member that no property matches.
    pub(crate) fn undeclared(&self) -> &Shape {
        self.rest.as_ref().unwrap_or(&Shape::ANY)
    }

    /// The names of the lists that an object has even when no element of theirs occurs.
    pub(crate) fn filled_lists(&self) -> impl Iterator<Item = &str> {
        let filled = self.filled.iter().filter_map(|place| self.properties.get(*place));
        filled.map(|property| property.key.as_str())
    }
}

impl Names {
    fn insert(&mut self, name: String, place: usize) {
        let at = self.0.partition_point(|(known, _)| *known <= name);
        self.0.insert(at, (name, place));
    }

    /// What a name stands for, in the order in which it was said.
    #[inline]
    fn find(&self, name: &str) -> impl Iterator<Item = usize> {
        let mut names = self.0.as_slice();
        if names.len() > FEW {
            let first = names.partition_point(|(known, _)| known.as_str() < name);
            let rest = names.get(first..).unwrap_or_default();
            let count = rest.iter().take_while(|(known, _)| known == name).count();
            names = rest.get(..count).unwrap_or_default();
        }
        names.iter().filter(move |(known, _)| known == name).map(|(_, place)| *place)
    }
}

/// Up to here looking at each name beats halving.
const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A shape in a few letters: `?` nullable, `[x]` list, `{a:x}` object with `=x` for text alone and `*:x` for the rest.
    fn sketch(shape: &Shape) -> String {
        let nullable = if shape.nullable { "?" } else { "" };
        let kind = match &shape.kind {
            Kind::Any => "any".to_owned(),
            Kind::Scalar(scalar) => letter(*scalar).to_owned(),
            Kind::List(item) => format!("[{}]", sketch(item)),
            Kind::Object(members) => {
                let mut parts: Vec<String> = members
                    .properties
                    .iter()
                    .map(|property| {
                        let fill = if property.fill { "" } else { "-" };
                        format!("{}{fill}:{}", property.key, sketch(&property.shape))
                    })
                    .collect();
                parts.extend(members.rest.as_ref().map(|rest| format!("*:{}", sketch(rest))));
                parts.extend(members.text_only.map(|text| format!("={}", letter(text))));
                format!("{{{}}}", parts.join(","))
            }
        };
        nullable.to_owned() + &kind
    }

    fn letter(scalar: Scalar) -> &'static str {
        match scalar {
            Scalar::Boolean => "b",
            Scalar::Integer => "i",
            Scalar::Number => "n",
            Scalar::String => "s",
        }
    }

    #[track_caller]
    fn check(schema: Value, expected: &str) {
        match Shape::compile(&schema) {
            Ok(shape) => assert_eq!(sketch(&shape), expected, "{schema}"),
            Err(error) => assert_eq!(format!("! {error}"), expected, "{schema}"),
        }
    }

    #[test]
    fn types() {
        check(json!({}), "any");
        check(json!(true), "any");
        check(json!(false), "any");
        check(json!({"description": "x"}), "any");
        check(json!({"type": "string"}), "s");
        check(json!({"type": "integer"}), "i");
        check(json!({"type": "number"}), "n");
        check(json!({"type": "boolean"}), "b");
        check(json!({"type": "null"}), "?any");
        check(json!({"type": "object"}), "{}");
        check(json!({"type": "array"}), "[any]");
        check(json!({"type": ["integer", "null"]}), "?i");
        check(json!({"type": ["integer", "number"]}), "n");
        check(json!({"type": ["integer", "string"]}), "s");
        check(json!({"type": ["boolean", "integer"]}), "s");
        check(json!({"type": ["object", "string", "null"]}), "?{=s}");
        check(json!({"enum": ["a", "b"]}), "s");
        check(json!({"enum": [1, 2, null]}), "?i");
        check(json!({"const": true}), "b");
        check(json!({"type": "array", "items": {"type": "integer"}}), "[i]");
        check(json!({"items": {"type": "integer"}}), "[i]");
        check(json!({"type": ["array", "integer"], "items": {"type": "integer"}}), "[i]");
        check(
            json!({"type": ["array", "object"], "properties": {"a": {"type": "integer"}}}),
            "[{a:i}]",
        );
        check(json!({"properties": {"a": {"type": "integer"}, "@b": {}}}), "{@b:any,a:i}");
        check(json!({"type": "object", "additionalProperties": {"type": "integer"}}), "{*:i}");
        check(json!({"type": "object", "additionalProperties": false, "required": ["x"]}), "{}");
    }

    #[test]
    fn combinations() {
        check(json!({"allOf": [{"type": "integer"}, {"minimum": 1}]}), "i");
        check(json!({"type": "number", "allOf": [{"type": "integer"}]}), "i");
        check(
            json!({"type": ["integer", "null"], "allOf": [{"type": ["integer", "string"]}]}),
            "i",
        );
        check(
            json!({"properties": {"a": {}}, "allOf": [{"properties": {"a": {"type": "array"}, "b": {"type": "integer"}}}]}),
            "{a:[any],b:i}",
        );
        check(json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}), "?i");
        check(json!({"oneOf": [{"type": "integer"}, {"type": "string"}]}), "s");
        check(json!({"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}), "{}");
        check(
            json!({"oneOf": [{"type": "object", "properties": {"r": {"type": "array"}, "x": {"type": "integer"}}}, {"type": "object", "properties": {"r": {"type": "array"}, "y": {"type": "array"}}}]}),
            "{r:[any],x-:i,y-:[any]}",
        );
        check(
            json!({"properties": {"y": {"type": "array"}}, "anyOf": [{"properties": {"y": {"minItems": 1}}}, {}]}),
            "{y:[any]}",
        );
        let run = json!({"type": "object", "properties": {"id": {"type": "integer"}}});
        check(json!({"anyOf": [{"type": "array", "items": run}, run]}), "[{id:i}]");
        check(json!({"anyOf": [run, {"type": "null"}]}), "?{id:i}");
    }

    #[test]
    fn refusals() {
        check(json!({"$ref": "#/$defs/a"}), "! a reference that is not resolved at `/$ref`");
        check(
            json!({"properties": {"a/b": {"items": {"$ref": "x"}}}}),
            "! a reference that is not resolved at `/properties/a~1b/items/$ref`",
        );
        check(
            json!({"patternProperties": {}}),
            "! `patternProperties` cannot drive the reading of xml at `/patternProperties`",
        );
        check(
            json!({"prefixItems": []}),
            "! `prefixItems` cannot drive the reading of xml at `/prefixItems`",
        );
        check(json!({"items": {"type": "array"}}), "! a list of lists has no xml form at `/items`");
        check(
            json!({"type": "integer", "allOf": [{"type": "string"}]}),
            "! types that exclude each other at `/allOf/0`",
        );
        check(json!({"type": "integer", "const": "x"}), "! types that exclude each other at ``");
        check(json!({"type": "text"}), "! expected types at `/type`");
        check(json!({"allOf": {}}), "! expected a list of schemas at `/allOf`");
        check(json!({"properties": []}), "! expected properties at `/properties`");
        check(json!(5), "! expected a schema at ``");
        check(
            json!({"xml": {"attribute": true}}),
            "! expected `name` and `namespace` alone; a member `@name` is an attribute at `/xml`",
        );
    }

    #[test]
    fn many_members_are_found_as_few_are() {
        for count in [0, 1, FEW, FEW + 1, 100] {
            let properties: serde_json::Map<String, Value> = (0..count).map(|n| (format!("m{n}"), json!({}))).collect();
            let shape = Shape::compile(&json!({ "type": "object", "properties": properties })).unwrap();
            let members = shape.members().unwrap();
            for n in 0..count {
                let name = format!("m{n}");
                assert_eq!(members.element(&name, "").map(|property| &property.key), Some(&name));
                assert_eq!(members.declared(&name).map(|property| &property.key), Some(&name));
            }
            for name in ["", "a", "m", "m1000", "z"] {
                assert!(
                    members.element(name, "").is_none() && members.declared(name).is_none(),
                    "{name} {count}"
                );
            }
        }
    }

    #[test]
    fn names_and_namespaces() {
        let shape = Shape::compile(&json!({"properties": {
            "id": {"xml": {"namespace": "urn:a"}},
            "other": {"xml": {"namespace": "urn:b", "name": "id"}},
            "plain": {},
            "runs": {"type": "array", "items": {"xml": {"name": "run"}}},
            "@k": {"xml": {"namespace": "urn:a"}},
            "@m": {},
            "$": {},
        }}))
        .unwrap();
        let members = shape.members().unwrap();
        let element = |local, namespace| members.element(local, namespace).map(|property| property.key.as_str());
        assert_eq!(element("id", "urn:a"), Some("id"));
        assert_eq!(element("id", "urn:b"), Some("other"));
        assert_eq!(element("id", ""), None);
        assert_eq!(element("plain", "urn:x"), Some("plain"));
        assert_eq!(element("run", ""), Some("runs"));
        assert_eq!(element("runs", ""), None);
        assert_eq!(element("$", ""), None);
        let attribute = |local, namespace| members.attribute(local, namespace).map(|property| property.key.as_str());
        assert_eq!(attribute("k", Some("urn:a")), Some("@k"));
        assert_eq!(attribute("k", None), None);
        assert_eq!(attribute("m", None), Some("@m"));
        assert_eq!(attribute("m", Some("urn:a")), None);
        assert!(members.declared("$").is_some());
    }
}
