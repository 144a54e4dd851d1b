//! Opens connections to a vendor: name, TCP and, for `https`, TLS, all within one limit.
//!
//! **Shape**: [`Connector::connect`] -> a stream that takes requests, and a [`Meter`] of what has left on it.
//!
//! **Invariants**: the addresses of a name race with a head start each, so that a dead one costs the next one [`HEAD_START`] and
//! not the call; the first that connects wins and the others are dropped. An address that was overtaken, or did not get through
//! TLS, comes last for a while.
//!
//! **Errors**: [`ConnectFailure`] says which step failed. Nothing of a request has been written at any of them.
//!
//! **Source**: RFC 8305 section 5 (racing) and RFC 6555 section 4.2 (remembering).

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::uri::Scheme;
use rustls::pki_types::ServerName;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;

use super::meter::{Meter, Metered};
use super::network::{Network, Transport};
use super::resolve::Resolver;
use crate::route::Endpoint;

/// Any error of a library below.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectFailure {
    /// The name leads to no address.
    #[error("no address")]
    Name(#[source] io::Error),
    /// No address takes connections.
    #[error("no tcp connection")]
    Tcp(#[source] io::Error),
    /// Not finished within the limit.
    #[error("no connection within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Connected, but without a secure channel.
    #[error("no tls session")]
    Tls(#[source] BoxError),
}

/// A new connection.
pub(super) struct Connected {
    /// It takes requests.
    pub(super) stream: Box<dyn Transport>,
    /// It counts what has left.
    pub(super) meter: Arc<Meter>,
}

/// Opens connections of one provider.
#[derive(Debug)]
pub(super) struct Connector {
    network: Arc<dyn Network>,
    resolver: Resolver,
    secure: Option<Secure>,
    limit: Duration,
    /// The addresses that come last, and until when.
    last: Mutex<Vec<(SocketAddr, Instant)>>,
}

/// How a secure channel is made.
struct Secure {
    connector: TlsConnector,
    /// Who is asked for and looked for; nothing where the host cannot be one.
    name: Option<ServerName<'static>>,
}

impl std::fmt::Debug for Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secure").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Connector {
    /// A connector whose every attempt ends within `limit`; `name` is asked for and looked for instead of the endpoint's host.
    pub(super) fn new(
        network: Arc<dyn Network>,
        endpoint: &Endpoint,
        mut tls: rustls::ClientConfig,
        name: Option<ServerName<'static>>,
        limit: Duration,
    ) -> Self {
        // HTTP/1.1 only, and said so: on a connection of its own a request either went out or did not.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let secure = (endpoint.scheme == Scheme::HTTPS).then(|| {
            let host = endpoint.authority.host();
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            Secure {
                connector: TlsConnector::from(Arc::new(tls)),
                name: name.or_else(|| ServerName::try_from(host.to_owned()).ok()),
            }
        });
        Self {
            resolver: Resolver::new(Arc::clone(&network), &endpoint.scheme, &endpoint.authority),
            network,
            secure,
            limit,
            last: Mutex::default(),
        }
    }

    /// A new connection, by `deadline`.
    ///
    /// # Errors
    /// [`ConnectFailure`]
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Connected, ConnectFailure> {
        let until = deadline.min(Instant::now() + self.limit);
        match timeout_at(until, self.open()).await {
            Ok(connected) => connected,
            Err(_elapsed) => Err(ConnectFailure::Timeout(self.limit)),
        }
    }

    async fn open(&self) -> Result<Connected, ConnectFailure> {
        let found = self.resolver.addresses(self.limit / 3).await.map_err(ConnectFailure::Name)?;
        let addresses = self.ordered(found);
        let (stream, address) = match self.race(&addresses).await {
            Ok(won) => won,
            Err(error) => {
                self.resolver.doubt();
                return Err(ConnectFailure::Tcp(error));
            }
        };
        let meter = Arc::new(Meter::default());
        let stream = Metered::new(stream, Arc::clone(&meter));
        let Some(Secure { connector, name }) = &self.secure else {
            let stream = Box::new(stream);
            return Ok(Connected { stream, meter });
        };
        let name = name
            .clone()
            .ok_or_else(|| ConnectFailure::Tls("the host of the endpoint is no name for a certificate".into()))?;
        // Until it has succeeded: a handshake that is cut off by its time has not.
        self.put_last(address, SUSPECT);
        let secured = connector
            .connect(name, stream)
            .await
            .map_err(|error| ConnectFailure::Tls(error.into()))?;
        self.put_last(address, Duration::ZERO);
        let stream = Box::new(secured);
        Ok(Connected { stream, meter })
    }

    /// The first address that connects. Each further one starts when the ones before it have failed, or a head start later.
    async fn race(&self, addresses: &[SocketAddr]) -> io::Result<(Box<dyn Transport>, SocketAddr)> {
        let mut started = 0;
        let mut racing = FuturesUnordered::new();
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        loop {
            if let Some(&address) = addresses.get(started) {
                started += 1;
                racing.push(async move { (self.network.connect(address).await, address) });
            }
            tokio::select! {
                biased;
                Some((connected, address)) = racing.next() => match connected {
                    Ok(stream) => {
                        let overtaken = addresses.iter().take_while(|other| **other != address);
                        overtaken.for_each(|slower| self.put_last(*slower, OVERTAKEN));
                        return Ok((stream, address));
                    }
                    Err(error) => failure = error,
                },
                () = sleep(HEAD_START), if started < addresses.len() => {}
                else => return Err(failure),
            }
        }
    }

    /// The addresses as they were found, but for those that come last.
    fn ordered(&self, found: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        last.retain(|(_, until)| now < *until);
        if last.is_empty() {
            return found;
        }
        let is_last = |address: &SocketAddr| last.iter().any(|(other, _)| other == address);
        let (slow, mut ordered): (Vec<_>, Vec<_>) = found.into_iter().partition(is_last);
        ordered.extend(slow);
        ordered
    }

    fn put_last(&self, address: SocketAddr, time: Duration) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|(other, _)| *other != address);
        if !time.is_zero() {
            last.push((address, Instant::now() + time));
        }
    }
}

/// RFC 8305 section 8 recommends it: more than a round trip across most of the world.
const HEAD_START: Duration = Duration::from_millis(250);
/// RFC 6555 section 4.2 suggests ten minutes before a family that was slow gets the lead again.
const OVERTAKEN: Duration = Duration::from_secs(600);
/// A server that is just being replaced is back by then.
const SUSPECT: Duration = Duration::from_secs(10);
