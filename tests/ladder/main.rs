//! The way to a vendor over a network that breaks where a test says: what goes out again, what never does, and what is told.
#![expect(clippy::unwrap_used, reason = "tests say what must hold")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::sources::Sources;
use taskgate::layer::dispatch::Dispatch;
use taskgate::layer::{Aim, CallContext, CallCredentials, CredentialUse, Doubt, Exchange, Outbound};
use taskgate::model::answer::Outcome;
use taskgate::model::call::UpstreamRequest;
use taskgate::model::error::GatewayError;
use taskgate::model::reason::Reason;
use taskgate::route::{Limits, Route, RouteTable};
use taskgate::stack::{self, StackLimits};
use taskgate::telemetry::metrics::recorder;
use taskgate::upstream::credentials::Keyring;
use taskgate::upstream::policy::ProviderService;
use tokio::time::Instant;
use tower::ServiceExt as _;

use network::{Line, Scripted, Seen};

mod network;
mod proof;
mod reach;
mod rules;

/// One provider whose actions differ in what may be repeated.
const ROUTES: &str = r#"
version: 1
faults:
  acme:
    code: ["${?body.code}"]
    message: "${?body.message}"
    codes: { SLOW_DOWN: VENDOR_RATE_LIMITED, GONE: TASK_NOT_FOUND, BUSY: VENDOR_UNAVAILABLE, MINE: VENDOR_REJECTED }
providers:
  acme:
    title: Acme
    endpoint: http://vendor.test
    faults: acme
    id: { type: integer }
    task:
      schema: request.json
      request: { method: GET, path: "/${id}" }
      reply: { schema: reply.json }
      item: "${body}"
      state: { map: "${?body.state}", to: { running: running, stopped: stopped }, else: unknown }
    actions:
      stop:
        title: Stop
        schema: request.json
        request: { method: POST, path: "/${id}" }
        reply: { schema: reply.json, outcome: [{ status: 200, is: done, state: stopped }] }
"#;

/// The actions beside `stop`, with what they say about repeating.
const ACTIONS: [(&str, &str); 4] = [
    ("limited", "limited_before_acting: true"),
    ("safe", "repeat: safe"),
    ("safeAndLimited", "repeat: safe\n        limited_before_acting: true"),
    ("sameKey", "repeat: same-key"),
];

fn routes() -> String {
    let (head, action) = ROUTES.split_once("      stop:\n").unwrap();
    let mut text = format!("{head}      stop:\n{action}");
    for (name, says) in ACTIONS {
        let action = action.replace("\"/${id}\" }", "\"/${id}\", headers: { X-Key: \"${call.uuid}\" } }");
        text.push_str(&format!("      {name}:\n        {says}\n{}", action.trim_start_matches('\n')));
    }
    text
}

fn table() -> Arc<RouteTable> {
    let request = r#"{ "type": "object", "additionalProperties": false, "properties": {} }"#;
    let reply = r#"{ "type": "object", "properties": { "state": { "type": "string" } } }"#;
    let text = routes();
    let sources = Sources::memory([("routes.yaml", text.as_str()), ("request.json", request), ("reply.json", reply)]);
    let compiled = compile(&sources, "routes.yaml", &Environment::default());
    compiled.map_err(|rejected| rejected.faults.render(&rejected.files)).unwrap().table
}

/// The way to the vendor over a network.
struct Rig {
    network: Arc<Scripted>,
    table: Arc<RouteTable>,
    service: ProviderService,
}

impl Rig {
    fn new(lines: impl IntoIterator<Item = Line>) -> Self {
        Self::over(Scripted::new(lines), &Limits::default())
    }

    fn over(network: Arc<Scripted>, limits: &Limits) -> Self {
        let table = table();
        let keyring = Keyring::new(&table, "gate-1", network.clone()).unwrap();
        let service = ProviderService::with_keyring("acme", &table.providers["acme"].connection, limits, "gate-1", &keyring).unwrap();
        Self { network, table, service }
    }

    fn route(&self, action: &str) -> Arc<Route> {
        let provider = &self.table.providers["acme"];
        match action {
            "look" => Arc::clone(&provider.task.as_ref().unwrap().route),
            action => Arc::clone(&provider.actions[action]),
        }
    }

    async fn call(&self, action: &str) -> Result<Exchange, GatewayError> {
        self.call_within(action, Duration::from_secs(30)).await
    }

    async fn call_within(&self, action: &str, time: Duration) -> Result<Exchange, GatewayError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let outbound = Outbound {
            aim: if action == "look" { Aim::Look } else { Aim::Act },
            context: Arc::new(CallContext {
                request_id: "r-1".into(),
                trace: taskgate::layer::trace::Trace::of(&HeaderMap::new()),
                deadline: Instant::now() + time,
                credentials: CallCredentials::default(),
                doubt: Doubt::default(),
                claim: None,
                member: None,
            }),
            provider: Arc::clone(&self.table.providers["acme"]),
            route: self.route(action),
            request: Box::new(UpstreamRequest {
                method: Method::POST,
                target: "/1".to_owned(),
                headers,
                body: Bytes::from_static(b"{\"id\":1}"),
            }),
            credentials: CredentialUse::Normal,
        };
        self.service.send(outbound).await
    }

    /// The whole way of a caller's request: the status, `Retry-After` and the document.
    async fn told(&self, action: &str) -> (u16, Option<String>, Value) {
        let ways = HashMap::from([("acme".to_owned(), self.service.clone())]);
        let gateway = stack::build(Arc::clone(&self.table), &StackLimits::default(), Dispatch::new(ways));
        let request = http::Request::post(format!("/tasks/acme/1:{action}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from_static(b"{}")))
            .unwrap();
        let (head, body) = gateway.oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let after = head.headers.get("retry-after").map(|after| after.to_str().unwrap().to_owned());
        (head.status.as_u16(), after, serde_json::from_slice(&body).unwrap())
    }

    fn seen(&self) -> Seen {
        self.network.seen()
    }
}

/// The status of an answer, or the reason with its outcome.
fn short(result: &Result<Exchange, GatewayError>) -> String {
    match result {
        Ok(exchange) => exchange.reply.status.as_u16().to_string(),
        Err(error) => format!("{} {}", error.reason.code(), error.reason.facts().outcome.as_str()),
    }
}

fn outcome(reason: Reason) -> Outcome {
    reason.facts().outcome
}
