//! What people want to know of a provider: when it last answered and failed, and how many calls it gets.
//!
//! **Shape**: `Health` takes notes; [`Gates`] are the gates of all providers, and `status` the document of one for `/status`:
//! `{"in_flight":1,"in_flight_limit":16,"queued":0,…,"breaker":{"state":"closed","since":"…"}}`.
//!
//! **Invariants**: constant memory; nothing in it decides anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::breaker::{Sign, State};
use super::gate::Gate;
use super::rate::Ledger;
use crate::route::{Allowance, BreakerPlan, Provider, RouteTable};

/// What happened lately.
#[derive(Debug)]
pub(super) struct Health {
    since: Instant,
    seconds: [(u64, u32); MINUTE],
    answered: Option<Instant>,
    failed: Option<Instant>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            seconds: [(0, 0); MINUTE],
            answered: None,
            failed: None,
        }
    }
}

impl Health {
    /// A request goes out.
    pub(super) fn went_out(&mut self, now: Instant) {
        let second = self.second(now);
        let place = &mut self.seconds[usize::try_from(second % MINUTE as u64).unwrap_or(0)];
        *place = if place.0 == second { (second, place.1 + 1) } else { (second, 1) };
    }

    /// What became of it; trouble is what the breaker counts as such.
    pub(super) fn saw(&mut self, sign: Sign, plan: Option<&BreakerPlan>, now: Instant) {
        match sign {
            Sign::Answered(status) if plan.map_or(status >= 500, |plan| plan.failures.matches(status)) => self.failed = Some(now),
            Sign::Answered(_) => self.answered = Some(now),
            Sign::Local => {}
            Sign::VendorSilent => self.failed = Some(now),
        }
    }

    /// Requests that went out in the last minute.
    fn last_minute(&self, now: Instant) -> u32 {
        let second = self.second(now);
        let recent = self.seconds.iter().filter(|(at, _)| at + MINUTE as u64 > second);
        recent.map(|(_, count)| count).sum()
    }

    fn second(&self, now: Instant) -> u64 {
        // From 1 on, so that what was never written is of no second; the first minute aside, where it counts nothing.
        now.saturating_duration_since(self.since).as_secs() + 1
    }
}

/// The gates of all providers, and the ledger that they share. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Gates {
    ledger: Arc<Ledger>,
    by_name: Arc<BTreeMap<String, Gate>>,
}

impl Gates {
    /// The gates of a table.
    #[must_use]
    pub fn new(table: &RouteTable) -> Self {
        Self::default().followed_by(table)
    }

    /// The gates of the table that comes after: a provider whose limits have not changed keeps its gate, and with it what is under way
    /// and what is known of it; what was counted stays counted.
    #[must_use]
    pub fn followed_by(&self, table: &RouteTable) -> Self {
        let by_name = table.providers.iter().map(|(name, provider)| {
            let kept = self.by_name.get(name).filter(|gate| gate.inner().limits == provider.limits);
            let gate = kept
                .cloned()
                .unwrap_or_else(|| Gate::new(name, &provider.limits, Arc::clone(&self.ledger)));
            (name.clone(), gate)
        });
        Self {
            ledger: Arc::clone(&self.ledger),
            by_name: Arc::new(by_name.collect()),
        }
    }

    /// The gate of a provider.
    #[must_use]
    pub fn gate(&self, provider: &str) -> Option<&Gate> {
        self.by_name.get(provider)
    }

    /// Who counts the calls of all providers.
    #[must_use]
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }

    /// How things stand with a provider, for `/status`; null for one that there is not.
    #[must_use]
    pub fn status(&self, provider: &Provider) -> Value {
        self.gate(&provider.name).map_or(Value::Null, |gate| gate.status(provider))
    }
}

impl Gate {
    /// How things stand, for `/status`.
    fn status(&self, provider: &Provider) -> Value {
        let gate = self.inner();
        let now = Instant::now();
        let wall = Timestamp::now();
        let at = |moment: Instant| {
            let (past, ahead) = (now.saturating_duration_since(moment), moment.saturating_duration_since(now));
            let seconds = |duration: Duration| SignedDuration::try_from(duration).unwrap_or_default();
            let moment = wall
                .checked_sub(seconds(past))
                .and_then(|moment| moment.checked_add(seconds(ahead)));
            moment.map_or(Value::Null, |moment| Value::from(format!("{moment:.0}")))
        };
        let (state, since, until, answered, failed, calls) = {
            let record = gate.record();
            let (state, since) = record.breaker.state();
            let health = &record.health;
            (
                state,
                since,
                record.breaker.open_until(),
                health.answered,
                health.failed,
                health.last_minute(now),
            )
        };
        let rates: Vec<Value> = all_allowances(provider)
            .into_iter()
            .map(|allowance| {
                json!({
                    "name": allowance.name,
                    "rate": allowance.rate.to_string(),
                    "free_in_ms": u64::try_from(gate.ledger.wait(allowance, now).as_millis()).unwrap_or(u64::MAX),
                })
            })
            .collect();
        let mut breaker = json!({ "state": state.as_str(), "since": at(since) });
        if let (State::Open, Some(until)) = (state, until) {
            breaker["until"] = at(until);
        }
        if gate.limits.breaker.is_none() {
            breaker = json!({ "state": "none" });
        }
        json!({
            "in_flight": gate.in_flight(),
            "in_flight_limit": gate.limits.in_flight,
            "queued": gate.waiting.load(Ordering::Relaxed),
            "queue_limit": gate.limits.queue.length,
            "calls_last_minute": calls,
            "rates": rates,
            "last_answered_at": answered.map(at),
            "last_failed_at": failed.map(at),
            "breaker": breaker,
        })
    }
}

/// What some request of the provider has to respect, each once.
fn all_allowances(provider: &Provider) -> Vec<&Arc<Allowance>> {
    let task = provider.task.iter().map(|task| &task.route);
    let routes = task.chain(provider.actions.values());
    let mut all: Vec<&Arc<Allowance>> = provider.limits.allowances.iter().collect();
    all.extend(routes.flat_map(|route| &route.allowances));
    all.sort_unstable_by_key(|allowance| &allowance.name);
    all.dedup_by_key(|allowance| &allowance.name);
    all
}

/// Seconds.
const MINUTE: usize = 60;
