//! Whether a request to a provider may go out now: room, rate and breaker, in one place.
//!
//! **Shape**: `enter(outbound)` once per request -> [`Pass`]; on it `attempt` before and `observe` after each time that something goes
//! over the wire.
//!
//! **Invariants**
//! - What the gate refuses has not been sent: every error of it is `not_done`, retryable, and says when.
//! - A provider that is left alone, and a queue that is full, are told in constant time; nothing is connected.
//! - Places are given in the order of coming. A pass that is dropped frees its place, wherever the call was.
//! - Nothing of one provider is shared with another one, but the quotas that routes.yaml shares.
//!
//! **Errors**: `PROVIDER_BUSY`, `PROVIDER_RATE_LIMITED`, `PROVIDER_SUSPENDED`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use super::breaker::{Breaker, Sign, State, Stop, Ticket};
use super::client::SILENCE;
use super::health::Health;
use super::rate::Ledger;
use super::tls::TlsFault;
use crate::layer::{Aim, Outbound};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::route::{Allowance, Limits, Route};
use crate::telemetry::metrics::{self, UnderWay, WaitFor};

/// The gate of one provider. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Gate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) provider: String,
    pub(super) limits: Limits,
    pub(super) ledger: Arc<Ledger>,
    room: Semaphore,
    pub(super) waiting: AtomicUsize,
    /// Tells those who wait that the provider is left alone.
    suspended: Notify,
    pub(super) record: Mutex<Record>,
}

/// What is known of the provider.
#[derive(Debug)]
pub(super) struct Record {
    /// Moves the ends of pauses, so that a fleet does not come back in step.
    chance: Rng,
    pub(super) breaker: Breaker,
    pub(super) health: Health,
}

/// A place among the calls under way.
#[derive(Debug)]
#[must_use = "dropping it frees the place"]
pub struct Pass<'a> {
    admitted: Admitted<'a>,
    route: Arc<Route>,
    aim: Aim,
    _place: SemaphorePermit<'a>,
}

/// A call that the breaker lets through; dropped, it can find nothing out any more.
#[derive(Debug)]
struct Admitted<'a> {
    gate: &'a Inner,
    ticket: AtomicU64,
}

impl Gate {
    /// A gate with these limits, whose allowances are counted in `ledger`.
    #[must_use]
    pub fn new(provider: &str, limits: &Limits, ledger: Arc<Ledger>) -> Self {
        let now = Instant::now();
        metrics::breaker_is(provider, State::Closed.as_str(), &STATES, false);
        Self {
            inner: Arc::new(Inner {
                provider: provider.to_owned(),
                limits: limits.clone(),
                ledger,
                room: Semaphore::new(limits.in_flight.min(Semaphore::MAX_PERMITS)),
                waiting: AtomicUsize::new(0),
                suspended: Notify::new(),
                record: Mutex::new(Record {
                    chance: Rng::new(),
                    breaker: Breaker::new(limits.breaker.clone(), now),
                    health: Health::default(),
                }),
            }),
        }
    }

    /// Lets a request in, as soon as there is room; before anything is sent, connected or signed.
    ///
    /// # Errors
    /// `PROVIDER_SUSPENDED` and `PROVIDER_BUSY`.
    pub async fn enter(&self, outbound: &Outbound) -> Result<Pass<'_>, GatewayError> {
        let gate = &*self.inner;
        let entered = async {
            let admitted = gate.admit(outbound.aim)?;
            let place = gate.place(outbound.context.deadline).await?;
            Ok(Pass {
                admitted,
                route: Arc::clone(&outbound.route),
                aim: outbound.aim,
                _place: place,
            })
        };
        entered.await.inspect_err(|error| gate.refused(error))
    }

    /// Lets chance begin here.
    pub(super) fn seed(&self, seed: u64) {
        self.inner.record().chance.seed(seed);
    }

    /// For the document of `/status`.
    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl Inner {
    fn admit(&self, aim: Aim) -> Result<Admitted<'_>, GatewayError> {
        let (admitted, state) = {
            let mut record = self.record();
            let (before, _) = record.breaker.state();
            let admitted = record.breaker.admit(aim, Instant::now);
            let (after, _) = record.breaker.state();
            (admitted, (before != after).then_some(after))
        };
        if let Some(state) = state {
            self.announce(state);
        }
        match admitted {
            Ok(ticket) => Ok(Admitted {
                gate: self,
                ticket: AtomicU64::new(ticket.to_bits()),
            }),
            Err(Stop::LookFirst) => Err(GatewayError {
                look_first: true,
                ..suspended(PROBE_RETRY_AFTER)
            }),
            Err(Stop::Suspended(wait)) => Err(suspended(wait)),
        }
    }

    async fn place(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, GatewayError> {
        // Whoever waits is given a place before there is a free one, so this overtakes nobody.
        if let Ok(place) = self.room.try_acquire() {
            return Ok(place);
        }
        Box::pin(self.place_in_time(deadline)).await
    }

    /// A place once there is one, for those who find none.
    async fn place_in_time(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, GatewayError> {
        let _waiting = Waiting::join(self).ok_or_else(|| self.busy())?;
        let since = Instant::now();
        let until = (since + self.limits.queue.wait).min(deadline);
        let place = tokio::select! {
            biased;
            place = self.room.acquire() => place.map_err(|_closed| self.busy()),
            () = self.suspended.notified() => Err(self.suspended()),
            () = sleep_until(until) => Err(self.busy()),
        };
        metrics::gate_waited(&self.provider, WaitFor::Place, since.elapsed());
        place
    }

    #[cold]
    fn announce(&self, state: State) {
        let provider = self.provider.as_str();
        metrics::breaker_is(provider, state.as_str(), &STATES, true);
        match state {
            State::Closed => tracing::info!(provider, "the provider answers again"),
            State::HalfOpen => tracing::info!(provider, "finding out whether the provider answers again"),
            State::Open => {
                let pause = self
                    .record()
                    .breaker
                    .open_until()
                    .map(|until| until.saturating_duration_since(Instant::now()));
                let pause_ms = pause.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
                tracing::warn!(provider, pause_ms, "the provider does not answer and is left alone");
                self.suspended.notify_waiters();
            }
        }
    }

    #[cold]
    fn refused(&self, error: &GatewayError) {
        // Who is told to look first comes back.
        if !error.look_first {
            metrics::gate_refused(&self.provider, error.reason);
        }
    }

    #[cold]
    fn busy(&self) -> GatewayError {
        let (in_flight, queue) = (self.limits.in_flight, self.limits.queue.length);
        let waiting = if queue == 0 {
            ""
        } else {
            ", and none ended in time or too many wait"
        };
        let detail = format!("{in_flight} calls to this provider are under way, and more are not allowed{waiting}");
        GatewayError::new(Reason::ProviderBusy, detail)
            .with_metadata("in_flight_limit", in_flight)
            .with_metadata("queue_limit", queue)
            .with_retry_after(BUSY_RETRY_AFTER)
    }

    #[cold]
    fn suspended(&self) -> GatewayError {
        let until = self.record().breaker.open_until();
        suspended(until.map_or(PROBE_RETRY_AFTER, |until| until.saturating_duration_since(Instant::now())))
    }

    /// Every change leaves the record whole, so a poisoned lock is as good as any.
    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls that have a place.
    pub(super) fn in_flight(&self) -> usize {
        self.limits.in_flight.saturating_sub(self.room.available_permits())
    }
}

impl Pass<'_> {
    /// Before every attempt on the wire: waits for its turn under the rates, briefly, and sees that the provider is not left alone by now.
    ///
    /// # Errors
    /// `PROVIDER_RATE_LIMITED` with the time until there is a turn, and `PROVIDER_SUSPENDED`.
    pub async fn attempt(&self, deadline: Instant) -> Result<(), GatewayError> {
        self.attempt_at(deadline, Instant::now()).await.map(drop)
    }

    /// As [`Self::attempt`], asked for `now`; when it may begin.
    pub(super) async fn attempt_at(&self, deadline: Instant, now: Instant) -> Result<Instant, GatewayError> {
        let gate = self.admitted.gate;
        let own: &[Arc<Allowance>] = match self.aim {
            Aim::Act | Aim::ActUnseen | Aim::Look => &self.route.allowances,
            // The route is that of the action; a job is asked for elsewhere.
            Aim::Ask => &[],
        };
        let attempted = match gate.limits.allowances.is_empty() && own.is_empty() {
            true => self.admitted.goes_out(now, now).map(|()| now),
            // Boxed, so that the others are small.
            false => Box::pin(self.in_turn(own, deadline, now)).await,
        };
        attempted.inspect_err(|error| gate.refused(error))
    }

    /// Waits for the turn under all rates; when that is.
    async fn in_turn(&self, own: &[Arc<Allowance>], deadline: Instant, now: Instant) -> Result<Instant, GatewayError> {
        let gate = self.admitted.gate;
        self.admitted.renew(now)?;
        let all = gate.limits.allowances.iter().chain(own);
        let latest = (now + gate.limits.queue.patience()).min(deadline);
        let slot = gate.ledger.reserve(all, now, latest).map_err(rate_limited)?;
        let mut begin = now;
        if slot.at() > now {
            tokio::select! {
                biased;
                () = gate.suspended.notified() => return Err(gate.suspended()),
                () = sleep_until(slot.at()) => {}
            }
            begin = Instant::now();
            metrics::gate_waited(&gate.provider, WaitFor::Rate, begin.saturating_duration_since(now));
        }
        self.admitted.goes_out(begin, slot.at())?;
        slot.used();
        Ok(begin)
    }

    /// After every attempt: what it showed of the vendor.
    pub fn observed(&self, sign: Sign) {
        self.observed_at(sign, Instant::now());
    }

    /// As [`Self::observed`], where it ended `now`.
    pub(super) fn observed_at(&self, sign: Sign, now: Instant) {
        let gate = self.admitted.gate;
        let ticket = self.admitted.ticket();
        let change = {
            let Record { chance, breaker, health } = &mut *gate.record();
            health.saw(sign, gate.limits.breaker.as_ref(), now);
            breaker.report(ticket, sign, now, || chance.f64())
        };
        if let Some(state) = change {
            gate.announce(state);
        }
    }

    /// What an attempt that ended with this error shows of the vendor.
    #[must_use]
    pub fn sign(&self, error: &GatewayError) -> Sign {
        sign(error, self.admitted.gate.limits.timeout)
    }
}

impl Admitted<'_> {
    fn renew(&self, now: Instant) -> Result<(), GatewayError> {
        self.renew_with(&self.gate.record().breaker, now)
    }

    /// As [`Self::renew`], and notes that something goes out, whose turn it is `at`.
    fn goes_out(&self, now: Instant, at: Instant) -> Result<(), GatewayError> {
        let Record { breaker, health, .. } = &mut *self.gate.record();
        self.renew_with(breaker, now)?;
        health.went_out(at);
        Ok(())
    }

    fn renew_with(&self, breaker: &Breaker, now: Instant) -> Result<(), GatewayError> {
        let ticket = breaker.still(self.ticket(), now).map_err(suspended)?;
        self.ticket.store(ticket.to_bits(), Ordering::Relaxed);
        Ok(())
    }

    /// Only the call that has it writes it.
    fn ticket(&self) -> Ticket {
        Ticket::from_bits(self.ticket.load(Ordering::Relaxed))
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let ticket = self.ticket();
        // To the others nobody looks.
        if ticket.is_probe() {
            self.gate.record().breaker.withdraw(ticket);
        }
    }
}

/// One of those who wait for a place.
struct Waiting<'a> {
    waiting: &'a AtomicUsize,
    _counted: UnderWay<'static>,
}

impl<'a> Waiting<'a> {
    /// Nothing when too many wait already.
    fn join(gate: &'a Inner) -> Option<Self> {
        let length = gate.limits.queue.length;
        let one_more = |waiting: usize| (waiting < length).then_some(waiting + 1);
        gate.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self {
            waiting: &gate.waiting,
            _counted: metrics::vendor_call_waits(&gate.provider),
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an attempt with this time limit, which ended with this error, showed of the vendor. Only what nobody but the vendor, or the way
/// to it, can be blamed for counts against it.
fn sign(error: &GatewayError, timeout: Duration) -> Sign {
    match error.reason {
        // Cut short by the deadline of the call, it says nothing.
        Reason::VendorTimeout => {
            let given = error.metadata.get("timeout_ms").and_then(serde_json::Value::as_u64);
            if given.is_none_or(|ms| Duration::from_millis(ms) >= timeout.min(SILENCE)) {
                Sign::VendorSilent
            } else {
                Sign::Local
            }
        }
        // Larger than we take is our limit; what is no HTTP is no answer.
        Reason::BadVendorResponse if error.metadata.contains_key("max_reply_bytes") => Sign::Local,
        Reason::BadVendorResponse | Reason::VendorConnectionLost | Reason::VendorUnreachable => Sign::VendorSilent,
        // Somebody takes connections and hangs up.
        Reason::VendorTlsFailed if error.metadata.get("tls").is_some_and(|tls| tls == TlsFault::Handshake.as_str()) => Sign::VendorSilent,
        // Above all a certificate that does not fit: waiting does not mend it, and its own reason says what does.
        _ => Sign::Local,
    }
}

fn suspended(wait: Duration) -> GatewayError {
    GatewayError::new(
        Reason::ProviderSuspended,
        "the vendor has not answered lately and is left alone for a while; nothing was sent",
    )
    .with_retry_after(wait)
}

fn rate_limited(wait: Duration) -> GatewayError {
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    GatewayError::new(
        Reason::ProviderRateLimited,
        format!("the vendor takes only so many calls in a time; the next one may go in {ms} ms, and nothing was sent"),
    )
    .with_metadata("wait_ms", ms)
    .with_retry_after(wait)
}

/// The words of all states.
const STATES: [&str; 3] = [State::Closed.as_str(), State::HalfOpen.as_str(), State::Open.as_str()];
/// Calls last about a second, so there is likely room after one.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);
/// A look lasts about a second, and then it is known.
const PROBE_RETRY_AFTER: Duration = Duration::from_secs(1);
