//! Accepted actions that are asked for later, over a vendor that says what the test wants; the clock is paused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use taskgate::config::shipped;
use taskgate::layer::resume::Operations;
use taskgate::layer::{Aim, Exchange, Outbound};
use taskgate::model::call::UpstreamReply;
use taskgate::model::error::GatewayError;
use taskgate::operation::{Accepted, DEFAULT_LIFETIME, Operation, OperationKeys};
use taskgate::stack::{self, Gateway, StackLimits};
use tower::service_fn;

use super::{Body, full, request, rig, tell};
use crate::answers::Told;

fn keys() -> Arc<OperationKeys> {
    // The base64 of `made-up-key-that-opens-nothing-a`.
    Arc::new(OperationKeys::parse(&SecretString::from("bWFkZS11cC1rZXktdGhhdC1vcGVucy1ub3RoaW5nLWE=")).unwrap())
}

/// How often the vendor was asked for what.
#[derive(Clone, Default)]
struct Seen {
    acts: Arc<AtomicUsize>,
    asks: Arc<AtomicUsize>,
    looks: Arc<AtomicUsize>,
}

impl Seen {
    fn counts(&self) -> (usize, usize, usize) {
        let of = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        (of(&self.acts), of(&self.asks), of(&self.looks))
    }
}

/// A gateway whose vendor answers the n-th question for a job with `job(n)`, and every look with a task in this state.
fn gateway(job: impl Fn(usize) -> (u16, Value) + Send + Sync + 'static, state: &'static str) -> (Gateway<Body>, Seen) {
    let seen = Seen::default();
    let counts = seen.clone();
    let job = Arc::new(job);
    let vendor = service_fn(move |outbound: Outbound| {
        let (status, body) = match outbound.aim {
            Aim::Act | Aim::ActUnseen => {
                counts.acts.fetch_add(1, Ordering::Relaxed);
                (202, json!({ "location": format!("http://localhost/zstack/v1/api-jobs/{JOB}") }))
            }
            Aim::Ask => job(counts.asks.fetch_add(1, Ordering::Relaxed)),
            Aim::Look => {
                counts.looks.fetch_add(1, Ordering::Relaxed);
                (200, json!({ "inventories": [{ "uuid": TASK, "status": state }] }))
            }
        };
        std::future::ready(Ok::<_, GatewayError>(Exchange {
            reply: UpstreamReply {
                status: StatusCode::from_u16(status).unwrap(),
                headers: http::HeaderMap::from_iter([(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"))]),
                body: body.to_string().into(),
            },
            elapsed: Duration::ZERO,
        }))
    });
    let sources = shipped::sources();
    let table = rig::compiled(&sources, &rig::case_environment(&sources, &["zstack"])).table;
    let limits = StackLimits {
        operations: Operations {
            keys: Some(keys()),
            lifetime: DEFAULT_LIFETIME,
        },
        ..StackLimits::default()
    };
    (stack::build(table, &limits, vendor), seen)
}

const TASK: &str = "5ca9c15a50c53f0dac359a64841d7b2b";
const JOB: &str = "0123456789abcdef0123456789abcde0";

/// Asks for an operation that was accepted a moment ago, with this job.
async fn ask(gateway: &Gateway<Body>, job: Option<&str>, headers: &str) -> Told {
    let (accepted_at, expires_at) = Operation::times(Timestamp::now(), DEFAULT_LIFETIME);
    let accepted = Accepted {
        provider: "zstack",
        id: TASK,
        action: "stop",
        job,
        body: &serde_json::Map::new(),
        vendor_status: 202,
        accepted_at,
        expires_at,
    };
    let token = keys().seal("", accepted, accepted_at).unwrap();
    tell(gateway, request(&format!("GET /operations/{token}"), headers, full(""))).await
}

fn pending() -> (u16, Value) {
    (202, json!({}))
}

fn failed(code: &str) -> (u16, Value) {
    (200, json!({ "error": { "code": code, "details": "no" } }))
}

#[tokio::test(start_paused = true)]
async fn the_job_says_what_became_of_it_as_long_as_it_says_something() {
    for (job, state, word, counts) in [
        (pending(), "Running", "202 accepted", (0, 1, 0)),
        ((200, json!({})), "Running", "200 done", (0, 1, 0)),
        (failed("X.1"), "Running", "502 ACTION_FAILED", (0, 1, 0)),
        // A job that the vendor has forgotten: the task says it.
        ((404, json!({})), "Stopped", "200 done", (0, 1, 1)),
        ((404, json!({})), "Running", "202 accepted", (0, 1, 1)),
        ((500, json!("nonsense")), "Stopped", "200 done", (0, 1, 1)),
    ] {
        let shown = format!("{job:?}");
        let (gateway, seen) = gateway(move |_| job.clone(), state);
        let told = ask(&gateway, Some(JOB), "").await;
        assert_eq!((told.word().as_str(), seen.counts()), (word, counts), "{shown} {state}");
    }
    let (gateway, seen) = gateway(|_| pending(), "Stopped");
    assert_eq!(ask(&gateway, None, "").await.word(), "200 done");
    assert_eq!(seen.counts(), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn who_waits_sees_the_end() {
    let (gateway, seen) = gateway(|nth| if nth < 3 { pending() } else { (200, json!({})) }, "Running");
    let told = ask(&gateway, Some(JOB), "prefer: wait=20").await;
    assert_eq!(
        (told.word().as_str(), told.header("preference-applied")),
        ("200 done", Some("wait=20"))
    );
    assert_eq!(seen.counts(), (0, 4, 0));
    assert!(told.text("/operation").starts_with("operations/"));
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_session_had_ended_is_told_and_never_sent_again() {
    for headers in ["", "prefer: wait=20"] {
        // At once, and only after a while.
        for pendings in [0, 2] {
            let (gateway, seen) = gateway(move |nth| if nth < pendings { pending() } else { failed("ID.1001") }, "Running");
            let told = ask(&gateway, Some(JOB), headers).await;
            let settled = pendings == 0 || !headers.is_empty();
            let word = if settled { "502 VENDOR_AUTH" } else { "202 accepted" };
            assert_eq!((told.word().as_str(), seen.counts().0), (word, 0), "{headers} {pendings}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_accepted_answer_has_a_name_and_a_settled_one_has_none() {
    let (gateway, seen) = gateway(|nth| if nth < 2 { pending() } else { (200, json!({})) }, "Running");
    let act = |headers: &'static str| request(&format!("POST /tasks/zstack/{TASK}:stop"), headers, full(""));
    let told = tell(&gateway, act("")).await;
    let name = told.text("/operation");
    assert_eq!((told.word().as_str(), name.starts_with("operations/")), ("202 accepted", true));
    let asked = tell(&gateway, request(&format!("GET /{name}"), "", full(""))).await;
    assert_eq!((asked.word().as_str(), asked.text("/operation")), ("202 accepted", name));
    let told = tell(&gateway, act("prefer: wait=20")).await;
    assert_eq!((told.word().as_str(), told.text("/operation").as_str()), ("200 done", "null"));
    assert_eq!(seen.counts(), (2, 3, 2));
}
