//! `/providers` and `/schemas`: what can be called, with which values, and whether it can be called now.
//!
//! **Shape**: a [`Provider`] -> `{"name":"acme","configured":true,"id":{…},"actions":[{"name":"stop","path":"/tasks/acme/{id}:stop",…}],…}`.
//!
//! **Invariants**: names of variables, never what they hold; of the defaults of the scope the names only.

use serde_json::{Value, json};

use crate::route::{Provider, Route};

/// How a provider was doing when it was last called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// In a word.
    pub state: HealthState,
    /// The last answer that was no trouble (RFC 3339).
    pub last_answered_at: Option<String>,
    /// The last trouble (RFC 3339).
    pub last_failed_at: Option<String>,
}

/// How a provider was doing, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthState {
    /// Its last call was answered.
    Answering,
    /// Its last call came to nothing.
    Failing,
    /// It is left alone for a while.
    Suspended,
    /// It has not been called yet.
    #[default]
    Unknown,
}

impl HealthState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Answering, Self::Failing, Self::Suspended, Self::Unknown];

    /// The word in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answering => "answering",
            Self::Failing => "failing",
            Self::Suspended => "suspended",
            Self::Unknown => "unknown",
        }
    }
}

impl Health {
    /// As the document of `/status` has it: `{"breaker":{"state":"closed",…},"last_answered_at":…,"last_failed_at":…}`. Times are all of one
    /// form, so their order is that of their texts.
    #[must_use]
    pub fn of_status(status: &Value) -> Self {
        let at = |name: &str| status.get(name).and_then(Value::as_str).map(str::to_owned);
        let (last_answered_at, last_failed_at) = (at("last_answered_at"), at("last_failed_at"));
        let is_suspended = status.pointer("/breaker/state").and_then(Value::as_str) == Some("open");
        let state = match (&last_answered_at, &last_failed_at) {
            _ if is_suspended => HealthState::Suspended,
            (None, None) => HealthState::Unknown,
            (answered, failed) if answered >= failed => HealthState::Answering,
            _ => HealthState::Failing,
        };
        Self {
            state,
            last_answered_at,
            last_failed_at,
        }
    }

    fn document(&self) -> Value {
        json!({ "state": self.state.as_str(), "last_answered_at": self.last_answered_at, "last_failed_at": self.last_failed_at })
    }
}

/// The document of `/providers`.
pub(super) fn list<'a>(providers: impl Iterator<Item = (&'a Provider, Health)>) -> Value {
    let providers: Vec<Value> = providers
        .map(|(provider, health)| {
            json!({
                "name": provider.name,
                "title": provider.title,
                "url": format!("/providers/{}", provider.name),
                "configured": provider.connection.is_ok(),
                "actions": provider.actions.keys().collect::<Vec<_>>(),
                "task": provider.task.is_some(),
                "health": health.document(),
            })
        })
        .collect();
    json!({ "providers": providers })
}

/// The document of `/providers/{provider}`.
pub(super) fn one(provider: &Provider, health: &Health) -> Value {
    let actions: Vec<Value> = provider.actions.values().map(|route| entry(provider, route)).collect();
    json!({
        "name": provider.name,
        "title": provider.title,
        "url": format!("/providers/{}", provider.name),
        "configured": provider.connection.is_ok(),
        "missing": provider.connection.as_ref().err().cloned().unwrap_or_default(),
        "alternatives": provider.alternatives,
        "id": { "description": provider.id.description, "schema": provider.id.document },
        "scope_defaults": provider.scope.keys().collect::<Vec<_>>(),
        "actions": actions,
        "task": provider.task.as_ref().map(|task| entry(provider, &task.route)),
        "health": health.document(),
    })
}

fn entry(provider: &Provider, route: &Route) -> Value {
    let task = format!("/tasks/{}/{{id}}", provider.name);
    let (method, path) = if route.is_look() {
        ("GET", task)
    } else {
        ("POST", format!("{task}:{}", route.action))
    };
    json!({ "name": route.action, "title": route.title, "method": method, "path": path, "schema": schema_path(&provider.name, &route.action) })
}

/// Where the schema of an action is.
pub(super) fn schema_path(provider: &str, action: &str) -> String {
    format!("/schemas/{provider}/{action}.json")
}

/// The schema of an action or of a look, as it is published.
pub(super) fn schema(route: &Route) -> Value {
    let mut document = route.schema.document.clone();
    if let Some(members) = document.as_object_mut() {
        members.entry("$schema").or_insert_with(|| DIALECT.into());
    }
    document
}

/// The actions of a provider, and the look where there is one.
pub(super) fn routes(provider: &Provider) -> impl Iterator<Item = &Route> {
    let look = provider.task.iter().map(|task| &*task.route);
    provider.actions.values().map(|route| &**route).chain(look)
}

/// The dialect of every schema here.
pub(super) const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_in_a_word() {
        let status = |breaker: &str, answered: Value, failed: Value| {
            let status = json!({ "breaker": { "state": breaker }, "last_answered_at": answered, "last_failed_at": failed });
            Health::of_status(&status).state
        };
        let (early, late) = (json!("2026-01-02T03:04:05Z"), json!("2026-01-02T03:04:06Z"));
        assert_eq!(status("closed", Value::Null, Value::Null), HealthState::Unknown);
        assert_eq!(status("closed", late.clone(), early.clone()), HealthState::Answering);
        assert_eq!(status("none", early.clone(), Value::Null), HealthState::Answering);
        assert_eq!(status("closed", early.clone(), late.clone()), HealthState::Failing);
        assert_eq!(status("closed", Value::Null, late.clone()), HealthState::Failing);
        assert_eq!(status("open", late, early), HealthState::Suspended);
        assert_eq!(Health::of_status(&Value::Null), Health::default());
    }
}
