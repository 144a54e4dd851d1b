//! What goes out when: places, rates and breakers, over a vendor that is a function and a clock that is paused.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests say what must hold")]

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::sources::Sources;
use taskgate::layer::{Aim, BoxFuture, CallContext, CallCredentials, CredentialUse, Doubt, Exchange, Outbound};
use taskgate::model::call::{UpstreamReply, UpstreamRequest};
use taskgate::model::error::GatewayError;
use taskgate::model::reason::Reason;
use taskgate::route::RouteTable;
use taskgate::stack::{self, Gateway, StackLimits};
use taskgate::telemetry::metrics;
use taskgate::upstream::breaker::Sign;
use taskgate::upstream::health::Gates;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tower::{Service, ServiceExt as _};

/// `%NAME%` are the limits of a provider; `acme` and `site` can be looked at, `blind` cannot.
const ROUTES: &str = r#"version: 1
quotas:
  account: { rate: 2/m }
  looks: { rate: 4/m, burst: 2 }
providers:
  acme:
    title: ACME
    endpoint: http://acme.example
    id: { type: string, pattern: "^[0-9]+$" }
    limits: %ACME%
    task:
      schema: schemas/look.json
      request: { method: GET, path: "/jobs/${id}" }
      reply: { schema: schemas/page.json }
      item: ${body}
      state: { map: "${item.state}", to: { run: running, end: stopped }, else: unknown }
      every: 5s
      limits: { quotas: looks }
    actions:
      stop:
        title: Stops a job
        schema: schemas/stop.json
        limits: %STOP%
        request: { method: POST, path: "/jobs/${id}/stop" }
        reply: { schema: schemas/page.json, outcome: [{ status: 200, is: accepted, state: stopping }] }
        settles: { done: [stopped] }
      kill:
        title: Kills a job
        schema: schemas/stop.json
        request: { method: POST, path: "/jobs/${id}/kill" }
        reply: { schema: schemas/page.json, outcome: [{ status: 202, is: accepted, state: stopping }, { status: 200, is: done, state: stopped }] }
        settles: { done: [stopped] }
        job: { id: "${?body.state}", request: { method: GET, path: "/kills/${job}" }, pending: status == 202, every: 1s }
  blind:
    title: Nobody can look
    endpoint: http://blind.example
    id: { type: string, pattern: "^[0-9]+$" }
    limits: %BLIND%
    actions:
      stop:
        title: Stops a job
        schema: schemas/stop.json
        request: { method: POST, path: "/jobs/${id}/stop" }
        reply: { schema: schemas/page.json, outcome: [{ status: 200, is: done, state: stopped }] }
  site: { like: acme, title: Another site, endpoint: "http://site.example" }
"#;

/// The table with these limits, `{}` where none are named.
fn table(limits: &[(&str, &str)]) -> Arc<RouteTable> {
    let mut routes = ROUTES.to_owned();
    for name in ["ACME", "STOP", "BLIND"] {
        let text = limits.iter().find(|(known, _)| *known == name).map_or("{}", |(_, text)| text);
        routes = routes.replace(&format!("%{name}%"), text);
    }
    if !routes.contains("quotas: account") {
        routes = routes.replace("  account: { rate: 2/m }\n", "");
    }
    let closed = r#"{ "type": "object", "additionalProperties": false }"#;
    let page = r#"{ "type": "object", "properties": { "state": { "type": "string" } }, "required": ["state"] }"#;
    let sources = Sources::memory([
        ("routes.yaml", routes.as_str()),
        ("schemas/look.json", closed),
        ("schemas/stop.json", closed),
        ("schemas/page.json", page),
    ]);
    match compile(&sources, "routes.yaml", &Environment::default()) {
        Ok(compiled) => compiled.table,
        Err(rejected) => panic!("{}", rejected.faults.render(&rejected.files)),
    }
}

/// What a vendor does with a request.
#[derive(Clone, Debug)]
enum Said {
    /// A status, and the state of the job, after so long.
    After(Duration, u16, &'static str),
    /// Why there is no answer.
    Error(Reason),
    /// Nothing, until the time of the provider is over.
    Hang,
}

fn at_once(status: u16, state: &'static str) -> Said {
    Said::After(Duration::ZERO, status, state)
}

type Script = dyn Fn(&Outbound, usize) -> Said + Send + Sync;

/// A vendor behind its gates; it notes what reached it, and when.
#[derive(Clone)]
struct Vendor {
    gates: Gates,
    say: Arc<Script>,
    start: Instant,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Vendor {
    fn new(table: &RouteTable, say: impl Fn(&Outbound, usize) -> Said + Send + Sync + 'static) -> Self {
        Self {
            gates: Gates::new(table),
            say: Arc::new(say),
            start: Instant::now(),
            seen: Arc::default(),
        }
    }

    /// What reached it since the last time: `<seconds> <provider> <action>`.
    fn seen(&self) -> String {
        std::mem::take(&mut *self.seen.lock().unwrap()).join(", ")
    }

    fn state(&self, table: &RouteTable, provider: &str) -> String {
        let status = self.gates.status(&table.providers[provider]);
        status["breaker"]["state"].as_str().unwrap().to_owned()
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
        let vendor = self.clone();
        Box::pin(async move {
            let gate = vendor.gates.gate(&outbound.provider.name).unwrap();
            let pass = gate.enter(&outbound).await?;
            pass.attempt(outbound.context.deadline).await?;
            let nth = {
                let mut seen = vendor.seen.lock().unwrap();
                let what = if outbound.aim == Aim::Ask { "ask" } else { &outbound.route.action };
                let at = vendor.start.elapsed().as_secs_f64();
                seen.push(format!("{at} {} {what}", outbound.provider.name));
                seen.len() - 1
            };
            let result = answer((vendor.say)(&outbound, nth), outbound.provider.limits.timeout).await;
            pass.observed(match &result {
                Ok(exchange) => Sign::Answered(exchange.reply.status.as_u16()),
                Err(error) => pass.sign(error),
            });
            result
        })
    }
}

async fn answer(said: Said, timeout: Duration) -> Result<Exchange, GatewayError> {
    match said {
        Said::After(time, status, state) => {
            sleep(time).await;
            let reply = UpstreamReply {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: json!({ "state": state }).to_string().into(),
            };
            Ok(Exchange { reply, elapsed: time })
        }
        Said::Error(reason) => Err(GatewayError::new(reason, "as the test says")),
        Said::Hang => {
            sleep(timeout).await;
            let ms = u64::try_from(timeout.as_millis()).unwrap();
            Err(GatewayError::new(Reason::VendorTimeout, "as the test says").with_metadata("timeout_ms", ms))
        }
    }
}

fn gateway(table: &Arc<RouteTable>, vendor: &Vendor) -> Gateway<Full<Bytes>> {
    stack::build(Arc::clone(table), &StackLimits::default(), vendor.clone())
}

/// The answer to a call, `<status> <outcome or reason>`, then ` retry <s>` and ` at <s>` where it took time.
async fn act(gateway: &Gateway<Full<Bytes>>, target: &str, prefer: Option<&str>) -> String {
    let start = Instant::now();
    let mut request = match target.contains(':') {
        true => Request::post(format!("/tasks/{target}")),
        false => Request::get(format!("/tasks/{target}")),
    };
    if let Some(prefer) = prefer {
        request = request.header("prefer", prefer);
    }
    let response = gateway.clone().oneshot(request.body(Full::default()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    let word = body
        .get("reason")
        .or(body.get("outcome"))
        .or(body.get("state"))
        .and_then(Value::as_str);
    let mut told = format!("{} {}", head.status.as_u16(), word.unwrap());
    if let Some(after) = head.headers.get("retry-after") {
        assert_eq!((&body["outcome"], &body["retryable"]), (&json!("not_done"), &json!(true)));
        told.push_str(&format!(" retry {}", after.to_str().unwrap()));
    }
    if !start.elapsed().is_zero() {
        told.push_str(&format!(" after {}", start.elapsed().as_secs_f64()));
    }
    told
}

/// Sets a call off; it has come as far as it can when this returns.
async fn begin(gateway: &Gateway<Full<Bytes>>, target: &str) -> JoinHandle<String> {
    let (gateway, target) = (gateway.clone(), target.to_owned());
    let call = tokio::spawn(async move { act(&gateway, &target, None).await });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    call
}

async fn told(calls: Vec<JoinHandle<String>>) -> Vec<String> {
    let mut all = Vec::new();
    for call in calls {
        all.push(call.await.unwrap());
    }
    all
}

const ONE_PLACE: (&str, &str) = ("BLIND", "{ in_flight: 1, queue: { length: 2, wait: 2s } }");

#[tokio::test(start_paused = true)]
async fn places_are_given_in_the_order_of_coming_and_a_full_queue_is_told_at_once() {
    let table = table(&[ONE_PLACE]);
    let vendor = Vendor::new(&table, |_, _| Said::After(Duration::from_millis(900), 200, "end"));
    let gateway = gateway(&table, &vendor);
    let mut calls = Vec::new();
    for id in 1..=5 {
        calls.push(begin(&gateway, &format!("blind/{id}:stop")).await);
    }
    let status = vendor.gates.status(&table.providers["blind"]);
    assert_eq!((&status["in_flight"], &status["queued"]), (&json!(1), &json!(2)));
    assert_eq!(
        told(calls).await,
        [
            "200 done after 0.9",
            "200 done after 1.8",
            "200 done after 2.7",
            "503 PROVIDER_BUSY retry 1",
            "503 PROVIDER_BUSY retry 1",
        ]
    );
    assert_eq!(vendor.seen(), "0 blind stop, 0.9 blind stop, 1.8 blind stop");
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_and_who_goes_away_frees_the_place() {
    let table = table(&[ONE_PLACE]);
    let vendor = Vendor::new(&table, |_, nth| if nth == 0 { Said::Hang } else { at_once(200, "end") });
    let gateway = gateway(&table, &vendor);
    let hanging = begin(&gateway, "blind/1:stop").await;
    let waiting = begin(&gateway, "blind/2:stop").await;
    assert_eq!(waiting.await.unwrap(), "503 PROVIDER_BUSY retry 1 after 2");

    let gone = begin(&gateway, "blind/3:stop").await;
    let last = begin(&gateway, "blind/4:stop").await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    let next = begin(&gateway, "blind/5:stop").await;
    // The one under way goes away as well.
    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    assert_eq!(told(vec![last, next]).await, ["200 done", "200 done"]);
    let status = vendor.gates.status(&table.providers["blind"]);
    assert_eq!((&status["in_flight"], &status["queued"]), (&json!(0), &json!(0)));
}

/// A request as the stack would make it, due in so many milliseconds.
fn outbound(table: &RouteTable, provider: &str, aim: Aim, due: u64) -> Outbound {
    let provider = Arc::clone(&table.providers[provider]);
    let route = match (&provider.task, aim) {
        (Some(task), Aim::Look) => Arc::clone(&task.route),
        _ => Arc::clone(&provider.actions["stop"]),
    };
    Outbound {
        context: Arc::new(CallContext {
            request_id: "r-1".into(),
            trace: taskgate::layer::trace::Trace::of(&HeaderMap::new()),
            deadline: Instant::now() + Duration::from_millis(due),
            credentials: CallCredentials::default(),
            doubt: Doubt::default(),
            claim: None,
            member: None,
        }),
        provider,
        route,
        aim,
        request: Box::new(UpstreamRequest {
            method: http::Method::POST,
            target: "/".to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }),
        credentials: CredentialUse::None,
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_beyond_the_deadline_of_the_call() {
    let table = table(&[ONE_PLACE, ("ACME", "{ rate: 1/s }")]);
    let gates = Gates::new(&table);
    let start = Instant::now();
    let blind = gates.gate("blind").unwrap();
    let _place = blind.enter(&outbound(&table, "blind", Aim::ActUnseen, 9000)).await.unwrap();
    let error = blind.enter(&outbound(&table, "blind", Aim::ActUnseen, 300)).await.unwrap_err();
    assert_eq!((error.reason, start.elapsed()), (Reason::ProviderBusy, Duration::from_millis(300)));

    let acme = gates.gate("acme").unwrap();
    let pass = acme.enter(&outbound(&table, "acme", Aim::Act, 9000)).await.unwrap();
    let now = Instant::now();
    pass.attempt(now).await.unwrap();
    let error = pass.attempt(now + Duration::from_millis(999)).await.unwrap_err();
    assert_eq!(
        (error.reason, error.retry_after, now.elapsed()),
        (Reason::ProviderRateLimited, Some(Duration::from_secs(1)), Duration::ZERO)
    );
    pass.attempt(now + Duration::from_millis(1000)).await.unwrap();
    assert_eq!(now.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_nobody_waits_for_anything() {
    let limits = "{ in_flight: 1, queue: { length: 0 }, rate: 1/s }";
    let table = table(&[("BLIND", limits)]);
    let vendor = Vendor::new(&table, |_, _| Said::After(Duration::from_millis(500), 200, "end"));
    let gateway = gateway(&table, &vendor);
    let first = begin(&gateway, "blind/1:stop").await;
    assert_eq!(act(&gateway, "blind/2:stop", None).await, "503 PROVIDER_BUSY retry 1");
    assert_eq!(first.await.unwrap(), "200 done after 0.5");
    assert_eq!(act(&gateway, "blind/3:stop", None).await, "503 PROVIDER_RATE_LIMITED retry 1");
    assert_eq!(vendor.seen(), "0 blind stop");
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_exact_and_a_refusal_says_when() {
    let table = table(&[("BLIND", "{ rate: 30/m, burst: 2, queue: { wait: 3s } }")]);
    let vendor = Vendor::new(&table, |_, _| at_once(200, "end"));
    let gateway = gateway(&table, &vendor);
    let mut calls = Vec::new();
    for id in 1..=5 {
        calls.push(begin(&gateway, &format!("blind/{id}:stop")).await);
    }
    assert_eq!(
        told(calls).await,
        [
            "200 done",
            "200 done",
            "200 done after 2",
            "503 PROVIDER_RATE_LIMITED retry 4",
            "503 PROVIDER_RATE_LIMITED retry 4",
        ]
    );
    assert_eq!(vendor.seen(), "0 blind stop, 0 blind stop, 2 blind stop");
    // Who comes back when told so finds a turn.
    sleep_until(vendor.start + Duration::from_secs(4)).await;
    assert_eq!(act(&gateway, "blind/4:stop", None).await, "200 done");
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_shared_by_those_who_name_it_and_by_nobody_else() {
    let table = table(&[("STOP", "{ quotas: account }")]);
    let vendor = Vendor::new(&table, |_, _| at_once(200, "run"));
    let gateway = gateway(&table, &vendor);
    assert_eq!(act(&gateway, "acme/1:stop", None).await, "202 accepted");
    // The site has the action of the other one, and its quota.
    assert_eq!(act(&gateway, "site/1:stop", None).await, "503 PROVIDER_RATE_LIMITED retry 30");
    assert_eq!(act(&gateway, "acme/1:kill", None).await, "200 done");
    assert_eq!(act(&gateway, "blind/1:stop", None).await, "200 done");
    assert_eq!(act(&gateway, "acme/1", None).await, "200 done");
    // 28 s later a turn is near enough to wait for it, whoever comes.
    sleep(Duration::from_secs(28)).await;
    assert_eq!(act(&gateway, "site/1:stop", None).await, "202 accepted after 2");
    let rates = &vendor.gates.status(&table.providers["site"])["rates"];
    assert_eq!(
        rates,
        &json!([
            { "name": "quotas.account", "rate": "2/m", "free_in_ms": 30000 },
            { "name": "quotas.looks", "rate": "4/m, 2 at once", "free_in_ms": 0 },
        ])
    );
}

/// Calls until the provider is left alone.
async fn break_it(gateway: &Gateway<Full<Bytes>>, vendor: &Vendor, target: &str) {
    for _ in 0..5 {
        let told = act(gateway, target, None).await;
        assert_eq!(told, "503 VENDOR_UNREACHABLE", "{target}");
    }
    assert_eq!(vendor.seen().matches(',').count(), 4);
}

/// A vendor that is away until `back` seconds have passed.
fn away_until(table: &RouteTable, back: f64) -> Vendor {
    let start = Instant::now();
    Vendor::new(table, move |_, _| {
        if start.elapsed().as_secs_f64() < back {
            Said::Error(Reason::VendorUnreachable)
        } else {
            at_once(200, "run")
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_away_is_left_alone_and_found_again_by_one_look() {
    let table = table(&[]);
    let vendor = away_until(&table, 7.0);
    let gateway = gateway(&table, &vendor);
    break_it(&gateway, &vendor, "acme/1:stop").await;
    for target in ["acme/1:stop", "acme/1"] {
        let told = act(&gateway, target, None).await;
        assert!(told.starts_with("503 PROVIDER_SUSPENDED retry "), "{told}");
    }
    assert_eq!(vendor.seen(), "", "nothing is sent, looks included");
    assert_eq!(
        act(&gateway, "site/1:stop", None).await,
        "503 VENDOR_UNREACHABLE",
        "the others go on"
    );
    vendor.seen();

    // The pause is over, the vendor is not back: one look, no stop.
    sleep_until(vendor.start + Duration::from_millis(6100)).await;
    let told_by = act(&gateway, "acme/1:stop", None).await;
    assert!(told_by.starts_with("503 PROVIDER_SUSPENDED retry "), "{told_by}");
    assert_eq!(vendor.seen(), "6.1 acme look");
    assert_eq!(vendor.state(&table, "acme"), "open");

    // Twice as long, and it is back: one look, then the stop.
    sleep_until(vendor.start + Duration::from_secs(19)).await;
    assert_eq!(act(&gateway, "acme/1:stop", None).await, "202 accepted");
    assert_eq!(vendor.seen(), "19 acme look, 19 acme stop");
    assert_eq!(vendor.state(&table, "acme"), "closed");
    assert_eq!(act(&gateway, "acme/1:stop", None).await, "202 accepted");
    assert_eq!(vendor.seen(), "19 acme stop");
}

#[tokio::test(start_paused = true)]
async fn ten_at_once_send_one_look_between_them() {
    let table = table(&[]);
    let back = Arc::new(Mutex::new(false));
    let is_back = Arc::clone(&back);
    let vendor = Vendor::new(&table, move |_, _| match *is_back.lock().unwrap() {
        false => Said::Error(Reason::VendorUnreachable),
        true => Said::After(Duration::from_millis(300), 404, "gone"),
    });
    let gateway = gateway(&table, &vendor);
    break_it(&gateway, &vendor, "acme/1:stop").await;
    sleep(Duration::from_secs(7)).await;
    *back.lock().unwrap() = true;
    let mut calls = Vec::new();
    for id in 0..10 {
        calls.push(begin(&gateway, &format!("acme/{id}:stop")).await);
    }
    let told = told(calls).await;
    // Any answer below 500 shows that the vendor is there; the first call goes on, the others are asked to come back.
    assert_eq!(vendor.seen(), "7 acme look, 7.3 acme stop");
    assert_eq!(
        told.iter().filter(|told| *told == "503 PROVIDER_SUSPENDED retry 1").count(),
        9,
        "{told:?}"
    );
    assert_eq!(vendor.state(&table, "acme"), "closed");
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_look_one_call_finds_out() {
    let table = table(&[]);
    let vendor = away_until(&table, 7.0);
    let gateway = gateway(&table, &vendor);
    break_it(&gateway, &vendor, "blind/1:stop").await;
    sleep_until(vendor.start + Duration::from_millis(6100)).await;
    assert_eq!(act(&gateway, "blind/1:stop", None).await, "503 VENDOR_UNREACHABLE");
    assert_eq!(vendor.seen(), "6.1 blind stop");
    sleep_until(vendor.start + Duration::from_secs(19)).await;
    assert_eq!(act(&gateway, "blind/1:stop", None).await, "200 done");
    assert_eq!(vendor.state(&table, "blind"), "closed");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_gets_no_turn_says_when_there_is_one() {
    // Two looks at once, then one in 15 s.
    let table = table(&[]);
    let vendor = away_until(&table, 6.0);
    let gateway = gateway(&table, &vendor);
    break_it(&gateway, &vendor, "acme/1:stop").await;
    assert_eq!(act(&gateway, "site/1", None).await, "503 VENDOR_UNREACHABLE");
    assert_eq!(act(&gateway, "site/1", None).await, "503 VENDOR_UNREACHABLE");
    sleep_until(vendor.start + Duration::from_secs(7)).await;
    vendor.seen();
    assert_eq!(act(&gateway, "acme/1:stop", None).await, "503 PROVIDER_RATE_LIMITED retry 8");
    assert_eq!((vendor.seen().as_str(), vendor.state(&table, "acme").as_str()), ("", "half_open"));
    sleep_until(vendor.start + Duration::from_secs(15)).await;
    assert_eq!(act(&gateway, "acme/1:stop", None).await, "202 accepted");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_fault_of_the_vendor_never_suspends_it() {
    let table = table(&[("BLIND", "{ timeout: 1s }")]);
    let local = [
        Reason::DeadlineExceeded,
        Reason::MappingFailed,
        Reason::Overloaded,
        Reason::Unauthenticated,
        Reason::VendorAuth,
        Reason::VendorTlsFailed,
    ];
    let said: Vec<Said> = [200, 302, 400, 401, 403, 404, 409, 429]
        .map(|status| at_once(status, "end"))
        .into_iter()
        .chain(local.map(Said::Error))
        .collect();
    for said in said {
        let what = format!("{said:?}");
        let vendor = Vendor::new(&table, move |_, _| said.clone());
        let gateway = gateway(&table, &vendor);
        for _ in 0..30 {
            act(&gateway, "blind/1:stop", None).await;
        }
        assert_eq!(vendor.seen().matches("stop").count(), 30, "{what}");
    }
    // Callers who go away, and attempts that the deadline of the call cuts short.
    let vendor = Vendor::new(&table, |_, _| Said::Hang);
    let gateway = gateway(&table, &vendor);
    for _ in 0..30 {
        let call = begin(&gateway, "blind/1:stop").await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    for _ in 0..30 {
        let pass = vendor
            .gates
            .gate("blind")
            .unwrap()
            .enter(&outbound(&table, "blind", Aim::ActUnseen, 500))
            .await
            .unwrap();
        pass.attempt(Instant::now()).await.unwrap();
        let cut = GatewayError::new(Reason::VendorTimeout, "too late").with_metadata("timeout_ms", 500);
        pass.observed(pass.sign(&cut));
        let large = GatewayError::new(Reason::BadVendorResponse, "too large").with_metadata("max_reply_bytes", 1);
        pass.observed(pass.sign(&large));
        let pin = GatewayError::new(Reason::VendorTlsFailed, "another key").with_metadata("tls", "wrong_pin");
        pass.observed(pass.sign(&pin));
    }
    assert_eq!(vendor.state(&table, "blind"), "closed");
    // A handshake that breaks off is somebody who hangs up.
    let entered = vendor
        .gates
        .gate("blind")
        .unwrap()
        .enter(&outbound(&table, "blind", Aim::ActUnseen, 500))
        .await;
    for _ in 0..5 {
        let broken = GatewayError::new(Reason::VendorTlsFailed, "hung up").with_metadata("tls", "handshake_failed");
        let pass = entered.as_ref().unwrap();
        pass.observed(pass.sign(&broken));
    }
    assert_eq!(vendor.state(&table, "blind"), "open");
}

#[tokio::test(start_paused = true)]
async fn silence_and_trouble_suspend_it() {
    let table = table(&[]);
    for (said, calls) in [
        (Said::Error(Reason::VendorUnreachable), 5),
        (Said::Error(Reason::VendorConnectionLost), 5),
        (Said::Error(Reason::BadVendorResponse), 5),
        (at_once(503, "end"), 10),
        (at_once(500, "end"), 10),
    ] {
        let what = format!("{said:?}");
        let vendor = Vendor::new(&table, move |_, _| said.clone());
        let gateway = gateway(&table, &vendor);
        for _ in 0..20 {
            act(&gateway, "blind/1:stop", None).await;
        }
        assert_eq!(vendor.seen().matches("stop").count(), calls, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_is_told_when_the_provider_is_given_up() {
    let limits = "{ in_flight: 5, timeout: 1s, queue: { length: 3, wait: 30s } }";
    let table = table(&[("BLIND", limits)]);
    let vendor = Vendor::new(&table, |_, _| Said::Hang);
    let gateway = gateway(&table, &vendor);
    let mut calls = Vec::new();
    for id in 0..8 {
        calls.push(begin(&gateway, &format!("blind/{id}:stop")).await);
    }
    let told = told(calls).await;
    assert_eq!(told[..5], ["504 VENDOR_TIMEOUT after 1"; 5]);
    for told in &told[5..] {
        assert!(
            told.starts_with("503 PROVIDER_SUSPENDED retry ") && told.ends_with(" after 1"),
            "{told}"
        );
    }
    assert_eq!(vendor.seen().matches("stop").count(), 5);
}

#[tokio::test(start_paused = true)]
async fn followers_skip_the_looks_that_get_no_turn() {
    // A look every 5 s is wanted, and one every 15 s allowed.
    let table = table(&[]);
    let start = Instant::now();
    let vendor = Vendor::new(&table, move |outbound, _| match outbound.aim {
        Aim::Look if start.elapsed() > Duration::from_secs(30) => at_once(200, "end"),
        _ => at_once(200, "run"),
    });
    let gateway = gateway(&table, &vendor);
    let follow = |target: &'static str| {
        let gateway = gateway.clone();
        tokio::spawn(async move { act(&gateway, target, Some("wait=60")).await })
    };
    let both = vec![follow("acme/1:stop"), follow("acme/1:stop")];
    for told in told(both).await {
        assert!(told.starts_with("200 done after "), "{told}");
    }
    let seen = vendor.seen();
    let looks: Vec<f64> = seen
        .split(", ")
        .filter(|seen| seen.ends_with("look"))
        .map(|seen| seen.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(
        looks.iter().zip(looks.iter().skip(2)).all(|(first, third)| third - first >= 15.0),
        "{looks:?}"
    );
    assert!(looks.len() >= 3, "{looks:?}");
}

#[tokio::test(start_paused = true)]
async fn followers_of_a_job_outlive_its_provider_being_left_alone() {
    let table = table(&[(
        "ACME",
        "{ rate: 1/s, queue: { length: 0 }, breaker: { consecutive: 2, pause: 2s } }",
    )]);
    let start = Instant::now();
    let vendor = Vendor::new(&table, move |outbound, _| match (outbound.aim, start.elapsed().as_secs()) {
        (Aim::Ask, 0..4) => Said::Error(Reason::VendorUnreachable),
        (Aim::Ask, 4..12) => at_once(202, "job"),
        (Aim::Ask, _) => at_once(200, "end"),
        _ => at_once(202, "job"),
    });
    let gateway = gateway(&table, &vendor);
    let told = act(&gateway, "acme/1:kill", Some("wait=30")).await;
    assert!(told.starts_with("200 done after 1"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_takes_nothing_from_the_others() {
    let table = table(&[]);
    let vendor = Vendor::new(&table, |outbound, _| match outbound.provider.name.as_str() {
        "acme" => Said::Hang,
        _ => at_once(200, "run"),
    });
    let gateway = gateway(&table, &vendor);
    let mut hanging = Vec::new();
    for id in 0..40 {
        hanging.push(begin(&gateway, &format!("acme/{id}:stop")).await);
        // Not even the time of a tick.
        for target in ["site/1:stop", "blind/1:stop"] {
            let told = act(&gateway, target, None).await;
            assert!(["202 accepted", "200 done"].contains(&told.as_str()), "{target}: {told}");
        }
    }
    let mut words: HashMap<String, usize> = HashMap::new();
    for told in told(hanging).await {
        *words.entry(told).or_default() += 1;
    }
    let expected = [
        ("504 VENDOR_TIMEOUT after 10", 16),
        ("503 PROVIDER_BUSY retry 1 after 2", 16),
        ("503 PROVIDER_BUSY retry 1", 8),
    ];
    assert_eq!(words, expected.into_iter().map(|(word, count)| (word.to_owned(), count)).collect());
    // And now it costs nobody anything.
    assert!(
        act(&gateway, "acme/1:stop", None)
            .await
            .starts_with("503 PROVIDER_SUSPENDED retry ")
    );
}

#[tokio::test(start_paused = true)]
async fn gates_outlive_a_new_table_where_their_limits_are_the_same() {
    let old = table(&[]);
    let gates = Gates::new(&old);
    let _held = gates
        .gate("acme")
        .unwrap()
        .enter(&outbound(&old, "acme", Aim::Act, 1000))
        .await
        .unwrap();
    let new = table(&[("BLIND", "{ in_flight: 3 }")]);
    let next = gates.followed_by(&new);
    let in_flight = |gates: &Gates, provider: &str| gates.status(&new.providers[provider])["in_flight"].clone();
    assert_eq!((in_flight(&next, "acme"), in_flight(&next, "blind")), (json!(1), json!(0)));
    assert_eq!(next.status(&new.providers["blind"])["in_flight_limit"], 3);
}

/// Runs on this thread, so that what it records is seen by a recorder of its own.
fn recorded(run: impl Future<Output = ()>) -> String {
    let recorder = metrics::recorder().unwrap();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    ::metrics::with_local_recorder(&recorder, || runtime.block_on(run));
    handle.render()
}

#[test]
fn what_happens_at_a_gate_is_seen_in_the_metrics() {
    let text = recorded(async {
        let table = table(&[ONE_PLACE, ("ACME", "{ rate: 1/s }")]);
        let vendor = Vendor::new(&table, |outbound, _| match outbound.provider.name.as_str() {
            "blind" => Said::After(Duration::from_millis(500), 200, "end"),
            "acme" => at_once(200, "run"),
            _ => Said::Error(Reason::VendorUnreachable),
        });
        let gateway = gateway(&table, &vendor);
        let mut calls = Vec::new();
        for id in 0..4 {
            calls.push(begin(&gateway, &format!("blind/{id}:stop")).await);
            calls.push(begin(&gateway, &format!("acme/{id}:stop")).await);
        }
        for _ in 0..6 {
            act(&gateway, "site/1:kill", None).await;
            sleep(Duration::from_secs(1)).await;
        }
        told(calls).await;
        let status = vendor.gates.status(&table.providers["site"]);
        assert_eq!(status["calls_last_minute"], 5);
        assert!(
            status["last_failed_at"].is_string() && status["last_answered_at"].is_null(),
            "{status}"
        );
        assert!(status["breaker"]["until"].is_string(), "{status}");
    });
    for line in [
        r#"taskgate_gate_refused_total{provider="blind",reason="PROVIDER_BUSY"} 1"#,
        r#"taskgate_gate_refused_total{provider="acme",reason="PROVIDER_RATE_LIMITED"} 1"#,
        r#"taskgate_gate_refused_total{provider="site",reason="PROVIDER_SUSPENDED"} 1"#,
        r#"taskgate_gate_wait_seconds_count{provider="blind",cause="place"} 2"#,
        r#"taskgate_gate_wait_seconds_count{provider="acme",cause="rate"} 2"#,
        r#"taskgate_breaker_state{provider="site",state="open"} 1"#,
        r#"taskgate_breaker_state{provider="site",state="closed"} 0"#,
        r#"taskgate_breaker_state{provider="acme",state="closed"} 1"#,
        r#"taskgate_breaker_changes_total{provider="site",state="open"} 1"#,
        r#"taskgate_vendor_queued{provider="blind"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}
