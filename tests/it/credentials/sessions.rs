//! Sessions: one login for all, one more when it has expired, and none in a loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::gateway::{GatewayOptions, Reload, RunningGateway};
use taskgate::server::ServerLimits;
use taskgate::stack::StackLimits;
use taskgate::telemetry::metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::caller::Caller;
use super::super::rig::{compiled, shipped_with, start_gateway};
use super::{CAPTURE, CBT, PASSWORD, Rig, Server, firewall, iam, node, passwords, shown, text, unauthorized};

#[tokio::test]
async fn a_thousand_calls_with_an_expired_token_cause_one_login() {
    let (iam, vendor) = (iam().await, firewall(&["token-1-that-opens-nothing"]).await);
    let (vendor_url, iam_url) = (vendor.url(), iam.url());
    let rig = Rig::shipped(&passwords(&vendor_url, &iam_url));
    let first = rig.stop_capture().await;
    assert_eq!(first.0, 202, "{}", first.1);
    assert_eq!(
        (iam.got().len(), vendor.got().len()),
        (2, 2),
        "expired once: one login and one more call"
    );

    let (iam, vendor) = (super::iam().await, firewall(&[]).await);
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
        if gone.load(Ordering::SeqCst) && got.headers["x-auth-token"] == "token-1-that-opens-nothing" {
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
        assert_eq!(vendor.got()[0].headers["x-auth-token"], "token-1-that-opens-nothing");
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
    // The look before the call finds out.
    assert_eq!(lines, ["login", task, "login", task, task]);
    let login: Value = serde_json::from_str(&got[0].body).unwrap();
    assert_eq!(login["logInByAccount"]["accountName"], "admin");
    assert_eq!(
        login["logInByAccount"]["password"],
        "b109f3bbbc244eb82441917ed06d618b9008dd09b3befd1b5e07394c706a8bb980b1d7785e5976ec049b46df5f1326af5a2ea6d103fd07c95385ffab0cacbc86"
    );
    for after in got.get(3..).unwrap() {
        assert_eq!(after.headers["authorization"], "OAuth session-2");
    }
    rig.keyring.log_out(Duration::from_secs(5)).await;
    let last = node.got().pop().unwrap();
    assert_eq!(last.line, "DELETE /zstack/v1/accounts/sessions/session-2");
    assert!(!last.headers.contains_key("authorization"));
    assert_eq!(node.count("DELETE"), 1);
}

/// Calls of the asynchronous kind are taken whatever the session; the job finds out.
#[tokio::test]
async fn a_session_that_only_the_job_finds_expired_is_renewed_once() {
    for second_lives in [true, false] {
        let logins = AtomicUsize::new(0);
        let node = Server::start(move |got| {
            let taken_by =
                |job: &str| json!({ "location": format!("http://192.0.2.10:8080/zstack/v1/api-jobs/{job}"), "apiTimeout": 1000 });
            let authorization = got.headers.get("authorization").map(String::as_str);
            if got.line.ends_with("/accounts/login") {
                let session = format!("session-{}", logins.fetch_add(1, Ordering::SeqCst) + 1);
                return (
                    200,
                    Vec::new(),
                    json!({ "inventory": { "uuid": session, "accountUuid": "a" } }).to_string(),
                );
            }
            if got.line.starts_with("POST") {
                let job = authorization.unwrap().trim_start_matches("OAuth ");
                return (202, Vec::new(), taken_by(job).to_string());
            }
            match got.line.strip_prefix("GET /zstack/v1/api-jobs/") {
                Some(job) if job == "session-1" || !second_lives => {
                    let body = json!({ "error": { "code": "ID.1001", "description": "Session expired" } });
                    (503, Vec::new(), body.to_string())
                }
                _ => (200, Vec::new(), shown(got).to_string()),
            }
        })
        .await;
        let url = node.url();
        let rig = Rig::shipped(&[("ZSTACK_ENDPOINT", &url), ("ZSTACK_ACCOUNT", "a"), ("ZSTACK_PASSWORD", PASSWORD)]);
        let (status, body) = rig.call(CBT, json!({}), &[("prefer", "wait=5")]).await;
        let expected = if second_lives { (200, "done") } else { (502, "not_done") };
        assert_eq!((status, body["outcome"].as_str().unwrap()), expected, "{body}");
        assert_eq!((node.count("login"), node.count("disable"), node.count("api-jobs")), (2, 2, 2));
        let got = node.got();
        let of = |part: &str, header: &str| -> Vec<Option<String>> {
            let those = got.iter().filter(|got| got.line.contains(part));
            those.map(|got| got.headers.get(header).cloned()).collect()
        };
        assert_eq!(
            of("disable", "authorization"),
            [Some("OAuth session-1".to_owned()), Some("OAuth session-2".to_owned())]
        );
        let jobs = of("disable", "x-job-uuid");
        assert_ne!(jobs[0], jobs[1]);
        assert_eq!(
            of("api-jobs", "authorization"),
            [None, None],
            "jobs are asked for without credentials"
        );
    }
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
    let recorded = metrics::recorder().unwrap().handle();
    let gateway = RunningGateway::start(table, options, recorded).await.unwrap();
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let request = format!("POST {CBT} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(node.count("DELETE"), 0);
    gateway.stop().await;
    assert_eq!(node.count("DELETE /zstack/v1/accounts/sessions/session-1"), 1);
}

#[tokio::test]
async fn a_session_outlives_a_reload_that_does_not_concern_it_and_no_other() {
    let node = node("").await;
    let url = node.url();
    let table = |password: &str, (from, to): (&str, &str)| {
        let variables = [
            ("ZSTACK_ENDPOINT", url.as_str()),
            ("ZSTACK_ACCOUNT", "a"),
            ("ZSTACK_PASSWORD", password),
        ];
        let environment: Environment = variables.into_iter().collect();
        compiled(&shipped_with(&[(from, to)]), &environment)
    };
    const NOTHING: (&str, &str) = ("version: 1", "version: 1");
    let mut gateway = start_gateway(&table(PASSWORD, NOTHING)).await;
    let caller = Caller::new(gateway.address());
    let calls = async |logins| {
        assert_eq!(caller.send("POST", CBT, &[], "").await.status, 200);
        assert_eq!(node.count("/accounts/login"), logins);
    };
    let ended = |session: &str| node.count(&format!("DELETE /zstack/v1/accounts/sessions/{session}"));
    calls(1).await;
    let other = table(PASSWORD, ("title: Cisco Prime", "title: The Prime"));
    assert_eq!(gateway.replace(other.table, other.hash).unwrap(), Reload::Applied(Vec::new()));
    calls(1).await;
    let other = table("another", NOTHING);
    let both = ["zstack", "zstack-cdp"].map(str::to_owned).to_vec();
    assert_eq!(gateway.replace(other.table, other.hash).unwrap(), Reload::Applied(both));
    calls(2).await;
    while ended("session-1") == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ended("session-2"), 0);
    drop(caller);
    gateway.stop().await;
    assert_eq!((ended("session-1"), ended("session-2")), (1, 1));
}

#[tokio::test]
async fn a_vendor_that_hangs_at_the_logout_holds_nobody_for_long() {
    let node = node("").await;
    let url = node.url();
    let rig = Rig::shipped(&[("ZSTACK_ENDPOINT", &url), ("ZSTACK_ACCOUNT", "a"), ("ZSTACK_PASSWORD", PASSWORD)]);
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
    let rig = Rig::shipped(&[("ZSTACK_ENDPOINT", &url), ("ZSTACK_ACCOUNT", "a"), ("ZSTACK_PASSWORD", PASSWORD)]);
    rig.keyring.log_out(Duration::from_secs(5)).await;
    assert!(node.got().is_empty());
}
