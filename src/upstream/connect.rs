//! Opens connections to a vendor: name, TCP and, for `https`, TLS, all within one limit.
//!
//! **Errors**: [`ConnectFailure`] says which step failed. Nothing of a request has been written at any of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream, ResolveServerName};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tower::Service;

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
    pub(super) fn new(mut tls: rustls::ClientConfig, name: Option<ServerName<'static>>, limit: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // Requests are one small write; Nagle's algorithm would only hold their tail back.
        tcp.set_nodelay(true);
        // With several addresses the limit is shared among them, so that a dead first one leaves time for the second.
        tcp.set_connect_timeout(Some(limit));
        // HTTP/1.1 only, and said so: on a connection of its own a request either went out or did not, and no vendor needs HTTP/2.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let names: Arc<dyn ResolveServerName + Send + Sync> = match name {
            Some(name) => Arc::new(FixedServerNameResolver::new(name)),
            None => Arc::new(DefaultServerNameResolver::default()),
        };
        let https = HttpsConnector::new(TcpConnector(tcp), tls, false, names);
        Self { https, limit }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
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
struct TcpConnector(HttpConnector);

impl Service<Uri> for TcpConnector {
    type Response = TokioIo<TcpStream>;
    type Error = TcpFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx).map_err(|error| TcpFailure(error.into()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move { connecting.await.map_err(|error| TcpFailure(error.into())) })
    }
}

/// The mark.
#[derive(Debug, thiserror::Error)]
#[error("no tcp connection")]
struct TcpFailure(#[source] BoxError);
