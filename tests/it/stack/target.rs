//! Methods, paths, ids and queries.

use super::{PRIME, Stage, check};

const ID: &str = "5ca9c15a50c53f0dac359a64841d7b2b";

#[tokio::test(start_paused = true)]
async fn paths_and_ids() {
    let stage = Stage::shipped();
    for (target, expected) in [
        // Dot segments, encoded or not, are no ids and lead nowhere.
        ("/tasks/zstack/..:stop", "400 INVALID_TASK_ID"),
        ("/tasks/zstack/.:stop", "400 INVALID_TASK_ID"),
        ("/tasks/zstack/%2e%2e:stop", "400 INVALID_TASK_ID"),
        ("/tasks/zstack/%2E.:stop", "400 INVALID_TASK_ID"),
        ("/tasks/zstack/.%2e:stop", "400 INVALID_TASK_ID"),
        ("/tasks/../tasks/prime/15:stop", "404 UNKNOWN_PATH"),
        // Separators inside an id.
        ("/tasks/zstack/a%2Fb:stop", "400 INVALID_TASK_ID"),
        ("/tasks/zstack/a%5Cb:stop", "400 INVALID_TASK_ID"),
        ("/tasks/zstack/..%2f..%2fadmin:stop", "400 INVALID_TASK_ID"),
        // Decoded once and no more.
        ("/tasks/zstack/a%252Fb:stop", "400 INVALID_TASK_ID"),
        ("/tasks/zstack/%2525:stop", "400 INVALID_TASK_ID"),
        // The verb stands behind the last raw colon.
        // The task itself; it is looked at, and not posted to.
        ("/tasks/prime/15%3Astop", "405 METHOD_NOT_ALLOWED"),
        ("/tasks/prime/15:stop:stop", "400 INVALID_TASK_ID"),
        ("/tasks/prime/15:retry:stop", "400 INVALID_TASK_ID"),
        ("/tasks/prime/:stop", "404 UNKNOWN_PATH"),
        ("/tasks//15:stop", "404 UNKNOWN_PATH"),
        ("/tasks/prime/15", "405 METHOD_NOT_ALLOWED"),
        ("/tasks/prime/15:", "404 UNKNOWN_PATH"),
        ("/tasks/prime/15:STOP", "404 UNKNOWN_ACTION"),
        ("/tasks/prime/15:Stop", "404 UNKNOWN_ACTION"),
        ("/tasks/prime/15:stop%20", "404 UNKNOWN_ACTION"),
        ("/tasks/prime/15:stop/", "404 UNKNOWN_PATH"),
        ("/tasks/prime/15:cancel", "404 UNKNOWN_ACTION"),
        ("/tasks/prime/15:delete", "404 UNKNOWN_ACTION"),
        ("/tasks/prime/15:halt", "404 UNKNOWN_ACTION"),
        ("/Tasks/prime/15:stop", "404 UNKNOWN_PATH"),
        ("//tasks/prime/15:stop", "404 UNKNOWN_PATH"),
        ("/tasks/prime//15:stop", "404 UNKNOWN_PATH"),
        ("/", "404 UNKNOWN_PATH"),
        ("/favicon.ico", "404 UNKNOWN_PATH"),
        ("/livez", "404 UNKNOWN_PATH"),
        ("/metrics", "404 UNKNOWN_PATH"),
        // Offered by others only.
        (
            "/tasks/dbss/1d07f606-92d2-441c-b05c-dca47e180552:retry",
            "404 OPERATION_NOT_SUPPORTED",
        ),
        (
            "/tasks/hss/b2b4e9b0-5ad7-4c3c-9f2e-3d0f1a7c6e10:stop",
            "404 OPERATION_NOT_SUPPORTED",
        ),
        // Control characters and what is no UTF-8.
        ("/tasks/hss/a%00b:retry", "400 INVALID_TASK_ID"),
        ("/tasks/hss/a%0d%0aX-Evil:%201:retry", "400 INVALID_TASK_ID"),
        ("/tasks/hss/a%09b:retry", "400 INVALID_TASK_ID"),
        ("/tasks/hss/a%7fb:retry", "400 INVALID_TASK_ID"),
        ("/tasks/hss/a%C2%84b:retry", "400 INVALID_TASK_ID"),
        ("/tasks/hss/%ff:retry", "400 INVALID_TASK_ID"),
        ("/tasks/hss/%c0%ae%c0%ae:retry", "400 INVALID_TASK_ID"),
        ("/tasks/hss/%ed%a0%80:retry", "400 INVALID_TASK_ID"),
        // Look-alikes do not match the patterns.
        ("/tasks/zstack/%EF%BC%95ca9c15a50c53f0dac359a64841d7b2b:stop", "400 INVALID_TASK_ID"),
        ("/tasks/hss/%D0%B0bc:retry", "400 INVALID_TASK_ID"),
        ("/tasks/hss/e%CC%81:retry", "400 INVALID_TASK_ID"),
        ("/tasks/hss/%E2%80%AEabc:retry", "400 INVALID_TASK_ID"),
        ("/tasks/hss/%F0%9F%92%A3:retry", "400 INVALID_TASK_ID"),
        // Templates are text.
        ("/tasks/zstack/%7Bproject_id%7D:stop", "400 INVALID_TASK_ID"),
        ("/tasks/zstack/$%7Bid%7D:stop", "400 INVALID_TASK_ID"),
        ("/tasks/zstack/%7B%7Bid%7D%7D:stop", "400 INVALID_TASK_ID"),
        // What no path may hold, as far as it gets through a parser of targets.
        ("/tasks/prime/15;x=1:stop", "400 INVALID_TARGET"),
        ("/tasks/prime/%:stop", "400 INVALID_TARGET"),
        ("/tasks/prime/%zz:stop", "400 INVALID_TARGET"),
        ("/tasks/prime/{15}:stop", "400 INVALID_TARGET"),
        ("/tasks/prime/15|:stop", "400 INVALID_TARGET"),
        ("/tasks/prime/15\":stop", "400 INVALID_TARGET"),
    ] {
        check(&stage, &format!("POST {target}"), "", "", expected).await;
    }
    assert!(stage.sent().is_empty());
    check(&stage, &format!("POST /tasks/zstack/{ID}:stop"), "", "", "200 done").await;
}

#[tokio::test(start_paused = true)]
async fn unknown_words_are_answered_with_those_that_there_are() {
    let stage = Stage::shipped();
    let told = check(&stage, "POST /tasks/prime/15:cancel", "", "", "404 UNKNOWN_ACTION").await;
    assert_eq!(told.json()["metadata"]["actions"], serde_json::json!(["retry", "stop"]));
    let told = check(&stage, "POST /tasks/hss/x:stop", "", "", "404 OPERATION_NOT_SUPPORTED").await;
    assert_eq!(told.json()["metadata"]["actions"], serde_json::json!(["retry"]));
    // Every unknown provider is the same unknown provider.
    let mut shapes = Vec::new();
    for provider in ["acme", "constructor", "__proto__", "..", "Prime", "prime%20", &"p".repeat(300)] {
        let told = check(&stage, &format!("POST /tasks/{provider}/15:stop"), "", "", "404 UNKNOWN_PROVIDER").await;
        let mut document = told.json();
        assert!(!document["detail"].as_str().unwrap().contains(provider), "{document}");
        for member in ["instance", "request_id"] {
            document[member] = "*".into();
        }
        shapes.push(document);
    }
    shapes.dedup();
    assert_eq!(shapes.len(), 1, "{shapes:?}");
    assert_eq!(shapes[0]["metadata"]["providers"], serde_json::json!(super::PROVIDERS));
}

#[tokio::test(start_paused = true)]
async fn lengths_of_ids_and_targets() {
    let stage = Stage::shipped();
    let body = r#"{"parameters":{"task_type":"cluster_scan","range":"all_failed"}}"#;
    for (length, expected) in [
        (64, "202 accepted"),
        (65, "400 INVALID_TASK_ID"),
        (256, "400 INVALID_TASK_ID"),
        (4000, "400 INVALID_TASK_ID"),
        (4100, "414 TARGET_TOO_LONG"),
        (10_000, "414 TARGET_TOO_LONG"),
        (60_000, "414 TARGET_TOO_LONG"),
    ] {
        let line = format!("POST /tasks/hss/{}:retry", "a".repeat(length));
        let told = check(&stage, &line, super::JSON, body, expected).await;
        assert!(told.body.len() < 2048, "a long target is not repeated: {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn ids_that_are_numbers_are_exact() {
    let stage = Stage::shipped();
    for (id, sent) in [
        ("1", "1"),
        ("9007199254740993", "9007199254740993"),
        ("9223372036854775807", "9223372036854775807"),
        ("%31%35", "15"),
    ] {
        let line = format!("POST /tasks/prime/{id}:stop");
        let told = stage.send(super::request(&line, "", super::full(""))).await;
        assert_eq!(
            (told.word().as_str(), told.text("/id").as_str()),
            ("202 accepted", sent),
            "{told:?}"
        );
        let body = String::from_utf8(stage.sent()[0].body.to_vec()).unwrap();
        assert!(body.contains(&format!("<runId>{sent}</runId>")), "{body}");
    }
    for id in [
        "0",
        "-1",
        "+1",
        "007",
        "9223372036854775808",
        "99999999999999999999999999",
        "1e3",
        "1.0",
        "15,25",
        "15%20",
        "0x0f",
        "%EF%BC%91%EF%BC%95",
        "%D9%A1%D9%A5",
        "NaN",
        "null",
        "15%3C%2FrunId%3E%3CrunId%3E25",
    ] {
        check(&stage, &format!("POST /tasks/prime/{id}:stop"), "", "", "400 INVALID_TASK_ID").await;
    }
}

#[tokio::test(start_paused = true)]
async fn methods() {
    let stage = Stage::shipped();
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"] {
        let told = check(&stage, &format!("{method} /tasks/prime/15:stop"), "", "", "405 METHOD_NOT_ALLOWED").await;
        assert_eq!(told.header("allow"), Some("POST"), "{method}");
    }
    for method in ["get", "post", "FOO", "PROPFIND", "M-SEARCH", &"X".repeat(1000)] {
        let told = check(
            &stage,
            &format!("{method} /tasks/prime/15:stop"),
            "",
            "",
            "501 METHOD_NOT_IMPLEMENTED",
        )
        .await;
        assert_eq!(told.header("allow"), None, "{method}");
    }
    // What is not there has no methods either.
    check(&stage, "GET /nothing", "", "", "404 UNKNOWN_PATH").await;
}

#[tokio::test(start_paused = true)]
async fn queries_are_refused_by_name() {
    let stage = Stage::shipped();
    for (query, named) in [
        ("x=1", true),
        ("force=true", true),
        ("validate_only=yes", true),
        ("instance=a&instance=b", true),
        ("", false),
        ("=", false),
        ("%00=1", false),
        ("%3Cscript%3E=1", false),
    ] {
        let told = check(&stage, &format!("{PRIME}?{query}"), "", "", "400 INVALID_QUERY").await;
        let name = query.split('=').next().unwrap_or_default();
        let says = told.text("/detail").contains(&format!("`{name}`"));
        assert_eq!(says, named, "{query}: {told:?}");
        assert_eq!(told.text("/instance"), "/tasks/prime/15:stop");
    }
}
