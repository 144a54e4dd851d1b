//! The gateway as a running thing: two listeners, the stack, the ways to the vendors, another configuration while it runs, and a
//! clean end.
//!
//! **Shape**: `RunningGateway::start(table, options)` -> addresses; `replace(table, hash)` while it runs; `leave(..)`, then
//! `stop()` returns when everything has ended.
//!
//! **Invariants**
//! - A call sees one configuration from its head to its end: it looks the stack up once, and what the stack holds never changes.
//! - What did not change is kept when a configuration is replaced: the way to a provider that is called as before, with its
//!   connections and its calls under way; a login with its session; the limit over all calls; whoever waits for a look.
//! - A session that no configuration needs any more is ended when the last call is over that may use it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::Service;
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::catalog::{Catalog, Health};
use crate::layer::BoxFuture;
use crate::layer::dispatch::Dispatch;
use crate::operation::OperationKeys;
use crate::route::RouteTable;
use crate::server::{self, ServerLimits, Shutdown};
use crate::stack::{Frame, Gateway, Known, StackLimits};
use crate::telemetry::metrics;
use crate::upstream::client::ClientError;
use crate::upstream::credentials::{self, Keyring};
use crate::upstream::health::Gates;
use crate::upstream::network::System;
use crate::upstream::policy::ProviderService;

/// How the gateway runs.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Where callers come in; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where operators look; none without it.
    pub admin_listen: Option<SocketAddr>,
    /// The limits of the stack.
    pub stack: StackLimits,
    /// The limits of the listeners.
    pub server: ServerLimits,
    /// How long calls under way may take to end after a stop was asked for.
    pub drain: Duration,
    /// The hash of the configuration that runs, for `/readyz`.
    pub config_hash: String,
}

/// Why the gateway does not run. Nothing listens then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The way to a vendor cannot be set up.
    #[error("the client of `{provider}` cannot be set up")]
    Client {
        /// The provider.
        provider: String,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// The way to the logins cannot be set up.
    #[error("the client of the logins cannot be set up")]
    Keyring {
        /// Why.
        #[source]
        source: ClientError,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What became of another configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// It runs. The providers that are called in another way than before, or are new, or are gone.
    Applied(Vec<String>),
    /// It could not be put to work; the one before goes on.
    Failed,
    /// It has faults; the one before goes on.
    Rejected,
    /// It is what runs already.
    Unchanged,
}

impl Reload {
    /// The word in metrics and in `/status`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Applied(_) => "applied",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A gateway that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct RunningGateway {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    current: Arc<ArcSwap<Current>>,
    last_reload: LastReload,
    frame: Frame,
    /// Has the frame other keys than the stack that runs?
    rekeyed: bool,
    via: String,
    /// One for each configuration before, cancelled when its last call is over.
    older: Vec<CancellationToken>,
    retiring: JoinSet<()>,
    draining: CancellationToken,
    shutdown: Shutdown,
    ended: CancellationToken,
    serving: JoinSet<()>,
    backstage: JoinSet<()>,
}

/// What a reload came to, and when.
type LastReload = Arc<Mutex<Option<(&'static str, Timestamp)>>>;

/// The configuration that runs, with all that stands on it.
struct Current {
    table: Arc<RouteTable>,
    hash: String,
    keyring: Keyring,
    gates: Gates,
    ways: HashMap<String, ProviderService>,
    gateway: Gateway<Incoming>,
    /// Cancelled when nobody, no call that has begun either, uses it any more.
    over: CancellationToken,
}

impl Current {
    /// Sets a configuration up; what is the same as before is taken over. Also the providers for which it is not.
    fn new(
        table: Arc<RouteTable>,
        hash: String,
        (frame, via): (&Frame, &str),
        before: Option<&Self>,
    ) -> Result<(Self, Vec<String>), StartError> {
        let keyring = match before {
            Some(before) => before.keyring.renewed(&table, via),
            None => Keyring::new(&table, via, Arc::new(System)),
        };
        let keyring = keyring.map_err(|source| StartError::Keyring { source })?;
        let gates = before.map_or_else(|| Gates::new(&table), |before| before.gates.followed_by(&table));
        let mut ways = HashMap::new();
        let mut changed = Vec::new();
        for (name, provider) in &table.providers {
            let kept = before.filter(|before| {
                let connection = provider.connection.as_ref().ok();
                before.table.providers.get(name).is_some_and(|other| other.is_called_like(provider))
                    && connection.is_none_or(|connection| keyring.agrees(&before.keyring, connection))
            });
            let way = match kept.and_then(|before| before.ways.get(name)) {
                Some(way) => way.clone(),
                None => {
                    changed.push(name.clone());
                    ProviderService::with_keyring(name, &provider.connection, &provider.limits, via, &keyring).map_err(|source| {
                        StartError::Client {
                            provider: name.clone(),
                            source,
                        }
                    })?
                }
            };
            let way = match gates.gate(name) {
                Some(gate) => way.through(gate.clone()),
                None => way,
            };
            ways.insert(name.clone(), way);
        }
        if let Some(before) = before {
            changed.extend(before.ways.keys().filter(|name| !ways.contains_key(*name)).cloned());
            changed.sort_unstable();
        }
        let over = CancellationToken::new();
        let dispatch = Dispatch::telling(ways.clone(), Some(over.clone().drop_guard()));
        let (seen, shown) = (gates.clone(), Arc::clone(&table));
        let catalog = Catalog::new(Arc::clone(&table), move |name| {
            let provider = shown.providers.get(name);
            provider.map_or_else(Health::default, |provider| Health::of_status(&seen.status(provider)))
        });
        let known = Known {
            quotas: Some(gates.ledger()),
            prove: credentials::prove,
        };
        let current = Self {
            gateway: frame.with_pages(catalog, frame.build_knowing(Arc::clone(&table), dispatch, known)),
            table,
            hash,
            keyring,
            gates,
            ways,
            over,
        };
        Ok((current, changed))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// The stack of the configuration that runs when a request begins; the request keeps it.
#[derive(Clone)]
struct Latest(Arc<ArcSwap<Current>>);

impl Service<Request<Incoming>> for Latest {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Full<Bytes>>, Infallible>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.0.load().gateway.enter(request)
    }
}

impl RunningGateway {
    /// Binds the listeners and starts to serve.
    ///
    /// # Errors
    /// [`StartError`]; then nothing listens.
    pub async fn start(table: Arc<RouteTable>, options: GatewayOptions, metrics: PrometheusHandle) -> Result<Self, StartError> {
        let frame = Frame::new(options.stack.clone());
        let via = options.stack.admit.via;
        let (current, _all) = Current::new(table, options.config_hash, (&frame, &via), None)?;
        let listener = bind(options.listen).await?;
        let admin_listener = match options.admin_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let address = local_address(&listener, options.listen)?;
        let admin_address = admin_listener
            .as_ref()
            .map(|listener| local_address(listener, options.listen))
            .transpose()?;

        metrics::config_runs(&current.hash, None);
        let current = Arc::new(ArcSwap::from_pointee(current));
        let last_reload = LastReload::default();
        let (draining, shutdown, ended) = (CancellationToken::new(), Shutdown::default(), CancellationToken::new());
        let (mut serving, mut backstage) = (JoinSet::new(), JoinSet::new());
        let (limits, drain) = (options.server.clone(), options.drain);
        serving.spawn(server::run(listener, Latest(Arc::clone(&current)), limits, shutdown.clone(), drain));
        backstage.spawn(admin::upkeep(metrics.clone(), ended.clone()));
        if let Some(listener) = admin_listener {
            let (hash, shown, last) = (Arc::clone(&current), Arc::clone(&current), Arc::clone(&last_reload));
            // Its own end: while callers are drained, `/readyz` has to say so.
            let admin = Admin::new(
                draining.clone(),
                move || hash.load().hash.clone(),
                metrics,
                move || status(&shown.load(), &last),
            );
            let limits = ServerLimits {
                methods: admin::METHODS,
                ..options.server
            };
            backstage.spawn(server::run(listener, admin, limits, ended.clone(), ADMIN_DRAIN));
        }
        Ok(Self {
            address,
            admin_address,
            current,
            last_reload,
            frame,
            rekeyed: false,
            via,
            older: Vec::new(),
            retiring: JoinSet::new(),
            draining,
            shutdown,
            ended,
            serving,
            backstage,
        })
    }

    /// Where callers come in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators look.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Puts another configuration to work: calls that begin from now on see it, those under way keep theirs. Returns at once.
    ///
    /// # Errors
    /// [`StartError`] when a way cannot be set up; then nothing has changed.
    pub fn replace(&mut self, table: Arc<RouteTable>, hash: String) -> Result<Reload, StartError> {
        let before = self.current.load_full();
        let (next, changed) =
            Current::new(table, hash, (&self.frame, &self.via), Some(&before)).inspect_err(|_| self.note(&Reload::Failed))?;
        metrics::config_runs(&next.hash, Some(&before.hash));
        if changed.is_empty() && next.hash == before.hash && !std::mem::take(&mut self.rekeyed) {
            self.note(&Reload::Unchanged);
            return Ok(Reload::Unchanged);
        }
        let retired = before.keyring.without(&next.keyring);
        self.current.store(Arc::new(next));
        self.older.retain(|older| !older.is_cancelled());
        self.older.push(before.over.clone());
        let older = self.older.clone();
        while self.retiring.try_join_next().is_some() {}
        self.retiring.spawn(async move {
            for older in older {
                older.cancelled().await;
            }
            retired.log_out(LOGOUT).await;
        });
        let reload = Reload::Applied(changed);
        self.note(&reload);
        Ok(reload)
    }

    /// Names operations with these keys from the next configuration on. What was named with one of them is still answered for.
    pub fn rekey(&mut self, keys: Arc<OperationKeys>) {
        self.rekeyed |= self.frame.rekey(keys);
    }

    /// Notes that another configuration has faults, and that the one that runs goes on.
    pub fn keep(&self) -> Reload {
        self.note(&Reload::Rejected);
        Reload::Rejected
    }

    fn note(&self, reload: &Reload) {
        let word = reload.as_str();
        metrics::config_reloaded(word, matches!(reload, Reload::Applied(_) | Reload::Unchanged));
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = Some((word, Timestamp::now()));
    }

    /// Says that it is about to end, in `/readyz` and in every answer, and serves on for this time: until the balancer in front
    /// has noticed.
    pub async fn leave(&self, delay: Duration) {
        self.draining.cancel();
        self.shutdown.leave();
        tokio::time::sleep(delay).await;
    }

    /// Stops accepting, lets calls under way end, at most for the drain time, ends the sessions at the vendors, and returns when
    /// all has ended.
    pub async fn stop(mut self) {
        self.leave(Duration::ZERO).await;
        self.shutdown.close();
        while self.serving.join_next().await.is_some() {}
        let retired = async { while self.retiring.join_next().await.is_some() {} };
        let current = self.current.load_full();
        let _ended_or_not = tokio::join!(tokio::time::timeout(LOGOUT, retired), current.keyring.log_out(LOGOUT));
        self.ended.cancel();
        while self.backstage.join_next().await.is_some() {}
    }
}

/// The document of `/status`: what runs, what can be called and how things stand with it, and what is missing where something cannot.
fn status(current: &Current, last: &LastReload) -> Value {
    let mut document = providers(&current.table, &current.gates);
    document["config"] = json!(current.hash);
    if let Some((result, at)) = *last.lock().unwrap_or_else(PoisonError::into_inner) {
        document["reload"] = json!({ "result": result, "at": at.to_string() });
    }
    document
}

/// The providers of `/status`.
fn providers(table: &RouteTable, gates: &Gates) -> Value {
    let providers: Vec<Value> = table
        .providers
        .values()
        .map(|provider| {
            let mut document = json!({
                "name": provider.name,
                "title": provider.title,
                "configured": provider.connection.is_ok(),
                "missing": provider.connection.as_ref().err().cloned().unwrap_or_default(),
                "actions": provider.actions.keys().collect::<Vec<_>>(),
            });
            if provider.connection.is_ok() {
                document["health"] = gates.status(provider);
            }
            if !provider.alternatives.is_empty() {
                document["alternatives"] = json!(provider.alternatives);
            }
            document
        })
        .collect();
    json!({ "version": env!("CARGO_PKG_VERSION"), "providers": providers })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })
}

fn local_address(listener: &TcpListener, asked: SocketAddr) -> Result<SocketAddr, StartError> {
    listener
        .local_addr()
        .map_err(|source| StartError::Listen { address: asked, source })
}

/// A session that is not ended takes a place at its vendor until it lapses; that is not worth a longer wait.
const LOGOUT: Duration = Duration::from_secs(3);
/// A scrape that has begun may end; one that hangs may not hold the process.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);
