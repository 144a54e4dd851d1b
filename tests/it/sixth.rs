//! A vendor that nobody knew is added by YAML, schemas and cases alone: first an XML one with attributes and namespaces (in
//! `tests/fixtures/sixth`), then the smallest that there can be, which is also the shortest introduction to routes.yaml.

use http::StatusCode;
use serde_json::json;
use taskgate::config::case::Case;
use taskgate::config::environment::Environment;
use taskgate::config::sources::Sources;
use taskgate::simulate::{Exchange, ExpectedBody, SimulatorOptions, StubReply, StubVendor};

use super::cases;
use super::rig::{self, Rig};

fn sixth() -> Sources {
    Sources::folder(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sixth"))
}

#[test]
fn every_case_of_the_sixth_vendor_passes() {
    let played = cases::check(&sixth());
    assert!(played.len() >= 40, "{}", played.len());
    assert!(played.iter().all(|played| played.case.provider == "acme"));
}

#[test]
fn nothing_in_the_program_knows_it() {
    let routes = sixth().read("routes.yaml").unwrap();
    for part in ["@xmlns", "\"$\"", "@t:origin", "t:label"] {
        assert!(routes.contains(part), "the fixture shows `{part}`");
    }
    // The shipped routes have no such provider, and it has none of theirs.
    let table = rig::compiled(&sixth(), &Environment::default()).table;
    assert_eq!(table.providers.keys().collect::<Vec<_>>(), ["acme"]);
}

/// The vendor's side of a case, for a stub.
fn exchange(case: &Case) -> Exchange {
    let turn = case.content.vendor.first().unwrap();
    Exchange {
        method: turn.request.method.clone(),
        target: turn.request.target.clone(),
        body: turn.request.xml.clone().map(ExpectedBody::Xml),
        reply: StubReply {
            status: StatusCode::from_u16(turn.reply.status.unwrap()).unwrap(),
            headers: turn.reply.headers.clone().into_iter().collect(),
            body: turn.reply.body().into(),
        },
    }
}

#[tokio::test]
async fn it_stops_and_retries_over_real_sockets() {
    let sources = sixth();
    let cases = rig::cases(&sources);
    let of = |action: &str, name: &str| cases.iter().find(|case| case.action == action && case.name == name).unwrap();
    let played = [of("stop", "ok"), of("stop", "one_label"), of("retry", "ok"), of("retry", "steps")];
    let stub = StubVendor::new("acme", played.iter().map(|case| exchange(case)).collect()).unwrap();
    let environment = rig::case_environment(&sources, &["acme"]);
    let rig = Rig::start(SimulatorOptions::none().vendor(stub), &sources, environment).await;

    for case in played {
        let body = case.content.call.body.as_ref().map(ToString::to_string).unwrap_or_default();
        let told = rig
            .caller
            .act(&format!("acme/{}:{}", case.content.call.id, case.action), &body)
            .await;
        assert_eq!(told.status, case.content.answer.status, "{}: {told:?}", case.path);
        for (member, expected) in &case.content.answer.body {
            assert_eq!(told.json()[member], *expected, "{}: {member}", case.path);
        }
    }
    // What the stub does not know is refused by it, and no success for the caller.
    let told = rig.caller.act("acme/J-16:stop", "").await;
    assert_eq!(told.word(), "502 BAD_VENDOR_RESPONSE");
    let seen = rig.simulators.seen("acme").unwrap();
    assert_eq!(seen.len(), 5);
    for request in &seen {
        assert_eq!(request.headers["x-acme-key"], "key made-up-key");
        assert_eq!(request.headers["via"], "1.1 taskgate");
    }
    let first = String::from_utf8(seen[0].body.to_vec()).unwrap();
    assert!(
        first.contains(r#"xmlns="urn:acme:scheduler:2""#) && first.contains(r#"<job ref="J-15" urgent="false"/>"#),
        "{first}"
    );
    rig.stop().await;
}

/// The smallest routes.yaml that there can be: one JSON vendor without credentials, one action.
pub(crate) const SMALLEST: &str = r#"
version: 1
providers:
  tiny:
    title: The smallest vendor
    endpoint: ${env.TINY_ENDPOINT}
    id: { type: string }
    actions:
      stop:
        title: Stops a thing
        schema: stop.request.json
        request: { method: POST, path: "/things/${id}/stop" }
        reply:
          schema: stop.reply.json
          outcome:
            - { status: 200, is: done, state: stopped }
"#;

/// It goes with two schemas: what a caller may say (here: nothing), and what a success looks like (here: any object).
pub(crate) const SMALLEST_SCHEMAS: [(&str, &str); 2] = [
    ("stop.request.json", r#"{ "type": "object", "additionalProperties": false }"#),
    ("stop.reply.json", r#"{ "type": "object" }"#),
];

#[tokio::test]
async fn the_smallest_provider_works() {
    let sources = Sources::memory(SMALLEST_SCHEMAS.into_iter().chain([("routes.yaml", SMALLEST)]));
    let reply = |status, body: &'static str| StubReply {
        status,
        headers: Vec::new(),
        body: body.into(),
    };
    let exchange = |id: &str, reply| Exchange {
        method: "POST".to_owned(),
        target: format!("/things/{id}/stop"),
        body: None,
        reply,
    };
    let stub = StubVendor::new(
        "tiny",
        vec![
            exchange("7", reply(StatusCode::OK, "{}")),
            exchange("gone", reply(StatusCode::NOT_FOUND, r#"{"oops":1}"#)),
            exchange("odd", reply(StatusCode::OK, "[]")),
            exchange("later", reply(StatusCode::ACCEPTED, "{}")),
            exchange("busy", reply(StatusCode::CONFLICT, r#"{"oops":2}"#)),
            exchange("page", reply(StatusCode::CONFLICT, "<html></html>")),
            // An id without a pattern goes to the vendor byte by byte, escaped for its place, and nothing in it is a template.
            exchange("%7Bproject%7D", reply(StatusCode::OK, "{}")),
            exchange("%24%7Bid%7D", reply(StatusCode::OK, "{}")),
            exchange("a%252Fb%3Ac%20%C3%A9%26%3F", reply(StatusCode::OK, "{}")),
            exchange("e%CC%81", reply(StatusCode::OK, "{}")),
        ],
    )
    .unwrap();
    let rig = Rig::start(SimulatorOptions::none().vendor(stub), &sources, Environment::default()).await;
    for (id, word) in [
        ("7", "200 done"),
        ("gone", "404 TASK_NOT_FOUND"),
        ("odd", "502 BAD_VENDOR_RESPONSE"),
        // A status that no rule knows: it may well have happened.
        ("later", "502 BAD_VENDOR_RESPONSE"),
        ("busy", "409 TASK_STATE_CONFLICT"),
        // A page in place of an answer says nothing about the task.
        ("page", "502 BAD_VENDOR_RESPONSE"),
        ("other", "502 VENDOR_ERROR"),
        ("%7Bproject%7D", "200 done"),
        ("$%7Bid%7D", "200 done"),
        ("a%252Fb%3Ac%20%C3%A9%26%3F", "200 done"),
        // Composed and decomposed letters stay what they are.
        ("e%CC%81", "200 done"),
        ("%C3%A9", "502 VENDOR_ERROR"),
    ] {
        let told = rig.caller.act(&format!("tiny/{id}:stop"), "").await;
        assert_eq!(told.word(), word, "{id}: {told:?}");
    }
    let told = rig.caller.act("tiny/7:stop", "{}").await;
    assert_eq!(told.json()["vendor"], json!({ "status": 200, "request_id": null }));
    let told = rig.caller.act("tiny/7:stop", r#"{"force":true}"#).await;
    assert_eq!(told.word(), "400 INVALID_REQUEST");
    assert_eq!(told.json()["errors"][0]["pointer"], "/force", "{told:?}");
    rig.stop().await;
}
