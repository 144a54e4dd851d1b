//! What ZStack reads and writes: bodies with `params`, inventories, errors in JSON and in plain text.
//!
//! **Source.** The vendor's page of `DisableCbtTask` and its public server source. Answers have no Content-Type, as there.

use http::StatusCode;
use jiff::civil::DateTime;
use serde_json::{Value, json};

use super::board::Phase;
use super::vendor::VendorReply;

/// A reply that ends a call early; boxed, because it is large and rare.
pub(super) type Refusal = Box<VendorReply>;

/// Reads what the server reads: the members of `params`, and the tags there or at the top. Anything else is dropped without a word.
pub(super) fn check_body(body: &[u8]) -> Result<(), Refusal> {
    if body.is_empty() {
        return Ok(());
    }
    let bad_type = |name: &str, expected: &str| {
        let message = format!("Invalid value for the field[{name}], expected {expected}");
        Err(refuse(StatusCode::BAD_REQUEST, message))
    };
    let Ok(Value::Object(top)) = serde_json::from_slice(body) else {
        let message = "com.google.gson.JsonSyntaxException: the body is not a JSON object";
        return Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, message));
    };
    let params = match top.get("params") {
        None | Some(Value::Null) => None,
        Some(Value::Object(params)) => Some(params),
        Some(_) => return bad_type("params", "an object"),
    };
    let force = params.and_then(|params| params.get("force"));
    if force.is_some_and(|force| !force.is_boolean() && !force.is_null()) {
        return bad_type("force", "a boolean");
    }
    for name in ["systemTags", "userTags"] {
        let inside = params.and_then(|params| params.get(name));
        for tags in [top.get(name), inside].into_iter().flatten() {
            let is_list = tags.as_array().is_some_and(|tags| tags.iter().all(Value::is_string));
            if !is_list && !tags.is_null() {
                return bad_type(name, "a list of texts");
            }
        }
    }
    Ok(())
}

/// A task as the server shows it.
pub(super) fn inventory(id: &str, phase: Phase) -> Value {
    // There is no word for "stopping": a task runs until it is stopped.
    let status = match phase {
        Phase::Ready | Phase::Moving => "Running",
        Phase::Settled | Phase::Ended => "Stopped",
        Phase::Failed => "Failed",
        Phase::Returning => "Starting",
    };
    json!({
        "uuid": id,
        "name": TASK_NAME,
        "status": status,
        "createDate": "Jan 6, 2017 3:51:16 AM",
        "lastOpDate": "Jan 6, 2017 3:51:16 AM",
        "resourceRefs": [{
            "id": 1,
            "taskUuid": id,
            "resourceUuid": "b8a7c6d5e4f30211b8a7c6d5e4f30211",
            "resourceType": "VmInstanceVO",
        }],
    })
}

/// A time as the server writes it, in its own zone and without saying so.
pub(super) fn date(moment: DateTime) -> String {
    moment.strftime("%b %-d, %Y %-I:%M:%S %p").to_string()
}

pub(super) fn invalid_session(session: &str) -> VendorReply {
    business_error(
        "ID.1001",
        "Session expired",
        &format!("the session[uuid: {session}] is invalid or has expired"),
    )
}

/// 503 is the status of every error that is not the REST layer's own.
pub(super) fn business_error(code: &str, description: &str, details: &str) -> VendorReply {
    error_reply(StatusCode::SERVICE_UNAVAILABLE, code, description, details)
}

pub(super) fn error_reply(status: StatusCode, code: &str, description: &str, details: &str) -> VendorReply {
    reply(
        status,
        &json!({"error": {"code": code, "description": description, "details": details}}),
    )
}

pub(super) fn reply(status: StatusCode, body: &Value) -> VendorReply {
    VendorReply::untyped(status, body.to_string())
}

pub(super) fn refuse(status: StatusCode, body: impl Into<String>) -> Refusal {
    Box::new(text(status, body))
}

pub(super) fn text(status: StatusCode, body: impl Into<String>) -> VendorReply {
    VendorReply::untyped(status, body.into())
}

pub(super) const TASK_NAME: &str = "My Task";
