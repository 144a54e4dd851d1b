//! JSON Schema 2020-12: canonical requests and vendor replies against their schemas.
//!
//! **Shape**: `{"scope":{}}` under a schema that requires `scope.instance` -> `[Violation { pointer: "/scope/instance", … }]`.
//!
//! **Invariants**: schemas are compiled once, offline, with the linear regex engine; a violation never repeats the value
//! that it is about. What certainly fits is found by `schema/sure.rs`; the library is asked about everything else.

use std::collections::BTreeSet;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use self::defaults::Defaults;
use self::sure::Sure;
use crate::codec::node::Node;
use crate::model::error::Violation;

mod alphabet;
mod defaults;
mod sure;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    sure: Sure,
    validator: Validator,
}

/// The document is not a usable schema.
#[derive(Debug, thiserror::Error)]
#[error("not a usable JSON Schema 2020-12: {0}")]
pub struct SchemaError(String);

impl Schema {
    /// Compiles a schema that refers to nothing outside itself.
    ///
    /// # Errors
    /// [`SchemaError`] where it is not a schema, needs the network or a file, or has a pattern that the linear engine
    /// cannot run.
    pub fn compile(document: &Value) -> Result<Self, SchemaError> {
        let validator = jsonschema::draft202012::options()
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex())
            .build(document)
            .map_err(|error| SchemaError(error.masked().to_string()))?;
        Ok(Self {
            sure: Sure::of(document),
            validator,
        })
    }

    /// Does the value fit?
    #[must_use]
    pub fn is_valid(&self, value: &Value) -> bool {
        self.sure.fits(value).unwrap_or_else(|| self.validator.is_valid(value))
    }

    /// Does it fit for certain? What does not, or is not certain to, [`Self::violations`] is asked about.
    pub(crate) fn surely_takes<'a>(&self, node: impl Node<'a>) -> bool {
        self.sure.fits(node) == Some(true)
    }

    /// Where it does not fit, [`MAX_VIOLATIONS`] at most; empty when it does.
    #[must_use]
    pub fn violations(&self, value: &Value) -> Vec<Violation> {
        if self.surely_takes(value) || self.validator.is_valid(value) {
            return Vec::new();
        }
        let mut violations = Vec::new();
        for error in self.validator.iter_errors(value) {
            let at = error.instance_path().to_string();
            let below = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
            match error.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected } => {
                    violations.extend(unexpected.iter().map(|name| Violation::unknown(below(name))));
                }
                // An object without any `properties`: the library names the object and says `False schema`.
                ValidationErrorKind::FalseSchema if error.schema_path().to_string().ends_with("/additionalProperties") => {
                    let members = value.pointer(&at).and_then(Value::as_object);
                    violations.extend(members.into_iter().flatten().map(|(name, _)| Violation::unknown(below(name))));
                }
                ValidationErrorKind::Required { property } => violations.push(Violation {
                    pointer: below(property.as_str().unwrap_or_default()),
                    detail: "this member is required".to_owned(),
                }),
                _ => violations.push(Violation {
                    detail: error.masked().to_string(),
                    pointer: at,
                }),
            }
            if violations.len() >= MAX_VIOLATIONS {
                break;
            }
        }
        violations.truncate(MAX_VIOLATIONS);
        for violation in &mut violations {
            shorten(&mut violation.pointer);
        }
        violations
    }
}

/// A member's name is the sender's choice: where it is too long, or would break a line, the pointer ends before it.
fn shorten(pointer: &mut String) {
    while pointer.len() > MAX_POINTER_BYTES || pointer.contains(char::is_control) {
        pointer.truncate(pointer.rfind('/').unwrap_or(0));
    }
}

impl Violation {
    fn unknown(pointer: String) -> Self {
        Self {
            pointer,
            detail: "this member is not known here".to_owned(),
        }
    }
}

/// The canonical request of one action.
#[derive(Debug)]
pub struct RequestSchema {
    /// The compiled schema.
    pub schema: Schema,
    /// The same as a document, without references to other files: for discovery and error texts.
    pub document: Value,
    /// The values of members that the caller leaves out.
    defaults: Defaults,
    /// The members that `scope` may have, sorted; none where there is no `scope`.
    scope: Option<Vec<String>>,
}

impl RequestSchema {
    /// The members that `scope` may have, sorted; none where there is no `scope`.
    #[must_use]
    pub fn scope(&self) -> Option<&[String]> {
        self.scope.as_deref()
    }

    /// Compiles the schema and collects its defaults.
    ///
    /// # Errors
    /// [`SchemaError`]
    pub fn compile(document: Value) -> Result<Self, SchemaError> {
        Ok(Self {
            schema: Schema::compile(&document)?,
            defaults: Defaults::of(&document),
            scope: document
                .pointer("/properties/scope/properties")
                .and_then(Value::as_object)
                .map(|members| members.keys().cloned().collect::<BTreeSet<_>>().into_iter().collect()),
            document,
        })
    }
}

impl RequestSchema {
    /// Fills in the values that the schema gives to members that are left out, in every object that is there.
    pub fn fill_in(&self, body: &mut Map<String, Value>) {
        self.defaults.fill_in(body);
    }
}

/// Longer ones help nobody, and a response has room for twenty of these.
const MAX_POINTER_BYTES: usize = 256;

/// More places than this help nobody to mend a request.
pub const MAX_VIOLATIONS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn violations_point_and_do_not_repeat_values() {
        let schema = Schema::compile(&json!({
            "type": "object", "additionalProperties": false, "required": ["scope"],
            "properties": { "scope": { "type": "object", "required": ["instance"] }, "force": { "type": "boolean" } }
        }))
        .unwrap();
        assert!(schema.violations(&json!({ "scope": { "instance": "x" } })).is_empty());
        let violations = schema.violations(&json!({ "scope": {}, "force": "s3cret", "a/b": 1 }));
        let mut pointers: Vec<_> = violations.iter().map(|v| v.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["/a~1b", "/force", "/scope/instance"]);
        assert!(violations.iter().all(|v| !v.detail.contains("s3cret")), "{violations:?}");
    }

    #[test]
    fn an_object_without_members_names_those_that_it_does_not_know() {
        let schema = Schema::compile(&json!({ "type": "object", "additionalProperties": false })).unwrap();
        let violations = schema.violations(&json!({ "force": true, "x": {} }));
        let pointers: Vec<_> = violations.iter().map(|v| v.pointer.as_str()).collect();
        assert_eq!(pointers, ["/force", "/x"]);
        assert_eq!(violations[0].detail, "this member is not known here");
    }

    #[test]
    fn a_name_that_is_too_long_or_no_plain_text_is_not_repeated() {
        let schema = Schema::compile(&json!({
            "properties": { "a": { "additionalProperties": false }, "long": { "additionalProperties": { "type": "string" } } },
            "additionalProperties": false
        }));
        let schema = schema.unwrap();
        let long = "n".repeat(MAX_POINTER_BYTES);
        let pointers = |value: &Value| -> Vec<String> { schema.violations(value).into_iter().map(|v| v.pointer).collect() };
        assert_eq!(pointers(&json!({ "a": { &long: 1 } })), ["/a"]);
        assert_eq!(pointers(&json!({ "a": { "b\r\nc": 1 } })), ["/a"]);
        assert_eq!(pointers(&json!({ &long: 1 })), [""]);
        assert_eq!(pointers(&json!({ "long": { &long: { "d": 1 } } })), ["/long"]);
        let many: Map<String, Value> = (0..50).map(|number| (number.to_string(), Value::Null)).collect();
        assert_eq!(pointers(&Value::Object(many)).len(), MAX_VIOLATIONS);
    }

    #[test]
    fn look_around_is_refused_at_compile_time() {
        assert!(Schema::compile(&json!({ "type": "string", "pattern": "(?=a)b" })).is_err());
        assert!(Schema::compile(&json!({ "$ref": "https://example.com/x.json" })).is_err());
    }

    #[test]
    fn defaults_are_filled_in_at_every_depth_and_never_override() {
        let schema = RequestSchema::compile(json!({
            "type": "object",
            "properties": {
                "force": { "type": "boolean", "default": false },
                "parameters": { "type": "object", "properties": {
                    "depth": { "default": 1 },
                    "clusters": { "type": "array", "items": { "type": "object", "properties": { "all": { "default": true } } } }
                } }
            }
        }))
        .unwrap();
        for (body, filled) in [
            (json!({}), json!({ "force": false })),
            (
                json!({ "force": true, "parameters": {} }),
                json!({ "force": true, "parameters": { "depth": 1 } }),
            ),
            (
                json!({ "parameters": { "depth": 2, "clusters": [{}, { "all": false }] } }),
                json!({ "force": false, "parameters": { "depth": 2, "clusters": [{ "all": true }, { "all": false }] } }),
            ),
        ] {
            let mut given = body.as_object().unwrap().clone();
            schema.fill_in(&mut given);
            assert_eq!(Value::Object(given), filled, "{body}");
        }
    }
}
