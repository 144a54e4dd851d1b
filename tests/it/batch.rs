//! Batches over real sockets: how many requests the vendors get, and that every task is answered in its place.

use std::io::Read as _;

use flate2::read::GzDecoder;
use http::Method;
use serde_json::{Value, json};
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::simulate::{CFW_FIREWALL, CFW_TASK, DBSS_INSTANCE, PRIME_FIRST_OF_MORE, Phase, SimulatorOptions, ZSTACK_TASK};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::answers::{Seen, Told};
use super::caller::Caller;
use super::rig::Rig;
use super::shown::words;

async fn send(caller: &Caller, target: &str, headers: &[(&str, &str)], body: &Value) -> Told {
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    let told = caller.send("POST", target, &all, &body.to_string()).await;
    told.check(Seen::OnTheWire);
    told
}

/// A Prime with so many runs beside the two that it always has.
async fn with_runs(count: usize) -> Rig {
    let options = SimulatorOptions::default().set("prime", "runs", count.to_string());
    Rig::start(options, &shipped::sources(), Environment::default()).await
}

/// How many runs each of the vendor's stops was about, and how often it was asked for a look.
fn stops_and_looks(rig: &Rig) -> (Vec<usize>, usize) {
    let seen = rig.simulators.seen("prime").unwrap();
    let stops = seen.iter().filter(|seen| seen.method == Method::PUT);
    let sizes = stops.map(|stop| String::from_utf8_lossy(&stop.body).matches("<runId>").count());
    (sizes.collect(), seen.iter().filter(|seen| seen.method == Method::GET).count())
}

fn outcomes(told: &Told) -> Vec<String> {
    let document = told.json();
    let results = document["results"].as_array().unwrap();
    results
        .iter()
        .map(|result| result["outcome"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn two_hundred_runs_are_two_requests_to_prime() {
    let rig = with_runs(200).await;
    let ids: Vec<i64> = (0..200).map(|at| PRIME_FIRST_OF_MORE + at).collect();
    let told = send(&rig.caller, "/tasks/prime:batchStop", &[], &json!({ "ids": ids })).await;
    assert_eq!((told.status, stops_and_looks(&rig)), (202, (vec![100, 100], 0)));
    assert_eq!(rig.simulators.calls("prime").unwrap(), 2);
    let document = told.json();
    for (result, id) in document["results"].as_array().unwrap().iter().zip(&ids) {
        let said = (&result["id"], &result["outcome"], &result["state"]);
        assert_eq!(said, (&json!(id.to_string()), &json!("accepted"), &json!("stopping")));
        assert_eq!(result["message"], format!("Job run {id} is being cancelled."));
        assert_eq!(rig.simulators.effects("prime", &id.to_string()).unwrap(), 1);
    }
    rig.stop().await;
}

#[tokio::test]
async fn failures_stand_at_their_places_among_two_hundred() {
    let rig = with_runs(200).await;
    // Every tenth is no run, and one is no id.
    let id = |at: i64| if at % 10 == 3 { 9_000_000 + at } else { PRIME_FIRST_OF_MORE + at };
    let mut ids: Vec<Value> = (0..200).map(|at| json!(id(at))).collect();
    ids[77] = json!("0077");
    let told = send(&rig.caller, "/tasks/prime:batchStop", &[], &json!({ "ids": ids })).await;
    let (stops, looks) = stops_and_looks(&rig);
    assert_eq!(
        (told.status, stops, looks),
        (207, vec![100, 99], 20),
        "one look at each that failed"
    );
    let document = told.json();
    assert_eq!(
        document["summary"],
        json!({ "done": 0, "accepted": 179, "not_done": 21, "unknown": 0 })
    );
    let results = document["results"].as_array().unwrap();
    assert_eq!(results.len(), 200);
    for (at, (result, id)) in results.iter().zip(&ids).enumerate() {
        assert_eq!(result["id"], id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        let expected = match at {
            77 => json!("INVALID_TASK_ID"),
            at if at % 10 == 3 => json!("TASK_NOT_FOUND"),
            _ => Value::Null,
        };
        assert_eq!(result.pointer("/error/reason").unwrap_or(&Value::Null), &expected, "{result}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_lost_answer_leaves_all_of_its_request_unknown_and_no_other() {
    let rig = with_runs(150).await;
    rig.simulators.set_fault("prime", "reset,times=1".parse().unwrap()).unwrap();
    let ids: Vec<i64> = (0..150).map(|at| PRIME_FIRST_OF_MORE + at).collect();
    let told = send(&rig.caller, "/tasks/prime:batchStop", &[], &json!({ "ids": ids })).await;
    let outcomes = outcomes(&told);
    assert_eq!(stops_and_looks(&rig), (vec![100, 50], 0), "nothing is sent twice");
    // Whichever of the two came first.
    let lost = if outcomes[0] == "unknown" { 0..100 } else { 100..150 };
    for (at, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome, if lost.contains(&at) { "unknown" } else { "accepted" }, "{at}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn one_batch_goes_to_many_vendors_and_nobody_spoils_it_for_the_others() {
    let rig = Rig::shipped().await;
    let requests = json!({ "reason": "INC-4711", "requests": [
        { "task": "tasks/prime/15" },
        { "task": format!("tasks/cfw/{CFW_TASK}"), "scope": { "instance": CFW_FIREWALL } },
        { "task": format!("tasks/cfw/{}", CFW_TASK.replace('1', "2")) },
        { "task": "tasks/hss/x" },
        { "task": "tasks/nobody/1" },
        { "task": format!("tasks/zstack/{ZSTACK_TASK}"), "force": true },
        { "task": "tasks/prime/25" },
        { "task": format!("tasks/dbss/{DBSS_INSTANCE}") },
        { "task": "tasks/prime/a/b" },
    ] });
    let told = send(&rig.caller, "/tasks:batchStop", &[("x-request-id", "b-1")], &requests).await;
    let document = told.json();
    let words: Vec<String> = document["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            let word = result.pointer("/error/reason").unwrap_or(&result["outcome"]);
            word.as_str().unwrap().to_owned()
        })
        .collect();
    let expected = [
        "accepted",
        "accepted",
        "INVALID_REQUEST",
        "OPERATION_NOT_SUPPORTED",
        "UNKNOWN_PROVIDER",
        "accepted",
        "accepted",
        "accepted",
        "INVALID_TASK_ID",
    ];
    assert_eq!((told.status, words.as_slice()), (207, expected.map(str::to_owned).as_slice()));
    assert_eq!(document["results"][2]["error"]["errors"][0]["pointer"], "/scope/instance");
    assert_eq!(document["request_id"], "b-1");
    assert_eq!(stops_and_looks(&rig), (vec![2], 0), "both runs with one request");
    for (provider, task) in [
        ("prime", "15"),
        ("prime", "25"),
        ("cfw", CFW_TASK),
        ("zstack", ZSTACK_TASK),
        ("dbss", DBSS_INSTANCE),
    ] {
        assert_eq!(rig.simulators.effects(provider, task).unwrap(), 1, "{provider}");
    }
    assert_eq!(rig.simulators.calls("hss").unwrap(), 0);
    rig.stop().await;
}

#[tokio::test]
async fn what_differs_between_tasks_is_not_sent_together() {
    let rig = Rig::shipped().await;
    let requests = json!({ "requests": [
        { "task": "tasks/prime/15", "parameters": { "unknown": 1 } }, { "task": "tasks/prime/25" } ] });
    let told = send(&rig.caller, "/tasks:batchStop", &[], &requests).await;
    assert_eq!(outcomes(&told), ["not_done", "accepted"]);
    assert_eq!(stops_and_looks(&rig), (vec![1], 0));
    rig.stop().await;
}

#[tokio::test]
async fn a_batch_waits_for_all_of_its_tasks() {
    let rig = Rig::shipped().await;
    let told = send(
        &rig.caller,
        "/tasks/prime:batchStop",
        &[("prefer", "wait=20")],
        &json!({ "ids": [15, 25] }),
    )
    .await;
    assert_eq!((told.status, told.header("preference-applied")), (200, Some("wait=20")));
    assert_eq!(outcomes(&told), ["done", "done"]);
    // What has ended is told as such, and the vendor is asked once for both.
    let told = send(&rig.caller, "/tasks/prime:batchStop", &[], &json!({ "ids": [25, 15] })).await;
    let document = told.json();
    assert_eq!(told.status, 200);
    assert_eq!(
        [&document["results"][0]["already"], &document["results"][1]["already"]],
        [&json!(true); 2]
    );
    assert_eq!(stops_and_looks(&rig).0, [2, 2]);
    rig.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_not_valid_calls_nobody() {
    let rig = Rig::shipped().await;
    for (target, body, word, pointer) in [
        ("/tasks/prime:batchStop", json!({}), "400 INVALID_REQUEST", "/ids"),
        ("/tasks/prime:batchStop", json!({ "ids": [] }), "400 INVALID_REQUEST", "/ids"),
        (
            "/tasks/prime:batchStop",
            json!({ "ids": [15, null] }),
            "400 INVALID_REQUEST",
            "/ids/1",
        ),
        (
            "/tasks/prime:batchStop",
            json!({ "ids": [15, 25, 15] }),
            "400 INVALID_REQUEST",
            "/ids/2",
        ),
        (
            "/tasks/prime:batchStop",
            json!({ "ids": vec![1; 1001] }),
            "400 INVALID_REQUEST",
            "/ids",
        ),
        (
            "/tasks/prime:batchStop",
            json!({ "ids": [15], "force": true }),
            "400 INVALID_REQUEST",
            "/force",
        ),
        (
            "/tasks/cfw:batchStop",
            json!({ "ids": [CFW_TASK] }),
            "400 INVALID_REQUEST",
            "/scope/instance",
        ),
        ("/tasks/prime:batchRetry", json!({ "ids": [15] }), "404 OPERATION_NOT_SUPPORTED", ""),
        ("/tasks/prime:batchHalt", json!({ "ids": [15] }), "404 UNKNOWN_ACTION", ""),
        ("/tasks/prime:stop", json!({ "ids": [15] }), "404 UNKNOWN_PATH", ""),
        ("/tasks/nobody:batchStop", json!({ "ids": [15] }), "404 UNKNOWN_PROVIDER", ""),
        (
            "/tasks:batchHalt",
            json!({ "requests": [{ "task": "tasks/prime/15" }] }),
            "404 UNKNOWN_ACTION",
            "",
        ),
        ("/tasks:batchStop", json!({ "ids": [15] }), "400 INVALID_REQUEST", "/requests"),
        (
            "/tasks:batchStop",
            json!({ "requests": [{ "task": "prime/15" }] }),
            "400 INVALID_REQUEST",
            "/requests/0/task",
        ),
        ("/tasks/prime:batchStop?x=1", json!({ "ids": [15] }), "400 INVALID_QUERY", ""),
    ] {
        let told = send(&rig.caller, target, &[], &body).await;
        assert_eq!(
            (told.word().as_str(), told.text("/errors/0/pointer").as_str()),
            (word, pointer),
            "{target} {body}"
        );
    }
    let told = rig.caller.send("GET", "/tasks/prime:batchStop", &[], "").await;
    assert_eq!(
        (told.word().as_str(), told.header("allow")),
        ("405 METHOD_NOT_ALLOWED", Some("POST"))
    );
    for vendor in ["prime", "cfw"] {
        assert_eq!(rig.simulators.calls(vendor).unwrap(), 0);
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_undo_a_batch() {
    let rig = with_runs(30).await;
    rig.simulators.set_fault("prime", "latency:100ms".parse().unwrap()).unwrap();
    let ids: Vec<i64> = (0..30).map(|at| PRIME_FIRST_OF_MORE + at).collect();
    let body = json!({ "ids": ids }).to_string();
    let request = format!(
        "POST /tasks/prime:batchStop HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(rig.gateway.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    while rig.simulators.calls("prime").unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    let metrics = super::rig::process_metrics();
    let counted = r#"taskgate_batch_items_total{provider="prime",action="stop",outcome="accepted",reason="none"} "#;
    while !metrics.render().contains(counted) {
        tokio::task::yield_now().await;
    }
    for id in ids {
        assert_eq!(rig.simulators.effects("prime", &id.to_string()).unwrap(), 1);
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_batch_is_a_post() {
    let rig = Rig::shipped().await;
    for target in ["/tasks/prime:batchStop", "/tasks:batchStop", "/tasks/nobody:batchHalt"] {
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let told = rig.caller.send(method, target, &[], "").await;
            assert_eq!((told.status, told.header("allow")), (405, Some("POST")), "{method} {target}");
            match method {
                "HEAD" => assert!(told.body.is_empty()),
                _ => assert_eq!(told.word(), "405 METHOD_NOT_ALLOWED"),
            }
        }
    }
    assert_eq!(rig.simulators.calls("prime").unwrap(), 0);
    rig.stop().await;
}

#[tokio::test]
async fn a_thousand_tasks_are_taken_and_one_more_is_not() {
    let rig = with_runs(1000).await;
    let ids = |count: i64| (0..count).map(|at| PRIME_FIRST_OF_MORE + at);
    let of_one = json!({ "ids": ids(1001).collect::<Vec<_>>() });
    let any = |count| json!({ "requests": ids(count).map(|id| json!({ "task": format!("tasks/prime/{id}") })).collect::<Vec<_>>() });
    for (target, body, pointer) in [
        ("/tasks/prime:batchStop", of_one, "/ids"),
        ("/tasks:batchStop", any(1001), "/requests"),
    ] {
        let told = send(&rig.caller, target, &[], &body).await;
        assert_eq!(
            (told.word().as_str(), told.text("/errors/0/pointer").as_str()),
            ("400 INVALID_REQUEST", pointer)
        );
    }
    assert_eq!(rig.simulators.calls("prime").unwrap(), 0);
    let told = send(&rig.caller, "/tasks:batchStop", &[], &any(1000)).await;
    assert_eq!((told.status, stops_and_looks(&rig)), (202, (vec![100; 10], 0)));
    for id in ids(1000) {
        assert_eq!(rig.simulators.effects("prime", &id.to_string()).unwrap(), 1);
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_task_in_another_spelling_is_another_name_and_never_sent_twice() {
    let rig = Rig::shipped().await;
    // A name is plain text: what stands for `1` in a path is no `1` here, and no run of this vendor.
    let tasks = [
        "prime/15",
        "prime/%31%35",
        "prime/015",
        "prime/+15",
        "prime/15.0",
        "prime/１５",
        "Prime/15",
        "prime/25",
    ];
    let requests: Vec<Value> = tasks.iter().map(|task| json!({ "task": format!("tasks/{task}") })).collect();
    let told = send(&rig.caller, "/tasks:batchStop", &[], &json!({ "requests": requests })).await;
    let document = told.json();
    let no_run = "INVALID_TASK_ID";
    assert_eq!(
        words(&told),
        ["accepted", no_run, no_run, no_run, no_run, no_run, "UNKNOWN_PROVIDER", "accepted"]
    );
    assert_eq!(document["results"][1]["task"], "tasks/prime/%31%35", "as the caller wrote it");
    assert_eq!(document["results"][1]["error"]["instance"], "/tasks/prime/%2531%2535:stop");
    assert_eq!(stops_and_looks(&rig), (vec![2], 0));
    assert_eq!(rig.simulators.effects("prime", "15").unwrap(), 1);
    // One spelling twice is the task twice, and so are a number and its digits.
    for body in [
        json!({ "requests": [{ "task": "tasks/prime/15" }, { "task": "tasks/prime/15" }] }),
        json!({ "requests": [{ "task": "tasks/prime/15" }, { "task": "tasks/prime/15", "scope": {} }] }),
    ] {
        let told = send(&rig.caller, "/tasks:batchStop", &[], &body).await;
        assert_eq!(
            (told.word().as_str(), told.text("/errors/0/pointer").as_str()),
            ("400 INVALID_REQUEST", "/requests/1/task")
        );
    }
    let told = send(&rig.caller, "/tasks/prime:batchStop", &[], &json!({ "ids": ["15", 15] })).await;
    assert_eq!((told.status, stops_and_looks(&rig).0.len()), (400, 1));
    rig.stop().await;
}

#[tokio::test]
async fn an_answer_about_many_is_packed_for_those_who_ask() {
    let rig = with_runs(20).await;
    let ids: Vec<i64> = (0..20).map(|at| PRIME_FIRST_OF_MORE + at).collect();
    let target = "/tasks/prime:batchStop";
    let headers = [
        ("content-type", "application/json"),
        ("accept-encoding", "gzip"),
        ("x-request-id", "packed-1"),
    ];
    let packed = rig.caller.send("POST", target, &headers, &json!({ "ids": ids }).to_string()).await;
    assert_eq!(
        (packed.status, packed.header("content-encoding"), packed.header("vary")),
        (202, Some("gzip"), Some("accept-encoding"))
    );
    let mut body = Vec::new();
    GzDecoder::new(&*packed.body).read_to_end(&mut body).unwrap();
    assert!(packed.body.len() * 2 < body.len(), "{} {}", packed.body.len(), body.len());
    let told = Told {
        body: body.into(),
        ..packed
    };
    told.check(Seen::OnTheWire);
    assert_eq!(outcomes(&told), ["accepted"; 20]);
    // Decided from the head, before anything is sent.
    let before = rig.simulators.calls("prime").unwrap();
    for refused in [("accept", "text/html"), ("accept-encoding", "identity;q=0")] {
        let told = send(&rig.caller, target, &[refused], &json!({ "ids": [15] })).await;
        assert_eq!(told.word(), "406 NOT_ACCEPTABLE");
    }
    assert_eq!(rig.simulators.calls("prime").unwrap(), before);
    rig.stop().await;
}

#[tokio::test]
async fn what_was_preferred_of_a_batch_is_said_where_it_was_followed() {
    let rig = Rig::shipped().await;
    let target = "/tasks/prime:batchStop";
    for (prefer, ids, status, applied) in [
        ("respond-async", json!([15]), 202, Some("respond-async")),
        // One did not succeed: this is no 202.
        ("respond-async", json!([15, 99]), 207, None),
        ("respond-async, wait=20", json!([25]), 200, Some("wait=20")),
        ("wait=0", json!([25]), 200, Some("wait=0")),
        ("return=minimal, wait=x", json!([25]), 200, None),
    ] {
        let told = send(&rig.caller, target, &[("prefer", prefer)], &json!({ "ids": ids })).await;
        assert_eq!(
            (told.status, told.header("preference-applied")),
            (status, applied),
            "{prefer} {ids}"
        );
    }
    rig.stop().await;
}

#[tokio::test]
async fn each_accepted_task_of_a_batch_can_be_asked_for() {
    let rig = Rig::shipped().await;
    let told = send(&rig.caller, "/tasks/prime:batchStop", &[], &json!({ "ids": [15, 99, 25] })).await;
    assert_eq!(told.status, 207);
    let names = [0, 1, 2].map(|at| told.text(&format!("/results/{at}/operation")));
    assert_eq!((names[1].as_str(), names[0] == names[2]), ("null", false));
    for (name, id) in [(&names[0], "15"), (&names[2], "25")] {
        assert!(rig.simulators.place("prime", id, Phase::Settled).unwrap());
        let found = rig.caller.get(&format!("/{name}")).await;
        found.check(Seen::OnTheWire);
        assert_eq!((found.word().as_str(), found.text("/id").as_str()), ("200 done", id));
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_key_makes_a_batch_one_at_the_vendor() {
    let rig = with_runs(150).await;
    let ids: Vec<i64> = (0..150).map(|at| PRIME_FIRST_OF_MORE + at).collect();
    let keyed = [("idempotency-key", "\"INC-4711\"")];
    let body = json!({ "ids": ids });
    let first = send(&rig.caller, "/tasks/prime:batchStop", &keyed, &body).await;
    let again = send(&rig.caller, "/tasks/prime:batchStop", &keyed, &body).await;
    assert_eq!((first.status, again.status, &again.body), (202, 202, &first.body));
    assert_eq!(
        (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
        (None, Some("true"))
    );
    assert_eq!(stops_and_looks(&rig), (vec![100, 50], 0));
    for id in ids {
        assert_eq!(rig.simulators.effects("prime", &id.to_string()).unwrap(), 1);
    }
    let other = send(&rig.caller, "/tasks/prime:batchStop", &keyed, &json!({ "ids": [15] })).await;
    assert_eq!(
        (other.word().as_str(), stops_and_looks(&rig).0.len()),
        ("422 IDEMPOTENCY_KEY_REUSED", 2)
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_batch_with_a_key_is_made_once() {
    let rig = with_runs(3).await;
    let target = "/tasks/prime:batchStop";
    let [first, second, third] = [0, 1, 2].map(|at| PRIME_FIRST_OF_MORE + at);
    let keyed = |key: &'static str, ids: Value| {
        let caller = rig.caller.clone();
        async move { send(&caller, target, &[("idempotency-key", key)], &json!({ "ids": ids })).await }
    };
    // One that is known, one that nobody knows as its answer is lost.
    for (key, run, fault) in [("\"k-1\"", first, None), ("\"k-2\"", second, Some("cut,times=1"))] {
        if let Some(fault) = fault {
            rig.simulators.set_fault("prime", fault.parse().unwrap()).unwrap();
        }
        let ids = json!([run, 9_000_001]);
        let told = keyed(key, ids.clone()).await;
        assert_eq!((told.status, told.header("idempotency-replayed")), (207, None), "{told:?}");
        let calls = rig.simulators.calls("prime").unwrap();
        let again = keyed(key, ids).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (207, Some("true")));
        assert_eq!((again.json(), rig.simulators.calls("prime").unwrap()), (told.json(), calls));
        assert_eq!(rig.simulators.effects("prime", &run.to_string()).unwrap(), 1);
    }
    assert_eq!(keyed("\"k-1\"", json!([first, second])).await.word(), "422 IDEMPOTENCY_KEY_REUSED");
    // What was not valid, or held no task that could be sent, leaves the key free.
    assert_eq!(keyed("\"k-3\"", json!([])).await.word(), "400 INVALID_REQUEST");
    assert_eq!(outcomes(&keyed("\"k-3\"", json!(["no id"])).await), ["not_done"]);
    assert_eq!(outcomes(&keyed("\"k-3\"", json!([third])).await), ["accepted"]);
    rig.stop().await;
}
