//! Paths of the catalog itself.

use serde_json::{Map, Value, json};

use super::responses::Kind;
use super::{Builder, DISCOVERY_TAG};
use crate::catalog::HealthState;
use crate::model::answer::Outcome;
use crate::model::reason::Reason;

impl Builder<'_> {
    /// Every path of the catalog.
    pub(super) fn discovery(&mut self) {
        let list = self.schema("ProviderList", provider_list);
        let provider = self.schema("Provider", provider);
        let problems = self.schema("ProblemList", problem_list);
        self.problem();
        let kind = self.schema("ProblemKind", problem_kind);
        let any = self.schema("Document", any_document);
        let page = json!({ "type": "string", "maxLength": 1_048_576, "pattern": "^<!doctype html>" });
        let json_of = |schema: &Value| json!({ "application/json": { "schema": schema } });
        let schema_of = json!({ "application/schema+json": { "schema": any } });
        let both_of = |schema: &Value| json!({ "application/json": { "schema": schema }, "text/html": { "schema": page } });
        let html = json!({ "text/html": { "schema": page } });
        let slugs: Vec<String> = Reason::ALL.into_iter().map(Reason::slug).collect();
        let slug = json!({
            "name": "slug", "in": "path", "required": true, "description": "The reason in lower case, with hyphens: the end of `type` in a problem document.",
            "schema": { "type": "string", "enum": slugs },
        });
        self.page("/providers", "ListProviders", "Lists the providers", &[], json_of(&list));
        if !self.table.providers.is_empty() {
            let names: Vec<&String> = self.table.providers.keys().collect();
            let name = json!({
                "name": "provider", "in": "path", "required": true, "description": "The provider, as in the path of a task.",
                "schema": { "type": "string", "enum": names },
            });
            let action = json!({
                "name": "action", "in": "path", "required": true, "description": "The verb, or `look`.",
                "schema": { "type": "string", "maxLength": 32, "pattern": "^[a-z][0-9A-Za-z]*$" },
                "example": self.table.verbs.iter().next(),
            });
            let (one, title) = ("/providers/{provider}", "Shows a provider: what it offers, and how it is");
            self.page(one, "GetProvider", title, &[&name], json_of(&provider));
            let (of_action, title) = ("/schemas/{provider}/{action}.json", "Shows the schema of a request");
            self.page(of_action, "GetRequestSchema", title, &[&name, &action], schema_of.clone());
        }
        self.page(
            "/schemas/answer.json",
            "GetAnswerSchema",
            "Shows the schema of answers",
            &[],
            schema_of.clone(),
        );
        self.page(
            "/schemas/problem.json",
            "GetProblemSchema",
            "Shows the schema of problem documents",
            &[],
            schema_of,
        );
        self.page("/problems", "ListProblems", "Lists the kinds of problems", &[], both_of(&problems));
        self.page(
            "/problems/{slug}",
            "GetProblem",
            "Shows a kind of problem, and what to do about it",
            &[&slug],
            both_of(&kind),
        );
        self.page("/openapi.json", "GetOpenApi", "Shows this document", &[], json_of(&any));
        self.page("/docs", "GetDocs", "Shows this document to people", &[], html);
    }

    fn page(&mut self, path: &str, id: &str, title: &str, own: &[&Value], content: Value) {
        let kind = if own.is_empty() { Kind::Page } else { Kind::PageOf };
        let mut parameters: Vec<Value> = own.iter().map(|parameter| (*parameter).clone()).collect();
        parameters.extend(self.every_parameters());
        let mut responses: Map<String, Value> = self.problems(kind);
        let headers = self.headers(&["X-Request-Id", "ETag"]);
        responses.insert(
            "200".to_owned(),
            json!({ "description": title, "headers": headers, "content": content }),
        );
        let unchanged = json!({ "description": "The caller has it: its `If-None-Match` names it.", "headers": headers });
        responses.insert("304".to_owned(), self.component("responses", "NotModified", || unchanged));
        let operation = json!({
            "operationId": self.operation_id(id),
            "summary": title,
            "description": "Calls no vendor.",
            "tags": [DISCOVERY_TAG],
            "parameters": parameters,
            "responses": responses,
        });
        self.operation(path, "get", operation);
    }
}

fn text(description: &str, max: u32) -> Value {
    json!({ "description": description, "type": "string", "maxLength": max, "pattern": PLAIN })
}

fn list_of(description: &str, max: u32, items: Value) -> Value {
    json!({ "description": description, "type": "array", "maxItems": max, "items": items })
}

/// An object that has all of these members and no other ones.
fn closed(title: &str, properties: Value) -> Value {
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
    json!({ "title": title, "type": "object", "required": required, "additionalProperties": false, "properties": properties })
}

fn name() -> Value {
    json!({ "description": "As in the path of a task.", "type": "string", "maxLength": 32, "pattern": "^[a-z][a-z0-9-]*$" })
}

fn verb() -> Value {
    json!({ "description": "The verb.", "type": "string", "maxLength": 32, "pattern": "^[a-z][0-9A-Za-z]*$" })
}

fn path_text(description: &str) -> Value {
    json!({ "description": description, "type": "string", "maxLength": 256, "pattern": "^/[ -~]*$" })
}

fn configured() -> Value {
    json!({ "description": "Is it known where and as whom it is called?", "type": "boolean" })
}

fn health() -> Value {
    let words: Vec<&str> = HealthState::ALL.into_iter().map(HealthState::as_str).collect();
    let time = |description: &str| json!({ "description": description, "type": ["string", "null"], "maxLength": 64, "pattern": "^[0-9]{4}-[0-9TZ:.-]+$" });
    closed(
        "As last seen",
        json!({
            "state": {
                "description": "`answering`: its last call was answered. `failing`: it came to nothing. `suspended`: it is left alone for a while. `unknown`: it has not been called yet.",
                "type": "string", "enum": words,
            },
            "last_answered_at": time("The last answer that was no trouble (RFC 3339)."),
            "last_failed_at": time("The last trouble (RFC 3339)."),
        }),
    )
}

fn provider_list() -> Value {
    let entry = closed(
        "A provider in short",
        json!({
            "name": name(), "title": text("One line for people.", 256), "url": path_text("More about it."), "configured": configured(),
            "actions": list_of("What can be done with its tasks.", 64, verb()),
            "task": { "description": "Can its tasks be looked at?", "type": "boolean" },
            "health": health(),
        }),
    );
    closed(
        "The providers",
        json!({ "providers": list_of("In the order of their names.", 10_000, entry) }),
    )
}

fn provider() -> Value {
    let variable = json!({ "type": "string", "maxLength": 128, "pattern": "^[A-Z_][0-9A-Z_]*$" });
    let action = closed(
        "What can be done",
        json!({
            "name": verb(), "title": text("One line for people.", 256),
            "method": { "description": "The HTTP method.", "type": "string", "enum": ["GET", "POST"] },
            "path": path_text("The path, with a place for the id."), "schema": path_text("The schema of the request."),
        }),
    );
    let id = closed(
        "What an id looks like",
        json!({
            "description": text("In words.", 1024),
            "schema": { "description": "As a JSON Schema.", "type": "object", "maxProperties": 16, "additionalProperties": true },
        }),
    );
    let mut look = action.clone();
    look["type"] = json!(["object", "null"]);
    look["description"] = json!("How a task is looked at; null where it cannot be.");
    closed(
        "A provider",
        json!({
            "name": name(), "title": text("One line for people.", 256), "url": path_text("This document."), "configured": configured(),
            "missing": list_of("Variables that have to be set before it can be called.", 64, variable.clone()),
            "alternatives": list_of("Where the credentials are one of several: the variables of each.", 16, list_of("One set.", 16, variable)),
            "id": id,
            "scope_defaults": list_of("Members of `scope` that need not be sent.", 16, json!({ "type": "string", "maxLength": 64, "pattern": PLAIN })),
            "actions": list_of("What can be done with its tasks.", 64, action),
            "task": look,
            "health": health(),
        }),
    )
}

fn code() -> Value {
    json!({ "description": "The stable code.", "type": "string", "maxLength": 63, "pattern": "^[A-Z][A-Z0-9_]+[A-Z0-9]$" })
}

fn status() -> Value {
    json!({ "description": "The HTTP status.", "type": "integer", "minimum": 400, "maximum": 599 })
}

fn problem_list() -> Value {
    let entry = closed(
        "A kind of problem in short",
        json!({ "reason": code(), "url": path_text("More about it."), "status": status(), "title": text("The same for every occurrence.", 256) }),
    );
    closed(
        "The kinds of problems",
        json!({ "problems": list_of("In the order of their codes.", 1000, entry) }),
    )
}

fn problem_kind() -> Value {
    let outcomes = [Outcome::NotDone.as_str(), Outcome::Unknown.as_str()];
    closed(
        "A kind of problem",
        json!({
            "type": { "description": "The type in problem documents.", "type": "string", "maxLength": 128, "pattern": "^urn:taskgate:problem:[a-z][a-z0-9-]*$" },
            "url": path_text("This document."), "title": text("The same for every occurrence.", 256), "status": status(), "reason": code(),
            "outcome": { "description": "What is known about the effect at the vendor.", "type": "string", "enum": outcomes },
            "retryable": { "description": "May the same call be sent again as it is?", "type": "boolean" },
            "source": { "description": "Who has to act.", "type": "string", "enum": ["caller", "gateway", "vendor"] },
            "advice": text("What to do about it.", 2048),
            "example": { "$ref": "#/components/schemas/Problem" },
        }),
    )
}

/// A document whose form is told elsewhere.
fn any_document() -> Value {
    json!({
        "title": "A document", "description": "Its form is that of JSON Schema 2020-12 or of OpenAPI 3.1.",
        "type": "object", "maxProperties": 1000, "additionalProperties": true,
    })
}

/// No control characters but tabs and ends of lines.
const PLAIN: &str = "^[^\\u0000-\\u0008\\u000B\\u000C\\u000E-\\u001F\\u007F]*$";
