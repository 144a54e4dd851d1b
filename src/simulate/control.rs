//! The control interface of a simulator, under a path prefix that no vendor uses.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /_simulator/state` | tasks with states and effects, calls seen, the armed fault |
//! | `PUT /_simulator/fault` | arms the fault whose text form is the body, without the vendor |
//! | `DELETE /_simulator/fault` | disarms it |
//! | `POST /_simulator/reset` | the start state again: tasks, effects, logins and counters; fault, settings and clock stay |
//! | `GET /_simulator/settings` | what can be set, with the values |
//! | `PUT /_simulator/settings/<name>` | sets it to the body |
//! | `PUT /_simulator/tasks/<id>` | puts a task into the phase in the body: `ready`, `moving`, `settled`, `ended`, `failed`, `returning` |
//! | `GET /_simulator/logins` | logins, sessions and locked keys |
//! | `POST /_simulator/revoke` | ends every login at once |
//! | `POST /_simulator/advance` | lets the time in the body pass, at all simulators: `15m`, `24h` |

use http::header::{ALLOW, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::faults::Fault;
use super::server::Desk;
use super::settings::{TIME_RULE, read_time};
use super::vendor::VendorReply;

/// The prefix of every control call.
pub(super) const PREFIX: &str = "/_simulator/";

/// Answers a control call.
pub(super) fn answer(desk: &Desk, method: &Method, path: &str, body: &[u8]) -> VendorReply {
    let text = String::from_utf8_lossy(body);
    let path: Vec<&str> = path.strip_prefix(PREFIX).unwrap_or_default().split('/').collect();
    match (path.as_slice(), method.as_str()) {
        (["state"], "GET") => VendorReply::json(StatusCode::OK, &state(desk)),
        (["fault"], "PUT") => done(text.parse::<Fault>().map(|fault| desk.switch.arm(fault))),
        (["fault"], "DELETE") => {
            desk.switch.disarm();
            VendorReply::empty(StatusCode::NO_CONTENT)
        }
        (["reset"], "POST") => {
            desk.reset();
            VendorReply::empty(StatusCode::NO_CONTENT)
        }
        (["settings"], "GET") => VendorReply::json(StatusCode::OK, &json!(desk.vendor.settings())),
        (["settings", name], "PUT") => done(desk.vendor.set(name, &text)),
        (["tasks", id], "PUT") => match text.parse() {
            Ok(phase) if desk.vendor.place(id, phase) => VendorReply::empty(StatusCode::NO_CONTENT),
            Ok(_) => refusal(StatusCode::NOT_FOUND, "there is no such task"),
            Err(error) => done(Err(error)),
        },
        (["logins"], "GET") => VendorReply::json(StatusCode::OK, &desk.vendor.logins()),
        (["revoke"], "POST") => {
            desk.vendor.revoke();
            VendorReply::empty(StatusCode::NO_CONTENT)
        }
        (["advance"], "POST") => match read_time(&text) {
            Some(time) => {
                desk.clock.advance(time);
                VendorReply::empty(StatusCode::NO_CONTENT)
            }
            None => refusal(StatusCode::BAD_REQUEST, &format!("expected {TIME_RULE}, found `{text}`")),
        },
        (["state" | "settings" | "logins"], _) => not_allowed("GET"),
        (["settings" | "tasks", _], _) => not_allowed("PUT"),
        (["fault"], _) => not_allowed("PUT, DELETE"),
        (["reset" | "revoke" | "advance"], _) => not_allowed("POST"),
        (_, _) => refusal(StatusCode::NOT_FOUND, KNOWN),
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

fn done<E: std::error::Error>(result: Result<(), E>) -> VendorReply {
    match result {
        Ok(()) => VendorReply::empty(StatusCode::NO_CONTENT),
        Err(error) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

fn not_allowed(allow: &'static str) -> VendorReply {
    refusal(StatusCode::METHOD_NOT_ALLOWED, &format!("allowed: {allow}")).header(ALLOW, HeaderValue::from_static(allow))
}

fn refusal(status: StatusCode, detail: &str) -> VendorReply {
    VendorReply::json(status, &json!({"error": detail}))
}

const KNOWN: &str = "expected /_simulator/ and one of state, fault, reset, settings, tasks/<id>, logins, revoke, advance";
