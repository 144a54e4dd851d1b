//! Applies a provider's credentials to its requests, one scheme after the other.
//!
//! **Shape**: [`Outbound`] without credentials -> the request with them, sent -> [`Exchange`]; where the vendor says that a
//! session has ended, once more with a new one.
//!
//! **Invariants**: a request is sent twice at most, and the second time only after the vendor has said that it did not take the
//! first one. Credentials with one name share one session, over all providers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::client::{self, ClientError, UpstreamClient};
use super::network::{Network, System};
use super::policy::Sender;
use super::session::Session;
use super::{login, sign_dated, sign_sdk};
use crate::layer::{CallContext, CredentialUse, Exchange, Outbound};
use crate::mapping::expression::Bindings;
use crate::model::call::{UpstreamReply, UpstreamRequest};
use crate::model::error::{GatewayError, VendorFault};
use crate::model::reason::Reason;
use crate::route::credentials::{BasicPlan, SessionPlan};
use crate::route::{Connection, Credentials, Endpoint, Limits, RouteTable};
use crate::trust::Trust;

/// The credentials of a gateway that have a state, by name, and the network that its logins and providers are reached over.
#[derive(Clone, Debug)]
pub struct Keyring {
    by_name: HashMap<String, Arc<Keeper>>,
    network: Arc<dyn Network>,
}

impl Default for Keyring {
    /// No credentials with a state; the operating system's network.
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            network: Arc::new(System),
        }
    }
}

/// What applies the credentials of one provider.
#[derive(Clone, Debug)]
pub(super) struct Applier {
    endpoint: Endpoint,
    keeper: Arc<Keeper>,
}

/// The credentials, with what has become of them.
#[derive(Debug)]
enum Keeper {
    Basic { plan: Arc<BasicPlan>, accepted: AtomicBool },
    Session(Box<KeptSession>),
    Stateless(Credentials),
}

#[derive(Debug)]
struct KeptSession {
    plan: Arc<SessionPlan>,
    /// Whom the login's https trusts.
    trust: Trust,
    session: Session,
    client: UpstreamClient,
}

impl Keyring {
    /// The credentials of all providers that are configured. Nobody logs in before the first call.
    ///
    /// # Errors
    /// [`ClientError`] where the client of a login cannot be made.
    pub fn new(table: &RouteTable, via: &str, network: Arc<dyn Network>) -> Result<Self, ClientError> {
        let nothing = Self {
            by_name: HashMap::new(),
            network,
        };
        nothing.renewed(table, via)
    }

    /// The credentials of all providers of another table. Those that are the same keep their state: nobody logs in anew.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn renewed(&self, table: &RouteTable, via: &str) -> Result<Self, ClientError> {
        let connections: Vec<&Connection> = table
            .providers
            .values()
            .filter_map(|provider| provider.connection.as_ref().ok())
            .collect();
        // Who logs in where its provider answers trusts what that provider trusts, so those connections come first.
        let (at_home, elsewhere): (Vec<_>, Vec<_>) = connections.into_iter().partition(|connection| logs_in_at_home(connection));
        let mut by_name = HashMap::new();
        for connection in at_home.into_iter().chain(elsewhere) {
            if let Some(name) = name(&connection.credentials)
                && !by_name.contains_key(name)
            {
                let kept = self.by_name.get(name).filter(|keeper| keeper.is_of(connection));
                let keeper = match kept {
                    Some(keeper) => Arc::clone(keeper),
                    None => Arc::new(Keeper::new(connection, via, &self.network)?),
                };
                by_name.insert(name.to_owned(), keeper);
            }
        }
        Ok(Self {
            by_name,
            network: Arc::clone(&self.network),
        })
    }

    /// Do both keep the same state for the credentials of this connection?
    #[must_use]
    pub fn agrees(&self, other: &Self, connection: &Connection) -> bool {
        let keeper = |ring: &Self| name(&connection.credentials).and_then(|name| ring.by_name.get(name).map(Arc::as_ptr));
        keeper(self) == keeper(other)
    }

    /// Those credentials that the other ring does not have.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let gone = |(name, keeper): &(&String, &Arc<Keeper>)| !other.by_name.get(*name).is_some_and(|other| Arc::ptr_eq(keeper, other));
        let by_name = self.by_name.iter().filter(gone);
        Self {
            by_name: by_name.map(|(name, keeper)| (name.clone(), Arc::clone(keeper))).collect(),
            network: Arc::clone(&self.network),
        }
    }

    /// The network that its logins are reached over, and the providers as well.
    pub(super) fn network(&self) -> &Arc<dyn Network> {
        &self.network
    }

    /// What applies the credentials of this connection; a state of its own where the ring does not know their name.
    pub(super) fn applier(&self, connection: &Connection, via: &str) -> Result<Applier, ClientError> {
        let known = name(&connection.credentials).and_then(|name| self.by_name.get(name));
        let keeper = match known {
            Some(keeper) => Arc::clone(keeper),
            None => Arc::new(Keeper::new(connection, via, &self.network)?),
        };
        Ok(Applier {
            endpoint: connection.endpoint.clone(),
            keeper,
        })
    }

    /// Ends all sessions at their vendors, within `limit`; what does not end by then ends by itself.
    pub async fn log_out(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let sessions = self.by_name.values().filter_map(|keeper| match &**keeper {
            Keeper::Session(kept) if kept.plan.logout.is_some() => Some(kept),
            Keeper::Basic { .. } | Keeper::Session(_) | Keeper::Stateless(_) => None,
        });
        join_all(sessions.map(|kept| async move {
            if let Some(token) = kept.session.close(deadline).await {
                login::log_out(&kept.plan, &kept.client, &token.text, deadline).await;
            }
        }))
        .await;
    }
}

/// Whom a login trusts.
fn trust_of_login(provider: &Connection) -> Trust {
    // An appliance shows one certificate for both; an identity service elsewhere has the public authorities.
    if logs_in_at_home(provider) {
        provider.trust.clone()
    } else {
        Trust::default()
    }
}

fn name(credentials: &Credentials) -> Option<&str> {
    match credentials {
        Credentials::Basic(plan) => Some(&plan.name),
        Credentials::Session(plan) => Some(&plan.name),
        Credentials::DatedAccessKey(_)
        | Credentials::Header(..)
        | Credentials::None
        | Credentials::Passthrough(_)
        | Credentials::SdkHmacSha256(_) => None,
    }
}

/// Is the login at the same place as the provider's interface?
fn logs_in_at_home(connection: &Connection) -> bool {
    let Credentials::Session(plan) = &connection.credentials else {
        return false;
    };
    (&plan.endpoint.scheme, &plan.endpoint.authority) == (&connection.endpoint.scheme, &connection.endpoint.authority)
}

impl Keeper {
    /// Would the keeper of this connection's credentials do the same?
    fn is_of(&self, provider: &Connection) -> bool {
        match (self, &provider.credentials) {
            (Self::Basic { plan, .. }, Credentials::Basic(other)) => plan == other,
            (Self::Session(kept), Credentials::Session(other)) => kept.plan == *other && kept.trust == trust_of_login(provider),
            (Self::Stateless(credentials), other) => credentials == other,
            (Self::Basic { .. } | Self::Session(_), _) => false,
        }
    }

    fn new(provider: &Connection, via: &str, network: &Arc<dyn Network>) -> Result<Self, ClientError> {
        Ok(match &provider.credentials {
            Credentials::Basic(plan) => Self::Basic {
                plan: Arc::clone(plan),
                accepted: AtomicBool::new(false),
            },
            Credentials::Session(plan) => {
                let connection = Connection {
                    endpoint: plan.endpoint.clone(),
                    credentials: Credentials::None,
                    trust: trust_of_login(provider),
                };
                // Logins are rare: a kept connection would mostly be found closed.
                let limits = Limits {
                    close: true,
                    ..Limits::default()
                };
                let client = UpstreamClient::over(Arc::clone(network), &connection, &limits, via)?;
                let door = (Arc::clone(plan), client.clone());
                let log_in = move || {
                    let (plan, client) = door.clone();
                    Box::pin(async move { login::log_in(&plan, &client).await }) as _
                };
                Self::Session(Box::new(KeptSession {
                    session: Session::new(&plan.name, plan.remember, Arc::new(log_in), network.seed()),
                    plan: Arc::clone(plan),
                    trust: connection.trust,
                    client,
                }))
            }
            Credentials::DatedAccessKey(_)
            | Credentials::Header(..)
            | Credentials::None
            | Credentials::Passthrough(_)
            | Credentials::SdkHmacSha256(_) => Self::Stateless(provider.credentials.clone()),
        })
    }
}

/// The headers that prove who asks.
pub(super) type Applied = Vec<(HeaderName, HeaderValue)>;

impl Applier {
    /// Sends the call with its credentials, each time through `sender`.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without the caller's header, those of a login, `VENDOR_RATE_LIMITED` by the plan's `limited`; then as [`Sender::send`].
    pub(super) async fn exchange(&self, outbound: Outbound, sender: &Sender<'_>) -> Result<Exchange, GatewayError> {
        let Outbound { context, mut request, .. } = outbound;
        if outbound.credentials == CredentialUse::None {
            return sender.send(&request, Applied::new()).await;
        }
        match &*self.keeper {
            Keeper::Basic { plan, accepted } => {
                let applied = vec![(http::header::AUTHORIZATION, plan.value.clone())];
                let exchange = sender.send(&request, applied).await?;
                if exchange.reply.status.is_success() {
                    accepted.store(true, Ordering::Relaxed);
                } else if accepted.load(Ordering::Relaxed) && plan.limited.as_ref().is_some_and(|test| test.holds(&exchange.reply)) {
                    return Err(limited(&exchange.reply));
                }
                Ok(exchange)
            }
            Keeper::Session(kept) => kept.exchange((&context, outbound.credentials), &request, sender).await,
            Keeper::Stateless(Credentials::Passthrough(name)) => {
                let value = passed(&context.credentials.passed, name)?;
                let exchange = sender.send(&request, vec![(name.clone(), value)]).await?;
                if exchange.reply.status == StatusCode::UNAUTHORIZED {
                    let detail = format!("the vendor does not accept the `{name}` that the caller sent");
                    return Err(unauthenticated(name, detail).with_vendor(fault(&exchange.reply)));
                }
                Ok(exchange)
            }
            Keeper::Stateless(credentials) => {
                let applied = sign(credentials, &mut request, &self.endpoint, Timestamp::now())?;
                sender.send(&request, applied).await
            }
        }
    }
}

impl KeptSession {
    async fn exchange(
        &self,
        (context, credentials): (&CallContext, CredentialUse),
        request: &UpstreamRequest,
        sender: &Sender<'_>,
    ) -> Result<Exchange, GatewayError> {
        let (deadline, used) = (context.deadline, &context.credentials.session);
        let renewed = match credentials {
            CredentialUse::Renewed => self.session.renewed(used.load(Ordering::Relaxed), deadline).await?,
            CredentialUse::None | CredentialUse::Normal => None,
        };
        let token = match renewed {
            Some(token) => token,
            None => self.session.token(deadline).await?,
        };
        used.store(token.serial, Ordering::Relaxed);
        let apply = |value: &HeaderValue| vec![(self.plan.header.clone(), value.clone())];
        let exchange = sender.send(request, apply(&token.value)).await?;
        if !self.has_expired(&exchange.reply) {
            return Ok(exchange);
        }
        // Boxed, so that the others are small.
        let again = async {
            let Some(fresh) = self.session.renewed(token.serial, deadline).await? else {
                return Ok(exchange);
            };
            used.store(fresh.serial, Ordering::Relaxed);
            let exchange = sender.send(request, apply(&fresh.value)).await?;
            if self.has_expired(&exchange.reply) {
                self.session.did_not_help(fresh.serial);
            }
            Ok(exchange)
        };
        Box::pin(again).await
    }

    fn has_expired(&self, reply: &UpstreamReply) -> bool {
        self.plan.expired.as_ref().is_some_and(|test| test.holds(reply))
    }
}

/// What a scheme without a state adds to a request; a signature makes the request's query canonical.
fn sign(credentials: &Credentials, request: &mut UpstreamRequest, endpoint: &Endpoint, now: Timestamp) -> Result<Applied, GatewayError> {
    match credentials {
        Credentials::DatedAccessKey(key) => sign_dated::sign(request, endpoint, key, now),
        Credentials::SdkHmacSha256(key) => sign_sdk::sign(request, endpoint, key, now),
        Credentials::Basic(_) | Credentials::Header(..) | Credentials::None | Credentials::Passthrough(_) | Credentials::Session(_) => {
            Ok(credentials
                .as_header()
                .map(|(name, value)| (name, value.clone()))
                .into_iter()
                .collect())
        }
    }
}

/// What the credentials would add to the request now, for people: secrets are marked sensitive, and what a login or the caller
/// would give is made up.
///
/// # Errors
/// As the signature of the scheme.
pub fn preview(
    credentials: &Credentials,
    request: &mut UpstreamRequest,
    endpoint: &Endpoint,
) -> Result<Vec<(HeaderName, HeaderValue)>, GatewayError> {
    let mut made_up = HeaderValue::from_static("made-up");
    made_up.set_sensitive(true);
    match credentials {
        Credentials::Passthrough(name) => Ok(vec![(name.clone(), made_up)]),
        Credentials::Session(plan) => {
            let token = Value::from("made-up");
            let text = plan.value.render_text(&Bindings::new().with("token", &token)).ok().flatten();
            let mut value = text.and_then(|text| HeaderValue::from_str(&text).ok()).unwrap_or(made_up);
            value.set_sensitive(true);
            Ok(vec![(plan.header.clone(), value)])
        }
        Credentials::Basic(_)
        | Credentials::DatedAccessKey(_)
        | Credentials::Header(..)
        | Credentials::None
        | Credentials::SdkHmacSha256(_) => sign(credentials, request, endpoint, Timestamp::now()),
    }
}

/// As [`preview`], for a call of somebody: fails as the call would before anything is sent.
///
/// # Errors
/// `UNAUTHENTICATED` where the caller's own credentials are missing, `MAPPING_FAILED` for a request that cannot be sent, and those of
/// the signature.
pub fn prove(
    credentials: &Credentials,
    request: &mut UpstreamRequest,
    endpoint: &Endpoint,
    caller: &HeaderMap,
) -> Result<Vec<(HeaderName, HeaderValue)>, GatewayError> {
    if let Credentials::Passthrough(name) = credentials {
        passed(caller, name)?;
    }
    let applied = preview(credentials, request, endpoint)?;
    client::check(request, endpoint, &credentials.header_names())?;
    Ok(applied)
}

/// The caller's header, which has to be there once.
fn passed(headers: &HeaderMap, name: &HeaderName) -> Result<HeaderValue, GatewayError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.clone()),
        _ => Err(unauthenticated(
            name,
            format!("this provider takes the caller's own `{name}`: it has to be there exactly once"),
        )),
    }
}

fn unauthenticated(name: &HeaderName, detail: String) -> GatewayError {
    GatewayError::new(Reason::Unauthenticated, detail).with_metadata("header", name.as_str())
}

fn limited(reply: &UpstreamReply) -> GatewayError {
    let detail = "the vendor has accepted these credentials before: it has too many sessions or calls of them for now";
    GatewayError::new(Reason::VendorRateLimited, detail)
        .with_vendor(fault(reply))
        .with_retry_after(LIMITED_RETRY_AFTER)
}

fn fault(reply: &UpstreamReply) -> VendorFault {
    VendorFault {
        status: reply.status.as_u16(),
        ..VendorFault::default()
    }
}

/// A session of a call without keep-alive ends with the call, within a second or two.
const LIMITED_RETRY_AFTER: Duration = Duration::from_secs(2);
