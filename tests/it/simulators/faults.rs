//! Every fault at every vendor as a client sees it, and whether the task was acted on behind it.

use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;
use taskgate::simulate::{Effect, Fault, FaultKind, ZSTACK_TASK};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::{Everyday, Wire, ask, everyday, oauth, send, simulators};

/// What a caller sees of an answer, in a few words.
fn sight(wire: &Wire) -> String {
    let text = String::from_utf8_lossy(&wire.bytes);
    let end = if wire.reset { "reset" } else { "close" };
    let Some((head, body)) = text.split_once("\r\n\r\n").filter(|_| text.starts_with("HTTP/1.1 ")) else {
        let what = if text.is_empty() { "nothing" } else { "garbage" };
        return format!("{what}, {end}");
    };
    let status = head.split(' ').nth(1).unwrap();
    let declared = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse::<usize>().unwrap());
    let what = if declared > body.len() {
        "short"
    } else if body.is_empty() {
        "empty"
    } else if head.contains("text/html") {
        "page"
    } else {
        "body"
    };
    format!("{status} {what}, {end}")
}

#[tokio::test]
async fn every_fault_is_seen_by_a_client_at_every_vendor() {
    // The fault, what is seen, and how often the task was acted on.
    let table = [
        ("cut", "200 short, reset", 1),
        ("cut,effect=none", "503 short, reset", 0),
        ("drip:1ms", "200 body, close", 1),
        ("empty", "200 empty, close", 1),
        ("empty,effect=none", "200 empty, close", 0),
        ("failure", "200 body, close", 0),
        ("failure,effect=applied", "200 body, close", 1),
        ("garbage", "garbage, close", 1),
        ("html", "200 page, close", 0),
        ("html:502", "502 page, close", 0),
        ("html:503,effect=applied", "503 page, close", 1),
        ("latency:1ms", "200 body, close", 1),
        ("redirect", "302 page, close", 0),
        ("reset", "nothing, reset", 1),
        ("reset,effect=none", "nothing, reset", 0),
        ("status:500", "500 body, close", 0),
        ("status:503,effect=applied", "503 body, close", 1),
        ("status:429,body=empty", "429 empty, close", 0),
        ("truncated", "200 short, close", 1),
        ("truncated,effect=none", "503 short, close", 0),
    ];
    let simulators = simulators().await;
    for call in everyday() {
        let vendor = call.vendor;
        for (fault, expected, effects) in table {
            simulators.reset();
            simulators.set_fault(vendor, fault.parse().unwrap()).unwrap();
            let wire = timeout(Duration::from_secs(10), send(&simulators, vendor, call.ask()));
            let seen = sight(&wire.await.unwrap());
            // Two vendors do not answer a success with 200 and a body.
            let expected = match (vendor, fault) {
                ("hss", "drip:1ms" | "latency:1ms") => "200 empty, close".to_owned(),
                ("zstack", "cut" | "drip:1ms" | "latency:1ms" | "truncated") => expected.replace("200", "202"),
                _ => expected.to_owned(),
            };
            assert_eq!(seen, expected, "{vendor}={fault}");
            assert_eq!(simulators.effects(vendor, &call.task).unwrap(), effects, "{vendor}={fault}");
            assert_eq!(simulators.calls(vendor).unwrap(), 1, "{vendor}={fault}");
        }
    }
    simulators.shutdown().await;
}

#[tokio::test]
async fn a_200_that_failed_is_in_the_words_of_the_vendor() {
    let simulators = simulators().await;
    simulators.apply("all=failure".parse().unwrap()).unwrap();
    for call in everyday() {
        let vendor = call.vendor;
        let reply = ask(&simulators, vendor, call.ask()).await;
        let (status, words) = match vendor {
            "cfw" => (200, r#""error_code":"CFW.00109004""#),
            "dbss" => (200, r#"{"result":"failed"}"#),
            "hss" => (200, r#""error_code":"HSS.0041""#),
            "prime" => (200, "<failure><failure><id>15</id>"),
            _ => (200, r#"{"error":{"code":"SYS.1006""#),
        };
        assert_eq!(reply.status, status);
        assert!(reply.body.contains(words), "{vendor}: {}", reply.body);
        assert!(!reply.body.contains("<success>"), "{}", reply.body);
    }
    simulators.shutdown().await;
}

#[tokio::test]
async fn an_error_status_has_the_body_of_the_vendor() {
    let simulators = simulators().await;
    for (vendor, fault, words) in [
        ("cfw", "status:429", "APIGW.0308"),
        ("cfw", "status:500", "CFW.00109004"),
        ("dbss", "status:500", r#"{"error":{"error_code":"DBSS.10020102""#),
        ("hss", "status:403", "APIGW.0302"),
        ("prime", "status:503", "<errorDocument>"),
        ("zstack", "status:503", r#"{"error":{"code":"SYS.1006""#),
        ("zstack", "status:500", "the operation failed"),
    ] {
        simulators.set_fault(vendor, fault.parse().unwrap()).unwrap();
        let call = Everyday::of(vendor);
        let reply = ask(&simulators, vendor, call.ask()).await;
        assert!(reply.body.contains(words), "{vendor}={fault}: {}", reply.body);
    }
    simulators.shutdown().await;
}

#[tokio::test]
async fn a_hanging_vendor_never_answers_and_stops_with_the_caller_or_the_simulators() {
    let simulators = simulators().await;
    simulators.apply("all=hang".parse().unwrap()).unwrap();
    let endpoints = simulators.endpoints();
    let address = endpoints.get("cfw").unwrap().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    while simulators.calls("cfw").unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let mut byte = [0];
    let silence = timeout(Duration::from_millis(100), stream.read(&mut byte)).await;
    assert!(silence.is_err(), "nothing may come");
    timeout(Duration::from_secs(5), simulators.shutdown()).await.unwrap();
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 0);
    assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn latency_and_drip_take_their_time() {
    let simulators = simulators().await;
    let call = Everyday::of("dbss");
    let vendor = call.vendor;
    for fault in ["latency:150ms", "drip:8ms"] {
        simulators.reset();
        simulators.set_fault(vendor, fault.parse().unwrap()).unwrap();
        let started = tokio::time::Instant::now();
        let reply = ask(&simulators, vendor, call.ask()).await;
        assert_eq!(reply.line(), r#"200 {"result":"SUCCESS"}"#);
        assert!(started.elapsed() >= Duration::from_millis(140), "{fault}");
    }
    simulators.shutdown().await;
}

#[tokio::test]
async fn a_fault_minds_its_count_and_its_path() {
    let simulators = simulators().await;
    let fault = Fault::new(FaultKind::Html { status: StatusCode::OK })
        .times(NonZeroU32::MIN)
        .effect(Effect::None)
        .path("/api-jobs/");
    simulators.set_fault("zstack", fault).unwrap();
    let oauth = oauth();
    let get = format!("/zstack/v1/cbt-task/{ZSTACK_TASK}");
    let mut statuses = Vec::new();
    for target in [&get, "/zstack/v1/api-jobs/1", "/zstack/v1/api-jobs/1"] {
        statuses.push(ask(&simulators, "zstack", ("GET", target, &oauth, "")).await.status);
    }
    assert_eq!(statuses, [200, 200, 404]);
    simulators.shutdown().await;
}

#[tokio::test]
async fn a_client_that_follows_the_redirect_is_counted() {
    let simulators = simulators().await;
    simulators.set_fault("cfw", "redirect,times=1".parse().unwrap()).unwrap();
    let reply = ask(&simulators, "cfw", ("POST", "/", "", "")).await;
    let location = reply.header("location").unwrap().to_owned();
    let reply = ask(&simulators, "cfw", ("GET", &location, "", "")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(simulators.calls("cfw").unwrap(), 2);
    simulators.shutdown().await;
}
