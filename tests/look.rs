//! Looking, waiting and looking before and after an action: over a vendor that is a function and a clock that is paused, and
//! over the simulators.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests say what must hold")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::config::sources::Sources;
use taskgate::layer::dispatch::Dispatch;
use taskgate::layer::{BoxFuture, CredentialUse, Exchange, Outbound};
use taskgate::model::call::UpstreamReply;
use taskgate::model::error::GatewayError;
use taskgate::model::reason::Reason;
use taskgate::route::RouteTable;
use taskgate::simulate::{CFW_FIREWALL, CFW_TASK, DBSS_INSTANCE, HSS_TASK, SimulatorOptions, Simulators, ZSTACK_TASK};
use taskgate::stack::{self, Gateway, StackLimits};
use taskgate::upstream::policy::ProviderService;
use tokio::time::Instant;
use tower::{Service, ServiceExt as _};

/// What a vendor says: a status and a document, or why there is no answer.
type Said = Result<(u16, Value), Reason>;

type Script = dyn Fn(&Outbound, usize) -> Said + Send + Sync;

/// A vendor that is a function of the request and of how many like it came before; it notes when it was asked what.
#[derive(Clone)]
struct Vendor {
    say: Arc<Script>,
    takes: Duration,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone, Debug)]
struct Seen {
    at: Instant,
    line: String,
    job: Option<String>,
    credentials: CredentialUse,
}

impl Vendor {
    fn new(say: impl Fn(&Outbound, usize) -> Said + Send + Sync + 'static) -> Self {
        Self {
            say: Arc::new(say),
            takes: Duration::ZERO,
            seen: Arc::default(),
        }
    }

    /// The requests whose line contains `part`.
    fn seen(&self, part: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.line.contains(part)).cloned().collect()
    }
}

impl Service<Outbound> for Vendor {
    type Response = Exchange;
    type Error = GatewayError;
    type Future = BoxFuture<Exchange, GatewayError>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), GatewayError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, outbound: Outbound) -> Self::Future {
        let line = format!("{} {}", outbound.request.method, outbound.request.target);
        let nth = self.seen(&line).len();
        let job = outbound
            .request
            .headers
            .get("x-job-uuid")
            .map(|job| job.to_str().unwrap().to_owned());
        self.seen.lock().unwrap().push(Seen {
            at: Instant::now(),
            line,
            job,
            credentials: outbound.credentials,
        });
        let said = (self.say)(&outbound, nth);
        let takes = self.takes;
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            let (status, body) = said.map_err(|reason| GatewayError::new(reason, "as the test says"))?;
            let mut headers = HeaderMap::new();
            if let Some(after) = body.get("retry_after").and_then(Value::as_str) {
                headers.insert("retry-after", after.parse().unwrap());
            }
            let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
            let reply = UpstreamReply {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                body,
            };
            Ok(Exchange { reply, elapsed: takes })
        })
    }
}

fn environment() -> Environment {
    let huawei = [("HUAWEI_PROJECT_ID", "p-1"), ("HUAWEI_TOKEN", "t-that-opens-nothing")];
    let endpoints = ["CFW_ENDPOINT", "DBSS_ENDPOINT", "HSS_ENDPOINT", "ZSTACK_ENDPOINT", "PRIME_ENDPOINT"];
    let others = [
        ("ZSTACK_SESSION", "s-that-opens-nothing"),
        ("PRIME_USER", "u"),
        ("PRIME_PASSWORD", "p-that-opens-nothing"),
    ];
    let endpoints = endpoints.into_iter().map(|name| (name, "http://vendor.example"));
    huawei.into_iter().chain(endpoints).chain(others).collect()
}

fn table() -> Arc<RouteTable> {
    compile(&shipped::sources(), shipped::ROUTES_FILE, &environment()).unwrap().table
}

fn gateway(vendor: &Vendor) -> Gateway<Full<Bytes>> {
    stack::build(table(), &StackLimits::default(), vendor.clone())
}

/// A caller's answer.
#[derive(Debug)]
struct Told {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

async fn ask(gateway: &Gateway<Full<Bytes>>, request: Request<Full<Bytes>>) -> Told {
    let response = gateway.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let told = Told {
        status: head.status.as_u16(),
        headers: head.headers,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    };
    if head.status.is_success() && !bytes.is_empty() {
        let schema: Value = serde_json::from_str(include_str!("../schemas/canonical/answer.json")).unwrap();
        let schema = jsonschema::draft202012::new(&schema).unwrap();
        assert!(schema.is_valid(&told.body), "{}", told.body);
    }
    told
}

fn get(target: &str) -> Request<Full<Bytes>> {
    Request::get(target).body(Full::default()).unwrap()
}

fn post(target: &str, prefer: Option<&str>, body: &Value) -> Request<Full<Bytes>> {
    let mut request = Request::post(target).header("content-type", "application/json");
    if let Some(prefer) = prefer {
        request = request.header("prefer", prefer);
    }
    request.body(Full::from(body.to_string())).unwrap()
}

fn stop_cfw(prefer: &str) -> Request<Full<Bytes>> {
    let body = json!({ "scope": { "instance": CFW_FIREWALL } });
    post(&format!("/tasks/cfw/{CFW_TASK}:stop"), Some(prefer), &body)
}

fn retry_hss(prefer: &str) -> Request<Full<Bytes>> {
    let body = json!({ "parameters": { "task_type": "cluster_scan", "range": "all_failed" } });
    post(&format!("/tasks/hss/{HSS_TASK}:retry"), Some(prefer), &body)
}

fn firewall(status: i64) -> Value {
    json!({ "data": { "total": 1, "records": [{ "task_id": CFW_TASK, "name": "capture", "status": status }] } })
}

/// A firewall that takes every stop and then shows these states, the last one for ever.
fn firewall_that_shows(states: &'static [i64]) -> Vendor {
    Vendor::new(move |outbound, nth| {
        if outbound.request.method == http::Method::POST {
            return Ok((200, json!({ "data": { "id": CFW_FIREWALL } })));
        }
        Ok((200, firewall(*states.get(nth).unwrap_or(states.last().unwrap()))))
    })
}

fn scans(status: &str, failed: i64) -> Value {
    json!({ "total_num": 1, "data_list": [
        { "task_id": HSS_TASK, "task_status": status, "cluster_scan_info": { "failed_cluster_num": failed } }] })
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_wait_cause_four_looks_a_minute() {
    let vendor = Vendor::new(|outbound, _| match outbound.request.target.contains("batch-query") {
        true => Ok((200, scans("running", 0))),
        false => Ok((200, Value::Null)),
    });
    let gateway = gateway(&vendor);
    let start = Instant::now();
    // They come in groups, so that some come while others wait and some after others have gone.
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..100_u64 {
        let gateway = gateway.clone();
        calls.spawn(async move {
            tokio::time::sleep(Duration::from_millis(1300 * n)).await;
            ask(&gateway, retry_hss("wait=40")).await
        });
    }
    while let Some(told) = calls.join_next().await {
        let told = told.unwrap();
        assert_eq!(
            (told.status, &told.body["outcome"], &told.body["state"]),
            (202, &json!("accepted"), &json!("running"))
        );
    }
    let looks = vendor.seen("batch-query");
    assert_eq!(vendor.seen("/retry").len(), 100);
    let spent = start.elapsed();
    assert!(
        looks.len() >= 8 && looks.len() as u64 <= spent.as_secs() / 15 + 1,
        "{} in {spent:?}",
        looks.len()
    );
    for pair in looks.windows(2) {
        assert!(pair[1].at - pair[0].at >= Duration::from_secs(15), "{pair:?}");
    }
    for first in &looks {
        let minute = looks
            .iter()
            .filter(|look| look.at >= first.at && look.at < first.at + Duration::from_secs(60));
        assert!(minute.count() <= 5);
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_see_the_same_look() {
    let vendor = Vendor::new(|outbound, nth| match outbound.request.target.contains("batch-query") {
        true if nth == 0 => Ok((200, scans("running", 0))),
        true => Ok((200, scans("finished", 0))),
        false => Ok((200, Value::Null)),
    });
    let gateway = gateway(&vendor);
    let start = Instant::now();
    let calls = (0..100).map(|_| ask(&gateway, retry_hss("wait=20")));
    for told in futures_util::future::join_all(calls).await {
        assert_eq!(
            (told.status, &told.body["outcome"], &told.body["state"]),
            (200, &json!("done"), &json!("succeeded"))
        );
        assert_eq!(told.headers["preference-applied"], "wait=20");
    }
    assert_eq!(vendor.seen("batch-query").len(), 2);
    assert_eq!(start.elapsed(), Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn a_wait_settles_or_runs_out() {
    for (states, prefer, status, state, looks, seconds) in [
        (&[5, 5, 4][..], "wait=30", 200, "stopped", 3, 20),
        (&[4], "wait=30", 200, "stopped", 1, 0),
        (&[5], "wait=20", 202, "stopping", 2, 10),
        (&[5], "wait=3600", 202, "stopping", 6, 50),
        (&[5], "wait=0", 202, "stopping", 0, 0),
        (&[5], "wait=soon", 202, "stopping", 0, 0),
    ] {
        let vendor = firewall_that_shows(states);
        let gateway = gateway(&vendor);
        let start = Instant::now();
        let told = ask(&gateway, stop_cfw(prefer)).await;
        assert_eq!(
            (told.status, told.body["state"].as_str().unwrap()),
            (status, state),
            "{prefer} {told:?}"
        );
        assert_eq!(vendor.seen("GET").len(), looks, "{prefer}");
        assert_eq!(start.elapsed().as_secs(), seconds, "{prefer}");
        assert_eq!(vendor.seen("POST").len(), 1);
        let applied = told
            .headers
            .get("preference-applied")
            .map(|applied| applied.to_str().unwrap().to_owned());
        let expected = match prefer {
            "wait=soon" => None,
            "wait=3600" => Some("wait=60".to_owned()),
            other => Some(other.to_owned()),
        };
        assert_eq!(applied, expected);
        // No waiter, no look.
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(vendor.seen("GET").len(), looks, "{prefer}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_stops_the_looking() {
    let vendor = firewall_that_shows(&[5]);
    let gateway = gateway(&vendor);
    let gone = tokio::time::timeout(Duration::from_secs(15), ask(&gateway, stop_cfw("wait=60"))).await;
    assert!(gone.is_err());
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(vendor.seen("GET").len(), 2);
    // Another one is not hindered by it.
    let told = ask(&gateway, stop_cfw("wait=20")).await;
    assert_eq!(told.status, 202);
    assert_eq!(vendor.seen("GET").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_began_before_the_action_tells_nothing_about_it() {
    let mut vendor = firewall_that_shows(&[4]);
    vendor.takes = Duration::from_secs(4);
    let gateway = gateway(&vendor);
    let start = Instant::now();
    let first = ask(&gateway, stop_cfw("wait=60"));
    let second = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let told = ask(&gateway, stop_cfw("wait=60")).await;
        (told, start.elapsed())
    };
    let (first, (second, spent)) = tokio::join!(first, second);
    assert_eq!((first.status, second.status), (200, 200));
    // The first looks at 4 s; the second has acted by 5 s and must wait for the look at 14 s.
    assert_eq!(spent.as_secs(), 18);
    assert_eq!(vendor.seen("GET").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_says_later_is_given_the_time() {
    let vendor = Vendor::new(|outbound, nth| match (outbound.request.method == http::Method::POST, nth) {
        (true, _) => Ok((200, json!({ "data": { "id": CFW_FIREWALL } }))),
        (false, 0) => Ok((
            429,
            json!({ "error_code": "APIGW.0308", "error_msg": "throttled", "retry_after": "25" }),
        )),
        (false, _) => Ok((200, firewall(4))),
    });
    let told = ask(&gateway(&vendor), stop_cfw("wait=60")).await;
    assert_eq!((told.status, &told.body["state"]), (200, &json!("stopped")));
    let looks = vendor.seen("GET");
    assert_eq!((looks.len(), (looks[1].at - looks[0].at).as_secs()), (2, 25));
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_after_a_lost_answer() {
    for reason in [Reason::VendorTimeout, Reason::VendorConnectionLost] {
        let vendor = Vendor::new(move |_, _| Err(reason));
        let told = ask(&gateway(&vendor), stop_cfw("wait=20")).await;
        assert_eq!(told.body["outcome"], "unknown", "{told:?}");
        assert_eq!(told.body["reason"], reason.code());
        assert_eq!(vendor.seen("").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_with_an_expired_session_is_made_once_more() {
    let taken = |job: &str| json!({ "location": format!("http://192.0.2.10:8080/zstack/v1/api-jobs/{job}"), "apiTimeout": 1000 });
    let expired = || Ok((503, json!({ "error": { "code": "ID.1001", "description": "Session expired" } })));
    for always in [false, true] {
        let vendor = Vendor::new(move |outbound, nth| {
            let target = &outbound.request.target;
            if let Some(job) = target.strip_prefix("/zstack/v1/api-jobs/") {
                return match (job, nth) {
                    ("first", _) => expired(),
                    _ if always => expired(),
                    (_, 0) => Ok((202, json!({}))),
                    _ => Ok((200, json!({}))),
                };
            }
            if target.contains("disable") {
                return Ok((202, taken(if nth == 0 { "first" } else { "second" })));
            }
            Ok((
                200,
                json!({ "inventories": [{ "uuid": ZSTACK_TASK, "name": "My Task", "status": "Running" }] }),
            ))
        });
        let told = ask(
            &gateway(&vendor),
            post(&format!("/tasks/zstack/{ZSTACK_TASK}:stop"), Some("wait=20"), &json!({})),
        )
        .await;
        if always {
            assert_eq!(
                (told.status, &told.body["reason"], &told.body["outcome"]),
                (502, &json!("VENDOR_AUTH"), &json!("not_done"))
            );
        } else {
            assert_eq!(
                (told.status, &told.body["outcome"], &told.body["state"]),
                (200, &json!("done"), &json!("stopped"))
            );
        }
        let acts = vendor.seen("disable");
        let used: Vec<_> = acts.iter().map(|act| act.credentials).collect();
        assert_eq!(used, [CredentialUse::Normal, CredentialUse::Renewed]);
        assert_ne!(acts[0].job, acts[1].job, "each call has an id of its own");
        assert!(vendor.seen("api-jobs").iter().all(|ask| ask.credentials == CredentialUse::None));
        assert!(vendor.seen("192.0.2.10").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn the_task_itself_is_a_get() {
    let vendor = firewall_that_shows(&[2]);
    let gateway = gateway(&vendor);
    let target = format!("/tasks/cfw/{CFW_TASK}?instance={CFW_FIREWALL}");
    let told = ask(&gateway, get(&target)).await;
    assert_eq!(
        (told.status, &told.body["action"], &told.body["state"]),
        (200, &Value::Null, &json!("running"))
    );
    assert_eq!(told.body["task"], format!("tasks/cfw/{CFW_TASK}"));
    assert!(told.body.get("already").is_none());

    let head = ask(&gateway, Request::head(&target).body(Full::default()).unwrap()).await;
    assert_eq!((head.status, head.body), (200, Value::Null));
    assert_eq!(head.headers["content-type"], "application/json");
    assert!(head.headers["content-length"].to_str().unwrap().parse::<usize>().unwrap() > 200);
    let lost = ask(
        &gateway,
        Request::head(format!("/tasks/cfw/{CFW_TASK}")).body(Full::default()).unwrap(),
    )
    .await;
    assert_eq!((lost.status, lost.body), (400, Value::Null));

    let before = vendor.seen("").len();
    for (target, reason) in [
        (format!("/tasks/cfw/{CFW_TASK}"), "INVALID_QUERY"),
        (format!("{target}&instance=x"), "INVALID_QUERY"),
        (format!("{target}&firewall=x"), "INVALID_QUERY"),
        (format!("{target}&enterprise_project=a%20b"), "INVALID_QUERY"),
        (format!("/tasks/cfw/x?instance={CFW_FIREWALL}"), "INVALID_TASK_ID"),
        ("/tasks/nobody/1".to_owned(), "UNKNOWN_PROVIDER"),
        ("/tasks/cfw/".to_owned(), "UNKNOWN_PATH"),
    ] {
        let told = ask(&gateway, get(&target)).await;
        assert_eq!(told.body["reason"], reason, "{target}");
        assert_eq!(told.body["outcome"], "not_done", "{target}");
    }
    let body = Request::get(&target)
        .header("content-type", "application/json")
        .body(Full::from("{}"))
        .unwrap();
    assert_eq!(ask(&gateway, body).await.body["reason"], "MALFORMED_BODY");
    assert_eq!(vendor.seen("").len(), before);
}

#[tokio::test(start_paused = true)]
async fn what_a_path_takes_depends_on_its_kind() {
    let vendor = firewall_that_shows(&[2]);
    let gateway = gateway(&vendor);
    for (method, target, allow) in [
        ("POST", "/tasks/cfw/1", "GET, HEAD"),
        ("DELETE", "/tasks/cfw/1", "GET, HEAD"),
        ("OPTIONS", "/tasks/cfw/1", "GET, HEAD"),
        ("GET", "/tasks/cfw/1:stop", "POST"),
        ("HEAD", "/tasks/cfw/1:stop", "POST"),
        ("PUT", "/tasks/cfw/1:stop", "POST"),
    ] {
        let request = Request::builder().method(method).uri(target).body(Full::default()).unwrap();
        let told = ask(&gateway, request).await;
        assert_eq!(
            (told.status, told.headers["allow"].to_str().unwrap()),
            (405, allow),
            "{method} {target}"
        );
    }
    assert!(vendor.seen("").is_empty());
}

/// The shipped routes with intervals that a test can wait for, and without the quota that goes with the real ones.
fn quick_sources() -> Sources {
    let shipped = shipped::sources();
    let mut routes = shipped.read(shipped::ROUTES_FILE).unwrap();
    for every in ["every: 15s", "every: 10s", "every: 5s", "every: 2s", "every: 1s"] {
        assert!(routes.contains(every), "{every}");
        routes = routes.replace(every, "every: 10ms");
    }
    let routes = routes.replace("{ rate: 4/m, burst: 2 }", "{ rate: 1000/s, burst: 1000 }");
    let schemas = shipped.list("schemas").into_iter().map(|path| {
        let text = shipped.read(&path).unwrap();
        (path, text)
    });
    Sources::memory(schemas.chain([(shipped::ROUTES_FILE.to_owned(), routes)]))
}

/// The gateway over the simulators, without its listener.
async fn over_simulators() -> (Simulators, Gateway<Full<Bytes>>) {
    let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
    let environment: Environment = simulators.environment().into_iter().collect();
    let table = compile(&quick_sources(), shipped::ROUTES_FILE, &environment)
        .unwrap_or_else(|rejected| panic!("{}", rejected.faults.render(&rejected.files)))
        .table;
    let ways: HashMap<String, ProviderService> = table
        .providers
        .iter()
        .map(|(name, provider)| {
            let way = ProviderService::new(name, &provider.connection, &provider.limits, "taskgate").unwrap();
            (name.clone(), way)
        })
        .collect();
    let gateway = stack::build(table, &StackLimits::default(), Dispatch::new(ways));
    (simulators, gateway)
}

/// Provider, task, verb, body, query, and the state in the end.
fn everyday() -> [(&'static str, String, &'static str, Value, String, &'static str); 5] {
    let scope = json!({ "scope": { "instance": CFW_FIREWALL } });
    let scan = json!({ "parameters": { "task_type": "cluster_scan", "range": "all_failed" } });
    let none = String::new;
    [
        (
            "cfw",
            CFW_TASK.to_owned(),
            "stop",
            scope,
            format!("?instance={CFW_FIREWALL}"),
            "stopped",
        ),
        ("dbss", DBSS_INSTANCE.to_owned(), "stop", json!({}), none(), "stopped"),
        ("hss", HSS_TASK.to_owned(), "retry", scan, none(), "succeeded"),
        ("zstack", ZSTACK_TASK.to_owned(), "stop", json!({}), none(), "stopped"),
        ("prime", "15".to_owned(), "stop", json!({}), none(), "stopped"),
    ]
}

#[tokio::test]
async fn waiting_ends_done_and_a_second_time_is_already() {
    let (simulators, gateway) = over_simulators().await;
    for (provider, id, verb, body, query, state) in everyday() {
        let told = ask(&gateway, post(&format!("/tasks/{provider}/{id}:{verb}"), Some("wait=20"), &body)).await;
        assert_eq!(
            (told.status, &told.body["outcome"], &told.body["state"]),
            (200, &json!("done"), &json!(state)),
            "{provider} {told:?}"
        );
        assert!(told.body.get("already").is_none(), "{provider}");

        let again = ask(&gateway, post(&format!("/tasks/{provider}/{id}:{verb}"), None, &body)).await;
        assert_eq!(
            (again.status, &again.body["outcome"], &again.body["already"]),
            (200, &json!("done"), &json!(true)),
            "{provider} {again:?}"
        );
        assert_eq!(again.body["state"], state, "{provider}");
        assert_eq!(simulators.effects(provider, &id).unwrap(), 1, "{provider}");

        let seen = ask(&gateway, get(&format!("/tasks/{provider}/{id}{query}"))).await;
        assert_eq!((seen.status, &seen.body["state"]), (200, &json!(state)), "{provider} {seen:?}");
        assert!(seen.body["name"].is_string(), "{provider} {seen:?}");
    }
    simulators.shutdown().await;
}

#[tokio::test]
async fn an_unknown_id_is_not_found_anywhere() {
    let (simulators, gateway) = over_simulators().await;
    for (provider, id, verb, body, query, _) in everyday() {
        let id: String = match provider {
            "prime" => "4711".to_owned(),
            _ => id.chars().map(|c| if c == '-' { '-' } else { '0' }).collect(),
        };
        let told = ask(&gateway, post(&format!("/tasks/{provider}/{id}:{verb}"), None, &body)).await;
        assert_eq!(
            (told.status, &told.body["reason"]),
            (404, &json!("TASK_NOT_FOUND")),
            "{provider} {told:?}"
        );
        let seen = ask(&gateway, get(&format!("/tasks/{provider}/{id}{query}"))).await;
        assert_eq!(
            (seen.status, &seen.body["reason"]),
            (404, &json!("TASK_NOT_FOUND")),
            "{provider} {seen:?}"
        );
    }
    simulators.shutdown().await;
}
