//! What the way to a vendor needs of a network: names become addresses, addresses become connections.
//!
//! **Shape**: `lookup("vendor.example", 443)` -> addresses; `connect(address)` -> a [`Transport`].
//!
//! **Invariants**: nothing is cached, ordered, repeated or given up here; that is decided above, so that every network is treated
//! alike. Who drops a future stops waiting for it. [`System`] is the only place that opens a socket to a vendor.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// What a network promises.
pub type NetworkFuture<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// A connection, whatever carries it.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// What the upstream needs of a network; [`System`] is the real one, a simulation brings its own.
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// All addresses of a host, of both families, in the order in which the resolver prefers them. `host` is a name or an address
    /// without brackets.
    ///
    /// # Errors
    /// Those of the resolver. No address at all may be an error or an empty answer.
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> NetworkFuture<'a, Vec<SocketAddr>>;

    /// A connection to this address. What is written to it is not held back.
    ///
    /// # Errors
    /// Refused, no route, and what else keeps a connection from being made. How long it may take is the caller's to say.
    fn connect(&self, address: SocketAddr) -> NetworkFuture<'_, Box<dyn Transport>>;

    /// Where the chance in back-offs begins, for each provider anew. A simulation that wants to repeat itself says it.
    fn seed(&self) -> u64 {
        uuid::Uuid::new_v4().as_u64_pair().0
    }
}

/// The operating system's network.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Network for System {
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> NetworkFuture<'a, Vec<SocketAddr>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }

    fn connect(&self, address: SocketAddr) -> NetworkFuture<'_, Box<dyn Transport>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            // Requests are one small write; Nagle's algorithm would only hold their tail back.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}
