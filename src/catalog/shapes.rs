//! The shapes of what every provider has in common: answers, problems, previews, batches, operations.

use serde_json::{Map, Value, json};

use crate::mapping::envelope::MAX_ITEMS;

/// The schema of every answer about a task.
pub const ANSWER_SCHEMA: &str = include_str!("../../schemas/canonical/answer.json");
/// The schema of every answer about many tasks.
pub const BATCH_SCHEMA: &str = include_str!("../../schemas/canonical/batch.json");
/// The schema of what is shown in place of being sent for many tasks.
pub const BATCH_PREVIEW_SCHEMA: &str = include_str!("../../schemas/canonical/batch_preview.json");
/// The schema of what is shown in place of being sent.
pub const PREVIEW_SCHEMA: &str = include_str!("../../schemas/canonical/preview.json");
/// The schema of every problem document.
pub const PROBLEM_SCHEMA: &str = include_str!("../../schemas/canonical/problem.json");

/// The schemas that all providers share, with the name of their file. They refer to each other by it.
pub const CANONICAL: [(&str, &str); 5] = [
    ("answer.json", ANSWER_SCHEMA),
    ("batch.json", BATCH_SCHEMA),
    ("batch_preview.json", BATCH_PREVIEW_SCHEMA),
    ("preview.json", PREVIEW_SCHEMA),
    ("problem.json", PROBLEM_SCHEMA),
];

/// The request of a batch at one provider: the ids, and what the action takes for all of them.
///
/// `action` is the schema of the action, without references.
#[must_use]
pub fn batch_request(action: &Value) -> Value {
    let mut schema = action.clone();
    schema["title"] = json!("A batch");
    let Some(members) = schema.as_object_mut() else { return schema };
    members.remove("examples");
    let properties = members.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    properties["ids"] = json!({
        "description": "The tasks, each once. The results come in this order. An id that the provider cannot have is a result like any other.",
        "type": "array", "minItems": 1, "maxItems": MAX_ITEMS, "uniqueItems": true,
        "items": {
            "anyOf": [
                { "type": "string", "maxLength": BODY_BYTES, "pattern": ANY_TEXT },
                { "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX },
            ],
        },
    });
    let required = members.entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut() {
        required.insert(0, "ids".into());
    }
    schema
}

/// The request of a batch across providers: each item names its task and has the members of a single call.
#[must_use]
pub fn cross_batch_request() -> Value {
    json!({
        "title": "A batch across providers", "type": "object", "required": ["requests"], "additionalProperties": false,
        "properties": {
            "requests": {
                "description": "The tasks, each once. The results come in this order. What the action of a provider does not take is a result like any other.",
                "type": "array", "minItems": 1, "maxItems": MAX_ITEMS,
                "items": {
                    "type": "object", "required": ["task"], "additionalProperties": false,
                    "properties": {
                        "task": {
                            "description": "`tasks/{provider}/{id}`, as it stands in answers: the id is plain text, not percent-encoded.",
                            "type": "string", "maxLength": BODY_BYTES, "pattern": "^tasks/[^/]+/[\\s\\S]+$",
                        },
                        "scope": { "description": "As in a single call.", "type": "object", "maxProperties": 1024 },
                        "force": { "description": "As in a single call.", "type": "boolean" },
                        "parameters": { "description": "As in a single call.", "type": "object", "maxProperties": 1024 },
                    },
                },
            },
            "reason": {
                "description": "Why, for the log; for all of them.",
                "type": "string", "maxLength": BODY_BYTES, "pattern": ANY_TEXT,
            },
        },
    })
}

/// What the token of an operation looks like.
#[must_use]
pub fn operation_token() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 2048, "pattern": "^[0-9A-Za-z_-]+$" })
}

/// The most that a body may have, by default.
const BODY_BYTES: usize = 1 << 20;
const ANY_TEXT: &str = "^[\\s\\S]*$";
