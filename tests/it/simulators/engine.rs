//! The machinery around the vendors: control interface, counters, options, stubs.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use taskgate::simulate::{Exchange, ExpectedBody, HUAWEI_TOKEN, SimulatorOptions, Simulators, StubReply, StubVendor};
use tokio::time::timeout;

use super::client::{Everyday, ask, check, converse, simulators, token};

#[tokio::test]
async fn the_control_interface_arms_shows_and_resets() {
    let simulators = simulators().await;
    let call = Everyday::of("cfw");
    let (vendor, stop) = (call.vendor, call.ask());
    let (task, target) = (&call.task, &call.target);
    let fault = "/_simulator/fault";
    for (request, expected) in [
        (("PUT", fault, "", "status:503,times=2"), "204"),
        (
            ("PUT", fault, "", "sulk"),
            r#"400 {"error":"unknown fault `sulk`, expected one of cut, drip, empty, failure, garbage, hang, html, latency, redirect, reset, status, throttle, truncated"}"#,
        ),
        (("POST", fault, "", ""), r#"405 {"error":"allowed: PUT, DELETE"}"#),
        (
            ("GET", "/_simulator/x", "", ""),
            r#"404 {"error":"expected /_simulator/ and one of state, fault, reset, settings, tasks/<id>, logins, revoke, advance"}"#,
        ),
    ] {
        check(request, &ask(&simulators, vendor, request).await, expected);
    }
    assert_eq!(ask(&simulators, vendor, stop).await.status, 503);
    let state = ask(&simulators, vendor, ("GET", "/_simulator/state", "", "")).await;
    let expected = format!(
        r#"200 {{"calls":1,"fault":"status:503,times=1","recent":[{{"method":"POST","target":"{target}"}}],"tasks":[{{"effects":0,"id":"{task}","state":"running"}}],"vendor":"cfw"}}"#
    );
    check(stop, &state, &expected);
    check(stop, &ask(&simulators, vendor, ("DELETE", fault, "", "")).await, "204");
    assert_eq!(ask(&simulators, vendor, stop).await.status, 200);
    assert_eq!(simulators.effects(vendor, task).unwrap(), 1);
    assert_eq!(simulators.calls(vendor).unwrap(), 2);
    check(stop, &ask(&simulators, vendor, ("POST", "/_simulator/reset", "", "")).await, "204");
    let state = simulators.state(vendor).unwrap();
    assert_eq!(state.get("calls"), Some(&0.into()));
    assert_eq!(ask(&simulators, vendor, stop).await.status, 200);
    simulators.shutdown().await;
}

#[tokio::test]
async fn requests_are_kept_as_they_came() {
    let simulators = simulators().await;
    let headers = token();
    let body = "{\"instance_id\": \"\\u0031\"}";
    ask(&simulators, "dbss", ("POST", "/v1/a%2Fb?y=2&x=1", &headers, body)).await;
    let seen = simulators.seen("dbss").unwrap();
    let seen = seen.first().unwrap();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/v1/a%2Fb?y=2&x=1"));
    assert_eq!(seen.headers.get("x-auth-token").unwrap(), HUAWEI_TOKEN);
    assert_eq!(seen.body, body);
    simulators.shutdown().await;
}

#[tokio::test]
async fn the_environment_is_what_a_gateway_needs() {
    let simulators = simulators().await;
    let environment = simulators.environment();
    let names: Vec<&str> = environment.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "CFW_ENDPOINT",
            "DBSS_ENDPOINT",
            "HSS_ENDPOINT",
            "HUAWEI_PROJECT_ID",
            "HUAWEI_TOKEN",
            "PRIME_ENDPOINT",
            "PRIME_PASSWORD",
            "PRIME_USER",
            "ZSTACK_ENDPOINT",
            "ZSTACK_SESSION",
        ]
    );
    assert_eq!(environment.get("CFW_ENDPOINT"), simulators.endpoints().get("cfw"));
    simulators.shutdown().await;
}

#[tokio::test]
async fn starting_refuses_what_cannot_be_meant() {
    let anywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for (options, expected) in [
        (
            SimulatorOptions::default().listen("cfw", anywhere),
            "simulators listen on loopback only, and 0.0.0.0:0 is not loopback",
        ),
        (
            SimulatorOptions::default().listen("acme", loopback),
            "no simulator is called `acme`, there are cfw, dbss, hss, iam, prime, zstack",
        ),
        (
            SimulatorOptions::default().fault("acme=reset".parse().unwrap()),
            "no simulator is called `acme`, there are cfw, dbss, hss, iam, prime, zstack",
        ),
    ] {
        let error = Simulators::start(options).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn an_http_2_preface_does_no_harm() {
    let simulators = simulators().await;
    let endpoints = simulators.endpoints();
    let address = endpoints.get("hss").unwrap().trim_start_matches("http://");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    timeout(Duration::from_secs(5), converse(address, preface)).await.unwrap();
    assert_eq!(simulators.calls("hss").unwrap(), 0);
    assert_eq!(ask(&simulators, "hss", ("GET", "/", "", "")).await.status, 404);
    simulators.shutdown().await;
}

fn exchange(target: &str, body: Option<ExpectedBody>, answer: &'static str) -> Exchange {
    Exchange {
        method: "POST".to_owned(),
        target: target.to_owned(),
        body,
        reply: StubReply {
            status: StatusCode::ACCEPTED,
            headers: vec![("X-Kind".to_owned(), "stub".to_owned())],
            body: answer.into(),
        },
    }
}

#[tokio::test]
async fn a_stub_answers_its_exchanges_and_nothing_else() {
    let json = |text: &str| Some(ExpectedBody::Json(serde_json::from_str(text).unwrap()));
    let stub = StubVendor::new(
        "acme-eu",
        vec![
            exchange("/a?x=1", json(r#"{"b":1,"c":[2]}"#), "json"),
            exchange("/a?x=1", Some(ExpectedBody::Text("t".to_owned())), "text"),
            exchange("/a?x=1", Some(ExpectedBody::Xml("<p><q>1</q></p>".to_owned())), "xml"),
            exchange("/a?x=1", None, "none"),
            exchange("/b", Some(ExpectedBody::Any), "first"),
            exchange("/b", Some(ExpectedBody::Any), "second"),
        ],
    )
    .unwrap();
    let options = SimulatorOptions::none().vendor(stub);
    let simulators = Simulators::start(options).await.unwrap();
    for (request, expected) in [
        (("POST", "/a?x=1", "", "{\"c\": [2], \"b\": 1}"), "202 json"),
        (("POST", "/a?x=1", "", "t"), "202 text"),
        (("POST", "/a?x=1", "", "<p>\n <q>1</q>\n</p>"), "202 xml"),
        (("POST", "/a?x=1", "", ""), "202 none"),
        (("POST", "/b", "", "whatever"), "202 first"),
        (
            ("PUT", "/b", "", "w"),
            r#"501 {"error":"no exchange fits this request","known":[{"method":"POST","target":"/a?x=1"},{"method":"POST","target":"/a?x=1"},{"method":"POST","target":"/a?x=1"},{"method":"POST","target":"/a?x=1"},{"method":"POST","target":"/b"},{"method":"POST","target":"/b"}],"request":{"body":"w","method":"PUT","target":"/b"}}"#,
        ),
    ] {
        check(request, &ask(&simulators, "acme-eu", request).await, expected);
    }
    assert!(simulators.environment().contains_key("ACME_EU_ENDPOINT"));
    assert_eq!(simulators.calls("acme-eu").unwrap(), 6);
    simulators.shutdown().await;
}

#[test]
fn a_stub_that_cannot_be_played_is_refused() {
    let mut broken = exchange("/a", None, "");
    broken.reply.headers.push(("a b".to_owned(), String::new()));
    let error = StubVendor::new("acme", vec![broken]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the reply to `POST /a` has a header `a b` that HTTP cannot carry"
    );
    let broken = exchange("/a", Some(ExpectedBody::Xml("<a>".to_owned())), "");
    let error = StubVendor::new("acme", vec![broken]).unwrap_err();
    assert_eq!(error.to_string(), "the expected body of `POST /a` is not an XML document");
}
