//! Headers: what they say about the body, about the way here, and what of them goes on.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::{BrokenOff, JSON, PRIME, Stage, ZSTACK, check, full, request};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;

#[tokio::test(start_paused = true)]
async fn media_types_by_one_table() {
    let stage = Stage::shipped();
    for (headers, expected) in [
        ("content-type: application/json", "202 accepted"),
        ("content-type: APPLICATION/JSON", "202 accepted"),
        ("content-type: application/json; charset=utf-8", "202 accepted"),
        ("content-type: application/json;charset=\"UTF-8\"", "202 accepted"),
        ("content-type: application/json; charset=latin1", "415 UNSUPPORTED_MEDIA_TYPE"),
        ("content-type: application/json;;", "415 UNSUPPORTED_MEDIA_TYPE"),
        ("content-type: application/json; version=1", "415 UNSUPPORTED_MEDIA_TYPE"),
        ("content-type: text/json", "415 UNSUPPORTED_MEDIA_TYPE"),
        ("content-type: text/plain", "415 UNSUPPORTED_MEDIA_TYPE"),
        ("content-type: application/xml", "415 UNSUPPORTED_MEDIA_TYPE"),
        ("content-type: application/problem+json", "415 UNSUPPORTED_MEDIA_TYPE"),
        ("content-type: application/x-www-form-urlencoded", "415 UNSUPPORTED_MEDIA_TYPE"),
        ("content-type: multipart/form-data; boundary=x", "415 UNSUPPORTED_MEDIA_TYPE"),
        ("content-type: \u{ff}", "415 UNSUPPORTED_MEDIA_TYPE"),
        ("content-type:", "415 UNSUPPORTED_MEDIA_TYPE"),
        (
            "content-type: application/json\ncontent-type: application/json",
            "415 UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            "content-type: application/json\ncontent-type: text/html",
            "415 UNSUPPORTED_MEDIA_TYPE",
        ),
        ("", "415 UNSUPPORTED_MEDIA_TYPE"),
    ] {
        let told = check(&stage, PRIME, headers, "{}", expected).await;
        assert_eq!(told.header("accept-encoding"), None, "{headers}");
    }
    // Without a body there is nothing to have a type.
    check(&stage, PRIME, "", "", "202 accepted").await;
    check(&stage, PRIME, "content-type: text/plain", "", "415 UNSUPPORTED_MEDIA_TYPE").await;
}

#[tokio::test(start_paused = true)]
async fn content_codings_are_refused_and_named() {
    let stage = Stage::shipped();
    for coding in ["gzip", "br", "deflate", "zstd", "gzip, gzip", "x-gzip", "", "identity, gzip"] {
        let headers = format!("{JSON}\ncontent-encoding: {coding}");
        let told = check(&stage, PRIME, &headers, "{}", "415 UNSUPPORTED_CONTENT_ENCODING").await;
        assert_eq!(told.header("accept-encoding"), Some("identity"), "{coding}");
    }
    check(&stage, PRIME, &format!("{JSON}\ncontent-encoding: identity"), "{}", "202 accepted").await;
}

#[tokio::test(start_paused = true)]
async fn expectations_loops_and_what_is_asked_of_the_answer() {
    let stage = Stage::shipped();
    for (header, expected) in [
        ("expect: 100-continue", "202 accepted"),
        ("expect: 100-Continue", "202 accepted"),
        ("expect: 200-ok", "417 EXPECTATION_FAILED"),
        ("expect: 100-continue\nexpect: x", "417 EXPECTATION_FAILED"),
        ("via: 1.1 taskgate", "508 LOOP_DETECTED"),
        ("via: 1.1 proxy, 1.1 taskgate (comment)", "508 LOOP_DETECTED"),
        ("via: 1.1 proxy\nvia: 2 taskgate", "508 LOOP_DETECTED"),
        ("via: 1.1 taskgate-of-others", "202 accepted"),
        ("accept: text/html", "406 NOT_ACCEPTABLE"),
        ("accept: application/xml;q=1, application/json;q=0", "406 NOT_ACCEPTABLE"),
        ("accept: application/xml;q=1, application/json;q=0.1", "202 accepted"),
        ("accept-encoding: identity;q=0", "406 NOT_ACCEPTABLE"),
    ] {
        check(&stage, PRIME, header, "", expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_or_too_large_headers() {
    let stage = Stage::shipped();
    let many = |count: usize| (0..count).map(|at| format!("x-{at}: v")).collect::<Vec<_>>().join("\n");
    check(&stage, PRIME, &many(64), "", "202 accepted").await;
    check(&stage, PRIME, &many(65), "", "431 HEADERS_TOO_LARGE").await;
    check(&stage, PRIME, &many(10_000), "", "431 HEADERS_TOO_LARGE").await;
    let large = |length: usize| format!("x-large: {}", "v".repeat(length));
    check(&stage, PRIME, &large(30 * 1024), "", "202 accepted").await;
    check(&stage, PRIME, &large(33 * 1024), "", "431 HEADERS_TOO_LARGE").await;
    check(&stage, PRIME, &large(1 << 20), "", "431 HEADERS_TOO_LARGE").await;
}

#[tokio::test(start_paused = true)]
async fn the_caller_chooses_a_plain_request_id_or_gets_one() {
    let stage = Stage::shipped();
    for (headers, kept) in [
        ("x-request-id: INC-4711.a_b", Some("INC-4711.a_b")),
        ("x-request-id: a b", None),
        ("x-request-id: a\u{1F4A3}", None),
        ("x-request-id: <script>", None),
        ("x-request-id: a\nx-request-id: a", None),
        ("x-request-id:", None),
        ("", None),
    ] {
        for (line, expected) in [(PRIME, "202 accepted"), ("GET /nothing", "404 UNKNOWN_PATH")] {
            let told = check(&stage, line, headers, "", expected).await;
            let id = told.text("/request_id");
            match kept {
                Some(kept) => assert_eq!(id, kept),
                None => assert!(uuid::Uuid::parse_str(&id).is_ok(), "{headers}: {id}"),
            }
        }
    }
    let long = format!("x-request-id: {}", "a".repeat(65));
    let told = check(&stage, PRIME, &long, "", "202 accepted").await;
    assert!(uuid::Uuid::parse_str(&told.text("/request_id")).is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_header_of_the_caller_goes_on() {
    let stage = Stage::shipped();
    let headers = "authorization: Bearer callers\nx-auth-token: callers\ncookie: a=callers\nx-forwarded-for: 192.0.2.1\n\
        forwarded: for=callers\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\nconnection: x-auth-token\n\
        x-job-uuid: callers\naccept: text/callers, */*\nuser-agent: callers\norigin: https://callers.example\nte: trailers";
    let told = stage.send(request(ZSTACK, headers, full(""))).await;
    assert_eq!(told.status, 200);
    let sent = stage.sent().remove(0);
    let mut names: Vec<&str> = sent.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-type", "x-job-uuid"]);
    assert!(!format!("{sent:?}").contains("callers"), "{sent:?}");
}

/// A body that nobody may look into.
struct Untouchable;

impl HttpBody for Untouchable {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        panic!("the body was read");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_head_decides_is_decided_before_the_body_is_read() {
    let stage = Stage::shipped();
    for (line, headers, expected) in [
        ("POST /nothing", "", "404 UNKNOWN_PATH"),
        ("POST /tasks/prime/..:stop", "", "400 INVALID_TASK_ID"),
        ("PUT /tasks/prime/15:stop", "", "405 METHOD_NOT_ALLOWED"),
        ("BREW /tasks/prime/15:stop", "", "501 METHOD_NOT_IMPLEMENTED"),
        ("POST /tasks/prime/15:stop?x=1", "", "400 INVALID_QUERY"),
        (PRIME, "content-type: text/plain", "415 UNSUPPORTED_MEDIA_TYPE"),
        (PRIME, "content-encoding: gzip", "415 UNSUPPORTED_CONTENT_ENCODING"),
        (PRIME, "expect: 200-ok", "417 EXPECTATION_FAILED"),
        (PRIME, "via: 1.1 taskgate", "508 LOOP_DETECTED"),
        (
            PRIME,
            "content-type: application/json\ncontent-length: 1048577",
            "413 BODY_TOO_LARGE",
        ),
        (
            PRIME,
            "content-type: application/json\ncontent-length: 18446744073709551615",
            "413 BODY_TOO_LARGE",
        ),
    ] {
        let told = stage.send(request(line, headers, Untouchable.boxed_unsync())).await;
        assert_eq!(told.word(), expected, "{line} {headers}");
    }
    assert!(stage.sent().is_empty());
}
