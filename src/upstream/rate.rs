//! Counts requests over time against the allowances that they share, and gives each the moment when it may go.
//!
//! **Shape**: `reserve([quotas.acme 4/m], now, latest)` -> a [`Slot`] with its moment, or how long until there would be one.
//!
//! **Invariants**
//! - Every slot of an allowance is given out once, in the order of asking, and is never earlier than the rate allows (GCRA).
//! - All allowances of a request are counted, or none is. One that waits for an allowance has been counted by the others when it came,
//!   so that it holds nobody else up.
//! - A slot that is not used is given back, as long as nobody has come after it.
//! - The state of an allowance is one moment under one name: a store that a fleet shares would hold the same.
//!
//! A library that answers "now or not" does not do: who waits needs a moment of their own, and a refusal must count nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::layer::quota::{Left, Quotas};
use crate::route::Allowance;

/// Who has been given what. One per process, shared by all gates; an allowance is known by its name.
#[derive(Debug, Default)]
pub struct Ledger {
    /// For each allowance the moment up to which it is given out.
    given: Mutex<HashMap<String, Instant>>,
}

/// The moment when a request may go; dropped before it was used, it is given back.
#[derive(Debug)]
pub struct Slot<'a> {
    ledger: &'a Ledger,
    /// When it may go.
    at: Instant,
    /// What was given for it, and the moment before and after.
    taken: Vec<(Arc<Allowance>, Option<Instant>, Instant)>,
}

impl Ledger {
    /// A slot in all of these allowances, not later than `latest`.
    ///
    /// # Errors
    /// From now how long until there is a slot, where that is too late. Nothing has been counted then.
    pub fn reserve<'a>(
        &self,
        wanted: impl Iterator<Item = &'a Arc<Allowance>> + Clone,
        now: Instant,
        latest: Instant,
    ) -> Result<Slot<'_>, Duration> {
        let mut given = self.given();
        let at = wanted.clone().map(|one| earliest(one, &given, now)).fold(now, Instant::max);
        if at > latest.max(now) {
            return Err(at - now);
        }
        let taken = wanted.map(|one| {
            let before = given.get(&one.name).copied();
            let after = before.unwrap_or(now).max(now) + one.rate.interval();
            match given.get_mut(&one.name) {
                Some(until) => *until = after,
                None => drop(given.insert(one.name.clone(), after)),
            }
            (Arc::clone(one), before, after)
        });
        let taken = taken.collect();
        drop(given);
        Ok(Slot { ledger: self, at, taken })
    }

    /// From now how long until there is a slot in this allowance.
    #[must_use]
    pub fn wait(&self, allowance: &Allowance, now: Instant) -> Duration {
        earliest(allowance, &self.given(), now) - now
    }

    /// What is left of this allowance.
    #[must_use]
    pub fn left(&self, allowance: &Allowance, now: Instant) -> Left {
        let given = self.given().get(&allowance.name).map_or(now, |until| (*until).max(now));
        let (interval, tolerance) = (allowance.rate.interval(), allowance.rate.tolerance());
        let ahead = given - now;
        match tolerance.checked_sub(ahead) {
            None => Left {
                calls: 0,
                reset: ahead - tolerance,
            },
            Some(room) => Left {
                calls: u32::try_from(room.as_nanos() / interval.as_nanos().max(1) + 1).unwrap_or(u32::MAX),
                reset: ahead,
            },
        }
    }

    /// A panic elsewhere cannot leave the map half changed, so a poisoned lock is as good as any.
    fn given(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Quotas for Ledger {
    fn left(&self, allowance: &Allowance) -> Left {
        Self::left(self, allowance, Instant::now())
    }
}

/// The generic cell rate algorithm: evenly one per interval, and as much earlier as the burst tolerates.
fn earliest(allowance: &Allowance, given: &HashMap<String, Instant>, now: Instant) -> Instant {
    let due = given
        .get(&allowance.name)
        .and_then(|until| until.checked_sub(allowance.rate.tolerance()));
    due.unwrap_or(now).max(now)
}

impl Slot<'_> {
    /// When the request may go.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The request goes.
    pub fn used(mut self) {
        self.taken.clear();
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if self.taken.is_empty() {
            return;
        }
        let mut given = self.ledger.given();
        for (allowance, before, after) in self.taken.drain(..) {
            if given.get(&allowance.name) == Some(&after) {
                match before {
                    Some(before) => given.insert(allowance.name.clone(), before),
                    None => given.remove(&allowance.name),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Rate;
    use proptest::prelude::*;

    fn allowance(name: &str, calls: u32, per: u64, burst: u32) -> Arc<Allowance> {
        Arc::new(Allowance {
            name: name.to_owned(),
            rate: Rate {
                calls,
                per: Duration::from_secs(per),
                burst,
            },
        })
    }

    /// Asks at these times (ms), and notes when each may go, or `+` and how long until it could.
    #[track_caller]
    fn check(allowances: &[Arc<Allowance>], patience: u64, asked: &[u64], expected: &str) {
        let (ledger, start) = (Ledger::default(), Instant::now());
        let mut told = Vec::new();
        for ms in asked {
            let now = start + Duration::from_millis(*ms);
            told.push(
                match ledger.reserve(allowances.iter(), now, now + Duration::from_millis(patience)) {
                    Ok(slot) => {
                        let at = (slot.at() - start).as_millis().to_string();
                        slot.used();
                        at
                    }
                    Err(wait) => format!("+{}", wait.as_millis()),
                },
            );
        }
        assert_eq!(told.join(" "), expected);
    }

    #[test]
    fn slots_are_even_exact_and_in_the_order_of_asking() {
        let five = [allowance("five", 5, 60, 1)];
        check(&five, 0, &[0, 0, 11_999, 12_000, 12_000], "0 +12000 +1 12000 +12000");
        check(
            &five,
            2000,
            &[0, 9_999, 10_000, 10_000, 12_000, 22_000],
            "0 +2001 12000 +14000 +12000 24000",
        );
        check(&five, 30_000, &[0, 0, 0, 0], "0 12000 24000 +36000");
        let burst = [allowance("burst", 4, 60, 2)];
        check(
            &burst,
            0,
            &[0, 0, 0, 15_000, 15_000, 60_000, 60_000, 60_000],
            "0 0 +15000 15000 +15000 60000 60000 +15000",
        );
    }

    #[test]
    fn the_scarcest_allowance_decides_and_a_refusal_counts_nowhere() {
        let (ten, one) = (allowance("ten", 10, 1, 1), allowance("one", 1, 1, 1));
        check(&[ten.clone(), one.clone()], 0, &[0, 100, 1000], "0 +900 1000");

        let (ledger, now) = (Ledger::default(), Instant::now());
        ledger.reserve([&one].into_iter(), now, now).unwrap().used();
        let both = [ten.clone(), one.clone()];
        assert_eq!(ledger.reserve(both.iter(), now, now).unwrap_err(), Duration::from_secs(1));
        assert_eq!(ledger.wait(&ten, now), Duration::ZERO, "the refused one was not counted");
        // Who waits for the scarce one does not hold up those who need the other one only.
        let waits = ledger.reserve(both.iter(), now, now + Duration::from_secs(2)).unwrap();
        assert_eq!(waits.at() - now, Duration::from_secs(1));
        assert_eq!(ledger.wait(&ten, now), Duration::from_millis(100));
    }

    #[test]
    fn what_is_left_is_what_would_go_now() {
        let (ledger, start) = (Ledger::default(), Instant::now());
        let three = allowance("three", 3, 60, 3);
        let at = |ms: u64| start + Duration::from_millis(ms);
        let left = |ms: u64| {
            let Left { calls, reset } = ledger.left(&three, at(ms));
            (calls, reset.as_millis())
        };
        assert_eq!(left(0), (3, 0));
        for (after, next) in [((2, 20_000), 0), ((1, 40_000), 0), ((0, 20_000), 0), ((0, 20_000), 20_000)] {
            ledger.reserve([&three].into_iter(), at(next), at(next)).unwrap().used();
            assert_eq!(left(next), after);
        }
        assert_eq!(
            (left(39_999), left(40_000), left(79_999), left(80_000)),
            ((0, 1), (1, 40_000), (2, 1), (3, 0))
        );
    }

    #[test]
    fn a_slot_that_is_not_used_is_given_back() {
        let (ledger, one, now) = (Ledger::default(), allowance("one", 1, 1, 1), Instant::now());
        let far = now + Duration::from_secs(60);
        let reserve = || ledger.reserve([&one].into_iter(), now, far).unwrap();
        drop(reserve());
        let (first, second) = (reserve(), reserve());
        assert_eq!((first.at() - now, second.at() - now), (Duration::ZERO, Duration::from_secs(1)));
        // Somebody has come after it: that one keeps its moment, and nobody gets two.
        drop(first);
        assert_eq!(ledger.wait(&one, now), Duration::from_secs(2));
        drop(second);
        assert_eq!(ledger.wait(&one, now), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_was_promised(
            calls in 1_u32..20, burst in 1_u32..6, patience in 0_u64..3000, gaps in prop::collection::vec((0_u64..400, any::<bool>()), 1..200)
        ) {
            let (ledger, start, one) = (Ledger::default(), Instant::now(), allowance("one", calls, 1, burst));
            let (mut now, mut gone) = (start, Vec::new());
            for (gap, used) in gaps {
                now += Duration::from_millis(gap);
                let waits = ledger.wait(&one, now);
                let left = ledger.left(&one, now);
                prop_assert_eq!(left.calls == 0, waits > Duration::ZERO);
                prop_assert!(left.calls <= burst && (left.calls > 0 || left.reset == waits));
                match ledger.reserve([&one].into_iter(), now, now + Duration::from_millis(patience)) {
                    Ok(slot) if used => {
                        prop_assert_eq!(slot.at(), now + waits);
                        gone.push(slot.at());
                        slot.used();
                    }
                    Ok(slot) => drop(slot),
                    Err(wait) => {
                        prop_assert!(wait > Duration::from_millis(patience));
                        prop_assert_eq!(wait, waits);
                    }
                }
            }
            prop_assert!(gone.is_sorted(), "in the order of asking");
            let most = usize::try_from(calls + burst - 1).unwrap();
            for (first, at) in gone.iter().enumerate() {
                let within = gone[first..].iter().filter(|other| **other - *at < Duration::from_secs(1)).count();
                prop_assert!(within <= most, "{within} in a second, {most} were promised");
            }
        }
    }
}
