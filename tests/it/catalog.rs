//! The pages of the catalog, from the running gateway: what it says of itself, and that no vendor is asked for it.

use serde_json::{Value, json};
use taskgate::catalog::openapi;
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::model::reason::Reason;

use super::answers::{Seen, Told};
use super::caller::Caller;
use super::rig::{Rig, compiled, start_gateway};

fn json_of(told: &Told) -> Value {
    serde_json::from_slice(&told.body).unwrap()
}

#[track_caller]
fn header<'t>(told: &'t Told, name: &str) -> &'t str {
    told.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn what_can_be_called_is_told() {
    let rig = Rig::shipped().await;
    let list = json_of(&rig.caller.get("/providers").await);
    let entries = list["providers"].as_array().unwrap();
    assert!(entries.len() >= 5, "{list}");
    for entry in entries {
        assert_eq!(entry["configured"], true, "{entry}");
        let told = rig.caller.get(entry["url"].as_str().unwrap()).await;
        assert_eq!((told.status, header(&told, "content-type")), (200, "application/json"));
        let one = json_of(&told);
        assert_eq!(one["name"], entry["name"]);
        assert_eq!(one["task"].is_object(), entry["task"] == true, "{one}");
        let links = one["actions"]
            .as_array()
            .unwrap()
            .iter()
            .chain(one["task"].is_object().then_some(&one["task"]));
        for link in links {
            let schema = rig.caller.get(link["schema"].as_str().unwrap()).await;
            assert_eq!(
                (schema.status, header(&schema, "content-type")),
                (200, "application/schema+json"),
                "{link}"
            );
            let schema = json_of(&schema);
            assert_eq!(schema["additionalProperties"], false, "{link}");
            assert!(!schema.to_string().contains("$ref"), "{link}");
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn health_is_as_last_seen() {
    let rig = Rig::shipped().await;
    let state = async || json_of(&rig.caller.get("/providers/prime").await)["health"].clone();
    assert_eq!(
        state().await,
        json!({ "state": "unknown", "last_answered_at": null, "last_failed_at": null })
    );
    rig.caller.act("prime/15:stop", "").await;
    let after = state().await;
    assert_eq!(after["state"], "answering");
    assert!(after["last_answered_at"].is_string(), "{after}");
    rig.stop().await;
}

#[tokio::test]
async fn what_is_not_configured_says_what_is_missing_and_no_value() {
    let secret = "a-password-that-opens-nothing";
    let environment: Environment = [
        ("PRIME_PASSWORD".to_owned(), secret.to_owned()),
        ("PRIME_USER".to_owned(), "somebody".to_owned()),
    ]
    .into_iter()
    .collect();
    let gateway = start_gateway(&compiled(&shipped::sources(), &environment)).await;
    let caller = Caller::new(gateway.address());
    let told = caller.get("/providers/prime").await;
    let one = json_of(&told);
    assert_eq!((&one["configured"], &one["missing"]), (&json!(false), &json!(["PRIME_ENDPOINT"])));
    let mut said = String::from_utf8(told.body.to_vec()).unwrap();
    for path in ["/providers", "/openapi.json", "/providers/cfw"] {
        said.push_str(std::str::from_utf8(&caller.get(path).await.body).unwrap());
    }
    assert!(!said.contains(secret) && !said.contains("somebody"));
    drop(caller);
    gateway.stop().await;
}

#[tokio::test]
async fn every_kind_of_problem_has_its_page() {
    let rig = Rig::shipped().await;
    for reason in Reason::ALL {
        let path = format!("/problems/{}", reason.slug());
        let page = rig.caller.get(&path).await;
        assert_eq!(
            (page.status, header(&page, "content-type")),
            (200, "text/html; charset=utf-8"),
            "{path}"
        );
        assert!(header(&page, "content-security-policy").contains("default-src 'none'"), "{path}");
        let document = rig.caller.send("GET", &path, &[("accept", "application/json")], "").await;
        let document = json_of(&document);
        assert_eq!(document["reason"], reason.code());
        assert!(document["advice"].as_str().unwrap().len() > 20, "{document}");
    }
    rig.stop().await;
}

/// What one gets from an error leads to its page.
#[tokio::test]
async fn the_type_of_a_problem_names_its_page() {
    let rig = Rig::shipped().await;
    let told = rig.caller.act("prime/abc:stop", "").await;
    let kind = json_of(&told)["type"].as_str().unwrap().to_owned();
    let slug = kind.strip_prefix("urn:taskgate:problem:").unwrap();
    let page = rig.caller.get(&format!("/problems/{slug}")).await;
    assert!(String::from_utf8(page.body.to_vec()).unwrap().contains("INVALID_TASK_ID"));
    rig.stop().await;
}

#[tokio::test]
async fn pages_are_kept_and_asked_for_again() {
    let rig = Rig::shipped().await;
    for path in [
        "/openapi.json",
        "/providers",
        "/providers/prime",
        "/schemas/prime/stop.json",
        "/problems",
        "/docs",
        "/docs/swagger-ui.js",
    ] {
        let first = rig.caller.get(path).await;
        assert_eq!((first.status, header(&first, "cache-control")), (200, "no-cache"), "{path}");
        assert!(header(&first, "x-request-id").len() == 36, "{path}");
        let tag = header(&first, "etag").to_owned();
        let again = rig.caller.send("GET", path, &[("if-none-match", &tag)], "").await;
        assert_eq!(
            (again.status, again.body.len(), header(&again, "etag")),
            (304, 0, tag.as_str()),
            "{path}"
        );
        let head = rig.caller.send("HEAD", path, &[], "").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(header(&head, "content-length"), first.body.len().to_string(), "{path}");
        assert_eq!(header(&head, "etag"), tag, "{path}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_as_everywhere() {
    let rig = Rig::shipped().await;
    for (method, path, status, reason) in [
        ("GET", "/providers/nobody", 404, "UNKNOWN_PROVIDER"),
        ("GET", "/schemas/prime/retry.json", 404, "OPERATION_NOT_SUPPORTED"),
        ("GET", "/problems/nothing", 404, "UNKNOWN_PATH"),
        ("GET", "/docs/", 404, "UNKNOWN_PATH"),
        ("POST", "/providers", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/openapi.json", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/openapi.json?pretty=1", 400, "INVALID_QUERY"),
        ("FOO", "/docs", 501, "METHOD_NOT_IMPLEMENTED"),
    ] {
        let told = rig.caller.send(method, path, &[], "").await;
        told.check(Seen::OnTheWire);
        let problem = json_of(&told);
        assert_eq!(
            (told.status, problem["reason"].as_str().unwrap()),
            (status, reason),
            "{method} {path}"
        );
        assert_eq!(problem["instance"], path.split('?').next().unwrap());
        assert_eq!(
            header(&told, "allow"),
            if status == 405 { "GET, HEAD" } else { "" },
            "{method} {path}"
        );
    }
    let told = rig.caller.send("GET", "/providers", &[], "{}").await;
    assert_eq!((told.status, json_of(&told)["reason"].as_str()), (400, Some("MALFORMED_BODY")));
    rig.stop().await;
}

/// The description in the repository is the one that the program makes: a change of the interface shows in review.
#[test]
fn the_description_in_the_repository_is_up_to_date() {
    let sources = shipped::sources();
    let compiled = compiled(&sources, &Environment::default()).with_examples(&sources);
    let made = openapi::print(&compiled.table);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let known = std::fs::read_to_string(path).unwrap_or_default();
    if known != made {
        let lines = known.lines().zip(made.lines()).take_while(|(known, made)| known == made).count() + 1;
        panic!(
            "docs/openapi.json differs from line {lines} on; if the interface was meant to change: cargo run -- openapi > docs/openapi.json"
        );
    }
}
