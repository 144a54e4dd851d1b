//! Calls counted over a window of time, for a vendor that takes only so many of them.
//!
//! **Invariants.** The window slides: between any call that is let through and the one `limit` calls earlier lies at least the window.
//! Calls that are refused do not count.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::clock::later;

/// How many calls of each interface were let through, and when.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    passed: Mutex<BTreeMap<&'static str, VecDeque<Timestamp>>>,
}

impl Throttle {
    /// Whether one more call of the interface `name` fits.
    pub(super) fn admits(&self, name: &'static str, now: Timestamp, limit: usize, window: Duration) -> bool {
        let mut passed = self.lock();
        let calls = passed.entry(name).or_default();
        while calls.front().is_some_and(|call| later(*call, window) <= now) {
            calls.pop_front();
        }
        let fits = calls.len() < limit;
        if fits {
            calls.push_back(now);
        }
        fits
    }

    pub(super) fn reset(&self) {
        self.lock().clear();
    }

    /// A panic elsewhere cannot leave the lists half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, VecDeque<Timestamp>>> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides_and_refused_calls_do_not_count() {
        let throttle = Throttle::default();
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let admits = |name, second| throttle.admits(name, at(second), 2, Duration::from_secs(60));
        assert!(admits("a", 0) && admits("a", 30));
        assert!(!admits("a", 59), "two within a minute");
        assert!(admits("b", 59), "another interface");
        assert!(admits("a", 60), "the first is a minute ago");
        assert!(!admits("a", 89) && admits("a", 90));
        throttle.reset();
        assert!(admits("a", 91));
    }
}
