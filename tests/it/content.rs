//! Forms of answers, traces, limits and calls that are only shown, against the running gateway.

use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use taskgate::config::environment::Environment;
use taskgate::simulate::{HSS_TASK, SimulatorOptions, Simulators, ZSTACK_TASK};

use super::answers::{Seen, Told};
use super::caller::Caller;
use super::rig::{self, Everyday, Rig, VENDORS, everyday};

const STOP: &str = "/tasks/prime/15:stop";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn calls(simulators: &Simulators) -> u64 {
    VENDORS.iter().map(|vendor| simulators.calls(vendor).unwrap()).sum()
}

/// What each provider's gate has counted.
async fn counted(admin: &Caller) -> Vec<Value> {
    let status = admin.get("/status").await.json();
    let providers = status["providers"].as_array().unwrap();
    let of_one = |provider: &Value| {
        let health = &provider["health"];
        json!([
            provider["name"],
            health["rates"],
            health["calls_last_minute"],
            health["last_answered_at"],
            health["last_failed_at"]
        ])
    };
    providers.iter().map(of_one).collect()
}

/// The answer as it was before its coding.
fn unpacked(told: &Told) -> Told {
    let mut body = Vec::new();
    GzDecoder::new(&*told.body).read_to_end(&mut body).unwrap();
    Told {
        body: body.into(),
        ..told.clone()
    }
}

#[tokio::test]
async fn what_nobody_would_take_is_not_begun() {
    let rig = Rig::shipped().await;
    for (name, value, header) in [
        ("accept", "text/html", "accept"),
        ("accept", "application/json;q=0", "accept"),
        ("accept", "text/html, application/problem+json", "accept"),
        ("accept-encoding", "identity;q=0", "accept-encoding"),
        ("accept-encoding", "br, *;q=0", "accept-encoding"),
    ] {
        for (method, path) in [("POST", STOP), ("GET", "/tasks/prime/15")] {
            let told = rig.caller.send(method, path, &[(name, value)], "").await;
            told.check(Seen::OnTheWire);
            assert_eq!(told.word(), "406 NOT_ACCEPTABLE", "{value}");
            assert_eq!(
                (told.text("/metadata/header"), told.header("content-encoding")),
                (header.to_owned(), None)
            );
        }
    }
    assert_eq!(calls(&rig.simulators), 0);
    for accept in ["*/*", "text/html, */*;q=0.1", "application/*", "json", ""] {
        let told = rig.caller.send("GET", "/tasks/prime/15", &[("accept", accept)], "").await;
        told.check(Seen::OnTheWire);
        assert_eq!(told.word(), "200 done", "{accept}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn long_answers_are_packed_for_those_who_ask() {
    let rig = Rig::shipped().await;
    let long = format!("/tasks/{}?validate_only=true", everyday()[4].task());
    for (path, encoding, packed, varies) in [
        (long.as_str(), Some("gzip, br"), true, true),
        (&long, Some("gzip, identity;q=0"), true, true),
        (&long, Some("identity"), false, true),
        (&long, None, false, true),
        (STOP, Some("gzip"), false, false),
        ("/nothing", Some("gzip"), false, false),
        ("/nothing", Some("gzip, identity;q=0"), true, true),
    ] {
        let headers: Vec<_> = encoding.iter().map(|coding| ("accept-encoding", *coding)).collect();
        let told = rig.caller.send("POST", path, &headers, "").await;
        assert_eq!(told.header("content-encoding").is_some(), packed, "{path} {encoding:?}");
        assert_eq!(told.header("vary").is_some(), varies, "{path} {encoding:?}");
        let length: usize = told.header("content-length").unwrap().parse().unwrap();
        assert_eq!(length, told.body.len());
        let told = if packed { unpacked(&told) } else { told };
        told.check(Seen::OnTheWire);
        assert!(told.body.len() > 1024 || path != long);
    }
    let looked = rig
        .caller
        .send("HEAD", "/nothing", &[("accept-encoding", "gzip, identity;q=0")], "")
        .await;
    assert_eq!((looked.header("content-encoding"), looked.body.len()), (Some("gzip"), 0));
    rig.stop().await;
}

#[tokio::test]
async fn a_call_that_is_only_checked_is_shown_and_not_made() {
    let rig = Rig::shipped().await;
    let admin = Caller::new(rig.gateway.admin_address().unwrap());
    let before = counted(&admin).await;
    for Everyday {
        provider,
        id,
        action,
        body,
        ..
    } in everyday()
    {
        let path = format!("{provider}/{id}:{action}?validate_only=true");
        // More often than any limit would let calls go.
        for _ in 0..8 {
            let told = rig.caller.act(&path, &body).await;
            let document = told.json();
            assert_eq!(
                (told.word().as_str(), &document["validate_only"]),
                ("200 not_done", &json!(true)),
                "{document}"
            );
            assert_eq!((told.header("via"), document.get("vendor")), (None, None));
            let request = document["request"].to_string();
            assert!(request.contains("********"), "{request}");
        }
        assert_eq!(rig.simulators.effects(provider, id).unwrap(), 0);
    }
    assert_eq!(calls(&rig.simulators), 0);
    assert_eq!(counted(&admin).await, before, "nothing was counted");
    // As it is without the parameter.
    let told = rig.caller.act("prime/15:stop?validate_only=false", "").await;
    assert_eq!((told.word().as_str(), calls(&rig.simulators)), ("202 accepted", 1));
    rig.stop().await;
}

#[tokio::test]
async fn a_preview_says_what_would_be_sent_and_which_rules_apply() {
    let rig = Rig::shipped().await;
    let document = rig.caller.act("prime/15:stop?validate_only=true", "").await.json();
    let endpoints = rig.simulators.endpoints();
    let url = document["request"]["url"].as_str().unwrap();
    assert!(url.starts_with(&endpoints["prime"]), "{url} {endpoints:?}");
    assert_eq!(
        (&document["request"]["method"], &document["task"]),
        (&json!("PUT"), &json!("tasks/prime/15"))
    );
    assert_eq!(document["request"]["headers"]["authorization"], "********");
    assert!(document["request"]["body"].as_str().unwrap().contains("15"));
    assert_eq!(document["rules"]["limits"]["in_flight"], 5);
    let retry = format!("hss/{HSS_TASK}:retry?validate_only=true");
    let document = rig.caller.act(&retry, &everyday()[2].body).await.json();
    let rates = &document["rules"]["limits"]["rates"];
    assert!(rates.as_array().is_some_and(|rates| !rates.is_empty()), "{document}");
    let zstack = &everyday()[4];
    let document = rig.caller.act(&format!("{}?validate_only=true", zstack.task()), "").await.json();
    assert_eq!(
        (&document["rules"]["look_before"], &document["rules"]["follows"]),
        (&json!(true), &json!(["job", "task"]))
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_check_fails_as_the_call_would() {
    let rig = Rig::start(SimulatorOptions::default(), &rig::shipped_with(&[]), Environment::default()).await;
    for (task, body, word) in [
        ("nobody/15:stop", "", "404 UNKNOWN_PROVIDER"),
        ("prime/15:halt", "", "404 UNKNOWN_ACTION"),
        ("prime/15:retry", "", "404 OPERATION_NOT_SUPPORTED"),
        ("prime/x:stop", "", "400 INVALID_TASK_ID"),
        ("prime/15:stop", r#"{"surprise":1}"#, "400 INVALID_REQUEST"),
        ("prime/15:stop", "{", "400 MALFORMED_BODY"),
    ] {
        let live = rig.caller.act(task, body).await;
        let checked = rig.caller.act(&format!("{task}?validate_only=true"), body).await;
        let (mut live, mut other) = (live.json(), checked.json());
        (live["request_id"], other["request_id"]) = (Value::Null, Value::Null);
        assert_eq!((checked.word().as_str(), other), (word, live), "{task}");
    }
    for query in [
        "validate_only=1",
        "validate_only",
        "validate_only=true&validate_only=true",
        "validate_only=true&x=1",
        "validate_only=TRUE",
    ] {
        let told = rig.caller.act(&format!("prime/15:stop?{query}"), "").await;
        assert_eq!(told.word(), "400 INVALID_QUERY", "{query}");
    }
    assert_eq!(calls(&rig.simulators), 0);
    rig.stop().await;

    // Not configured.
    let compiled = rig::compiled(&rig::shipped_with(&[]), &Environment::default());
    let gateway = rig::start_gateway(&compiled).await;
    let told = Caller::new(gateway.address()).act("prime/15:stop?validate_only=true", "").await;
    assert_eq!(told.word(), "503 PROVIDER_NOT_CONFIGURED");
    gateway.stop().await;
}

#[tokio::test]
async fn vendors_are_told_of_traces_where_the_routes_say_so() {
    let told_of = (
        "    title: Cisco Prime Infrastructure job run instances\n",
        "    title: Cisco Prime Infrastructure job run instances\n    trace: true\n",
    );
    for traced in [false, true] {
        let changes = if traced { vec![told_of] } else { Vec::new() };
        let rig = Rig::start(SimulatorOptions::default(), &rig::shipped_with(&changes), Environment::default()).await;
        let vendor = |name: &str| {
            let seen = rig.simulators.seen("prime").unwrap();
            let value = seen.last().unwrap().headers.get(name).cloned();
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let headers = [("traceparent", PARENT), ("tracestate", "a=1, b=2")];
        rig.caller.send("POST", STOP, &headers, "").await.check(Seen::OnTheWire);
        match (vendor("traceparent"), vendor("tracestate")) {
            (Some(parent), Some(state)) if traced => {
                let parts: Vec<&str> = parent.split('-').collect();
                assert_eq!((parts[0], parts[1], parts[3]), ("00", "0af7651916cd43dd8448eb211c80319c", "01"));
                assert!(
                    parts[2] != "b7ad6b7169203331" && parts[2].len() == 16,
                    "a span of our own: {parent}"
                );
                assert_eq!(state, "a=1,b=2");
            }
            found => assert!(found == (None, None) && !traced, "{found:?}"),
        }
        // What is not valid begins a new trace.
        let broken = [("traceparent", &PARENT.to_uppercase()[..]), ("tracestate", "a=1")];
        rig.caller.send("POST", "/tasks/prime/25:stop", &broken, "").await;
        let parent = vendor("traceparent");
        assert_eq!(parent.is_some(), traced);
        assert!(!parent.unwrap_or_default().contains("0af7651916cd43dd") && vendor("tracestate").is_none());
        rig.stop().await;
    }
}

/// The parameters of the one member of a list.
fn parameter(header: &str, name: &str) -> u64 {
    let value = header.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no `{name}` in {header}")).parse().unwrap()
}

#[tokio::test]
async fn callers_are_told_what_is_left_of_a_limit() {
    // Nobody waits for a turn.
    let now = ("{ rate: 3/m, burst: 3 }", "{ rate: 3/m, burst: 2 }");
    let rig = Rig::start(SimulatorOptions::default(), &rig::shipped_with(&[now]), Environment::default()).await;
    let call = &everyday()[2];
    let mut left = Vec::new();
    let refused = loop {
        let told = rig.caller.act(&call.task(), &call.body).await;
        let (policy, limit) = (told.header("ratelimit-policy").unwrap(), told.header("ratelimit").unwrap());
        assert!(policy.starts_with('"') && policy.contains(";q=3;w=60"), "{policy}");
        if told.status == 503 {
            break told;
        }
        assert_eq!(told.header("via"), Some("1.1 taskgate"), "a vendor's answer led to it");
        left.push(parameter(limit, "r"));
        assert!(left.len() < 5, "{left:?}");
    };
    assert_eq!(refused.word(), "503 PROVIDER_RATE_LIMITED");
    assert_eq!(left, [1, 0]);
    let limit = refused.header("ratelimit").unwrap();
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(parameter(limit, "r"), 0);
    assert!(
        (1..=20).contains(&parameter(limit, "t")) && after >= parameter(limit, "t"),
        "{limit} {after}"
    );
    assert_eq!(refused.header("via"), None, "no vendor was asked");
    // No limit of a rate there.
    let told = rig.caller.act("prime/15:stop", "").await;
    assert_eq!((told.header("ratelimit"), told.header("ratelimit-policy")), (None, None));
    rig.stop().await;
}

/// The headers of traces in each request that a vendor got.
fn traces(simulators: &Simulators, vendor: &str) -> Vec<(Option<String>, Option<String>)> {
    let seen = simulators.seen(vendor).unwrap();
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let of_one = |headers: &http::HeaderMap| (headers.get("traceparent").map(text), headers.get("tracestate").map(text));
    seen.iter().map(|seen| of_one(&seen.headers)).collect()
}

/// The shipped routes, and `prime` is told of traces.
async fn traced() -> Rig {
    let title = "    title: Cisco Prime Infrastructure job run instances\n";
    let told_of = format!("{title}    trace: true\n");
    Rig::start(
        SimulatorOptions::default(),
        &rig::shipped_with(&[(title, &told_of)]),
        Environment::default(),
    )
    .await
}

#[tokio::test]
async fn a_traceparent_goes_on_or_is_begun_anew_by_one_table() {
    const STATE: &str = "a=1,b=2";
    let rig = traced().await;
    let with = |from: &str, to: &str| PARENT.replace(from, to);
    // What the caller sends, the flags that go on with its trace, and whether its state does.
    for (parents, states, goes_on) in [
        (vec![PARENT.to_owned()], vec!["a=1 , b=2"], Some(("01", Some(STATE)))),
        (vec![PARENT.to_owned()], vec!["a=1", "b=2"], Some(("01", Some(STATE)))),
        (vec![PARENT.to_owned()], vec!["a=1,", ",b=2"], Some(("01", Some(STATE)))),
        (vec![PARENT.to_owned()], vec![], Some(("01", None))),
        (vec![PARENT.to_owned()], vec!["a=1,a=2"], Some(("01", None))),
        (vec![PARENT.to_owned()], vec!["a=1,B=2"], Some(("01", None))),
        (vec![PARENT.to_owned()], vec!["a"], Some(("01", None))),
        (vec![with("-01", "-00")], vec![STATE], Some(("00", Some(STATE)))),
        (vec![with("-01", "-03")], vec![STATE], Some(("03", Some(STATE)))),
        // Flags that nobody knows are not ours to set.
        (vec![with("-01", "-ff")], vec![STATE], Some(("03", Some(STATE)))),
        // A version to come, as far as this one goes.
        (vec![PARENT.replacen("00", "01", 1)], vec![STATE], Some(("01", Some(STATE)))),
        (
            vec![format!("{}-more", PARENT.replacen("00", "cc", 1))],
            vec![STATE],
            Some(("01", Some(STATE))),
        ),
        (vec![PARENT.replacen("00", "ff", 1)], vec![STATE], None),
        (vec![format!("{PARENT}-more")], vec![STATE], None),
        (vec![format!("{}more", PARENT.replacen("00", "cc", 1))], vec![STATE], None),
        (vec![PARENT.to_uppercase()], vec![STATE], None),
        (vec![with("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32))], vec![STATE], None),
        (vec![with("b7ad6b7169203331", &"0".repeat(16))], vec![STATE], None),
        (vec![with("b7ad6b7169203331", "b7ad6b716920333")], vec![STATE], None),
        (vec![with("-01", "-1")], vec![STATE], None),
        (vec![with("-01", "")], vec![STATE], None),
        (vec![with("-", "_")], vec![STATE], None),
        (vec![with("0af7", "0ag7")], vec![STATE], None),
        (vec![PARENT.to_owned(), PARENT.to_owned()], vec![STATE], None),
        (vec![format!("{PARENT}, {PARENT}")], vec![STATE], None),
        (vec![String::new()], vec![STATE], None),
        (vec![], vec![STATE], None),
    ] {
        let parents = parents.iter().map(|parent| ("traceparent", parent.as_str()));
        let headers: Vec<(&str, &str)> = parents.chain(states.iter().map(|state| ("tracestate", *state))).collect();
        let told = rig.caller.send("GET", "/tasks/prime/15", &headers, "").await;
        told.check(Seen::OnTheWire);
        assert_eq!((told.word().as_str(), told.header("traceparent")), ("200 done", None));
        let (parent, state) = traces(&rig.simulators, "prime").pop().unwrap();
        let parent = parent.unwrap();
        let [version, id, span, flags] = parent.split('-').collect::<Vec<_>>()[..] else {
            panic!("{parent}")
        };
        let is_hex = |text: &str, length| text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        assert!(version == "00" && is_hex(id, 32) && is_hex(span, 16), "{parent}");
        assert!(
            id.bytes().any(|b| b != b'0') && span.bytes().any(|b| b != b'0') && span != "b7ad6b7169203331",
            "{parent}"
        );
        let is_callers = id == "0af7651916cd43dd8448eb211c80319c";
        match goes_on {
            Some((expected, going)) => assert_eq!((is_callers, flags, state.as_deref()), (true, expected, going), "{headers:?}"),
            // Nobody has recorded a trace that begins here; its id is chance.
            None => assert_eq!((is_callers, flags, state), (false, "02", None), "{headers:?}"),
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_batch_is_one_span_of_the_callers_trace() {
    let rig = traced().await;
    let requests = json!({ "requests": [
        { "task": "tasks/prime/15" },
        { "task": "tasks/prime/25" },
        { "task": format!("tasks/zstack/{ZSTACK_TASK}") },
        // Not shared with the others, and not found: looked at afterwards.
        { "task": "tasks/prime/99", "parameters": {} },
    ] })
    .to_string();
    let headers = [
        ("content-type", "application/json"),
        ("prefer", "wait=20"),
        ("traceparent", PARENT),
        ("tracestate", "a=1"),
    ];
    let told = rig.caller.send("POST", "/tasks:batchStop", &headers, &requests).await;
    told.check(Seen::OnTheWire);
    assert_eq!((told.status, told.header("traceparent")), (207, None), "{told:?}");
    let seen = traces(&rig.simulators, "prime");
    assert!(
        seen.len() > 3,
        "stops, a look at the one that failed, and looks while waiting: {seen:?}"
    );
    let parent = seen[0].0.clone().unwrap();
    assert!(
        parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && parent.ends_with("-01") && parent != PARENT,
        "{parent}"
    );
    assert!(
        seen.iter().all(|one| *one == (Some(parent.clone()), Some("a=1".to_owned()))),
        "{seen:?}"
    );
    assert!(traces(&rig.simulators, "zstack").iter().all(|one| *one == (None, None)));
    // Another batch is another span.
    let headers = [("content-type", "application/json"), ("traceparent", PARENT)];
    rig.caller.send("POST", "/tasks/prime:batchStop", &headers, "{\"ids\":[15]}").await;
    let (other, state) = traces(&rig.simulators, "prime").pop().unwrap();
    assert!(other.is_some_and(|other| other != parent && other.starts_with(&parent[..36])) && state.is_none());
    rig.stop().await;
}
