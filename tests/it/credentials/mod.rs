//! Credentials on the wire: logins, expiry, signatures and handed-on headers against vendors on loopback.

mod refused;
mod schemes;
mod sessions;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use taskgate::config::compile::{Rejected, compile};
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::config::sources::Sources;
use taskgate::layer::dispatch::Dispatch;
use taskgate::route::RouteTable;
use taskgate::stack::{self, Gateway, StackLimits};
use taskgate::upstream::credentials::Keyring;
use taskgate::upstream::network::System;
use taskgate::upstream::policy::ProviderService;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

/// What a vendor got: the request without its connection.
#[derive(Clone, Debug)]
struct Got {
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

type Handler = Arc<dyn Fn(&Got) -> (u16, Vec<(&'static str, String)>, String) + Send + Sync>;

/// A server on loopback that answers by a function and remembers what it was asked; ends when dropped.
struct Server {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(handler: impl Fn(&Got) -> (u16, Vec<(&'static str, String)>, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let (handler, seen): (Handler, _) = (Arc::new(handler), Arc::clone(&got));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (handler, seen) = (Arc::clone(&handler), Arc::clone(&seen));
                let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&handler), Arc::clone(&seen)));
                connections.spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, got, task }
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests had this in their first line.
    fn count(&self, part: &str) -> usize {
        self.got().iter().filter(|got| got.line.contains(part)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(request: Request<Incoming>, handler: Handler, seen: Arc<Mutex<Vec<Got>>>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let got = Got {
        line: format!("{} {}", head.method, head.uri),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let (status, headers, body) = handler(&got);
    seen.lock().unwrap().push(got);
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::from(body)).unwrap())
}

/// A gateway over routes, with its ring of credentials.
struct Rig {
    table: Arc<RouteTable>,
    gateway: Gateway<Full<Bytes>>,
    keyring: Keyring,
}

impl Rig {
    fn new(sources: &Sources, environment: &[(&str, &str)]) -> Self {
        let environment: Environment = environment.iter().copied().collect();
        let table = compile(sources, shipped::ROUTES_FILE, &environment).map_err(text).unwrap().table;
        let keyring = Keyring::new(&table, "taskgate", Arc::new(System)).unwrap();
        let ways = table
            .providers
            .iter()
            .map(|(name, provider)| {
                let limits = taskgate::route::Limits {
                    in_flight: 2000,
                    ..provider.limits.clone()
                };
                let way = ProviderService::with_keyring(name, &provider.connection, &limits, "taskgate", &keyring).unwrap();
                (name.clone(), way)
            })
            .collect();
        let limits = StackLimits {
            in_flight: 2000,
            ..StackLimits::default()
        };
        let gateway = stack::build(Arc::clone(&table), &limits, Dispatch::new(ways));
        Self { table, gateway, keyring }
    }

    fn shipped(environment: &[(&str, &str)]) -> Self {
        Self::new(&shipped::sources(), environment)
    }

    async fn call(&self, path: &str, body: Value, headers: &[(&str, &str)]) -> (u16, Value) {
        let mut request = Request::post(path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_string())).unwrap();
        let response = self.gateway.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        if response.status() == StatusCode::UNAUTHORIZED {
            assert!(response.headers().contains_key("www-authenticate"));
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn stop_capture(&self) -> (u16, Value) {
        let path = format!("/tasks/cfw/{CAPTURE}:stop");
        self.call(&path, json!({ "scope": { "instance": "i" } }), &[]).await
    }
}

#[expect(clippy::boxed_local, reason = "the error of `compile` is boxed")]
fn text(rejected: Box<Rejected>) -> String {
    rejected.faults.render(&rejected.files)
}

const CAPTURE: &str = "1dcddab3-7d79-4a56-9e67-4aa0962b98ad";
const PASSWORD: &str = "open-sesame-that-opens-nothing";

/// The variables of the password login.
fn passwords<'a>(vendor: &'a str, iam: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("CFW_ENDPOINT", vendor),
        ("HUAWEI_IAM_ENDPOINT", iam),
        ("HUAWEI_DOMAIN", "account"),
        ("HUAWEI_USER", "user"),
        ("HUAWEI_PASSWORD", PASSWORD),
        ("HUAWEI_PROJECT_ID", "p"),
    ]
}

/// An identity service that numbers its tokens.
async fn iam() -> Server {
    let logins = AtomicUsize::new(0);
    Server::start(move |_| {
        let token = format!("token-{}-that-opens-nothing", logins.fetch_add(1, Ordering::SeqCst) + 1);
        (201, vec![("x-subject-token", token)], r#"{"token":{}}"#.to_owned())
    })
    .await
}

/// A firewall that takes every token but those.
async fn firewall(expired: &'static [&'static str]) -> Server {
    Server::start(move |got| {
        let token = got.headers.get("x-auth-token").map(String::as_str).unwrap_or_default();
        if expired.contains(&token) || expired.contains(&"*") {
            return unauthorized();
        }
        (200, Vec::new(), r#"{"data":{"id":"f","name":"n"}}"#.to_owned())
    })
    .await
}

fn unauthorized() -> (u16, Vec<(&'static str, String)>, String) {
    let body = r#"{"error_msg":"Incorrect IAM authentication information: token expires","error_code":"APIGW.0301"}"#;
    (401, Vec::new(), body.to_owned())
}

/// A management node that takes logins and stops tasks.
async fn node(expired: &'static str) -> Server {
    let logins = AtomicUsize::new(0);
    Server::start(move |got| {
        if got.line.ends_with("/accounts/login") {
            let session = format!("session-{}", logins.fetch_add(1, Ordering::SeqCst) + 1);
            return (
                200,
                Vec::new(),
                json!({ "inventory": { "uuid": session, "accountUuid": "a" } }).to_string(),
            );
        }
        if got.headers.get("authorization").is_some_and(|value| value == expired) {
            let body = json!({ "error": { "code": "ID.1001", "description": "Session expired" } });
            return (503, Vec::new(), body.to_string());
        }
        (200, Vec::new(), shown(got).to_string())
    })
    .await
}

/// The task that runs, to whoever looks; an empty success to whoever acts.
fn shown(got: &Got) -> Value {
    match got.line.strip_prefix("GET /zstack/v1/cbt-task/") {
        Some(id) => json!({ "inventories": [{ "uuid": id, "name": "My Task", "status": "Running" }] }),
        None => json!({}),
    }
}

const CBT: &str = "/tasks/zstack/5ca9c15a50c53f0dac359a64841d7b2b:stop";

/// Routes of one made-up provider with these credentials.
fn made_up(credentials: &str) -> Sources {
    let routes = format!(
        r#"version: 1
credentials:
  sweets:
{credentials}
providers:
  sweets:
    title: Sweets
    endpoint: ${{env.SWEETS_ENDPOINT}}
    credentials: sweets
    id: {{ type: string, pattern: "^[a-z]+$" }}
    actions:
      stop:
        title: Stop
        schema: schemas/stop.request.json
        request: {{ method: POST, path: "/stop/${{id}}" }}
        reply: {{ body: empty, outcome: [{{ status: 204, is: done, state: stopped }}] }}
"#
    );
    let schema =
        r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,"properties":{}}"#;
    Sources::memory([(shipped::ROUTES_FILE, routes.as_str()), ("schemas/stop.request.json", schema)])
}
