//! The canonical body: what is read of it, how exactly, and what goes to the vendor.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use taskgate::config::environment::Environment;
use taskgate::config::sources::Sources;
use taskgate::stack::StackLimits;
use tokio::time::Instant;

use super::{Body, BrokenOff, JSON, PRIME, Stage, ZSTACK, check, request};

#[tokio::test(start_paused = true)]
async fn documents_that_are_no_object() {
    let stage = Stage::shipped();
    for (body, expected) in [
        ("", "200 done"),
        ("{}", "200 done"),
        (" \n{ }\t", "200 done"),
        ("null", "400 MALFORMED_BODY"),
        ("[]", "400 MALFORMED_BODY"),
        ("\"x\"", "400 MALFORMED_BODY"),
        ("1", "400 MALFORMED_BODY"),
        ("true", "400 MALFORMED_BODY"),
        (" ", "400 MALFORMED_BODY"),
        ("{", "400 MALFORMED_BODY"),
        ("{}{}", "400 MALFORMED_BODY"),
        ("{} x", "400 MALFORMED_BODY"),
        ("{'force':true}", "400 MALFORMED_BODY"),
        ("{force:true}", "400 MALFORMED_BODY"),
        ("{\"force\":true,}", "400 MALFORMED_BODY"),
        ("{\"force\":True}", "400 MALFORMED_BODY"),
        ("// {}", "400 MALFORMED_BODY"),
        ("force=true", "400 MALFORMED_BODY"),
        ("<force>true</force>", "400 MALFORMED_BODY"),
        ("\u{feff}{}", "400 MALFORMED_BODY"),
    ] {
        check(&stage, ZSTACK, JSON, body, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn keys_stand_there_once_and_are_known() {
    let stage = Stage::shipped();
    for (body, expected, pointer) in [
        (r#"{"force":true,"force":false}"#, "400 MALFORMED_BODY", "/metadata/pointer=/force"),
        (
            r#"{"force":true,"\u0066orce":false}"#,
            "400 MALFORMED_BODY",
            "/metadata/pointer=/force",
        ),
        (
            r#"{"parameters":{"user_tags":[],"user_tags":[]}}"#,
            "400 MALFORMED_BODY",
            "/metadata/pointer=/parameters/user_tags",
        ),
        (r#"{"Force":true}"#, "400 INVALID_REQUEST", "/errors/0/pointer=/Force"),
        (r#"{"extra":1}"#, "400 INVALID_REQUEST", "/errors/0/pointer=/extra"),
        (
            r#"{"__proto__":{"force":true}}"#,
            "400 INVALID_REQUEST",
            "/errors/0/pointer=/__proto__",
        ),
        (r#"{"a/b~c":1}"#, "400 INVALID_REQUEST", "/errors/0/pointer=/a~1b~0c"),
        (r#"{"force":"true"}"#, "400 INVALID_REQUEST", "/errors/0/pointer=/force"),
        (r#"{"force":null}"#, "400 INVALID_REQUEST", "/errors/0/pointer=/force"),
        (r#"{"force":1}"#, "400 INVALID_REQUEST", "/errors/0/pointer=/force"),
        (
            r#"{"parameters":{"user_tags":"a"}}"#,
            "400 INVALID_REQUEST",
            "/errors/0/pointer=/parameters/user_tags",
        ),
        (
            r#"{"parameters":{"user_tags":["a",5]}}"#,
            "400 INVALID_REQUEST",
            "/errors/0/pointer=/parameters/user_tags/1",
        ),
        (r#"{"scope":{"project":"x"}}"#, "400 INVALID_REQUEST", "/errors/0/pointer=/scope"),
    ] {
        let told = check(&stage, ZSTACK, JSON, body, expected).await;
        let (at, value) = pointer.split_once('=').unwrap();
        assert_eq!(told.text(at), value, "{body}: {told:?}");
    }
    // All that does not fit is told at once, and no value is repeated.
    let body = r#"{"force":"s3cret","extra":"s3cret","parameters":{"user_tags":["s3cret\u0001"]}}"#;
    let told = check(&stage, ZSTACK, JSON, body, "400 INVALID_REQUEST").await;
    assert_eq!(told.json()["errors"].as_array().unwrap().len(), 3, "{told:?}");
    assert!(!String::from_utf8_lossy(&told.body).contains("s3cret"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_text() {
    let stage = Stage::shipped();
    let utf16: Vec<u8> = "{\"force\":true}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for body in [
        b"{\"reason\":\"\xff\"}".to_vec(),
        b"{\"reason\":\"\xc0\xae\"}".to_vec(),
        b"{\"reason\":\"\xed\xa0\x80\"}".to_vec(),
        b"\xff\xfe{\x00}\x00".to_vec(),
        utf16,
        br#"{"reason":"\ud800"}"#.to_vec(),
        br#"{"reason":"\udc00\ud800"}"#.to_vec(),
        b"{\"reason\":\"a\nb\"}".to_vec(),
        b"{\"reason\":\"a\x00b\"}".to_vec(),
    ] {
        check(&stage, ZSTACK, JSON, body, "400 MALFORMED_BODY").await;
    }
    // An escaped NUL is a text, and one that no schema here allows.
    check(&stage, ZSTACK, JSON, r#"{"reason":"a\u0000b"}"#, "400 INVALID_REQUEST").await;
    check(
        &stage,
        ZSTACK,
        JSON,
        r#"{"parameters":{"user_tags":["a\u0000b"]}}"#,
        "400 INVALID_REQUEST",
    )
    .await;
    check(&stage, ZSTACK, JSON, r#"{"parameters":{"user_tags":["\ud83d\udca3"]}}"#, "200 done").await;
}

#[tokio::test(start_paused = true)]
async fn depth_width_and_size_are_limited() {
    let stage = Stage::shipped();
    let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    check(&stage, PRIME, JSON, nested(64), "400 INVALID_REQUEST").await;
    for depth in [65, 128, 129, 100_000] {
        check(&stage, PRIME, JSON, nested(depth), "400 MALFORMED_BODY").await;
    }
    check(&stage, PRIME, JSON, "[".repeat(1 << 20), "400 MALFORMED_BODY").await;
    let wide = |count: usize| format!("{{\"x\":[{}]}}", vec!["1"; count].join(","));
    check(&stage, PRIME, JSON, wide(9_000), "400 INVALID_REQUEST").await;
    check(&stage, PRIME, JSON, wide(11_000), "400 MALFORMED_BODY").await;
    check(&stage, PRIME, JSON, wide(1_000_000), "413 BODY_TOO_LARGE").await;
    // Blanks count like anything else.
    let padded = |size: usize| format!("{{{}}}", " ".repeat(size - 2));
    check(&stage, PRIME, JSON, padded(1 << 20), "202 accepted").await;
    let told = check(&stage, PRIME, JSON, padded((1 << 20) + 1), "413 BODY_TOO_LARGE").await;
    assert_eq!(told.json()["metadata"]["max_body_bytes"], 1 << 20);
}

/// A body of these parts, whose length nobody has announced.
fn parts(parts: Vec<Result<Bytes, BrokenOff>>) -> Body {
    let frames = parts.into_iter().map(|part| part.map(Frame::data));
    StreamBody::new(stream::iter(frames.collect::<Vec<_>>())).boxed_unsync()
}

#[tokio::test(start_paused = true)]
async fn bodies_in_parts() {
    let stage = Stage::shipped();
    let data = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
    let send = async |parts_of: Vec<_>| stage.send(request(ZSTACK, JSON, parts(parts_of))).await.word();
    assert_eq!(send(vec![data("{\"for"), data("ce\":"), data("true}")]).await, "200 done");
    assert_eq!(stage.sent().len(), 1);
    // A body without end is left at the limit.
    let blanks = || Some(Ok(Frame::data(Bytes::from_static(&[b' '; 4096]))));
    let endless = StreamBody::new(stream::iter(std::iter::from_fn(blanks))).boxed_unsync();
    let told = stage.send(request(ZSTACK, JSON, endless)).await;
    assert_eq!(told.word(), "413 BODY_TOO_LARGE");
    // One that breaks off is never read as if it were whole, even where it could be.
    assert_eq!(send(vec![data("{}"), Err(BrokenOff)]).await, "400 MALFORMED_BODY");
    assert!(stage.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_ends_at_the_deadline() {
    let stage = Stage::shipped();
    let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, BrokenOff>>()).boxed_unsync();
    // A byte a second is no better than none.
    let dripping = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, BrokenOff>(Frame::data(Bytes::from_static(b" "))), ()))
    });
    for body in [silent, StreamBody::new(dripping).boxed_unsync()] {
        let begun = Instant::now();
        let told = stage.send(request(ZSTACK, JSON, body)).await;
        assert_eq!(told.word(), "408 REQUEST_TIMEOUT");
        assert_eq!(begun.elapsed(), StackLimits::default().admit.body);
    }
    assert!(stage.sent().is_empty());
}

/// A provider that takes a number, a decimal and a text, by JSON or by XML.
fn values(body: &str) -> Stage {
    let routes = format!(
        r#"
version: 1
providers:
  acme:
    title: ACME
    endpoint: http://acme.invalid
    id: {{ type: string }}
    actions:
      stop:
        title: Stops
        schema: request.json
        request: {{ method: POST, path: /stop, {body} }}
        reply: {{ body: empty, outcome: [{{ status: 200, is: done, state: stopped }}] }}
"#
    );
    let schema = r#"{ "type": "object", "additionalProperties": false, "properties": { "parameters": {
        "type": "object", "additionalProperties": false, "properties": {
            "whole": { "type": "integer" }, "decimal": { "type": "number" }, "text": { "type": "string" } } } } }"#;
    let sources = Sources::memory([("routes.yaml", routes.as_str()), ("request.json", schema)]);
    Stage::over(&sources, &Environment::default(), &StackLimits::default())
}

const ACME: &str = "POST /tasks/acme/1:stop";
const AS_JSON: &str = r#"json: { whole: "${?parameters.whole}", decimal: "${?parameters.decimal}", text: "${?parameters.text}" }"#;
const AS_XML: &str = r#"xml: { stop: { "@text": "${?parameters.text}", whole: "${?parameters.whole}", decimal: "${?parameters.decimal}", text: "${?parameters.text}" } }"#;

/// Sends one parameter and shows what the vendor got, or what the caller was told.
async fn carried(stage: &Stage, name: &str, literal: &str) -> String {
    let told = stage
        .send(request(
            ACME,
            JSON,
            super::full(format!(r#"{{"parameters":{{"{name}":{literal}}}}}"#)),
        ))
        .await;
    match stage.sent().first() {
        // This vendor has no case, so its answer has a body where a success has none; what it got is what counts.
        Some(sent) => String::from_utf8(sent.body.to_vec()).unwrap(),
        None => told.word(),
    }
}

#[tokio::test(start_paused = true)]
async fn numbers_are_exact_or_refused() {
    let stage = values(AS_JSON);
    for (name, literal, expected) in [
        ("whole", "9007199254740993", r#"{"whole":9007199254740993}"#),
        ("whole", "9223372036854775807", r#"{"whole":9223372036854775807}"#),
        ("whole", "-9223372036854775808", r#"{"whole":-9223372036854775808}"#),
        ("whole", "18446744073709551615", r#"{"whole":18446744073709551615}"#),
        ("whole", "18446744073709551616", "400 MALFORMED_BODY"),
        ("whole", "1e400", "400 MALFORMED_BODY"),
        ("whole", "01", "400 MALFORMED_BODY"),
        ("whole", "+1", "400 MALFORMED_BODY"),
        ("whole", "NaN", "400 MALFORMED_BODY"),
        ("whole", "\"1\"", "400 INVALID_REQUEST"),
        ("whole", "1.5", "400 INVALID_REQUEST"),
        ("decimal", "0.1", r#"{"decimal":0.1}"#),
        ("decimal", "1234567.125", r#"{"decimal":1234567.125}"#),
        ("decimal", "0.1000000000000000055511151231257827", "400 MALFORMED_BODY"),
        ("decimal", "1e-400", "400 MALFORMED_BODY"),
    ] {
        assert_eq!(carried(&stage, name, literal).await, expected, "{name} {literal}");
    }
    let long = "9".repeat(400);
    assert_eq!(carried(&stage, "decimal", &long).await, "400 MALFORMED_BODY");
}

#[tokio::test(start_paused = true)]
async fn texts_are_escaped_for_their_place_or_refused() {
    let (json, xml) = (values(AS_JSON), values(AS_XML));
    for (literal, in_json, in_xml) in [
        (
            r#""a]]>b""#,
            r#"{"text":"a]]>b"}"#,
            "<stop text=\"a]]&gt;b\"><text>a]]&gt;b</text></stop>",
        ),
        (
            r#""<x a='1'>&\"""#,
            r#"{"text":"<x a='1'>&\""}"#,
            "<stop text=\"&lt;x a=&apos;1&apos;&gt;&amp;&quot;\"><text>&lt;x a='1'&gt;&amp;\"</text></stop>",
        ),
        (
            r#""&amp;""#,
            r#"{"text":"&amp;"}"#,
            "<stop text=\"&amp;amp;\"><text>&amp;amp;</text></stop>",
        ),
        (
            r#""${id}""#,
            r#"{"text":"${id}"}"#,
            "<stop text=\"${id}\"><text>${id}</text></stop>",
        ),
        (r#""\u0000""#, r#"{"text":"\u0000"}"#, "400 UNREPRESENTABLE_VALUE"),
        (r#""\u0001""#, r#"{"text":"\u0001"}"#, "400 UNREPRESENTABLE_VALUE"),
        (r#""\ufffe""#, "{\"text\":\"\u{fffe}\"}", "400 UNREPRESENTABLE_VALUE"),
        (
            r#""\ud83d\udca3""#,
            "{\"text\":\"\u{1f4a3}\"}",
            "<stop text=\"\u{1f4a3}\"><text>\u{1f4a3}</text></stop>",
        ),
    ] {
        assert_eq!(carried(&json, "text", literal).await, in_json, "{literal}");
        let found = carried(&xml, "text", literal).await;
        assert!(found.ends_with(in_xml), "{literal}: {found}");
    }
}

/// Long texts that make a backtracking engine of expressions run for ever, against every pattern that a caller can reach.
#[tokio::test]
async fn hostile_texts_take_no_time() {
    let stage = Stage::shipped();
    let (long, longer) = ("a".repeat(250), format!("{}!", "a-".repeat(400_000)));
    let begun = Instant::now();
    for provider in ["cfw", "dbss", "hss", "zstack"] {
        let verb = if provider == "hss" { "retry" } else { "stop" };
        check(
            &stage,
            &format!("POST /tasks/{provider}/{long}!:{verb}"),
            "",
            "",
            "400 INVALID_TASK_ID",
        )
        .await;
    }
    let cfw = "POST /tasks/cfw/1dcddab3-7d79-4a56-9e67-4aa0962b98ad:stop";
    let body = |member: &str| format!(r#"{{"scope":{{"instance":"x"}},"{member}":"{longer}"}}"#);
    check(&stage, cfw, JSON, body("reason"), "400 INVALID_REQUEST").await;
    check(
        &stage,
        cfw,
        JSON,
        format!(r#"{{"scope":{{"instance":"{longer}"}}}}"#),
        "400 INVALID_REQUEST",
    )
    .await;
    let tags = vec![format!("\"{}\\u0001\"", "a ".repeat(1000)); 100].join(",");
    check(
        &stage,
        ZSTACK,
        JSON,
        format!(r#"{{"parameters":{{"user_tags":[{tags}]}}}}"#),
        "400 INVALID_REQUEST",
    )
    .await;
    // Far more than it takes, and far less than an exponential engine would.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
