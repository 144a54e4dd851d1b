//! `taskgate stop`, `retry`, `act`, `status` and `batch`: the client of the API, for people and their scripts.
//!
//! **Shape**: `taskgate stop acme 15 --wait` -> `POST /tasks/acme/15:stop` with `Prefer: wait=60` -> a table, exit code 0.
//!
//! **Invariants**: nothing is sent twice. The exit code says what is known about the effect ([`exit_code`]), also where the gateway
//! could not be reached (not done) or its answer was lost (unknown).

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{CliError, parse_duration};
use crate::codec::{Limits as Bounds, json};
use crate::config::parse_endpoint;
use crate::model::answer::Outcome;
use crate::model::call::UpstreamRequest;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::route::{Connection, Credentials, Limits};
use crate::trust::{self, Trust};
use crate::upstream::client::UpstreamClient;

pub(super) mod act;
pub(super) mod many;
mod shown;
pub(super) mod status;

/// Where the gateway is, and how its answers are shown.
#[derive(Args, Clone, Debug)]
pub(super) struct ClientArgs {
    /// Where taskgate is
    #[arg(long, env = "TASKGATE_URL", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The authorities that vouch for an https URL, in PEM [default: the public ones]
    #[arg(long, env = "TASKGATE_URL_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A header of the request, such as a token that taskgate hands on; may be given again
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// How long to wait for an answer, besides what --wait says
    #[arg(long, value_name = "TIME", default_value = "40s", value_parser = parse_duration)]
    timeout: Duration,
    /// How the answer is shown
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// The whole document
    Json,
}

/// What the caller says besides which task.
#[derive(Args, Clone, Debug)]
pub(super) struct RequestArgs {
    /// Where the task lives, such as `instance=ebf891cd-…`; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    scope: Vec<(String, String)>,
    /// A parameter of the provider's own, JSON or text; may be given again
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_pair)]
    parameters: Vec<(String, String)>,
    /// Also where the vendor would rather not
    #[arg(long)]
    force: bool,
    /// Why; for the log of the gateway
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The whole request as a JSON object; what the other options say comes on top
    #[arg(long, short, value_name = "JSON")]
    data: Option<String>,
}

impl RequestArgs {
    /// The canonical request.
    fn body(&self) -> Result<Map<String, Value>, CliError> {
        let mut body = match &self.data {
            None => Map::new(),
            Some(text) => match json::decode(text.as_bytes(), &Bounds::REQUEST) {
                Ok(Value::Object(members)) => members,
                Ok(_) => return Err(CliError::Refused("--data is a JSON object".to_owned())),
                Err(error) => return Err(CliError::Refused(format!("--data cannot be read: {error}"))),
            },
        };
        add(&mut body, "scope", &self.scope, |text| Value::from(text))?;
        add(&mut body, "parameters", &self.parameters, |text| {
            json::decode(text.as_bytes(), &Bounds::REQUEST).unwrap_or_else(|_| Value::from(text))
        })?;
        if self.force {
            body.insert("force".to_owned(), Value::Bool(true));
        }
        if let Some(reason) = &self.reason {
            body.insert("reason".to_owned(), Value::from(reason.as_str()));
        }
        Ok(body)
    }
}

fn add(body: &mut Map<String, Value>, member: &str, pairs: &[(String, String)], read: impl Fn(&str) -> Value) -> Result<(), CliError> {
    if pairs.is_empty() {
        return Ok(());
    }
    match body.entry(member).or_insert_with(|| json!({})) {
        Value::Object(members) => members.extend(pairs.iter().map(|(name, value)| (name.clone(), read(value)))),
        _ => return Err(CliError::Refused(format!("`{member}` in --data is no object"))),
    }
    Ok(())
}

/// What came back: a document, and what it says about the effect.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    document: Value,
    outcome: Outcome,
}

/// The connection to a gateway.
struct Client {
    upstream: UpstreamClient,
    headers: HeaderMap,
    timeout: Duration,
}

impl Client {
    fn new(args: &ClientArgs, wait: Duration) -> Result<Self, CliError> {
        let endpoint = parse_endpoint(&args.url).map_err(|why| CliError::Refused(format!("--url {}: {why}", args.url)))?;
        let mut trust = Trust::default();
        if let Some(file) = &args.ca_file {
            let text = std::fs::read(file).map_err(|error| CliError::system(format!("{} cannot be read", file.display()), error))?;
            let authorities = trust::authorities(&text).map_err(|error| CliError::system(format!("{}", file.display()), error))?;
            trust.authorities = Some(authorities);
        }
        let connection = Connection {
            endpoint,
            credentials: Credentials::None,
            trust,
        };
        let timeout = args.timeout + wait;
        let limits = Limits {
            timeout,
            max_reply_bytes: MAX_ANSWER_BYTES,
            ..Limits::default()
        };
        let upstream =
            UpstreamClient::new(&connection, &limits, VIA).map_err(|error| CliError::system("the client cannot be set up", error))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/problem+json"));
        for header in &args.headers {
            let read = header.split_once(':').and_then(|(name, value)| {
                let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
                Some((name, HeaderValue::from_str(value.trim()).ok()?))
            });
            // Its value may be a secret.
            let (name, value) = read.ok_or_else(|| CliError::Refused("--header is `Name: value`".to_owned()))?;
            headers.append(name, value);
        }
        Ok(Self {
            upstream,
            headers,
            timeout,
        })
    }

    /// Acts: once, whatever comes of it.
    async fn post(&self, target: String, body: &Map<String, Value>, more: &[(HeaderName, String)]) -> Result<Said, CliError> {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = serde_json::to_vec(body).map_err(|error| CliError::system("the request cannot be written", error))?;
        self.send(Method::POST, target, headers, Bytes::from(body), more).await
    }

    /// Looks.
    async fn get(&self, target: String, more: &[(HeaderName, String)]) -> Result<Said, CliError> {
        self.send(Method::GET, target, self.headers.clone(), Bytes::new(), more).await
    }

    async fn send(
        &self,
        method: Method,
        target: String,
        mut headers: HeaderMap,
        body: Bytes,
        more: &[(HeaderName, String)],
    ) -> Result<Said, CliError> {
        for (name, value) in more {
            let value = HeaderValue::from_str(value).map_err(|error| CliError::system(format!("`{name}` cannot be sent"), error))?;
            headers.insert(name.clone(), value);
        }
        let request = UpstreamRequest {
            method,
            target,
            headers,
            body,
        };
        match self.upstream.send(request, Instant::now() + self.timeout).await {
            Ok(exchange) => Ok(read(exchange.reply.status, &exchange.reply.body)),
            // What --header asks for is nothing that a caller may set; nothing was sent.
            Err(error) if error.reason == Reason::MappingFailed => {
                let why = error.internal.unwrap_or_default();
                Err(CliError::Refused(format!("the request cannot be sent: {why}")))
            }
            Err(error) => Ok(unheard(&error)),
        }
    }
}

/// What a gateway's answer says. Whatever is none of a gateway says nothing.
fn read(status: StatusCode, body: &[u8]) -> Said {
    let document = json::decode(body, &Bounds::REPLY).unwrap_or(Value::Null);
    let said = document.get("outcome").and_then(Value::as_str).and_then(outcome_of);
    match said {
        Some(outcome) => Said { document, outcome },
        None if document.get("results").is_some_and(Value::is_array) => Said {
            outcome: worst(&document),
            document,
        },
        None => {
            let detail = format!("what answers at this URL with {} does not speak as taskgate does", status.as_u16());
            Said {
                document: json!({ "reason": "BAD_ANSWER", "detail": detail, "outcome": Outcome::Unknown.as_str() }),
                outcome: Outcome::Unknown,
            }
        }
    }
}

/// No answer came. The client has the gateway's own words for why, but it is the gateway that it did not reach.
fn unheard(error: &GatewayError) -> Said {
    let outcome = error.reason.facts().outcome;
    let detail = match outcome {
        Outcome::NotDone => "taskgate cannot be reached; nothing was sent",
        Outcome::Accepted | Outcome::Done | Outcome::Unknown => {
            "taskgate's answer was lost or cannot be read; the action may have happened"
        }
    };
    let mut document = json!({ "reason": "NO_ANSWER", "detail": detail, "outcome": outcome.as_str() });
    if let (Some(why), Some(members)) = (&error.internal, document.as_object_mut()) {
        members.insert("cause".to_owned(), Value::from(why.as_str()));
    }
    Said { document, outcome }
}

/// The worst of a batch's items: what is not known before what is not done, before what is under way.
fn worst(document: &Value) -> Outcome {
    let items = document.get("results").and_then(Value::as_array);
    let outcomes = items.into_iter().flatten().map(outcome_in);
    outcomes.max_by_key(|outcome| weight(*outcome)).unwrap_or(Outcome::Unknown)
}

fn outcome_in(document: &Value) -> Outcome {
    document
        .get("outcome")
        .and_then(Value::as_str)
        .and_then(outcome_of)
        .unwrap_or(Outcome::Unknown)
}

fn outcome_of(word: &str) -> Option<Outcome> {
    [Outcome::Accepted, Outcome::Done, Outcome::NotDone, Outcome::Unknown]
        .into_iter()
        .find(|outcome| outcome.as_str() == word)
}

fn weight(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Done => 0,
        Outcome::Accepted => 3,
        Outcome::NotDone => 4,
        Outcome::Unknown => 5,
    }
}

/// 0 done, 3 accepted, 4 not done, 5 unknown. 1 and 2 are those of every command: it could not be run, it was not understood.
fn exit_code(outcome: Outcome) -> ExitCode {
    ExitCode::from(weight(outcome))
}

/// One segment of a path.
fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// `NAME=VALUE`.
fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Is somebody looking at standard error?
fn is_watched() -> bool {
    io::IsTerminal::is_terminal(&io::stderr())
}

/// `Prefer: wait=…` in whole seconds, as the gateway caps it.
fn prefer_wait(wait: Duration) -> (HeaderName, String) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    (HeaderName::from_static("prefer"), format!("wait={seconds}"))
}

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The name in `Via`: another one than a gateway's, which would take its own for a loop.
const VIA: &str = "taskgate-client";
/// A thousand items with an error each.
const MAX_ANSWER_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_strangers_are_not_believed() {
        for (status, body, outcome) in [
            (200, r#"{"outcome":"done"}"#, Outcome::Done),
            (202, r#"{"outcome":"accepted"}"#, Outcome::Accepted),
            (404, r#"{"outcome":"not_done","reason":"TASK_NOT_FOUND"}"#, Outcome::NotDone),
            (504, r#"{"outcome":"unknown"}"#, Outcome::Unknown),
            (
                207,
                r#"{"results":[{"outcome":"done"},{"outcome":"not_done"},{"outcome":"accepted"}]}"#,
                Outcome::NotDone,
            ),
            (200, r#"{"results":[{"outcome":"done"},{}]}"#, Outcome::Unknown),
            (200, "<html>hello</html>", Outcome::Unknown),
            (200, r#"{"outcome":"perfect"}"#, Outcome::Unknown),
            (503, "", Outcome::Unknown),
        ] {
            let said = read(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert_eq!(said.outcome, outcome, "{status} {body}");
        }
    }

    #[test]
    fn who_was_not_reached_did_nothing() {
        let unreached = unheard(&GatewayError::new(Reason::VendorUnreachable, "").with_internal("refused"));
        assert_eq!(
            (unreached.outcome, &unreached.document["cause"]),
            (Outcome::NotDone, &json!("refused"))
        );
        assert_eq!(unheard(&GatewayError::new(Reason::VendorTimeout, "")).outcome, Outcome::Unknown);
    }

    #[test]
    fn options_become_the_canonical_request() {
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let args = RequestArgs {
            scope: pairs(&[("instance", "7"), ("project", "p")]),
            parameters: pairs(&[("range", "all_failed"), ("clusters", r#"[{"id":"c-1"}]"#)]),
            force: true,
            reason: Some("INC-1".to_owned()),
            data: Some(r#"{"scope":{"project":"q","x":"y"}}"#.to_owned()),
        };
        let expected = json!({
            "scope": { "instance": "7", "project": "p", "x": "y" },
            "parameters": { "range": "all_failed", "clusters": [{ "id": "c-1" }] },
            "force": true,
            "reason": "INC-1",
        });
        assert_eq!(Value::Object(args.body().unwrap()), expected);
        for data in ["[]", "{", r#"{"scope":1}"#] {
            let args = RequestArgs {
                data: Some(data.to_owned()),
                ..args.clone()
            };
            assert!(args.body().is_err(), "{data}");
        }
    }
}
