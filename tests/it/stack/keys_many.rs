//! Idempotency keys of batches, over vendors that say what the test wants of each task: one that takes lists (`prime`) and one that does
//! not (`cfw`).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use taskgate::config::shipped;
use taskgate::idempotency::{Begun, Fingerprint, Kept, Lapsed, Memory, MemoryLimits, Name, Records, StoreError, Stored, Ticket};
use taskgate::layer::{BoxFuture, Exchange, Outbound};
use taskgate::model::call::UpstreamReply;
use taskgate::model::error::GatewayError;
use taskgate::model::reason::Reason;
use taskgate::route::RouteTable;
use taskgate::stack::{Frame, Gateway, StackLimits};
use tokio::sync::watch;
use tokio::time::advance;
use tower::service_fn;

use super::{Body, JSON, full, request, rig, tell};
use crate::answers::Told;

/// What a vendor says to an action on a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Accepts,
    /// It answers with this status; where it takes lists, the task is on that of the failures.
    Refuses(u16),
    /// Nothing that would be an answer, for none of the tasks of the request.
    Fails(Reason),
}

/// What happened, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The store was told that something is about to be sent.
    Sending,
    /// A request for so many tasks arrived.
    Acted(usize),
    Looked,
}

/// Vendors that note what they get.
#[derive(Clone)]
struct Vendors {
    says: Arc<Mutex<HashMap<String, Says>>>,
    /// Do they answer yet?
    open: watch::Sender<bool>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Vendors {
    fn new(says: &[(&str, Says)]) -> Self {
        let vendors = Self {
            says: Arc::default(),
            open: watch::Sender::new(true),
            events: Arc::default(),
        };
        vendors.say(says);
        vendors
    }

    /// From now on they say this.
    fn say(&self, says: &[(&str, Says)]) {
        *self.says.lock().unwrap() = says.iter().map(|(id, says)| ((*id).to_owned(), *says)).collect();
    }

    /// What happened since the last time.
    fn events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    fn answer(&self, outbound: Outbound) -> BoxFuture<Exchange, GatewayError> {
        let vendors = self.clone();
        Box::pin(async move {
            if outbound.route.is_look() {
                vendors.note(Event::Looked);
                return Ok(exchange(
                    200,
                    "application/json",
                    "{\"queryResponse\":{\"@count\":\"0\"}}".to_owned(),
                ));
            }
            let ids = ids_in(&outbound.request.body);
            vendors.note(Event::Acted(ids.len()));
            vendors.open.subscribe().wait_for(|open| *open).await.unwrap();
            let says = vendors.says.lock().unwrap();
            let of = |id: &String| says.get(id).copied().unwrap_or(Says::Accepts);
            let broken = ids
                .iter()
                .find_map(|id| if let Says::Fails(reason) = of(id) { Some(reason) } else { None });
            if let Some(reason) = broken {
                return Err(GatewayError::new(reason, "as the test says"));
            }
            if outbound.request.method == Method::PUT {
                let (taken, refused): (Vec<_>, Vec<_>) = ids.iter().partition(|id| of(id) == Says::Accepts);
                return Ok(exchange(200, "application/xml", lists(&taken, &refused)));
            }
            let (status, body) = match of(&ids[0]) {
                Says::Refuses(status) => (status, json!({ "error_code": "X.1", "error_msg": "no" })),
                _ => (200, json!({ "data": { "id": "a-firewall" } })),
            };
            Ok(exchange(status, "application/json", body.to_string()))
        })
    }

    /// A gateway in front of them.
    fn gateway(&self) -> Gateway<Body> {
        self.gateway_over(Arc::new(Memory::new(MemoryLimits::default())))
    }

    fn gateway_over(&self, records: Arc<dyn Records>) -> Gateway<Body> {
        let vendors = self.clone();
        let frame = Frame::with_records(StackLimits::default(), records);
        frame.build(Arc::clone(&TABLE), service_fn(move |outbound: Outbound| vendors.answer(outbound)))
    }
}

/// The tasks that a request is for: runs in XML, or one id in JSON.
fn ids_in(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8(body.to_vec()).unwrap();
    match serde_json::from_str::<Value>(&text) {
        Ok(body) => vec![body["task_id"].as_str().unwrap().to_owned()],
        Err(_) => text
            .split("<runId>")
            .skip(1)
            .map(|rest| rest.split_once('<').unwrap().0.to_owned())
            .collect(),
    }
}

/// Some of these runs are being stopped, and some are not.
fn lists(taken: &[&String], refused: &[&String]) -> String {
    let list = |word: &str, status: &str, ids: &[&String]| {
        let one = |id: &&String| format!("<{word}><id>{id}</id><message>m</message><status>{status}</status></{word}>");
        format!("<{word}>{}</{word}>", ids.iter().map(one).collect::<String>())
    };
    let mut lists = String::new();
    if !refused.is_empty() {
        lists.push_str(&list("failure", "Failure", refused));
    }
    lists.push_str("<message>m</message><operation>CANCELRUNNING</operation>");
    if !taken.is_empty() {
        lists.push_str(&list("success", "Success", taken));
    }
    format!(
        "<mgmtResponse responseType=\"operation\" requestUrl=\"u\" rootUrl=\"r\"><operationResult>{lists}</operationResult></mgmtResponse>"
    )
}

fn exchange(status: u16, media_type: &'static str, body: String) -> Exchange {
    Exchange {
        reply: UpstreamReply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(media_type))]),
            body: body.into(),
        },
        elapsed: Duration::ZERO,
    }
}

async fn send(gateway: &Gateway<Body>, line: &str, key: &str, body: &Value) -> Told {
    let headers = format!("{JSON}\r\nidempotency-key: \"{key}\"\r\n");
    tell(gateway, request(line, &headers, full(body.to_string()))).await
}

async fn stop_runs(gateway: &Gateway<Body>, ids: &Value) -> Told {
    send(gateway, RUNS, "k", &json!({ "ids": ids })).await
}

async fn stop_captures(gateway: &Gateway<Body>, ids: &Value) -> Told {
    send(gateway, CAPTURES, "k", &json!({ "ids": ids, "scope": { "instance": FIREWALL } })).await
}

fn is_replayed(told: &Told) -> bool {
    told.header("idempotency-replayed") == Some("true")
}

/// How many tasks came to what.
fn summary(told: &Told) -> [u64; 4] {
    let summary = &told.json()["summary"];
    ["done", "accepted", "not_done", "unknown"].map(|outcome| summary[outcome].as_u64().unwrap())
}

/// The shipped routes.
static TABLE: LazyLock<Arc<RouteTable>> = LazyLock::new(|| {
    let sources = shipped::sources();
    rig::compiled(&sources, &rig::case_environment(&sources, &["cfw", "prime"])).table
});

const RUNS: &str = "POST /tasks/prime:batchStop";
const CAPTURES: &str = "POST /tasks/cfw:batchStop";
const FIREWALL: &str = "00000000-0000-4000-8000-00000000000a";
const A: &str = "1dcddab3-0000-4000-8000-00000000000a";
const B: &str = "1dcddab3-0000-4000-8000-00000000000b";

#[tokio::test(start_paused = true)]
async fn a_batch_is_made_once_and_its_answer_said_again() {
    for (ids, status, events) in [
        (json!([15, 25]), 202, &[Event::Acted(2)][..]),
        (json!([15, "x", 25]), 207, &[Event::Acted(2)]),
    ] {
        let vendors = Vendors::new(&[]);
        let records: Arc<dyn Records> = Arc::new(Memory::new(MemoryLimits::default()));
        let instances = [vendors.gateway_over(Arc::clone(&records)), vendors.gateway_over(records)];
        let first = stop_runs(&instances[0], &ids).await;
        assert_eq!((first.status, is_replayed(&first)), (status, false), "{first:?}");
        assert_eq!(vendors.events(), events);
        // Whatever the vendor would say now, and at every instance.
        vendors.say(&[("15", Says::Refuses(400))]);
        for instance in &instances {
            let again = stop_runs(instance, &ids).await;
            assert_eq!((again.status, &again.body, is_replayed(&again)), (first.status, &first.body, true));
            assert_eq!(again.header("content-type"), Some("application/json"));
            assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
        }
        // Other tasks, the same in another order, or something else about them are another request.
        for body in [
            json!({ "ids": [15] }),
            json!({ "ids": [25, 15] }),
            json!({ "ids": [15, 25], "reason": "r" }),
        ] {
            let reused = send(&instances[0], RUNS, "k", &body).await;
            assert_eq!(reused.word(), "422 IDEMPOTENCY_KEY_REUSED", "{body}");
        }
        assert_eq!(vendors.events(), []);
        // The key means something else for another key's owner: another action, another provider, all of them.
        vendors.say(&[]);
        let told = stop_captures(&instances[0], &json!([A])).await;
        assert_eq!((told.status, is_replayed(&told)), (202, false));
        let one = request("POST /tasks/prime/15:stop", "idempotency-key: \"k\"", full(""));
        assert_eq!(tell(&instances[0], one).await.word(), "202 accepted");
        let all = json!({ "requests": [{ "task": "tasks/prime/15" }] });
        assert!(!is_replayed(&send(&instances[0], "POST /tasks:batchStop", "k", &all).await));
        assert_eq!(vendors.events(), [Event::Acted(1); 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_only_shown_leaves_the_key_to_the_batch() {
    let vendors = Vendors::new(&[]);
    let gateway = vendors.gateway();
    let shown = format!("{RUNS}?validate_only=true");
    for _ in 0..2 {
        let told = send(&gateway, &shown, "k", &json!({ "ids": [15] })).await;
        assert_eq!((told.status, is_replayed(&told)), (200, false));
    }
    assert_eq!(vendors.events(), []);
    let told = stop_runs(&gateway, &json!([15])).await;
    assert_eq!(
        (told.status, is_replayed(&told), vendors.events()),
        (202, false, vec![Event::Acted(1)])
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_under_way_is_not_begun_again() {
    for line in [RUNS, CAPTURES] {
        let vendors = Vendors::new(&[]);
        vendors.open.send_replace(false);
        let gateway = vendors.gateway();
        let body = match line {
            RUNS => json!({ "ids": [15, 25] }),
            _ => json!({ "ids": [A, B], "scope": { "instance": FIREWALL } }),
        };
        let other = json!({ "ids": [35] });
        let calls = futures_util::future::join_all((0..10).map(|_| send(&gateway, line, "k", &body)));
        let (told, reused) = tokio::join!(calls, async {
            tokio::task::yield_now().await;
            let reused = send(&gateway, line, "k", &other).await;
            vendors.open.send_replace(true);
            reused
        });
        let first = told.iter().filter(|told| told.status == 202).count();
        let others: Vec<&Told> = told.iter().filter(|told| told.status != 202).collect();
        assert_eq!((first, others.len()), (1, 9), "{line}");
        for told in others {
            assert_eq!(
                (told.word().as_str(), told.header("retry-after")),
                ("409 IDEMPOTENCY_KEY_IN_USE", Some("1"))
            );
            assert_eq!(told.text("/outcome"), "unknown", "the first may be acting");
        }
        assert_eq!(reused.word(), "422 IDEMPOTENCY_KEY_REUSED");
        let acted: usize = vendors
            .events()
            .iter()
            .map(|event| if let Event::Acted(tasks) = event { *tasks } else { 0 })
            .sum();
        assert_eq!(acted, 2, "each task once");
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_of_which_nobody_knows_stay_unknown_and_nothing_is_sent_again() {
    let lost = Says::Fails(Reason::VendorTimeout);
    for (told_of_many, says) in [(false, &[(A, lost)][..]), (true, &[("15", lost)])] {
        let vendors = Vendors::new(says);
        let gateway = vendors.gateway();
        let stop = async || match told_of_many {
            true => stop_runs(&gateway, &json!([15, 25, "x"])).await,
            false => stop_captures(&gateway, &json!([A, B, "x"])).await,
        };
        let first = stop().await;
        let expected = if told_of_many { [0, 0, 1, 2] } else { [0, 1, 1, 1] };
        assert_eq!((first.status, summary(&first)), (207, expected));
        vendors.events();
        vendors.say(&[]);
        for wait in [0, 60, 23 * 60 * 60] {
            advance(Duration::from_secs(wait)).await;
            let again = stop().await;
            assert_eq!((again.status, &again.body, is_replayed(&again)), (first.status, &first.body, true));
        }
        assert_eq!(vendors.events(), []);
    }
}

/// What the vendors say of the tasks of a batch, what they come to, and whether that is said again.
async fn check_kept(ids: Value, says: &[(&str, Says)], expected: [u64; 4], is_kept: bool) {
    let vendors = Vendors::new(says);
    let gateway = vendors.gateway();
    let is_prime = ids[0].is_number();
    let stop = async || {
        if is_prime {
            stop_runs(&gateway, &ids).await
        } else {
            stop_captures(&gateway, &ids).await
        }
    };
    let first = stop().await;
    let shown = format!("{ids} {says:?}");
    assert_eq!(summary(&first), expected, "{shown}");
    vendors.events();
    vendors.say(&[]);
    let next = stop().await;
    assert_eq!(is_replayed(&next), is_kept, "{shown}");
    assert_eq!(next.body == first.body, is_kept, "{shown}");
    assert_eq!(vendors.events().is_empty(), is_kept, "{shown}");
}

#[tokio::test(start_paused = true)]
async fn the_key_of_a_batch_is_free_where_that_of_each_of_its_tasks_would_be() {
    let (gone, busy) = (Says::Fails(Reason::VendorUnreachable), Says::Fails(Reason::ProviderBusy));
    let (refused, limited) = (Says::Refuses(422), Says::Refuses(429));
    // Of nothing a vendor has heard, or it takes the same again.
    check_kept(json!([15, 25]), &[("15", gone)], [0, 0, 2, 0], false).await;
    check_kept(json!([A, B]), &[(A, gone), (B, gone)], [0, 0, 2, 0], false).await;
    check_kept(json!([A, B]), &[(A, gone), (B, busy)], [0, 0, 2, 0], false).await;
    check_kept(json!([A, B]), &[(A, limited), (B, gone)], [0, 0, 2, 0], false).await;
    check_kept(json!([A, "x"]), &[(A, busy)], [0, 0, 2, 0], false).await;
    // One was done, or may have been, or was refused for good.
    check_kept(json!([A, B]), &[(A, gone)], [0, 1, 1, 0], true).await;
    check_kept(
        json!([A, B]),
        &[(A, gone), (B, Says::Fails(Reason::VendorTimeout))],
        [0, 0, 1, 1],
        true,
    )
    .await;
    check_kept(json!([A, B]), &[(A, gone), (B, refused)], [0, 0, 2, 0], true).await;
    check_kept(json!([A, "x"]), &[], [0, 1, 1, 0], true).await;
    check_kept(json!([15, 25]), &[("15", refused)], [0, 1, 1, 0], true).await;
    check_kept(json!([15, "x"]), &[("15", refused)], [0, 0, 2, 0], true).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_refused_as_a_whole_leaves_its_key_free() {
    let vendors = Vendors::new(&[]);
    let gateway = vendors.gateway();
    for (body, word) in [
        (json!({ "ids": [] }), "400 INVALID_REQUEST"),
        (json!({ "ids": [15, 15] }), "400 INVALID_REQUEST"),
        (json!({ "ids": [15], "surprise": 1 }), "400 INVALID_REQUEST"),
    ] {
        assert_eq!(send(&gateway, RUNS, "k", &body).await.word(), word);
    }
    let told = stop_runs(&gateway, &json!(["x", "y"])).await;
    assert_eq!((summary(&told), vendors.events()), ([0, 0, 2, 0], vec![]), "nothing was sent");
    let told = stop_runs(&gateway, &json!([15])).await;
    assert_eq!(
        (told.status, is_replayed(&told), vendors.events()),
        (202, false, vec![Event::Acted(1)])
    );
}

/// What a store says to those who are about to send.
#[derive(Clone, Copy, Debug)]
enum Right {
    /// The lease has ended.
    Lapsed,
    /// The store is away.
    Away,
    /// The store says nothing.
    Silent,
}

/// A store that lets so many requests go, and none after them.
#[derive(Debug)]
struct Strict {
    inner: Memory,
    left: Mutex<usize>,
    then: Right,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Records for Strict {
    fn begin(&self, name: Name, fingerprint: Fingerprint, ticket: Ticket, lease: Duration) -> Stored<'_, Begun> {
        self.inner.begin(name, fingerprint, ticket, lease)
    }

    fn sending(&self, name: Name, ticket: Ticket, lease: Duration) -> Stored<'_, Result<(), Lapsed>> {
        let mut left = self.left.lock().unwrap();
        match (left.checked_sub(1), self.then) {
            (Some(fewer), _) => {
                *left = fewer;
                self.events.lock().unwrap().push(Event::Sending);
                self.inner.sending(name, ticket, lease)
            }
            (None, Right::Lapsed) => Box::pin(std::future::ready(Ok(Err(Lapsed)))),
            (None, Right::Away) => Box::pin(std::future::ready(Err(StoreError::Unavailable))),
            (None, Right::Silent) => Box::pin(std::future::pending()),
        }
    }

    fn finish(&self, name: Name, ticket: Ticket, kept: Kept) -> Stored<'_, Result<(), Lapsed>> {
        self.inner.finish(name, ticket, kept)
    }

    fn forget(&self, name: Name, ticket: Ticket) -> Stored<'_, Result<(), Lapsed>> {
        self.inner.forget(name, ticket)
    }

    fn reconcile(&self, name: Name, ticket: Ticket, found: Kept) -> Stored<'_, Result<(), Lapsed>> {
        self.inner.reconcile(name, ticket, found)
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_lost_the_right_to_act_sends_nothing() {
    let runs: Vec<u32> = (1..=200).collect();
    let captures: Vec<String> = (0..5).map(|at| format!("1dcddab3-0000-4000-8000-{at:012}")).collect();
    // So many requests may go; what arrives is these, for so many tasks each.
    for (is_prime, may_go, arrive) in [
        (true, 0, &[][..]),
        (true, 1, &[100]),
        (true, 2, &[100, 100]),
        (false, 0, &[]),
        (false, 2, &[1, 1]),
    ] {
        for then in [Right::Lapsed, Right::Away, Right::Silent] {
            let vendors = Vendors::new(&[]);
            let store = Strict {
                inner: Memory::new(MemoryLimits::default()),
                left: Mutex::new(may_go),
                then,
                events: Arc::clone(&vendors.events),
            };
            let gateway = vendors.gateway_over(Arc::new(store));
            let told = match is_prime {
                true => stop_runs(&gateway, &json!(runs)).await,
                false => stop_captures(&gateway, &json!(captures)).await,
            };
            let shown = format!("prime {is_prime}, {may_go}, {then:?}");
            let events = vendors.events();
            let acted = events
                .iter()
                .filter_map(|event| if let Event::Acted(tasks) = event { Some(*tasks) } else { None });
            assert_eq!(acted.collect::<Vec<_>>(), arrive, "{shown}");
            // Whatever arrives, the store has heard of it before.
            for (at, _) in events.iter().enumerate().filter(|(_, event)| matches!(event, Event::Acted(_))) {
                let before = events[..=at].iter();
                let said = before.clone().filter(|event| **event == Event::Sending).count();
                assert!(said >= before.count() - said, "{shown}: {events:?}");
            }
            let document = told.json();
            let results = document["results"].as_array().unwrap();
            let taken: usize = arrive.iter().sum();
            assert_eq!(summary(&told), [0, taken as u64, (results.len() - taken) as u64, 0], "{shown}");
            for result in results.iter().filter(|result| result["outcome"] == "not_done") {
                assert_eq!(result["error"]["reason"], "IDEMPOTENCY_UNAVAILABLE", "{shown}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_record_was_lost_is_never_made_again() {
    /// A store that is away when the answer is there.
    #[derive(Debug)]
    struct Forgetful(Memory);

    impl Records for Forgetful {
        fn begin(&self, name: Name, fingerprint: Fingerprint, ticket: Ticket, lease: Duration) -> Stored<'_, Begun> {
            self.0.begin(name, fingerprint, ticket, lease)
        }

        fn sending(&self, name: Name, ticket: Ticket, lease: Duration) -> Stored<'_, Result<(), Lapsed>> {
            self.0.sending(name, ticket, lease)
        }

        fn finish(&self, _: Name, _: Ticket, _: Kept) -> Stored<'_, Result<(), Lapsed>> {
            Box::pin(std::future::ready(Err(StoreError::Unavailable)))
        }

        fn forget(&self, name: Name, ticket: Ticket) -> Stored<'_, Result<(), Lapsed>> {
            self.0.forget(name, ticket)
        }

        fn reconcile(&self, name: Name, ticket: Ticket, found: Kept) -> Stored<'_, Result<(), Lapsed>> {
            self.0.reconcile(name, ticket, found)
        }
    }

    let vendors = Vendors::new(&[]);
    let gateway = vendors.gateway_over(Arc::new(Forgetful(Memory::new(MemoryLimits::default()))));
    assert_eq!(stop_runs(&gateway, &json!([15, 25])).await.status, 202);
    assert_eq!(vendors.events(), [Event::Acted(2)]);
    assert_eq!(stop_runs(&gateway, &json!([15, 25])).await.word(), "409 IDEMPOTENCY_KEY_IN_USE");
    advance(Duration::from_secs(60)).await;
    for _ in 0..2 {
        assert_eq!(stop_runs(&gateway, &json!([15, 25])).await.word(), "500 IDEMPOTENCY_OUTCOME_LOST");
    }
    assert_eq!(vendors.events(), []);
}
