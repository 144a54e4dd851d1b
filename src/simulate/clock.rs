//! The time of all simulators: the real one, and as far ahead of it as somebody asked for.
//!
//! Tokens expire, keys are locked and calls are counted by this clock, so that a test can let a day pass without waiting for it.
//!
//! **Invariants.** It never goes back. Under a paused tokio clock it stands still as well.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// A clock that can be put forward.
#[derive(Debug)]
pub(super) struct Clock {
    started: Timestamp,
    since: Instant,
    ahead_ms: AtomicU64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            started: Timestamp::now(),
            since: Instant::now(),
            ahead_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        let ahead = Duration::from_millis(self.ahead_ms.load(Ordering::Acquire));
        later(later(self.started, self.since.elapsed()), ahead)
    }

    /// Lets so much time pass at once.
    pub(super) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        // The update never declines, so there is no error.
        let _ = self
            .ahead_ms
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |ahead| Some(ahead.saturating_add(by)));
    }
}

/// The moment so much later, or the end of time.
pub(super) fn later(moment: Timestamp, by: Duration) -> Timestamp {
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Whether two moments are at most `limit` apart, whichever comes first.
pub(super) fn are_close(one: Timestamp, other: Timestamp, limit: Duration) -> bool {
    one.duration_since(other).unsigned_abs() <= limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_when_it_is_told_to() {
        let clock = Clock::new();
        let before = clock.now();
        clock.advance(Duration::from_secs(86_400));
        let after = clock.now();
        assert!(!are_close(before, after, Duration::from_secs(86_399)));
        assert!(are_close(after, before, Duration::from_secs(86_500)));
        assert_eq!(later(Timestamp::MAX, Duration::from_secs(1)), Timestamp::MAX);
    }
}
