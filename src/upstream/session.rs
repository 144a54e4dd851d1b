//! Keeps one session at a vendor: logs in once for all who wait, renews early, and never in a loop.
//!
//! **Shape**: `token(deadline)` -> the token in use; `renewed(after, deadline)` -> a newer one than `after`.
//!
//! **Invariants**
//! - At most one login is in flight. Whoever needs its result waits for it, and shares its failure as well.
//! - A login belongs to nobody: a caller who gives up does not end it.
//! - From 80 % of its life on a token is renewed in the background, with jitter; it serves until it really ends, also while the
//!   identity service is down.
//! - After a failed login there is a pause, longer each time; after a rejected one the plan's `remember`.
//! - A renewal that did not help is not repeated for a while: the vendor means something else than "expired".
//!
//! Time is tokio's monotonic clock. The lock is never held across an `await`.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::failure;
use super::login::{Grant, Refusal};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::telemetry::metrics;

/// Logs in; called again for each login.
pub(super) type LogIn = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Grant, Refusal>> + Send>> + Send + Sync>;

/// The keeper of one session. Cloning shares it.
#[derive(Clone)]
pub(super) struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    remember: Duration,
    log_in: LogIn,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    /// Counts the logins that succeeded.
    serial: u64,
    login: Option<watch::Receiver<Option<Outcome>>>,
    pause: Option<(Instant, GatewayError)>,
    /// Failed logins in a row.
    failures: u32,
    /// A fresh token that the vendor called expired, and until when it is left at that.
    stubborn: Option<(u64, Instant)>,
    closed: bool,
    /// The login in flight.
    tasks: JoinSet<()>,
}

type Outcome = Result<Arc<Token>, GatewayError>;

/// A token and its times.
pub(super) struct Token {
    /// Which login gave it, counted from 1.
    pub(super) serial: u64,
    /// The value of the header.
    pub(super) value: HeaderValue,
    /// The token itself.
    pub(super) text: SecretString,
    renew_at: Instant,
    ends_at: Instant,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("serial", &self.serial).finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that is not there yet: the first who needs it logs in.
    pub(super) fn new(name: &str, remember: Duration, log_in: LogIn) -> Self {
        Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                remember,
                log_in,
                state: Mutex::default(),
            }),
        }
    }

    /// The token in use; logs in where there is none.
    ///
    /// # Errors
    /// What the login says, or `DEADLINE_EXCEEDED`; nothing has been sent to the vendor.
    pub(super) async fn token(&self, deadline: Instant) -> Result<Arc<Token>, GatewayError> {
        let login = {
            let mut state = self.state();
            let now = Instant::now();
            if let Some(token) = state.token.clone().filter(|token| now < token.ends_at) {
                if now >= token.renew_at {
                    // In the background: what comes of it is not waited for, and a failure costs nobody anything.
                    let _under_way = self.join(&mut state, now);
                }
                return Ok(token);
            }
            self.join(&mut state, now)?
        };
        wait(login, deadline).await
    }

    /// A token that is newer than the one with the serial `after`, which the vendor called expired. `None` where another
    /// login was tried a moment ago and did not help.
    ///
    /// # Errors
    /// As [`Self::token`].
    pub(super) async fn renewed(&self, after: u64, deadline: Instant) -> Result<Option<Arc<Token>>, GatewayError> {
        let login = {
            let mut state = self.state();
            let now = Instant::now();
            match &state.token {
                Some(token) if token.serial != after && now < token.ends_at => return Ok(Some(Arc::clone(token))),
                _ => {}
            }
            if state.stubborn.is_some_and(|(serial, until)| serial == after && now < until) {
                return Ok(None);
            }
            // It serves nobody any more, whatever becomes of the login.
            state.token = None;
            self.join(&mut state, now)?
        };
        wait(login, deadline).await.map(Some)
    }

    /// The vendor called even this fresh token expired.
    pub(super) fn did_not_help(&self, serial: u64) {
        self.state().stubborn = Some((serial, Instant::now() + STUBBORN));
    }

    /// Ends the keeping: no login begins any more. The last token, where there is one.
    pub(super) async fn close(&self, deadline: Instant) -> Option<Arc<Token>> {
        let login = {
            let mut state = self.state();
            state.closed = true;
            state.login.clone()
        };
        if let Some(login) = login {
            // Its session exists at the vendor whether anybody waits for it or not.
            let _ended = wait(login, deadline).await;
        }
        self.state().token.take()
    }

    /// The login in flight, or a new one unless there is a pause.
    fn join(&self, state: &mut State, now: Instant) -> Result<watch::Receiver<Option<Outcome>>, GatewayError> {
        // A login whose task broke has no sender any more, and no result.
        if let Some(login) = state.login.clone().filter(|login| login.has_changed().is_ok()) {
            return Ok(login);
        }
        if let Some((until, error)) = state.pause.as_ref().filter(|(until, _)| now < *until) {
            return Err(match error.reason {
                Reason::VendorUnavailable => error.clone().with_retry_after(*until - now),
                _ => error.clone(),
            });
        }
        if state.closed {
            let detail = "taskgate is about to end and does not log in any more; nothing was sent";
            return Err(GatewayError::new(Reason::VendorUnavailable, detail));
        }
        let (told, login) = watch::channel(None);
        state.login = Some(login.clone());
        let session = self.clone();
        while state.tasks.try_join_next().is_some() {}
        state.tasks.spawn(async move {
            let begun = Instant::now();
            let result = (session.inner.log_in)().await;
            told.send_replace(Some(session.ended(begun, result)));
        });
        Ok(login)
    }

    /// Notes what came of a login.
    fn ended(&self, begun: Instant, result: Result<Grant, Refusal>) -> Outcome {
        let credential = self.inner.name.as_str();
        let mut state = self.state();
        state.login = None;
        match result {
            Ok(Grant { token, value, life }) => {
                metrics::login_ended(credential, "ok");
                tracing::info!(credential, life_s = life.as_secs(), "logged in");
                state.serial += 1;
                state.failures = 0;
                state.pause = None;
                let token = Arc::new(Token {
                    serial: state.serial,
                    value,
                    text: token,
                    renew_at: begun + life.mul_f64(RENEW_AT + RENEW_JITTER * fraction()),
                    ends_at: begun + life,
                });
                state.token = Some(Arc::clone(&token));
                Ok(token)
            }
            Err(Refusal::Rejected(error)) => {
                metrics::login_ended(credential, "rejected");
                tracing::error!(
                    credential,
                    error = error.internal.as_deref(),
                    "the vendor does not accept the secret"
                );
                state.pause = Some((Instant::now() + self.inner.remember, error.clone()));
                Err(error)
            }
            Err(Refusal::Failed(error)) => {
                metrics::login_ended(credential, "failed");
                tracing::warn!(credential, error = error.internal.as_deref(), "the login failed");
                let longest = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(state.failures.min(16)));
                state.failures = state.failures.saturating_add(1);
                // Between half of it and all of it, so that a fleet does not come back as one.
                let pause = longest.mul_f64(0.5 + fraction() / 2.0);
                state.pause = Some((Instant::now() + pause, error.clone()));
                Err(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything can panic.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a login, but not beyond the caller's deadline.
async fn wait(mut login: watch::Receiver<Option<Outcome>>, deadline: Instant) -> Outcome {
    match timeout_at(deadline, login.wait_for(Option::is_some)).await {
        Err(_elapsed) => Err(failure::out_of_time()),
        Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err(broken())),
        Ok(Err(_closed)) => Err(broken()),
    }
}

/// A random number from 0 up to, not including, 1: spreads what would otherwise happen everywhere at once.
pub(super) fn fraction() -> f64 {
    // The upper 32 bits of a version 4 UUID are all random.
    let bits = u32::try_from(uuid::Uuid::new_v4().as_u128() >> 96).unwrap_or_default();
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

/// The task of a login ended without a result: a bug of ours.
fn broken() -> GatewayError {
    GatewayError::new(Reason::VendorUnavailable, "the login broke off; nothing was sent")
}

/// The part of its life after which a token is renewed, and what chance adds: late enough to be worth it, and early enough to
/// outlast an outage of the identity service.
const RENEW_AT: f64 = 0.8;
const RENEW_JITTER: f64 = 0.05;
/// After the first failure; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// An identity service that comes back is used again within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A key of one of the vendors is locked after six bad attempts within five minutes.
const STUBBORN: Duration = Duration::from_secs(60);

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
