//! Rows 22 to 32, 37 and 38: framing, hosts, headers. Row 36 is HTTP/2 and stands in `tests/server/http2.rs`; rows 29 and 30 as far as
//! they are about what a vendor gets are in `wire` and in `stack`.

use super::super::rig::Rig;
use super::{Closes, FOLLOWING, GoesOn, Row, ask, calls, check, prime, raw};

const BAD: &str = "400 MALFORMED_HTTP";
const BAD_HEADER: &str = "400 INVALID_HEADER";
const BAD_KEY: &str = "400 INVALID_IDEMPOTENCY_KEY";
const BAD_BODY: &str = "400 MALFORMED_BODY";

/// The rule: where the end of the request is known, a bad `Host` is a bad header and the connection lives on.
#[tokio::test]
async fn row_22_hosts() {
    let rig = Rig::shipped().await;
    let with = |fields: &str| format!("POST /tasks/prime/15:stop HTTP/1.1\r\n{fields}\r\n").into_bytes();
    let rows = vec![
        (22, "none", with(""), BAD_HEADER, GoesOn),
        (22, "two", with("host: gate.test\r\nhost: gate.test\r\n"), BAD_HEADER, GoesOn),
        (
            22,
            "two that differ",
            with("host: gate.test\r\nHost: other.test\r\n"),
            BAD_HEADER,
            GoesOn,
        ),
        (22, "empty", with("host:\r\n"), BAD_HEADER, GoesOn),
        (22, "list", with("host: a,b\r\n"), BAD_HEADER, GoesOn),
        (22, "user", with("host: u@h\r\n"), BAD_HEADER, GoesOn),
        (22, "path", with("host: h/p\r\n"), BAD_HEADER, GoesOn),
        (22, "port", with("host: h:99999\r\n"), BAD_HEADER, GoesOn),
        (22, "port that is none", with("host: h:x\r\n"), BAD_HEADER, GoesOn),
        (22, "blank inside", with("host: a b\r\n"), BAD_HEADER, GoesOn),
        (22, "scheme", with("host: http://h\r\n"), BAD_HEADER, GoesOn),
        (22, "not ASCII", with("host: h\u{e9}\r\n"), BAD_HEADER, GoesOn),
        (22, "half an address", with("host: [::1\r\n"), BAD_HEADER, GoesOn),
        (22, "blank before the colon", with("host : gate.test\r\n"), BAD, Closes),
        (22, "folded", with("host:\r\n gate.test\r\n"), BAD, Closes),
        (
            22,
            "none in an absolute target",
            b"POST http://gate.test/tasks/prime/15:stop HTTP/1.1\r\n\r\n".to_vec(),
            BAD_HEADER,
            GoesOn,
        ),
    ];
    check(&rig, rows).await;
    // HTTP/1.0 did not know it.
    let text = raw(&rig, b"GET /nothing HTTP/1.0\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.0 404 "), "{text}");
    rig.stop().await;
}

#[tokio::test]
async fn rows_23_and_24_lengths_and_codings() {
    let rig = Rig::shipped().await;
    let json = "content-type: application/json\r\n";
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (row, fields) in [
        (23, "content-length: 2\r\ntransfer-encoding: chunked"),
        (23, "transfer-encoding: chunked\r\ncontent-length: 2"),
        (23, "Transfer-Encoding: chunked\r\nContent-Length: 0"),
        (23, "content-length: 2\r\ncontent-length: 2"),
        (23, "content-length: 2\r\ncontent-length: 3"),
        (23, "content-length: 2, 2"),
        (23, "content-length: +2"),
        (23, "content-length: 2 2"),
        (23, "content-length: 0x2"),
        (23, "content-length: -1"),
        (23, "content-length: 2.0"),
        (23, "content-length:"),
        (23, "content-length: 18446744073709551615"),
        (23, "content-length: 18446744073709551616"),
        (23, "content-length: 18446744073709551618"),
        (24, "transfer-encoding: gzip, chunked"),
        (24, "transfer-encoding: chunked, gzip"),
        (24, "transfer-encoding: chunked, chunked"),
        (24, "transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
        (24, "transfer-encoding: identity\r\ntransfer-encoding: chunked"),
        (24, "transfer-encoding: ,chunked"),
        (24, "transfer-encoding: xchunked"),
        (24, "transfer-encoding: chunkedx"),
        (24, "transfer-encoding: \"chunked\""),
        (24, "transfer-encoding: chunked;a=b"),
        (24, "transfer-encoding: identity"),
        (24, "transfer-encoding:"),
        (24, "transfer-encoding: \u{b}chunked"),
        (24, "transfer-encoding\t: chunked"),
    ] {
        rows.push((
            row,
            fields,
            prime(&format!("{json}{fields}\r\n"), "2\r\n{}\r\n0\r\n\r\n"),
            BAD,
            Closes,
        ));
    }
    let old = "POST /tasks/prime/15:stop HTTP/1.0\r\nhost: gate.test\r\nconnection: keep-alive\r\n";
    let old = format!("{old}transfer-encoding: chunked\r\n\r\n0\r\n\r\n").into_bytes();
    rows.push((24, "in HTTP/1.0", old, BAD, Closes));
    rows.push((
        23,
        "one byte too many",
        prime(&format!("{json}content-length: 1048577\r\n"), ""),
        "413 BODY_TOO_LARGE",
        Closes,
    ));
    check(&rig, rows).await;
    // A blank behind a value is no part of it (RFC 9112 section 5), and zeros before a number do not change it.
    let bytes = prime(&format!("{json}content-length: 002 \r\n"), "{}");
    let words: Vec<_> = ask(&rig, &[&bytes, FOLLOWING].concat())
        .await
        .iter()
        .map(|told| told.word())
        .collect();
    assert_eq!(words, ["202 accepted", "404 UNKNOWN_PATH"]);
    rig.stop().await;
}

#[tokio::test]
async fn rows_25_and_26_chunks() {
    let rig = Rig::shipped().await;
    let chunked = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";
    let end = "\r\n{}\r\n0\r\n\r\n";
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (row, size) in [
        (25, "+2"),
        (25, "-2"),
        (25, "2 "),
        (25, "2\t"),
        (25, " 2"),
        (25, "0x2"),
        (25, "2;"),
        (25, "2; "),
        (25, "2;;a"),
        (25, "2;="),
        (25, "2;a="),
        (25, "2;a=\"b"),
        (25, "2;a\0"),
        (25, "2;a=\"\0\""),
        (25, "2;a\rb"),
        (25, "00000000000000002"),
        (25, "10000000000000002"),
        (25, "FFFFFFFFFFFFFFFFF"),
        (25, "g"),
        (25, ""),
    ] {
        rows.push((row, size, prime(chunked, &format!("{size}{end}")), BAD_BODY, Closes));
    }
    let flood = format!("2;{}{end}", "a".repeat(16 << 10));
    let drops = "2;aaaaaaaaaa\r\n  \r\n".repeat(3000);
    for (row, what, body) in [
        (25, "bare LF behind the size", "2\n{}\r\n0\r\n\r\n"),
        (25, "bare LF behind the data", "2\r\n{}\n0\r\n\r\n"),
        (25, "bare LF behind the last", "2\r\n{}\r\n0\n\r\n"),
        (25, "bare LF at the end", "2\r\n{}\r\n0\r\n\n"),
        (25, "data longer than said", "1\r\n{}\r\n0\r\n\r\n"),
        (25, "data shorter than said", "3\r\n{}\r\n0\r\n\r\n"),
        (26, "16 KiB of extension", &flood),
        (26, "extensions without end", &drops),
        (26, "trailer without colon", "2\r\n{}\r\n0\r\nx\r\n\r\n"),
        (26, "trailer with a bare LF", "2\r\n{}\r\n0\r\nx: y\n\r\n"),
        (26, "folded trailer", "2\r\n{}\r\n0\r\nx: y\r\n z\r\n\r\n"),
    ] {
        rows.push((row, what, prime(chunked, body), BAD_BODY, Closes));
    }
    let trailers = format!("2\r\n{{}}\r\n0\r\n{}\r\n", format!("x: {}\r\n", "y".repeat(500)).repeat(100));
    rows.push((26, "50 KiB of trailers", prime(chunked, &trailers), BAD_BODY, Closes));
    check(&rig, rows).await;
    // What is well formed is taken; extensions and trailers mean nothing to anybody.
    let good = "1;a;b=c;d=\"e;\\\"\"\r\n{\r\n1\r\n}\r\n0\r\nHost: other\r\nAuthorization: x\r\nContent-Length: 9\r\n\r\n";
    let words: Vec<_> = ask(&rig, &[&prime(chunked, good), FOLLOWING].concat())
        .await
        .iter()
        .map(|told| told.word())
        .collect();
    assert_eq!(words, ["202 accepted", "404 UNKNOWN_PATH"]);
    rig.stop().await;
}

#[tokio::test]
async fn rows_27_and_28_lines_and_sizes_of_a_head() {
    let rig = Rig::shipped().await;
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (what, fields) in [
        ("folded with a blank", "a: b\r\n c\r\n"),
        ("folded with a tab", "a: b\r\n\tc\r\n"),
        ("blank before the first name", " a: b\r\n"),
        ("blank before the colon", "a : b\r\n"),
        ("tab before the colon", "a\t: b\r\n"),
        ("no colon", "a\r\n"),
        ("no name", ": b\r\n"),
        ("bracket in a name", "a(: b\r\n"),
        ("not ASCII in a name", "\u{e9}: b\r\n"),
        ("bare CR in a value", "a: b\rc\r\n"),
        ("bare CR at the end", "a: b\r\r\n"),
        ("bare LF at the end", "a: b\n"),
        ("bare LF as the end of the head", "a: b\r\n\nx: y\r\n"),
        ("NUL in a value", "a: b\0c\r\n"),
        ("DEL in a value", "a: b\u{7f}c\r\n"),
        ("escape in a value", "a: \u{1b}[31m\r\n"),
    ] {
        rows.push((27, what, prime(fields, ""), BAD, Closes));
    }
    for (what, fields) in [
        ("twins", "X_Request_Id: a\r\nX-Request-Id: a\r\n"),
        ("twins the other way", "x-auth-token: a\r\nx_auth_token: b\r\n"),
        ("a twin of the length", "content-length: 0\r\ncontent_length: 2\r\n"),
    ] {
        rows.push((27, what, prime(fields, ""), BAD_HEADER, GoesOn));
    }
    let many = |count: usize| (0..count).map(|at| format!("x-{at}: v\r\n")).collect::<String>();
    let large = |size: usize| format!("x: {}\r\n", "v".repeat(size));
    for (what, fields, then) in [
        ("101 headers", many(101), GoesOn),
        ("200 headers", many(200), Closes),
        ("10 000 headers", many(10_000), Closes),
        ("40 KiB header", large(40 << 10), GoesOn),
        ("100 KiB header", large(100 << 10), Closes),
    ] {
        rows.push((28, what, prime(&fields, ""), "431 HEADERS_TOO_LARGE", then));
    }
    let method = |size: usize| format!("{} /tasks/prime/15:stop HTTP/1.1\r\nhost: gate.test\r\n\r\n", "X".repeat(size)).into_bytes();
    rows.push((28, "1 KiB method", method(1 << 10), "501 METHOD_NOT_IMPLEMENTED", GoesOn));
    rows.push((28, "100 KiB method", method(100 << 10), "501 METHOD_NOT_IMPLEMENTED", Closes));
    // One name with an underscore is as good as any.
    rows.push((
        27,
        "no twin",
        prime("x_auth_token: a\r\nexpect: x\r\n", ""),
        "417 EXPECTATION_FAILED",
        GoesOn,
    ));
    check(&rig, rows).await;
    rig.stop().await;
}

/// What the caller would rely on and nobody keeps is refused; what is about the way is not taken over.
#[tokio::test]
async fn rows_30_32_and_37_what_headers_ask_for() {
    let rig = Rig::shipped().await;
    let rows = vec![
        (
            32,
            "unknown expectation",
            prime("expect: 200-foo\r\n", ""),
            "417 EXPECTATION_FAILED",
            GoesOn,
        ),
        (
            32,
            "two expectations",
            prime("expect: 100-continue, x\r\n", ""),
            "417 EXPECTATION_FAILED",
            GoesOn,
        ),
        (
            0,
            "a key without quotes",
            prime("Idempotency-Key: 8e03978e\r\n", ""),
            BAD_KEY,
            GoesOn,
        ),
        (0, "an empty key", prime("idempotency-key:\r\n", ""), BAD_KEY, GoesOn),
        (
            0,
            "two keys",
            prime("idempotency-key: \"a\"\r\nidempotency-key: \"a\"\r\n", ""),
            BAD_KEY,
            GoesOn,
        ),
        (102, "a loop", prime("via: 1.1 taskgate\r\n", ""), "508 LOOP_DETECTED", GoesOn),
    ];
    check(&rig, rows).await;

    // Row 32: an announced body is not asked for where the head decides, and the connection cannot go on without it.
    for refused in [
        "POST /nothing",
        "PUT /tasks/prime/15:stop",
        "POST /tasks/prime/..:stop",
        "POST /tasks/prime/15:stop?x",
    ] {
        let head = format!("{refused} HTTP/1.1\r\nhost: gate.test\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n");
        let answers = ask(&rig, head.as_bytes()).await;
        assert!(answers.len() == 1 && answers[0].status >= 400, "{refused}: {answers:?}");
        assert_eq!(answers[0].header("connection"), Some("close"), "{refused}");
    }
    assert_eq!(calls(&rig), 0);
    let good = prime(
        "expect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n",
        "{}",
    );
    let text = raw(&rig, &good).await;
    assert!(text.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 "), "{text}");

    // Row 37: what nobody can give is refused before anything is sent, in JSON.
    let (row, word) = (37, "406 NOT_ACCEPTABLE");
    rig.simulators.reset();
    let refused = [
        "accept: text/html\r\n",
        "accept: application/json;q=0\r\n",
        "accept-encoding: identity;q=0\r\n",
    ];
    let rows = refused.map(|fields| (row, fields, prime(fields, ""), word, GoesOn));
    check(&rig, rows.to_vec()).await;
    // Row 30: a caller cannot take our framing or credentials away.
    for fields in [
        "accept: text/html, */*\r\n",
        "connection: content-length, host, x-auth-token, authorization\r\n",
        "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\n",
    ] {
        let answers = ask(&rig, &[prime(fields, ""), FOLLOWING.to_vec()].concat()).await;
        assert_eq!(answers.len(), 2, "{fields}: {answers:?}");
        assert_ne!(answers[0].word(), "502 VENDOR_AUTH", "{fields}");
        assert!(
            answers[0].header("content-type").unwrap().ends_with("json"),
            "{fields}: {answers:?}"
        );
    }
    rig.stop().await;
}

/// Row 31: the first is answered in full and has happened once; then the fault is told, and that is the end.
#[tokio::test]
async fn row_31_a_bad_request_behind_a_good_one() {
    let rig = Rig::shipped().await;
    let stop = |id: u8| format!("POST /tasks/prime/{id}:stop HTTP/1.1\r\nhost: gate.test\r\ncontent-type: application/json\r\n");
    for (second, answer) in [
        ("nonsense\r\n\r\n".to_owned(), BAD),
        (stop(25) + "a : b\r\n\r\n", BAD),
        (stop(25) + "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", BAD),
        (stop(25).replace("25", "25#"), "400 INVALID_TARGET"),
        (stop(25) + "transfer-encoding: chunked\r\n\r\n2;\r\n{}\r\n0\r\n\r\n", BAD_BODY),
    ] {
        rig.simulators.reset();
        for first in [
            stop(15) + "content-length: 2\r\n\r\n{}",
            stop(15) + "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            stop(15) + "\r\n",
        ] {
            rig.simulators.reset();
            let words: Vec<_> = ask(&rig, format!("{first}{second}{}", stop(25) + "\r\n").as_bytes())
                .await
                .iter()
                .map(|told| told.word())
                .collect();
            assert_eq!(words, ["202 accepted", answer], "{first}{second}");
            let effects = ["15", "25"].map(|id| rig.simulators.effects("prime", id).unwrap());
            assert_eq!((effects, calls(&rig)), ([1, 0], 1), "{first}{second}");
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn row_38_what_is_not_http() {
    let rig = Rig::shipped().await;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x9a\x0b\x0a\x0d\x0a\x0d\x0a\x00\x20\x13\x02";
    let proxy_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x30\x39\x1f\x90";
    let rows = vec![
        (38, "HTTP/0.9", b"GET /tasks/prime/15\r\n".to_vec(), BAD, Closes),
        (
            38,
            "HTTP/1.2",
            b"POST /tasks/prime/15:stop HTTP/1.2\r\nhost: gate.test\r\n\r\n".to_vec(),
            BAD,
            Closes,
        ),
        (
            38,
            "HTTP/9.9",
            b"POST /tasks/prime/15:stop HTTP/9.9\r\nhost: gate.test\r\n\r\n".to_vec(),
            BAD,
            Closes,
        ),
        (
            38,
            "HTTP/2 as a version",
            b"POST /tasks/prime/15:stop HTTP/2.0\r\nhost: gate.test\r\n\r\n".to_vec(),
            BAD,
            Closes,
        ),
        (38, "half a preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(), BAD, Closes),
        (
            38,
            "other protocol",
            b"POST /tasks/prime/15:stop ICAP/1.0\r\n\r\n".to_vec(),
            BAD,
            Closes,
        ),
        (38, "TLS", hello.to_vec(), BAD, Closes),
        (
            38,
            "PROXY 1",
            [b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 80\r\n", &prime("", "")[..]].concat(),
            BAD,
            Closes,
        ),
        (38, "PROXY 2", [&proxy_2[..], &prime("", "")[..]].concat(), BAD, Closes),
        (
            38,
            "empty lines with a bare LF",
            [b"\n\n", &prime("", "")[..]].concat(),
            BAD,
            Closes,
        ),
    ];
    check(&rig, rows).await;
    rig.stop().await;
}
