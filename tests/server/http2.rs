//! HTTP/2, frame by frame: what is malformed never reaches a stage (row 36), floods are capped (row 35), and a call whose stream is
//! reset is seen through (row 34).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use taskgate::server::ServerLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Server, TINY};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block without compression: names and values as they are.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn request(path: &str) -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a")])
}

struct Peer {
    socket: TcpStream,
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The code of RST_STREAM and GOAWAY.
    fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

impl Peer {
    async fn connect(server: &Server) -> Self {
        Self::with_settings(server, &[]).await
    }

    async fn with_settings(server: &Server, settings: &[u8]) -> Self {
        let mut peer = Self {
            socket: server.connect().await,
        };
        peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        peer.send(&frame(SETTINGS, 0, 0, settings)).await;
        peer
    }

    /// Sends as much as the server takes.
    async fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    /// The next frame; none at the end of the connection.
    async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.socket.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..].try_into().unwrap()),
            payload,
        })
    }

    /// The first frame that is of one of these kinds.
    async fn next_of(&mut self, kinds: &[u8]) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if kinds.contains(&frame.kind) {
                return Some(frame);
            }
        }
    }

    /// What a stream comes to: what its document says, or how it ended.
    async fn outcome(&mut self) -> String {
        let mut status = String::new();
        while let Some(frame) = self.next_of(&[DATA, HEADERS, RST_STREAM, GOAWAY]).await {
            match frame.kind {
                // Of the stream or of the connection: that is the library's to choose.
                RST_STREAM | GOAWAY => return "refused".to_owned(),
                HEADERS if frame.flags & END_STREAM != 0 => return format!("head {:#x}", frame.payload[0]),
                HEADERS => status = format!("{:#x}", frame.payload[0]),
                _ if !frame.payload.is_empty() => {
                    let reason = serde_json::from_slice::<Value>(&frame.payload).ok();
                    let reason = reason.and_then(|document| document["reason"].as_str().map(str::to_owned));
                    return reason.unwrap_or_else(|| format!("{status} {}", String::from_utf8_lossy(&frame.payload)));
                }
                _ => {}
            }
        }
        "closed".to_owned()
    }
}

/// Row 36, and the rows of part 3a and 3b as far as HTTP/2 knows them.
#[tokio::test]
async fn what_is_malformed_does_not_reach_a_stage() {
    const OK: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "http"), (":path", "/ok"), (":authority", "a")];
    let with = |more: &[(&'static str, &'static str)]| [&OK[..], more].concat();
    let instead = |name: &str, value: &'static str| OK.map(|(known, was)| (known, if known == name { value } else { was })).to_vec();
    let without = |name: &str| OK.into_iter().filter(|(known, _)| *known != name).collect::<Vec<_>>();
    let server = Server::usual().await;
    for (what, fields, expected) in [
        ("path: empty", instead(":path", ""), "refused"),
        ("path: none", without(":path"), "refused"),
        ("path: two", with(&[(":path", "/ok")]), "refused"),
        ("path: relative", instead(":path", "ok"), "refused"),
        ("path: space", instead(":path", "/o k"), "refused"),
        ("path: star", instead(":path", "*"), "INVALID_TARGET"),
        ("method: none", without(":method"), "refused"),
        ("method: space", instead(":method", "PO ST"), "refused"),
        (
            "method: CONNECT",
            vec![(":method", "CONNECT"), (":authority", "a:443")],
            "INVALID_TARGET",
        ),
        ("scheme: none", without(":scheme"), "refused"),
        ("scheme: other", instead(":scheme", "ftp"), "INVALID_TARGET"),
        ("authority: none", without(":authority"), "INVALID_HEADER"),
        ("authority: user", instead(":authority", "u@a"), "INVALID_TARGET"),
        ("authority: port", instead(":authority", "a:99999"), "INVALID_TARGET"),
        ("authority: other host", with(&[("host", "b")]), "INVALID_HEADER"),
        ("authority: two hosts", with(&[("host", "a"), ("host", "a")]), "INVALID_HEADER"),
        ("pseudo: unknown", with(&[(":what", "x")]), "refused"),
        ("pseudo: of answers", with(&[(":status", "200")]), "refused"),
        ("pseudo: late", [&OK[..3], &[("x", "y"), OK[3]]].concat(), "refused"),
        ("name: upper case", with(&[("X-A", "b")]), "refused"),
        ("name: space", with(&[("x a", "b")]), "refused"),
        ("name: twin", with(&[("x_a", "b"), ("x-a", "b")]), "INVALID_HEADER"),
        ("value: nul", with(&[("x", "\0")]), "refused"),
        ("value: line", with(&[("x", "a\r\ny: b")]), "refused"),
        ("hop by hop: connection", with(&[("connection", "close")]), "refused"),
        ("hop by hop: coding", with(&[("transfer-encoding", "chunked")]), "refused"),
        ("hop by hop: te", with(&[("te", "gzip")]), "refused"),
        ("length: too long for no body", with(&[("content-length", "5")]), "refused"),
        ("length: sign", with(&[("content-length", "+0")]), "refused"),
    ] {
        let mut peer = Peer::connect(&server).await;
        peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).await;
        assert_eq!(peer.outcome().await, expected, "{what}");
        assert_eq!(server.stage.began.load(Ordering::SeqCst), 0, "{what}");
    }
    for (what, fields, expected) in [
        ("good", OK.to_vec(), "0x88 /ok 0"),
        ("the same host twice over", with(&[("host", "A:80")]), "0x88 /ok 0"),
        ("te", with(&[("te", "trailers")]), "0x88 /ok 0"),
        // The library cuts a fragment off before anybody else sees it. What is left is what a client means by such a target.
        ("fragment", instead(":path", "/ok#x"), "0x88 /ok 0"),
        (
            "options",
            [&[(":method", "OPTIONS"), OK[1], (":path", "*")], &OK[3..]].concat(),
            "head 0x89",
        ),
    ] {
        let mut peer = Peer::connect(&server).await;
        peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).await;
        assert_eq!(peer.outcome().await, expected, "{what}");
    }
    server.stop().await;
}

/// Row 35: a stream that is reset keeps its place until its call has ended, so resetting gets nobody more than a hundred calls.
#[tokio::test]
async fn rapid_reset_is_capped_and_what_began_is_seen_through() {
    let server = Server::usual().await;
    let mut peer = Peer::connect(&server).await;
    let head = request("/hold");
    for batch in 0..100_u32 {
        let mut bytes = Vec::new();
        for stream in batch * 100..(batch + 1) * 100 {
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream * 2 + 1, &head));
            bytes.extend(frame(RST_STREAM, 0, stream * 2 + 1, &8_u32.to_be_bytes()));
        }
        peer.send(&bytes).await;
    }
    // The server has had enough of it, or has read all of it and answered nothing.
    peer.send(&frame(PING, 0, 0, b"the end.")).await;
    let last = peer.next_of(&[PING, GOAWAY]).await;
    if let Some(last) = last.filter(|frame| frame.kind == GOAWAY) {
        assert_eq!(last.code(), ENHANCE_YOUR_CALM);
    }
    let began = server.stage.began.load(Ordering::SeqCst);
    assert!(began <= 100, "{began} calls began");
    // Others are served all the while, and what began ends.
    assert!(
        server
            .raw(b"GET /ok HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .ends_with("/ok 0")
    );
    drop(peer);
    while server.stage.ended.load(Ordering::SeqCst) < server.stage.began.load(Ordering::SeqCst) {
        server.stage.let_go.notify_waiters();
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

/// Row 35: slow resets, each after its call has begun: the cap is what there is of places, and the rest is told so.
#[tokio::test]
async fn calls_of_streams_that_were_reset_keep_their_places() {
    let server = Server::usual().await;
    let mut peer = Peer::connect(&server).await;
    for call in 0..100_u32 {
        peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, call * 2 + 1, &request("/hold")))
            .await;
        server.stage.wait(&server.stage.began, call as usize + 1).await;
        peer.send(&frame(RST_STREAM, 0, call * 2 + 1, &8_u32.to_be_bytes())).await;
    }
    peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 201, &request("/ok"))).await;
    assert_eq!(peer.outcome().await, "OVERLOADED");
    // The end waits for them, although nobody else does.
    drop(peer);
    server.shutdown.cancel();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.task.is_finished());
    while server.stage.ended.load(Ordering::SeqCst) < 100 {
        server.stage.let_go.notify_waiters();
        tokio::task::yield_now().await;
    }
    server.task.await.unwrap();
}

/// Row 34: the end is not held up for ever either.
#[tokio::test]
async fn the_end_of_what_is_seen_through_is_bounded() {
    let server = Server::start(ServerLimits::default(), TINY).await;
    let mut peer = Peer::connect(&server).await;
    for stream in [1, 3] {
        peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("/hold")))
            .await;
    }
    server.stage.wait(&server.stage.began, 2).await;
    peer.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await;
    let stage = Arc::clone(&server.stage);
    server.stop().await;
    assert_eq!(Arc::strong_count(&stage), 1, "no task of the server is left");
    assert_eq!(stage.ended.load(Ordering::SeqCst), 0);
}

/// Row 34: a body that was not read to its end is no request, whoever ends the stream.
#[tokio::test]
async fn a_stream_that_is_reset_within_its_body_is_an_error_of_the_body() {
    let server = Server::usual().await;
    let mut peer = Peer::connect(&server).await;
    let head = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/ok"),
        (":authority", "a"),
        ("content-length", "9"),
    ]);
    peer.send(&frame(HEADERS, END_HEADERS, 1, &head)).await;
    peer.send(&frame(DATA, 0, 1, b"half")).await;
    server.stage.wait(&server.stage.began, 1).await;
    peer.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await;
    // The stage goes on without its caller and finds that the body is broken.
    server.stage.wait(&server.stage.ended, 1).await;
    assert_eq!(server.stage.broken.load(Ordering::SeqCst), 1);
    // A peer that does not answer a GOAWAY is waited for as long as there is time.
    drop(peer);
    server.stop().await;
}

/// Row 35: floods of frames that cost the sender nothing.
#[tokio::test]
async fn floods_of_frames_end_their_connection_or_wait_their_turn() {
    let server = Server::usual().await;
    let head = block(&[(":method", "POST"), (":scheme", "http"), (":path", "/ok"), (":authority", "a")]);
    let continuation = [
        frame(HEADERS, 0, 1, &head),
        frame(CONTINUATION, 0, 1, &block(&[("x", "y")])).repeat(20_000),
    ];
    let data = [frame(HEADERS, END_HEADERS, 1, &head), frame(DATA, 0, 1, b"").repeat(100_000)];
    let settings = [Vec::new(), frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]).repeat(50_000)];
    let pings = [Vec::new(), frame(PING, 0, 0, b"pingping").repeat(50_000)];
    let priorities = [
        frame(HEADERS, END_HEADERS, 1, &head),
        frame(2, 0, 1, &[0, 0, 0, 0, 1]).repeat(50_000),
    ];
    for (what, [begin, flood], ends) in [
        ("CONTINUATION", continuation, true),
        ("empty DATA", data, true),
        ("SETTINGS", settings, false),
        ("PING", pings, false),
        ("PRIORITY", priorities, false),
    ] {
        let mut peer = Peer::connect(&server).await;
        let (mut reader, mut writer) = peer.socket.split();
        let flooded = async {
            let _ = writer.write_all(&begin).await;
            writer.write_all(&flood).await.is_ok()
        };
        if ends {
            let told = async {
                let mut bytes = Vec::new();
                let _ = reader.read_to_end(&mut bytes).await;
                bytes
            };
            let (_, told) = tokio::join!(flooded, told);
            let calm = [&[GOAWAY, 0, 0, 0, 0, 0][..]].concat();
            let goaway = told.windows(calm.len()).position(|part| part == calm).expect(what);
            let code = &told[goaway + calm.len() + 4..][..4];
            assert_eq!(code, ENHANCE_YOUR_CALM.to_be_bytes(), "{what}");
        } else {
            // Nobody reads the answers to them, so at some point the server does not read either; others are served.
            let served = server.raw(b"GET /ok HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            tokio::select! {
                _ = flooded => {}
                text = served => assert!(text.ends_with("/ok 0"), "{what}: {text}"),
            }
        }
    }
    let before = server.stage.began.load(Ordering::SeqCst);
    assert!(
        server
            .raw(b"GET /ok HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .ends_with("/ok 0")
    );
    assert_eq!(server.stage.began.load(Ordering::SeqCst), before + 1);
    server.stop().await;
}

/// Row 35: answers that a window of one byte holds back do not hold the connection for ever; row 39: nor does silence.
#[tokio::test]
async fn connections_on_which_nothing_moves_are_ended() {
    let limits = ServerLimits {
        idle: TINY,
        write: TINY,
        head: Duration::from_secs(20),
        ..ServerLimits::default()
    };
    let server = Server::start(limits, Duration::from_secs(20)).await;
    let mut silent = Peer::connect(&server).await;
    assert_eq!(silent.next_of(&[GOAWAY]).await.unwrap().code(), 0, "idle is no error");
    assert!(silent.next_of(&[GOAWAY]).await.is_none_or(|frame| frame.code() == 0));

    let mut narrow = Peer::with_settings(&server, &[0, 4, 0, 0, 0, 1]).await;
    for stream in [1, 3, 5] {
        narrow
            .send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("/ok")))
            .await;
    }
    let mut bytes = 0;
    let mut goaway = false;
    while let Some(frame) = narrow.next().await {
        goaway |= frame.kind == GOAWAY;
        if frame.kind == DATA {
            assert_eq!(frame.payload.len(), 1);
            bytes += 1;
        }
        assert!(frame.stream < 7);
    }
    assert_eq!((bytes, goaway), (3, true), "one byte of each, and then the end");
    assert_eq!(server.stage.ended.load(Ordering::SeqCst), 3);

    // A call that takes longer is not idle.
    let mut busy = Peer::connect(&server).await;
    busy.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &request("/hold"))).await;
    server.stage.wait(&server.stage.began, 4).await;
    for _ in 0..3 {
        let mut other = Peer::connect(&server).await;
        while other.next().await.is_some() {}
    }
    server.stage.let_go.notify_one();
    assert_eq!(busy.outcome().await, "0x88 /hold 0");
    drop((silent, narrow, busy));
    server.stop().await;
}
