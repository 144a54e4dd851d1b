//! Paths of tasks: acting on one, looking at one, batches, and operations.

use serde_json::{Map, Value, json};

use super::responses::Kind;
use super::{BATCH_TAG, Builder, OPERATIONS_TAG, pascal};
use crate::catalog::example::Example;
use crate::catalog::shapes;
use crate::route::{IdKind, Provider, Repeat, Route};

impl Builder<'_> {
    /// Every path that is about tasks.
    pub(super) fn tasks(&mut self) {
        let table = self.table;
        for provider in table.providers.values() {
            for route in provider.actions.values() {
                self.act(provider, route);
                self.batch(provider, route);
            }
            if let Some(task) = &provider.task {
                self.look(provider, &task.route);
            }
        }
        for verb in &table.verbs {
            self.cross_batch(verb);
        }
        if !table.providers.is_empty() {
            self.follow();
        }
    }

    fn act(&mut self, provider: &Provider, route: &Route) {
        let name = format!("{}{}", pascal(&route.action), pascal(&provider.name));
        let schema = self.schema(&format!("{name}Request"), || route.schema.document.clone());
        let mut body = json!({
            "description": "Nothing at all is the same as an empty object.",
            "required": !route.schema.schema.is_valid(&json!({})),
            "content": { "application/json": { "schema": schema } },
        });
        if let Some(examples) = bodies(&self.examples(provider, route)) {
            body["content"]["application/json"]["examples"] = examples;
        }
        let mut parameters = vec![self.id(provider)];
        parameters.extend(self.call_parameters());
        let mut responses = self.successes(provider, route, &[("200", DONE), ("202", ACCEPTED)]);
        responses.extend(self.problems(Kind::Act));
        let operation = json!({
            "operationId": self.operation_id(&format!("{name}Task")),
            "summary": route.title,
            "description": act_description(route),
            "tags": [provider.name],
            "parameters": parameters,
            "requestBody": body,
            "responses": responses,
        });
        self.operation(&format!("/tasks/{}/{{id}}:{}", provider.name, route.action), "post", operation);
    }

    fn look(&mut self, provider: &Provider, route: &Route) {
        let mut parameters = vec![self.id(provider)];
        let scope = route.schema.document.pointer("/properties/scope");
        let required: Vec<&str> = scope
            .and_then(|scope| scope.get("required"))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let members = scope.and_then(|scope| scope.get("properties")).and_then(Value::as_object);
        for (name, schema) in members.into_iter().flatten() {
            let mut schema = schema.clone();
            super::published(&mut schema, "");
            let description = schema
                .get("description")
                .or_else(|| schema.get("title"))
                .cloned()
                .unwrap_or_else(|| "A member of `scope`.".into());
            parameters.push(json!({
                "name": name, "in": "query", "required": required.contains(&name.as_str()), "description": description, "schema": schema,
            }));
        }
        parameters.extend(self.every_parameters());
        let mut responses = self.successes(provider, route, &[("200", LOOKED)]);
        responses.extend(self.problems(Kind::Look));
        let operation = json!({
            "operationId": self.operation_id(&format!("Get{}Task", pascal(&provider.name))),
            "summary": route.title,
            "description": "The task as the vendor reports it. Changes nothing; may be sent again at any time.",
            "tags": [provider.name],
            "parameters": parameters,
            "responses": responses,
        });
        self.operation(&format!("/tasks/{}/{{id}}", provider.name), "get", operation);
    }

    fn batch(&mut self, provider: &Provider, route: &Route) {
        let verb = format!("batch{}", pascal(&route.action));
        let name = format!("{}{}", pascal(&verb), pascal(&provider.name));
        let schema = self.schema(&format!("{name}Request"), || shapes::batch_request(&route.schema.document));
        let owner = owner(provider);
        let batches = self.table.examples.batches().iter();
        let mut shown = batches.filter(|case| case.provider == owner && case.action == route.action && case.reason().is_none());
        let example = shown.next().map(|case| {
            let mut body = case.body.clone().unwrap_or_else(|| json!({}));
            body["ids"] = Value::Array(case.ids.clone());
            body
        });
        self.batch_operation(
            &format!("/tasks/{}:{verb}", provider.name),
            &format!("{name}Tasks"),
            &provider.name,
            &route.title,
            (&schema, example),
        );
    }

    fn cross_batch(&mut self, action: &str) {
        let verb = format!("batch{}", pascal(action));
        let schema = self.schema(&format!("{}Request", pascal(&verb)), shapes::cross_batch_request);
        let title = format!("The action `{action}` on tasks of several providers");
        self.batch_operation(
            &format!("/tasks:{verb}"),
            &format!("{}Tasks", pascal(&verb)),
            BATCH_TAG,
            &title,
            (&schema, None),
        );
    }

    fn batch_operation(&mut self, path: &str, id: &str, tag: &str, title: &str, (schema, example): (&Value, Option<Value>)) {
        let (answer, preview) = (self.batch_answer(), self.batch_preview());
        let headers = self.headers(&["X-Request-Id", "Preference-Applied", "Idempotency-Replayed"]);
        let mut responses = self.problems(Kind::Batch);
        for (status, description) in [
            ("200", "All are done; or all would be sent (`validate_only`)."),
            ("202", "All succeeded, and some are only accepted."),
            (
                "207",
                "At least one did not succeed, or would not be sent: each result says what became of its task.",
            ),
        ] {
            let schema = match status {
                // Nothing is accepted where nothing is sent.
                "202" => answer.clone(),
                _ => json!({ "oneOf": [answer, preview] }),
            };
            let content = json!({ "application/json": { "schema": schema } });
            let response = json!({ "description": description, "headers": headers, "content": content });
            responses.insert(status.to_owned(), response);
        }
        let mut content = json!({ "schema": schema });
        if let Some(example) = example {
            content["example"] = example;
        }
        let tags = if tag == BATCH_TAG {
            json!([BATCH_TAG])
        } else {
            json!([tag, BATCH_TAG])
        };
        let operation = json!({
            "operationId": self.operation_id(id),
            "summary": format!("{title}: many in one call"),
            "description": "Results come in the order of the request. A task of which the vendor's answer says nothing is `unknown`.",
            "tags": tags,
            "parameters": self.call_parameters(),
            "requestBody": { "required": true, "content": { "application/json": content } },
            "responses": responses,
        });
        self.operation(path, "post", operation);
    }

    fn follow(&mut self) {
        let answer = self.answer();
        let headers = self.headers(&["X-Request-Id"]);
        let mut parameters = vec![json!({
            "name": "operation", "in": "path", "required": true, "description": "What stands behind `operations/` in an answer.",
            "schema": shapes::operation_token(),
        })];
        parameters.extend(self.every_parameters());
        let mut responses = self.problems(Kind::Operation);
        for (status, description) in [("200", DONE), ("202", ACCEPTED)] {
            let response = json!({
                "description": description, "headers": headers, "content": { "application/json": { "schema": answer } },
            });
            responses.insert(status.to_owned(), response);
        }
        let operation = json!({
            "operationId": self.operation_id("GetOperation"),
            "summary": "Asks what became of an accepted action",
            "description": "Looks at the vendor. Any instance with the same keys can answer; to a stranger the name says nothing.",
            "tags": [OPERATIONS_TAG],
            "parameters": parameters,
            "responses": responses,
        });
        self.operation("/operations/{operation}", "get", operation);
    }

    /// The parameter `id` of a provider.
    fn id(&mut self, provider: &Provider) -> Value {
        let name = format!("{}Id", pascal(&provider.name));
        let owner = owner(provider);
        let cases = self.table.examples.all().iter();
        let shown = cases
            .filter(|case| case.provider == owner && case.reason().is_none())
            .map(|case| case.id.clone())
            .next();
        self.component("parameters", &name, || {
            let mut schema = provider.id.document.clone();
            restrict_id(&mut schema);
            let mut parameter = json!({
                "name": "id", "in": "path", "required": true, "schema": schema,
                "description": format!("The task: {}.", provider.id.description),
            });
            if let Some(id) = shown {
                parameter["example"] = match provider.id.kind {
                    IdKind::Integer => id.parse::<i64>().map_or(Value::Null, Value::from),
                    IdKind::String => id.into(),
                };
            }
            parameter
        })
    }

    /// What every call that changes something may have beside its body.
    fn call_parameters(&mut self) -> Vec<Value> {
        let mut parameters = Vec::new();
        parameters.push(self.component("parameters", "ValidateOnly", || {
            json!({
                "name": "validate_only", "in": "query", "required": false,
                "description": "Runs everything but the sending; the answer shows the vendor's request, secrets masked.",
                "schema": { "type": "boolean", "default": false },
            })
        }));
        parameters.push(self.component("parameters", "Prefer", || {
            let description = "Wishes (RFC 7240). `wait=20` follows the task for 20 seconds, at most 60, until the action has settled. \
                 `respond-async` answers as soon as the vendor has taken the request. What is not known is ignored.";
            json!({ "name": "Prefer", "in": "header", "required": false, "description": description, "example": "wait=20", "schema": free_text() })
        }));
        parameters.push(self.component("parameters", "IdempotencyKey", || {
            json!({
                "name": "Idempotency-Key", "in": "header", "required": false, "example": "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"",
                "description": "A text in quotes, made by the caller for this call: the call has its effect at most once, however often it is sent.",
                "schema": { "type": "string", "minLength": 3, "maxLength": 257, "pattern": "^\"[ !#-\\[\\]-~]{1,255}\"$" },
            })
        }));
        parameters.extend(self.every_parameters());
        parameters
    }

    /// What every request may have.
    pub(super) fn every_parameters(&mut self) -> Vec<Value> {
        let mut parameters = vec![self.component("parameters", "RequestId", || {
            json!({
                "name": "X-Request-Id", "in": "header", "required": false, "schema": free_text(),
                "description": "The caller's id for this call: 1 to 64 letters, digits, `-`, `_` and `.`. Anything else is replaced by a fresh one.",
            })
        })];
        parameters.push(self.component("parameters", "TraceParent", || {
            json!({
                "name": "traceparent", "in": "header", "required": false, "schema": free_text(),
                "example": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                "description": "The trace that this call belongs to (W3C Trace Context). One that is not valid is replaced by a fresh one.",
            })
        }));
        parameters.push(self.component("parameters", "TraceState", || {
            json!({
                "name": "tracestate", "in": "header", "required": false, "schema": free_text(), "example": "congo=t61rcWkgMzE",
                "description": "What others on the way note of the trace (W3C Trace Context).",
            })
        }));
        parameters
    }

    /// The answers of an operation that are none.
    fn successes(&mut self, provider: &Provider, route: &Route, statuses: &[(&str, &str)]) -> Map<String, Value> {
        let answer = self.answer();
        let preview = self.preview();
        let mut names = vec!["X-Request-Id", "Via"];
        if !route.is_look() {
            names.extend(["Preference-Applied", "Idempotency-Replayed"]);
        }
        if !(provider.limits.allowances.is_empty() && route.allowances.is_empty()) {
            names.extend(["RateLimit", "RateLimit-Policy"]);
        }
        let headers = self.headers(&names);
        let cases = self.examples(provider, route);
        statuses
            .iter()
            .map(|(status, description)| {
                let examples: Map<String, Value> = cases
                    .iter()
                    .filter(|case| case.status.to_string() == *status)
                    .take(MAX_EXAMPLES)
                    .map(|case| {
                        (
                            case.name.clone(),
                            json!({ "summary": case.title, "value": case.document(&provider.name) }),
                        )
                    })
                    .collect();
                // Only what acts can be shown in place of being sent.
                let shown = *status == "200" && !route.is_look();
                let schema = if shown {
                    json!({ "oneOf": [answer, preview] })
                } else {
                    answer.clone()
                };
                let mut content = json!({ "schema": schema });
                if !examples.is_empty() {
                    content["examples"] = Value::Object(examples);
                }
                let response = json!({ "description": description, "headers": headers, "content": { "application/json": content } });
                ((*status).to_owned(), response)
            })
            .collect()
    }

    /// The cases of an action; those of the provider whose actions this one has.
    fn examples(&self, provider: &Provider, route: &Route) -> Vec<Example> {
        let owner = owner(provider);
        let cases = self.table.examples.all().iter();
        cases
            .filter(|case| case.provider == owner && case.action == route.action)
            .cloned()
            .collect()
    }
}

/// The provider whose cases speak for this one.
fn owner(provider: &Provider) -> &str {
    provider.actions_of.as_deref().unwrap_or(&provider.name)
}

/// The bodies that cases send with success, each once.
fn bodies(cases: &[Example]) -> Option<Value> {
    let mut examples = Map::new();
    for case in cases.iter().filter(|case| case.reason().is_none()) {
        let body = case.body.clone().unwrap_or_else(|| json!({}));
        if examples.len() < MAX_EXAMPLES && !examples.values().any(|known: &Value| known["value"] == body) {
            examples.insert(case.name.clone(), json!({ "summary": case.title, "value": body }));
        }
    }
    (!examples.is_empty()).then_some(Value::Object(examples))
}

fn act_description(route: &Route) -> String {
    let again = match route.repeat {
        Repeat::Never => "A call whose outcome is `unknown` may have acted: look before it is sent again.",
        Repeat::SameKey | Repeat::Safe => "A second call changes nothing that the first has not.",
    };
    let ended = if route.pursuit.settles.is_some() {
        " A task that has ended already is a success that says so (`already`)."
    } else {
        ""
    };
    format!("{}.{ended} {again}", route.title)
}

/// Bounds that every id has, whatever its provider says of it: an id is one segment of a path.
fn restrict_id(schema: &mut Value) {
    super::published(schema, "");
    if schema.get("type").and_then(Value::as_str) != Some("string") {
        return;
    }
    if let Some(members) = schema.as_object_mut() {
        members.entry("maxLength").or_insert_with(|| 256.into());
        members
            .entry("pattern")
            .or_insert_with(|| "^[^\\u0000-\\u001F\\u007F/\\\\]+$".into());
    }
}

/// A header that may hold anything: what is of no use is ignored.
fn free_text() -> Value {
    json!({ "type": "string", "maxLength": HEADER_BYTES, "pattern": "^[^\\u0000-\\u0008\\u000A-\\u001F\\u007F]*$" })
}

const DONE: &str = "Done: the vendor confirms the effect, or there was nothing left to do (`already`). With `validate_only` nothing is sent, and the outcome is `not_done`.";
const ACCEPTED: &str = "Accepted: the vendor took the request; the effect is under way.";
const LOOKED: &str = "The task.";
/// All headers of a request together have no more; a longer one is refused for its size.
const HEADER_BYTES: u32 = 32 * 1024;
/// More show nothing new.
const MAX_EXAMPLES: usize = 4;
