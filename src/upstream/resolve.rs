//! The addresses of a vendor's host: asked for once at a time, kept for a little while, and kept for longer where asking fails.
//!
//! **Shape**: [`Resolver::addresses`] -> `[192.0.2.1:443, [2001:db8::1]:443, …]`, the families interleaved.
//!
//! **Invariants**
//! - At most one look-up of a host is under way, however many wait for it and however often they give up: a resolver of the
//!   operating system takes a thread until it ends. One that does not end in [`LOOKUP_LIMIT`] is given up.
//! - A look-up belongs to nobody: who gives up waiting does not end it. It ends with the resolver.
//! - While looking up fails or takes long, the last addresses that were found serve for [`GOOD_FOR`].
//!
//! **Source**: RFC 8305 section 4 (order).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::network::Network;

/// The addresses of one host and port.
#[derive(Debug)]
pub(super) struct Resolver {
    network: Arc<dyn Network>,
    host: Arc<str>,
    port: u16,
    /// The host is an address itself.
    literal: Option<SocketAddr>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    found: Option<Found>,
    lookup: Option<watch::Receiver<Option<Outcome>>>,
    /// The look-up under way.
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Found {
    addresses: Vec<SocketAddr>,
    at: Instant,
    /// None of them took a connection since.
    doubtful: bool,
}

/// What came of a look-up. Its error is told to all who wait, so it can be cloned.
type Outcome = Result<Vec<SocketAddr>, (io::ErrorKind, String)>;

impl Resolver {
    pub(super) fn new(network: Arc<dyn Network>, scheme: &Scheme, authority: &Authority) -> Self {
        let host = authority.host();
        // An IPv6 address stands in brackets there.
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = authority.port_u16().unwrap_or(if *scheme == Scheme::HTTPS { 443 } else { 80 });
        Self {
            network,
            host: host.into(),
            port,
            literal: host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port)),
            state: Arc::default(),
        }
    }

    /// All addresses of the host, the families interleaved. Where old ones are known, a look-up is waited for no longer than
    /// `patience`; where none are, as long as it takes.
    ///
    /// # Errors
    /// What the network says, where no address is known. An answer without an address is one.
    pub(super) async fn addresses(&self, patience: Duration) -> io::Result<Vec<SocketAddr>> {
        if let Some(literal) = self.literal {
            return Ok(vec![literal]);
        }
        let (mut lookup, old) = {
            let mut state = self.state();
            let now = Instant::now();
            let old = match &state.found {
                Some(found) if !found.doubtful && now < found.at + FRESH => return Ok(found.addresses.clone()),
                Some(found) if now < found.at + GOOD_FOR => Some(found.addresses.clone()),
                Some(_) | None => None,
            };
            (self.join(&mut state), old)
        };
        let ended = async {
            match lookup.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone().unwrap_or_else(broken),
                Err(_closed) => broken(),
            }
        };
        let outcome = match old {
            Some(old) => match timeout(patience, ended).await {
                Ok(Ok(addresses)) => Ok(addresses),
                Ok(Err(_)) | Err(_) => Ok(old),
            },
            None => ended.await,
        };
        outcome.map_err(|(kind, text)| io::Error::new(kind, text))
    }

    /// None of the addresses took a connection: they are asked for again before they are used again.
    pub(super) fn doubt(&self) {
        if let Some(found) = &mut self.state().found {
            found.doubtful = true;
        }
    }

    /// The look-up under way, or a new one.
    fn join(&self, state: &mut State) -> watch::Receiver<Option<Outcome>> {
        // One whose task broke has no sender any more, and no result.
        if let Some(lookup) = state.lookup.clone().filter(|lookup| lookup.has_changed().is_ok()) {
            return lookup;
        }
        let (told, lookup) = watch::channel(None);
        state.lookup = Some(lookup.clone());
        while state.tasks.try_join_next().is_some() {}
        let (network, host, port) = (Arc::clone(&self.network), Arc::clone(&self.host), self.port);
        // Weak, so that the task does not keep alive what ends it.
        let state_of = Arc::downgrade(&self.state);
        state.tasks.spawn(async move {
            let outcome = look_up(&*network, &host, port).await;
            if let Some(state) = state_of.upgrade() {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                state.lookup = None;
                if let Ok(addresses) = &outcome {
                    state.found = Some(Found {
                        addresses: addresses.clone(),
                        at: Instant::now(),
                        doubtful: false,
                    });
                }
            }
            told.send_replace(Some(outcome));
        });
        lookup
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look_up(network: &dyn Network, host: &str, port: u16) -> Outcome {
    match timeout(LOOKUP_LIMIT, network.lookup(host, port)).await {
        Ok(Ok(addresses)) if addresses.is_empty() => Err((io::ErrorKind::NotFound, "the name has no address".to_owned())),
        Ok(Ok(addresses)) => Ok(interleaved(addresses)),
        Ok(Err(error)) => Err((error.kind(), error.to_string())),
        Err(_elapsed) => Err((io::ErrorKind::TimedOut, "the look-up of the name did not end".to_owned())),
    }
}

/// The families by turns, beginning with that of the first; within a family the order stays.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed: Vec<SocketAddr> = Vec::with_capacity(first.len() + second.len());
    loop {
        let (one, other) = (first.next(), second.next());
        if one.is_none() && other.is_none() {
            return mixed;
        }
        for address in one.into_iter().chain(other) {
            if !mixed.contains(&address) {
                mixed.push(address);
            }
        }
    }
}

/// The task of a look-up ended without a result: a bug of ours, or the end of the runtime.
fn broken() -> Outcome {
    Err((io::ErrorKind::Other, "the look-up of the name broke off".to_owned()))
}

/// Providers that close their connections connect with each call; a look-up for each of them would be as many as there are calls.
const FRESH: Duration = Duration::from_secs(10);
/// Long enough for an outage of a resolver, short enough that an address has hardly been given to somebody else.
const GOOD_FOR: Duration = Duration::from_secs(3600);
/// Resolvers give up after 5 to 30 seconds (`resolv.conf`: 5 s, 2 attempts, up to 3 servers).
const LOOKUP_LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        for (given, expected) in [
            (&["1.1.1.1:1"][..], &["1.1.1.1:1"][..]),
            (
                &["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"],
                &["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"],
            ),
            (
                &["1.1.1.1:1", "1.1.1.2:1", "1.1.1.1:1", "[::1]:1"],
                &["1.1.1.1:1", "[::1]:1", "1.1.1.2:1"],
            ),
            (&[], &[]),
        ] {
            assert_eq!(interleaved(addresses(given)), addresses(expected));
        }
    }
}
