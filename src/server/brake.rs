//! Holds back who comes back at once after a refusal, while the processor does not keep up.
//!
//! A refusal costs less than a call, and more than nothing. Where callers ignore `Retry-After` and come faster than they can be refused,
//! refusing takes the whole processor, and the calls that have a place wait for it in the same row: nobody is served. So a connection
//! rests after a refusal before its next request is read, and the caller's bytes wait in its socket.
//!
//! **Shape**: [`Brake`] is shared by the connections of a server and knows how long a rest is; each connection has a [`Rest`], which says at
//! its end by how much it was overslept. That is how long the row is, so rests grow until it is short.
//!
//! **Invariants**
//! - A refusal itself is not held back, and neither is a connection whose last answer was none.
//! - No rest is longer than [`LONGEST`], a quarter of the shortest `Retry-After`: who keeps to that does not notice.
//! - Without refusals nothing runs here, and what was learned is forgotten.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How long connections rest after a refusal. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Brake(Arc<Mutex<Known>>);

#[derive(Clone, Copy, Debug)]
struct Known {
    rest: Duration,
    /// When that was found out; nothing before the first rest.
    at: Option<Instant>,
}

impl Default for Known {
    fn default() -> Self {
        Self { rest: SHORTEST, at: None }
    }
}

impl Brake {
    /// How long a rest that begins now is.
    fn rest(&self, now: Instant) -> Duration {
        let known = self.known();
        match known.at {
            Some(at) if now.saturating_duration_since(at) < FORGET => known.rest,
            _ => SHORTEST,
        }
    }

    /// A rest was overslept by so much.
    fn overslept(&self, late: Duration, now: Instant) {
        let rest = self.rest(now);
        let mut known = self.known();
        // All who wake up in the same row say the same: one of them is enough.
        if known.at.is_none_or(|at| now.saturating_duration_since(at) >= SETTLE) {
            *known = Known {
                rest: next(rest, late),
                at: Some(now),
            };
        }
    }

    /// Only whole values are written.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Up fast, as nobody is served meanwhile; down more slowly.
fn next(rest: Duration, late: Duration) -> Duration {
    let next = if late > LATE { rest * 2 } else { rest * 3 / 4 };
    next.clamp(SHORTEST, LONGEST)
}

/// The rests of one connection.
#[derive(Debug)]
pub(super) struct Rest {
    brake: Brake,
    /// Made with the first rest and moved after that.
    sleep: Option<Pin<Box<Sleep>>>,
    until: Option<Instant>,
}

impl Rest {
    pub(super) fn new(brake: Brake) -> Self {
        Self {
            brake,
            sleep: None,
            until: None,
        }
    }

    /// After a refusal.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        let until = now + self.brake.rest(now);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(until),
            None => self.sleep = Some(Box::pin(sleep_until(until))),
        }
        self.until = Some(until);
    }

    /// Ready when there is no rest, or no more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let (Some(until), Some(sleep)) = (self.until, &mut self.sleep) {
            ready!(sleep.as_mut().poll(cx));
            self.until = None;
            let now = Instant::now();
            self.brake.overslept(now.saturating_duration_since(until), now);
        }
        Poll::Ready(())
    }
}

/// The resolution of the timer.
const SHORTEST: Duration = Duration::from_millis(1);
/// Four hundred connections cause sixteen hundred refusals a second at the most then: less than a tenth of a processor.
const LONGEST: Duration = Duration::from_millis(250);
/// The timer alone is late by up to one. A call goes through the row some five times, and refusals are due in five milliseconds.
const LATE: Duration = Duration::from_millis(2);
/// So that a change shows before the next one.
const SETTLE: Duration = Duration::from_millis(10);
/// Four times the longest rest: whoever still comes has said something by then.
const FORGET: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_while_they_are_overslept() {
        for (rest, late, expected) in [
            (SHORTEST, Duration::ZERO, SHORTEST),
            (SHORTEST, LATE, SHORTEST),
            (SHORTEST, LATE * 2, SHORTEST * 2),
            (SHORTEST * 8, LATE * 2, SHORTEST * 16),
            (SHORTEST * 8, LATE, SHORTEST * 6),
            (LONGEST, LATE * 2, LONGEST),
            (LONGEST, LATE, LONGEST * 3 / 4),
        ] {
            assert_eq!(next(rest, late), expected, "{rest:?} {late:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_has_overslept_holds_for_all_and_is_forgotten() {
        let brake = Brake::default();
        let wake = async |rest: &mut Rest| std::future::poll_fn(|cx| rest.poll(cx)).await;
        let (mut one, mut other) = (Rest::new(brake.clone()), Rest::new(brake.clone()));
        let start = Instant::now();
        wake(&mut one).await;
        assert_eq!(start.elapsed(), Duration::ZERO, "who was not refused does not rest");
        let mut rests = Vec::new();
        for _ in 0..10 {
            one.begin();
            other.begin();
            rests.push(brake.rest(Instant::now()));
            tokio::time::advance(LONGEST + LATE * 2).await;
            wake(&mut one).await;
            wake(&mut other).await;
        }
        let expected = [1, 2, 4, 8, 16, 32, 64, 128, 250, 250].map(Duration::from_millis);
        assert_eq!(rests, expected, "one of two counts");
        one.begin();
        let before = Instant::now();
        wake(&mut one).await;
        assert!(before.elapsed() > SHORTEST, "and it is slept through");
        tokio::time::advance(FORGET).await;
        assert_eq!(brake.rest(Instant::now()), SHORTEST);
    }
}
