//! The polling hub: all who wait for what one vendor request shows share its looks.
//!
//! **Shape**: a hundred calls wait on one list that may be asked every 15 s -> four looks a minute, each seen by all.
//!
//! **Invariants**
//! - Two looks with the same request begin at least the route's interval apart, whoever asks for them, also when nobody
//!   waited in between; a vendor that says "later" is given that time.
//! - Nobody gets a look that began before they came: it may show what was before their action.
//! - Who hands credentials of their own on shares looks only with themselves.
//! - Whoever waits does the looking, one at a time, in the order of their coming. No waiter, no look: there is no task that could outlive them.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::errand::Look;
use crate::mapping::look::Page;
use crate::model::error::GatewayError;
use crate::route::{Credentials, Provider};

/// How time passes between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// It is only counted, and nobody sleeps: for rehearsals, which have the vendor's turns written down.
    Counted,
    /// By the clock.
    #[default]
    Real,
}

/// What a look came to; shared.
pub type Sight = Arc<Result<Page, GatewayError>>;

/// The lanes of all requests that somebody waits for.
#[derive(Debug, Default)]
pub struct Hub {
    pace: Pace,
    lanes: Mutex<HashMap<LaneKey, Arc<Lane>>>,
}

/// Two requests are the same when all that is sent is, and it is sent to the same place as the same one.
#[derive(Clone, Debug)]
struct LaneKey {
    provider: Arc<Provider>,
    /// The caller's own credentials, where they are handed on: nobody sees what was shown to another one. Prints as `Sensitive`.
    passed: Option<HeaderValue>,
    target: String,
    rest: Vec<u8>,
}

/// One request, looked at by one waiter at a time.
#[derive(Debug)]
struct Lane {
    every: Duration,
    last: tokio::sync::Mutex<Last>,
    /// For the upkeep, which cannot wait for the lock of those who look.
    busy_until: Mutex<Instant>,
}

/// The latest look of a lane.
#[derive(Debug, Default)]
struct Last {
    begun: Option<Instant>,
    sight: Option<Sight>,
    next: Option<Instant>,
}

/// A waiter's place at a lane.
#[derive(Debug)]
pub struct Watch {
    lane: Arc<Lane>,
    since: Instant,
    seen: Option<Instant>,
    until: Beat,
}

/// The time that a waiter has, and what passes of it.
#[derive(Clone, Debug)]
pub struct Beat {
    pace: Pace,
    every: Duration,
    until: Instant,
    left: Duration,
    next: Option<Instant>,
}

impl Hub {
    /// A hub where time passes so.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            lanes: Mutex::default(),
        }
    }

    /// A place among those who wait for what a look shows; `passed` are the headers of the caller that credentials may hand on.
    #[must_use]
    pub fn watch(&self, look: &Look, passed: &HeaderMap, until: Instant) -> Watch {
        let now = Instant::now();
        let every = look.task.every;
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        // A lane that nobody is at is kept until its next look may begin, so that the interval holds for the next one who comes.
        lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || *lane.busy_until.lock().unwrap_or_else(PoisonError::into_inner) > now);
        let lane = lanes.entry(LaneKey::new(look, passed)).or_insert_with(|| {
            Arc::new(Lane {
                every,
                last: tokio::sync::Mutex::default(),
                busy_until: Mutex::new(now),
            })
        });
        Watch {
            lane: Arc::clone(lane),
            since: now,
            seen: None,
            until: self.beat(every, until),
        }
    }

    /// The time of somebody who waits alone.
    #[must_use]
    pub fn beat(&self, every: Duration, until: Instant) -> Beat {
        Beat {
            pace: self.pace,
            every,
            until,
            left: until.saturating_duration_since(Instant::now()),
            next: None,
        }
    }
}

impl PartialEq for LaneKey {
    fn eq(&self, other: &Self) -> bool {
        // After a reload two of one name may be different vendors; those that did not change still share their looks.
        let same_way = Arc::ptr_eq(&self.provider, &other.provider)
            || (&self.provider.name, &self.provider.connection) == (&other.provider.name, &other.provider.connection);
        same_way && (&self.passed, &self.target, &self.rest) == (&other.passed, &other.target, &other.rest)
    }
}

impl Eq for LaneKey {}

impl Hash for LaneKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.provider.name, &self.passed, &self.target, &self.rest).hash(state);
    }
}

impl LaneKey {
    fn new(Look { provider, request, .. }: &Look, passed: &HeaderMap) -> Self {
        let passed = match provider.connection.as_ref().map(|connection| &connection.credentials) {
            Ok(Credentials::Passthrough(name)) => passed.get(name).cloned(),
            _ => None,
        };
        let mut rest = format!("{}\n", request.method).into_bytes();
        for (name, value) in &request.headers {
            rest.extend_from_slice(name.as_str().as_bytes());
            rest.push(b':');
            rest.extend_from_slice(value.as_bytes());
            rest.push(b'\n');
        }
        rest.push(b'\n');
        rest.extend_from_slice(&request.body);
        Self {
            provider: Arc::clone(provider),
            passed: passed.map(|mut value| {
                value.set_sensitive(true);
                value
            }),
            target: request.target.clone(),
            rest,
        }
    }
}

impl Watch {
    /// The next look, done by `look` unless another waiter has done it; nothing when the time is up, or would be before it.
    pub async fn next<F>(&mut self, look: impl FnOnce() -> F + Send) -> Option<Sight>
    where
        F: Future<Output = Result<Page, GatewayError>> + Send,
    {
        if self.until.pace == Pace::Counted {
            return if self.until.next().await {
                Some(Arc::new(look().await))
            } else {
                None
            };
        }
        let until = self.until.until;
        timeout_at(until, self.turn(look)).await.ok().flatten()
    }

    async fn turn<F>(&mut self, look: impl FnOnce() -> F + Send) -> Option<Sight>
    where
        F: Future<Output = Result<Page, GatewayError>> + Send,
    {
        let mut last = self.lane.last.lock().await;
        if let (Some(begun), Some(sight)) = (last.begun, &last.sight)
            && begun >= self.since
            && self.seen.is_none_or(|seen| begun > seen)
        {
            self.seen = Some(begun);
            return Some(Arc::clone(sight));
        }
        if let Some(next) = last.next {
            if next >= self.until.until {
                return None;
            }
            sleep_until(next).await;
        }
        // Noted before it begins: a look that is given up half-way has been asked of the vendor as well.
        let begun = Instant::now();
        *last = Last {
            begun: Some(begun),
            sight: None,
            next: Some(begun + self.lane.every),
        };
        self.lane.is_busy_until(begun + self.lane.every);
        let sight = Arc::new(look().await);
        if let Err(error) = sight.as_ref()
            && let Some(after) = error.retry_after
        {
            let next = (begun + self.lane.every).max(Instant::now() + after);
            last.next = Some(next);
            self.lane.is_busy_until(next);
        }
        last.sight = Some(Arc::clone(&sight));
        self.seen = Some(begun);
        Some(sight)
    }
}

impl Lane {
    fn is_busy_until(&self, until: Instant) {
        *self.busy_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

impl Beat {
    /// Waits for the next time to look, the first of which is now; false when the time is up, or would be before it.
    pub async fn next(&mut self) -> bool {
        let Some(next) = self.next else {
            self.next = Some(Instant::now() + self.every);
            return true;
        };
        match self.pace {
            Pace::Counted => match self.left.checked_sub(self.every) {
                Some(left) => self.left = left,
                None => return false,
            },
            Pace::Real if next >= self.until => return false,
            Pace::Real => sleep_until(next).await,
        }
        self.next = Some(next.max(Instant::now()) + self.every);
        true
    }

    /// When the time is up.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }
}
