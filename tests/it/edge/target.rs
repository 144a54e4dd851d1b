//! Rows 1 to 21: paths, ids, methods, forms of targets.

use super::super::rig::Rig;
use super::{Closes, GoesOn, Row, check, line, post, prime, raw};

const ID: &str = "5ca9c15a50c53f0dac359a64841d7b2b";
const BAD_ID: &str = "400 INVALID_TASK_ID";
const BAD_TARGET: &str = "400 INVALID_TARGET";
const NO_PATH: &str = "404 UNKNOWN_PATH";

#[tokio::test]
async fn rows_1_to_18_and_21_paths_and_ids() {
    let rig = Rig::shipped().await;
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (row, target, answer) in [
        (1, "/tasks/zstack/..:stop", BAD_ID),
        (1, "/tasks/zstack/.:stop", BAD_ID),
        (1, "/tasks/zstack/../prime/15:stop", NO_PATH),
        (2, "/tasks/zstack/%2e%2e:stop", BAD_ID),
        (2, "/tasks/zstack/%2E.:stop", BAD_ID),
        (2, "/tasks/zstack/.%2e:stop", BAD_ID),
        (3, "/tasks/zstack/a%2Fb:stop", BAD_ID),
        (3, "/tasks/zstack/a%5Cb:stop", BAD_ID),
        (3, "/tasks/zstack/..%2f..%2fadmin:stop", BAD_ID),
        (4, "/tasks/zstack/a%252Fb:stop", BAD_ID),
        (4, "/tasks/zstack/%2525:stop", BAD_ID),
        // The task itself, which is looked at and not posted to: an encoded colon is no verb's.
        (5, "/tasks/prime/15%3Astop", "405 METHOD_NOT_ALLOWED"),
        (6, "/tasks/prime/15:stop:stop", BAD_ID),
        (6, "/tasks/prime/15:retry:stop", BAD_ID),
        (7, "/tasks/prime/:stop", NO_PATH),
        (7, "/tasks//15:stop", NO_PATH),
        (7, "/tasks/:stop", NO_PATH),
        (8, "/tasks/prime/15:STOP", "404 UNKNOWN_ACTION"),
        (8, "/tasks/prime/15:Stop", "404 UNKNOWN_ACTION"),
        (8, "/tasks/prime/15:stop%20", "404 UNKNOWN_ACTION"),
        (8, "/tasks/prime/15:stop/", NO_PATH),
        (8, "/Tasks/prime/15:stop", NO_PATH),
        (8, "//tasks/prime/15:stop", NO_PATH),
        (9, "/tasks/prime/15:cancel", "404 UNKNOWN_ACTION"),
        (9, "/tasks/prime/15:delete", "404 UNKNOWN_ACTION"),
        (10, "/tasks/acme/15:stop", "404 UNKNOWN_PROVIDER"),
        (10, "/tasks/constructor/15:stop", "404 UNKNOWN_PROVIDER"),
        (10, "/tasks/__proto__/15:stop", "404 UNKNOWN_PROVIDER"),
        (10, "/tasks/../15:stop", "404 UNKNOWN_PROVIDER"),
        (
            11,
            "/tasks/dbss/1d07f606-92d2-441c-b05c-dca47e180552:retry",
            "404 OPERATION_NOT_SUPPORTED",
        ),
        (13, "/tasks/hss/a%00b:retry", BAD_ID),
        (13, "/tasks/hss/a%0d%0aX-Evil:%201:retry", BAD_ID),
        (13, "/tasks/hss/a%09b:retry", BAD_ID),
        (13, "/tasks/hss/a%7fb:retry", BAD_ID),
        (13, "/tasks/hss/a%C2%84b:retry", BAD_ID),
        (14, "/tasks/hss/%ff:retry", BAD_ID),
        (14, "/tasks/hss/%c0%ae%c0%ae:retry", BAD_ID),
        (14, "/tasks/hss/%ed%a0%80:retry", BAD_ID),
        (15, "/tasks/zstack/%EF%BC%95ca9c15a50c53f0dac359a64841d7b2b:stop", BAD_ID),
        (15, "/tasks/hss/%D0%B0bc:retry", BAD_ID),
        (15, "/tasks/hss/e%CC%81:retry", BAD_ID),
        (15, "/tasks/hss/%E2%80%AEabc:retry", BAD_ID),
        (15, "/tasks/hss/%F0%9F%92%A3:retry", BAD_ID),
        (15, "/tasks/prime/%EF%BC%91%EF%BC%95:stop", BAD_ID),
        (16, "/tasks/prime/0:stop", BAD_ID),
        (16, "/tasks/prime/-1:stop", BAD_ID),
        (16, "/tasks/prime/007:stop", BAD_ID),
        (16, "/tasks/prime/9223372036854775808:stop", BAD_ID),
        (16, "/tasks/prime/1e3:stop", BAD_ID),
        (16, "/tasks/prime/15,25:stop", BAD_ID),
        (17, "/tasks/prime/15;x=1:stop", BAD_TARGET),
        (17, "/tasks/prime/15%:stop", BAD_TARGET),
        (17, "/tasks/prime/15%zz:stop", BAD_TARGET),
        (17, "/tasks/prime/[15]:stop", BAD_TARGET),
        // What is behind a `?` is a query, and what is before it the task itself.
        (17, "/tasks/prime/15?:stop", "405 METHOD_NOT_ALLOWED"),
        (18, "/tasks/prime/15:stop?", "400 INVALID_QUERY"),
        (18, "/tasks/prime/15:stop?force=true", "400 INVALID_QUERY"),
        (
            18,
            "/tasks/prime/15:stop?validate_only=true&validate_only=true",
            "400 INVALID_QUERY",
        ),
        (21, "/tasks/zstack/%7Bproject_id%7D:stop", BAD_ID),
        (21, "/tasks/zstack/$%7Bid%7D:stop", BAD_ID),
        (21, "/tasks/zstack/%7B%7Bid%7D%7D:stop", BAD_ID),
    ] {
        rows.push((row, target, post(target), answer, GoesOn));
    }
    let look = format!("/tasks/zstack/{ID}?x=1&x=1");
    rows.push((18, "a look", line(b"GET", look.as_bytes()), "400 INVALID_QUERY", GoesOn));
    let (name, id) = ("p".repeat(300), "a".repeat(65));
    rows.push((
        10,
        "300 characters",
        post(format!("/tasks/{name}/15:stop")),
        "404 UNKNOWN_PROVIDER",
        GoesOn,
    ));
    rows.push((12, "65", post(format!("/tasks/hss/{id}:retry")), BAD_ID, GoesOn));
    let target = |length: usize| post(format!("/tasks/hss/{}:retry", "a".repeat(length)));
    rows.push((12, "10 000", target(10_000), "414 TARGET_TOO_LONG", GoesOn));
    rows.push((12, "1 000 000", target(1_000_000), "414 TARGET_TOO_LONG", Closes));
    check(&rig, rows).await;
    rig.stop().await;
}

/// Bytes that no target may hold are refused as they stand, before a parser of addresses can drop or keep them.
#[tokio::test]
async fn rows_13_and_17_raw_bytes_in_a_target() {
    let rig = Rig::shipped().await;
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (row, target, answer) in [
        (13, &b"/tasks/prime/1\t5:stop"[..], "400 MALFORMED_HTTP"),
        (13, b"/tasks/prime/1\x005:stop", "400 MALFORMED_HTTP"),
        (13, b"/tasks/prime/1\x7f5:stop", "400 MALFORMED_HTTP"),
        (13, b"/tasks/prime/1\r\nX-Evil: 1\r\n5:stop", "400 MALFORMED_HTTP"),
        (17, b"/tasks/prime/15#x:stop", BAD_TARGET),
        (17, b"/tasks/prime/15:stop#x", BAD_TARGET),
        (17, b"/tasks/prime/15:stop#", BAD_TARGET),
        (17, b"#/tasks/prime/15:stop", BAD_TARGET),
        (17, b"/tasks/prime/{15}:stop", BAD_TARGET),
        (17, b"/tasks/prime/`15`:stop", BAD_TARGET),
        (17, b"/tasks/prime/\"15\":stop", BAD_TARGET),
        (17, b"/tasks/prime/<15>:stop", BAD_TARGET),
        (17, b"/tasks/prime/15|:stop", BAD_TARGET),
        (17, b"/tasks/prime/15^:stop", BAD_TARGET),
        (17, b"/tasks/prime\\15:stop", BAD_TARGET),
        (17, b"/tasks/prime/\xc3\xa9:stop", BAD_TARGET),
        (17, b"/tasks/prime/1\xff5:stop", BAD_TARGET),
        (17, b"/tasks/prime/1 5:stop", "400 MALFORMED_HTTP"),
        (17, b" /tasks/prime/15:stop", "400 MALFORMED_HTTP"),
        (17, b"tasks/prime/15:stop", "400 MALFORMED_HTTP"),
        (17, b"?/tasks/prime/15:stop", "400 MALFORMED_HTTP"),
        (17, b"", "400 MALFORMED_HTTP"),
    ] {
        rows.push((
            row,
            std::str::from_utf8(target).unwrap_or("not UTF-8"),
            post(target),
            answer,
            Closes,
        ));
    }
    check(&rig, rows).await;
    rig.stop().await;
}

#[tokio::test]
async fn row_19_forms_of_targets() {
    let rig = Rig::shipped().await;
    let get = |target: &str| line(b"GET", target.as_bytes());
    let rows = vec![
        (19, "matching", get("http://gate.test/x"), NO_PATH, GoesOn),
        (19, "matching, other case and port", get("HTTP://GATE.test:80/x"), NO_PATH, GoesOn),
        (
            19,
            "foreign",
            post("http://other.test/tasks/prime/15:stop"),
            "421 MISDIRECTED_REQUEST",
            GoesOn,
        ),
        (
            19,
            "foreign port",
            post("http://gate.test:81/tasks/prime/15:stop"),
            "421 MISDIRECTED_REQUEST",
            GoesOn,
        ),
        (
            19,
            "with a user",
            post("http://me@gate.test/tasks/prime/15:stop"),
            BAD_TARGET,
            GoesOn,
        ),
        (19, "other scheme", post("ftp://gate.test/tasks/prime/15:stop"), BAD_TARGET, GoesOn),
        (19, "no host", post("http:///tasks/prime/15:stop"), "400 MALFORMED_HTTP", Closes),
        (19, "authority", post("gate.test:80"), BAD_TARGET, GoesOn),
        (19, "authority", line(b"CONNECT", b"gate.test:80"), BAD_TARGET, GoesOn),
        (19, "*", post("*"), BAD_TARGET, GoesOn),
        (19, "*", get("*"), BAD_TARGET, GoesOn),
    ];
    check(&rig, rows).await;
    // One that matches is served like any other.
    let bytes = prime("connection: close\r\n", "").strip_prefix(b"POST ").unwrap().to_vec();
    let text = raw(&rig, &[b"POST http://gate.test", &bytes[..]].concat()).await;
    assert!(text.starts_with("HTTP/1.1 202 "), "{text}");
    let options = raw(&rig, b"OPTIONS * HTTP/1.1\r\nhost: gate.test\r\nconnection: close\r\n\r\n").await;
    assert!(
        options.starts_with("HTTP/1.1 204 No Content\r\n") && options.ends_with("\r\n\r\n"),
        "{options}"
    );
    assert!(
        options.contains("\r\nallow: GET, HEAD, OPTIONS, POST\r\n") && !options.contains("content-"),
        "{options}"
    );
    rig.stop().await;
}

#[tokio::test]
async fn row_20_methods() {
    let rig = Rig::shipped().await;
    let (acted, task) = ("/tasks/prime/15:stop", "/tasks/prime/15");
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (methods, target, answer) in [
        ("GET PUT DELETE PATCH OPTIONS TRACE CONNECT", acted, "405 METHOD_NOT_ALLOWED"),
        ("POST PUT DELETE PATCH OPTIONS TRACE CONNECT", task, "405 METHOD_NOT_ALLOWED"),
        ("get post Post FOO PROPFIND M-SEARCH", acted, "501 METHOD_NOT_IMPLEMENTED"),
    ] {
        for method in methods.split(' ') {
            rows.push((20, method, line(method.as_bytes(), target.as_bytes()), answer, GoesOn));
        }
    }
    rows.push((20, "no token", line(b"PO(ST", acted.as_bytes()), "400 MALFORMED_HTTP", Closes));
    check(&rig, rows).await;
    for (method, target, allow) in [("PUT", acted, "POST"), ("HEAD", acted, "POST"), ("DELETE", task, "GET, HEAD")] {
        let text = raw(
            &rig,
            &[line(method.as_bytes(), target.as_bytes()), super::FOLLOWING.to_vec()].concat(),
        )
        .await;
        assert!(
            text.starts_with("HTTP/1.1 405 ") && text.contains(&format!("\r\nallow: {allow}\r\n")),
            "{text}"
        );
    }
    rig.stop().await;
}
