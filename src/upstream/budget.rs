//! How many attempts may be repeated, and after what time: so that a vendor in trouble gets a fifth more calls and not a multiple.
//!
//! **Shape**: [`Budget::deposit`] with each call, [`Budget::withdraw`] before each repeated attempt; [`Backoff::before`] -> how long.
//!
//! **Invariants**: of any run of calls at most a fifth is repeated, and [`FLOOR`] attempts more, and one more each second. What is
//! saved up is worth a fifth of the calls that may be under way at once, and not less than [`FLOOR`].
//!
//! **Source**: the retry budget of Finagle and linkerd; "Exponential Backoff And Jitter", AWS Architecture Blog 2015 (full jitter).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What may be repeated at one provider.
#[derive(Debug)]
pub(super) struct Budget {
    /// In fifths of an attempt: what one call is worth.
    most: usize,
    balance: Mutex<Balance>,
}

#[derive(Debug)]
struct Balance {
    fifths: usize,
    /// Until when the floor has been filled up.
    filled: Instant,
}

impl Budget {
    /// The budget of a provider with so many calls under way at once.
    pub(super) fn new(in_flight: usize) -> Self {
        Self {
            most: in_flight.max(FLOOR * CALLS_PER_RETRY),
            balance: Mutex::new(Balance {
                fifths: FLOOR * CALLS_PER_RETRY,
                filled: Instant::now(),
            }),
        }
    }

    /// A call begins.
    pub(super) fn deposit(&self) {
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        balance.fifths = self.most.min(balance.fifths + 1);
    }

    /// May an attempt be repeated? Where it may, it counts.
    #[cold]
    pub(super) fn withdraw(&self) -> bool {
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = balance.filled.elapsed().as_secs();
        balance.filled += Duration::from_secs(seconds);
        let refill = usize::try_from(seconds).unwrap_or(usize::MAX).saturating_mul(CALLS_PER_RETRY);
        let floor = FLOOR * CALLS_PER_RETRY;
        balance.fifths = balance.fifths.max(floor.min(balance.fifths.saturating_add(refill)));
        match balance.fifths.checked_sub(CALLS_PER_RETRY) {
            Some(rest) => {
                balance.fifths = rest;
                true
            }
            None => false,
        }
    }
}

/// How long to wait before an attempt is repeated: by chance, and on average longer each time.
#[derive(Debug)]
pub(super) struct Backoff {
    state: AtomicU64,
}

impl Backoff {
    /// Chance that begins here: the same seed gives the same times.
    pub(super) fn seeded(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
        }
    }

    /// Before the repetition with this number, counted from 0: anything up to [`BASE`], doubled each time, at most [`CAP`].
    #[cold]
    pub(super) fn before(&self, repetition: u32) -> Duration {
        let most = CAP.min(BASE * 2_u32.saturating_pow(repetition.min(16)));
        most.mul_f64(self.fraction())
    }

    /// A number from 0 up to, not including, 1: SplitMix64 (Steele, Lea, Flood 2014), which spreads and does not keep secrets.
    fn fraction(&self) -> f64 {
        let state = self.state.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bits = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or_default();
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }
}

/// One in five: a fifth of the calls may be repeated.
const CALLS_PER_RETRY: usize = 5;
/// A provider with few calls may still repeat some: a connection attempt is mostly refused while a server restarts.
pub(super) const FLOOR: usize = 3;
/// A vendor's server that restarts behind a balancer is replaced within some tens of milliseconds.
const BASE: Duration = Duration::from_millis(50);
/// Callers wait.
const CAP: Duration = Duration::from_secs(2);
/// 2^64 over the golden ratio: the step of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    fn withdrawn(budget: &Budget) -> usize {
        std::iter::repeat_with(|| budget.withdraw()).take_while(|allowed| *allowed).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_fifth_and_a_floor() {
        let budget = Budget::new(16);
        assert_eq!(withdrawn(&budget), FLOOR);
        let mut repeated = 0;
        for _ in 0..1000 {
            budget.deposit();
            repeated += usize::from(budget.withdraw());
        }
        assert_eq!(repeated, 200);
        // What nobody used is not saved up beyond a fifth of what may be under way.
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!(withdrawn(&budget), FLOOR);
        let large = Budget::new(100);
        (0..1000).for_each(|_| large.deposit());
        assert_eq!(withdrawn(&large), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn the_floor_fills_up_with_time_and_not_beyond() {
        let budget = Budget::new(16);
        assert_eq!(withdrawn(&budget), FLOOR);
        tokio::time::advance(Duration::from_millis(900)).await;
        assert_eq!(withdrawn(&budget), 0);
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(withdrawn(&budget), 1);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(withdrawn(&budget), FLOOR);
    }

    #[test]
    fn full_jitter() {
        let (backoff, again) = (Backoff::seeded(7), Backoff::seeded(7));
        for repetition in 0..100 {
            let most = [50, 100, 200, 400, 800, 1600].get(repetition as usize).copied().unwrap_or(2000);
            let wait = backoff.before(repetition);
            assert!(wait < Duration::from_millis(most), "{repetition}: {wait:?}");
            assert_eq!(wait, again.before(repetition));
        }
        let waits: Vec<_> = (0..1000).map(|_| backoff.before(9)).collect();
        let mean = waits.iter().sum::<Duration>() / 1000;
        assert!((900..1100).contains(&mean.as_millis()), "{mean:?}");
        assert!(waits.iter().any(|wait| *wait < CAP / 20) && waits.iter().any(|wait| *wait > CAP * 19 / 20));
        assert_ne!(Backoff::seeded(1).before(0), Backoff::seeded(2).before(0));
    }
}
