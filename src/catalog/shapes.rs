//! The shapes of what every provider has in common: answers, problems, batches, operations; and which of the paths are offered.
//!
//! **Invariants**: one place for what is not yet, or no more, offered: a path that is switched off in [`Offered`] is in no document.

use serde_json::{Map, Value, json};

use crate::route::Provider;

/// The schema of every answer about a task.
pub const ANSWER_SCHEMA: &str = include_str!("../../schemas/canonical/answer.json");
/// The schema of every problem document.
pub const PROBLEM_SCHEMA: &str = include_str!("../../schemas/canonical/problem.json");

/// What of the interface is offered. The rest is in no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// `POST /tasks/{provider}:batchStop` and its like, and `POST /tasks:batchStop`.
    pub batch: bool,
    /// The header `Idempotency-Key`.
    pub idempotency_key: bool,
    /// `GET /operations/{operation}`.
    pub operations: bool,
    /// `RateLimit` and `RateLimit-Policy` in answers.
    pub rate_limit: bool,
    /// `Prefer: respond-async`.
    pub respond_async: bool,
    /// `traceparent` and `tracestate`.
    pub trace: bool,
    /// The query parameter `validate_only`.
    pub validate_only: bool,
}

impl Offered {
    /// What this version offers.
    pub const NOW: Self = Self {
        batch: false,
        idempotency_key: false,
        operations: false,
        rate_limit: false,
        respond_async: false,
        trace: false,
        validate_only: false,
    };
    /// Everything that can be described.
    pub const ALL: Self = Self {
        batch: true,
        idempotency_key: true,
        operations: true,
        rate_limit: true,
        respond_async: true,
        trace: true,
        validate_only: true,
    };
}

/// The request of a batch at one provider: the ids, and what the action takes for all of them.
///
/// `action` is the schema of the action, without references.
#[must_use]
pub fn batch_request(action: &Value, id: &Value) -> Value {
    let mut schema = action.clone();
    schema["title"] = json!("A batch");
    let Some(members) = schema.as_object_mut() else { return schema };
    members.remove("examples");
    let properties = members.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    properties["ids"] = json!({
        "description": "The tasks, each once. The results come in this order.",
        "type": "array", "minItems": 1, "maxItems": MAX_BATCH, "uniqueItems": true, "items": id,
    });
    let required = members.entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut() {
        required.insert(0, "ids".into());
    }
    schema
}

/// The request of a batch across providers: each item names its task, and has the body of a single call.
///
/// `bodies` are the schemas of the action, one for each provider that offers it.
#[must_use]
pub fn cross_batch_request(bodies: &[(&Provider, Value)]) -> Value {
    let items: Vec<Value> = bodies
        .iter()
        .map(|(provider, body)| {
            json!({
                "type": "object", "required": ["task"], "additionalProperties": false,
                "properties": {
                    "task": {
                        "description": format!("A task of `{}`: `tasks/{{provider}}/{{id}}`.", provider.name),
                        "type": "string", "minLength": 1, "maxLength": 1024, "pattern": format!("^tasks/{}/[^/]+$", provider.name),
                    },
                    "body": body,
                },
            })
        })
        .collect();
    json!({
        "title": "A batch across providers", "type": "object", "required": ["requests"], "additionalProperties": false,
        "properties": {
            "requests": {
                "description": "The tasks, each once. The results come in this order.",
                "type": "array", "minItems": 1, "maxItems": MAX_BATCH, "items": { "anyOf": items },
            },
        },
    })
}

/// The answer to a batch: one result for each task, in the order of the request.
#[must_use]
pub fn batch_answer() -> Value {
    json!({
        "title": "The results of a batch",
        "description": "The status says that the batch was carried out; what became of each task says its result.",
        "type": "object", "required": ["results", "request_id"], "additionalProperties": false,
        "properties": {
            "results": {
                "description": "One for each task, in the order of the request: the answer or the problem that a single call would have had.",
                "type": "array", "minItems": 1, "maxItems": MAX_BATCH,
                "items": { "$ref": "#/components/schemas/BatchResult" },
            },
            "request_id": { "description": "Of this call; also in the log.", "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[0-9A-Za-z._-]+$" },
        },
    })
}

/// One result of a batch.
#[must_use]
pub fn batch_result() -> Value {
    json!({
        "title": "The result of one task of a batch",
        "type": "object", "required": ["task", "id", "outcome", "status"], "additionalProperties": false,
        "properties": {
            "task": { "description": "`tasks/{provider}/{id}`", "type": "string", "maxLength": 1024, "pattern": "^tasks/[a-z][a-z0-9-]{0,31}/.+$" },
            "id": { "description": "The id as it was asked for, as text.", "type": "string", "minLength": 1, "maxLength": 512, "pattern": "^[^\\u0000-\\u001F\\u007F]+$" },
            "outcome": { "description": "What is known of the effect on this task.", "type": "string", "enum": ["done", "accepted", "not_done", "unknown"] },
            "status": { "description": "The status that a single call would have had.", "type": "integer", "minimum": 200, "maximum": 599 },
            "answer": { "$ref": "#/components/schemas/Answer" },
            "problem": { "$ref": "#/components/schemas/Problem" },
        },
    })
}

/// What the token of an operation looks like.
#[must_use]
pub fn operation_token() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 4096, "pattern": "^[0-9A-Za-z_-]+$" })
}

/// More tasks than this in one call are refused.
pub const MAX_BATCH: usize = 1000;
