//! `serve`, `demo` and `simulate` while they run.

use serde_json::{Value, json};
use taskgate::simulate::{DBSS_INSTANCE, SimulatorOptions, Simulators};
use tokio::net::TcpStream;

use super::super::answers::Seen;
use super::super::caller::{Caller, converse, split_answers};
use super::super::program::{CONFIGURED, Running};
use super::super::rig::{PROVIDERS, everyday};

const LOCAL: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

/// A command that listens on free ports, and these arguments.
fn with<'a>(command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[command], &LOCAL[..], more].concat()
}

#[tokio::test]
async fn the_demo_answers_what_it_prints_and_ends_by_a_signal() {
    // One worker is a runtime of its own kind.
    for (signal, workers) in [("INT", "1"), ("TERM", "2")] {
        let mut demo = Running::start(&with("demo", &["--workers", workers]), &[]);
        let caller = Caller::new(demo.address("listening on ").await);
        let admin = Caller::new(demo.address("admin on ").await);
        demo.line("Ctrl-C ends it.").await;
        let printed = demo.printed().to_owned();
        for call in everyday() {
            let lines = printed.replace(" \\\n      ", "");
            let line = lines
                .lines()
                .find(|line| line.contains(&format!("/tasks/{}", call.task())))
                .unwrap();
            let body = line.split_once("-d '").map_or("", |(_, rest)| rest.trim_end_matches('\''));
            assert_eq!(body, call.body, "{printed}");
            assert_eq!(caller.act(&call.task(), body).await.word(), call.answer);
        }
        for call in everyday() {
            let again = caller.act(&call.task(), &call.body).await;
            assert_eq!(again.word(), "200 done", "{}", call.task());
            assert_eq!(again.json()["already"], true, "{}", call.task());
        }
        // What it says goes wrong goes wrong.
        assert_eq!(caller.act("prime/99:stop", "").await.word(), "404 TASK_NOT_FOUND");
        assert_eq!(caller.act("prime/25:halt", "").await.word(), "404 UNKNOWN_ACTION");
        assert_eq!(caller.act("prime/25:stop", "[]").await.word(), "400 MALFORMED_BODY");
        assert_eq!(admin.get("/readyz").await.status, 200);
        drop((caller, admin));
        demo.signal(signal);
        let ended = demo.end().await;
        assert_eq!(ended.code, Some(0), "{signal}: {}", ended.stderr);
        let requests: Vec<Value> = ended
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &Value| line["message"] == "request")
            .collect();
        assert_eq!(requests.len(), 13, "one line for each call: {}", ended.stderr);
    }
}

#[tokio::test]
async fn the_demo_takes_faults() {
    let mut demo = Running::start(&with("demo", &["--fault", "prime=status:401,times=1", "--fault", "all=html"]), &[]);
    let caller = Caller::new(demo.address("listening on ").await);
    assert_eq!(caller.act("prime/15:stop", "").await.word(), "502 BAD_VENDOR_RESPONSE");
    drop(caller);
    demo.terminate().await;
}

#[tokio::test]
async fn serve_without_a_variable_lists_what_is_missing_and_answers() {
    let mut gateway = Running::start(&with("serve", &[]), &[("TASKGATE_LOG", "warn")]);
    let caller = Caller::new(gateway.address("listening on ").await);
    let admin = Caller::new(gateway.address("admin on ").await);
    for line in [
        "cfw (missing CFW_ENDPOINT, HUAWEI_ACCESS_KEY, HUAWEI_PROJECT_ID, HUAWEI_SECRET_KEY; {huawei})",
        "dbss (missing DBSS_ENDPOINT, HUAWEI_ACCESS_KEY, HUAWEI_PROJECT_ID, HUAWEI_SECRET_KEY; {huawei})",
        "dbss-encrypt (missing DBSS_ENDPOINT, HUAWEI_ACCESS_KEY, HUAWEI_PROJECT_ID, HUAWEI_SECRET_KEY; {huawei})",
        "dbss-om (missing DBSS_ENDPOINT, HUAWEI_ACCESS_KEY, HUAWEI_PROJECT_ID, HUAWEI_SECRET_KEY; {huawei})",
        "hss (missing HSS_ENDPOINT, HUAWEI_ACCESS_KEY, HUAWEI_PROJECT_ID, HUAWEI_SECRET_KEY; {huawei})",
        "hss-image (missing HSS_ENDPOINT, HUAWEI_ACCESS_KEY, HUAWEI_PROJECT_ID, HUAWEI_SECRET_KEY; {huawei})",
        "prime (missing PRIME_ENDPOINT, PRIME_PASSWORD, PRIME_USER)",
        "zstack (missing ZSTACK_ACCESS_KEY_ID, ZSTACK_ACCESS_KEY_SECRET, ZSTACK_ENDPOINT, ZSTACK_TIME_ZONE; {zstack})",
        "zstack-cdp (missing ZSTACK_ACCESS_KEY_ID, ZSTACK_ACCESS_KEY_SECRET, ZSTACK_ENDPOINT, ZSTACK_TIME_ZONE; {zstack})",
    ] {
        let line = line.replace("{huawei}", HUAWEI_WAYS).replace("{zstack}", ZSTACK_WAYS);
        assert_eq!(gateway.line("not configured: ").await, line);
    }
    for call in everyday() {
        let told = caller.act(&call.task(), &call.body).await;
        assert_eq!(told.word(), "503 PROVIDER_NOT_CONFIGURED");
        assert!(told.text("/detail").contains("_ENDPOINT"), "{told:?}");
    }
    assert_eq!(admin.get("/readyz").await.status, 200);
    let status = admin.get("/status").await.json();
    let prime = PROVIDERS.iter().position(|name| *name == "prime").unwrap();
    assert_eq!(
        status["providers"][prime]["missing"],
        json!(["PRIME_ENDPOINT", "PRIME_PASSWORD", "PRIME_USER"])
    );
    drop((caller, admin));
    let ended = gateway.terminate().await;
    assert_eq!(ended.stderr, "", "at this level there is nothing to log");
}

#[tokio::test]
async fn settings_come_from_the_environment_as_well() {
    let environment = [
        ("TASKGATE_LISTEN", "127.0.0.1:0"),
        ("TASKGATE_ADMIN_LISTEN", "127.0.0.1:0"),
        ("TASKGATE_MAX_IN_FLIGHT", "1"),
    ];
    let mut gateway = Running::start(&["serve"], &environment);
    let caller = Caller::new(gateway.address("listening on ").await);
    let told = caller.send("GET", "/", &[("x-request-id", "id-1")], "").await;
    told.check(Seen::OnTheWire);
    drop(caller);
    let ended = gateway.terminate().await;
    let lines: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter().find(|line| line["message"] == "request").unwrap();
    assert_eq!((&line["request_id"], &line["reason"]), (&json!("id-1"), &json!("UNKNOWN_PATH")));
}

#[tokio::test]
async fn nothing_secret_is_logged_even_in_full_detail() {
    // A port that nobody listens on any more.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("http://{nowhere}");
    let environment = CONFIGURED.map(|(name, value)| (name, if name.ends_with("_ENDPOINT") { nowhere.as_str() } else { value }));
    let mut gateway = Running::start(&with("serve", &["--log", "trace", "--log-format", "text"]), &environment);
    let caller = Caller::new(gateway.address("listening on ").await);
    let headers = [("authorization", "Bearer of-the-caller"), ("content-type", "application/json")];
    for call in everyday() {
        let body = if call.body.is_empty() { "{}" } else { call.body.as_str() };
        let told = caller.send("POST", &format!("/tasks/{}", call.task()), &headers, body).await;
        assert_eq!(told.word(), "503 VENDOR_UNREACHABLE", "{told:?}");
    }
    drop(caller);
    // `terminate` looks for the secrets of the environment.
    let ended = gateway.terminate().await;
    assert!(!ended.stderr.contains("of-the-caller"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_signal_waits_for_the_calls_under_way_and_a_second_one_does_not() {
    let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
    let variables: Vec<_> = simulators.environment().into_iter().collect();
    for (fault, word, code) in [("latency:300ms", Some("202 accepted"), 0), ("hang", None, 143)] {
        simulators.reset();
        simulators.set_fault("dbss", fault.parse().unwrap()).unwrap();
        let mut gateway = Running::start(&with("serve", &[]), &borrowed(&variables));
        let address = gateway.address("listening on ").await;
        let request = format!("POST /tasks/dbss/{DBSS_INSTANCE}:stop HTTP/1.1\r\nhost: gate.test\r\n\r\n");
        let call = tokio::spawn(async move { converse(address, request.as_bytes()).await });
        while simulators.calls("dbss").unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        gateway.signal("TERM");
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        if word.is_none() {
            gateway.signal("TERM");
        }
        let ended = gateway.end().await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let told = split_answers(&call.await.unwrap()).pop();
        assert_eq!(told.map(|told| told.word()).as_deref(), word);
    }
    simulators.shutdown().await;
}

/// The variables in the lines that a shell would read.
fn exports(printed: &str) -> Vec<(String, String)> {
    let lines = printed.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    lines
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect()
}

fn borrowed(variables: &[(String, String)]) -> Vec<(&str, &str)> {
    variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[tokio::test]
async fn simulate_prints_what_serve_needs() {
    let mut vendors = Running::start(&["simulate"], &[]);
    vendors.line("# the simulators run").await;
    let variables = exports(vendors.printed());
    assert_eq!(variables.len(), 10, "{}", vendors.printed());
    let mut gateway = Running::start(&with("serve", &[]), &borrowed(&variables));
    let caller = Caller::new(gateway.address("listening on ").await);
    for call in everyday() {
        assert_eq!(caller.act(&call.task(), &call.body).await.word(), call.answer);
    }
    // Faults come and go while it runs.
    let prime = variables.iter().find(|(name, _)| name == "PRIME_ENDPOINT").unwrap().1.clone();
    let control = Caller::new(prime.trim_start_matches("http://").parse().unwrap());
    assert_eq!(control.send("PUT", "/_simulator/fault", &[], "reset,times=1").await.status, 204);
    assert_eq!(caller.act("prime/25:stop", "").await.word(), "502 VENDOR_CONNECTION_LOST");
    let state = control.get("/_simulator/state").await.json();
    assert_eq!((&state["calls"], &state["tasks"][1]["effects"]), (&json!(2), &json!(1)), "{state}");
    drop((caller, control));
    assert!(!gateway.printed().contains("not configured"), "{}", gateway.printed());
    gateway.terminate().await;
    vendors.terminate().await;
}

#[tokio::test]
async fn simulate_plays_any_vendor_from_its_cases() {
    let routes = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sixth/routes.yaml");
    let mut vendor = Running::start(&["simulate", "--routes", routes, "acme"], &[]);
    vendor.line("# the simulators run").await;
    let variables = exports(vendor.printed());
    let names: Vec<_> = variables.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ACME_ENDPOINT", "ACME_KEY", "ACME_TENANT"]);
    let mut gateway = Running::start(&with("serve", &["--routes", routes]), &borrowed(&variables));
    let caller = Caller::new(gateway.address("listening on ").await);
    // Many cases are about this call; the one that succeeds is played.
    let told = caller.act("acme/J-15:stop", "").await;
    assert_eq!(
        (told.word().as_str(), told.text("/state").as_str()),
        ("200 done", "stopped"),
        "{told:?}"
    );
    let told = caller.act("acme/J-15:retry", r#"{"parameters":{"from":"failure"}}"#).await;
    assert_eq!(told.word(), "202 accepted");
    drop(caller);
    gateway.terminate().await;
    vendor.terminate().await;
}

const HUAWEI_WAYS: &str = "credentials are one of HUAWEI_ACCESS_KEY, HUAWEI_PROJECT_ID, HUAWEI_SECRET_KEY \
     | HUAWEI_DOMAIN, HUAWEI_IAM_ENDPOINT, HUAWEI_PASSWORD, HUAWEI_USER | HUAWEI_TOKEN";
const ZSTACK_WAYS: &str = "credentials are one of ZSTACK_ACCESS_KEY_ID, ZSTACK_ACCESS_KEY_SECRET, ZSTACK_TIME_ZONE \
     | ZSTACK_ACCOUNT, ZSTACK_ENDPOINT, ZSTACK_PASSWORD | ZSTACK_SESSION";
