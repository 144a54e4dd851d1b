//! Rows 40 to 48: the canonical body, as it comes over a socket. The stage's own tables are finer (`stack::body`).

use super::super::rig::Rig;
use super::{Closes, GoesOn, Row, Then, check};

const MALFORMED: &str = "400 MALFORMED_BODY";
const INVALID: &str = "400 INVALID_REQUEST";
const BAD_TYPE: &str = "415 UNSUPPORTED_MEDIA_TYPE";

fn with(fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "POST /tasks/zstack/5ca9c15a50c53f0dac359a64841d7b2b:stop HTTP/1.1\r\nhost: gate.test\r\n{fields}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn json(body: impl AsRef<[u8]>) -> Vec<u8> {
    with("content-type: application/json\r\n", body)
}

#[tokio::test]
async fn rows_40_to_43_documents_keys_and_numbers() {
    let rig = Rig::shipped().await;
    let digits = format!(r#"{{"force":{}}}"#, "9".repeat(400));
    let rows = [
        (40, "null", MALFORMED),
        (40, "[]", MALFORMED),
        (40, "\"x\"", MALFORMED),
        (40, " ", MALFORMED),
        (40, "{}{}", MALFORMED),
        (41, r#"{"force":true,"force":false}"#, MALFORMED),
        (41, r#"{"force":true,"\u0066orce":false}"#, MALFORMED),
        (42, r#"{"extra":1}"#, INVALID),
        (42, r#"{"__proto__":{}}"#, INVALID),
        (42, r#"{"Force":true}"#, INVALID),
        (43, r#"{"force":1e400}"#, MALFORMED),
        (43, r#"{"force":-0}"#, MALFORMED),
        (43, r#"{"force":1.0}"#, INVALID),
        (43, r#"{"force":9007199254740993}"#, INVALID),
        (43, &digits, MALFORMED),
    ];
    let rows = rows.iter().map(|(row, body, answer)| (*row, *body, json(body), *answer, GoesOn));
    check(&rig, rows.collect()).await;
    rig.stop().await;
}

#[tokio::test]
async fn rows_44_and_45_sizes_and_bytes() {
    let rig = Rig::shipped().await;
    let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let utf16: Vec<u8> = "{\"force\":true}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let large = |size: usize| format!("{{{}}}", " ".repeat(size - 2));
    let mut rows: Vec<Row<'_>> = vec![
        (44, "depth 64", json(nested(64)), INVALID, GoesOn),
        (44, "depth 128", json(nested(128)), MALFORMED, GoesOn),
        (44, "depth 129", json(nested(129)), MALFORMED, GoesOn),
        (44, "depth 100 000", json(nested(100_000)), MALFORMED, GoesOn),
        (
            44,
            "100 000 members",
            json(format!("{{\"x\":[{}1]}}", "1,".repeat(100_000))),
            MALFORMED,
            GoesOn,
        ),
        (44, "1 MiB + 1", json(large((1 << 20) + 1)), "413 BODY_TOO_LARGE", Closes),
        (45, "UTF-16", json(utf16), MALFORMED, GoesOn),
    ];
    for (what, body) in [
        ("not UTF-8", &b"{\"reason\":\"\xff\"}"[..]),
        ("overlong", b"{\"reason\":\"\xc0\xae\"}"),
        ("surrogate", b"{\"reason\":\"\xed\xa0\x80\"}"),
        ("mark", b"\xef\xbb\xbf{}"),
        ("escaped surrogate", br#"{"reason":"\ud800"}"#),
        ("NUL", b"{\"reason\":\"a\x00b\"}"),
    ] {
        rows.push((45, what, json(body), MALFORMED, GoesOn));
    }
    rows.push((45, "escaped NUL", json(br#"{"reason":"a\u0000b"}"#), INVALID, GoesOn));
    check(&rig, rows).await;
    // In chunks nobody has announced how much it is.
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(1 << 16)).repeat(17);
    let head =
        "POST /tasks/prime/15:stop HTTP/1.1\r\nhost: gate.test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let bytes = format!("{head}{chunk}0\r\n\r\n").into_bytes();
    check(&rig, vec![(44, "chunks without end", bytes, "413 BODY_TOO_LARGE", Closes)]).await;
    rig.stop().await;
}

#[tokio::test]
async fn rows_46_and_47_media_types_and_codings() {
    let rig = Rig::shipped().await;
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut push = |row, fields: &'static str, answer| {
        let then: Then = GoesOn;
        rows.push((
            row,
            fields,
            with(&format!("{fields}{}", if fields.is_empty() { "" } else { "\r\n" }), "{}"),
            answer,
            then,
        ));
    };
    for fields in [
        "",
        "content-type:",
        "content-type: text/json",
        "content-type: application/json; charset=latin1",
        "content-type: application/json;;",
        "content-type: application/json; charset=utf-8; charset=utf-8x",
        "content-type: application/json, text/html",
        "content-type: application/json\r\ncontent-type: application/json",
        "content-type: application/problem+json",
        "content-type: application/x-www-form-urlencoded",
    ] {
        push(46, fields, BAD_TYPE);
    }
    for fields in [
        "content-type: application/json\r\ncontent-encoding: gzip",
        "content-type: application/json\r\ncontent-encoding: br",
        "content-type: application/json\r\ncontent-encoding: gzip, gzip",
        "content-type: application/json\r\ncontent-encoding: gzip\r\ncontent-encoding: gzip",
        "content-type: application/json\r\ncontent-encoding: identity, gzip",
    ] {
        push(47, fields, "415 UNSUPPORTED_CONTENT_ENCODING");
    }
    // A bomb is not even unpacked.
    let bomb = [b'\x1f'; 10 << 10];
    let fields = "content-type: application/json\r\ncontent-encoding: gzip\r\n";
    rows.push((47, "bomb", with(fields, bomb), "415 UNSUPPORTED_CONTENT_ENCODING", GoesOn));
    check(&rig, rows).await;
    rig.stop().await;
}

/// Row 48: what XML cannot carry is refused before anything is sent; what it can, arrives as it was (`stack::body`, `codec::xml_write`).
#[tokio::test]
async fn row_48_texts_for_xml() {
    let rig = Rig::shipped().await;
    let head = |text: &str| {
        let body = format!(r#"{{"reason":"{text}"}}"#);
        format!(
            "POST /tasks/prime/15:stop HTTP/1.1\r\nhost: gate.test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let rows = vec![
        (48, "control", head(r"\u0001"), INVALID, GoesOn),
        (48, "NUL", head(r"\u0000"), INVALID, GoesOn),
        (48, "raw control", head("\u{1}"), MALFORMED, GoesOn),
    ];
    check(&rig, rows).await;
    rig.stop().await;
}
