//! The way to a vendor that misbehaves: each fault has its reason, its outcome is true, and nothing is sent twice.
#![expect(clippy::unwrap_used, reason = "tests say what must hold")]

mod vendor;

use std::net::TcpListener as BlockingListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{Method, StatusCode};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::layer::{Aim, CallContext, CallCredentials, CredentialUse, Doubt, Exchange, Outbound};
use taskgate::model::answer::Outcome;
use taskgate::model::call::{UpstreamReply, UpstreamRequest};
use taskgate::model::error::GatewayError;
use taskgate::model::reason::Reason;
use taskgate::route::{Connection, Credentials, Endpoint, Limits, Queue};
use taskgate::trust::Trust;
use taskgate::upstream::client::UpstreamClient;
use taskgate::upstream::policy::ProviderService;
use taskgate::upstream::tls;
use tokio::time::Instant;

use vendor::{Step, Vendor, answer, write};

const SECRET: &str = "open-sesame-4711";

/// Short, so that a test that waits for it is short as well.
const TINY: Duration = Duration::from_millis(60);

fn connection(scheme: Scheme, authority: &str) -> Connection {
    let value = HeaderValue::from_static(SECRET);
    Connection {
        endpoint: Endpoint {
            scheme,
            authority: authority.parse().unwrap(),
            prefix: "/base".to_owned(),
        },
        credentials: Credentials::Header(HeaderName::from_static("x-auth-token"), value),
        trust: Trust::default(),
    }
}

fn client(scheme: Scheme, authority: &str, limits: &Limits) -> UpstreamClient {
    UpstreamClient::new(&connection(scheme, authority), limits, "gate-1").unwrap()
}

fn to(vendor: &Vendor, limits: &Limits) -> UpstreamClient {
    client(Scheme::HTTP, &vendor.address.to_string(), limits)
}

fn post() -> UpstreamRequest {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    UpstreamRequest {
        method: Method::POST,
        target: "/stop?a=1&b=%2F".to_owned(),
        headers,
        body: Bytes::from_static(b"{\"id\":1}"),
    }
}

/// A call of some shipped route; the way to the vendor looks at its name and the request only.
fn outbound() -> Outbound {
    let table = compile(&shipped::sources(), shipped::ROUTES_FILE, &Environment::default())
        .unwrap()
        .table;
    let provider = Arc::clone(table.providers.values().next().unwrap());
    let route = Arc::clone(provider.actions.values().next().unwrap());
    Outbound {
        context: Arc::new(CallContext {
            request_id: "r-1".into(),
            trace: taskgate::layer::trace::Trace::of(&HeaderMap::new()),
            deadline: soon(),
            credentials: CallCredentials::default(),
            doubt: Doubt::default(),
            claim: None,
            member: None,
        }),
        provider,
        route,
        aim: Aim::Act,
        request: Box::new(post()),
        credentials: CredentialUse::Normal,
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn body(exchange: &Exchange) -> &str {
    std::str::from_utf8(&exchange.reply.body).unwrap()
}

/// What must hold for every error, whatever the fault.
#[track_caller]
fn assert_honest(error: &GatewayError, vendor: &Vendor) {
    let said = error.reason.facts().outcome;
    if said == Outcome::NotDone {
        assert_eq!(
            vendor.requests(),
            Vec::<String>::new(),
            "not done, but the vendor got it: {error:?}"
        );
    }
    assert!(vendor.requests().len() <= 1, "sent twice: {error:?}");
    assert!(
        !error.detail.contains("127.0.0.1") && !error.detail.contains(&vendor.address.port().to_string()),
        "{}",
        error.detail
    );
    assert!(!format!("{error:?}").contains(SECRET));
}

/// Sends once to a vendor that follows `script` on its only connection.
async fn send(script: Vec<Step>, limits: &Limits) -> (Result<Exchange, GatewayError>, Vendor) {
    let vendor = Vendor::start(vec![script]).await;
    let result = to(&vendor, limits).send(post(), soon()).await;
    if let Err(error) = &result {
        assert_honest(error, &vendor);
    }
    (result, vendor)
}

async fn check(what: &str, script: Vec<Step>, limits: &Limits, reason: Reason, outcome: Outcome) {
    let (result, _vendor) = send(script, limits).await;
    let error = result.expect_err(what);
    assert_eq!((error.reason, reason.facts().outcome), (reason, outcome), "{what}: {error:?}");
}

async fn is_unknown(what: &str, script: Vec<Step>, reason: Reason) {
    let limits = Limits {
        timeout: Duration::from_secs(10),
        max_reply_bytes: 10_000,
        ..Limits::default()
    };
    check(what, script, &limits, reason, Outcome::Unknown).await;
}

#[tokio::test]
async fn what_is_sent_is_the_routes_request_and_nothing_else() {
    let (result, vendor) = send(vec![Step::Read, answer("200 OK", "{}")], &Limits::default()).await;
    let exchange = result.unwrap();
    assert_eq!(exchange.reply.status, StatusCode::OK);
    assert_eq!(body(&exchange), "{}");
    let expected = format!(
        "POST /base/stop?a=1&b=%2F HTTP/1.1\r\ncontent-type: application/json\r\nvia: 1.1 gate-1\r\nx-auth-token: {SECRET}\r\n\
         host: {}\r\ncontent-length: 8\r\n\r\n{{\"id\":1}}",
        vendor.address
    );
    assert_eq!(vendor.requests(), [expected]);
}

#[tokio::test]
async fn an_empty_body_has_a_length_where_the_method_gives_it_meaning() {
    for (method, length) in [(Method::POST, true), (Method::PUT, true), (Method::GET, false)] {
        let vendor = Vendor::start(vec![vec![Step::Read, answer("200 OK", "")]]).await;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/xml"));
        let request = UpstreamRequest {
            method: method.clone(),
            target: "/x".to_owned(),
            headers,
            body: Bytes::new(),
        };
        to(&vendor, &Limits::default()).send(request, soon()).await.unwrap();
        let text = vendor.requests().concat();
        assert_eq!(
            text.matches("content-length: 0\r\n").count(),
            usize::from(length),
            "{method}: {text}"
        );
        assert!(
            text.contains("accept: application/xml\r\n") && !text.contains("transfer-encoding"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn nothing_listens() {
    let address = BlockingListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let error = client(Scheme::HTTP, &address.to_string(), &Limits::default())
        .send(post(), soon())
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::VendorUnreachable);
    assert_eq!(error.detail, "no connection to the vendor could be made");
    assert!(error.internal.unwrap().contains("onnection refused"), "the log names the cause");
}

#[tokio::test]
async fn a_name_without_an_address() {
    // Too long for a label, so it is refused without asking anybody.
    let name = format!("{}.invalid", "a".repeat(64));
    let error = client(Scheme::HTTP, &name, &Limits::default())
        .send(post(), soon())
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::VendorUnreachable, "{error:?}");
    assert!(!error.detail.contains("aaa"), "{}", error.detail);
}

#[tokio::test]
async fn closed_at_once() {
    for last in [vec![], vec![Step::Reset]] {
        let (result, vendor) = send(last, &Limits::default()).await;
        let error = result.unwrap_err();
        // Whether the end was seen before or after writing began is a race; both words are true, and the first is proven.
        assert!(
            matches!(error.reason, Reason::VendorUnreachable | Reason::VendorConnectionLost),
            "{error:?}"
        );
        assert_eq!(vendor.requests().len(), 0);
    }
}

#[tokio::test]
async fn broken_after_the_request() {
    use Reason::VendorConnectionLost as Lost;
    let read = Step::Read;
    is_unknown("closed before the answer", vec![read.clone()], Lost).await;
    is_unknown("reset before the answer", vec![read.clone(), Step::Reset], Lost).await;
    is_unknown(
        "closed in the head",
        vec![read.clone(), write("HTTP/1.1 200 OK\r\ncontent-le")],
        Lost,
    )
    .await;
    is_unknown(
        "shorter than its length",
        vec![read.clone(), write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}")],
        Lost,
    )
    .await;
    is_unknown(
        "chunked without end",
        vec![
            read.clone(),
            write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"),
        ],
        Lost,
    )
    .await;
    is_unknown(
        "reset in the body",
        vec![read, write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"), Step::Reset],
        Lost,
    )
    .await;
}

#[tokio::test]
async fn answers_that_are_no_answers() {
    use Reason::BadVendorResponse as Bad;
    let ok = |rest: &str| vec![Step::Read, write(format!("HTTP/1.1 200 OK\r\n{rest}")), Step::Hang];
    is_unknown("another protocol", vec![Step::Read, write("SSH-2.0-OpenSSH_9.7\r\n")], Bad).await;
    is_unknown("a tls alert", vec![Step::Read, write([0x15, 3, 3, 0, 2, 2, 0x32])], Bad).await;
    // SETTINGS, then GOAWAY: HTTP/2 from somebody who was asked for HTTP/1.1. What it says of streams is not believed.
    let frames = [
        &[0, 0, 0, 4, 0, 0, 0, 0, 0][..],
        &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
    ]
    .concat();
    is_unknown("http/2 that goes away", vec![Step::Read, write(frames), Step::Hang], Bad).await;
    is_unknown("http/0.9", vec![Step::Read, write("<html></html>\r\n\r\n")], Bad).await;
    is_unknown("status out of range", vec![Step::Read, write("HTTP/1.1 99 Low\r\n\r\n")], Bad).await;
    is_unknown("header without colon", ok("nonsense\r\n\r\n"), Bad).await;
    is_unknown("two lengths", ok("content-length: 2\r\ncontent-length: 3\r\n\r\n{} "), Bad).await;
    is_unknown("length with sign", ok("content-length: +2\r\n\r\n{}"), Bad).await;
    is_unknown(
        "length and chunks",
        ok("content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        Bad,
    )
    .await;
    is_unknown("chunk size", ok("transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"), Bad).await;
    is_unknown(
        "unasked upgrade",
        vec![
            Step::Read,
            write("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
            Step::Hang,
        ],
        Bad,
    )
    .await;
    is_unknown("announced too large", ok("content-length: 10001\r\n\r\n"), Bad).await;
    is_unknown("too large", ok(&format!("connection: close\r\n\r\n{}", "x".repeat(10_001))), Bad).await;
    is_unknown("too large head", ok(&format!("x: {}\r\n\r\n", "x".repeat(100_000))), Bad).await;
    is_unknown(
        "too many headers",
        ok(&format!("{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(128))),
        Bad,
    )
    .await;
    is_unknown(
        "interim answers without end",
        vec![Step::Read, write("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000)), Step::Hang],
        Bad,
    )
    .await;
}

#[tokio::test]
async fn answers_that_look_odd_and_are_fine() {
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}content-length: 2\r\n\r\n{{}}", "x: y\r\n".repeat(127));
    let fine = [
        (
            "interim",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        ),
        ("until close", "HTTP/1.1 200 OK\r\n\r\n{}"),
        ("http/1.0", "HTTP/1.0 200 OK\r\n\r\n{}"),
        ("128 headers", many_headers.as_str()),
        (
            "chunked",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        ),
    ];
    for (what, text) in fine {
        let (result, vendor) = send(vec![Step::Read, write(text)], &Limits::default()).await;
        let exchange = result.expect(what);
        assert_eq!((exchange.reply.status.as_u16(), body(&exchange)), (200, "{}"), "{what}");
        assert_eq!(vendor.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let elsewhere = Vendor::start(vec![vec![Step::Read, answer("200 OK", "")]]).await;
        let redirect = write(format!(
            "HTTP/1.1 {status}\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
            elsewhere.address
        ));
        let (result, vendor) = send(vec![Step::Read, redirect], &Limits::default()).await;
        assert_eq!(result.unwrap().reply.status.as_str(), &status[..3]);
        assert_eq!((vendor.requests().len(), elsewhere.connections()), (1, 0));
    }
}

#[tokio::test]
async fn time() {
    use Outcome::{NotDone, Unknown};
    let limits = Limits {
        timeout: TINY,
        ..Limits::default()
    };
    check(
        "never answers",
        vec![Step::Read, Step::Hang],
        &limits,
        Reason::VendorTimeout,
        Unknown,
    )
    .await;
    check("never reads", vec![Step::Hang], &limits, Reason::VendorTimeout, Unknown).await;
    let dripping_head = vec![Step::Read, write("HTTP/1.1 200 OK\r\nx: "), Step::Drip];
    check("slow head", dripping_head, &limits, Reason::VendorTimeout, Unknown).await;
    let dripping_body = vec![Step::Read, write("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"), Step::Drip];
    check("slow body", dripping_body, &limits, Reason::VendorTimeout, Unknown).await;

    // The deadline of the caller cuts the attempt.
    let vendor = Vendor::start(vec![vec![Step::Read, Step::Hang]]).await;
    let error = to(&vendor, &Limits::default())
        .send(post(), Instant::now() + TINY)
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::VendorTimeout, "{error:?}");
    assert_honest(&error, &vendor);

    // It has passed already.
    let vendor = Vendor::start(vec![vec![Step::Hang]]).await;
    let error = to(&vendor, &Limits::default()).send(post(), Instant::now()).await.unwrap_err();
    assert_eq!((error.reason, error.reason.facts().outcome), (Reason::DeadlineExceeded, NotDone));
    assert_eq!(vendor.connections(), 0);

    // A handshake that never ends: the limit of the connection, then the deadline.
    let limits = Limits {
        connect_timeout: TINY,
        ..Limits::default()
    };
    let vendor = Vendor::start(vec![vec![Step::Hang]]).await;
    let error = client(Scheme::HTTPS, &vendor.address.to_string(), &limits)
        .send(post(), soon())
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::VendorUnreachable, "{error:?}");
    assert_eq!(error.metadata["connect_timeout_ms"], 60);
    let error = client(Scheme::HTTPS, &vendor.address.to_string(), &Limits::default())
        .send(post(), Instant::now() + TINY)
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::DeadlineExceeded, "{error:?}");
}

#[tokio::test]
async fn kept_connections_are_used_again_unless_told_otherwise() {
    let twice = vec![Step::Read, answer("200 OK", "1"), Step::Read, answer("200 OK", "2")];
    for (close, connections) in [(false, 1), (true, 2)] {
        let vendor = Vendor::start(vec![twice.clone()]).await;
        let client = to(
            &vendor,
            &Limits {
                close,
                ..Limits::default()
            },
        );
        for _ in 0..2 {
            client.send(post(), soon()).await.unwrap();
        }
        assert_eq!(vendor.connections(), connections);
        for request in vendor.requests() {
            assert_eq!(request.contains("connection: close\r\n"), close, "{request}");
        }
    }
}

#[tokio::test]
async fn a_second_answer_is_never_given_to_the_next_call() {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let good = vec![Step::Read, answer("200 OK", "good"), Step::Hang];
    let together = vec![
        Step::Read,
        write(format!("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood{evil}")),
        Step::Hang,
    ];
    let apart = vec![Step::Read, answer("200 OK", "good"), write(evil), Step::Hang];
    let then_closed = vec![Step::Read, answer("200 OK", "good"), write(evil)];
    for (script, steps) in [(together, 2), (apart, 3), (then_closed, 4)] {
        for _ in 0..20 {
            let mut vendor = Vendor::start(vec![script.clone(), good.clone()]).await;
            let client = to(&vendor, &Limits::default());
            assert_eq!(body(&client.send(post(), soon()).await.unwrap()), "good");
            vendor.has_done(steps).await;
            match client.send(post(), soon()).await {
                Ok(exchange) => assert_eq!((body(&exchange), vendor.requests().len()), ("good", 2)),
                Err(error) => assert_eq!((error.reason, vendor.requests().len()), (Reason::VendorUnreachable, 1), "{error:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_vendor_closed() {
    for end in [vec![], vec![Step::Reset]] {
        for _ in 0..20 {
            let mut script = vec![Step::Read, answer("200 OK", "1")];
            script.extend(end.clone());
            let steps = script.len() + 1;
            let mut vendor = Vendor::start(vec![script, vec![Step::Read, answer("200 OK", "2")]]).await;
            let client = to(&vendor, &Limits::default());
            client.send(post(), soon()).await.unwrap();
            vendor.has_done(steps).await;
            match client.send(post(), soon()).await {
                Ok(exchange) => assert_eq!((body(&exchange), vendor.requests().len()), ("2", 2)),
                Err(error) => {
                    // Proven unsent, or written into a closed connection; never sent again by itself.
                    assert!(
                        matches!(error.reason, Reason::VendorUnreachable | Reason::VendorConnectionLost),
                        "{error:?}"
                    );
                    assert_eq!(vendor.requests().len(), 1);
                }
            }
        }
    }
}

#[tokio::test]
async fn dropping_the_call_closes_the_connection_and_frees_the_place() {
    let mut vendor = Vendor::start(vec![vec![Step::Read, Step::Hang], vec![Step::Read, answer("200 OK", "")]]).await;
    let limits = Limits {
        in_flight: 1,
        queue: Queue {
            length: 0,
            ..Queue::default()
        },
        ..Limits::default()
    };
    let service = ProviderService::with_client("cheese", Ok(to(&vendor, &limits)), &limits);

    let mut first = Box::pin(service.send(outbound()));
    tokio::select! {
        _ = &mut first => unreachable!("the vendor hangs"),
        () = vendor.has_done(1) => {}
    }
    let busy = service.send(outbound()).await.unwrap_err();
    assert_eq!(
        (busy.reason, busy.retry_after),
        (Reason::ProviderBusy, Some(Duration::from_secs(1)))
    );
    drop(first);
    // The hanging ended, so the vendor saw the end of the connection.
    vendor.has_done(2).await;
    service.send(outbound()).await.unwrap();
    assert_eq!(vendor.requests().len(), 2);
}

#[tokio::test]
async fn a_provider_without_its_variables() {
    let missing = vec!["CHEESE_ENDPOINT".to_owned(), "CHEESE_TOKEN".to_owned()];
    let service = ProviderService::new("cheese", &Err(missing), &Limits::default(), "gate-1").unwrap();
    let error = service.send(outbound()).await.unwrap_err();
    assert_eq!(error.reason, Reason::ProviderNotConfigured);
    assert_eq!(
        error.detail,
        "the provider is not configured: CHEESE_ENDPOINT, CHEESE_TOKEN must be set"
    );
    assert_eq!(error.metadata["missing"], serde_json::json!(["CHEESE_ENDPOINT", "CHEESE_TOKEN"]));
}

#[tokio::test]
async fn requests_that_a_mapping_must_not_make() {
    let vendor = Vendor::start(vec![vec![Step::Read, answer("200 OK", "")]]).await;
    let client = to(&vendor, &Limits::default());
    for name in [
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "accept-encoding",
        "keep-alive",
        "via",
        "x-auth-token",
    ] {
        let mut request = post();
        request.headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        let error = client.send(request, soon()).await.unwrap_err();
        assert_eq!(
            (error.reason, error.reason.facts().outcome),
            (Reason::MappingFailed, Outcome::NotDone),
            "{name}"
        );
    }
    for target in ["", "stop", "@elsewhere/", "/a b", "http://elsewhere/"] {
        let request = UpstreamRequest {
            target: target.to_owned(),
            ..post()
        };
        assert_eq!(
            client.send(request, soon()).await.unwrap_err().reason,
            Reason::MappingFailed,
            "{target}"
        );
    }
    assert_eq!(vendor.connections(), 0);
}

#[test]
fn nothing_prints_the_secret() {
    let connection = connection(Scheme::HTTP, "localhost");
    let client = UpstreamClient::new(&connection, &Limits::default(), "gate-1").unwrap();
    let service = ProviderService::with_client("cheese", Ok(client.clone()), &Limits::default());
    for text in [format!("{client:?}"), format!("{service:?}")] {
        assert!(text.contains("Sensitive") && !text.contains(SECRET), "{text}");
    }
    assert!(UpstreamClient::new(&connection, &Limits::default(), "gate 1\r\n").is_err());
}

/// Serves one TLS connection on a thread and answers one request on it.
fn tls_vendor(certificate: &'static [u8]) -> (std::net::SocketAddr, std::thread::JoinHandle<String>) {
    use std::io::{Read as _, Write as _};
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate).unwrap()];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = BlockingListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = rustls::StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
        let mut text = Vec::new();
        let mut part = [0; 1024];
        while !text.ends_with(b"{\"id\":1}") {
            match stream.read(&mut part) {
                Ok(read) if read > 0 => text.extend_from_slice(&part[..read]),
                _ => return String::from_utf8(text).unwrap(),
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        String::from_utf8(text).unwrap()
    });
    (address, thread)
}

async fn over_tls(certificate: &'static [u8], trusted: bool) -> (Result<UpstreamReply, GatewayError>, String) {
    let (address, thread) = tls_vendor(certificate);
    let connection = connection(Scheme::HTTPS, &format!("localhost:{}", address.port()));
    let config = if trusted {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(include_bytes!("tls/authority.pem")).unwrap())
            .unwrap();
        tls::trusting(roots).unwrap()
    } else {
        tls::public_roots().unwrap()
    };
    let client = UpstreamClient::with_tls(&connection, &Limits::default(), "gate-1", config).unwrap();
    let result = client.send(post(), soon()).await.map(|exchange| exchange.reply);
    drop(client);
    (result, thread.join().unwrap())
}

#[tokio::test]
async fn tls_that_is_right() {
    let (result, request) = over_tls(include_bytes!("tls/valid.pem"), true).await;
    assert_eq!(result.unwrap().body, "{}");
    assert!(request.starts_with("POST /base/stop?a=1&b=%2F HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn tls_that_is_wrong() {
    let cases: [(&'static [u8], bool, &str, &str); 3] = [
        (include_bytes!("tls/expired.pem"), true, "certificate_expired", "expired"),
        (include_bytes!("tls/other_name.pem"), true, "wrong_name", "not valid for name"),
        (include_bytes!("tls/valid.pem"), false, "unknown_issuer", "UnknownIssuer"),
    ];
    for (certificate, trusted, word, internal) in cases {
        let (result, request) = over_tls(certificate, trusted).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.reason, &error.metadata["tls"]),
            (Reason::VendorTlsFailed, &serde_json::json!(word)),
            "{error:?}"
        );
        assert!(error.internal.as_deref().unwrap().contains(internal), "{error:?}");
        assert!(
            !error.detail.contains("localhost") && !error.detail.contains("example"),
            "{}",
            error.detail
        );
        assert_eq!(request, "", "{word}: nothing was sent");
    }
}

#[tokio::test]
async fn a_vendor_that_speaks_no_tls() {
    for script in [vec![write("HTTP/1.1 400 Bad Request\r\n\r\n"), Step::Hang], vec![]] {
        let vendor = Vendor::start(vec![script]).await;
        let error = client(Scheme::HTTPS, &vendor.address.to_string(), &Limits::default())
            .send(post(), soon())
            .await
            .unwrap_err();
        assert_eq!(
            (error.reason, &error.metadata["tls"]),
            (Reason::VendorTlsFailed, &serde_json::json!("handshake_failed")),
            "{error:?}"
        );
    }
}
