//! The server on real sockets: one voice whatever arrives, limits, and a clean end.
//!
//! | module | what it shows |
//! |---|---|
//! | here | HTTP/1.1, deadlines, limits, the end |
//! | `http2` | HTTP/2 frame by frame: what is malformed, floods, streams that are reset |
//! | `strict` | no head that a strict reader refuses reaches a stage, however a good one is mangled |
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests say what must hold")]

mod http2;
mod strict;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use taskgate::model::reason::Reason;
use taskgate::server::{ServerLimits, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// More than the buffers of two sockets take.
const LARGE: usize = 64 << 20;
/// Short, so that a test that waits for it is short as well.
const TINY: Duration = Duration::from_millis(60);

/// A running server with a service that answers with the path and the size of a body. It holds `/hold` until it is let go, does not
/// wait for the body of `/early`, and has a lot to say on `/large`.
struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    stage: Arc<Observed>,
}

#[derive(Default)]
struct Observed {
    began: AtomicUsize,
    ended: AtomicUsize,
    /// Bodies that did not come to their end.
    broken: AtomicUsize,
    changed: Notify,
    let_go: Notify,
}

impl Observed {
    async fn wait(&self, counter: &AtomicUsize, at_least: usize) {
        loop {
            let changed = self.changed.notified();
            if counter.load(Ordering::SeqCst) >= at_least {
                return;
            }
            changed.await;
        }
    }
}

impl Server {
    async fn start(limits: ServerLimits, drain: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let stage = Arc::new(Observed::default());
        let observed = Arc::clone(&stage);
        let service = hyper::service::service_fn(move |request| Box::pin(answer(Arc::clone(&observed), request)));
        let task = tokio::spawn(run(listener, service, limits, shutdown.clone(), drain));
        Self {
            address,
            shutdown,
            task,
            stage,
        }
    }

    async fn usual() -> Self {
        let kept = 0;
        Self::start(
            ServerLimits {
                kept,
                ..ServerLimits::default()
            },
            Duration::from_secs(20),
        )
        .await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes as they are and reads until the server closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut socket = self.connect().await;
        // The server may answer before it has taken everything.
        let _ = socket.write_all(bytes).await;
        rest(&mut socket).await
    }

    /// Sends bytes so many at a time, ends that side, and reads until the server closes.
    async fn in_pieces(&self, bytes: &[u8], size: usize) -> String {
        let mut socket = self.connect().await;
        socket.set_nodelay(true).unwrap();
        for piece in bytes.chunks(size) {
            if socket.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let _ = socket.shutdown().await;
        rest(&mut socket).await
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn answer(stage: Arc<Observed>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    stage.began.fetch_add(1, Ordering::SeqCst);
    stage.changed.notify_waiters();
    let path = request.uri().path().to_owned();
    if path == "/hold" {
        stage.let_go.notified().await;
    }
    if path == "/early" {
        drop(request);
        return Ok(Response::builder()
            .header("x-request-id", "stage")
            .body(Full::from("early"))
            .unwrap());
    }
    let (status, body) = match request.into_body().collect().await {
        _ if path == "/large" => (200, "x".repeat(LARGE)),
        Ok(body) => (200, format!("{path} {}", body.to_bytes().len())),
        Err(_) => {
            stage.broken.fetch_add(1, Ordering::SeqCst);
            (400, r#"{"reason":"MALFORMED_BODY"}"#.to_owned())
        }
    };
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/problem+json")
        .header("x-request-id", "stage");
    stage.ended.fetch_add(1, Ordering::SeqCst);
    stage.changed.notify_waiters();
    Ok(response.body(Full::from(body)).unwrap())
}

/// The head lines and the document of the last answer in `text`.
#[track_caller]
fn last_problem<'t>(what: &str, text: &'t str) -> (Vec<&'t str>, Value) {
    let start = text.rfind("HTTP/1.1 ").unwrap_or_else(|| panic!("{what}: no answer in {text:?}"));
    let (head, body) = text[start..].split_once("\r\n\r\n").unwrap();
    let head: Vec<_> = head.split("\r\n").collect();
    let document = serde_json::from_str(body).unwrap_or_else(|_| panic!("{what}: no document in {text:?}"));
    assert!(
        head.contains(&format!("content-length: {}", body.len()).as_str()),
        "{what}: {head:?}"
    );
    assert!(head.contains(&"content-type: application/problem+json"), "{what}: {head:?}");
    (head, document)
}

/// The whole answer to something that never reaches a stage.
#[track_caller]
fn assert_refused(what: &str, text: &str, status: &str, reason: Reason) {
    let (head, document) = last_problem(what, text);
    assert_eq!(head[0], format!("HTTP/1.1 {status}"), "{what}");
    assert!(head.contains(&"connection: close"), "{what}: {head:?}");
    assert!(
        head.iter().any(|line| line.starts_with("date: ") && line.ends_with(" GMT")),
        "{what}: {head:?}"
    );
    let id = head.iter().find_map(|line| line.strip_prefix("x-request-id: ")).expect(what);
    assert_eq!((id.len(), &document["request_id"]), (36, &Value::from(id)), "{what}");
    assert_eq!(
        (&document["reason"], &document["outcome"]),
        (&Value::from(reason.code()), &Value::from("not_done")),
        "{what}"
    );
    assert_eq!(document["status"].to_string(), status[..3], "{what}");
}

#[tokio::test]
async fn what_the_library_refuses_is_said_in_our_voice() {
    const BAD: &str = "400 Bad Request";
    let get = |rest: &str| format!("GET /ok HTTP/1.1\r\nhost: a\r\n{rest}\r\n").into_bytes();
    let cases: Vec<(&str, Vec<u8>, &str, Reason)> = vec![
        ("no request line", b"nonsense\r\n\r\n".to_vec(), BAD, Reason::MalformedHttp),
        ("http/0.9", b"GET /ok\r\n\r\n".to_vec(), BAD, Reason::MalformedHttp),
        ("http/9.9", b"GET /ok HTTP/9.9\r\n\r\n".to_vec(), BAD, Reason::MalformedHttp),
        (
            "space in the target",
            b"GET /o k HTTP/1.1\r\n\r\n".to_vec(),
            BAD,
            Reason::MalformedHttp,
        ),
        (
            "method with a bracket",
            b"G(T /ok HTTP/1.1\r\n\r\n".to_vec(),
            BAD,
            Reason::MalformedHttp,
        ),
        ("tls", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], BAD, Reason::MalformedHttp),
        ("header without colon", get("nonsense\r\n"), BAD, Reason::MalformedHttp),
        ("space before colon", get("a : b\r\n"), BAD, Reason::MalformedHttp),
        ("folded header", get("a: b\r\n c\r\n"), BAD, Reason::MalformedHttp),
        ("nul in a value", get("a: \0\r\n"), BAD, Reason::MalformedHttp),
        ("length with sign", get("content-length: +5\r\n"), BAD, Reason::MalformedHttp),
        ("negative length", get("content-length: -1\r\n"), BAD, Reason::MalformedHttp),
        (
            "two lengths",
            get("content-length: 1\r\ncontent-length: 2\r\n"),
            BAD,
            Reason::MalformedHttp,
        ),
        (
            "length of 2^64",
            get("content-length: 18446744073709551616\r\n"),
            BAD,
            Reason::MalformedHttp,
        ),
        (
            "coding that is not chunked",
            get("transfer-encoding: chunked, gzip\r\n"),
            BAD,
            Reason::MalformedHttp,
        ),
        (
            "200 headers",
            get(&"x: y\r\n".repeat(200)),
            "431 Request Header Fields Too Large",
            Reason::HeadersTooLarge,
        ),
        (
            "1 MiB header",
            get(&format!("x: {}\r\n", "y".repeat(1 << 20))),
            "431 Request Header Fields Too Large",
            Reason::HeadersTooLarge,
        ),
        (
            "1 MiB target",
            format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(1 << 20)).into_bytes(),
            "414 URI Too Long",
            Reason::TargetTooLong,
        ),
        (
            "100 KiB target",
            format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(100 << 10)).into_bytes(),
            "414 URI Too Long",
            Reason::TargetTooLong,
        ),
        (
            "100 KiB method",
            format!("{} / HTTP/1.1\r\n\r\n", "Y".repeat(100 << 10)).into_bytes(),
            "501 Not Implemented",
            Reason::MethodNotImplemented,
        ),
    ];
    let server = Server::usual().await;
    for (what, bytes, status, reason) in cases {
        let text = server.raw(&bytes).await;
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{what}: {text}");
        assert_refused(what, &text, status, reason);
    }
    assert_eq!(server.stage.began.load(Ordering::SeqCst), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_good_request_before_a_bad_one_is_answered_first() {
    let server = Server::usual().await;
    let text = server.raw(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\nnonsense\r\n\r\n").await;
    assert!(
        text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("\r\n\r\n/ok 0HTTP/1.1 400 "),
        "{text}"
    );
    assert_refused("second", &text, "400 Bad Request", Reason::MalformedHttp);
    server.stop().await;
}

#[tokio::test]
async fn bodies_that_break_are_for_the_stage_to_answer() {
    let server = Server::usual().await;
    for chunk in ["zz\r\n", "+5\r\nhello\r\n", "5\r\nhelloX", "11111111111111111\r\n"] {
        let text = server
            .raw(format!("POST /ok HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n").as_bytes())
            .await;
        let (head, document) = last_problem(chunk, &text);
        assert_eq!(
            (head[0], &document["reason"]),
            ("HTTP/1.1 400 Bad Request", &Value::from("MALFORMED_BODY")),
            "{chunk}"
        );
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{chunk}: {text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn kept_connections_head_and_expectations() {
    let server = Server::usual().await;
    let text = server
        .raw(
            b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nHEAD /b HTTP/1.1\r\nhost: a\r\n\r\n\
              POST /c HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
        )
        .await;
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{text}");
    assert_eq!(text.matches("HTTP/1.1 100 Continue\r\n\r\n").count(), 1, "{text}");
    assert!(text.contains("/a 0") && !text.contains("/b 0") && text.ends_with("/c 2"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn http2_with_prior_knowledge() {
    let server = Server::usual().await;
    let io = TokioIo::new(server.connect().await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..2 {
        let request = Request::get("http://a/two").body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers()["x-request-id"].as_bytes()),
            (200, &b"stage"[..])
        );
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "/two 0");
    }
    // The end of the server is a GOAWAY, and nobody has to wait.
    server.stop().await;
    drop(sender);
    let _ = connection.await.unwrap();
}

#[tokio::test]
async fn who_is_too_slow_is_told() {
    let limits = ServerLimits {
        head: TINY,
        idle: Duration::from_secs(20),
        ..ServerLimits::default()
    };
    let server = Server::start(limits, Duration::from_secs(20)).await;
    for part in ["P", "GET", "GET /ok HTTP/1.1\r\nhost: a\r\n", "GET /a HTTP/1.1\r\nhost: a\r\n\r\n"] {
        let mut socket = server.connect().await;
        socket.write_all(part.as_bytes()).await.unwrap();
        if part.ends_with("\r\n\r\n") {
            // A whole one first, then a part of the next, which has its own time.
            let mut seen = [0; 15];
            socket.read_exact(&mut seen).await.unwrap();
            socket.write_all(b"GET /b").await.unwrap();
        }
        assert_refused(part, &rest(&mut socket).await, "408 Request Timeout", Reason::RequestTimeout);
    }
    // A byte at a time is no progress.
    let mut socket = server.connect().await;
    let mut pace = tokio::time::interval(TINY / 10);
    while socket.write_all(b"G").await.is_ok() {
        pace.tick().await;
    }
    // HTTP/2 that does not get beyond its first bytes has no voice to be answered in.
    assert_eq!(server.raw(b"PRI * HTTP").await, "");
    server.stop().await;
}

#[tokio::test]
async fn idle_connections_end_without_a_word() {
    let limits = ServerLimits {
        idle: TINY,
        head: Duration::from_secs(20),
        ..ServerLimits::default()
    };
    let server = Server::start(limits, Duration::from_secs(20)).await;
    assert_eq!(server.raw(b"").await, "");
    let text = server.raw(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("/ok 0"), "{text}");
    // A stage that takes longer than that is not idle.
    let mut socket = server.connect().await;
    socket
        .write_all(b"GET /hold HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    server.stage.wait(&server.stage.began, 2).await;
    assert_eq!(server.raw(b"").await, "", "so much time has passed");
    assert_eq!(server.raw(b"").await, "", "and again");
    server.stage.let_go.notify_one();
    assert!(rest(&mut socket).await.ends_with("/hold 0"));
    drop(socket);
    server.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away() {
    let limits = ServerLimits {
        connections: 1,
        ..ServerLimits::default()
    };
    let server = Server::start(limits, Duration::from_secs(20)).await;
    let mut first = server.connect().await;
    first
        .write_all(b"GET /hold HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    server.stage.wait(&server.stage.began, 1).await;
    let text = server.raw(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_refused("second", &text, "503 Service Unavailable", Reason::Overloaded);
    assert!(text.contains("\r\nretry-after: 1\r\n"), "{text}");
    server.stage.let_go.notify_one();
    assert!(rest(&mut first).await.ends_with("/hold 0"));
    drop(first);
    server.stop().await;
}

#[tokio::test]
async fn a_caller_that_ends_its_side_is_answered_and_one_that_vanishes_is_seen_through() {
    let server = Server::usual().await;
    let mut socket = server.connect().await;
    socket.write_all(b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    socket.shutdown().await.unwrap();
    server.stage.wait(&server.stage.began, 1).await;
    server.stage.let_go.notify_one();
    assert!(rest(&mut socket).await.ends_with("/hold 0"));

    for reset in [false, true] {
        let ended = server.stage.ended.load(Ordering::SeqCst);
        let mut socket = server.connect().await;
        socket.write_all(b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        server.stage.wait(&server.stage.began, ended + 1).await;
        if reset {
            socket.set_zero_linger().unwrap();
        }
        drop(socket);
        server.stage.let_go.notify_one();
        server.stage.wait(&server.stage.ended, ended + 1).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn the_end_waits_for_calls_and_not_for_idle_connections() {
    let server = Server::usual().await;
    let mut silent = server.connect().await;
    let mut kept = server.connect().await;
    kept.write_all(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.stage.wait(&server.stage.ended, 1).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.stage.wait(&server.stage.began, 2).await;

    server.shutdown.cancel();
    assert_eq!(rest(&mut silent).await, "");
    assert!(rest(&mut kept).await.ends_with("/ok 0"));
    assert!(TcpStream::connect(server.address).await.is_err(), "nothing new is accepted");
    assert!(!server.task.is_finished());
    server.stage.let_go.notify_one();
    let text = rest(&mut busy).await;
    assert!(text.contains("\r\nconnection: close\r\n") && text.ends_with("/hold 0"), "{text}");
    drop(busy);
    server.task.await.unwrap();
}

#[tokio::test]
async fn the_end_is_bounded() {
    let server = Server::start(ServerLimits::default(), TINY).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.stage.wait(&server.stage.began, 1).await;
    let io = TokioIo::new(server.connect().await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://a/hold").body(Empty::<Bytes>::new()).unwrap();
    let call = tokio::spawn(sender.send_request(request));
    server.stage.wait(&server.stage.began, 2).await;

    let stage = Arc::clone(&server.stage);
    server.stop().await;
    assert_eq!(rest(&mut busy).await, "");
    assert!(call.await.unwrap().is_err());
    let _ = connection.await.unwrap();
    assert_eq!(Arc::strong_count(&stage), 1, "no task of the server is left");
}

#[tokio::test]
async fn a_server_that_is_dropped_leaves_nothing_behind() {
    let server = Server::usual().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.stage.wait(&server.stage.began, 1).await;
    server.task.abort();
    assert_eq!(rest(&mut busy).await, "");
}

/// Row 33: who does not take the answer is cut off and gives back the place.
#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let limits = ServerLimits {
        connections: 1,
        write: TINY,
        ..ServerLimits::default()
    };
    let server = Server::start(limits, Duration::from_secs(20)).await;
    let mut deaf = server.connect().await;
    deaf.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.stage.wait(&server.stage.ended, 1).await;
    // There is one place, and it becomes free without the caller doing anything.
    while !server
        .raw(b"GET /ok HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .starts_with("HTTP/1.1 200 ")
    {}
    let mut taken = Vec::new();
    let _ = deaf.read_to_end(&mut taken).await;
    assert!(taken.len() < LARGE, "{}", taken.len());
    server.stop().await;
}

/// Row 39: those who only sit there take no more places than there are, and make no difference once they have left.
#[tokio::test]
async fn idle_connections_take_the_places_that_there_are() {
    let limits = ServerLimits {
        connections: 8,
        ..ServerLimits::default()
    };
    let server = Server::start(limits, Duration::from_secs(20)).await;
    let mut sitting = Vec::new();
    for _ in 0..8 {
        let mut socket = server.connect().await;
        socket.write_all(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut first = [0; 15];
        socket.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        sitting.push(socket);
    }
    // Some are told, and beyond those that can be told they are closed.
    let more: Vec<_> = futures_util::future::join_all((0..200).map(|_| async {
        let mut socket = server.connect().await;
        let mut bytes = Vec::new();
        // A connection that is closed at once may be reset.
        let _ = socket.read_to_end(&mut bytes).await;
        String::from_utf8(bytes).unwrap()
    }))
    .await;
    for text in &more {
        if !text.is_empty() {
            assert_refused("one more", text, "503 Service Unavailable", Reason::Overloaded);
        }
    }
    assert!(more.iter().filter(|text| !text.is_empty()).count() >= 8, "{more:?}");
    assert_eq!(server.stage.began.load(Ordering::SeqCst), 8);
    drop(sitting);
    while !server
        .raw(b"GET /ok HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .starts_with("HTTP/1.1 200 ")
    {}
    server.stop().await;
}

/// Row 32: an answer that needs no body does not ask for it, and what was announced is not waited for.
#[tokio::test]
async fn an_early_answer_ends_a_connection_whose_body_does_not_come() {
    let server = Server::usual().await;
    for expect in ["", "expect: 100-continue\r\n"] {
        let mut socket = server.connect().await;
        let head = format!("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n{expect}\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let text = rest(&mut socket).await;
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("connection: close\r\n") && text.ends_with("early"),
            "{text}"
        );
    }
    server.stop().await;
}

/// Row 33: bodies and heads that begin with the end of the request before have their own time.
#[tokio::test]
async fn a_head_that_began_behind_another_request_is_told_as_well() {
    let limits = ServerLimits {
        head: TINY,
        ..ServerLimits::default()
    };
    let server = Server::start(limits, Duration::from_secs(20)).await;
    let text = server.raw(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\nGET /o").await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert_refused("second", &text, "408 Request Timeout", Reason::RequestTimeout);
    server.stop().await;
}

/// Rows 19 and 22: what the door answers, for every service behind it; the connection lives on.
#[tokio::test]
async fn the_door_answers_and_the_connection_goes_on() {
    let limits = ServerLimits {
        methods: "GET, OPTIONS",
        ..ServerLimits::default()
    };
    let server = Server::start(limits, Duration::from_secs(20)).await;
    let text = server
        .raw(
            b"GET /ok HTTP/1.1\r\n\r\nOPTIONS * HTTP/1.1\r\nhost: a\r\n\r\nHEAD /ok HTTP/1.1\r\nhost: a,b\r\n\r\n\
              GET /ok HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        )
        .await;
    let statuses: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["400", "204", "400", "200"], "{text}");
    let options = text.split("HTTP/1.1 ").nth(2).unwrap();
    assert!(
        options.contains("\r\nallow: GET, OPTIONS\r\n") && options.contains("\r\nx-request-id: "),
        "{text}"
    );
    assert!(!options.contains("content-length"), "{text}");
    assert_eq!(
        text.matches(r#""reason":"INVALID_HEADER""#).count(),
        1,
        "a HEAD is told without content: {text}"
    );
    assert_eq!(server.stage.began.load(Ordering::SeqCst), 1);
    server.stop().await;
}
