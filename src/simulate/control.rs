//! The control interface of a simulator, under a path prefix that no vendor uses.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /_simulator/state` | tasks with states and effects, calls seen, the armed fault |
//! | `PUT /_simulator/fault` | arms the fault whose text form is the body, without the vendor |
//! | `DELETE /_simulator/fault` | disarms it |
//! | `POST /_simulator/reset` | the start state again: tasks, effects and counters; the fault stays |

use http::header::{ALLOW, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::faults::Fault;
use super::server::Desk;
use super::vendor::VendorReply;

/// The prefix of every control call.
pub(super) const PREFIX: &str = "/_simulator/";

/// Answers a control call.
pub(super) fn answer(desk: &Desk, method: &Method, path: &str, body: &[u8]) -> VendorReply {
    match (path.strip_prefix(PREFIX).unwrap_or_default(), method.as_str()) {
        ("state", "GET") => VendorReply::json(StatusCode::OK, &state(desk)),
        ("fault", "PUT") => arm(desk, body),
        ("fault", "DELETE") => {
            desk.switch.disarm();
            VendorReply::empty(StatusCode::NO_CONTENT)
        }
        ("reset", "POST") => {
            desk.reset();
            VendorReply::empty(StatusCode::NO_CONTENT)
        }
        ("state", _) => not_allowed("GET"),
        ("fault", _) => not_allowed("PUT, DELETE"),
        ("reset", _) => not_allowed("POST"),
        (_, _) => refusal(
            StatusCode::NOT_FOUND,
            "expected /_simulator/state, /_simulator/fault or /_simulator/reset",
        ),
    }
}

/// The state of one vendor as JSON.
pub(super) fn state(desk: &Desk) -> Value {
    let tasks: Vec<Value> = desk
        .vendor
        .tasks()
        .into_iter()
        .map(|task| json!({"id": task.id, "state": task.state, "effects": task.effects}))
        .collect();
    let recent: Vec<Value> = desk
        .seen()
        .into_iter()
        .map(|seen| json!({"method": seen.method.as_str(), "target": seen.target}))
        .collect();
    json!({
        "vendor": desk.vendor.name(),
        "calls": desk.calls(),
        "fault": desk.switch.armed().map(|fault| fault.to_string()),
        "tasks": tasks,
        "recent": recent,
    })
}

fn arm(desk: &Desk, body: &[u8]) -> VendorReply {
    let text = String::from_utf8_lossy(body);
    match text.parse::<Fault>() {
        Ok(fault) => {
            desk.switch.arm(fault);
            VendorReply::empty(StatusCode::NO_CONTENT)
        }
        Err(error) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

fn not_allowed(allow: &'static str) -> VendorReply {
    refusal(StatusCode::METHOD_NOT_ALLOWED, &format!("allowed: {allow}")).header(ALLOW, HeaderValue::from_static(allow))
}

fn refusal(status: StatusCode, detail: &str) -> VendorReply {
    VendorReply::json(status, &json!({"error": detail}))
}
