//! Any order of events over one key: at most one permission to send within the retention.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::advance;

use super::tests::{RETENTION, begin, kept, memory};
use super::{Claim, Doubt, Entry};
use crate::model::answer::Outcome;
use crate::model::reason::Reason;

/// What may happen to one key, by one of a few calls.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The call comes, unless it holds a claim already.
    Begin(usize),
    /// It is about to send.
    Send(usize),
    /// It ends; with a reason, that one.
    Finish(usize, Option<Reason>),
    /// A repetition looks, and sees that it is done.
    Look(usize),
    /// Time passes, in seconds.
    Wait(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let reasons = prop::sample::select(vec![
        None,
        Some(Reason::InvalidRequest),
        Some(Reason::VendorTimeout),
        Some(Reason::VendorRejected),
        Some(Reason::Internal),
    ]);
    let waits = prop::sample::select(vec![
        1,
        20,
        35,
        36,
        3600,
        RETENTION.as_secs() - 36,
        RETENTION.as_secs(),
        RETENTION.as_secs() + 40,
    ]);
    let event = prop_oneof![
        4 => (0..CALLS).prop_map(Event::Begin),
        4 => (0..CALLS).prop_map(Event::Send),
        3 => (0..CALLS, reasons).prop_map(|(call, reason)| Event::Finish(call, reason)),
        1 => (0..CALLS).prop_map(Event::Look),
        3 => waits.prop_map(Event::Wait),
    ];
    prop::collection::vec(event, 1..60)
}

const CALLS: usize = 4;

/// Plays events; at every permission to send, nobody else may have been permitted within the retention.
async fn play(events: &[Event]) -> Result<(), TestCaseError> {
    let keeper = memory();
    let mut claims: [Option<Claim>; CALLS] = Default::default();
    let mut doubts: [Option<Doubt>; CALLS] = Default::default();
    let began = tokio::time::Instant::now();
    let mut permitted: Option<(usize, Duration)> = None;
    for event in events {
        match *event {
            Event::Begin(call) if claims[call].is_none() => match begin(&keeper, "k").await {
                Ok(Entry::Fresh(claim)) => claims[call] = Some(claim),
                Ok(Entry::Doubtful(doubt)) => doubts[call] = Some(doubt),
                Ok(Entry::Replay(kept)) => prop_assert_ne!(kept.outcome, Outcome::Unknown),
                Err(error) => prop_assert_eq!(error.reason, Reason::IdempotencyKeyInUse),
            },
            Event::Send(call) => {
                if let Some(claim) = &claims[call]
                    && claim.sending().await.is_ok()
                {
                    if let Some((other, at)) = permitted {
                        let since = began.elapsed() - at;
                        prop_assert!(other == call || since >= RETENTION, "two sends, {since:?} apart");
                    }
                    permitted = Some((call, began.elapsed()));
                }
            }
            Event::Finish(call, reason) => {
                if let Some(claim) = claims[call].take() {
                    claim.settle(kept(reason), true).await;
                }
            }
            Event::Look(call) => {
                if let Some(doubt) = doubts[call].take() {
                    let (found, _) = doubt.reconcile(async { Some(kept(None)) }).await.unwrap();
                    prop_assert_eq!(found.outcome, Outcome::Done);
                }
            }
            Event::Begin(_) => {}
            Event::Wait(seconds) => advance(Duration::from_secs(seconds)).await,
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_interleaving_permits_two_sends(events in events()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(&events))?;
    }
}
