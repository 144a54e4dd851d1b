//! Idempotency keys through the whole stack, over a vendor that says what the test wants: rows 92 to 95.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use taskgate::config::shipped;
use taskgate::idempotency::{Begun, Fingerprint, Kept, Lapsed, Memory, MemoryLimits, Name, Records, StoreError, Stored, Ticket};
use taskgate::layer::{BoxFuture, Exchange, Outbound};
use taskgate::model::call::UpstreamReply;
use taskgate::model::error::GatewayError;
use taskgate::model::reason::Reason;
use taskgate::stack::{Frame, Gateway, StackLimits};
use tokio::sync::watch;
use tokio::time::advance;
use tower::service_fn;

use super::{Body, JSON, full, request, rig, tell};
use crate::answers::Told;

/// What a vendor says to an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// It takes it.
    Accepts,
    /// It answers with this status and its own words.
    Refuses(u16),
    /// Nothing that would be an answer.
    Fails(Reason),
}

/// A vendor that counts what it does.
#[derive(Clone)]
struct Vendor {
    says: watch::Sender<Says>,
    /// What a look shows.
    state: watch::Sender<i64>,
    /// Does it answer yet?
    open: watch::Sender<bool>,
    acts: Arc<AtomicUsize>,
    looks: Arc<AtomicUsize>,
}

impl Vendor {
    fn new(says: Says) -> Self {
        Self {
            says: watch::Sender::new(says),
            state: watch::Sender::new(RUNS),
            open: watch::Sender::new(true),
            acts: Arc::default(),
            looks: Arc::default(),
        }
    }

    fn seen(&self) -> (usize, usize) {
        (self.acts.load(Ordering::Relaxed), self.looks.load(Ordering::Relaxed))
    }

    fn answer(&self, outbound: Outbound) -> BoxFuture<Exchange, GatewayError> {
        let vendor = self.clone();
        Box::pin(async move {
            if outbound.route.is_look() {
                vendor.looks.fetch_add(1, Ordering::Relaxed);
                let state = *vendor.state.borrow();
                let records = json!({ "data": { "total": 1, "records": [{ "task_id": TASK, "name": "capture", "status": state }] } });
                return Ok(exchange(200, &records));
            }
            vendor.acts.fetch_add(1, Ordering::Relaxed);
            vendor.open.subscribe().wait_for(|open| *open).await.unwrap();
            let says = *vendor.says.borrow();
            match says {
                Says::Accepts => Ok(exchange(200, &json!({ "data": { "id": "a-firewall" } }))),
                Says::Refuses(status) => Ok(exchange(status, &json!({ "error_code": "X.1", "error_msg": "no" }))),
                Says::Fails(reason) => Err(GatewayError::new(reason, "as the test says")),
            }
        })
    }

    /// A gateway in front of it.
    fn gateway(&self) -> Gateway<Body> {
        self.gateway_over(Arc::new(Memory::new(MemoryLimits::default())))
    }

    fn gateway_over(&self, records: Arc<dyn Records>) -> Gateway<Body> {
        let vendor = self.clone();
        let sources = shipped::sources();
        let table = rig::compiled(&sources, &rig::case_environment(&sources, &["cfw"])).table;
        let frame = Frame::with_records(StackLimits::default(), records);
        frame.build(table, service_fn(move |outbound: Outbound| vendor.answer(outbound)))
    }
}

fn exchange(status: u16, body: &Value) -> Exchange {
    let headers = http::HeaderMap::from_iter([(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"))]);
    Exchange {
        reply: UpstreamReply {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.to_string().into(),
        },
        elapsed: Duration::ZERO,
    }
}

const TASK: &str = "1dcddab3-0000-4000-8000-000000000001";
/// What the vendor calls a task that runs, and one that was stopped.
const RUNS: i64 = 2;
const STOPPED: i64 = 4;

async fn stop(gateway: &Gateway<Body>, key: &str, instance: &str) -> Told {
    let body = json!({ "scope": { "instance": instance } }).to_string();
    let headers = format!("{JSON}\r\nidempotency-key: \"{key}\"\r\n");
    tell(gateway, request(&format!("POST /tasks/cfw/{TASK}:stop"), &headers, full(body))).await
}

const ONE: &str = "00000000-0000-4000-8000-00000000000a";
const OTHER: &str = "00000000-0000-4000-8000-00000000000b";

fn is_replayed(told: &Told) -> bool {
    told.header("idempotency-replayed") == Some("true")
}

#[tokio::test(start_paused = true)]
async fn a_call_is_made_once_and_its_answer_said_again() {
    let vendor = Vendor::new(Says::Accepts);
    let gateway = vendor.gateway();
    let first = stop(&gateway, "k", ONE).await;
    assert_eq!((first.word().as_str(), is_replayed(&first)), ("202 accepted", false));
    // What the vendor would say now makes no difference.
    vendor.says.send_replace(Says::Refuses(400));
    for _ in 0..3 {
        let again = stop(&gateway, "k", ONE).await;
        assert!(is_replayed(&again));
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    assert_eq!(vendor.seen(), (1, 0));
    // Another payload is refused, another key is another call, and so is this one when its time is over.
    let reused = stop(&gateway, "k", OTHER).await;
    assert_eq!((reused.word().as_str(), vendor.seen()), ("422 IDEMPOTENCY_KEY_REUSED", (1, 0)));
    vendor.says.send_replace(Says::Accepts);
    assert_eq!(stop(&gateway, "l", OTHER).await.word(), "202 accepted");
    advance(Duration::from_secs(24 * 60 * 60)).await;
    assert!(!is_replayed(&stop(&gateway, "k", ONE).await));
    assert_eq!(vendor.seen(), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn row_92_of_many_at_two_instances_one_acts() {
    let vendor = Vendor::new(Says::Accepts);
    vendor.open.send_replace(false);
    let records: Arc<dyn Records> = Arc::new(Memory::new(MemoryLimits::default()));
    let instances = [vendor.gateway_over(Arc::clone(&records)), vendor.gateway_over(records)];
    let calls = futures_util::future::join_all((0..20).map(|at| stop(&instances[at % 2], "k", ONE)));
    let (told, ()) = tokio::join!(calls, async {
        // The others were refused before the first was answered.
        tokio::task::yield_now().await;
        vendor.open.send_replace(true);
    });
    let words: Vec<String> = told.iter().map(Told::word).collect();
    assert_eq!(words.iter().filter(|word| *word == "202 accepted").count(), 1, "{words:?}");
    assert_eq!(
        words.iter().filter(|word| *word == "409 IDEMPOTENCY_KEY_IN_USE").count(),
        19,
        "{words:?}"
    );
    assert!(
        told.iter()
            .all(|told| told.status != 409 || told.header("retry-after") == Some("1"))
    );
    assert_eq!(vendor.seen(), (1, 0));
    for instance in &instances {
        assert!(is_replayed(&stop(instance, "k", ONE).await));
    }
}

#[tokio::test(start_paused = true)]
async fn what_did_nothing_leaves_the_key_free() {
    for says in [
        Says::Fails(Reason::VendorUnreachable),
        Says::Fails(Reason::VendorTlsFailed),
        Says::Fails(Reason::DeadlineExceeded),
        Says::Fails(Reason::ProviderBusy),
        Says::Refuses(429),
    ] {
        let vendor = Vendor::new(says);
        let gateway = vendor.gateway();
        let failed = stop(&gateway, "k", ONE).await;
        assert_eq!(failed.text("/outcome"), "not_done", "{says:?}");
        vendor.says.send_replace(Says::Accepts);
        let next = stop(&gateway, "k", ONE).await;
        assert_eq!((next.word().as_str(), is_replayed(&next)), ("202 accepted", false), "{says:?}");
    }
    // What is refused before any vendor is not kept either: the mended call may have the same key.
    let vendor = Vendor::new(Says::Accepts);
    let gateway = vendor.gateway();
    let bad = request(
        &format!("POST /tasks/cfw/{TASK}:stop"),
        &format!("{JSON}\r\nidempotency-key: \"k\""),
        full("{\"no\":1}"),
    );
    assert_eq!(tell(&gateway, bad).await.word(), "400 INVALID_REQUEST");
    assert_eq!(stop(&gateway, "k", ONE).await.word(), "202 accepted");
    assert_eq!(vendor.seen(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_vendor_is_said_again() {
    let vendor = Vendor::new(Says::Refuses(422));
    let gateway = vendor.gateway();
    let first = stop(&gateway, "k", ONE).await;
    assert_eq!(first.word(), "422 VENDOR_REJECTED");
    vendor.says.send_replace(Says::Accepts);
    let again = stop(&gateway, "k", ONE).await;
    assert!(is_replayed(&again));
    assert_eq!((again.status, again.body), (first.status, first.body));
    assert_eq!(vendor.seen(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_knows_is_looked_at_and_never_sent_again() {
    let vendor = Vendor::new(Says::Fails(Reason::VendorTimeout));
    let gateway = vendor.gateway();
    let first = stop(&gateway, "k", ONE).await;
    assert_eq!(first.word(), "504 VENDOR_TIMEOUT");
    vendor.says.send_replace(Says::Accepts);
    // The task runs: that says nothing of the call.
    for looks in 1..4 {
        let again = stop(&gateway, "k", ONE).await;
        assert!(is_replayed(&again));
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(vendor.seen(), (1, looks));
    }
    // It is what the call was for: that is what it came to, from now on.
    vendor.state.send_replace(STOPPED);
    let found = stop(&gateway, "k", ONE).await;
    assert_eq!((found.word().as_str(), is_replayed(&found)), ("200 done", true));
    assert_eq!(
        (found.json()["already"].clone(), found.text("/state")),
        (json!(true), "stopped".to_owned())
    );
    vendor.state.send_replace(RUNS);
    let again = stop(&gateway, "k", ONE).await;
    assert_eq!((again.status, again.body), (found.status, found.body));
    assert_eq!(vendor.seen(), (1, 4));
}

/// A store that is away from time to time.
#[derive(Debug)]
struct Shaky {
    inner: Memory,
    is_away: watch::Sender<bool>,
}

impl Shaky {
    fn or<'a, T: Send + 'a>(&self, step: impl FnOnce() -> Stored<'a, T>) -> Stored<'a, T> {
        match *self.is_away.borrow() {
            true => Box::pin(std::future::ready(Err(StoreError::Unavailable))),
            false => step(),
        }
    }
}

impl Records for Shaky {
    fn begin(&self, name: Name, fingerprint: Fingerprint, ticket: Ticket, lease: Duration) -> Stored<'_, Begun> {
        self.or(|| self.inner.begin(name, fingerprint, ticket, lease))
    }

    fn sending(&self, name: Name, ticket: Ticket, lease: Duration) -> Stored<'_, Result<(), Lapsed>> {
        self.or(|| self.inner.sending(name, ticket, lease))
    }

    fn finish(&self, name: Name, ticket: Ticket, kept: Kept) -> Stored<'_, Result<(), Lapsed>> {
        self.or(|| self.inner.finish(name, ticket, kept))
    }

    fn forget(&self, name: Name, ticket: Ticket) -> Stored<'_, Result<(), Lapsed>> {
        self.or(|| self.inner.forget(name, ticket))
    }

    fn reconcile(&self, name: Name, ticket: Ticket, found: Kept) -> Stored<'_, Result<(), Lapsed>> {
        self.or(|| self.inner.reconcile(name, ticket, found))
    }
}

#[tokio::test(start_paused = true)]
async fn rows_94_and_95_a_store_that_is_away() {
    let vendor = Vendor::new(Says::Accepts);
    let store = Arc::new(Shaky {
        inner: Memory::new(MemoryLimits::default()),
        is_away: watch::Sender::new(true),
    });
    let gateway = vendor.gateway_over(Arc::clone(&store) as Arc<dyn Records>);
    // Row 94: a key that cannot be kept is no protection, so nothing is sent; a call without one is made.
    let refused = stop(&gateway, "k", ONE).await;
    assert_eq!((refused.word().as_str(), vendor.seen()), ("503 IDEMPOTENCY_UNAVAILABLE", (0, 0)));
    assert_eq!(
        (refused.text("/outcome").as_str(), refused.header("retry-after")),
        ("not_done", Some("5"))
    );
    let body = json!({ "scope": { "instance": ONE } }).to_string();
    let without = request(&format!("POST /tasks/cfw/{TASK}:stop"), JSON, full(body));
    assert_eq!(tell(&gateway, without).await.word(), "202 accepted");
    // Row 95: it goes away while the vendor acts. The answer is told; a repetition is never "done", and never sent.
    store.is_away.send_replace(false);
    vendor.open.send_replace(false);
    let (told, ()) = tokio::join!(stop(&gateway, "l", ONE), async {
        while vendor.seen().0 < 2 {
            tokio::task::yield_now().await;
        }
        store.is_away.send_replace(true);
        vendor.open.send_replace(true);
    });
    assert_eq!(told.word(), "202 accepted");
    store.is_away.send_replace(false);
    assert_eq!(stop(&gateway, "l", ONE).await.word(), "409 IDEMPOTENCY_KEY_IN_USE");
    advance(Duration::from_secs(60)).await;
    assert_eq!(stop(&gateway, "l", ONE).await.word(), "500 IDEMPOTENCY_OUTCOME_LOST");
    assert_eq!(vendor.seen(), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_look_needs_no_key() {
    let vendor = Vendor::new(Says::Accepts);
    let gateway = vendor.gateway();
    for key in ["idempotency-key: \"k\"\r\n", "idempotency-key: not a key\r\n"] {
        let look = request(&format!("GET /tasks/cfw/{TASK}?instance={ONE}"), key, full(""));
        let told = tell(&gateway, look).await;
        assert_eq!((told.word().as_str(), is_replayed(&told)), ("200 done", false));
    }
    assert_eq!(vendor.seen(), (0, 2));
}
