//! The log, when nobody reads it or nobody can write it, and what never stands in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use taskgate::simulate::{SimulatorOptions, Simulators, ZSTACK_TASK};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::super::answers::Seen;
use super::super::caller::Caller;
use super::super::program::{Folder, Running, Stderr};
use super::super::rig::{VENDORS, everyday, shipped_with};

const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

async fn lost_lines(admin: &Caller) -> u64 {
    let metrics = String::from_utf8(admin.get("/metrics").await.body.to_vec()).unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("taskgate_log_lines_lost_total "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_log_that_cannot_be_written_costs_no_call() {
    for log in [Stderr::Full, Stderr::Stuck] {
        let fills = matches!(log, Stderr::Full);
        let mut gateway = Running::logging_to(log, &[&SERVE[..], &["--log", "trace"]].concat(), &[]);
        let caller = Caller::new(gateway.address("listening on ").await);
        let admin = Caller::new(gateway.address("admin on ").await);
        // Some lines each, and a pipe takes 64 KiB.
        for _ in 0..500 {
            assert_eq!(caller.act("prime/15:stop", "").await.word(), "503 PROVIDER_NOT_CONFIGURED");
        }
        while fills && lost_lines(&admin).await == 0 {
            tokio::task::yield_now().await;
        }
        drop((caller, admin));
        // The end does not wait for a reader either.
        gateway.terminate().await;
    }
}

#[tokio::test]
async fn scrapes_that_hang_cost_no_call() {
    let mut gateway = Running::start(&SERVE, &[]);
    let caller = Caller::new(gateway.address("listening on ").await);
    let admin = gateway.address("admin on ").await;
    let mut stuck = Vec::new();
    for _ in 0..50 {
        let mut scrape = TcpStream::connect(admin).await.unwrap();
        scrape
            .write_all(&b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100))
            .await
            .unwrap();
        stuck.push(scrape);
    }
    for _ in 0..20 {
        assert_eq!(caller.act("prime/15:stop", "").await.word(), "503 PROVIDER_NOT_CONFIGURED");
    }
    assert_eq!(Caller::new(admin).get("/readyz").await.status, 200);
    drop(caller);
    gateway.terminate().await;
}

/// All that the process writes and answers, with logins and signatures, secrets from files, a reload in between, in full detail.
#[tokio::test]
async fn nothing_secret_is_written_anywhere() {
    let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
    let logins: BTreeMap<String, String> = simulators.login_environment();
    let signatures = simulators.signature_environment();
    for variables in [logins, signatures] {
        simulators.reset();
        let folder = Folder::new();
        let is_secret = |name: &str| ["PASSWORD", "SECRET", "TOKEN", "SESSION"].iter().any(|word| name.contains(word));
        let mut environment = Vec::new();
        for (name, value) in &variables {
            if is_secret(name) {
                folder.write(name, &format!("{value}\n"));
                environment.push((format!("{name}_FILE"), folder.path(name)));
            } else {
                environment.push((name.clone(), value.clone()));
            }
        }
        let environment: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let more = ["--log", "trace", "--watch", "off"];
        let mut gateway = Running::start(&[&SERVE[..], &more].concat(), &environment);
        let caller = Caller::new(gateway.address("listening on ").await);
        let admin = Caller::new(gateway.address("admin on ").await);
        let mut told = String::new();
        for round in 0..2 {
            for call in everyday() {
                let answer = caller.act(&call.task(), &call.body).await;
                assert!(answer.word().ends_with("accepted") || round == 1, "{answer:?}");
                told.push_str(&format!("{answer:?}"));
            }
            for (name, _) in variables.iter().filter(|(name, _)| is_secret(name)) {
                folder.write(name, "another-s3cret");
            }
            gateway.signal("HUP");
            gateway.logged(r#""message":"another configuration runs""#, 1).await;
        }
        for path in ["/livez", "/readyz", "/status", "/metrics"] {
            told.push_str(&format!("{:?}", admin.get(path).await));
        }
        drop((caller, admin));
        let ended = gateway.terminate().await;
        told.push_str(&ended.stdout);
        told.push_str(&ended.stderr);
        let mut secrets: Vec<&str> = variables
            .iter()
            .filter(|(name, _)| is_secret(name))
            .map(|(_, value)| value.as_str())
            .collect();
        assert!(secrets.len() >= 3, "{variables:?}");
        secrets.push("another-s3cret");
        let handed_out: Vec<String> = VENDORS.into_iter().flat_map(|vendor| proofs(&simulators, vendor)).collect();
        assert!(handed_out.len() >= 5, "{handed_out:?}");
        secrets.extend(handed_out.iter().map(String::as_str));
        for secret in secrets {
            assert!(secret.len() > 4 && !told.contains(secret), "`{secret}` was written");
        }
    }
    simulators.shutdown().await;
}

/// The line of a batch, those of its tasks, and which trace they belong to.
#[tokio::test]
async fn a_batch_has_its_line_and_so_has_each_of_its_tasks() {
    let title = "    title: Cisco Prime Infrastructure job run instances\n";
    let folder = Folder::with(&shipped_with(&[(title, &format!("{title}    trace: true\n"))]));
    let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
    let variables = simulators.environment();
    let environment: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let routes = folder.path("routes.yaml");
    let mut gateway = Running::start(&[&SERVE[..], &["--routes", &routes]].concat(), &environment);
    let caller = Caller::new(gateway.address("listening on ").await);
    let send = async |target: &str, id: &str, headers: &[(&str, &str)], body: Value| {
        let own = [("content-type", "application/json"), ("x-request-id", id)];
        let told = caller.send("POST", target, &[&own[..], headers].concat(), &body.to_string()).await;
        told.check(Seen::OnTheWire);
        told.status
    };
    let runs = json!({ "ids": [15, 25, "x"], "reason": "INC-4711" });
    let zstack = json!({ "requests": [{ "task": format!("tasks/zstack/{ZSTACK_TASK}") }] });
    let keyed = [("idempotency-key", "\"k\"")];
    let parent = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
    let prime = "/tasks/prime:batchStop";
    assert_eq!(
        send(&format!("{prime}?validate_only=true"), "checked", &[], runs.clone()).await,
        207
    );
    assert_eq!(send(prime, "told", &keyed, runs.clone()).await, 207);
    assert_eq!(send(prime, "again", &keyed, runs).await, 207);
    assert_eq!(send(prime, "reused", &keyed, json!({ "ids": [15] })).await, 422);
    assert_eq!(send("/tasks:batchStop", "silent", &[], zstack.clone()).await, 202);
    assert_eq!(send("/tasks:batchStop", "within", &parent, zstack).await, 202);
    drop(caller);
    let ended = gateway.terminate().await;
    let lines: Vec<Value> = ended.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // Provider, action, id, outcome and whether the trace is named, of each line of a request.
    let of = |id: &str| {
        let lines = lines.iter().filter(|line| line["message"] == "request" && line["request_id"] == id);
        let line = |line: &Value| {
            let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
            let trace = if line["trace_id"].is_string() { " traced" } else { "" };
            let checked = if line["validate_only"] == true { " checked" } else { "" };
            format!(
                "{} {} {} {}{trace}{checked}",
                text("provider"),
                text("action"),
                text("id"),
                text("outcome")
            )
        };
        lines.map(line).collect::<Vec<_>>()
    };
    let batch = "prime batchStop - not_done traced";
    assert_eq!(
        of("told"),
        [
            "prime stop x not_done traced",
            "prime stop 15 accepted traced",
            "prime stop 25 accepted traced",
            batch
        ]
    );
    let trace = |id: &str| {
        let ids = lines
            .iter()
            .filter(|line| line["request_id"] == id)
            .map(|line| line["trace_id"].to_string());
        ids.collect::<BTreeSet<String>>()
    };
    assert_eq!((trace("told").len(), trace("within").len()), (1, 1), "all of a batch are one trace");
    // The vendor was told of it.
    let seen = simulators.seen("prime").unwrap();
    let told = seen.last().unwrap().headers["traceparent"].to_str().unwrap();
    assert_eq!(
        trace("told").pop_first().unwrap().trim_matches('"'),
        told.split('-').nth(1).unwrap(),
        "{told}"
    );
    // What is said again is a batch as well, and nobody was told of anything.
    assert_eq!(of("again"), ["prime batchStop - not_done"]);
    assert_eq!(of("reused"), ["prime batchStop - not_done"]);
    assert_eq!(of("checked"), ["prime batchStop - not_done checked"]);
    let of_zstack = format!("zstack stop {ZSTACK_TASK} accepted");
    assert_eq!(of("silent"), [of_zstack.as_str(), "- batchStop - accepted"]);
    assert_eq!(
        of("within"),
        [format!("{of_zstack} traced"), "- batchStop - accepted traced".to_owned()]
    );
    simulators.shutdown().await;
}

/// What taskgate has proven itself with at a vendor: sessions, signatures, passwords.
fn proofs(simulators: &Simulators, vendor: &str) -> Vec<String> {
    let seen = simulators.seen(vendor).unwrap();
    let headers = seen
        .iter()
        .flat_map(|request| ["x-auth-token", "authorization"].map(|name| request.headers.get(name).cloned()));
    let texts = headers.flatten().map(|value| value.to_str().unwrap().to_owned());
    // Without the name of the scheme.
    texts.filter_map(|text| text.split_whitespace().last().map(str::to_owned)).collect()
}
