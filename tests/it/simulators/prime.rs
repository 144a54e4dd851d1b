//! Prime Infrastructure: lists of runs in XML and JSON, the login page, the limit on requests at once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::{CANCEL, RUNS_XML, ask, basic, play, prime_json, prime_xml, simulators};

const RUNS_JSON: &str = r#"{"jobRunOperationPayload":{"runIds":{"runId":[15,25]}}}"#;

#[tokio::test]
async fn prime_cancels_runs_in_xml() {
    let xml = prime_xml();
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";
    let error = |status: u16, code: &str, text: &str| {
        format!(
            "{status} {head}<errorDocument><httpMethod>PUT</httpMethod><httpResponseCode>{status}</httpResponseCode><id>presentation.PRS-{code}</id><message>{text}-PRS-{code}</message><queryParams>{{}}</queryParams><uriPath>/op/jobService/cancelrunning</uriPath></errorDocument>"
        )
    };
    let unread = error(400, "104", "The request payload is not valid");
    play(
        "prime",
        &[
            (
                ("PUT", CANCEL, &format!("{}Content-Type: text/xml\r\n", basic()), RUNS_XML),
                &error(415, "109", "Unsupported media type"),
            ),
            (
                ("PUT", CANCEL, &format!("{xml}Accept: text/html\r\n"), RUNS_XML),
                &error(406, "108", "Not acceptable"),
            ),
            (("PUT", CANCEL, &xml, ""), &unread),
            (("PUT", CANCEL, &xml, RUNS_JSON), &unread),
            (("PUT", CANCEL, &xml, "<jobRunOperationPayload><runIds/></jobRunOperationPayload>"), &unread),
            (("PUT", CANCEL, &xml, &RUNS_XML.replace("15", "fifteen")), &unread),
            (
                ("PUT", CANCEL, &xml, RUNS_XML),
                &format!("200 {head}<mgmtResponse requestUrl=\"http://vendor.test{CANCEL}\" responseType=\"operation\" rootUrl=\"http://vendor.test/webacs/api/v3/op\"><operationResult><failure><failure><id>99</id><message>Job run 99 does not exist.</message><status>Failure</status></failure></failure><message>1 succeeded, 1 failed.</message><operation>CANCELRUNNING</operation><success><success><id>15</id><message>Job run 15 is being cancelled.</message><status>Success</status></success></success></operationResult></mgmtResponse>"),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn prime_cancels_runs_in_json() {
    let json = prime_json();
    let suffixed = format!("{CANCEL}.json");
    let answer = |path: &str, result: &str| {
        format!(
            r#"200 {{"mgmtResponse":{{"@requestUrl":"http://vendor.test{path}","@responseType":"operation","@rootUrl":"http://vendor.test/webacs/api/v3/op","operationResult":[{result}]}}}}"#
        )
    };
    play(
        "prime",
        &[
            (
                ("PUT", &suffixed, &json, RUNS_JSON),
                &answer(&suffixed, r#"{"message":"2 succeeded, 0 failed.","operation":"CANCELRUNNING","success":{"success":[{"id":15,"message":"Job run 15 is being cancelled.","status":"Success"},{"id":25,"message":"Job run 25 is being cancelled.","status":"Success"}]}}"#),
            ),
            (
                ("PUT", CANCEL, &format!("{json}Accept: application/json\r\n"), &RUNS_JSON.replace("[15,25]", "15")),
                &answer(CANCEL, r#"{"failure":{"failure":[{"id":15,"message":"Job run 15 is not running.","status":"Failure"}]},"message":"0 succeeded, 1 failed.","operation":"CANCELRUNNING"}"#),
            ),
            (
                ("GET", "/webacs/api/v3/data/unkown.json?x=1", &json, ""),
                r#"404 {"errorDocument":{"httpMethod":"GET","httpResponseCode":404,"id":"presentation.PRS-102","message":"No such entity type as unkown.-PRS-102","queryParams":"{x=[1]}","uriPath":"/data/unkown.json"}}"#,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn prime_redirects_a_wrong_login_to_a_page() {
    let simulators = simulators().await;
    for headers in ["", "Authorization: Basic eDp5\r\n", "Authorization: Basic %\r\n"] {
        let reply = ask(&simulators, "prime", ("PUT", CANCEL, headers, RUNS_XML)).await;
        assert_eq!(reply.status, 302);
        assert_eq!(reply.header("content-type"), Some("text/html;charset=UTF-8"));
        let location = reply.header("location").unwrap();
        let page = location.strip_prefix("http://vendor.test").unwrap();
        // Who follows ends with a 200 and a page.
        let reply = ask(&simulators, "prime", ("GET", page, "", "")).await;
        assert_eq!(reply.status, 200);
        assert!(reply.body.contains("<html>"));
    }
    assert_eq!(simulators.effects("prime", "15").unwrap(), 0);
    simulators.shutdown().await;
}

#[tokio::test]
async fn prime_shows_runs_in_jobs_and_histories() {
    let simulators = simulators().await;
    let json = prime_json();
    let cancel = format!("{CANCEL}.json");
    let summary = |version: &str| format!("/webacs/api/{version}/data/JobSummary/7.json");
    let run = "/queryResponse/entity/0/jobSummaryDTO";
    let mut states = Vec::new();
    for step in 0..3 {
        if step == 1 {
            ask(&simulators, "prime", ("PUT", &cancel, &json, RUNS_JSON)).await;
        }
        let reply = ask(&simulators, "prime", ("GET", &summary("v4"), &json, "")).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let status = body.pointer(&format!("{run}/runStatus")).unwrap();
        states.push(status.as_str().unwrap().to_owned());
        assert_eq!(body.pointer(&format!("{run}/runId")), Some(&15.into()));
    }
    assert_eq!(states, ["RUNNING", "RUNNING", "CANCELLED"]);
    let targets = [
        (summary("v3"), format!("{run}/runId"), Value::from("15")),
        (
            "/webacs/api/v4/data/JobSummary.json?.full=true&runId=25".to_owned(),
            format!("{run}/@id"),
            "8".into(),
        ),
        (
            "/webacs/api/v4/data/JobSummary.json".to_owned(),
            "/queryResponse/entityId/0/$".to_owned(),
            "7".into(),
        ),
        (
            "/webacs/api/v4/op/jobService/runhistory.json?jobId=8".to_owned(),
            "/mgmtResponse/job/0/runInstances/runInstance/0/runId".to_owned(),
            25.into(),
        ),
        (
            "/webacs/api/v4/data/JobSummary/15.json".to_owned(),
            "/errorDocument/httpResponseCode".to_owned(),
            404.into(),
        ),
    ];
    for (target, pointer, expected) in targets {
        let reply = ask(&simulators, "prime", ("GET", &target, &json, "")).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(body.pointer(&pointer), Some(&expected), "{target}: {body}");
    }
    simulators.shutdown().await;
}

#[tokio::test]
async fn prime_refuses_the_sixth_request_at_once_of_one_user() {
    let simulators = Arc::new(simulators().await);
    simulators.set_fault("prime", "hang,times=5".parse().unwrap()).unwrap();
    let json = prime_json();
    let target = "/webacs/api/v4/data/JobSummary.json";
    let mut hanging = JoinSet::new();
    for _ in 0..5 {
        let (simulators, json) = (Arc::clone(&simulators), json.clone());
        hanging.spawn(async move { ask(&simulators, "prime", ("GET", target, &json, "")).await });
    }
    while simulators.calls("prime").unwrap() < 5 {
        tokio::task::yield_now().await;
    }
    let sixth = ask(&simulators, "prime", ("GET", target, &json, "")).await;
    assert_eq!(sixth.status, 401);
    // Someone else is not affected; without a login that is a redirect.
    let other = ask(&simulators, "prime", ("GET", target, "", "")).await;
    assert_eq!(other.status, 302);
    // Callers that leave make room.
    hanging.shutdown().await;
    let room = async { while ask(&simulators, "prime", ("GET", target, &json, "")).await.status != 200 {} };
    timeout(Duration::from_secs(10), room).await.unwrap();
    Arc::into_inner(simulators).unwrap().shutdown().await;
}
