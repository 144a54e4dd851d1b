//! What is left of the limits that a call respects, for its caller: `RateLimit-Policy` and `RateLimit`.
//!
//! **Shape**: 4 calls a minute under `quotas.acme`, all of them made -> `RateLimit-Policy: "quotas.acme";q=4;w=60` and
//! `RateLimit: "quotas.acme";r=0;t=15`.
//!
//! **Invariants**: the limits are ours, counted by this instance; a vendor's own headers are not passed on. Where nothing is left, `t` is
//! when the next call may go; `Retry-After` is never earlier. A route without limits has neither header.
//!
//! **Source**: draft-ietf-httpapi-ratelimit-headers-10, RFC 9651 (lists of strings with parameters).

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};

use crate::route::{Allowance, Route, RouteTable};

/// Who counts the calls.
pub trait Quotas: Send + Sync {
    /// What is left of an allowance now.
    fn left(&self, allowance: &Allowance) -> Left;
}

/// What is left of an allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Calls that may go at once.
    pub calls: u32,
    /// Where there is none: until the next one may go. Otherwise until nothing counts any more.
    pub reset: Duration,
}

/// The limits of all routes that have any.
pub struct RateLimits {
    /// By the route's address: the table keeps them where they are.
    by_route: BTreeMap<usize, Limited>,
    quotas: Option<Arc<dyn Quotas>>,
}

struct Limited {
    allowances: Vec<Arc<Allowance>>,
    policy: HeaderValue,
}

/// What is said of the limits of a call.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// `RateLimit-Policy`.
    pub policy: HeaderValue,
    /// `RateLimit`.
    pub left: HeaderValue,
    /// Until a call may go under all of them.
    pub wait: Duration,
}

impl RateLimits {
    /// Those of a table; without somebody who counts, none.
    #[must_use]
    pub fn new(table: &RouteTable, quotas: Option<Arc<dyn Quotas>>) -> Self {
        let mut by_route = BTreeMap::new();
        for provider in table.providers.values() {
            let look = provider.task.as_ref().map(|task| &task.route);
            for route in provider.actions.values().chain(look) {
                let allowances: Vec<_> = provider.limits.allowances.iter().chain(&route.allowances).cloned().collect();
                if let (Some(policy), Some(_)) = (policy(&allowances), &quotas) {
                    by_route.insert(address(route), Limited { allowances, policy });
                }
            }
        }
        Self { by_route, quotas }
    }

    /// What is left for the calls of a route.
    #[must_use]
    pub fn of(&self, route: &Arc<Route>) -> Option<Said> {
        let quotas = self.quotas.as_ref()?;
        let Limited { allowances, policy } = self.by_route.get(&address(route))?;
        let mut wait = Duration::ZERO;
        let left = list(allowances, |text, allowance| {
            let left = quotas.left(allowance);
            if left.calls == 0 {
                wait = wait.max(left.reset);
            }
            write!(text, ";r={};t={}", left.calls, seconds(left.reset))
        });
        Some(Said {
            policy: policy.clone(),
            left: left?,
            wait,
        })
    }
}

impl fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimits")
            .field("routes", &self.by_route.len())
            .finish_non_exhaustive()
    }
}

/// Whole seconds, rounded up: who comes back a moment too early comes in vain.
#[must_use]
pub fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn policy(allowances: &[Arc<Allowance>]) -> Option<HeaderValue> {
    list(allowances, |text, Allowance { rate, .. }| {
        write!(text, ";q={};w={}", rate.calls, rate.per.as_secs().max(1))
    })
}

/// A list of the names with parameters; nothing where there are none, or where a name is no text of a header.
fn list(allowances: &[Arc<Allowance>], mut parameters: impl FnMut(&mut String, &Allowance) -> fmt::Result) -> Option<HeaderValue> {
    let mut text = String::new();
    for allowance in allowances {
        if !text.is_empty() {
            text.push_str(", ");
        }
        // Names are words with dots and hyphens: nothing in them has to be escaped.
        write!(text, "\"{}\"", allowance.name).ok()?;
        parameters(&mut text, allowance).ok()?;
    }
    HeaderValue::from_str(&text).ok().filter(|_| !text.is_empty())
}

fn address(route: &Arc<Route>) -> usize {
    Arc::as_ptr(route).addr()
}

/// Which limits there are.
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of them.
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Rate;

    #[test]
    fn limits_are_lists_of_names_with_parameters() {
        let allowance = |name: &str, calls, per| {
            let (per, name) = (Duration::from_secs(per), name.to_owned());
            let rate = Rate { calls, per, burst: 1 };
            Arc::new(Allowance { name, rate })
        };
        let both = [allowance("providers.acme", 20, 1), allowance("quotas.acme-retry", 3, 3600)];
        assert_eq!(
            policy(&both).unwrap(),
            r#""providers.acme";q=20;w=1, "quotas.acme-retry";q=3;w=3600"#
        );
        assert_eq!(policy(&[]), None);
        for (ms, whole) in [(0, 0), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(seconds(Duration::from_millis(ms)), whole);
        }
    }
}
