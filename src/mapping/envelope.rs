//! From a batch as the caller wrote it to its calls.
//!
//! **Shape**: `BatchCall { provider: "prime", action: "stop", body: {"ids":[15,"25"],"reason":"…"} }` -> two `TaskCall`s with the body
//! `{"reason":"…"}`; without a provider `{"requests":[{"task":"tasks/prime/15","force":true}],"reason":"…"}` -> one.
//!
//! **Invariants**: as many calls as entries, in their order; no two of them are for one task. What is wrong with the envelope is told all
//! at once, and then there are no calls at all; what is wrong with one call is that one's.
//!
//! **Errors**: `INVALID_REQUEST` with pointers into the body.
//!
//! **Source**: AIP-231, AIP-233 (batch methods).

use std::collections::HashMap;
use std::fmt::Display;

use serde_json::{Map, Value};

use crate::model::call::{BatchCall, TaskCall};
use crate::model::error::{GatewayError, Violation};
use crate::model::reason::Reason;
use crate::schema::MAX_VIOLATIONS;

/// Takes a batch apart.
///
/// # Errors
/// `INVALID_REQUEST` where the list is missing, empty or too long, an entry is no task, a task stands there twice, a member is not known.
pub fn calls(batch: BatchCall) -> Result<Vec<TaskCall>, GatewayError> {
    let BatchCall {
        provider,
        action,
        mut body,
        wait,
    } = batch;
    let mut faults = Faults::default();
    let call = |(provider, id): (String, String), body| TaskCall {
        provider,
        id,
        action: Some(action.clone()),
        body,
        query: Vec::new(),
        wait,
        resumed: None,
    };
    let calls: Vec<TaskCall> = match provider {
        Some(provider) => {
            let ids = faults.list(&mut body, "ids");
            faults.members(&body, "", &["force", "parameters", "reason", "scope"]);
            faults.repeated(&body, ids.len());
            let name = |id: &Value| Some((provider.clone(), id_text(id)?));
            let names = faults.names(&ids, name, "expected an id: a text or an integer", |at| format!("/ids/{at}"));
            faults.none()?;
            names.into_iter().map(|name| call(name, body.clone())).collect()
        }
        None => {
            let mut requests = faults.list(&mut body, "requests");
            faults.members(&body, "", &["reason"]);
            let reason = body.remove("reason");
            if reason.as_ref().is_some_and(|reason| !reason.is_string()) {
                faults.push("/reason", "expected a text");
            }
            let names = faults.names(
                &requests,
                |request| task_name(request.get("task")?.as_str()?),
                "expected the name of a task: `tasks/{provider}/{id}`",
                |at| format!("/requests/{at}/task"),
            );
            let bodies: Vec<Map<String, Value>> = requests
                .iter_mut()
                .enumerate()
                .map(|(at, request)| {
                    let mut own = request.as_object_mut().map(std::mem::take).unwrap_or_default();
                    own.remove("task");
                    faults.members(&own, &format!("/requests/{at}"), &["force", "parameters", "scope"]);
                    faults.kinds(&own, &format!("/requests/{at}"));
                    own.extend(reason.clone().map(|reason| ("reason".to_owned(), reason)));
                    own
                })
                .collect();
            faults.none()?;
            names.into_iter().zip(bodies).map(|(name, body)| call(name, body)).collect()
        }
    };
    Ok(calls)
}

/// What is wrong with an envelope.
#[derive(Debug, Default)]
struct Faults(Vec<Violation>);

impl Faults {
    fn push(&mut self, pointer: impl Display, detail: impl Into<String>) {
        if self.0.len() < MAX_VIOLATIONS {
            self.0.push(Violation {
                pointer: pointer.to_string(),
                detail: detail.into(),
            });
        }
    }

    /// The entries of the list that names the tasks.
    fn list(&mut self, body: &mut Map<String, Value>, name: &str) -> Vec<Value> {
        let pointer = format!("/{name}");
        let entries = match body.remove(name) {
            Some(Value::Array(entries)) => entries,
            Some(_) => {
                self.push(pointer, "expected a list");
                return Vec::new();
            }
            None => {
                self.push(pointer, "this member is required");
                return Vec::new();
            }
        };
        if entries.is_empty() {
            self.push(&pointer, "expected at least one task");
        }
        if entries.len() > MAX_ITEMS {
            self.push(pointer, format!("expected at most {MAX_ITEMS} tasks, found {}", entries.len()));
            // Nobody reads a thousand faults more.
            return Vec::new();
        }
        entries
    }

    fn members(&mut self, body: &Map<String, Value>, at: &str, known: &[&str]) {
        for name in body.keys().filter(|name| !known.contains(&name.as_str())) {
            let is_short = name.len() <= MAX_NAME_BYTES && !name.contains(char::is_control);
            let below = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
            self.push(if is_short { below.as_str() } else { at }, "this member is not known here");
        }
    }

    /// What members are, whichever provider they are for; what is in them is for the schema of its action.
    fn kinds(&mut self, body: &Map<String, Value>, at: &str) {
        for (name, member) in body {
            let expected = match (name.as_str(), member) {
                ("parameters" | "scope", Value::Object(_)) | ("force", Value::Bool(_)) => continue,
                ("parameters" | "scope", _) => "expected an object",
                ("force", _) => "expected `true` or `false`",
                _ => continue,
            };
            self.push(format!("{at}/{name}"), expected);
        }
    }

    /// What all share is carried by each.
    fn repeated(&mut self, body: &Map<String, Value>, times: usize) {
        let bytes = serde_json::to_string(body).map_or(0, |text| text.len());
        if bytes.saturating_mul(times) > MAX_SHARED_BYTES {
            let detail = format!("what all tasks share has {bytes} bytes: too many for so many tasks, {MAX_SHARED_BYTES} for all together");
            self.push("", detail);
        }
    }

    /// The tasks of a list, none of which is there twice.
    fn names(
        &mut self,
        entries: &[Value],
        name: impl Fn(&Value) -> Option<(String, String)>,
        expected: &str,
        pointer: impl Fn(usize) -> String,
    ) -> Vec<(String, String)> {
        let mut first = HashMap::new();
        let mut names = Vec::with_capacity(entries.len());
        for (at, entry) in entries.iter().enumerate() {
            let Some(name) = name(entry) else {
                self.push(pointer(at), expected);
                continue;
            };
            if let Some(earlier) = first.insert(name.clone(), at) {
                self.push(pointer(at), format!("the task of `{}` once more", pointer(earlier)));
            }
            names.push(name);
        }
        names
    }

    fn none(&self) -> Result<(), GatewayError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let places: Vec<&str> = self
            .0
            .iter()
            .map(|v| if v.pointer.is_empty() { "/" } else { v.pointer.as_str() })
            .collect();
        let detail = format!(
            "the batch does not say for which tasks it is at {}; nothing was sent",
            places.join(", ")
        );
        let mut error = GatewayError::new(Reason::InvalidRequest, detail);
        error.violations.clone_from(&self.0);
        Err(error)
    }
}

/// An id is a text; an integer is the text of its digits, however it is written: `15.0` is one as well (JSON Schema, `type`).
fn id_text(id: &Value) -> Option<String> {
    match id {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Number(number) => {
            let number = number.as_f64()?;
            (number.fract() == 0.0 && number.abs() <= MAX_EXACT).then(|| format!("{number:.0}"))
        }
        _ => None,
    }
}

/// `tasks/{provider}/{id}`, as it stands in answers: the id is plain text and not percent-encoded.
fn task_name(name: &str) -> Option<(String, String)> {
    let (provider, id) = name.strip_prefix("tasks/")?.split_once('/')?;
    (!provider.is_empty() && !id.is_empty()).then(|| (provider.to_owned(), id.to_owned()))
}

/// Beyond a thousand a caller does better with several batches: each is one answer, which has to wait for its slowest task.
pub const MAX_ITEMS: usize = 1000;
/// The largest canonical request, 30 KiB, for all the tasks of a batch.
const MAX_SHARED_BYTES: usize = 32 << 20;
/// Above 2^53 a number with a fraction or an exponent need not be the one that was written.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
/// A longer name is not repeated.
const MAX_NAME_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn batch(provider: Option<&str>, body: Value) -> BatchCall {
        BatchCall {
            provider: provider.map(str::to_owned),
            action: "stop".to_owned(),
            body: body.as_object().cloned().unwrap(),
            wait: Some(Duration::from_secs(3)),
        }
    }

    #[track_caller]
    fn check(provider: Option<&str>, body: Value, pointers: &[&str]) {
        let error = calls(batch(provider, body)).unwrap_err();
        assert_eq!(error.reason, Reason::InvalidRequest);
        let found: Vec<&str> = error.violations.iter().map(|violation| violation.pointer.as_str()).collect();
        assert_eq!(found, pointers, "{error:?}");
    }

    #[test]
    fn every_entry_is_a_call_in_its_place() {
        let shared = json!({ "ids": [15, "007", "a b", u64::MAX, -2.0, 1e3], "force": true, "reason": "r", "scope": { "a": 1 } });
        let found = calls(batch(Some("acme"), shared)).unwrap();
        let ids: Vec<&str> = found.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["15", "007", "a b", "18446744073709551615", "-2", "1000"]);
        for call in &found {
            assert_eq!((call.provider.as_str(), call.action.as_deref()), ("acme", Some("stop")));
            assert_eq!(call.wait, Some(Duration::from_secs(3)));
            assert_eq!(
                Value::Object(call.body.clone()),
                json!({ "force": true, "reason": "r", "scope": { "a": 1 } })
            );
        }
        let requests = json!({ "reason": "r", "requests": [
            { "task": "tasks/acme/15", "force": true }, { "task": "tasks/other/15" }, { "task": "tasks/acme/a/b%20" } ] });
        let found = calls(batch(None, requests)).unwrap();
        let names: Vec<(&str, &str)> = found.iter().map(|call| (call.provider.as_str(), call.id.as_str())).collect();
        assert_eq!(names, [("acme", "15"), ("other", "15"), ("acme", "a/b%20")]);
        assert_eq!(Value::Object(found[0].body.clone()), json!({ "force": true, "reason": "r" }));
        assert_eq!(Value::Object(found[1].body.clone()), json!({ "reason": "r" }));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let acme = Some("acme");
        check(acme, json!({}), &["/ids"]);
        check(acme, json!({ "ids": "15" }), &["/ids"]);
        check(acme, json!({ "ids": [] }), &["/ids"]);
        check(
            acme,
            json!({ "ids": [1, null, 2.5, 1e16, true, [], {}, "2"] }),
            &["/ids/1", "/ids/2", "/ids/3", "/ids/4", "/ids/5", "/ids/6"],
        );
        check(acme, json!({ "ids": [15, 25, "15", 25, 1.5e1] }), &["/ids/2", "/ids/3", "/ids/4"]);
        check(acme, json!({ "ids": [1], "requests": [], "a/b": 1 }), &["/a~1b", "/requests"]);
        check(acme, json!({ "ids": [1], "\n": 1 }), &[""]);
        check(acme, json!({ "ids": (0..=MAX_ITEMS).collect::<Vec<_>>() }), &["/ids"]);
        check(
            acme,
            json!({ "ids": (0..MAX_ITEMS).collect::<Vec<_>>(), "parameters": { "a": "x".repeat(40_000) } }),
            &[""],
        );
        let many: Vec<Value> = vec![Value::Null; 500];
        assert_eq!(
            calls(batch(acme, json!({ "ids": many }))).unwrap_err().violations.len(),
            MAX_VIOLATIONS
        );
        check(None, json!({ "ids": [1] }), &["/requests", "/ids"]);
        check(None, json!({ "requests": [{ "task": "tasks/a/1" }], "scope": {} }), &["/scope"]);
        check(
            None,
            json!({ "reason": 5, "requests": [1, {}, { "task": "tasks/a" }, { "task": "/tasks/a/1" }, { "task": "tasks//1" }, { "task": "tasks/a/" },
                { "task": "tasks/a/1", "ids": [], "reason": "" }, { "task": "tasks/a/1" },
                { "task": "tasks/a/2", "scope": [], "force": "true", "parameters": null }] }),
            &[
                "/reason",
                "/requests/0/task",
                "/requests/1/task",
                "/requests/2/task",
                "/requests/3/task",
                "/requests/4/task",
                "/requests/5/task",
                "/requests/7/task",
                "/requests/6/ids",
                "/requests/6/reason",
                "/requests/8/force",
                "/requests/8/parameters",
                "/requests/8/scope",
            ],
        );
        assert_eq!(
            calls(batch(acme, json!({ "ids": (0..MAX_ITEMS).collect::<Vec<_>>() })))
                .unwrap()
                .len(),
            MAX_ITEMS
        );
    }
}
