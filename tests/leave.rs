//! A server that leaves: it says so in every answer, serves whoever still comes, and closes nothing under a caller's hands.
#![expect(clippy::unwrap_used, reason = "tests say what must hold")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use taskgate::server::{ServerLimits, Shutdown, run};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Longer than anything here takes: who waits for it has waited in vain.
const LONG: Duration = Duration::from_secs(1000);

async fn start() -> (SocketAddr, Shutdown, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::default();
    let service =
        hyper::service::service_fn(|_: Request<Incoming>| std::future::ready(Ok::<_, Infallible>(Response::new(Full::from("ok")))));
    let task = tokio::spawn(run(listener, service, ServerLimits::default(), shutdown.clone(), LONG));
    (address, shutdown, task)
}

/// Sends a request and reads its answer; the head of it.
async fn call(stream: &mut BufReader<TcpStream>) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).await.unwrap() > 0, "closed after `{head}`");
    }
    stream.read_exact(&mut [0; 2]).await.unwrap();
    head
}

async fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    BufReader::new(TcpStream::connect(address).await.unwrap())
}

async fn is_closed(mut stream: BufReader<TcpStream>) -> bool {
    stream.read_to_end(&mut Vec::new()).await.unwrap_or(0) == 0
}

#[tokio::test]
async fn answers_of_http1_say_goodbye_and_idle_connections_may_still_ask() {
    let (address, shutdown, task) = start().await;
    let (mut kept, silent) = (connect(address).await, connect(address).await);
    assert!(!call(&mut kept).await.contains("connection: close"));
    shutdown.leave();
    // Idle, never used, and new: each is served once more, and told.
    let new = connect(address).await;
    for (what, mut stream) in [("idle", kept), ("silent", silent), ("new", new)] {
        let head = call(&mut stream).await;
        assert!(
            head.starts_with("HTTP/1.1 200") && head.contains("connection: close\r\n"),
            "{what}: {head}"
        );
        assert!(is_closed(stream).await, "{what}");
    }
    // Who never asks anything holds nothing up at the end.
    let fresh = connect(address).await;
    shutdown.close();
    task.await.unwrap();
    assert!(is_closed(fresh).await);
}

#[tokio::test]
async fn http2_connections_get_goaway_and_new_ones_after_their_first_answer() {
    let (address, shutdown, task) = start().await;
    let open = async || {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), io)
            .await
            .unwrap();
        (sender, tokio::spawn(connection))
    };
    let request = || Request::get("http://a/").body(Empty::new()).unwrap();
    let (mut kept, kept_ends) = open().await;
    assert_eq!(kept.send_request(request()).await.unwrap().status(), 200);
    shutdown.leave();
    // The end that its caller sees is an orderly one.
    kept_ends.await.unwrap().unwrap();
    let (mut new, new_ends) = open().await;
    assert_eq!(new.send_request(request()).await.unwrap().status(), 200);
    new_ends.await.unwrap().unwrap();
    shutdown.close();
    task.await.unwrap();
}
