//! A call and its answer as a case shows them: the examples in the documents.
//!
//! **Shape**: `Example { provider: "acme", action: "stop", id: "J-1", status: 200, answer: {"outcome":"done",…}, .. }` -> the whole answer, or the
//! whole problem document, as [`Example::document`] has it.

use std::fmt;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::model::reason::Reason;
use crate::route::LOOK;

/// The examples of a table: read when the first document asks for them, as no call does.
#[derive(Default)]
pub struct Examples {
    read: Option<Box<dyn Fn() -> Vec<Example> + Send + Sync>>,
    /// Calls for one task, and batches.
    all: OnceLock<(Vec<Example>, Vec<Example>)>,
}

impl Examples {
    /// Those that `read` gives when it is called, which is once at most.
    #[must_use]
    pub fn read_by(read: impl Fn() -> Vec<Example> + Send + Sync + 'static) -> Self {
        Self {
            read: Some(Box::new(read)),
            all: OnceLock::new(),
        }
    }

    /// All that are calls for one task.
    #[must_use]
    pub fn all(&self) -> &[Example] {
        &self.both().0
    }

    /// All that are batches.
    #[must_use]
    pub fn batches(&self) -> &[Example] {
        &self.both().1
    }

    fn both(&self) -> &(Vec<Example>, Vec<Example>) {
        self.all.get_or_init(|| {
            let all = self.read.as_ref().map(|read| read()).unwrap_or_default();
            all.into_iter().partition(|example| example.ids.is_empty())
        })
    }
}

impl fmt::Debug for Examples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examples").finish_non_exhaustive()
    }
}

/// A call and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The provider that the case was written for.
    pub provider: String,
    /// The verb, or [`LOOK`].
    pub action: String,
    /// The name of the case.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// The id that is asked for; empty for a batch.
    pub id: String,
    /// The ids that a batch asks for.
    pub ids: Vec<Value>,
    /// The body that is sent.
    pub body: Option<Value>,
    /// The query that is sent.
    pub query: Vec<(String, String)>,
    /// The status of the answer.
    pub status: u16,
    /// Those members of the answer that the case speaks of.
    pub answer: Map<String, Value>,
    /// The status of the vendor's last answer.
    pub vendor_status: Option<u16>,
}

impl Example {
    /// The reason, where the answer is a problem.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.answer.get("reason").and_then(Value::as_str).and_then(Reason::parse)
    }

    /// The answer with all its members, as a caller of `provider` would get it: the case's own provider, or one with the same actions.
    #[must_use]
    pub fn document(&self, provider: &str) -> Value {
        let task = format!("tasks/{provider}/{}", self.id);
        let mut document = match self.reason() {
            Some(reason) => {
                let instance = match self.action.as_str() {
                    LOOK => format!("/{task}"),
                    action => format!("/{task}:{action}"),
                };
                problem(reason, &instance)
            }
            None => json!({
                "task": task, "provider": provider, "id": self.id, "action": (self.action != LOOK).then_some(&self.action),
                "outcome": if self.status == ACCEPTED { "accepted" } else { "done" }, "state": "unknown",
                "name": null, "message": null, "created_at": null, "updated_at": null, "operation": null, "request_id": REQUEST_ID,
                "vendor": { "status": self.vendor_status.unwrap_or(OK), "request_id": null },
            }),
        };
        for (name, value) in &self.answer {
            put(&mut document, name, value);
        }
        if document.get("provider").is_some() {
            document["provider"] = provider.into();
        }
        if let Some(vendor) = document
            .get_mut("vendor")
            .and_then(Value::as_object_mut)
            .filter(|_| self.reason().is_some())
        {
            for name in ["code", "message", "request_id"] {
                vendor.entry(name).or_insert(Value::Null);
            }
            vendor.entry("status").or_insert(self.vendor_status.unwrap_or(OK).into());
        }
        document
    }
}

/// A problem document that says no more than its reason does.
#[must_use]
pub fn problem(reason: Reason, instance: &str) -> Value {
    let facts = reason.facts();
    json!({
        "type": format!("urn:taskgate:problem:{}", reason.slug()), "title": facts.title, "status": facts.status, "detail": facts.title,
        "instance": instance, "reason": facts.code, "outcome": facts.outcome.as_str(), "retryable": facts.retryable, "request_id": REQUEST_ID,
    })
}

/// A case names a part of an object where the rest does not matter.
fn put(document: &mut Value, name: &str, value: &Value) {
    match (document.get_mut(name), value) {
        (Some(Value::Object(known)), Value::Object(said)) => {
            for (name, value) in said {
                known.insert(name.clone(), value.clone());
            }
        }
        _ => document[name] = value.clone(),
    }
}

/// The id that the examples have.
pub const REQUEST_ID: &str = "01946f4e-8a52-7c1e-b2a4-6f0d9c3e5b71";
const ACCEPTED: u16 = 202;
const OK: u16 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn example(action: &str, status: u16, answer: Value) -> Example {
        Example {
            provider: "acme".to_owned(),
            action: action.to_owned(),
            name: "ok".to_owned(),
            title: "it works".to_owned(),
            id: "J-1".to_owned(),
            ids: Vec::new(),
            body: None,
            query: Vec::new(),
            status,
            answer: answer.as_object().unwrap().clone(),
            vendor_status: Some(204),
        }
    }

    #[test]
    fn what_a_case_leaves_out_is_there() {
        let answer = example("stop", 202, json!({ "state": "stopping", "provider": "acme" })).document("acme-eu");
        assert_eq!(answer["task"], "tasks/acme-eu/J-1");
        assert_eq!(answer["provider"], "acme-eu");
        assert_eq!((&answer["outcome"], &answer["state"]), (&json!("accepted"), &json!("stopping")));
        assert_eq!(answer["vendor"], json!({ "status": 204, "request_id": null }));
        assert_eq!(example(LOOK, 200, json!({})).document("acme")["action"], Value::Null);
    }

    #[test]
    fn a_problem_is_whole() {
        let said = json!({ "reason": "TASK_NOT_FOUND", "vendor": { "status": 404, "code": "x" } });
        let document = example("stop", 404, said).document("acme");
        assert_eq!(document["type"], "urn:taskgate:problem:task-not-found");
        assert_eq!(document["instance"], "/tasks/acme/J-1:stop");
        assert_eq!(
            document["vendor"],
            json!({ "status": 404, "code": "x", "message": null, "request_id": null })
        );
    }
}
