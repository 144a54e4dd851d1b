//! A good head, mangled: what a strict reader refuses does not reach a stage (rows 22 to 27). Good messages, whatever is in them and
//! however they are cut: each is one request.
//!
//! The reader here shares nothing with the server: it has all the bytes at once and takes them apart line by line.

use std::sync::atomic::Ordering;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::Server;

/// How many requests there are at most in these bytes, by RFC 9112 and 9110. What follows a head that announces a body is anything.
fn requests(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    loop {
        while let Some(rest) = bytes.strip_prefix(b"\r\n") {
            bytes = rest;
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return count;
        };
        match has_body(&bytes[..end]) {
            None => return count,
            Some(true) => return usize::MAX,
            Some(false) => count += 1,
        }
        bytes = &bytes[end + 4..];
    }
}

/// None where the head is not valid.
fn has_body(head: &[u8]) -> Option<bool> {
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.split("\r\n");
    let is_token = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c));
    let is_target = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/?%[]".contains(c))
    };
    let parts: Vec<&str> = lines.next()?.split(' ').collect();
    let [method, target, version @ ("HTTP/1.0" | "HTTP/1.1")] = parts[..] else {
        return None;
    };
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let is_value = value.chars().all(|c| c == '\t' || !c.is_ascii_control());
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])));
        if !is_token(name) || !is_value {
            return None;
        }
    }
    let named = |wanted: &str| {
        fields
            .iter()
            .filter(|(name, _)| name == wanted)
            .map(|(_, value)| *value)
            .collect::<Vec<_>>()
    };
    let host_fits = match named("host")[..] {
        [] => version == "HTTP/1.0",
        [host] => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._~:[]".contains(c)),
        _ => false,
    };
    if !is_token(method) || !is_target(target) || !host_fits {
        return None;
    }
    match (&named("content-length")[..], &named("transfer-encoding")[..]) {
        ([], []) => Some(false),
        ([length], []) if !length.is_empty() && length.chars().all(|c| c.is_ascii_digit()) => Some(length.contains(|c| c != '0')),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && version == "HTTP/1.1" => Some(true),
        _ => None,
    }
}

#[derive(Clone, Debug)]
enum Mangle {
    Insert(usize, Vec<u8>),
    Remove(usize),
    Replace(usize, u8),
    RepeatLine(usize),
    DropLine(usize),
    AddLine(usize, &'static [u8]),
}

const PIECES: [&[u8]; 22] = [
    b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b",", b";", b"#", b"?", b"{", b"\x7f", b"\x80", b"_", b"@", b"/", b"[", b"\"", b"\\",
    b"%", b"0",
];
const LINES: [&[u8]; 14] = [
    b"Host: other\r\n",
    b"host:\r\n",
    b" folded\r\n",
    b"content-length: 0\r\n",
    b"Content-Length: +0\r\n",
    b"transfer-encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"x : y\r\n",
    b"x_a: y\r\n",
    b"no colon\r\n",
    b"\n",
    b"x: y\n",
    b"x: y\r\r\n",
    b"content-length: 1\r\n",
];

fn mangle() -> impl Strategy<Value = Mangle> {
    prop_oneof![
        (any::<usize>(), prop::sample::select(&PIECES[..])).prop_map(|(at, piece)| Mangle::Insert(at, piece.to_vec())),
        any::<usize>().prop_map(Mangle::Remove),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Mangle::Replace(at, byte)),
        any::<usize>().prop_map(Mangle::RepeatLine),
        any::<usize>().prop_map(Mangle::DropLine),
        (any::<usize>(), prop::sample::select(&LINES[..])).prop_map(|(at, line)| Mangle::AddLine(at, line)),
    ]
}

fn apply(head: &mut Vec<u8>, mangle: &Mangle) {
    let lines = |head: &[u8]| head.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let with_lines = |head: &mut Vec<u8>, at: usize, change: &dyn Fn(&mut Vec<Vec<u8>>, usize)| {
        let mut all = lines(head);
        let at = at % all.len().max(1);
        change(&mut all, at);
        *head = all.concat();
    };
    if head.is_empty() {
        return;
    }
    match mangle {
        Mangle::Insert(at, piece) => {
            let at = at % (head.len() + 1);
            head.splice(at..at, piece.iter().copied());
        }
        Mangle::Remove(at) => {
            head.remove(at % head.len());
        }
        Mangle::Replace(at, byte) => {
            let at = at % head.len();
            head[at] = *byte;
        }
        Mangle::RepeatLine(at) => with_lines(head, *at, &|all, at| all.insert(at, all[at].clone())),
        Mangle::DropLine(at) => with_lines(head, *at, &|all, at| drop(all.remove(at))),
        Mangle::AddLine(at, line) => with_lines(head, *at, &|all, at| all.insert(at, line.to_vec())),
    }
}

const GOOD: [&[u8]; 4] = [
    b"GET /ok HTTP/1.1\r\nHost: gate.test\r\nUser-Agent: x\r\n\r\n",
    b"POST /ok?a=b HTTP/1.1\r\nhost: gate.test:8080\r\ncontent-length: 0\r\naccept: */*\r\nx-a: b\r\n\r\n",
    b"GET http://gate.test/ok HTTP/1.1\r\nHost:\tgate.test \r\n\r\n",
    b"GET /ok HTTP/1.0\r\nx-a: \xc3\xa9\r\n\r\n",
];

#[test]
fn the_strict_reader_is_strict() {
    for head in GOOD {
        assert_eq!(requests(head), 1, "{}", String::from_utf8_lossy(head));
    }
    for head in [
        "GET /ok HTTP/1.1\r\n\r\n",
        "GET /ok HTTP/1.1\r\nhost: a\n\r\n",
        "GET /ok HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        "GET /ok#x HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /ok HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n",
        "GET /ok HTTP/1.1\r\nhost: a\r\n",
        "GET /ok HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n",
    ] {
        assert_eq!(requests(head.as_bytes()), 0, "{head}");
    }
}

#[test]
fn no_mangled_head_reaches_a_stage_unless_it_is_good() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::usual());
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let strategy = (prop::sample::select(&GOOD[..]), prop::collection::vec(mangle(), 1..4), 1_usize..80);
    let outcome = TestRunner::new(config).run(&strategy, |(good, mangles, cut)| {
        let mut bytes = good.to_vec();
        mangles.iter().for_each(|mangle| apply(&mut bytes, mangle));
        let before = server.stage.began.load(Ordering::SeqCst);
        let text = runtime.block_on(server.in_pieces(&bytes, cut));
        let reached = server.stage.began.load(Ordering::SeqCst) - before;
        let shown = String::from_utf8_lossy(&bytes);
        prop_assert!(reached <= requests(&bytes), "{shown:?} has reached the stage: {text}");
        prop_assert!(text.matches("HTTP/1.1 200 ").count() <= reached, "{shown:?}: {text}");
        Ok(())
    });
    outcome.unwrap();
    let reached = server.stage.began.load(Ordering::SeqCst);
    assert!(
        (20..CASES as usize - 100).contains(&reached),
        "both kinds are met: {reached} were let in"
    );
    runtime.block_on(server.stop());
}

/// A message, and what the stage says to it.
fn message(body: &[u8], chunks: Option<&[usize]>) -> (Vec<u8>, String) {
    let mut bytes = b"POST /ok HTTP/1.1\r\nHost: gate.test\r\n".to_vec();
    match chunks {
        None => {
            bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            bytes.extend(body);
        }
        Some(sizes) => {
            bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            let (mut rest, mut sizes) = (body, sizes.iter().cycle());
            while !rest.is_empty() {
                let (chunk, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                bytes.extend(format!("{:X};a=\"b;c\"\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
                rest = behind;
            }
            bytes.extend(b"0\r\nx: y\r\n\r\n");
        }
    }
    (bytes, format!("/ok {}", body.len()))
}

/// Bodies that look like heads and chunks, and lengths that do not fit any read, move no boundary.
#[test]
fn good_messages_are_read_as_what_they_are() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::usual());
    let part = prop_oneof![
        Just(b"\r\n0\r\n\r\n".to_vec()),
        Just(GOOD[0].to_vec()),
        Just(b"\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..300),
    ];
    let body = prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat());
    let chunks = prop::option::of(prop::collection::vec(1_usize..200, 1..4));
    let messages = prop::collection::vec((body, chunks), 1..5);
    let config = Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&(messages, 1_usize..900), |(messages, cut)| {
        let (bytes, answers): (Vec<_>, Vec<_>) = messages.iter().map(|(body, chunks)| message(body, chunks.as_deref())).unzip();
        let text = runtime.block_on(server.in_pieces(&bytes.concat(), cut));
        let told: Vec<&str> = text
            .split("HTTP/1.1 ")
            .skip(1)
            .map(|answer| answer.rsplit("\r\n").next().unwrap())
            .collect();
        prop_assert_eq!(told, answers);
        Ok(())
    });
    outcome.unwrap();
    runtime.block_on(server.stop());
}

const CASES: u32 = 600;
