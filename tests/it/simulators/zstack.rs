//! ZStack: a stop that is a job, errors in two forms, a success for what is not there.

use serde_json::Value;
use taskgate::simulate::ZSTACK_TASK;

use super::client::{ask, check, oauth, play, simulators};

#[tokio::test]
async fn zstack_stops_a_task_by_a_job() {
    let oauth = oauth();
    let stop = format!("/zstack/v1/cbt-task/disable/{ZSTACK_TASK}");
    let other = format!("/zstack/v1/cbt-task/disable/{}", "0".repeat(32));
    let get = format!("/zstack/v1/cbt-task/{ZSTACK_TASK}");
    let get_other = format!("/zstack/v1/cbt-task/{}", "0".repeat(32));
    let id = |digit: &str| digit.repeat(32);
    let with_job = |digit: &str| format!("{oauth}X-Job-UUID: {}\r\n", id(digit));
    let job = |digit: &str| format!("/zstack/v1/api-jobs/{}", id(digit));
    let accepted = |digit: &str| {
        format!(
            r#"202 {{"apiTimeout":1800000,"location":"http://192.0.2.10:8080/zstack/v1/api-jobs/{}"}}"#,
            id(digit)
        )
    };
    let expired =
        r#"{"error":{"code":"ID.1001","description":"Session expired","details":"the session[uuid: x] is invalid or has expired"}}"#;
    let expired = format!("503 {expired}");
    let bad_session = format!("Authorization: OAuth x\r\nX-Job-UUID: {}\r\n", id("b"));
    let body = r#"{"params":{"force":true},"force":"ignored","systemTags":["a::b"],"userTags":["c"]}"#;
    play(
        "zstack",
        &[
            (("POST", &stop, "", body), "400 missing header 'Authorization'"),
            (
                ("POST", &stop, "Authorization: Basic x\r\n", body),
                "400 missing header 'Authorization'",
            ),
            (
                ("GET", &stop, &oauth, ""),
                &format!("405 The method[GET] is not allowed for[/v1/cbt-task/disable/{ZSTACK_TASK}]"),
            ),
            (("POST", "/zstack/v1/nothing", &oauth, ""), "404 no api mapping to /v1/nothing"),
            (
                ("POST", &stop, &oauth, r#"{"params":{"force":"yes"}}"#),
                "400 Invalid value for the field[force], expected a boolean",
            ),
            (
                ("POST", &stop, &oauth, r#"{"userTags":"c"}"#),
                "400 Invalid value for the field[userTags], expected a list of texts",
            ),
            (
                ("POST", &stop, &oauth, "{"),
                "500 com.google.gson.JsonSyntaxException: the body is not a JSON object",
            ),
            (
                ("POST", &stop, &format!("{oauth}X-Job-UUID: 1\r\n"), body),
                "400 Invalid X-Job-UUID[1], it must be 32 characters long",
            ),
            // The session is found to be wrong by the job, not by the call.
            (("POST", &stop, &bad_session, body), &accepted("b")),
            (("GET", &job("b"), "", ""), "202 {}"),
            (("GET", &job("b"), "", ""), &expired),
            (("GET", &get, "Authorization: OAuth x\r\n", ""), &expired),
            (("POST", &stop, &with_job("1"), body), &accepted("1")),
            (
                ("POST", &stop, &with_job("1"), body),
                &format!("400 Duplicate job uuid[{}]", id("1")),
            ),
            (("GET", &job("1"), "", ""), "202 {}"),
            (("GET", &job("1"), "", ""), "200 {}"),
            (("GET", &job("1"), "", ""), "200 {}"),
            (
                ("PUT", &job("1"), "", ""),
                &format!("405 The method[PUT] is not allowed for[/v1/api-jobs/{}]", id("1")),
            ),
            (("GET", &job("9"), "", ""), "404 the job has been expired"),
            (("POST", &stop, &with_job("2"), ""), &accepted("2")),
            (("POST", &other, &with_job("3"), body), &accepted("3")),
            (("GET", &job("3"), "", ""), "202 {}"),
            (("GET", &job("3"), "", ""), "200 {}"),
            (("GET", &get_other, &oauth, ""), r#"200 {"inventories":[]}"#),
        ],
    )
    .await;
}

#[tokio::test]
async fn zstack_shows_a_task_and_counts_every_run() {
    let simulators = simulators().await;
    let oauth = oauth();
    let stop = format!("/zstack/v1/cbt-task/disable/{ZSTACK_TASK}");
    let get = format!("/zstack/v1/cbt-task/{ZSTACK_TASK}");
    let mut states = Vec::new();
    for step in 0..3 {
        if step > 0 {
            let reply = ask(&simulators, "zstack", ("POST", &stop, &oauth, "{}")).await;
            assert_eq!(reply.header("content-type"), None);
            let body: Value = serde_json::from_str(&reply.body).unwrap();
            let location = body.get("location").unwrap().as_str().unwrap().to_owned();
            let job = location.rsplit('/').next().unwrap();
            let job = format!("/zstack/v1/api-jobs/{job}");
            for expected in ["202 {}", "200 {}"] {
                let request = ("GET", job.as_str(), "", "");
                check(request, &ask(&simulators, "zstack", request).await, expected);
            }
        }
        let reply = ask(&simulators, "zstack", ("GET", &get, &oauth, "")).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        states.push(body.pointer("/inventories/0/status").unwrap().as_str().unwrap().to_owned());
    }
    assert_eq!(states, ["Running", "Stopped", "Stopped"]);
    assert_eq!(simulators.effects("zstack", ZSTACK_TASK).unwrap(), 2);
    simulators.shutdown().await;
}
