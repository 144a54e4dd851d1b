//! Keys from the first call to the last repetition, on a paused clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Map;
use tokio::time::advance;

use super::record::Lapsed;
use super::*;
use crate::model::answer::Outcome;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

fn key(text: &str) -> IdempotencyKey {
    let value = HeaderValue::from_str(&format!("\"{text}\"")).unwrap();
    let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY, value)]);
    IdempotencyKey::parse(&headers).unwrap().unwrap()
}

fn scope(caller: Option<&str>) -> Scope {
    Scope {
        caller: caller.map(str::to_owned),
        provider: Some("acme".to_owned()),
        action: "stop".to_owned(),
    }
}

fn fingerprint(path: &str) -> Fingerprint {
    Fingerprint::of(&Method::POST, path, &Map::new(), &HeaderMap::new())
}

pub(super) fn kept(reason: Option<Reason>) -> Kept {
    let (status, outcome) = reason.map_or((200, Outcome::Done), |reason| (reason.facts().status, reason.facts().outcome));
    Kept {
        status,
        body: Bytes::from_static(b"{}"),
        outcome,
        reason,
    }
}

pub(super) fn memory() -> Keeper {
    Keeper::new(Arc::new(Memory::new(MemoryLimits::default())))
}

pub(super) async fn begin(keeper: &Keeper, name: &str) -> Result<Entry, GatewayError> {
    keeper
        .begin(&scope(None), &key(name), fingerprint("/tasks/acme/15:stop"), LEASE)
        .await
}

#[track_caller]
fn fresh(entry: Result<Entry, GatewayError>) -> Claim {
    match entry {
        Ok(Entry::Fresh(claim)) => claim,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn replay(entry: Result<Entry, GatewayError>) -> Kept {
    match entry {
        Ok(Entry::Replay(kept)) => kept,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn doubtful(entry: Result<Entry, GatewayError>) -> Doubt {
    match entry {
        Ok(Entry::Doubtful(doubt)) => doubt,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(entry: Result<Entry, GatewayError>) -> Reason {
    entry.map(drop).unwrap_err().reason
}

const LEASE: Duration = Duration::from_secs(30);
pub(super) const RETENTION: Duration = DEFAULT_RETENTION;

#[tokio::test(start_paused = true)]
async fn the_first_answer_is_said_again_until_the_retention_is_over() {
    let keeper = memory();
    let claim = fresh(begin(&keeper, "k").await);
    assert!(!claim.has_sent());
    let again = begin(&keeper, "k").await.map(drop).unwrap_err();
    assert_eq!((again.reason, again.retry_after.is_some()), (Reason::IdempotencyKeyInUse, true));
    claim.sending().await.unwrap();
    assert!(claim.has_sent());
    assert_eq!(refused(begin(&keeper, "k").await), Reason::IdempotencyKeyInUse);
    let answer = Kept {
        body: Bytes::from_static(b"{\"outcome\":\"accepted\"}"),
        status: 202,
        outcome: Outcome::Accepted,
        reason: None,
    };
    assert_eq!(claim.settle(answer.clone(), true).await, Settled::Kept);
    assert_eq!(replay(begin(&keeper, "k").await), answer);
    advance(RETENTION - Duration::from_millis(1)).await;
    assert_eq!(replay(begin(&keeper, "k").await), answer);
    advance(Duration::from_millis(1)).await;
    drop(fresh(begin(&keeper, "k").await));
}

#[tokio::test(start_paused = true)]
async fn a_key_belongs_to_its_caller_and_its_request() {
    let keeper = memory();
    let path = "/tasks/acme/15:stop";
    let claim = fresh(begin(&keeper, "k").await);
    let other_path = keeper
        .begin(&scope(None), &key("k"), fingerprint("/tasks/acme/16:stop"), LEASE)
        .await;
    assert_eq!(refused(other_path), Reason::IdempotencyKeyReused, "while the first is under way");
    claim.settle(kept(None), true).await;
    let other_path = keeper
        .begin(&scope(None), &key("k"), fingerprint("/tasks/acme/16:stop"), LEASE)
        .await;
    assert_eq!(refused(other_path), Reason::IdempotencyKeyReused);
    // Somebody else's key of the same name is another one, and so is another key.
    for (caller, name) in [(Some("anna"), "k"), (Some("bert"), "k"), (None, "l")] {
        drop(fresh(keeper.begin(&scope(caller), &key(name), fingerprint(path), LEASE).await));
    }
    replay(begin(&keeper, "k").await);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_sent_leaves_the_key_free() {
    let keeper = memory();
    for reason in [
        Reason::InvalidRequest,
        Reason::ProviderBusy,
        Reason::VendorUnreachable,
        Reason::TaskNotFound,
    ] {
        let claim = fresh(begin(&keeper, "k").await);
        assert_eq!(claim.settle(kept(Some(reason)), true).await, Settled::Released, "{reason:?}");
    }
    // An instance that dies before it sends: the lease ends, and that is all.
    let died = fresh(begin(&keeper, "k").await);
    advance(LEASE * 2).await;
    let next = fresh(begin(&keeper, "k").await);
    // Had it only been slow, it may not send any more, and changes nothing.
    let error = died.sending().await.unwrap_err();
    assert_eq!((error.reason, died.has_sent()), (Reason::IdempotencyUnavailable, false));
    assert_eq!(died.settle(kept(Some(error.reason)), true).await, Settled::Unrecorded);
    next.sending().await.unwrap();
    next.settle(kept(None), true).await;
    replay(begin(&keeper, "k").await);
    assert_eq!(keeper.census().unwrap().records, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_vendor_is_kept_unless_it_may_be_tried_again() {
    let keeper = memory();
    for (reason, settled) in [
        (Reason::VendorRejected, Settled::Kept),
        (Reason::TaskStateConflict, Settled::Kept),
        (Reason::VendorTimeout, Settled::Kept),
        (Reason::Internal, Settled::Kept),
        (Reason::VendorRateLimited, Settled::Released),
        (Reason::VendorUnavailable, Settled::Released),
    ] {
        let claim = fresh(begin(&keeper, reason.code()).await);
        claim.sending().await.unwrap();
        assert_eq!(claim.settle(kept(Some(reason)), true).await, settled, "{reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_did_nothing_is_released() {
    for reason in Reason::ALL {
        for (sent, heard) in [(false, true), (true, true), (true, false)] {
            let keeper = memory();
            let claim = fresh(begin(&keeper, "k").await);
            if sent {
                claim.sending().await.unwrap();
            }
            let facts = reason.facts();
            let released = claim.settle(kept(Some(reason)), heard).await == Settled::Released;
            let expected = facts.outcome == Outcome::NotDone && (!sent || !heard || facts.retryable);
            assert_eq!(released, expected, "{} {sent}", facts.code);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_heard_of_stays_unknown() {
    let keeper = memory();
    let died = fresh(begin(&keeper, "k").await);
    died.sending().await.unwrap();
    advance(LEASE * 2).await;
    for _ in 0..3 {
        let doubt = doubtful(begin(&keeper, "k").await);
        assert!(doubt.first().is_none());
        let error = doubt.reconcile(async { None }).await.unwrap_err();
        assert_eq!(error.reason, Reason::IdempotencyOutcomeLost);
        advance(RETENTION / 4).await;
    }
    // A late word of the first is as good as an early one.
    assert_eq!(died.settle(kept(None), true).await, Settled::Kept);
    assert_eq!(replay(begin(&keeper, "k").await), kept(None));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_heard_of_is_forgotten_with_the_retention() {
    let keeper = memory();
    let died = fresh(begin(&keeper, "k").await);
    died.sending().await.unwrap();
    advance(LEASE + Duration::from_secs(5) + RETENTION - Duration::from_millis(1)).await;
    doubtful(begin(&keeper, "k").await);
    advance(Duration::from_millis(1)).await;
    drop(fresh(begin(&keeper, "k").await));
}

#[tokio::test(start_paused = true)]
async fn a_look_may_say_what_nobody_knew() {
    let keeper = memory();
    let lost = kept(Some(Reason::VendorTimeout));
    let found = Kept {
        body: Bytes::from_static(b"{\"already\":true}"),
        ..kept(None)
    };
    let claim = fresh(begin(&keeper, "k").await);
    claim.sending().await.unwrap();
    claim.settle(lost.clone(), true).await;
    // The look says nothing, or nothing new: the first answer again.
    for nothing in [None, Some(kept(Some(Reason::BadVendorResponse)))] {
        let doubt = doubtful(begin(&keeper, "k").await);
        assert_eq!(doubt.first(), Some(&lost));
        assert_eq!(doubt.reconcile(async { nothing }).await, Ok((lost.clone(), false)));
    }
    let (one, other) = (doubtful(begin(&keeper, "k").await), doubtful(begin(&keeper, "k").await));
    assert_eq!(one.reconcile(async { Some(found.clone()) }).await, Ok((found.clone(), true)));
    assert_eq!(replay(begin(&keeper, "k").await), found);
    // Who looked at the same time tells what they saw, and changes nothing.
    let seen = kept(None);
    assert_eq!(other.reconcile(async { Some(seen.clone()) }).await, Ok((seen, true)));
    assert_eq!(replay(begin(&keeper, "k").await), found);
}

#[tokio::test(start_paused = true)]
async fn of_a_hundred_at_once_one_may_send() {
    let records: Arc<dyn Records> = Arc::new(Memory::new(MemoryLimits::default()));
    let instances = [Keeper::new(Arc::clone(&records)), Keeper::new(records)];
    let entries = futures_util::future::join_all((0..100).map(|at| begin(&instances[at % 2], "k"))).await;
    let fresh = entries.iter().filter(|entry| matches!(entry, Ok(Entry::Fresh(_)))).count();
    let in_use = entries
        .iter()
        .filter(|entry| entry.as_ref().is_err_and(|error| error.reason == Reason::IdempotencyKeyInUse))
        .count();
    assert_eq!((fresh, in_use), (1, 99));
}

/// A store that is there until it is not.
#[derive(Debug)]
struct Shaky {
    inner: Memory,
    hangs: AtomicBool,
}

impl Shaky {
    fn or<'a, T: 'a>(&self, stored: Stored<'a, T>) -> Stored<'a, T> {
        match self.hangs.load(Ordering::Relaxed) {
            true => Box::pin(std::future::pending()),
            false => stored,
        }
    }
}

impl Records for Shaky {
    fn begin(&self, name: Name, fingerprint: Fingerprint, ticket: Ticket, lease: Duration) -> Stored<'_, Begun> {
        self.or(self.inner.begin(name, fingerprint, ticket, lease))
    }

    fn sending(&self, name: Name, ticket: Ticket, lease: Duration) -> Stored<'_, Result<(), Lapsed>> {
        self.or(self.inner.sending(name, ticket, lease))
    }

    fn finish(&self, name: Name, ticket: Ticket, kept: Kept) -> Stored<'_, Result<(), Lapsed>> {
        if self.hangs.load(Ordering::Relaxed) {
            return Box::pin(std::future::ready(Err(StoreError::Unavailable)));
        }
        self.inner.finish(name, ticket, kept)
    }

    fn forget(&self, name: Name, ticket: Ticket) -> Stored<'_, Result<(), Lapsed>> {
        self.or(self.inner.forget(name, ticket))
    }

    fn reconcile(&self, name: Name, ticket: Ticket, found: Kept) -> Stored<'_, Result<(), Lapsed>> {
        self.or(self.inner.reconcile(name, ticket, found))
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_fails_closed() {
    let store = Arc::new(Shaky {
        inner: Memory::new(MemoryLimits::default()),
        hangs: AtomicBool::new(true),
    });
    let keeper = Keeper::new(Arc::clone(&store) as Arc<dyn Records>);
    let before = tokio::time::Instant::now();
    let error = begin(&keeper, "k").await.map(drop).unwrap_err();
    assert_eq!((error.reason, error.retry_after.is_some()), (Reason::IdempotencyUnavailable, true));
    assert_eq!(before.elapsed(), Duration::from_millis(200));
    assert_eq!((error.reason.facts().outcome, error.reason.facts().status), (Outcome::NotDone, 503));
    // It dies between the claim and the send: nothing is sent.
    store.hangs.store(false, Ordering::Relaxed);
    advance(LEASE * 2).await;
    let claim = fresh(begin(&keeper, "k").await);
    // The store hears it, and is not heard.
    store.hangs.store(true, Ordering::Relaxed);
    assert_eq!(claim.sending().await.unwrap_err().reason, Reason::IdempotencyUnavailable);
    assert!(!claim.has_sent());
    // It dies under a call: the answer is told, and whoever repeats it hears that nobody knows, never "done".
    store.hangs.store(false, Ordering::Relaxed);
    advance(LEASE * 2).await;
    doubtful(begin(&keeper, "k").await);
    let claim = fresh(begin(&keeper, "l").await);
    claim.sending().await.unwrap();
    store.hangs.store(true, Ordering::Relaxed);
    assert_eq!(claim.settle(kept(None), true).await, Settled::Unrecorded);
    store.hangs.store(false, Ordering::Relaxed);
    assert_eq!(refused(begin(&keeper, "l").await), Reason::IdempotencyKeyInUse);
    advance(LEASE * 2).await;
    doubtful(begin(&keeper, "l").await);
}

fn small(records: usize, bytes: usize) -> Keeper {
    Keeper::new(Arc::new(Memory::new(MemoryLimits {
        records,
        bytes,
        at_least: Duration::from_secs(60),
        ..MemoryLimits::default()
    })))
}

async fn answered(keeper: &Keeper, name: &str, body: usize, outcome: Outcome) {
    let claim = fresh(begin(keeper, name).await);
    claim.sending().await.unwrap();
    let answer = Kept {
        body: vec![b'x'; body].into(),
        outcome,
        ..kept(None)
    };
    assert_eq!(claim.settle(answer, true).await, Settled::Kept);
}

#[tokio::test(start_paused = true)]
async fn room_is_made_of_what_is_old_and_known() {
    let keeper = small(4, 1 << 20);
    answered(&keeper, "unknown", 100, Outcome::Unknown).await;
    let under_way = fresh(begin(&keeper, "under way").await);
    under_way.sending().await.unwrap();
    answered(&keeper, "old", 100, Outcome::Done).await;
    advance(Duration::from_secs(10)).await;
    answered(&keeper, "young", 100, Outcome::Accepted).await;
    // All of it is needed for now: a key that could not be kept is refused.
    assert_eq!(refused(begin(&keeper, "next").await), Reason::IdempotencyUnavailable);
    advance(Duration::from_secs(50)).await;
    let _next = fresh(begin(&keeper, "next").await);
    assert_eq!(keeper.census().map(|census| (census.records, census.evicted)), Some((4, 1)));
    replay(begin(&keeper, "young").await);
    // The oldest went; those of which nobody knows did not, and do not go later either.
    assert_eq!(refused(begin(&keeper, "old").await), Reason::IdempotencyUnavailable);
    advance(Duration::from_secs(600)).await;
    for name in ["a", "b"] {
        answered(&keeper, name, 100, Outcome::Done).await;
    }
    assert_eq!(refused(begin(&keeper, "c").await), Reason::IdempotencyUnavailable);
    for name in ["unknown", "under way"] {
        doubtful(begin(&keeper, name).await);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_and_given_back() {
    let keeper = small(1000, 64 << 10);
    for at in 0..100 {
        answered(&keeper, &at.to_string(), 4 << 10, Outcome::Done).await;
        advance(Duration::from_secs(60)).await;
        let census = keeper.census().unwrap();
        assert!(census.bytes <= 64 << 10 && census.records <= 15, "{census:?}");
    }
    assert!(keeper.census().unwrap().evicted > 80);
    advance(RETENTION * 2).await;
    assert_eq!(keeper.census().map(|census| (census.records, census.bytes)), Some((0, 0)));
    // Released ones leave nothing either.
    fresh(begin(&keeper, "k").await)
        .settle(kept(Some(Reason::InvalidRequest)), true)
        .await;
    assert_eq!(keeper.census().map(|census| (census.records, census.bytes)), Some((0, 0)));
}

#[test]
fn keepers_travel_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Keeper>();
    shared::<Claim>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // In memory nothing is waited for.
    runtime.block_on(async { assert!(begin(&memory(), "k").now_or_never().is_some()) });
}
