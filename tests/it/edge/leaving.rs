//! Rows 33, 34 and 39: who is slow, who leaves, who does not fit.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use taskgate::gateway::{GatewayOptions, RunningGateway};
use taskgate::layer::admit::AdmitLimits;
use taskgate::server::ServerLimits;
use taskgate::simulate::{DBSS_INSTANCE, SimulatorOptions, Simulators};
use taskgate::stack::StackLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::answers::Seen;
use super::super::caller::{Caller, converse, split_answers};
use super::super::rig::{self, Rig};
use super::calls;

/// Simulators, and a gateway with limits of its own before them.
async fn limited(stack: StackLimits, server: ServerLimits) -> Rig {
    let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
    let compiled = rig::compiled(
        &taskgate::config::shipped::sources(),
        &simulators.environment().into_iter().collect(),
    );
    let options = GatewayOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        admin_listen: None,
        stack,
        server,
        drain: Duration::from_secs(10),
        config_hash: compiled.hash.clone(),
    };
    let gateway = RunningGateway::start(Arc::clone(&compiled.table), options, rig::process_metrics())
        .await
        .unwrap();
    let caller = Caller::new(gateway.address());
    Rig {
        simulators,
        gateway,
        caller,
    }
}

/// Row 33: a body that drips is cut off as a whole; nobody else notices, and no vendor hears of it.
#[tokio::test]
async fn row_33_a_slow_body() {
    let stack = StackLimits {
        admit: AdmitLimits {
            body: Duration::from_millis(80),
            ..AdmitLimits::default()
        },
        ..StackLimits::default()
    };
    let rig = limited(stack, ServerLimits::default()).await;
    for coding in ["content-length: 1000", "transfer-encoding: chunked"] {
        let mut stream = TcpStream::connect(rig.gateway.address()).await.unwrap();
        let head = format!("POST /tasks/prime/15:stop HTTP/1.1\r\nhost: gate.test\r\ncontent-type: application/json\r\n{coding}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let dripping = async {
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            while writer
                .write_all(if coding.starts_with('t') { b"1\r\n \r\n" } else { b" " })
                .await
                .is_ok()
            {
                pace.tick().await;
            }
            // Nobody takes it any more; what was answered is still to be read.
            std::future::pending::<()>().await;
        };
        let mut text = String::new();
        tokio::select! {
            () = dripping => {}
            read = reader.read_to_string(&mut text) => drop(read.unwrap()),
        }
        let [told] = <[_; 1]>::try_from(split_answers(&text)).unwrap();
        told.check(Seen::OnTheWire);
        assert_eq!(
            (told.word().as_str(), told.header("connection")),
            ("408 REQUEST_TIMEOUT", Some("close"))
        );
        assert_eq!(rig.caller.get("/nothing").await.word(), "404 UNKNOWN_PATH");
    }
    assert_eq!(calls(&rig), 0);
    rig.stop().await;
}

/// Row 39: with no place in flight a call is refused at once, whatever its body would be; the vendor does not hear of it.
#[tokio::test]
async fn row_39_overload_is_told_at_the_door() {
    let stack = StackLimits {
        in_flight: 1,
        ..StackLimits::default()
    };
    let rig = limited(stack, ServerLimits::default()).await;
    rig.simulators.set_fault("dbss", "hang".parse().unwrap()).unwrap();
    let caller = rig.caller.clone();
    let hanging = tokio::spawn(async move { caller.act(&format!("dbss/{DBSS_INSTANCE}:stop"), "").await });
    while rig.simulators.calls("dbss").unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    // The body never comes, and nobody waits for it.
    let head = b"POST /tasks/prime/15:stop HTTP/1.1\r\nhost: gate.test\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
    let [told] = <[_; 1]>::try_from(split_answers(&converse(rig.gateway.address(), head).await)).unwrap();
    told.check(Seen::OnTheWire);
    assert_eq!((told.word().as_str(), told.header("retry-after")), ("503 OVERLOADED", Some("1")));
    assert_eq!(calls(&rig), 1);
    rig.simulators.shutdown().await;
    assert_eq!(hanging.await.unwrap().text("/outcome"), "unknown");
    drop(rig.caller);
    rig.gateway.stop().await;
}

/// Row 34: before the request is there as a whole nothing is done, however its caller leaves.
#[tokio::test]
async fn row_34_half_a_request_calls_nobody() {
    let rig = Rig::shipped().await;
    let call = b"POST /tasks/prime/15:stop HTTP/1.1\r\nhost: gate.test\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{";
    for length in [1, 20, call.len() - 3, call.len() - 1, call.len()] {
        for reset in [false, true] {
            let mut stream = TcpStream::connect(rig.gateway.address()).await.unwrap();
            stream.write_all(&call[..length]).await.unwrap();
            if reset {
                stream.set_zero_linger().unwrap();
            }
        }
    }
    // Whoever ends the sending side still learns what was wrong.
    let mut stream = TcpStream::connect(rig.gateway.address()).await.unwrap();
    stream.write_all(call).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(split_answers(&text)[0].word(), "400 MALFORMED_BODY");
    drop(rig.caller);
    rig.gateway.stop().await;
    assert_eq!(rig.simulators.calls("prime").unwrap(), 0);
    rig.simulators.shutdown().await;
}

/// Row 34: what the vendor has got is finished, counted, and known to whoever reads the log, whatever the caller does.
#[tokio::test]
async fn row_34_a_stream_that_is_reset_does_not_undo_its_call() {
    let rig = Rig::shipped().await;
    rig.simulators.set_fault("dbss", "latency:100ms".parse().unwrap()).unwrap();
    let stream = TcpStream::connect(rig.gateway.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let target = format!("http://gate.test/tasks/dbss/{DBSS_INSTANCE}:stop");
    let call = tokio::spawn(sender.send_request(Request::post(target).body(Full::<Bytes>::default()).unwrap()));
    while rig.simulators.calls("dbss").unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    // The client resets the stream of an answer that nobody waits for.
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    drop(sender);
    let _ = connection.await.unwrap();
    // The end waits for it.
    drop(rig.caller);
    rig.gateway.stop().await;
    assert_eq!(rig.simulators.effects("dbss", DBSS_INSTANCE).unwrap(), 1);
    let metrics = rig::process_metrics().render();
    let counted = r#"taskgate_requests_total{provider="dbss",action="stop",outcome="accepted",reason="none"} 1"#;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    rig.simulators.shutdown().await;
}

/// Rows 28 and 36: over HTTP/2 a head that is too large gets the same document.
#[tokio::test]
async fn row_28_a_large_head_over_http2() {
    let rig = Rig::shipped().await;
    let stream = TcpStream::connect(rig.gateway.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    for size in [40 << 10, 100 << 10, 200 << 10] {
        let request = Request::post("http://gate.test/tasks/prime/15:stop").header("x", "v".repeat(size));
        let answer = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 431, "{size}");
        let document: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(document["reason"], "HEADERS_TOO_LARGE", "{size}");
    }
    assert_eq!(calls(&rig), 0);
    drop(sender);
    let _ = connection.await.unwrap();
    rig.stop().await;
}
