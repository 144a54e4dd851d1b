//! The gateway as a running thing: two listeners, the stack, the ways to the vendors, and a clean end.
//!
//! **Shape**: `RunningGateway::start(table, options)` -> addresses; `stop()` returns when everything has ended.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::layer::dispatch::Dispatch;
use crate::route::RouteTable;
use crate::server::{self, ServerLimits};
use crate::stack::{self, StackLimits};
use crate::upstream::client::ClientError;
use crate::upstream::credentials::Keyring;
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

/// A gateway that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct RunningGateway {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    draining: CancellationToken,
    ended: CancellationToken,
    keyring: Keyring,
    serving: JoinSet<()>,
    backstage: JoinSet<()>,
}

impl RunningGateway {
    /// Binds the listeners and starts to serve.
    ///
    /// # Errors
    /// [`StartError`]; then nothing listens.
    pub async fn start(table: Arc<RouteTable>, options: GatewayOptions, metrics: PrometheusHandle) -> Result<Self, StartError> {
        let via = &options.stack.admit.via;
        let keyring = Keyring::new(&table, via, Arc::new(System)).map_err(|source| StartError::Keyring { source })?;
        let mut ways = HashMap::new();
        for (name, provider) in &table.providers {
            let way = ProviderService::with_keyring(name, &provider.connection, &provider.limits, via, &keyring).map_err(|source| {
                StartError::Client {
                    provider: name.clone(),
                    source,
                }
            })?;
            ways.insert(name.clone(), way);
        }
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

        let (draining, ended) = (CancellationToken::new(), CancellationToken::new());
        let gateway = stack::build(Arc::clone(&table), &options.stack, Dispatch::new(ways));
        let (mut serving, mut backstage) = (JoinSet::new(), JoinSet::new());
        let (limits, drain) = (options.server.clone(), options.drain);
        serving.spawn(server::run(listener, gateway, limits, draining.clone(), drain));
        backstage.spawn(admin::upkeep(metrics.clone(), ended.clone()));
        if let Some(listener) = admin_listener {
            // Its own end: while callers are drained, `/readyz` has to say so.
            let admin = Admin::new(draining.clone(), options.config_hash, metrics, move || status(&table));
            backstage.spawn(server::run(listener, admin, options.server, ended.clone(), ADMIN_DRAIN));
        }
        Ok(Self {
            address,
            admin_address,
            draining,
            ended,
            keyring,
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

    /// Stops accepting, lets calls under way end, at most for the drain time, ends the sessions at the vendors, and returns when
    /// all has ended.
    pub async fn stop(mut self) {
        self.draining.cancel();
        while self.serving.join_next().await.is_some() {}
        self.keyring.log_out(LOGOUT).await;
        self.ended.cancel();
        while self.backstage.join_next().await.is_some() {}
    }
}

/// The document of `/status`: what can be called, and what is missing where something cannot.
#[must_use]
pub fn status(table: &RouteTable) -> Value {
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
