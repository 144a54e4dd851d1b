//! Batches over a vendor that is a function: room for others, panics, deadlines, and what the vendor's limits come to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use taskgate::config::shipped;
use taskgate::layer::{Exchange, Outbound};
use taskgate::model::error::GatewayError;
use taskgate::model::reason::Reason;
use taskgate::stack::{self, Frame, Gateway, Known, StackLimits};
use tokio::time::{Instant, sleep};
use tower::service_fn;

use super::super::answers::Told;
use super::super::rig::{self, PROVIDERS};
use super::{Body, JSON, expect_panics, full, plain_success, request, tell};

const MANY: &str = "POST /tasks/zstack:batchStop";

fn gateway<F>(vendor: impl Fn(Outbound) -> F + Clone + Send + Sync + 'static) -> Gateway<Body>
where
    F: Future<Output = Result<Exchange, GatewayError>> + Send + 'static,
{
    let sources = shipped::sources();
    let table = rig::compiled(&sources, &rig::case_environment(&sources, &PROVIDERS)).table;
    stack::build(table, &StackLimits::default(), service_fn(vendor))
}

/// So many ids of zstack, which looks before it acts and takes no lists.
fn ids(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{at:032x}")).collect()
}

async fn stop(gateway: &Gateway<Body>, ids: &[String]) -> Told {
    tell(gateway, request(MANY, JSON, full(json!({ "ids": ids }).to_string()))).await
}

/// What a look at the task in the target shows: it runs.
fn running(outbound: &Outbound) -> Exchange {
    let id = outbound.request.target.rsplit('/').next().unwrap_or_default().to_owned();
    let mut exchange = plain_success(outbound);
    exchange.reply.body = json!({ "inventories": [{ "uuid": id, "status": "Running" }] }).to_string().into();
    exchange
}

#[tokio::test(start_paused = true)]
async fn a_batch_leaves_half_of_the_places_and_takes_eight_at_most() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&now), Arc::clone(&most));
    let gateway = gateway(move |outbound| {
        let (now, most) = (Arc::clone(&counted), Arc::clone(&highest));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            sleep(Duration::from_millis(100)).await;
            now.fetch_sub(1, Ordering::Relaxed);
            Ok(if outbound.route.is_look() {
                running(&outbound)
            } else {
                plain_success(&outbound)
            })
        }
    });
    let start = Instant::now();
    let ids = ids(60);
    // Two batches share the places that there are for batches.
    let (first, second) = tokio::join!(stop(&gateway, &ids[..40]), stop(&gateway, &ids[40..]));
    assert_eq!((first.status, second.status), (200, 200), "{first:?}");
    assert_eq!(most.load(Ordering::Relaxed), 8, "of sixteen places");
    // 60 looks and 60 stops, eight at a time.
    assert_eq!(start.elapsed(), Duration::from_millis(1500));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_the_result_of_one_task() {
    expect_panics();
    let ids = ids(20);
    let broken = ids[7].clone();
    let gateway = gateway(move |outbound| {
        let is_broken = outbound.request.target.contains(&broken);
        async move {
            if outbound.route.is_look() {
                return Ok(running(&outbound));
            }
            assert!(!is_broken && outbound.provider.name != "prime", "panicked on purpose");
            Ok(plain_success(&outbound))
        }
    });
    let told = stop(&gateway, &ids).await;
    assert_eq!(
        (told.status, told.text("/summary")),
        (207, r#"{"accepted":0,"done":19,"not_done":0,"unknown":1}"#.to_owned())
    );
    assert_eq!(told.text("/results/7/error/reason"), "INTERNAL");
    assert_eq!(told.text("/results/7/id"), ids[7]);
    // Who acted for the others takes them along: nobody knows what happened to theirs.
    let body = json!({ "ids": [15, "x", 25] }).to_string();
    let told = tell(&gateway, request("POST /tasks/prime:batchStop", JSON, full(body))).await;
    let reasons = [0, 1, 2].map(|at| told.text(&format!("/results/{at}/error/reason")));
    assert_eq!(reasons, ["INTERNAL", "INVALID_TASK_ID", "INTERNAL"]);
}

#[tokio::test(start_paused = true)]
async fn who_had_no_turn_by_the_deadline_was_not_done() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let gateway = gateway(move |outbound| {
        let sent = Arc::clone(&counted);
        async move {
            if outbound.route.is_look() {
                return Ok(running(&outbound));
            }
            sent.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_secs(12)).await;
            Ok(plain_success(&outbound))
        }
    });
    let start = Instant::now();
    let told = stop(&gateway, &ids(100)).await;
    assert_eq!(
        start.elapsed(),
        Duration::from_secs(36),
        "the vendor's own limits are not in this stack"
    );
    assert_eq!(sent.load(Ordering::Relaxed), 24);
    let document = told.json();
    assert_eq!(
        document["summary"],
        json!({ "done": 24, "accepted": 0, "not_done": 76, "unknown": 0 })
    );
    for (at, result) in document["results"].as_array().unwrap().iter().enumerate() {
        let reason = result.pointer("/error/reason").unwrap_or(&Value::Null);
        let expected = if at < 24 { Value::Null } else { json!("DEADLINE_EXCEEDED") };
        assert_eq!(reason, &expected, "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_to_come_back_stands_at_each_task() {
    let gateway =
        gateway(|_| async { Err(GatewayError::new(Reason::ProviderRateLimited, "later").with_retry_after(Duration::from_millis(2100))) });
    let told = stop(&gateway, &ids(2)).await;
    assert_eq!(
        (told.text("/results/1/retry_after").as_str(), told.header("retry-after")),
        ("3", None)
    );
    assert_eq!(told.text("/results/1/error/retryable"), "true");
}

/// A reply that says of all runs of a request that they are being stopped.
fn all_are_stopped(outbound: &Outbound) -> Exchange {
    let body = String::from_utf8(outbound.request.body.to_vec()).unwrap();
    let ids = body.split("<runId>").skip(1).map(|rest| rest.split_once('<').unwrap().0);
    let each = ids.map(|id| format!("<success><id>{id}</id><message>m</message><status>Success</status></success>"));
    let mut exchange = plain_success(outbound);
    exchange.reply.headers.insert("content-type", "application/xml".parse().unwrap());
    exchange.reply.body = format!(
        "<mgmtResponse responseType=\"operation\" requestUrl=\"u\" rootUrl=\"r\"><operationResult><message>m</message>\
         <operation>CANCELRUNNING</operation><success>{}</success></operationResult></mgmtResponse>",
        each.collect::<String>()
    )
    .into();
    exchange
}

#[tokio::test(start_paused = true)]
async fn lists_that_have_no_turn_by_the_deadline_are_not_sent() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let gateway = gateway(move |outbound| {
        let sent = Arc::clone(&counted);
        async move {
            sent.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_secs(12)).await;
            Ok(all_are_stopped(&outbound))
        }
    });
    let batch = json!({ "ids": (1..=1000).collect::<Vec<_>>() }).to_string();
    for (key, sent_so_far) in [("", 6), ("\r\nidempotency-key: \"k\"", 12), ("\r\nidempotency-key: \"k\"", 12)] {
        let told = tell(
            &gateway,
            request("POST /tasks/prime:batchStop", &format!("{JSON}{key}"), full(batch.clone())),
        )
        .await;
        // Two at a time, half of the vendor's five places, in three turns of twelve seconds; the fourth is none.
        assert_eq!(sent.load(Ordering::Relaxed), sent_so_far);
        assert_eq!(
            (told.status, told.text("/summary")),
            (207, r#"{"accepted":600,"done":0,"not_done":400,"unknown":0}"#.to_owned())
        );
        for (at, result) in told.json()["results"].as_array().unwrap().iter().enumerate() {
            let reason = result.pointer("/error/reason").unwrap_or(&Value::Null);
            let expected = if at < 600 { Value::Null } else { json!("DEADLINE_EXCEEDED") };
            assert_eq!(reason, &expected, "{at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_has_more_time_and_nobody_else() {
    for (prefer, done) in [("", 24), ("\r\nprefer: wait=20", 40)] {
        let gateway = gateway(move |outbound| async move {
            if outbound.route.is_look() {
                return Ok(running(&outbound));
            }
            sleep(Duration::from_secs(12)).await;
            Ok(plain_success(&outbound))
        });
        let body = json!({ "ids": ids(60) }).to_string();
        let told = tell(&gateway, request(MANY, &format!("{JSON}{prefer}"), full(body))).await;
        assert_eq!(told.json()["summary"]["done"], done, "{prefer}");
        assert_eq!(told.header("preference-applied").is_some(), !prefer.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn who_would_be_sent_together_is_refused_together() {
    let sources = shipped::sources();
    let table = rig::compiled(&sources, &rig::case_environment(&sources, &PROVIDERS)).table;
    let known = Known {
        prove: |_, request, _, _| match request.target.contains("cancelrunning") {
            true => Err(GatewayError::new(Reason::Unauthenticated, "as the test says")),
            false => Ok(Vec::new()),
        },
        ..Known::default()
    };
    let nobody = service_fn(|_: Outbound| std::future::ready(Err::<Exchange, _>(GatewayError::new(Reason::Internal, "was called"))));
    let gateway: Gateway<Body> = Frame::new(StackLimits::default()).build_knowing(table, nobody, known);
    let zstack = format!("tasks/zstack/{}", ids(1)[0]);
    let tasks = ["tasks/prime/15", &zstack, "tasks/prime/25"].map(|task| json!({ "task": task }));
    let body = json!({ "requests": tasks }).to_string();
    let told = tell(&gateway, request("POST /tasks:batchStop?validate_only=true", JSON, full(body))).await;
    assert_eq!(told.status, 207);
    let reasons = [0, 1, 2].map(|at| told.text(&format!("/results/{at}/error/reason")));
    assert_eq!(reasons, ["UNAUTHENTICATED", "", "UNAUTHENTICATED"]);
    assert_eq!(told.text("/results/0/error/provider"), "prime");
    assert_eq!(told.json()["vendor_requests"].as_array().unwrap().len(), 1);
}
