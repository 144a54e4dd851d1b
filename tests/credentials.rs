//! Credentials on the wire: logins, expiry, signatures and handed-on headers against vendors on loopback.
#![expect(clippy::unwrap_used, reason = "tests say what must hold")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use taskgate::config::compile::{Rejected, compile};
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::config::sources::Sources;
use taskgate::gateway::{GatewayOptions, RunningGateway};
use taskgate::layer::dispatch::Dispatch;
use taskgate::route::{Credentials, RouteTable};
use taskgate::server::ServerLimits;
use taskgate::stack::{self, Gateway, StackLimits};
use taskgate::telemetry::metrics;
use taskgate::upstream::credentials::Keyring;
use taskgate::upstream::policy::ProviderService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
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
        let keyring = Keyring::new(&table, "taskgate").unwrap();
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
const PASSWORD: &str = "open-sesame-4711";

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
        let token = format!("token-{}", logins.fetch_add(1, Ordering::SeqCst) + 1);
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

#[tokio::test]
async fn a_thousand_calls_with_an_expired_token_cause_one_login() {
    let (iam, vendor) = (iam().await, firewall(&["token-1"]).await);
    let (vendor_url, iam_url) = (vendor.url(), iam.url());
    let rig = Rig::shipped(&passwords(&vendor_url, &iam_url));
    let first = rig.stop_capture().await;
    assert_eq!(first.0, 202, "{}", first.1);
    assert_eq!(
        (iam.got().len(), vendor.got().len()),
        (2, 2),
        "expired once: one login and one more call"
    );

    let (iam, vendor) = (self::iam().await, firewall(&[]).await);
    let (vendor_url, iam_url) = (vendor.url(), iam.url());
    let rig = Rig::shipped(&passwords(&vendor_url, &iam_url));
    let answers = join_all((0..1000).map(|_| rig.stop_capture())).await;
    assert!(answers.iter().all(|(status, _)| *status == 202), "{:?}", answers.first());
    assert_eq!((iam.got().len(), vendor.got().len()), (1, 1000));
}

#[tokio::test]
async fn a_thousand_at_once_find_their_token_expired() {
    let revoked = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&revoked);
    let iam = iam().await;
    let vendor = Server::start(move |got| {
        if gone.load(Ordering::SeqCst) && got.headers["x-auth-token"] == "token-1" {
            return unauthorized();
        }
        (200, Vec::new(), r#"{"data":{"id":"f","name":"n"}}"#.to_owned())
    })
    .await;
    let (vendor_url, iam_url) = (vendor.url(), iam.url());
    let rig = Rig::shipped(&passwords(&vendor_url, &iam_url));
    assert_eq!(rig.stop_capture().await.0, 202);
    revoked.store(true, Ordering::SeqCst);
    let answers = join_all((0..1000).map(|_| rig.stop_capture())).await;
    assert!(answers.iter().all(|(status, _)| *status == 202), "{:?}", answers.first());
    assert_eq!(iam.got().len(), 2, "one login for all of them");
}

#[tokio::test]
async fn a_vendor_that_always_says_401_sees_one_login_and_two_calls() {
    let refuses = Arc::new(AtomicBool::new(false));
    let (switch, iam) = (Arc::clone(&refuses), iam().await);
    let vendor = Server::start(move |_| match switch.load(Ordering::SeqCst) {
        true => unauthorized(),
        false => (200, Vec::new(), r#"{"data":{"id":"f","name":"n"}}"#.to_owned()),
    })
    .await;
    let (vendor_url, iam_url) = (vendor.url(), iam.url());
    let rig = Rig::shipped(&passwords(&vendor_url, &iam_url));
    assert_eq!(rig.stop_capture().await.0, 202);
    refuses.store(true, Ordering::SeqCst);
    let (logins, calls) = (iam.got().len(), vendor.got().len());
    let (status, problem) = rig.stop_capture().await;
    assert_eq!(
        (status, &problem["reason"], &problem["outcome"]),
        (502, &json!("VENDOR_AUTH"), &json!("not_done"))
    );
    assert_eq!((iam.got().len() - logins, vendor.got().len() - calls), (1, 2));
    // The next ones do not even try: a new token did not help a moment ago.
    for _ in 0..5 {
        assert_eq!(rig.stop_capture().await.0, 502);
    }
    assert_eq!((iam.got().len() - logins, vendor.got().len() - calls), (1, 7));
}

#[tokio::test]
async fn a_bad_password_is_not_tried_again_and_nothing_is_sent() {
    let iam = Server::start(|_| {
        let body = r#"{"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}"#;
        (401, Vec::new(), body.to_owned())
    })
    .await;
    let vendor = firewall(&[]).await;
    let (vendor_url, iam_url) = (vendor.url(), iam.url());
    let rig = Rig::shipped(&passwords(&vendor_url, &iam_url));
    for _ in 0..5 {
        let (status, problem) = rig.stop_capture().await;
        assert_eq!(
            (status, &problem["reason"], &problem["outcome"]),
            (502, &json!("VENDOR_AUTH"), &json!("not_done"))
        );
        assert!(!problem.to_string().contains(PASSWORD));
    }
    assert_eq!((iam.got().len(), vendor.got().len()), (1, 0));
}

#[tokio::test]
async fn an_identity_service_that_is_down_is_no_answer_of_the_vendor() {
    // A port that nobody listens on.
    let gone = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let vendor = firewall(&[]).await;
    let (vendor_url, iam_url) = (vendor.url(), format!("http://{gone}"));
    let rig = Rig::shipped(&passwords(&vendor_url, &iam_url));
    let (status, problem) = rig.stop_capture().await;
    assert_eq!(
        (status, &problem["reason"], &problem["outcome"], &problem["retryable"]),
        (503, &json!("VENDOR_UNAVAILABLE"), &json!("not_done"), &json!(true))
    );
    assert!(!problem.to_string().contains("127.0.0.1"), "{problem}");
    assert_eq!(vendor.got().len(), 0);
}

#[tokio::test]
async fn a_valid_token_outlives_its_identity_service() {
    let (iam, vendor) = (iam().await, firewall(&[]).await);
    let (vendor_url, iam_url) = (vendor.url(), iam.url());
    let rig = Rig::shipped(&passwords(&vendor_url, &iam_url));
    assert_eq!(rig.stop_capture().await.0, 202);
    drop(iam);
    for _ in 0..3 {
        assert_eq!(rig.stop_capture().await.0, 202);
    }
    assert_eq!(vendor.got().len(), 4);
}

#[tokio::test]
async fn a_token_of_32_kib_goes_through() {
    let long = "t".repeat(32 * 1024);
    let sent = long.clone();
    let iam = Server::start(move |_| (201, vec![("x-subject-token", sent.clone())], "{}".to_owned())).await;
    let vendor = firewall(&[]).await;
    let (vendor_url, iam_url) = (vendor.url(), iam.url());
    let rig = Rig::shipped(&passwords(&vendor_url, &iam_url));
    assert_eq!(rig.stop_capture().await.0, 202);
    assert_eq!(vendor.got()[0].headers["x-auth-token"], long);
}

#[tokio::test]
async fn the_project_is_named_by_id_or_by_name() {
    for (extra, expected) in [(None, json!({ "id": "p" })), (Some("eu-de"), json!({ "name": "eu-de" }))] {
        let (iam, vendor) = (iam().await, firewall(&[]).await);
        let (vendor_url, iam_url) = (vendor.url(), iam.url());
        let mut environment = passwords(&vendor_url, &iam_url);
        environment.extend(extra.map(|name| ("HUAWEI_PROJECT_NAME", name)));
        let rig = Rig::shipped(&environment);
        assert_eq!(rig.stop_capture().await.0, 202);
        let login = &iam.got()[0];
        assert_eq!(login.line, "POST /v3/auth/tokens?nocatalog=true");
        assert_eq!(login.headers["content-type"], "application/json");
        let body: Value = serde_json::from_str(&login.body).unwrap();
        let user = json!({ "name": "user", "password": PASSWORD, "domain": { "name": "account" } });
        let identity = json!({ "methods": ["password"], "password": { "user": user } });
        assert_eq!(body, json!({ "auth": { "identity": identity, "scope": { "project": expected } } }));
        assert_eq!(vendor.got()[0].headers["x-auth-token"], "token-1");
    }
}

#[tokio::test]
async fn one_session_serves_all_providers_of_its_credentials() {
    let iam = iam().await;
    let vendor = Server::start(|got| {
        let body = if got.line.contains("dbss") {
            r#"{"result":"SUCCESS"}"#
        } else {
            r#"{"data":{"id":"f","name":"n"}}"#
        };
        (200, Vec::new(), body.to_owned())
    })
    .await;
    let (vendor_url, iam_url) = (vendor.url(), iam.url());
    let mut environment = passwords(&vendor_url, &iam_url);
    environment.push(("DBSS_ENDPOINT", &vendor_url));
    let rig = Rig::shipped(&environment);
    assert_eq!(rig.stop_capture().await.0, 202);
    let (status, body) = rig.call(&format!("/tasks/dbss/{CAPTURE}:stop"), json!({}), &[]).await;
    assert_eq!(status, 202, "{body}");
    assert_eq!((iam.got().len(), vendor.got().len()), (1, 2));
}

#[tokio::test]
async fn an_access_key_signs_what_is_sent() {
    let vendor = firewall(&[]).await;
    let url = vendor.url();
    let rig = Rig::shipped(&[
        ("CFW_ENDPOINT", &url),
        ("HUAWEI_PROJECT_ID", "p"),
        ("HUAWEI_ACCESS_KEY", "AKAKAK"),
        ("HUAWEI_SECRET_KEY", "the-secret-key"),
        ("HUAWEI_SECURITY_TOKEN", "temporary"),
        // A token from elsewhere comes last.
        ("HUAWEI_TOKEN", "unused"),
    ]);
    assert_eq!(rig.stop_capture().await.0, 202);
    let got = &vendor.got()[0];
    assert!(got.line.contains("?fw_instance_id=i"), "{}", got.line);
    assert!(!got.headers.contains_key("x-auth-token"));
    assert_eq!(
        (got.headers["x-project-id"].as_str(), got.headers["x-security-token"].as_str()),
        ("p", "temporary")
    );
    assert_eq!(got.headers["x-sdk-date"].len(), "20251120T101530Z".len());
    let authorization = &got.headers["authorization"];
    let signed = "SDK-HMAC-SHA256 Access=AKAKAK, SignedHeaders=content-type;host;x-project-id;x-sdk-date;x-security-token, Signature=";
    let signature = authorization.strip_prefix(signed).unwrap_or_else(|| panic!("{authorization}"));
    // Once more by hand, from what the vendor got.
    let (path, query) = got.line.strip_prefix("POST ").unwrap().split_once('?').unwrap();
    let canonical = format!(
        "POST\n{path}/\n{query}\ncontent-type:application/json\nhost:{}\nx-project-id:p\nx-sdk-date:{}\nx-security-token:temporary\n\n\
         content-type;host;x-project-id;x-sdk-date;x-security-token\n{}",
        vendor.address,
        got.headers["x-sdk-date"],
        taskgate::crypto::sha256_hex(got.body.as_bytes())
    );
    let text = format!(
        "SDK-HMAC-SHA256\n{}\n{}",
        got.headers["x-sdk-date"],
        taskgate::crypto::sha256_hex(canonical.as_bytes())
    );
    assert_eq!(signature, taskgate::crypto::hmac_sha256_hex(b"the-secret-key", text.as_bytes()));
    assert_eq!(got.headers["host"], vendor.address.to_string());
    assert!(!format!("{:?}", rig.table.providers["cfw"]).contains("the-secret-key"));
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
        (200, Vec::new(), "{}".to_owned())
    })
    .await
}

const CBT: &str = "/tasks/zstack/5ca9c15a50c53f0dac359a64841d7b2b:stop";

#[tokio::test]
async fn an_account_logs_in_again_when_its_session_has_expired_and_out_at_the_end() {
    let node = node("OAuth session-1").await;
    let url = node.url();
    let rig = Rig::shipped(&[
        ("ZSTACK_ENDPOINT", &url),
        ("ZSTACK_ACCOUNT", "admin"),
        ("ZSTACK_PASSWORD", "password"),
    ]);
    let (status, body) = rig.call(CBT, json!({}), &[]).await;
    assert_eq!(status, 200, "{body}");
    let got = node.got();
    let lines: Vec<_> = got.iter().map(|got| got.line.split('/').next_back().unwrap().to_owned()).collect();
    let task = "5ca9c15a50c53f0dac359a64841d7b2b";
    assert_eq!(lines, ["login", task, "login", task]);
    let login: Value = serde_json::from_str(&got[0].body).unwrap();
    assert_eq!(login["logInByAccount"]["accountName"], "admin");
    assert_eq!(
        login["logInByAccount"]["password"],
        "b109f3bbbc244eb82441917ed06d618b9008dd09b3befd1b5e07394c706a8bb980b1d7785e5976ec049b46df5f1326af5a2ea6d103fd07c95385ffab0cacbc86"
    );
    assert_eq!(got[3].headers["authorization"], "OAuth session-2");
    rig.keyring.log_out(Duration::from_secs(5)).await;
    let last = node.got().pop().unwrap();
    assert_eq!(last.line, "DELETE /zstack/v1/accounts/sessions/session-2");
    assert!(!last.headers.contains_key("authorization"));
    assert_eq!(node.count("DELETE"), 1);
}

#[tokio::test]
async fn a_gateway_that_stops_ends_its_sessions() {
    let node = node("").await;
    let environment: Environment = [
        ("ZSTACK_ENDPOINT", node.url().as_str()),
        ("ZSTACK_ACCOUNT", "a"),
        ("ZSTACK_PASSWORD", PASSWORD),
    ]
    .into_iter()
    .collect();
    let table = compile(&shipped::sources(), shipped::ROUTES_FILE, &environment)
        .map_err(text)
        .unwrap()
        .table;
    let options = GatewayOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        admin_listen: None,
        stack: StackLimits::default(),
        server: ServerLimits::default(),
        drain: Duration::from_secs(5),
        config_hash: String::new(),
    };
    let recorded = metrics::install().unwrap();
    let gateway = RunningGateway::start(table, options, recorded.clone()).await.unwrap();
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let request = format!("POST {CBT} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(node.count("DELETE"), 0);
    gateway.stop().await;
    assert_eq!(node.count("DELETE /zstack/v1/accounts/sessions/session-1"), 1);
    let rendered = recorded.render();
    assert!(
        rendered.contains(r#"taskgate_logins_total{credential="zstack",result="ok"}"#),
        "{rendered}"
    );
    assert!(!rendered.contains(PASSWORD) && !rendered.contains("session-1"));
}

#[tokio::test]
async fn a_vendor_that_hangs_at_the_logout_holds_nobody_for_long() {
    let node = node("").await;
    let url = node.url();
    let rig = Rig::shipped(&[("ZSTACK_ENDPOINT", &url), ("ZSTACK_ACCOUNT", "a"), ("ZSTACK_PASSWORD", "p")]);
    assert_eq!(rig.call(CBT, json!({}), &[]).await.0, 200);
    // The port stays and nobody answers on it any more.
    let address = node.address;
    drop(node);
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    tokio::time::timeout(Duration::from_secs(10), rig.keyring.log_out(Duration::from_millis(50)))
        .await
        .unwrap();
    drop(listener);
}

#[tokio::test]
async fn who_never_logged_in_does_not_log_out() {
    let node = node("").await;
    let url = node.url();
    let rig = Rig::shipped(&[("ZSTACK_ENDPOINT", &url), ("ZSTACK_ACCOUNT", "a"), ("ZSTACK_PASSWORD", "p")]);
    rig.keyring.log_out(Duration::from_secs(5)).await;
    assert!(node.got().is_empty());
}

#[tokio::test]
async fn a_dated_key_signs_with_the_servers_wall_clock() {
    let node = node("").await;
    let url = node.url();
    let rig = Rig::shipped(&[
        ("ZSTACK_ENDPOINT", &url),
        ("ZSTACK_ACCESS_KEY_ID", "ak0example"),
        ("ZSTACK_ACCESS_KEY_SECRET", "sk0example"),
        ("ZSTACK_TIME_ZONE", "Asia/Shanghai"),
    ]);
    let (status, body) = rig.call(CBT, json!({}), &[]).await;
    assert_eq!(status, 200, "{body}");
    let got = &node.got()[0];
    let date = &got.headers["date"];
    assert!(date.ends_with(" Asia/Shanghai"), "{date}");
    let text = format!("POST\n{date}\n/v1/cbt-task/disable/5ca9c15a50c53f0dac359a64841d7b2b");
    assert_eq!(
        got.headers["authorization"],
        format!(
            "ZStack ak0example:{}",
            taskgate::crypto::hmac_sha1_base64(b"sk0example", text.as_bytes())
        )
    );
}

#[tokio::test]
async fn a_401_after_successes_is_the_session_limit() {
    let full = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&full);
    let vendor = Server::start(move |_| match switch.load(Ordering::SeqCst) {
        true => (401, Vec::new(), "<html>".to_owned()),
        false => {
            let body = r#"<?xml version="1.0"?><mgmtResponse requestUrl="u" responseType="operation" rootUrl="r"><operationResult><failure/><operation>CANCEL</operation><success><success><id>15</id></success></success></operationResult></mgmtResponse>"#;
            (200, vec![("content-type", "application/xml".to_owned())], body.to_owned())
        }
    })
    .await;
    let url = vendor.url();
    let rig = Rig::shipped(&[("PRIME_ENDPOINT", &url), ("PRIME_USER", "u"), ("PRIME_PASSWORD", PASSWORD)]);
    let reason = async || rig.call("/tasks/prime/15:stop", json!({}), &[]).await.1["reason"].clone();
    assert_eq!(reason().await, "VENDOR_AUTH", "before any success it is the password");
    full.store(false, Ordering::SeqCst);
    let (status, body) = rig.call("/tasks/prime/15:stop", json!({}), &[]).await;
    assert_eq!(status, 202, "{body}");
    full.store(true, Ordering::SeqCst);
    assert_eq!(reason().await, "VENDOR_RATE_LIMITED");
    assert_eq!(vendor.got().len(), 3, "nothing is sent twice");
}

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

#[tokio::test]
async fn another_vendors_login_is_yaml_only() {
    let vendor = Server::start(|got| match got.line.as_str() {
        "POST /oauth2/token" => {
            let body = json!({ "access_token": "at-1", "token_type": "Bearer", "expires_in": 300 });
            (200, Vec::new(), body.to_string())
        }
        _ => (204, Vec::new(), String::new()),
    })
    .await;
    let sources = made_up(
        r#"    scheme: session
    endpoint: ${env.SWEETS_ENDPOINT}
    login:
      request:
        method: POST
        path: /oauth2/token
        headers: { Authorization: "Basic ${base64(env.CLIENT_ID + ':' + env.CLIENT_SECRET)}" }
        form: { grant_type: client_credentials, scope: "tasks:read tasks:write", audience: "${?env.AUDIENCE}" }
      token: ${body.access_token}
      expires_in: ${?body.expires_in}
    apply: { header: Authorization, value: "Bearer ${token}" }
    expired: { status: 401 }"#,
    );
    let url = vendor.url();
    let rig = Rig::new(
        &sources,
        &[("SWEETS_ENDPOINT", &url), ("CLIENT_ID", "me"), ("CLIENT_SECRET", "my-secret")],
    );
    let (status, body) = rig.call("/tasks/sweets/a:stop", json!({}), &[]).await;
    assert_eq!(status, 200, "{body}");
    let got = vendor.got();
    assert_eq!(got[0].headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(got[0].body, "grant_type=client_credentials&scope=tasks%3Aread+tasks%3Awrite");
    assert_eq!(got[0].headers["authorization"], "Basic bWU6bXktc2VjcmV0");
    assert_eq!(got[1].headers["authorization"], "Bearer at-1");
    assert!(!format!("{:?}", rig.table).contains("my-secret"));
}

#[tokio::test]
async fn a_callers_header_is_handed_on_and_its_refusal_as_well() {
    let vendor = Server::start(|got| match got.headers.get("x-auth-token").map(String::as_str) {
        Some("good") => (204, Vec::new(), String::new()),
        _ => (401, Vec::new(), String::new()),
    })
    .await;
    let url = vendor.url();
    let rig = Rig::new(
        &made_up("    { scheme: passthrough, header: X-Auth-Token }"),
        &[("SWEETS_ENDPOINT", &url)],
    );
    let stop = async |headers: &[(&str, &str)]| rig.call("/tasks/sweets/a:stop", json!({}), headers).await;
    assert_eq!(stop(&[("x-auth-token", "good"), ("authorization", "mine")]).await.0, 200);
    assert!(
        !vendor.got()[0].headers.contains_key("authorization"),
        "only what is named is handed on"
    );
    for headers in [
        vec![],
        vec![("x-auth-token", "good"), ("x-auth-token", "other")],
        vec![("x-auth-token", "good"), ("connection", "x-auth-token")],
    ] {
        let (status, problem) = stop(&headers).await;
        assert_eq!((status, &problem["reason"]), (401, &json!("UNAUTHENTICATED")), "{headers:?}");
    }
    assert_eq!(vendor.got().len(), 1, "without the header nothing is sent");
    let (status, problem) = stop(&[("x-auth-token", "bad")]).await;
    assert_eq!((status, &problem["vendor"]["status"]), (401, &json!(401)));
    assert!(!problem.to_string().contains("bad\""), "{problem}");
}

#[test]
fn the_first_complete_alternative_is_used() {
    let scheme = |environment: &[(&str, &str)]| {
        let environment: Environment = environment.iter().copied().collect();
        let environment = environment.with([("CFW_ENDPOINT", "https://h"), ("HUAWEI_PROJECT_ID", "p")]);
        let table = compile(&shipped::sources(), shipped::ROUTES_FILE, &environment)
            .map_err(text)
            .unwrap()
            .table;
        let provider = &table.providers["cfw"];
        match &provider.connection {
            Ok(connection) => match &connection.credentials {
                Credentials::SdkHmacSha256(_) => "signature".to_owned(),
                Credentials::Session(_) => "login".to_owned(),
                Credentials::Header(..) => "static".to_owned(),
                other => format!("{other:?}"),
            },
            Err(missing) => format!("{} of {} sets", missing.join(" "), provider.alternatives.len()),
        }
    };
    let keys = [("HUAWEI_ACCESS_KEY", "a"), ("HUAWEI_SECRET_KEY", "s")];
    let token = [("HUAWEI_TOKEN", "t")];
    let login = passwords("https://h", "https://i");
    assert_eq!(scheme(&[]), "HUAWEI_ACCESS_KEY HUAWEI_SECRET_KEY of 3 sets");
    assert_eq!(scheme(&keys[..1]), "HUAWEI_SECRET_KEY of 3 sets");
    assert_eq!(scheme(&token), "static");
    assert_eq!(scheme(&[&keys[..1], &token].concat()), "static");
    assert_eq!(scheme(&[&login, &token[..]].concat()), "login");
    assert_eq!(scheme(&[&login, &keys[..], &token[..]].concat()), "signature");
}

#[tokio::test]
async fn what_can_be_set_is_told() {
    let rig = Rig::shipped(&[]);
    let (status, problem) = rig.stop_capture().await;
    assert_eq!((status, &problem["reason"]), (503, &json!("PROVIDER_NOT_CONFIGURED")));
    let sets = problem["metadata"]["alternatives"].as_array().unwrap();
    assert!(sets.contains(&json!(["HUAWEI_TOKEN"])), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("HUAWEI_PASSWORD"), "{problem}");
}

#[track_caller]
fn refused(credentials: &str, environment: &[(&str, &str)], expected: &[&str]) {
    let environment: Environment = environment.iter().copied().collect();
    let rejected = compile(&made_up(credentials), shipped::ROUTES_FILE, &environment).unwrap_err();
    let rendered = text(rejected);
    for line in expected {
        assert!(rendered.contains(line), "`{line}` is missing in\n{rendered}");
    }
    assert_eq!(rendered.matches("error: ").count(), expected.len(), "{rendered}");
    for (_, value) in environment_values(&environment) {
        assert!(!rendered.contains(&value), "a value is shown:\n{rendered}");
    }
}

fn environment_values(environment: &Environment) -> Vec<(String, String)> {
    environment
        .names()
        .map(|name| (name.to_owned(), environment.value(name).unwrap_or_default().to_owned()))
        .filter(|(_, value)| value.len() > 3)
        .collect()
}

#[test]
fn faults_of_credentials_have_places_and_show_no_values() {
    refused(
        "    { scheme: hedaer, header: X, value: y }",
        &[],
        &["routes.yaml:4:15: credentials.sweets.scheme: unknown value `hedaer`"],
    );
    refused("    { header: X }", &[], &["credentials.sweets: missing key `scheme`"]);
    refused(
        "    { one_of: [{ scheme: none, value: x }] }",
        &[],
        &["credentials.sweets.one_of[0]: unknown key `value`"],
    );
    refused(
        "    { one_of: [{ scheme: none }], scheme: none }",
        &[],
        &["credentials.sweets: unknown key `scheme`"],
    );
    refused(
        "    { scheme: passthrough, header: 'X Y' }",
        &[],
        &["credentials.sweets.header: `X Y` is no header name"],
    );
    refused(
        "    { scheme: sdk-hmac-sha256, access_key: '${env.A}', secret_key: literal }",
        &[],
        &["credentials.sweets.secret_key: a secret does not stand in this file"],
    );
    refused(
        "    { scheme: zstack-access-key, access_key_id: '${env.A}', access_key_secret: '${env.B}', time_zone: '${env.Z}', strip: base/ }",
        &[("A", "a"), ("B", "b"), ("Z", "Mars/Olympus")],
        &[
            "credentials.sweets.strip: a prefix of a path",
            "credentials.sweets.time_zone: the value is no time zone",
        ],
    );
    refused(
        "    { scheme: basic, username: '${env.A}', password: '${env.B}', limited: {} }",
        &[],
        &["credentials.sweets.limited: without `status` and `when` every answer is meant"],
    );
    refused(
        "    { scheme: header, header: X, value: '${env.A}' }",
        &[("A", "line\nbreak")],
        &["credentials.sweets: the value holds characters that a header cannot carry"],
    );
    let session = |login: &str, rest: &str| {
        format!(
            "    {{ scheme: session, endpoint: 'https://h', login: {{ {login} }}, apply: {{ header: X-T, value: '${{token}}' }}{rest} }}"
        )
    };
    refused(
        &session(
            "request: { method: POST, path: /l, json: { user: '${env.U}', password: hunter2 } }, token: '${body.t}'",
            "",
        ),
        &[],
        &["credentials.sweets.login.request.json.password: a secret does not stand in this file"],
    );
    refused(
        &session("request: { method: POST, path: '/l/${id}' }, token: '${body.t}'", ""),
        &[],
        &["credentials.sweets.login.request.path: unknown reference `id`"],
    );
    refused(
        &session(
            "request: { method: POST, path: /l }, token: '${bdy.t}'",
            ", expired: { when: 'sttus == 401' }",
        ),
        &[],
        &[
            "credentials.sweets.login.token: unknown reference `bdy.t`",
            "credentials.sweets.expired.when: unknown reference `sttus`",
        ],
    );
    refused(
        &session(
            "request: { method: POST, path: /l }",
            ", logout: { method: DELETE, path: '/l/${tokn}' }",
        ),
        &[],
        &[
            "credentials.sweets.login: missing key `token`",
            "credentials.sweets.logout.path: unknown reference `tokn`",
        ],
    );
    refused(
        "    { scheme: session, endpoint: 'ftp://h', login: { request: { method: POST, path: /l }, token: '${body.t}' }, apply: { header: X-T, value: fixed } }",
        &[],
        &[
            "credentials.sweets.endpoint: the value is not an endpoint",
            "credentials.sweets.apply.value: the value does not use the token",
        ],
    );
}
