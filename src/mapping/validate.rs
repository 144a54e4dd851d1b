//! From what the caller sent to a call that can be mapped: id, defaults, schema.
//!
//! **Shape**: `TaskCall { id: "15", body: {} }` under a provider with numbers as ids -> `CallValues { id: 15, body: {}, .. }`.
//!
//! **Errors**: `INVALID_TASK_ID`, `INVALID_REQUEST`, `INVALID_QUERY`, with every violation at once.

use serde_json::{Map, Value};

use super::request::{CallValues, Fresh};
use crate::model::call::TaskCall;
use crate::model::error::{GatewayError, Violation};
use crate::model::reason::Reason;
use crate::query;
use crate::route::{IdKind, Provider, Route};

/// Makes a valid call out of what the caller sent: id by the provider's rule, the query of a look as `scope`, `scope`
/// completed by the provider's defaults, the schema's own defaults filled in, the whole checked against the schema.
///
/// `uuid` is the fresh id of the call, 32 hex digits.
///
/// # Errors
/// `INVALID_TASK_ID` where the id breaks the provider's rule; `INVALID_REQUEST`, or `INVALID_QUERY` for a look, with all
/// violations.
pub fn validate(call: &TaskCall, provider: &Provider, route: &Route, uuid: &str) -> Result<CallValues, GatewayError> {
    validate_body(call, call.body.clone(), provider, route, uuid)
}

/// The same for a call whose body nobody needs afterwards: it is taken out of it.
///
/// # Errors
/// As [`validate`].
pub fn validate_taking(call: &mut TaskCall, provider: &Provider, route: &Route, uuid: &str) -> Result<CallValues, GatewayError> {
    let body = std::mem::take(&mut call.body);
    validate_body(call, body, provider, route, uuid)
}

fn validate_body(
    call: &TaskCall,
    body: Map<String, Value>,
    provider: &Provider,
    route: &Route,
    uuid: &str,
) -> Result<CallValues, GatewayError> {
    let id = read_id(&call.id, provider)?;
    let mut body = match &call.action {
        Some(_) => body,
        None => query::to_body(&call.query, &route.schema.document)?,
    };
    complete(&mut body, provider, route);
    let mut document = Value::Object(body);
    let violations = route.schema.schema.violations(&document);
    let body = std::mem::take(document.as_object_mut().unwrap_or(&mut Map::new()));
    if violations.is_empty() {
        return Ok(CallValues {
            id,
            body,
            call: Fresh::new(uuid),
            settings: std::sync::Arc::clone(&route.settings),
        });
    }
    Err(unfit(call.action.as_deref(), violations))
}

/// Looks whether what an action's calls have in common fits its schema, whatever their ids are.
///
/// # Errors
/// `INVALID_REQUEST` with all violations.
pub fn check_body(action: &str, mut body: Map<String, Value>, provider: &Provider, route: &Route) -> Result<(), GatewayError> {
    complete(&mut body, provider, route);
    let violations = route.schema.schema.violations(&Value::Object(body));
    if violations.is_empty() {
        return Ok(());
    }
    Err(unfit(Some(action), violations))
}

fn unfit(action: Option<&str>, violations: Vec<Violation>) -> GatewayError {
    let places: Vec<&str> = violations
        .iter()
        .map(|v| if v.pointer.is_empty() { "/" } else { v.pointer.as_str() })
        .collect();
    let mut error = match action {
        Some(action) => GatewayError::new(
            Reason::InvalidRequest,
            format!("the body does not fit the schema of `{action}` at {}", places.join(", ")),
        ),
        None => GatewayError::new(
            Reason::InvalidQuery,
            format!(
                "the query does not say what is needed at {}: a member of `scope` is a parameter",
                places.join(", ")
            ),
        ),
    };
    error.violations = violations;
    error
}

/// Fills in what the caller left out: the provider's `scope` and the schema's defaults.
pub fn complete(body: &mut Map<String, Value>, provider: &Provider, route: &Route) {
    if !provider.scope.is_empty() {
        match body.get_mut("scope") {
            Some(Value::Object(scope)) => fill(scope, &provider.scope),
            Some(_) => {}
            None => {
                body.insert("scope".to_owned(), Value::Object(provider.scope.clone()));
            }
        }
    }
    route.schema.fill_in(body);
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
