//! One login, one logout: what is sent, and what the answer means.
//!
//! **Shape**: `POST /v3/auth/tokens` -> 201 `X-Subject-Token: MII…`, `expires_at`, `issued_at` -> [`Grant`] with a header value
//! and a life.
//!
//! **Invariants**: the length of a life is the difference of two times of the vendor's own clock where it gives both, so its
//! clock and ours may differ. No error, log line or `Debug` has the token or a part of the request.
//!
//! **Errors**
//!
//! | what happens | reason |
//! |---|---|
//! | the identity service cannot be reached, does not answer, answers 429 or 5xx | `VENDOR_UNAVAILABLE` |
//! | no secure channel to it | `VENDOR_TLS_FAILED` |
//! | it does not accept the secret | `VENDOR_AUTH`, remembered |
//! | it answers with something else, or with a token that no header can carry | `VENDOR_AUTH` |

use std::time::Duration;

use http::HeaderValue;
use http::header::DATE;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;

use super::client::UpstreamClient;
use crate::mapping::answer::AnswerValues;
use crate::mapping::expression::Bindings;
use crate::mapping::template::{Placeholder, to_text};
use crate::model::call::UpstreamReply;
use crate::model::error::{GatewayError, VendorFault};
use crate::model::reason::Reason;
use crate::route::credentials::SessionPlan;

/// What a login gives.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    /// The token itself, for a logout.
    pub(super) token: SecretString,
    /// The value of the header that carries it.
    pub(super) value: HeaderValue,
    /// How long it lives from the moment at which the login was sent.
    pub(super) life: Duration,
}

/// Why a login gave nothing.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// It did not work out; it may the next time.
    Failed(GatewayError),
    /// The secret is bad, and will be for a while.
    Rejected(GatewayError),
}

/// Logs in once.
pub(super) async fn log_in(plan: &SessionPlan, client: &UpstreamClient) -> Result<Grant, Refusal> {
    let deadline = Instant::now() + LOGIN_TIMEOUT;
    let exchange = client.send(plan.login.request.clone(), deadline).await;
    let reply = exchange.map_err(|error| Refusal::Failed(unreachable(error)))?.reply;
    read(plan, &reply)
}

/// What the answer to a login means.
fn read(plan: &SessionPlan, reply: &UpstreamReply) -> Result<Grant, Refusal> {
    let status = reply.status.as_u16();
    if plan.rejected.holds(reply) {
        return Err(Refusal::Rejected(said(
            Reason::VendorAuth,
            "the vendor does not accept the secret that taskgate logs in with",
            reply,
        )));
    }
    if !plan.login.status.matches(status) {
        return Err(Refusal::Failed(if status == 429 || status >= 500 {
            said(
                Reason::VendorUnavailable,
                "the vendor takes no logins for now; nothing was sent",
                reply,
            )
        } else {
            said(Reason::VendorAuth, "the vendor answers a login with an unexpected status", reply)
        }));
    }
    let values = AnswerValues::new(reply);
    let bindings = values.bindings();
    let garbage = |detail: &str| Refusal::Failed(said(Reason::VendorAuth, detail, reply));
    let token = match plan.login.token.render_text(&bindings) {
        Ok(Some(token)) if !token.is_empty() => SecretString::from(token),
        _ => return Err(garbage("the vendor's answer to a login has no token")),
    };
    let value = header_value(plan, &token).ok_or_else(|| garbage("the vendor's answer to a login has a token that no header can carry"))?;
    Ok(Grant {
        token,
        value,
        life: life(plan, &bindings, reply),
    })
}

/// The header with the token, where it can stand in one.
fn header_value(plan: &SessionPlan, token: &SecretString) -> Option<HeaderValue> {
    let text = token.expose_secret();
    if text.len() > MAX_TOKEN_BYTES || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    let token = Value::from(text);
    let text = SecretString::from(plan.value.render_text(&Bindings::new().with("token", &token)).ok()??);
    let mut value = HeaderValue::from_str(text.expose_secret()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// How long the token lives. What makes no sense counts as not said.
fn life(plan: &SessionPlan, bindings: &Bindings<'_>, reply: &UpstreamReply) -> Duration {
    let text = |placeholder: &Option<Placeholder>| {
        let value = placeholder.as_ref()?.evaluate(bindings).ok()??;
        to_text(&value).map(std::borrow::Cow::into_owned)
    };
    let time = |placeholder: &Option<Placeholder>| text(placeholder)?.parse::<Timestamp>().ok();
    let date = || {
        let date = reply.headers.get(DATE)?.to_str().ok()?;
        Timestamp::try_from(httpdate::parse_http_date(date).ok()?).ok()
    };
    let between = || {
        let begin = time(&plan.login.issued_at).or_else(date).unwrap_or_else(Timestamp::now);
        Duration::try_from(
            begin
                .until(time(&plan.login.expires_at)?)
                .ok()?
                .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
                .ok()?,
        )
        .ok()
    };
    let seconds = || text(&plan.login.expires_in)?.parse().ok().map(Duration::from_secs);
    let said = seconds().or_else(between).filter(|life| !life.is_zero());
    said.unwrap_or(plan.login.lifetime).min(plan.login.lifetime).max(SHORTEST_LIFE)
}

/// The identity service gave no answer: nothing was asked of the vendor.
fn unreachable(error: GatewayError) -> GatewayError {
    let (reason, detail) = match error.reason {
        Reason::VendorTlsFailed => (Reason::VendorTlsFailed, error.detail.as_str()),
        Reason::BadVendorResponse => (Reason::VendorAuth, "the vendor's answer to a login makes no sense"),
        _ => (Reason::VendorUnavailable, "the vendor's logins cannot be reached; nothing was sent"),
    };
    let mut told = GatewayError::new(reason, detail).with_internal(format!(
        "login: {}: {}",
        error.reason.code(),
        error.internal.unwrap_or(error.detail.clone())
    ));
    told.metadata = error.metadata;
    told
}

/// An error with the vendor's status; its texts stay out, as they may repeat what was sent.
fn said(reason: Reason, detail: &str, reply: &UpstreamReply) -> GatewayError {
    GatewayError::new(reason, detail)
        .with_internal(format!("login: status {}", reply.status.as_u16()))
        .with_vendor(VendorFault {
            status: reply.status.as_u16(),
            ..VendorFault::default()
        })
}

/// Ends a session. Whether the vendor likes it makes no difference: taskgate is about to end.
pub(super) async fn log_out(plan: &SessionPlan, client: &UpstreamClient, token: &SecretString, deadline: Instant) {
    let Some(logout) = &plan.logout else { return };
    let token = Value::from(token.expose_secret());
    let request = match logout.request.render(&Bindings::new().with("token", &token)) {
        Ok(request) => request,
        Err(_) => {
            tracing::warn!(credential = %plan.name, "a session cannot be ended: its token fits no request");
            return;
        }
    };
    match client.send(request, deadline).await {
        Ok(exchange) => tracing::info!(credential = %plan.name, status = exchange.reply.status.as_u16(), "session ended"),
        Err(error) => tracing::warn!(credential = %plan.name, reason = error.reason.code(), "a session was left to end by itself"),
    }
}

/// Connecting included; callers wait no longer than their own deadline.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(13);
/// The most that one of the vendors allows in the header, and far more than any sends.
pub(super) const MAX_TOKEN_BYTES: usize = 32 * 1024;
/// A token that is said to live shorter would be renewed with every call.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
