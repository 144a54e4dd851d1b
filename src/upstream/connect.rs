//! Opens connections to a vendor: name, TCP and, for `https`, TLS, all within one limit.
//!
//! **Errors**: [`ConnectFailure`] says which step failed. Nothing of a request has been written at any of them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream, ResolveServerName};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tower::Service;

use super::network::{Network, Transport};

/// Any error of a library below.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectFailure {
    /// No address, or no address that takes connections.
    #[error("no tcp connection")]
    Tcp(#[source] BoxError),
    /// Not finished within the limit.
    #[error("no connection within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Connected, but without a secure channel.
    #[error("no tls session")]
    Tls(#[source] BoxError),
}

/// Opens connections of one provider.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<TcpConnector>,
    limit: Duration,
}

impl Connector {
    /// A connector whose every attempt ends within `limit`; `name` is asked for and looked for instead of the host of the URI.
    pub(super) fn new(
        network: Arc<dyn Network>,
        mut tls: rustls::ClientConfig,
        name: Option<ServerName<'static>>,
        limit: Duration,
    ) -> Self {
        let tcp = TcpConnector { network, limit };
        // HTTP/1.1 only, and said so: on a connection of its own a request either went out or did not, and no vendor needs HTTP/2.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let names: Arc<dyn ResolveServerName + Send + Sync> = match name {
            Some(name) => Arc::new(FixedServerNameResolver::new(name)),
            None => Arc::new(DefaultServerNameResolver::default()),
        };
        let https = HttpsConnector::new(tcp, tls, false, names);
        Self { https, limit }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<Box<dyn Transport>>>;
    type Error = ConnectFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(cx).map_err(classify)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        let limit = self.limit;
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected.map_err(classify),
                Err(_elapsed) => Err(ConnectFailure::Timeout(limit)),
            }
        })
    }
}

/// What the TLS connector does not mark as a failure of TCP is its own.
fn classify(error: BoxError) -> ConnectFailure {
    match error.downcast::<TcpFailure>() {
        Ok(tcp) => ConnectFailure::Tcp(tcp.0),
        Err(other) => ConnectFailure::Tls(other),
    }
}

/// The TCP step, which marks its errors so that they can be told from those of TLS.
#[derive(Clone)]
struct TcpConnector {
    network: Arc<dyn Network>,
    limit: Duration,
}

impl TcpConnector {
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Transport>> {
        let addresses = self.network.lookup(host, port).await?;
        // The limit is shared among the addresses, so that a dead first one leaves time for the second.
        let share = self.limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match tokio::time::timeout(share, self.network.connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = error,
                Err(_elapsed) => failed = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failed)
    }
}

impl Service<Uri> for TcpConnector {
    type Response = TokioIo<Box<dyn Transport>>;
    type Error = TcpFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tcp = self.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
            let connected = tcp.connect(host, uri.port_u16().unwrap_or(default)).await;
            connected.map(TokioIo::new).map_err(|error| TcpFailure(error.into()))
        })
    }
}

impl Connection for Box<dyn Transport> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// The mark.
#[derive(Debug, thiserror::Error)]
#[error("no tcp connection")]
struct TcpFailure(#[source] BoxError);
