//! How many calls a provider gets: at once, waiting, over a time, and when it is left alone for a while.
//!
//! **Shape**: `limits: { queue: { length: 16, wait: 2s }, rate: 20/s, burst: 5, quotas: acme, breaker: { share: 50% } }` -> [`Queue`],
//! [`Allowance`]s, [`BreakerPlan`].
//!
//! **Invariants**: plain values; who counts and who waits is `upstream`. Every default stands here with its reason.

use std::fmt;
use std::time::Duration;

use crate::mapping::fault::StatusPattern;

/// How many calls may wait for a place among those under way, and how long a call may wait: for a place, and then for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Calls that wait for a place at once; with 0 nobody waits for anything.
    pub length: usize,
    /// The longest wait.
    pub wait: Duration,
}

impl Queue {
    /// How long one may wait at all.
    #[must_use]
    pub fn patience(&self) -> Duration {
        if self.length == 0 { Duration::ZERO } else { self.wait }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            length: DEFAULT_QUEUE_LENGTH,
            wait: DEFAULT_QUEUE_WAIT,
        }
    }
}

/// So many calls in a time, evenly, and so many of them at once.
///
/// Over any time of `per` at most `calls + burst - 1` go out; without a burst exactly the rate.
///
/// ```
/// use std::time::Duration;
/// use taskgate::route::Rate;
///
/// let rate = Rate { calls: 4, per: Duration::from_secs(60), burst: 2 };
/// assert_eq!(rate.interval(), Duration::from_secs(15));
/// assert_eq!(rate.tolerance(), Duration::from_secs(15));
/// assert_eq!(rate.to_string(), "4/m, 2 at once");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; not 0.
    pub calls: u32,
    /// In what time: a second, a minute or an hour.
    pub per: Duration,
    /// How many may go at once after a quiet time; not 0.
    pub burst: u32,
}

impl Rate {
    /// From one call to the next when they go evenly; rounded up, so that a rate is never exceeded.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let nanos = self.per.as_nanos().div_ceil(u128::from(self.calls.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How much earlier than evenly a call may go.
    #[must_use]
    pub fn tolerance(&self) -> Duration {
        self.interval().saturating_mul(self.burst.saturating_sub(1))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.calls)?;
        if self.burst > 1 {
            write!(f, ", {} at once", self.burst)?;
        }
        Ok(())
    }
}

/// A rate that is counted under a name: whoever counts under the same name shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// `providers.acme`, `providers.acme.stop` or `quotas.acme-account`.
    pub name: String,
    /// How much.
    pub rate: Rate,
}

/// When a provider is left alone, for how long, and what counts as its failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerPlan {
    /// Calls in a row that get no answer at all.
    pub consecutive: u32,
    /// Or this share of the calls in a window fails, in percent from 1 to 100.
    pub share: u32,
    /// Where there were at least so many of them.
    pub calls: u32,
    /// The window.
    pub window: Duration,
    /// The first pause; each one that follows without an answer in between is twice as long.
    pub pause: Duration,
    /// The longest one.
    pub longest_pause: Duration,
    /// Answers that say that the vendor is in trouble; all others show that it is there.
    pub failures: StatusPattern,
}

impl Default for BreakerPlan {
    fn default() -> Self {
        Self {
            consecutive: DEFAULT_CONSECUTIVE,
            share: DEFAULT_SHARE,
            calls: DEFAULT_CALLS,
            window: DEFAULT_WINDOW,
            pause: DEFAULT_PAUSE,
            longest_pause: DEFAULT_LONGEST_PAUSE,
            failures: StatusPattern { ranges: vec![(500, 599)] },
        }
    }
}

/// As many as are under way by default: calls take about a second, so the last of a full queue is served in one or two.
pub const DEFAULT_QUEUE_LENGTH: usize = 16;
/// Absorbs a burst; who would wait longer is better told so, and may ask elsewhere or later.
pub const DEFAULT_QUEUE_WAIT: Duration = Duration::from_secs(2);
/// Evenly. What a burst allows on top is for whoever knows the vendor's window to say.
pub const DEFAULT_BURST: u32 = 1;
/// A lost packet or a restarted process behind a balancer loses one or two calls; five in a row are no accident. Providers with few
/// places never have enough calls in a window while they wait for time limits, so this is what finds them.
pub const DEFAULT_CONSECUTIVE: u32 = 5;
/// Below, more than half of the callers are served, and a pause would take that away.
pub const DEFAULT_SHARE: u32 = 50;
/// A share of fewer calls is chance: of four calls two fail easily.
pub const DEFAULT_CALLS: u32 = 10;
/// As long as the default time limit of a call: all that hang at once fail within one window.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(10);
/// A vendor that restarts one process is back in seconds.
pub const DEFAULT_PAUSE: Duration = Duration::from_secs(5);
/// One look a minute costs a vendor in trouble nothing, and nobody waits longer than that for its return to be noticed.
pub const DEFAULT_LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_never_too_short() {
        for (calls, per, interval) in [
            (1, 1, Duration::from_secs(1)),
            (20, 1, Duration::from_millis(50)),
            (3, 1, Duration::from_nanos(333_333_334)),
            (5, 60, Duration::from_secs(12)),
            (7, 3600, Duration::from_nanos(514_285_714_286)),
        ] {
            let rate = Rate {
                calls,
                per: Duration::from_secs(per),
                burst: 1,
            };
            assert_eq!(rate.interval(), interval, "{rate}");
            assert!(rate.interval() * calls >= rate.per, "{rate}");
            assert_eq!(rate.tolerance(), Duration::ZERO, "{rate}");
        }
    }
}
