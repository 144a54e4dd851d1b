//! What can go wrong inside: overload, panics, errors of every reason, providers that are not configured.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::layer::{Exchange, Outbound};
use taskgate::model::error::GatewayError;
use taskgate::model::reason::Reason;
use taskgate::stack::{self, StackLimits};
use tokio::sync::Notify;
use tower::service_fn;

use super::super::rig::{self, PROVIDERS};
use super::{BrokenOff, JSON, PRIME, Stage, ZSTACK, check, expect_panics, full, plain_success, request, tell, vendor_that_says};

/// A body that says whether it was read.
struct Watched(Arc<AtomicUsize>);

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(None)
    }
}

#[tokio::test(start_paused = true)]
async fn one_call_too_many_is_shed_before_its_body_is_read() {
    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell_arrived, wait) = (Arc::clone(&arrived), Arc::clone(&release));
    let vendor = service_fn(move |outbound: Outbound| {
        let (arrived, wait) = (Arc::clone(&tell_arrived), Arc::clone(&wait));
        async move {
            if !outbound.route.is_look() {
                arrived.notify_one();
                wait.notified().await;
            }
            Ok::<Exchange, GatewayError>(plain_success(&outbound))
        }
    });
    let sources = shipped::sources();
    let table = rig::compiled(&sources, &rig::case_environment(&sources, &PROVIDERS)).table;
    let limits = StackLimits {
        in_flight: 2,
        ..StackLimits::default()
    };
    let gateway = stack::build(table, &limits, vendor);
    let under_way: Vec<_> = (0..2)
        .map(|_| {
            let gateway = gateway.clone();
            tokio::spawn(async move { tell(&gateway, request(ZSTACK, "", full(""))).await })
        })
        .collect();
    arrived.notified().await;
    tokio::task::yield_now().await;

    let read = Arc::new(AtomicUsize::new(0));
    for line in [PRIME, ZSTACK, "GET /nothing"] {
        let told = tell(&gateway, request(line, JSON, Watched(Arc::clone(&read)).boxed_unsync())).await;
        assert_eq!(told.word(), "503 OVERLOADED", "{line}");
        assert_eq!(
            (told.header("retry-after"), told.text("/outcome").as_str()),
            (Some("1"), "not_done")
        );
        assert_eq!(told.json()["retryable"], true);
    }
    assert_eq!(read.load(Ordering::Relaxed), 0, "a call that is shed costs no reading");

    // Those under way are served to their end, and then there is room again.
    release.notify_waiters();
    for told in under_way {
        assert_eq!(told.await.unwrap().word(), "200 done");
    }
    release.notify_one();
    assert_eq!(tell(&gateway, request(ZSTACK, "", full(""))).await.word(), "200 done");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_answer_and_takes_nobody_along() {
    expect_panics();
    let sources = shipped::sources();
    let table = rig::compiled(&sources, &rig::case_environment(&sources, &PROVIDERS)).table;
    let limits = StackLimits {
        in_flight: 1,
        ..StackLimits::default()
    };
    let vendor = service_fn(|outbound: Outbound| async move {
        assert!(outbound.provider.name != "prime", "a secret, and panicked on purpose");
        Ok::<Exchange, GatewayError>(plain_success(&outbound))
    });
    let gateway = stack::build(table, &limits, vendor);
    for _ in 0..3 {
        let told = tell(&gateway, request(PRIME, "x-request-id: kept-1", full(""))).await;
        assert_eq!(told.word(), "500 INTERNAL");
        assert_eq!(
            (told.text("/request_id"), told.text("/outcome")),
            ("kept-1".to_owned(), "unknown".to_owned())
        );
        let text = String::from_utf8_lossy(&told.body).into_owned();
        for part in ["secret", "panic", "purpose", ".rs"] {
            assert!(!text.contains(part), "{text}");
        }
        // The one place in flight is free again.
        assert_eq!(tell(&gateway, request(ZSTACK, "", full(""))).await.word(), "200 done");
    }
}

#[tokio::test(start_paused = true)]
async fn every_reason_has_its_status_outcome_and_document() {
    for reason in Reason::ALL {
        let facts = reason.facts();
        let error = GatewayError::new(reason, "what the caller may know")
            .with_internal("10.1.2.3 s3cret")
            .with_retry_after(Duration::from_millis(1500));
        let told = tell(&vendor_that_says(error), request(PRIME, "", full(""))).await;
        assert_eq!(told.word(), format!("{} {}", facts.status, facts.code));
        assert_eq!(told.text("/outcome"), facts.outcome.as_str());
        assert_eq!(
            (told.text("/title").as_str(), told.text("/provider").as_str()),
            (facts.title, "prime")
        );
        assert_eq!(told.text("/type"), format!("urn:taskgate:problem:{}", reason.slug()));
        assert_eq!(told.text("/instance"), "/tasks/prime/15:stop");
        assert_eq!(told.header("retry-after"), Some("2"), "rounded up");
        assert!(!String::from_utf8_lossy(&told.body).contains("s3cret"), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_without_its_variables_names_them_and_the_others_work() {
    let sources = shipped::sources();
    let stage = Stage::over(
        &sources,
        &rig::case_environment(&sources, &["zstack", "dbss"]),
        &StackLimits::default(),
    );
    for (provider, id, missing) in [
        ("cfw", "1dcddab3-7d79-4a56-9e67-4aa0962b98ad", &["CFW_ENDPOINT"][..]),
        ("prime", "15", &["PRIME_ENDPOINT", "PRIME_PASSWORD", "PRIME_USER"]),
    ] {
        let told = check(
            &stage,
            &format!("POST /tasks/{provider}/{id}:stop"),
            "",
            "",
            "503 PROVIDER_NOT_CONFIGURED",
        )
        .await;
        assert_eq!(told.json()["metadata"]["missing"], serde_json::json!(missing));
        for name in missing {
            assert!(told.text("/detail").contains(name), "{told:?}");
        }
        assert_eq!(
            (told.header("retry-after"), told.json()["retryable"].as_bool()),
            (None, Some(false))
        );
    }
    check(&stage, ZSTACK, "", "", "200 done").await;
    check(
        &stage,
        "POST /tasks/dbss/1d07f606-92d2-441c-b05c-dca47e180552:stop",
        "",
        "",
        "202 accepted",
    )
    .await;

    // Without any variable there is still an answer to everything.
    let stage = Stage::over(&sources, &Environment::default(), &StackLimits::default());
    for call in rig::everyday() {
        check(
            &stage,
            &format!("POST /tasks/{}", call.task()),
            "",
            "",
            "503 PROVIDER_NOT_CONFIGURED",
        )
        .await;
    }
    check(&stage, "POST /tasks/prime/15:halt", "", "", "404 UNKNOWN_ACTION").await;
}
