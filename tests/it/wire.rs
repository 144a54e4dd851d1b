//! The gateway between a caller and simulated vendors, over real sockets.

use std::collections::BTreeSet;

use serde_json::json;
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::simulate::{HUAWEI_TOKEN, SimulatorOptions, ZSTACK_SESSION};
use tokio::net::TcpStream;

use super::answers::{Seen, Told};
use super::caller::{Caller, converse, split_answers};
use super::rig::{self, Everyday, Rig, everyday};

#[tokio::test]
async fn each_provider_does_what_it_is_asked_for() {
    let rig = Rig::shipped().await;
    for call in everyday() {
        let Everyday { provider, id, action, .. } = call;
        let told = rig.caller.act(&call.task(), &call.body).await;
        let mut document = told.json();
        assert!(told.text("/operation").starts_with("operations/"), "{provider}");
        for member in ["message", "name", "operation", "request_id", "vendor"] {
            document[member] = "*".into();
        }
        let expected = json!({
            "task": format!("tasks/{provider}/{id}"), "provider": provider, "id": id, "action": action, "outcome": "accepted",
            "state": call.state, "name": "*", "message": "*", "created_at": null, "updated_at": null, "operation": "*",
            "request_id": "*", "vendor": "*"
        });
        assert_eq!((told.status, document), (202, expected));
        let looks = u64::from(provider == "zstack");
        assert_eq!(rig.simulators.calls(provider).unwrap(), 1 + looks, "{provider}");
        assert_eq!(rig.simulators.effects(provider, id).unwrap(), 1, "{provider}");
    }
    rig.stop().await;
}

/// What a call comes to: the word, and what the vendor itself said.
#[track_caller]
fn check(told: &Told, expected: (&str, &str, &str)) {
    let found = (told.word(), told.text("/vendor/status"), told.text("/vendor/code"));
    assert_eq!((found.0.as_str(), found.1.as_str(), found.2.as_str()), expected, "{told:?}");
}

#[tokio::test]
async fn a_second_time_is_told_as_a_look_shows_it() {
    let rig = Rig::shipped().await;
    for (call, second) in everyday().into_iter().zip([
        // These show that the stop is under way.
        ("202 accepted", "200", ""),
        ("202 accepted", "200", ""),
        // These have no word for it: the refusal stands while the task runs.
        ("409 TASK_STATE_CONFLICT", "400", "HSS.1006"),
        ("502 ACTION_FAILED", "200", "null"),
        // Each call is a job of its own there.
        ("202 accepted", "202", ""),
    ]) {
        assert_eq!(rig.caller.act(&call.task(), &call.body).await.word(), "202 accepted");
        check(&rig.caller.act(&call.task(), &call.body).await, second);
    }
    rig.stop().await;
}

#[tokio::test]
async fn unknown_ids_verbs_and_bodies() {
    let rig = Rig::shipped().await;
    let uuid = "00000000-0000-0000-0000-000000000000";
    for (call, (id, unknown)) in everyday().into_iter().zip([
        (uuid, ("404 TASK_NOT_FOUND", "400", "CFW.00200005")),
        (uuid, ("404 TASK_NOT_FOUND", "400", "DBSS.10020021")),
        (uuid, ("404 TASK_NOT_FOUND", "400", "HSS.0011")),
        // Listed as a failure, and of no job.
        ("99", ("404 TASK_NOT_FOUND", "200", "null")),
        // The vendor's job would succeed for what is not there, so a look comes first.
        ("00000000000000000000000000000000", ("404 TASK_NOT_FOUND", "200", "null")),
    ]) {
        let Everyday { provider, action, .. } = call;
        check(&rig.caller.act(&format!("{provider}/{id}:{action}"), &call.body).await, unknown);
        let calls = rig.simulators.calls(provider).unwrap();
        for (task, body, word) in [
            (format!("{provider}/{}:halt", call.id), call.body.as_str(), "404 UNKNOWN_ACTION"),
            (format!("{provider}/{}!:{action}", call.id), &call.body, "400 INVALID_TASK_ID"),
            (call.task(), r#"{"surprise":1}"#, "400 INVALID_REQUEST"),
            (call.task(), r#"{"reason":7}"#, "400 INVALID_REQUEST"),
            (call.task(), "[1]", "400 MALFORMED_BODY"),
            (call.task(), "{", "400 MALFORMED_BODY"),
        ] {
            let told = rig.caller.act(&task, body).await;
            assert_eq!(
                (told.word().as_str(), told.text("/outcome").as_str()),
                (word, "not_done"),
                "{task} {body}"
            );
        }
        assert_eq!(
            rig.simulators.calls(provider).unwrap(),
            calls,
            "{provider}: what is refused is not sent"
        );
    }
    rig.stop().await;
}

#[tokio::test]
async fn one_connection_serves_many_calls_in_order() {
    let rig = Rig::shipped().await;
    let post = |id: &str, rest: &str| format!("POST /tasks/prime/{id}:stop HTTP/1.1\r\nhost: gate.test\r\n{rest}\r\n");
    let bytes = [
        post("15", ""),
        post("15", "content-length: 2\r\ncontent-type: application/json\r\n") + "{}",
        post("15", "transfer-encoding: chunked\r\ncontent-type: application/json\r\n") + "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        post("99", "connection: close\r\n"),
    ];
    let answers = split_answers(&converse(rig.gateway.address(), bytes.concat().as_bytes()).await);
    let words: Vec<_> = answers
        .iter()
        .map(|told| {
            told.check(Seen::OnTheWire);
            told.word()
        })
        .collect();
    assert_eq!(
        words,
        // Each look brings the simulator nearer to the end: the second one finds it.
        ["202 accepted", "502 ACTION_FAILED", "200 done", "404 TASK_NOT_FOUND"]
    );
    assert_eq!(rig.simulators.effects("prime", "15").unwrap(), 1);
    rig.stop().await;
}

/// Rows 29 and 30.
#[tokio::test]
async fn a_vendor_gets_via_and_credentials_and_nothing_of_the_caller() {
    let rig = Rig::shipped().await;
    let of_the_caller = [
        ("authorization", "Bearer callers"),
        ("x-auth-token", "callers"),
        ("cookie", "session=callers"),
        ("x-forwarded-for", "192.0.2.7"),
        ("forwarded", "for=callers"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("via", "1.1 callers"),
        ("user-agent", "callers"),
        ("x-request-id", "callers-1"),
        ("connection", "x-auth-token"),
        ("x-job-uuid", "callers"),
        ("content-type", "application/json"),
    ];
    let cloud = ("x-auth-token", HUAWEI_TOKEN.to_owned());
    for (call, (secret, more)) in everyday().into_iter().zip([
        (cloud.clone(), &["content-length", "content-type"][..]),
        (cloud.clone(), &["content-length", "content-type"]),
        (cloud, &["content-length", "content-type"]),
        (
            ("authorization", "Basic ".to_owned()),
            &["accept", "connection", "content-length", "content-type"],
        ),
        (
            ("authorization", format!("OAuth {ZSTACK_SESSION}")),
            &["content-length", "content-type", "x-job-uuid"],
        ),
    ]) {
        let body = if call.body.is_empty() { "{}" } else { call.body.as_str() };
        let path = format!("/tasks/{}", call.task());
        let told = rig.caller.send("POST", &path, &of_the_caller, body).await;
        assert_eq!(told.word(), "202 accepted", "{told:?}");
        let seen = rig.simulators.seen(call.provider).unwrap().pop().unwrap();
        let names: BTreeSet<&str> = seen.headers.keys().map(http::HeaderName::as_str).collect();
        let expected: BTreeSet<&str> = ["host", "via", secret.0].into_iter().chain(more.iter().copied()).collect();
        assert_eq!(names, expected, "{}", call.provider);
        assert_eq!(seen.headers["via"], "1.1 taskgate");
        assert!(seen.headers[secret.0].to_str().unwrap().starts_with(&secret.1), "{seen:?}");
        assert!(!format!("{seen:?}").contains("callers"), "{seen:?}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn operators_see_what_is_going_on() {
    let rig = Rig::start(SimulatorOptions::default(), &shipped::sources(), Environment::default()).await;
    let admin = Caller::new(rig.gateway.admin_address().unwrap());
    assert_eq!(admin.get("/livez").await.json(), json!({ "status": "alive" }));
    let ready = admin.get("/readyz").await;
    assert_eq!((ready.status, ready.json()["status"].clone()), (200, json!("ready")));
    assert_eq!(ready.json()["config"].as_str().unwrap().len(), 16);
    let status = admin.get("/status").await.json();
    let names: Vec<_> = status["providers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|provider| provider["name"].clone())
        .collect();
    assert_eq!(names, rig::PROVIDERS);
    let actions = |name: &str| {
        let at = rig::PROVIDERS.iter().position(|known| *known == name).unwrap();
        status["providers"][at]["actions"].clone()
    };
    assert_eq!(actions("hss"), json!(["retry"]));
    assert_eq!(actions("zstack"), json!(["retry", "stop"]));
    assert!(
        !status.to_string().contains(HUAWEI_TOKEN) && !status.to_string().contains("127.0.0.1"),
        "{status}"
    );

    rig.caller.act("dbss/1d07f606-92d2-441c-b05c-dca47e180552:stop", "").await;
    rig.caller.act("dbss/x:stop", "").await;
    rig.simulators.set_fault("dbss", "html".parse().unwrap()).unwrap();
    rig.caller.act("dbss/1d07f606-92d2-441c-b05c-dca47e180552:stop", "").await;
    rig.caller.act("nobody/x:stop", "").await;
    let metrics = String::from_utf8(admin.get("/metrics").await.body.to_vec()).unwrap();
    for series in [
        r#"taskgate_requests_total{provider="dbss",action="stop",outcome="accepted",reason="none"} "#,
        r#"taskgate_requests_total{provider="dbss",action="stop",outcome="not_done",reason="INVALID_TASK_ID"} "#,
        r#"taskgate_requests_total{provider="dbss",action="stop",outcome="unknown",reason="BAD_VENDOR_RESPONSE"} "#,
        r#"taskgate_requests_total{provider="none",action="none",outcome="not_done",reason="UNKNOWN_PROVIDER"} "#,
        r#"taskgate_vendor_duration_seconds_count{provider="dbss",action="stop"} "#,
        r#"taskgate_vendor_in_flight{provider="dbss"} "#,
        r#"taskgate_schema_drift_total{provider="dbss",action="stop"} "#,
        "taskgate_build_info{",
    ] {
        assert!(
            metrics.lines().any(|line| line.starts_with(series)),
            "{series} is missing in\n{metrics}"
        );
    }
    assert!(!metrics.contains("nobody") && !metrics.contains("1d07f606"), "{metrics}");

    // What callers use is not there for operators, nor the other way round.
    assert_eq!(admin.send("POST", "/tasks/prime/15:stop", &[], "").await.word(), "404 UNKNOWN_PATH");
    assert_eq!(rig.caller.get("/metrics").await.word(), "404 UNKNOWN_PATH");
    drop(admin);
    rig.stop().await;
}

#[tokio::test]
async fn a_stop_lets_the_call_under_way_finish() {
    let rig = Rig::shipped().await;
    let (address, admin_address) = (rig.gateway.address(), rig.gateway.admin_address().unwrap());
    rig.simulators.set_fault("dbss", "latency:400ms".parse().unwrap()).unwrap();
    let caller = rig.caller.clone();
    let under_way = tokio::spawn(async move { caller.act("dbss/1d07f606-92d2-441c-b05c-dca47e180552:stop", "").await });
    while rig.simulators.calls("dbss").unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let stopped = tokio::spawn(rig.gateway.stop());
    // Nobody new comes in; who asks whether it is ready learns that it is not any more.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let admin = Caller::new(admin_address);
    let ready = admin.get("/readyz").await;
    assert_eq!((ready.status, ready.json()["status"].clone()), (503, json!("draining")));
    assert!(!stopped.is_finished());

    assert_eq!(under_way.await.unwrap().word(), "202 accepted");
    drop((admin, rig.caller));
    stopped.await.unwrap();
    assert!(TcpStream::connect(admin_address).await.is_err());
    rig.simulators.shutdown().await;
}

/// Row 34. A caller that is gone does not take its call along: the vendor has it, and what became of it is counted.
#[tokio::test]
async fn a_caller_that_leaves_does_not_undo_its_call() {
    let rig = Rig::shipped().await;
    rig.simulators.set_fault("zstack", "latency:100ms".parse().unwrap()).unwrap();
    let call = &everyday()[4];
    let request = format!("POST /tasks/{} HTTP/1.1\r\nhost: gate.test\r\n\r\n", call.task());
    let mut stream = TcpStream::connect(rig.gateway.address()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    while rig.simulators.calls("zstack").unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    // The stop waits for the call, although nobody waits for its answer.
    drop(rig.caller);
    rig.gateway.stop().await;
    assert_eq!(rig.simulators.effects("zstack", call.id).unwrap(), 1);
    assert_eq!(rig.simulators.calls("zstack").unwrap(), 2, "a look and the call");
    let metrics = rig::process_metrics().render();
    let counted = r#"taskgate_requests_total{provider="zstack",action="stop",outcome="accepted",reason="none"} "#;
    assert!(metrics.lines().any(|line| line.starts_with(counted)), "{metrics}");
    rig.simulators.shutdown().await;
}

/// Row 102.
#[tokio::test]
async fn an_endpoint_that_is_another_gateway_is_no_vendor() {
    let other = Rig::shipped().await;
    let sources = shipped::sources();
    let environment =
        rig::case_environment(&sources, &rig::PROVIDERS).with([("DBSS_ENDPOINT", format!("http://{}", other.gateway.address()))]);
    let gateway = rig::start_gateway(&rig::compiled(&sources, &environment)).await;
    let caller = Caller::new(gateway.address());
    let told = caller.act("dbss/1d07f606-92d2-441c-b05c-dca47e180552:stop", "").await;
    assert_eq!(told.text("/outcome"), "unknown", "{told:?}");
    assert!(told.status >= 500, "{told:?}");
    drop(caller);
    gateway.stop().await;
    other.stop().await;
}
