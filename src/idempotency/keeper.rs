//! The keeper: what a call does with its key, from the first word to the last.
//!
//! **Shape**: [`Keeper::begin`] -> [`Entry`]; a [`Claim`] says `sending` before the first byte goes to a vendor and `settle` with the answer.
//!
//! **Invariants**: fails closed: where the store says nothing in time, nothing is sent. What is kept is decided in one place
//! ([`is_said_again`]). An answer that could not be recorded is told all the same, as it is true; its record then becomes unknown by
//! itself, and never an answer that nobody gave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::fingerprint::{Fingerprint, Name, Scope};
use super::key::IdempotencyKey;
use super::record::{Begun, Kept, Ticket};
use super::records::{Census, Records, StoreError, Stored};
use crate::model::answer::Outcome;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// Keeps keys in a store. Clones share it.
#[derive(Clone, Debug)]
pub struct Keeper {
    records: Arc<dyn Records>,
    patience: Duration,
}

/// What comes of a key.
#[derive(Debug)]
pub enum Entry {
    /// The first call may have acted and nobody knows; nothing is sent. A look may say more.
    Doubtful(Doubt),
    /// The call is the first.
    Fresh(Claim),
    /// The answer that the first call had.
    Replay(Kept),
}

/// The right to make the call of a key, once.
#[derive(Debug)]
pub struct Claim {
    place: Place,
    lease: Duration,
    /// Has something perhaps been sent?
    sent: AtomicBool,
}

/// A call of which nobody knows what it came to.
#[derive(Debug)]
pub struct Doubt {
    place: Place,
    first: Option<Kept>,
}

/// What became of the record of a call that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The answer is kept.
    Kept,
    /// There is none: the key is free.
    Released,
    /// The store did not take it; repetitions will hear that nobody knows.
    Unrecorded,
}

/// A record and who may change it.
#[derive(Clone, Debug)]
struct Place {
    keeper: Keeper,
    name: Name,
    ticket: Ticket,
}

/// What an answer means for its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disposal {
    Keep,
    Release,
}

impl Keeper {
    /// Keeps keys in this store.
    #[must_use]
    pub fn new(records: Arc<dyn Records>) -> Self {
        Self {
            records,
            patience: PATIENCE,
        }
    }

    /// A call comes with a key. `lease` is how long it may take at most until it is answered.
    ///
    /// # Errors
    /// `IDEMPOTENCY_KEY_IN_USE`, `IDEMPOTENCY_KEY_REUSED`, and `IDEMPOTENCY_UNAVAILABLE` where the store has no room or no answer.
    pub async fn begin(
        &self,
        scope: &Scope,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
        lease: Duration,
    ) -> Result<Entry, GatewayError> {
        let ticket = Ticket(uuid::Uuid::new_v4().as_u128());
        let name = Name::of(scope, key);
        let lease = lease + SLACK;
        let place = |ticket| Place {
            keeper: self.clone(),
            name,
            ticket,
        };
        let begun = self
            .ask(self.records.begin(name, fingerprint, ticket, lease))
            .await
            .map_err(unavailable)?;
        match begun {
            Begun::Fresh => Ok(Entry::Fresh(Claim {
                place: place(ticket),
                lease,
                sent: AtomicBool::new(false),
            })),
            Begun::InFlight => {
                let detail = "a call with this key is under way; the same request finds its answer here when it has ended";
                Err(GatewayError::new(Reason::IdempotencyKeyInUse, detail).with_retry_after(IN_USE_RETRY_AFTER))
            }
            Begun::Mismatch => {
                let detail = "this key was given for another request: another task, body or credential; nothing was done now";
                Err(GatewayError::new(Reason::IdempotencyKeyReused, detail))
            }
            Begun::Lost(holder) => Ok(Entry::Doubtful(Doubt {
                place: place(holder),
                first: None,
            })),
            Begun::Replay(kept, holder) if kept.outcome == Outcome::Unknown => Ok(Entry::Doubtful(Doubt {
                place: place(holder),
                first: Some(kept),
            })),
            Begun::Replay(kept, _) => Ok(Entry::Replay(kept)),
        }
    }

    /// How full the store is, where this instance is the one to say so.
    #[must_use]
    pub fn census(&self) -> Option<Census> {
        self.records.census()
    }

    async fn ask<T>(&self, step: Stored<'_, T>) -> Result<T, StoreError> {
        tokio::time::timeout(self.patience, step)
            .await
            .unwrap_or(Err(StoreError::Unavailable))
    }
}

impl Claim {
    /// Something is about to be sent. To be said before each request that acts, and nothing may be sent where it fails.
    ///
    /// # Errors
    /// `IDEMPOTENCY_UNAVAILABLE` where the store does not take it, or has given the call up.
    pub async fn sending(&self) -> Result<(), GatewayError> {
        let Place { keeper, name, ticket } = &self.place;
        match keeper.ask(keeper.records.sending(*name, *ticket, self.lease)).await {
            Ok(Ok(())) => {
                self.sent.store(true, Ordering::Relaxed);
                Ok(())
            }
            Ok(Err(lapsed)) => Err(unavailable(StoreError::Unavailable).with_internal(lapsed.to_string())),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Has something perhaps been sent?
    #[must_use]
    pub fn has_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    /// The call was answered like this. `heard` is whether the vendor may have heard of it: what was about to be sent may provably
    /// never have left. A call for many tasks was heard of where what came of one of them [is said again](is_said_again).
    pub async fn settle(&self, kept: Kept, heard: bool) -> Settled {
        let Place { keeper, name, ticket } = &self.place;
        let (step, settled) = match Disposal::of(&kept, heard && self.has_sent()) {
            Disposal::Keep => (keeper.records.finish(*name, *ticket, kept), Settled::Kept),
            Disposal::Release => (keeper.records.forget(*name, *ticket), Settled::Released),
        };
        match keeper.ask(step).await {
            Ok(Ok(())) => settled,
            Ok(Err(_)) | Err(_) => Settled::Unrecorded,
        }
    }
}

impl Doubt {
    /// Is there an answer at all, that says that nobody knows?
    #[must_use]
    pub fn first(&self) -> Option<&Kept> {
        self.first.as_ref()
    }

    /// What a look says of the call, where it says anything: then that is what the call came to, from now on. Nothing is ever sent for
    /// it again.
    ///
    /// # Errors
    /// `IDEMPOTENCY_OUTCOME_LOST` where neither the look nor a first answer says anything.
    pub async fn reconcile(self, look: impl Future<Output = Option<Kept>>) -> Result<(Kept, bool), GatewayError> {
        let found = look.await.filter(|found| found.outcome != Outcome::Unknown);
        let Place { keeper, name, ticket } = &self.place;
        match (found, self.first) {
            (Some(found), _) => {
                // What was seen is true, whether or not the store takes it: the next one looks again.
                let _untold = keeper.ask(keeper.records.reconcile(*name, *ticket, found.clone())).await;
                Ok((found, true))
            }
            (None, Some(first)) => Ok((first, false)),
            (None, None) => {
                let detail =
                    "the call with this key may have acted, and nobody heard what came of it; a GET of the task says what the vendor shows";
                Err(GatewayError::new(Reason::IdempotencyOutcomeLost, detail))
            }
        }
    }
}

impl Disposal {
    fn of(kept: &Kept, heard: bool) -> Self {
        match is_said_again(kept.outcome, kept.reason, heard) {
            true => Self::Keep,
            false => Self::Release,
        }
    }
}

/// Is it what a repetition hears? Successes and whatever may have acted are. A refusal is if the vendor heard of the call; where the
/// table of reasons says that the same call may be sent again, its key is part of that.
#[must_use]
pub fn is_said_again(outcome: Outcome, reason: Option<Reason>, heard: bool) -> bool {
    let retryable = reason.is_some_and(|reason| reason.facts().retryable);
    match outcome {
        Outcome::Accepted | Outcome::Done | Outcome::Unknown => true,
        Outcome::NotDone => heard && !retryable,
    }
}

fn unavailable(error: StoreError) -> GatewayError {
    let detail = match error {
        StoreError::Full => {
            "as many idempotency keys are kept as there is room for; nothing was done, as the key could not protect the call"
        }
        StoreError::Unavailable => "the idempotency key could not be kept; nothing was done, as the key could not protect the call",
    };
    GatewayError::new(Reason::IdempotencyUnavailable, detail)
        .with_internal(error.to_string())
        .with_retry_after(UNAVAILABLE_RETRY_AFTER)
}

/// For one step of a store: ten round trips to another zone.
const PATIENCE: Duration = Duration::from_millis(200);
/// Beyond a call's own time: to tell the store its answer.
const SLACK: Duration = Duration::from_secs(5);
/// Most calls end within a second or two.
const IN_USE_RETRY_AFTER: Duration = Duration::from_secs(1);
/// A store that is being restarted is mostly back by then.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(5);
