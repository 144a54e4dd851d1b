//! What a key is looked up by, and what it was given for: digests, so that a store holds neither keys nor requests.
//!
//! **Shape**: caller, provider and action -> [`Scope`]; with the key -> [`Name`]. Method, path, body and the caller's own credentials ->
//! [`Fingerprint`].
//!
//! **Invariants**: the parts are digested with their lengths, so that no two lists of parts are the same text. Equal members in
//! another order are the same body; everything else that differs is another call.

use std::fmt;

use http::{HeaderMap, Method};
use serde_json::{Map, Value};

use super::key::IdempotencyKey;
use crate::crypto::sha256;

/// Within what a key means one call: who calls, and by which route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Who calls, where that is proven. Callers whose identity nobody has checked are one caller.
    pub caller: Option<String>,
    /// The provider; none for a call across providers.
    pub provider: Option<String>,
    /// The verb as it stands in the path.
    pub action: String,
}

/// What a record is found by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name([u8; 32]);

/// What was asked for under a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Name {
    /// The name of a key in its scope.
    #[must_use]
    pub fn of(scope: &Scope, key: &IdempotencyKey) -> Self {
        let optional = |part: &Option<String>| part.as_ref().map(|part| part.as_bytes().to_vec());
        let mut parts = Parts::new(b"name");
        parts.optional(optional(&scope.caller).as_deref());
        parts.optional(optional(&scope.provider).as_deref());
        parts.part(scope.action.as_bytes());
        parts.part(key.as_str().as_bytes());
        Self(parts.digest())
    }

    /// The digest, for a store elsewhere.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Fingerprint {
    /// The fingerprint of a request: its path as it was sent, the canonical body, and the caller's headers that go on to the vendor
    /// (`passed`), as the same words said as somebody else are another call.
    #[must_use]
    pub fn of(method: &Method, path: &str, body: &Map<String, Value>, passed: &HeaderMap) -> Self {
        let mut parts = Parts::new(b"fingerprint");
        parts.part(method.as_str().as_bytes());
        parts.part(path.as_bytes());
        // Members are in the order of their names, whatever the order of the document was.
        parts.part(Value::Object(body.clone()).to_string().as_bytes());
        let mut headers: Vec<(&str, &[u8])> = passed.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        headers.sort_unstable();
        for (name, value) in headers {
            parts.part(name.as_bytes());
            parts.part(value);
        }
        Self(parts.digest())
    }

    /// The digest, for a store elsewhere.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        short(f, "Name", &self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        short(f, "Fingerprint", &self.0)
    }
}

fn short(f: &mut fmt::Formatter<'_>, what: &str, digest: &[u8; 32]) -> fmt::Result {
    let [a, b, c, d, ..] = digest;
    write!(f, "{what}({a:02x}{b:02x}{c:02x}{d:02x}…)")
}

/// Parts with their lengths, one behind the other.
struct Parts(Vec<u8>);

impl Parts {
    fn new(label: &[u8]) -> Self {
        let mut parts = Self(Vec::new());
        parts.part(label);
        parts
    }

    fn part(&mut self, part: &[u8]) {
        self.0.extend_from_slice(&(part.len() as u64).to_be_bytes());
        self.0.extend_from_slice(part);
    }

    fn optional(&mut self, part: Option<&[u8]>) {
        self.0.push(part.is_some().into());
        self.part(part.unwrap_or_default());
    }

    fn digest(&self) -> [u8; 32] {
        sha256(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HeaderName;

    use super::*;

    fn key(text: &str) -> IdempotencyKey {
        let value = HeaderValue::from_str(&format!("\"{text}\"")).unwrap();
        IdempotencyKey::parse(&HeaderMap::from_iter([(super::super::IDEMPOTENCY_KEY, value)]))
            .unwrap()
            .unwrap()
    }

    fn scope(caller: Option<&str>, provider: Option<&str>, action: &str) -> Scope {
        let owned = |text: &str| text.to_owned();
        Scope {
            caller: caller.map(owned),
            provider: provider.map(owned),
            action: action.to_owned(),
        }
    }

    #[test]
    fn a_key_means_something_else_in_every_scope() {
        let names = [
            Name::of(&scope(None, Some("acme"), "stop"), &key("k")),
            Name::of(&scope(None, Some("acme"), "retry"), &key("k")),
            Name::of(&scope(None, Some("acm"), "estop"), &key("k")),
            Name::of(&scope(None, None, "batchStop"), &key("k")),
            Name::of(&scope(Some(""), Some("acme"), "stop"), &key("k")),
            Name::of(&scope(Some("anna"), Some("acme"), "stop"), &key("k")),
            Name::of(&scope(Some("bert"), Some("acme"), "stop"), &key("k")),
            Name::of(&scope(None, Some("acme"), "stop"), &key("K")),
            Name::of(&scope(None, Some("acme"), "sto"), &key("pk")),
        ];
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{at}");
        }
        assert_eq!(names[5], Name::of(&scope(Some("anna"), Some("acme"), "stop"), &key("k")));
    }

    #[test]
    fn a_fingerprint_is_of_the_meaning_and_of_nothing_else() {
        let of = |method: Method, path: &str, body: &str, passed: &[(&'static str, &'static str)]| {
            let body: Value = serde_json::from_str(body).unwrap();
            let passed = passed
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            Fingerprint::of(&method, path, body.as_object().unwrap(), &passed.collect())
        };
        let post = |path: &str, body: &str| of(Method::POST, path, body, &[]);
        let first = post("/tasks/acme/15:stop", r#"{"force":true,"scope":{"a":1,"b":2}}"#);
        assert_eq!(first, post("/tasks/acme/15:stop", r#" {"scope" : {"b":2,"a":1}, "force":true}"#));
        let tokens = [("x-token", "that-opens-nothing-1"), ("x-other", "a")];
        let as_somebody = of(Method::POST, "/tasks/acme/15:stop", "{}", &tokens);
        assert_eq!(as_somebody, of(Method::POST, "/tasks/acme/15:stop", "{}", &[tokens[1], tokens[0]]));
        let others = [
            first,
            as_somebody,
            post("/tasks/acme/15:stop", "{}"),
            post("/tasks/acme/15:stop", r#"{"force":false,"scope":{"a":1,"b":2}}"#),
            post("/tasks/acme/15:stop", r#"{"force":true,"scope":{"a":1,"b":"2"}}"#),
            post("/tasks/acme/16:stop", r#"{"force":true,"scope":{"a":1,"b":2}}"#),
            of(Method::PUT, "/tasks/acme/15:stop", "{}", &[]),
            of(
                Method::POST,
                "/tasks/acme/15:stop",
                "{}",
                &[("x-token", "that-opens-nothing-2"), ("x-other", "a")],
            ),
        ];
        for (at, fingerprint) in others.iter().enumerate() {
            assert!(!others[..at].contains(fingerprint), "{at}");
        }
    }
}
