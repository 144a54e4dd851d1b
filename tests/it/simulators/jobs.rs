//! The management node: logins and sessions, jobs that take time and may fail, starting again, the twin tasks, queries.

use std::time::Duration;

use aws_lc_rs::digest;
use serde_json::{Value, json};
use taskgate::simulate::{
    Phase, Simulators, ZSTACK_ACCOUNT, ZSTACK_CDP_TASK, ZSTACK_PASSWORD, ZSTACK_SESSION, ZSTACK_STOPPED_TASK, ZSTACK_TASK,
};

use super::client::{Reply, ask, oauth, play, simulators};

const LOGIN: &str = "/zstack/v1/accounts/login";

fn credentials(account: &str, password: &str) -> String {
    let hash: String = digest::digest(&digest::SHA512, password.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    json!({"logInByAccount": {"accountName": account, "password": hash}}).to_string()
}

async fn login(simulators: &Simulators) -> Reply {
    ask(
        simulators,
        "zstack",
        ("PUT", LOGIN, "", &credentials(ZSTACK_ACCOUNT, ZSTACK_PASSWORD)),
    )
    .await
}

async fn session(simulators: &Simulators) -> String {
    let reply = login(simulators).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    body.pointer("/inventory/uuid").unwrap().as_str().unwrap().to_owned()
}

/// Starts a job and gives the path to look at it.
async fn start(simulators: &Simulators, path: &str, session: &str) -> String {
    let headers = format!("Authorization: OAuth {session}\r\n");
    let reply = ask(simulators, "zstack", ("POST", path, &headers, r#"{"params":{}}"#)).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    let location = body.get("location").unwrap().as_str().unwrap();
    // The host is one that nobody reaches.
    assert!(location.starts_with("http://192.0.2.10:8080/"), "{location}");
    format!("/zstack/v1/api-jobs/{}", location.rsplit('/').next().unwrap())
}

async fn look(simulators: &Simulators, job: &str) -> String {
    ask(simulators, "zstack", ("GET", job, "", "")).await.line()
}

#[track_caller]
fn check(found: &str, expected: &str) {
    assert!(found.starts_with(expected), "expected {expected}, found {found}");
}

#[tokio::test]
async fn a_login_needs_the_digest_of_the_password() {
    let wrong = r#"503 {"error":{"code":"ID.1000","description":"Login failed","details":"wrong account or password"}}"#;
    let plain = format!(r#"{{"logInByAccount":{{"accountName":"{ZSTACK_ACCOUNT}","password":"{ZSTACK_PASSWORD}"}}}}"#);
    let missing = "400 the fields[logInByAccount.accountName, logInByAccount.password] are mandatory";
    play(
        "zstack",
        &[
            (("PUT", LOGIN, "", &credentials(ZSTACK_ACCOUNT, "x")), wrong),
            (("PUT", LOGIN, "", &credentials("x", ZSTACK_PASSWORD)), wrong),
            (("PUT", LOGIN, "", &plain), wrong),
            (("PUT", LOGIN, "", "{"), missing),
            (("PUT", LOGIN, "", r#"{"logIn":{}}"#), missing),
            (
                ("POST", LOGIN, "", ""),
                "405 The method[POST] is not allowed for[/v1/accounts/login]",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_session_is_valid_until_its_end() {
    let simulators = simulators().await;
    let reply = login(&simulators).await;
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    let text = |name: &str| body.pointer(&format!("/inventory/{name}")).unwrap().as_str().unwrap().to_owned();
    assert!(text("expiredDate").ends_with('M') && text("createDate").contains(", 20"), "{body}");
    let anybody = credentials(ZSTACK_ACCOUNT, ZSTACK_PASSWORD)
        .replace("logInByAccount", "logIn")
        .replace("accountName", "username");
    assert_eq!(
        ask(&simulators, "zstack", ("PUT", "/zstack/v1/login", "", &anybody)).await.status,
        200
    );
    let one = text("uuid");
    let valid = format!("/zstack/v1/accounts/sessions/{one}/valid");
    assert_eq!(
        ask(&simulators, "zstack", ("GET", &valid, "", "")).await.line(),
        r#"200 {"valid":true}"#
    );
    let other = session(&simulators).await;
    let logout = format!("/zstack/v1/accounts/sessions/{other}");
    assert_eq!(ask(&simulators, "zstack", ("DELETE", &logout, "", "")).await.line(), "200 {}");
    assert_eq!(simulators.logins("zstack").unwrap(), json!({"issued": 3, "alive": 2, "logouts": 1}));
    // Two hours later; the job finds out, not the call.
    simulators.advance(Duration::from_secs(7200));
    let job = start(&simulators, &format!("/zstack/v1/cbt-task/disable/{ZSTACK_TASK}"), &one).await;
    assert_eq!(look(&simulators, &job).await, "202 {}");
    check(&look(&simulators, &job).await, r#"503 {"error":{"code":"ID.1001""#);
    let headers = format!("Authorization: OAuth {one}\r\n");
    let get = format!("/zstack/v1/cbt-task/{ZSTACK_TASK}");
    check(
        &ask(&simulators, "zstack", ("GET", &get, &headers, "")).await.line(),
        r#"503 {"error":{"code":"ID.1001""#,
    );
    assert_eq!(simulators.effects("zstack", ZSTACK_TASK).unwrap(), 0);
    // The one that was handed out beforehand ends with a revocation only.
    let fixed = format!("/zstack/v1/accounts/sessions/{ZSTACK_SESSION}/valid");
    assert_eq!(
        ask(&simulators, "zstack", ("GET", &fixed, "", "")).await.line(),
        r#"200 {"valid":true}"#
    );
    simulators.revoke();
    assert_eq!(
        ask(&simulators, "zstack", ("GET", &fixed, "", "")).await.line(),
        r#"200 {"valid":false}"#
    );
    simulators.shutdown().await;
}

#[tokio::test]
async fn sessions_are_limited() {
    let simulators = simulators().await;
    simulators.set("zstack", "sessions", "2").unwrap();
    let first = session(&simulators).await;
    session(&simulators).await;
    check(&login(&simulators).await.line(), r#"503 {"error":{"code":"ID.1006""#);
    ask(
        &simulators,
        "zstack",
        ("DELETE", &format!("/zstack/v1/accounts/sessions/{first}"), "", ""),
    )
    .await;
    assert_eq!(login(&simulators).await.status, 200);
    simulators.shutdown().await;
}

#[tokio::test]
async fn a_job_takes_as_long_as_it_is_told_and_is_forgotten_in_the_end() {
    let simulators = simulators().await;
    simulators.set("zstack", "looks", "4").unwrap();
    let job = start(&simulators, &format!("/zstack/v1/cbt-task/disable/{ZSTACK_TASK}"), ZSTACK_SESSION).await;
    for _ in 0..4 {
        assert_eq!(look(&simulators, &job).await, "202 {}");
    }
    assert_eq!(look(&simulators, &job).await, "200 {}");
    simulators.advance(Duration::from_secs(10_799));
    assert_eq!(look(&simulators, &job).await, "200 {}");
    simulators.advance(Duration::from_secs(2));
    assert_eq!(look(&simulators, &job).await, "404 the job has been expired");
    simulators.shutdown().await;
}

#[tokio::test]
async fn a_stop_may_fail_in_its_job() {
    let simulators = simulators().await;
    simulators.set("zstack", "ending", "failed").unwrap();
    simulators.set("zstack", "looks", "0").unwrap();
    let job = start(&simulators, &format!("/zstack/v1/cbt-task/disable/{ZSTACK_TASK}"), ZSTACK_SESSION).await;
    check(&look(&simulators, &job).await, r#"503 {"error":{"code":"SYS.1006""#);
    let get = format!("/zstack/v1/cbt-task/{ZSTACK_TASK}");
    let reply = ask(&simulators, "zstack", ("GET", &get, &oauth(), "")).await;
    assert!(reply.body.contains(r#""status":"Failed""#), "{}", reply.body);
    simulators.shutdown().await;
}

#[tokio::test]
async fn a_stopped_task_is_started_once() {
    let simulators = simulators().await;
    let enable = |task: &str| format!("/zstack/v1/cbt-task/enable/{task}");
    let get = format!("/zstack/v1/cbt-task/{ZSTACK_STOPPED_TASK}");
    let mut states = Vec::new();
    for step in 0..3 {
        if step == 1 {
            let job = start(&simulators, &enable(ZSTACK_STOPPED_TASK), ZSTACK_SESSION).await;
            let reply = ask(&simulators, "zstack", ("GET", &get, &oauth(), "")).await;
            assert!(reply.body.contains(r#""status":"Starting""#), "{}", reply.body);
            assert_eq!(look(&simulators, &job).await, "202 {}");
            assert_eq!(look(&simulators, &job).await, r#"200 {"volumeCbtBackupInfos":[]}"#);
        }
        let reply = ask(&simulators, "zstack", ("GET", &get, &oauth(), "")).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        states.push(body.pointer("/inventories/0/status").unwrap().as_str().unwrap().to_owned());
    }
    assert_eq!(states, ["Stopped", "Running", "Running"]);
    for (task, text) in [(ZSTACK_TASK, "already running"), ("0", "cannot find the resource")] {
        let job = start(&simulators, &enable(task), ZSTACK_SESSION).await;
        look(&simulators, &job).await;
        let failed = look(&simulators, &job).await;
        assert!(
            failed.starts_with(r#"503 {"error":{"code":"SYS.1006""#) && failed.contains(text),
            "{failed}"
        );
    }
    assert_eq!(simulators.effects("zstack", ZSTACK_STOPPED_TASK).unwrap(), 1);
    simulators.shutdown().await;
}

#[tokio::test]
async fn tasks_of_continuous_data_protection_are_stopped_alike() {
    let simulators = simulators().await;
    let job = start(
        &simulators,
        &format!("/zstack/v1/cdp-task/disable/{ZSTACK_CDP_TASK}"),
        ZSTACK_SESSION,
    )
    .await;
    assert_eq!(look(&simulators, &job).await, "202 {}");
    assert_eq!(look(&simulators, &job).await, "200 {}");
    let unknown = start(&simulators, "/zstack/v1/cdp-task/disable/0", ZSTACK_SESSION).await;
    look(&simulators, &unknown).await;
    assert_eq!(look(&simulators, &unknown).await, "200 {}", "an unknown one is a success");
    let get = format!("/zstack/v1/cdp-task/{ZSTACK_CDP_TASK}");
    let reply = ask(&simulators, "zstack", ("GET", &get, &oauth(), "")).await;
    assert!(reply.body.contains(r#""status":"Stopped""#), "{}", reply.body);
    assert_eq!(simulators.effects("zstack", ZSTACK_CDP_TASK).unwrap(), 1);
    simulators.shutdown().await;
}

#[tokio::test]
async fn queries_find_tasks_by_their_fields() {
    let simulators = simulators().await;
    let oauth = oauth();
    for (query, expected) in [
        ("", vec![ZSTACK_TASK, ZSTACK_STOPPED_TASK]),
        ("?q=status=Running", vec![ZSTACK_TASK]),
        ("?q=status!=Running", vec![ZSTACK_STOPPED_TASK]),
        ("?q=name=My%20Task&q=status=Stopped", vec![ZSTACK_STOPPED_TASK]),
        ("?q=uuid?=0,5ca9c15a50c53f0dac359a64841d7b2b", vec![ZSTACK_TASK]),
        ("?q=uuid=0", vec![]),
        ("?limit=1&start=1", vec![ZSTACK_STOPPED_TASK]),
    ] {
        let reply = ask(&simulators, "zstack", ("GET", &format!("/zstack/v1/cbt-task{query}"), &oauth, "")).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let found: Vec<&str> = body
            .get("inventories")
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(|task| task["uuid"].as_str().unwrap())
            .collect();
        assert_eq!(found, expected, "{query}");
    }
    for (query, expected) in [
        ("?count=true", r#"200 {"total":2}"#),
        ("?q=status=Paused&replyWithCount=true", r#"200 {"inventories":[],"total":0}"#),
        ("?q=size=1", r#"503 {"error":{"code":"SYS.1007""#),
    ] {
        let reply = ask(&simulators, "zstack", ("GET", &format!("/zstack/v1/cbt-task{query}"), &oauth, "")).await;
        check(&reply.line(), expected);
    }
    assert!(simulators.place("zstack", ZSTACK_TASK, Phase::Failed).unwrap());
    let reply = ask(
        &simulators,
        "zstack",
        ("GET", "/zstack/v1/cbt-task?q=status=Failed&count=true", &oauth, ""),
    )
    .await;
    assert_eq!(reply.line(), r#"200 {"total":1}"#);
    simulators.shutdown().await;
}
