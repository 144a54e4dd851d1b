//! The log, when nobody reads it or nobody can write it, and what never stands in it.

use std::collections::BTreeMap;

use taskgate::simulate::{SimulatorOptions, Simulators};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::super::caller::Caller;
use super::super::program::{Folder, Running, Stderr};
use super::super::rig::{VENDORS, everyday};

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
