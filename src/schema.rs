//! JSON Schema 2020-12: canonical requests and vendor replies against their schemas.
//!
//! **Shape**: `{"scope":{}}` under a schema that requires `scope.instance` -> `[Violation { pointer: "/scope/instance", … }]`.
//!
//! **Invariants**: schemas are compiled once, offline, with the linear regex engine; a violation never repeats the value
//! that it is about.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use crate::mapping::request::CallValues;
use crate::model::call::TaskCall;
use crate::model::error::{GatewayError, Violation};
use crate::model::reason::Reason;
use crate::route::{IdKind, Provider, Route};

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
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
        Ok(Self { validator })
    }

    /// Does the value fit?
    #[must_use]
    pub fn is_valid(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }

    /// Where it does not fit, [`MAX_VIOLATIONS`] at most; empty when it does.
    #[must_use]
    pub fn violations(&self, value: &Value) -> Vec<Violation> {
        if self.validator.is_valid(value) {
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
        violations
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
    /// Values that the schema gives to members that the caller leaves out.
    pub defaults: Map<String, Value>,
}

impl RequestSchema {
    /// Compiles the schema and collects its defaults.
    ///
    /// # Errors
    /// [`SchemaError`]
    pub fn compile(document: Value) -> Result<Self, SchemaError> {
        Ok(Self {
            schema: Schema::compile(&document)?,
            defaults: defaults(&document),
            document,
        })
    }
}

/// Makes a valid call out of what the caller sent: id by the provider's rule, `scope` completed by the provider's defaults,
/// the schema's own defaults filled in, the whole checked against the schema.
///
/// `uuid` is the fresh id of the call, 32 hex digits.
///
/// # Errors
/// `INVALID_TASK_ID` where the id breaks the provider's rule; `INVALID_REQUEST` with all violations.
pub fn validate(call: &TaskCall, provider: &Provider, route: &Route, uuid: &str) -> Result<CallValues, GatewayError> {
    let id = read_id(&call.id, provider)?;
    let mut body = call.body.clone();
    complete(&mut body, provider, route);
    let mut document = Value::Object(body);
    let violations = route.schema.schema.violations(&document);
    let body = std::mem::take(document.as_object_mut().unwrap_or(&mut Map::new()));
    if violations.is_empty() {
        return Ok(CallValues {
            id,
            body,
            call: serde_json::json!({ "uuid": uuid }),
            settings: std::sync::Arc::clone(&route.settings),
        });
    }
    let places: Vec<&str> = violations
        .iter()
        .map(|v| if v.pointer.is_empty() { "/" } else { v.pointer.as_str() })
        .collect();
    let detail = format!("the body does not fit the schema of `{}` at {}", route.action, places.join(", "));
    let mut error = GatewayError::new(Reason::InvalidRequest, detail);
    error.violations = violations;
    Err(error)
}

/// Fills in what the caller left out: the provider's `scope` and the schema's defaults.
pub fn complete(body: &mut Map<String, Value>, provider: &Provider, route: &Route) {
    if !provider.scope.is_empty() {
        let scope = body.entry("scope").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(scope) = scope {
            fill(scope, &provider.scope);
        }
    }
    fill(body, &route.schema.defaults);
}

fn read_id(text: &str, provider: &Provider) -> Result<Value, GatewayError> {
    let refused = || {
        let detail = format!("an id of `{}` is {}", provider.name, provider.id.description);
        Err(GatewayError::new(Reason::InvalidTaskId, detail).with_metadata("expected", provider.id.description.clone()))
    };
    let value = match provider.id.kind {
        IdKind::String => Value::from(text),
        IdKind::Integer => match text.parse::<i64>() {
            // The canonical spelling only: `007`, `+1` and `1e3` would be other texts for the same number.
            Ok(number) if number.to_string() == text => Value::from(number),
            _ => return refused(),
        },
    };
    if provider.id.schema.is_valid(&value) {
        Ok(value)
    } else {
        refused()
    }
}

fn fill(object: &mut Map<String, Value>, defaults: &Map<String, Value>) {
    for (name, default) in defaults {
        match (object.get_mut(name), default) {
            (None, _) => {
                object.insert(name.clone(), default.clone());
            }
            (Some(Value::Object(inner)), Value::Object(defaults)) => fill(inner, defaults),
            (Some(_), _) => {}
        }
    }
}

/// The `default`s of an object schema, nested ones included where the outer object is there by default.
fn defaults(document: &Value) -> Map<String, Value> {
    let mut found = Map::new();
    for (name, property) in document.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(default) = property.get("default") {
            found.insert(name.clone(), default.clone());
        }
    }
    found
}

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
    fn look_around_is_refused_at_compile_time() {
        assert!(Schema::compile(&json!({ "type": "string", "pattern": "(?=a)b" })).is_err());
        assert!(Schema::compile(&json!({ "$ref": "https://example.com/x.json" })).is_err());
    }

    #[test]
    fn defaults_are_filled_in_and_never_override() {
        let document = json!({ "properties": { "force": { "type": "boolean", "default": false } } });
        let mut body = json!({ "force": true }).as_object().unwrap().clone();
        fill(&mut body, &defaults(&document));
        assert_eq!(body["force"], json!(true));
        let mut body = Map::new();
        fill(&mut body, &defaults(&document));
        assert_eq!(body["force"], json!(false));
    }
}
