//! Whether a request that did not come through goes out again: only where that provably cannot act twice.
//!
//! **Shape**: [`Ladder::run`] makes one attempt after the other -> the [`Exchange`], or the error that is true of all of them.
//!
//! **Rules**, by what became of an attempt; the first that applies decides
//!
//! | rung | what happened | goes out again |
//! |---|---|---|
//! | stale | a kept connection was dead before anything left on it | at once, on a new one |
//! | unsent | no name, no connection, no TLS, or it broke before anything left | after a back-off |
//! | limited | `VENDOR_RATE_LIMITED` by the rules, or 503 with `Retry-After`, on a route with `limited_before_acting` | once, when it says so (else after ten seconds) |
//! | lost | the connection broke after something may have left, on a route with `repeat: safe` or `same-key` | after a back-off |
//! | unavailable | 502, 503 or 504 of a proxy, or that the rules have no other word for, on such a route | after a back-off, and not before `Retry-After` |
//! | the rest | no answer in time, an answer that makes no sense, any other answer, taskgate's own limits | never |
//!
//! A session that has ended is the credentials' to renew (`credentials.rs`).
//!
//! **Invariants**
//! - Nothing goes out again after something may have left, unless the route says that it may: not by method, not by status.
//! - Each repetition but that after a stale connection takes from the provider's budget; [`MOST`] per request; none after the
//!   deadline. Each attempt has to be let in, and is told to who lets it in.
//! - Once the vendor may have heard the request, an attempt that did not reach it changes nothing about what is told. Where the
//!   request may have acted and went out again, the call's [`Doubt`] knows.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::breaker::Sign;
use super::budget::{Backoff, Budget};
use super::client::{UpstreamClient, Way};
use super::credentials::Applied;
use super::failure::{Miss, Missed};
use super::gate::Pass;
use crate::layer::{Doubt, Exchange};
use crate::mapping::fault::retry_after;
use crate::model::call::UpstreamRequest;
use crate::model::error::{GatewayError, VendorFault};
use crate::model::reason::Reason;
use crate::route::{Repeat, Route};
use crate::telemetry::metrics::{self, ProviderMeter, Rung};

/// What repeats the requests to one provider.
#[derive(Debug)]
pub(super) struct Ladder {
    provider: String,
    budget: Budget,
    backoff: Backoff,
}

/// On which terms a request may be repeated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// What may be repeated.
    pub(super) route: &'a Route,
    /// When all has to be over.
    pub(super) deadline: Instant,
    /// What earlier requests of the call left open.
    pub(super) doubt: &'a Doubt,
    /// Lets attempts in, and hears what became of them.
    pub(super) pass: &'a Pass<'a>,
}

/// What is told, should it stay at that.
struct Told {
    result: Result<Exchange, GatewayError>,
    /// May the vendor have heard it?
    heard: bool,
}

impl Ladder {
    /// For a provider with so many calls under way at once; chance begins with `seed`.
    pub(super) fn new(provider: &str, in_flight: usize, seed: u64) -> Self {
        Self {
            provider: provider.to_owned(),
            budget: Budget::new(in_flight),
            backoff: Backoff::seeded(seed),
        }
    }

    /// Sends the request with these credentials, again and again as far as the rules let it.
    ///
    /// # Errors
    /// As [`UpstreamClient::attempt`], and those of `pass`.
    pub(super) async fn run(
        &self,
        (client, meter): (&UpstreamClient, &ProviderMeter),
        request: &UpstreamRequest,
        applied: Applied,
        terms: &Terms<'_>,
    ) -> Result<Exchange, GatewayError> {
        let begun = Instant::now();
        let prepared = client.prepare(request, applied)?;
        self.budget.deposit();
        let mut way = Way::Any;
        let mut told: Option<Box<Told>> = None;
        let (mut repetitions, mut was_limited, mut now) = (0, false, begun);
        loop {
            let start = match terms.pass.attempt_at(terms.deadline, now).await {
                Ok(start) => start,
                Err(refused) => return told.map_or(Err(refused), |told| told.result),
            };
            let attempted = client.attempt(&prepared, terms.deadline, way, start).await;
            // An attempt that went well knows how long it took.
            let elapsed = attempted.as_ref().map_or_else(|_| start.elapsed(), |exchange| exchange.elapsed);
            meter.call_ended(&terms.route.action, elapsed);
            terms.pass.observed_at(sign(&attempted, terms.pass), start + elapsed);
            let next = rung(&attempted, terms.route).filter(|(rung, _)| *rung != Rung::Limited || !was_limited);
            let heard = attempted.as_ref().map_or_else(|missed| missed.miss == Miss::Sent, |_| true);
            let result = match attempted {
                Ok(exchange) => Ok(Exchange {
                    elapsed: (start + elapsed).saturating_duration_since(begun),
                    ..exchange
                }),
                Err(missed) => Err(missed.error),
            };
            let last = match told.take() {
                Some(before) if before.heard && !heard => *before,
                Some(_) | None => Told { result, heard },
            };
            let Some((rung, asked)) = next else {
                return last.result;
            };
            let wait = match rung {
                Rung::Stale => Duration::ZERO,
                // On top of what was asked for, so that not all come back at the same moment.
                Rung::Limited | Rung::Lost | Rung::Unavailable | Rung::Unsent => asked + self.backoff.before(repetitions),
            };
            if repetitions >= MOST || Instant::now() + wait >= terms.deadline {
                return last.result;
            }
            if rung != Rung::Stale && !self.budget.withdraw() {
                metrics::vendor_retry_withheld(&self.provider, rung);
                return last.result;
            }
            if matches!(rung, Rung::Lost | Rung::Unavailable) && !terms.route.is_look() {
                terms.doubt.raise(|| open(&last.result));
            }
            told = Some(Box::new(last));
            if !wait.is_zero() {
                sleep(wait).await;
            }
            metrics::vendor_retried(&self.provider, rung);
            // The others lay longer than the one that was dead.
            way = if rung == Rung::Stale { Way::New } else { Way::Any };
            was_limited |= rung == Rung::Limited;
            repetitions += 1;
            now = Instant::now();
        }
    }
}

/// What an attempt leads to, where the request may go out again, and how long the vendor asks to wait before that.
fn rung(attempted: &Result<Exchange, Missed>, route: &Route) -> Option<(Rung, Duration)> {
    let may_repeat = match route.repeat {
        Repeat::Never => false,
        Repeat::Safe | Repeat::SameKey => true,
    };
    let exchange = match attempted {
        Ok(exchange) => exchange,
        Err(missed) => {
            let rung = match missed.miss {
                Miss::Stale => Some(Rung::Stale),
                Miss::Unsent => (!missed.own).then_some(Rung::Unsent),
                Miss::Sent => (may_repeat && missed.error.reason == Reason::VendorConnectionLost).then_some(Rung::Lost),
                Miss::Refused => None,
            };
            return rung.map(|rung| (rung, Duration::ZERO));
        }
    };
    let is_gone = matches!(exchange.reply.status.as_u16(), 502..=504);
    if !(route.limited_before_acting || may_repeat && is_gone) {
        return None;
    }
    // The status alone says little: some vendors have one for all that goes wrong.
    let refusal = route.refusal(&exchange.reply)?;
    let is_gone = is_gone
        && matches!(
            refusal.reason,
            Reason::BadVendorResponse | Reason::VendorError | Reason::VendorUnavailable
        );
    let asked = retry_after(&exchange.reply.headers);
    let limited = match (refusal.reason, asked) {
        (Reason::VendorRateLimited, _) => refusal.retry_after,
        (_, Some(asked)) if is_gone && exchange.reply.status == StatusCode::SERVICE_UNAVAILABLE => Some(asked),
        _ => None,
    };
    match limited {
        Some(limited) if route.limited_before_acting => Some((Rung::Limited, limited)),
        _ if may_repeat && is_gone => Some((Rung::Unavailable, asked.unwrap_or_default())),
        _ => None,
    }
}

fn sign(attempted: &Result<Exchange, Missed>, pass: &Pass<'_>) -> Sign {
    match attempted {
        Ok(exchange) => Sign::Answered(exchange.reply.status.as_u16()),
        Err(missed) if missed.own => Sign::Local,
        Err(missed) => pass.sign(&missed.error),
    }
}

/// What is open after an attempt that may have acted.
fn open(result: &Result<Exchange, GatewayError>) -> GatewayError {
    match result {
        Err(error) => error.clone(),
        Ok(exchange) => {
            let detail = "the vendor had internal trouble and may have acted; the request was repeated";
            GatewayError::new(Reason::VendorError, detail).with_vendor(VendorFault {
                status: exchange.reply.status.as_u16(),
                ..VendorFault::default()
            })
        }
    }
}

/// Repetitions of one request: what does not come through four times in half a second will not do so soon.
const MOST: u32 = 3;
