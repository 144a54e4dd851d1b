//! Decides when a provider is left alone: a state machine without a clock, a lock or a metric.
//!
//! **Shape**: `admit` before a call, `report` after each attempt, both with the time -> [`State`] `Closed`, `Open` or `HalfOpen`.
//!
//! ```text
//! Closed   --so many without an answer in a row, or such a share of failures-->  Open
//! Open     --the pause is over, and somebody comes-->                            HalfOpen
//! HalfOpen --an answer-->                                                        Closed
//! HalfOpen --none, or one that is a failure-->                                   Open, twice as long
//! ```
//!
//! **Invariants**
//! - What is no sign of the vendor ([`Sign::Local`]) moves nothing.
//! - In `HalfOpen` one request is on its way at a time, and it changes nothing at the vendor; only where nobody can look is it an action.
//! - A sign of an attempt that began before the last change says nothing about what is now.
//! - Constant time and memory.

use std::time::Duration;

use tokio::time::Instant;

use crate::layer::Aim;
use crate::route::BreakerPlan;

/// What an attempt showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The vendor answered with this status.
    Answered(u16),
    /// Nothing about the vendor: our own limits, our own mistake, a caller who went away.
    Local,
    /// No connection, or no answer on it.
    VendorSilent,
}

/// How things stand with a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls go out.
    Closed,
    /// One at a time, to find out.
    HalfOpen,
    /// None go out.
    Open,
}

impl State {
    /// The word in metrics, in the log and in `/status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// Lets a call through, as long as nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The changes that there were when it was given out.
    era: u64,
    /// Is it the one that finds out?
    probe: bool,
}

impl Ticket {
    /// As a number, for an atomic.
    pub(super) fn to_bits(self) -> u64 {
        self.era << 1 | u64::from(self.probe)
    }

    /// The ticket of this number.
    pub(super) fn from_bits(bits: u64) -> Self {
        Self {
            era: bits >> 1,
            probe: bits & 1 == 1,
        }
    }

    /// Is it the one that finds something out?
    pub(super) fn is_probe(self) -> bool {
        self.probe
    }
}

/// Why a call does not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It acts, and nobody knows yet whether the vendor is back: a look would tell.
    LookFirst,
    /// The vendor is left alone, probably for so long.
    Suspended(Duration),
}

/// The state of one provider.
#[derive(Clone, Debug)]
pub struct Breaker {
    plan: Option<BreakerPlan>,
    phase: Phase,
    since: Instant,
    era: u64,
}

#[derive(Clone, Debug)]
enum Phase {
    Closed { window: Window, unanswered: u32 },
    HalfOpen { probing: bool, pauses: u32 },
    Open { until: Instant, pauses: u32 },
}

impl Breaker {
    /// A provider that nothing is known of yet; without a plan it stays closed.
    #[must_use]
    pub fn new(plan: Option<BreakerPlan>, now: Instant) -> Self {
        Self {
            plan,
            phase: Phase::closed(),
            since: now,
            era: 0,
        }
    }

    /// How things stand, and since when.
    #[must_use]
    pub fn state(&self) -> (State, Instant) {
        let state = match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::HalfOpen { .. } => State::HalfOpen,
            Phase::Open { .. } => State::Open,
        };
        (state, self.since)
    }

    /// Until when nobody tries.
    #[must_use]
    pub fn open_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open { until, .. } => Some(until),
            Phase::Closed { .. } | Phase::HalfOpen { .. } => None,
        }
    }

    /// May a call with this aim go out now? Only a pause needs to know when that is.
    ///
    /// # Errors
    /// [`Stop`] where it may not.
    pub fn admit(&mut self, aim: Aim, now: impl FnOnce() -> Instant) -> Result<Ticket, Stop> {
        // Open -> (Open | HalfOpen)
        if let Phase::Open { until, pauses } = self.phase {
            let now = now();
            if now < until {
                return Err(Stop::Suspended(until - now));
            }
            self.change(Phase::HalfOpen { probing: false, pauses }, now);
        }
        let probe = match &mut self.phase {
            Phase::HalfOpen { probing: true, .. } => return Err(Stop::Suspended(PROBE_TAKES)),
            Phase::HalfOpen { probing, .. } => {
                match aim {
                    Aim::Act => return Err(Stop::LookFirst),
                    Aim::ActUnseen | Aim::Ask | Aim::Look => *probing = true,
                }
                true
            }
            Phase::Closed { .. } | Phase::Open { .. } => false,
        };
        Ok(Ticket { era: self.era, probe })
    }

    /// May the call that was admitted so still go out? Then with this ticket from here on.
    ///
    /// # Errors
    /// For how long the vendor is left alone.
    pub fn still(&self, ticket: Ticket, now: Instant) -> Result<Ticket, Duration> {
        match self.phase {
            Phase::Closed { .. } => Ok(Ticket {
                era: self.era,
                probe: false,
            }),
            Phase::HalfOpen { .. } if ticket.probe && ticket.era == self.era => Ok(ticket),
            Phase::HalfOpen { .. } => Err(PROBE_TAKES),
            Phase::Open { until, .. } => Err(until.saturating_duration_since(now)),
        }
    }

    /// Takes note of an attempt. `chance`, from 0 to 1, moves the end of a pause, so that a fleet does not come back in step.
    ///
    /// Returns the new state where it has changed.
    pub fn report(&mut self, ticket: Ticket, sign: Sign, now: Instant, chance: impl FnOnce() -> f64) -> Option<State> {
        let plan = self.plan.as_ref().filter(|_| ticket.era == self.era)?;
        let verdict = match sign {
            Sign::Answered(status) if plan.failures.matches(status) => Verdict::Trouble,
            Sign::Answered(_) => Verdict::Well,
            Sign::Local => return None,
            Sign::VendorSilent => Verdict::Silent,
        };
        let next = match (&mut self.phase, verdict) {
            // Closed -> (Closed | Open)
            (Phase::Closed { window, unanswered }, verdict) => {
                *unanswered = if verdict == Verdict::Silent { *unanswered + 1 } else { 0 };
                let share = window.count(verdict != Verdict::Well, self.since, now, plan);
                let failing = verdict != Verdict::Well && share;
                if *unanswered < plan.consecutive && !failing {
                    return None;
                }
                open(plan, 0, now, chance())
            }
            // HalfOpen -> (Closed | Open)
            (Phase::HalfOpen { .. }, Verdict::Well) => Phase::closed(),
            (Phase::HalfOpen { pauses, .. }, Verdict::Silent | Verdict::Trouble) => open(plan, *pauses, now, chance()),
            // Nobody has a ticket of this era.
            (Phase::Open { .. }, _) => return None,
        };
        self.change(next, now);
        Some(self.state().0)
    }

    /// The call of this ticket has ended, or will never go out; where it was to find something out, another one may.
    pub fn withdraw(&mut self, ticket: Ticket) {
        if let Phase::HalfOpen { probing, .. } = &mut self.phase
            && ticket.probe
            && ticket.era == self.era
        {
            *probing = false;
        }
    }

    fn change(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
        self.era += 1;
    }
}

impl Phase {
    fn closed() -> Self {
        Self::Closed {
            window: Window::default(),
            unanswered: 0,
        }
    }
}

/// What a sign means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Silent,
    Trouble,
    Well,
}

/// The pause after `pauses` others: doubled each time, at most the longest, a fifth more or less by chance.
fn open(plan: &BreakerPlan, pauses: u32, now: Instant, chance: f64) -> Phase {
    let doubled = plan.pause.saturating_mul(2_u32.saturating_pow(pauses));
    let pause = doubled.min(plan.longest_pause);
    Phase::Open {
        until: now + pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0)),
        pauses: pauses + 1,
    }
}

/// Calls and failures of the last while, in parts, so that nothing is kept of a single call.
#[derive(Clone, Debug, Default)]
struct Window {
    parts: [Part; PARTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    tick: u64,
    calls: u32,
    failures: u32,
}

impl Window {
    /// Counts a call; is the share of failures too large now?
    fn count(&mut self, failed: bool, start: Instant, now: Instant, plan: &BreakerPlan) -> bool {
        let width = (plan.window.as_nanos() / PARTS as u128).max(1);
        let tick = u64::try_from(now.saturating_duration_since(start).as_nanos() / width).unwrap_or(u64::MAX);
        let part = &mut self.parts[usize::try_from(tick % PARTS as u64).unwrap_or(0)];
        if part.tick != tick {
            *part = Part { tick, ..Part::default() };
        }
        part.calls += 1;
        part.failures += u32::from(failed);
        if !failed {
            return false;
        }
        let recent = self.parts.iter().filter(|part| part.tick + (PARTS as u64) > tick);
        let (calls, failures) = recent.fold((0_u64, 0_u64), |(calls, failures), part| {
            (calls + u64::from(part.calls), failures + u64::from(part.failures))
        });
        calls >= u64::from(plan.calls) && failures * 100 >= calls * u64::from(plan.share)
    }
}

/// A window slides in tenths: exact enough for a share.
const PARTS: usize = 10;
/// A fifth is enough to spread the instances of a fleet, and no pause becomes much longer than the file says.
const JITTER: f64 = 0.2;
/// A look takes about a second.
const PROBE_TAKES: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan() -> BreakerPlan {
        BreakerPlan::default()
    }

    /// Plays events of the form `<seconds>[ <event>]`, where a second sign tells what is expected, and returns what differs.
    ///
    /// `503`, `silent`, `local`: a call is admitted and shows this at once. `act`, `unseen`, `ask`, `look`: a call with this aim is
    /// admitted and stays under way; `= 200` and the like is what the oldest of them shows and ends with, `gone` that it goes away.
    #[track_caller]
    fn check(plan: BreakerPlan, events: &[(f64, &str, &str)]) {
        let start = Instant::now();
        let mut breaker = Breaker::new(Some(plan), start);
        let mut under_way = std::collections::VecDeque::new();
        for (row, (at, event, expected)) in events.iter().enumerate() {
            let now = start + Duration::from_secs_f64(*at);
            let sign = |word: &str| match word {
                "silent" => Some(Sign::VendorSilent),
                "local" => Some(Sign::Local),
                status => status.parse().ok().map(Sign::Answered),
            };
            let aim = match *event {
                "act" => Some(Aim::Act),
                "unseen" => Some(Aim::ActUnseen),
                "ask" => Some(Aim::Ask),
                "look" => Some(Aim::Look),
                _ => None,
            };
            let mut said = String::new();
            if let Some(aim) = aim {
                match breaker.admit(aim, || now) {
                    Ok(ticket) => under_way.push_back(ticket),
                    Err(Stop::LookFirst) => said = "look first, ".to_owned(),
                    Err(Stop::Suspended(wait)) => said = format!("wait {}, ", wait.as_secs_f64()),
                }
            } else if let Some(sign) = event.strip_prefix("= ").and_then(sign) {
                let ticket = under_way.pop_front().unwrap();
                breaker.report(ticket, sign, now, || 0.5);
                breaker.withdraw(ticket);
            } else if *event == "gone" {
                breaker.withdraw(under_way.pop_front().unwrap());
            } else {
                let ticket = breaker.admit(Aim::Act, || now).unwrap();
                breaker.report(ticket, sign(event).unwrap(), now, || 0.5);
            }
            said.push_str(breaker.state().0.as_str());
            assert_eq!(said, *expected, "row {row}: {at} {event}");
        }
    }

    #[test]
    fn five_in_a_row_without_an_answer_open() {
        let silent = [(0.0, "silent", "closed"); 4];
        check(plan(), &[&silent[..], &[(1.0, "silent", "open")]].concat());
        for answer in ["200", "404", "503"] {
            let events = [&silent[..], &[(1.0, answer, "closed")], &silent[..], &[(2.0, "silent", "open")]].concat();
            check(BreakerPlan { calls: 1000, ..plan() }, &events);
        }
        // What is ours neither counts nor breaks the row.
        check(
            plan(),
            &[&silent[..], &[(1.0, "local", "closed"), (1.0, "silent", "open")]].concat(),
        );
    }

    #[test]
    fn half_of_ten_in_a_window_open() {
        let mut events = vec![(0.0, "200", "closed"); 5];
        events.extend([(1.0, "500", "closed"); 4]);
        check(plan(), &[&events[..], &[(2.0, "500", "open")]].concat());
        // The good ones are forgotten by then, and so are too many to make ten.
        check(plan(), &[&events[..], &[(10.5, "500", "closed")]].concat());
        let mostly_good = [(0.0, "200", "closed"), (0.0, "200", "closed"), (0.0, "500", "closed")].repeat(20);
        check(plan(), &mostly_good);
    }

    #[test]
    fn nothing_below_500_and_nothing_of_ours_opens() {
        for word in ["local", "200", "302", "400", "401", "404", "409", "429", "499"] {
            check(plan(), &vec![(0.0, word, "closed"); 1000]);
        }
        let picky = BreakerPlan {
            failures: crate::mapping::fault::StatusPattern { ranges: vec![(500, 502)] },
            ..plan()
        };
        check(picky, &vec![(0.0, "503", "closed"); 1000]);
        let mut never = Breaker::new(None, Instant::now());
        for _ in 0..1000 {
            let ticket = never.admit(Aim::Act, Instant::now).unwrap();
            assert_eq!(never.report(ticket, Sign::VendorSilent, Instant::now(), || 0.5), None);
        }
        assert_eq!(never.state().0, State::Closed);
    }

    #[test]
    fn after_the_pause_one_harmless_call_finds_out() {
        let opened = [(0.0, "silent", "closed"); 4]
            .into_iter()
            .chain([(0.0, "silent", "open")])
            .collect::<Vec<_>>();
        let after = |rest: &[(f64, &'static str, &'static str)]| [&opened[..], rest].concat();
        check(
            plan(),
            &after(&[
                (0.0, "look", "wait 5, open"),
                (4.5, "act", "wait 0.5, open"),
                (5.0, "act", "look first, half_open"),
                (5.0, "look", "half_open"),
                (5.1, "look", "wait 1, half_open"),
                (5.1, "act", "wait 1, half_open"),
                (5.1, "unseen", "wait 1, half_open"),
                (5.2, "= 404", "closed"),
                (5.2, "act", "closed"),
            ]),
        );
        // Doubled each time, up to the longest; an answer makes the next one short again.
        check(
            plan(),
            &after(&[
                (5.0, "ask", "half_open"),
                (5.0, "= silent", "open"),
                (5.0, "ask", "wait 10, open"),
                (15.0, "ask", "half_open"),
                (15.0, "= 500", "open"),
                (15.0, "ask", "wait 20, open"),
                (35.0, "ask", "half_open"),
                (35.0, "= 500", "open"),
                (75.0, "ask", "half_open"),
                (75.0, "= 500", "open"),
                (75.0, "ask", "wait 60, open"),
                (135.0, "ask", "half_open"),
                (135.0, "= 500", "open"),
                (135.0, "ask", "wait 60, open"),
                (195.0, "ask", "half_open"),
                (195.0, "= 200", "closed"),
                (195.0, "silent", "closed"),
                (195.0, "silent", "closed"),
                (195.0, "silent", "closed"),
                (195.0, "silent", "closed"),
                (195.0, "silent", "open"),
                (195.0, "look", "wait 5, open"),
            ]),
        );
        // Who gives up, or fails for a reason of ours, has found out nothing; the next one may.
        for nothing in ["gone", "= local"] {
            check(
                plan(),
                &after(&[
                    (5.0, "look", "half_open"),
                    (5.0, nothing, "half_open"),
                    (5.0, "act", "look first, half_open"),
                    (5.0, "unseen", "half_open"),
                    (5.0, "= 200", "closed"),
                ]),
            );
        }
    }

    #[test]
    fn late_news_of_old_calls_is_no_news() {
        let mut events = vec![(0.0, "act", "closed"); 8];
        events.extend([(1.0, "= silent", "closed"); 4]);
        events.extend([
            (1.0, "= silent", "open"),
            // Three that began before the pause: one was answered after all, two were not.
            (2.0, "= 200", "open"),
            (6.0, "look", "half_open"),
        ]);
        // Oldest first: the two old ones, then the look.
        events.extend([
            (6.0, "= silent", "half_open"),
            (6.0, "= 500", "half_open"),
            (6.0, "= 200", "closed"),
        ]);
        check(plan(), &events);
    }

    #[test]
    fn a_ticket_goes_stale_when_the_provider_is_suspended() {
        let now = Instant::now();
        let mut breaker = Breaker::new(Some(plan()), now);
        let waiting = breaker.admit(Aim::Act, || now).unwrap();
        for _ in 0..5 {
            let ticket = breaker.admit(Aim::Act, || now).unwrap();
            breaker.report(ticket, Sign::VendorSilent, now, || 0.0);
        }
        assert_eq!(breaker.still(waiting, now), Err(Duration::from_secs(4)), "a fifth less by chance");
        let later = now + Duration::from_secs(4);
        let probe = breaker.admit(Aim::Look, || later).unwrap();
        assert_eq!(breaker.still(waiting, later), Err(PROBE_TAKES));
        assert_eq!(breaker.still(probe, later), Ok(probe));
        assert_eq!(breaker.report(probe, Sign::Answered(200), later, || 0.5), Some(State::Closed));
        let renewed = breaker.still(waiting, later).unwrap();
        assert_eq!(breaker.report(renewed, Sign::Answered(200), later, || 0.5), None);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Admit(Aim),
        Pass(u64),
        Report(usize, Sign),
        Withdraw(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let aim = prop_oneof![Just(Aim::Act), Just(Aim::ActUnseen), Just(Aim::Ask), Just(Aim::Look)];
        let sign = prop_oneof![
            3 => Just(Sign::VendorSilent),
            2 => (200_u16..600).prop_map(Sign::Answered),
            1 => Just(Sign::Local)
        ];
        let step = prop_oneof![
            4 => aim.prop_map(Step::Admit),
            2 => (0_u64..8000).prop_map(Step::Pass),
            4 => (0_usize..8, sign).prop_map(|(which, sign)| Step::Report(which, sign)),
            1 => (0_usize..8).prop_map(Step::Withdraw),
        ];
        prop::collection::vec(step, 0..300)
    }

    proptest! {
        #[test]
        fn whatever_happens_one_at_a_time_finds_out(steps in steps(), chance in 0.0..1.0) {
            let (start, plan) = (Instant::now(), plan());
            let (mut breaker, mut now) = (Breaker::new(Some(plan.clone()), start), start);
            let mut under_way: Vec<(Ticket, bool)> = Vec::new();
            for step in steps {
                let (before, _) = breaker.state();
                match step {
                    Step::Admit(aim) => match breaker.admit(aim, || now) {
                        Ok(ticket) => {
                            let state = breaker.state().0;
                            prop_assert!(state != State::Open);
                            if state == State::HalfOpen {
                                let others = under_way.iter().filter(|(other, _)| other.era == ticket.era).count();
                                prop_assert_eq!(others, 0, "one at a time");
                                prop_assert!(aim != Aim::Act, "and it is harmless");
                            }
                            under_way.push((ticket, state == State::HalfOpen));
                        }
                        Err(Stop::LookFirst) => prop_assert_eq!((aim, breaker.state().0), (Aim::Act, State::HalfOpen)),
                        Err(Stop::Suspended(wait)) => {
                            prop_assert!(breaker.state().0 != State::Closed);
                            prop_assert!(wait <= plan.longest_pause.mul_f64(1.0 + JITTER));
                        }
                    },
                    Step::Pass(ms) => now += Duration::from_millis(ms),
                    Step::Report(which, sign) if which < under_way.len() => {
                        let (ticket, _) = under_way.swap_remove(which);
                        let fresh = ticket.era == breaker.era;
                        let changed = breaker.report(ticket, sign, now, || chance);
                        breaker.withdraw(ticket);
                        let after = breaker.state().0;
                        prop_assert_eq!(changed.is_some(), before != after);
                        match (sign, before, after) {
                            (Sign::Local, ..) => prop_assert_eq!(before, after),
                            (Sign::Answered(status), _, State::Open) if before != State::Open => prop_assert!(status >= 500),
                            (Sign::Answered(status), State::HalfOpen, _) if fresh && status < 500 => prop_assert_eq!(after, State::Closed),
                            _ => {}
                        }
                    }
                    Step::Withdraw(which) if which < under_way.len() => breaker.withdraw(under_way.swap_remove(which).0),
                    Step::Report(..) | Step::Withdraw(_) => {}
                }
            }
            // It never gets stuck: with everybody gone and time passing, somebody finds out.
            for (ticket, _) in under_way {
                breaker.withdraw(ticket);
            }
            now += plan.longest_pause * 2;
            let ticket = breaker.admit(Aim::Look, || now).unwrap();
            breaker.report(ticket, Sign::Answered(200), now, || chance);
            prop_assert_eq!(breaker.state().0, State::Closed);
        }
    }
}
