//! What every answer of taskgate must be, whatever it says: checked on each answer that any test gets.
//!
//! **Shape**: `Told { status, headers, body }` with [`Told::check`]; `told.word()` -> `202 accepted` or `404 UNKNOWN_PATH`.

use std::sync::LazyLock;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use taskgate::catalog::shapes::CANONICAL;
use taskgate::model::reason::Reason;
use taskgate::schema::Schema;

/// What a caller was told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Where an answer was received: on a socket the HTTP library adds headers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    FromTheStack,
    OnTheWire,
}

impl Told {
    /// The document; the test ends when there is none.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A member of the document as text; empty when it is not there.
    #[track_caller]
    pub(crate) fn text(&self, pointer: &str) -> String {
        match self.json().pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Status and reason, or status and outcome: `404 UNKNOWN_PATH`, `202 accepted`.
    #[track_caller]
    pub(crate) fn word(&self) -> String {
        let word = if self.status >= 400 {
            self.text("/reason")
        } else {
            self.text("/outcome")
        };
        format!("{} {word}", self.status)
    }

    /// The contract: media type, headers of the list, a document that is valid under its schema and agrees with the status line.
    #[track_caller]
    pub(crate) fn check(&self, seen: Seen) {
        let allowed = |name: &str| OURS.contains(&name) || (seen == Seen::OnTheWire && OF_THE_LIBRARY.contains(&name));
        for name in self.headers.keys() {
            assert!(allowed(name.as_str()), "the header `{name}` is not one that may leave: {self:?}");
            assert_eq!(
                self.headers.get_all(name).iter().count(),
                1,
                "`{name}` stands there twice: {self:?}"
            );
        }
        let document = self.json();
        let is_error = self.status >= 400;
        let is_preview = document.get("validate_only").is_some();
        let is_of_many = document.get("results").is_some();
        let (media_type, schema) = if is_preview && is_of_many {
            ("application/json", &*BATCH_PREVIEW)
        } else if is_preview {
            ("application/json", &*PREVIEW)
        } else if is_error {
            ("application/problem+json", &*PROBLEM)
        } else if is_of_many {
            ("application/json", &*BATCH)
        } else {
            ("application/json", &*ANSWER)
        };
        assert_eq!(self.header(CONTENT_TYPE.as_str()), Some(media_type), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        // What was said before has the id of the request to which it was said.
        if self.header("idempotency-replayed").is_none() {
            assert_eq!(self.header("x-request-id").unwrap(), document["request_id"], "{self:?}");
        }
        let violations = schema.violations(&document);
        assert!(violations.is_empty(), "{violations:?}: {document}");
        if is_error {
            let facts = Reason::parse(document["reason"].as_str().unwrap()).unwrap().facts();
            assert_eq!(document["status"], self.status, "{document}");
            assert_eq!(facts.status, self.status, "{document}");
            assert_eq!(document["outcome"], facts.outcome.as_str(), "{document}");
            assert_eq!(document["retryable"], facts.retryable, "{document}");
        } else if is_preview && is_of_many {
            self.check_shown(&document);
        } else if is_preview {
            assert_eq!((self.status, &document["outcome"]), (200, &Value::from("not_done")), "{document}");
        } else if let Some(results) = document["results"].as_array() {
            self.check_results(&document, results);
        } else {
            let outcome = if self.status == 202 { "accepted" } else { "done" };
            assert!(matches!(self.status, 200 | 202), "{self:?}");
            assert_eq!(document["outcome"], outcome, "{document}");
        }
    }
}

impl Told {
    /// What would be sent agrees with what is said of each task.
    #[track_caller]
    fn check_shown(&self, document: &Value) {
        let results = document["results"].as_array().unwrap();
        let fails = results.iter().any(|result| result.get("error").is_some());
        assert_eq!(self.status, if fails { 207 } else { 200 }, "{document}");
        let valid = results.iter().filter(|result| result.get("error").is_none());
        let mut valid: Vec<&str> = valid.map(|result| result["task"].as_str().unwrap()).collect();
        let requests = document["vendor_requests"].as_array().unwrap().iter();
        let mut sent: Vec<&str> = requests
            .flat_map(|request| request["tasks"].as_array().unwrap())
            .map(|task| task.as_str().unwrap())
            .collect();
        valid.sort_unstable();
        sent.sort_unstable();
        assert_eq!(valid, sent, "each is sent once: {document}");
        check_entries(document, results);
    }

    /// The results of a batch agree with its summary, its status and themselves.
    #[track_caller]
    fn check_results(&self, document: &Value, results: &[Value]) {
        let count = |outcome: &str| results.iter().filter(|result| result["outcome"] == outcome).count();
        let status = if count("done") == results.len() {
            200
        } else if count("done") + count("accepted") == results.len() {
            202
        } else {
            207
        };
        assert_eq!(self.status, status, "{document}");
        check_entries(document, results);
        for result in results {
            assert_eq!(result["request_id"], document["request_id"], "{document}");
        }
    }
}

/// What stands in the answer about many tasks agrees with its summary and with itself.
#[track_caller]
fn check_entries(document: &Value, results: &[Value]) {
    let count = |outcome: &str| results.iter().filter(|result| result["outcome"] == outcome).count();
    let summary = ["done", "accepted", "not_done", "unknown"].map(|outcome| (outcome.to_owned(), Value::from(count(outcome))));
    assert_eq!(document["summary"], Value::Object(summary.into_iter().collect()), "{document}");
    for result in results {
        let name = format!("tasks/{}/{}", result["provider"].as_str().unwrap(), result["id"].as_str().unwrap());
        assert_eq!(result["task"], name, "{document}");
        let Some(error) = result.get("error") else { continue };
        let facts = Reason::parse(error["reason"].as_str().unwrap()).unwrap().facts();
        assert_eq!(
            (&error["status"], &error["outcome"]),
            (&facts.status.into(), &result["outcome"]),
            "{document}"
        );
        assert_eq!(error["request_id"], document["request_id"], "{document}");
    }
}

/// Reads one of the canonical schemas, which stand alone.
fn canonical(text: &str) -> Schema {
    Schema::compile(&serde_json::from_str(text).unwrap()).unwrap()
}

/// The answer of a success.
pub(crate) static ANSWER: LazyLock<Schema> = LazyLock::new(|| canonical(include_str!("../../schemas/canonical/answer.json")));
/// The answer of everything else.
pub(crate) static PROBLEM: LazyLock<Schema> = LazyLock::new(|| canonical(include_str!("../../schemas/canonical/problem.json")));

/// The answer that shows what would be sent.
pub(crate) static PREVIEW: LazyLock<Schema> = LazyLock::new(|| canonical(include_str!("../../schemas/canonical/preview.json")));

/// A canonical schema with those that it refers to in it.
fn whole(name: &str) -> Schema {
    let mut definitions = Map::new();
    for (file, text) in CANONICAL {
        let mut text = text.replace("\"#/$defs/", &format!("\"#/$defs/{file}/$defs/"));
        for (other, _) in CANONICAL {
            text = text
                .replace(&format!("\"{other}#/"), &format!("\"#/$defs/{other}/"))
                .replace(&format!("\"$ref\": \"{other}\""), &format!("\"$ref\": \"#/$defs/{other}\""));
        }
        definitions.insert(file.to_owned(), serde_json::from_str(&text).unwrap());
    }
    Schema::compile(&json!({ "$ref": format!("#/$defs/{name}"), "$defs": definitions })).unwrap()
}

/// The answer to a batch.
static BATCH: LazyLock<Schema> = LazyLock::new(|| whole("batch.json"));

/// The answer that shows what would be sent for many tasks.
static BATCH_PREVIEW: LazyLock<Schema> = LazyLock::new(|| whole("batch_preview.json"));

/// The headers that taskgate sends.
const OURS: [&str; 14] = [
    "accept-encoding",
    "allow",
    "cache-control",
    "content-encoding",
    "content-type",
    "idempotency-replayed",
    "preference-applied",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "vary",
    "via",
    "www-authenticate",
    "x-request-id",
];
/// The framing.
const OF_THE_LIBRARY: [&str; 3] = ["connection", "content-length", "date"];
