//! Batches that are only checked, against the running gateway: what is shown is what would be sent, and nothing is.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use serde_json::{Value, json};
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::simulate::{CFW_FIREWALL, CFW_TASK, HSS_TASK, PRIME_FIRST_OF_MORE, SimulatorOptions, Simulators, ZSTACK_TASK};

use super::answers::{Seen, Told};
use super::caller::Caller;
use super::rig::{self, Rig, VENDORS};

async fn show(caller: &Caller, target: &str, body: &Value) -> Told {
    let target = format!("{target}?validate_only=true");
    let told = caller
        .send("POST", &target, &[("content-type", "application/json")], &body.to_string())
        .await;
    told.check(Seen::OnTheWire);
    told
}

fn calls(simulators: &Simulators) -> u64 {
    VENDORS.iter().map(|vendor| simulators.calls(vendor).unwrap()).sum()
}

/// For how many tasks each of the vendor requests is.
fn sizes(told: &Told) -> Vec<usize> {
    let document = told.json();
    let requests = document["vendor_requests"].as_array().unwrap().iter();
    requests.map(|request| request["tasks"].as_array().unwrap().len()).collect()
}

/// Of each task of a batch the reason why it did not succeed, or its outcome.
pub(crate) fn words(told: &Told) -> Vec<String> {
    let document = told.json();
    let results = document["results"].as_array().unwrap().iter();
    let word = |result: &Value| {
        let word = result.pointer("/error/reason").unwrap_or(&result["outcome"]);
        word.as_str().unwrap().to_owned()
    };
    results.map(word).collect()
}

async fn with_runs(count: usize) -> Rig {
    let options = SimulatorOptions::default().set("prime", "runs", count.to_string());
    Rig::start(options, &shipped::sources(), Environment::default()).await
}

#[tokio::test]
async fn lists_are_shown_as_they_are_sent() {
    let rig = with_runs(250).await;
    for (count, expected) in [
        (1, &[1][..]),
        (100, &[100]),
        (101, &[100, 1]),
        (200, &[100, 100]),
        (250, &[100, 100, 50]),
    ] {
        let mut ids: Vec<Value> = (0..count).map(|at| json!(PRIME_FIRST_OF_MORE + at)).collect();
        let told = show(&rig.caller, "/tasks/prime:batchStop", &json!({ "ids": ids })).await;
        assert_eq!((told.status, sizes(&told).as_slice()), (200, expected), "{count}");
        // One that is no run takes no place in a request.
        ids.insert(0, json!("x"));
        let told = show(&rig.caller, "/tasks/prime:batchStop", &json!({ "ids": ids })).await;
        assert_eq!((told.status, sizes(&told).as_slice()), (207, expected), "{count}");
        assert_eq!((words(&told)[0].as_str(), told.header("via")), ("INVALID_TASK_ID", None));
    }
    assert_eq!(calls(&rig.simulators), 0);
    // What is sent afterwards is what was shown, byte by byte.
    let ids: Vec<i64> = (0..150).map(|at| PRIME_FIRST_OF_MORE + at).collect();
    let body = json!({ "ids": ids, "reason": "INC-4711" });
    let shown = show(&rig.caller, "/tasks/prime:batchStop", &body).await.json();
    assert_eq!(calls(&rig.simulators), 0);
    let told = rig
        .caller
        .send(
            "POST",
            "/tasks/prime:batchStop",
            &[("content-type", "application/json")],
            &body.to_string(),
        )
        .await;
    assert_eq!(told.status, 202);
    let seen = rig.simulators.seen("prime").unwrap();
    let mut sent: Vec<String> = seen
        .iter()
        .filter(|seen| seen.method == Method::PUT)
        .map(|stop| String::from_utf8(stop.body.to_vec()).unwrap())
        .collect();
    let requests = shown["vendor_requests"].as_array().unwrap().iter();
    let mut showed: Vec<String> = requests
        .map(|request| request["request"]["body"].as_str().unwrap().to_owned())
        .collect();
    sent.sort();
    showed.sort();
    assert_eq!((sent.len(), &sent), (2, &showed));
    rig.stop().await;
}

#[tokio::test]
async fn a_batch_across_providers_is_shown_request_by_request() {
    let rig = Rig::shipped().await;
    let admin = Caller::new(rig.gateway.admin_address().unwrap());
    let before = admin.get("/status").await.json()["providers"].clone();
    let requests = json!({ "reason": "INC-4711", "requests": [
        { "task": "tasks/prime/15" },
        { "task": format!("tasks/cfw/{CFW_TASK}"), "scope": { "instance": CFW_FIREWALL } },
        { "task": format!("tasks/cfw/{}", CFW_TASK.replace('1', "2")) },
        { "task": format!("tasks/hss/{HSS_TASK}") },
        { "task": "tasks/nobody/1" },
        { "task": format!("tasks/zstack/{ZSTACK_TASK}"), "force": true },
        { "task": "tasks/prime/25" },
        { "task": "tasks/prime/a/b" },
        { "task": "tasks/prime/15 " },
    ] });
    let told = show(&rig.caller, "/tasks:batchStop", &requests).await;
    let expected = [
        "not_done",
        "not_done",
        "INVALID_REQUEST",
        "OPERATION_NOT_SUPPORTED",
        "UNKNOWN_PROVIDER",
        "not_done",
        "not_done",
        "INVALID_TASK_ID",
        "INVALID_TASK_ID",
    ];
    assert_eq!((told.status, words(&told)), (207, expected.map(str::to_owned).to_vec()));
    let document = told.json();
    let named = document["vendor_requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|request| &request["tasks"]);
    assert_eq!(
        named.collect::<Vec<_>>(),
        [
            &json!(["tasks/prime/15", "tasks/prime/25"]),
            &json!([format!("tasks/cfw/{CFW_TASK}")]),
            &json!([format!("tasks/zstack/{ZSTACK_TASK}")]),
        ]
    );
    let urls = document["vendor_requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|request| &request["request"]["url"]);
    let endpoints = rig.simulators.endpoints();
    for (url, vendor) in urls.zip(["prime", "cfw", "zstack"]) {
        assert!(url.as_str().unwrap().starts_with(&endpoints[vendor]), "{url}");
    }
    let rules = document["rules"].as_object().unwrap();
    assert_eq!(rules.keys().collect::<Vec<_>>(), ["cfw", "prime", "zstack"]);
    assert_eq!(
        (&rules["prime"]["limits"]["in_flight"], &rules["zstack"]["look_before"]),
        (&json!(5), &json!(true))
    );
    assert_eq!(document["results"][2]["error"]["errors"][0]["pointer"], "/scope/instance");
    assert_eq!((calls(&rig.simulators), told.header("via")), (0, None));
    // All are fine, as far as that can be said without sending.
    let requests = json!({ "requests": [{ "task": "tasks/prime/15" }, { "task": format!("tasks/zstack/{ZSTACK_TASK}") }] });
    let told = show(&rig.caller, "/tasks:batchStop", &requests).await;
    assert_eq!((told.status, sizes(&told)), (200, vec![1, 1]));
    assert_eq!(
        admin.get("/status").await.json()["providers"],
        before,
        "no place, no turn, no breaker"
    );
    assert_eq!(calls(&rig.simulators), 0);
    rig.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_refused_is_refused_when_it_is_checked() {
    let rig = Rig::shipped().await;
    for (target, body) in [
        ("/tasks/prime:batchStop", json!({})),
        ("/tasks/prime:batchStop", json!({ "ids": [] })),
        ("/tasks/prime:batchStop", json!({ "ids": [15, 15] })),
        ("/tasks/prime:batchStop", json!({ "ids": [15], "force": true })),
        ("/tasks/prime:batchStop", json!({ "ids": (0..1001).collect::<Vec<_>>() })),
        ("/tasks/cfw:batchStop", json!({ "ids": [CFW_TASK] })),
        ("/tasks/prime:batchRetry", json!({ "ids": [15] })),
        ("/tasks/nobody:batchStop", json!({ "ids": [15] })),
        ("/tasks:batchHalt", json!({ "requests": [{ "task": "tasks/prime/15" }] })),
        ("/tasks:batchStop", json!({ "requests": [{ "task": "prime/15" }] })),
    ] {
        let shown = show(&rig.caller, target, &body).await;
        let headers = [("content-type", "application/json")];
        let live = rig.caller.send("POST", target, &headers, &body.to_string()).await;
        let (mut shown, mut live) = (shown.json(), live.json());
        (shown["request_id"], live["request_id"]) = (Value::Null, Value::Null);
        assert!(shown["status"].is_number() && shown == live, "{target} {body}: {shown} {live}");
    }
    for target in ["/tasks/prime:batchStop", "/tasks:batchStop"] {
        for query in [
            "validate_only=maybe",
            "validate_only=TRUE",
            "validate_only",
            "validate_only=",
            "validate_only=true&validate_only=true",
            "validate_only=true&x=1",
            "x=1&validate_only=true",
        ] {
            let body = json!({ "ids": [15], "requests": [{ "task": "tasks/prime/15" }] }).to_string();
            let headers = [("content-type", "application/json")];
            let told = rig.caller.send("POST", &format!("{target}?{query}"), &headers, &body).await;
            told.check(Seen::OnTheWire);
            assert_eq!(told.word(), "400 INVALID_QUERY", "{target}?{query}");
        }
    }
    assert_eq!(calls(&rig.simulators), 0);
    // `false` is no check.
    let headers = [("content-type", "application/json")];
    let target = "/tasks/prime:batchStop?validate_only=false";
    let told = rig.caller.send("POST", target, &headers, "{\"ids\":[15]}").await;
    assert_eq!((told.status, rig.simulators.effects("prime", "15").unwrap()), (202, 1));
    rig.stop().await;
}

#[tokio::test]
async fn no_way_of_proof_shows_a_secret() {
    let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
    let requests = json!({ "requests": [
        { "task": "tasks/prime/15" },
        { "task": "tasks/prime/25" },
        { "task": format!("tasks/cfw/{CFW_TASK}"), "scope": { "instance": CFW_FIREWALL } },
        { "task": format!("tasks/zstack/{ZSTACK_TASK}") },
    ] });
    for variables in [
        simulators.environment(),
        simulators.login_environment(),
        simulators.signature_environment(),
    ] {
        simulators.reset();
        let environment = Environment::default().with(variables.clone());
        let gateway = rig::start_gateway(&rig::compiled(&shipped::sources(), &environment)).await;
        let told = show(&Caller::new(gateway.address()), "/tasks:batchStop", &requests).await;
        assert_eq!((told.status, sizes(&told)), (200, vec![2, 1, 1]));
        let text = String::from_utf8(told.body.to_vec()).unwrap();
        let is_secret = |name: &str| {
            ["TOKEN", "PASSWORD", "SESSION", "SECRET", "_KEY"]
                .iter()
                .any(|end| name.ends_with(end))
        };
        let secrets: Vec<&String> = variables
            .iter()
            .filter(|(name, _)| is_secret(name))
            .map(|(_, value)| value)
            .collect();
        assert!(secrets.len() >= 3, "{variables:?}");
        for secret in secrets {
            assert!(secret.len() > 4 && !text.contains(secret.as_str()), "`{secret}` is shown");
        }
        let basic = BASE64_STANDARD.encode(format!("{}:{}", variables["PRIME_USER"], variables["PRIME_PASSWORD"]));
        assert!(!text.contains(&basic) && text.contains("********"), "{text}");
        // No login either.
        assert_eq!(calls(&simulators), 0);
        gateway.stop().await;
    }
    simulators.shutdown().await;
}

#[tokio::test]
async fn what_is_not_configured_is_each_tasks_own_where_tasks_name_their_provider() {
    let gateway = rig::start_gateway(&rig::compiled(&shipped::sources(), &Environment::default())).await;
    let caller = Caller::new(gateway.address());
    let one = show(&caller, "/tasks/prime:batchStop", &json!({ "ids": [15, 25] })).await;
    assert_eq!(one.word(), "503 PROVIDER_NOT_CONFIGURED");
    let any = show(&caller, "/tasks:batchStop", &json!({ "requests": [{ "task": "tasks/prime/15" }] })).await;
    assert_eq!(
        (any.status, words(&any), sizes(&any)),
        (207, vec!["PROVIDER_NOT_CONFIGURED".to_owned()], vec![])
    );
    gateway.stop().await;
}
