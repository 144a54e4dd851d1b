//! One provider in trouble, over real sockets: it costs the others nothing, is left alone, and is found again by a look.

use std::time::Duration;

use serde_json::Value;
use taskgate::config::environment::Environment;
use taskgate::simulate::{CFW_FIREWALL, CFW_TASK, SimulatorOptions};

use super::caller::Caller;
use super::rig::{self, Rig, everyday};

/// Few places whose calls hang until they are given up, and a pause that is soon over.
const SOON: [(&str, &str); 2] = [
    (
        "    title: Cloud Firewall packet capture\n",
        "    title: Cloud Firewall packet capture\n    limits: { in_flight: 4, queue: { length: 2, wait: 30s }, timeout: 60s, breaker: { consecutive: 4, pause: 400ms } }\n",
    ),
    ("{ rate: 3/m, burst: 3 }", "{ rate: 1000/s, burst: 1000 }"),
];

async fn health(admin: &Caller, provider: &str) -> Value {
    let status = admin.get("/status").await.json();
    let found = status["providers"].as_array().unwrap().iter().find(|one| one["name"] == provider);
    found.unwrap()["health"].clone()
}

fn stop_cfw() -> (String, String) {
    let body = format!(r#"{{"scope":{{"instance":"{CFW_FIREWALL}"}}}}"#);
    (format!("cfw/{CFW_TASK}:stop"), body)
}

#[tokio::test]
async fn a_provider_that_hangs_takes_nothing_from_the_others() {
    let rig = Rig::start(SimulatorOptions::default(), &rig::shipped_with(&SOON), Environment::default()).await;
    let admin = Caller::new(rig.gateway.admin_address().unwrap());
    let (task, body) = stop_cfw();
    rig.simulators.set_fault("cfw", "hang,effect=none".parse().unwrap()).unwrap();

    // Four hang, two wait, the seventh is told at once; nobody else notices.
    let calls: Vec<_> = (0..6)
        .map(|_| {
            let (caller, task, body) = (rig.caller.clone(), task.clone(), body.clone());
            tokio::spawn(async move { caller.act(&task, &body).await })
        })
        .collect();
    while health(&admin, "cfw").await["queued"] != 2 {
        tokio::task::yield_now().await;
    }
    let seventh = rig.caller.act(&task, &body).await;
    assert_eq!(
        (
            seventh.word().as_str(),
            seventh.text("/outcome").as_str(),
            seventh.header("retry-after")
        ),
        ("503 PROVIDER_BUSY", "not_done", Some("1"))
    );
    for call in everyday().into_iter().filter(|call| call.provider != "cfw") {
        let (told, provider) = (rig.caller.act(&call.task(), &call.body).await, call.provider);
        assert_eq!(told.word(), call.answer, "{provider}");
    }
    assert_eq!(rig.simulators.calls("cfw").unwrap(), 4);

    // The vendor goes away under them: whoever waited was not sent, and is told so.
    rig.simulators.shutdown().await;
    let mut outcomes = Vec::new();
    for call in calls {
        let told = call.await.unwrap();
        let words = ["502 VENDOR_CONNECTION_LOST", "503 PROVIDER_SUSPENDED", "503 VENDOR_UNREACHABLE"];
        assert!(words.contains(&told.word().as_str()), "{told:?}");
        outcomes.push(told.text("/outcome"));
    }
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["not_done", "not_done", "unknown", "unknown", "unknown", "unknown"]);
    drop((admin, rig.caller));
    rig.gateway.stop().await;
}

#[tokio::test]
async fn a_provider_that_is_away_is_left_alone_and_found_again() {
    let rig = Rig::start(SimulatorOptions::default(), &rig::shipped_with(&SOON), Environment::default()).await;
    let admin = Caller::new(rig.gateway.admin_address().unwrap());
    let (task, body) = stop_cfw();
    assert_eq!(rig.caller.act(&task, &body).await.word(), "202 accepted");
    rig.simulators.set_fault("cfw", "reset,effect=none".parse().unwrap()).unwrap();
    for _ in 0..4 {
        assert_eq!(rig.caller.act(&task, &body).await.word(), "502 VENDOR_CONNECTION_LOST");
    }
    let state = health(&admin, "cfw").await;
    assert_eq!(state["breaker"]["state"], "open", "{state}");
    assert!(
        state["last_failed_at"].is_string() && state["last_answered_at"].is_string(),
        "{state}"
    );

    // The vendor is back, and the next call finds it: one look, one stop.
    rig.simulators.clear_fault("cfw").unwrap();
    rig.simulators.reset();
    let told = loop {
        let told = rig.caller.act(&task, &body).await;
        if told.word() != "503 PROVIDER_SUSPENDED" {
            break told;
        }
        assert_eq!(rig.simulators.calls("cfw").unwrap(), 0, "suspended, and asked all the same");
        tokio::task::yield_now().await;
    };
    assert_eq!(told.word(), "202 accepted");
    let seen = rig.simulators.seen("cfw").unwrap();
    let paths: Vec<String> = seen
        .iter()
        .map(|seen| format!("{} {}", seen.method, seen.target.split('?').next().unwrap()))
        .collect();
    assert!(
        matches!(paths.as_slice(), [look, stop] if look.starts_with("GET ") && stop.starts_with("POST ") && stop.ends_with("/stop")),
        "{paths:?}"
    );
    assert_eq!(health(&admin, "cfw").await["breaker"]["state"], "closed");
    drop(admin);
    rig.stop().await;
}

#[tokio::test]
async fn business_errors_with_status_503_suspend_nobody() {
    // The shipped breakers: one vendor answers every business error with 503, the other one every call too many.
    let rig = Rig::shipped().await;
    for (provider, fault, word) in [
        ("zstack", "failure,path=/disable/", "502 ACTION_FAILED"),
        ("prime", "throttle", "503 VENDOR_RATE_LIMITED"),
    ] {
        rig.simulators.set_fault(provider, fault.parse().unwrap()).unwrap();
        let call = everyday().into_iter().find(|call| call.provider == provider).unwrap();
        for _ in 0..25 {
            rig.simulators.reset();
            assert_eq!(rig.caller.act(&call.task(), &call.body).await.word(), word, "{provider}");
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_quota_of_the_shipped_routes_is_kept_and_says_when() {
    let rig = Rig::shipped().await;
    let call = everyday().into_iter().find(|call| call.provider == "hss").unwrap();
    for _ in 0..3 {
        rig.simulators.reset();
        assert_eq!(rig.caller.act(&call.task(), &call.body).await.word(), call.answer);
    }
    let told = rig.caller.act(&call.task(), &call.body).await;
    assert_eq!(
        (told.word().as_str(), told.text("/outcome").as_str()),
        ("503 PROVIDER_RATE_LIMITED", "not_done")
    );
    let after: u64 = told.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&after), "{after}");
    let wait = Duration::from_millis(told.json()["metadata"]["wait_ms"].as_u64().unwrap());
    assert!(
        wait <= Duration::from_secs(20) && wait > Duration::from_secs(after - 2),
        "{wait:?} {after}"
    );
    rig.stop().await;
}
