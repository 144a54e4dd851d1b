//! The callers: each asks again as soon as it was answered (closed loop), or at fixed times whatever the answers do (open loop). Every
//! answer is checked: the first on a connection as a document, the others byte by byte against it.
//!
//! **Shape**: `Load { connections: 64, requests: 100_000, rate: None, .. }` -> one line of JSON with rate and latencies.
//!
//! **Invariants**: in the open loop a call counts from when it was due, not from when a connection was free for it: a gateway
//! that stalls pays for every caller that it kept waiting (coordinated omission). Connections take turns, so that each of them is used.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::sockets::{Connection, Poller, message};
use crate::work::Work;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Load {
    /// The gateway.
    pub target: SocketAddr,
    /// Which call.
    pub work: Work,
    /// The provider in the path; nothing where a plain proxy is asked in the vendor's words.
    pub provider: Option<String>,
    /// Connections, kept alive.
    pub connections: usize,
    /// Calls at once.
    pub at_once: usize,
    /// Calls in all.
    pub requests: usize,
    /// Calls per second; closed loop without it.
    pub rate: Option<f64>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// From the first call to the last answer.
    pub elapsed: Duration,
    /// Of each call, sorted.
    pub latencies: Vec<Duration>,
}

impl Outcome {
    /// The latency that this share of the calls does not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.latencies.len() - 1;
        self.latencies[(share * last as f64).round() as usize]
    }
}

/// As one line of JSON.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (answers, seconds) = (self.latencies.len(), self.elapsed.as_secs_f64());
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| self.quantile(share).as_secs_f64() * 1e6);
        let rate = answers as f64 / seconds;
        write!(
            f,
            "{{\"answers\":{answers},\"seconds\":{seconds:.6},\"rate\":{rate:.1},\"p50_us\":{p50:.1},\"p99_us\":{p99:.1},\"max_us\":{most:.1}}}"
        )
    }
}

/// One caller.
struct Caller {
    connection: Connection,
    request: Vec<u8>,
    /// Its first answer, and where the id of the exchange stands in it, which is the gateway's own and new each time.
    first: Option<(Vec<u8>, Range<usize>)>,
    begun: Option<Instant>,
}

/// Connections that are open.
pub struct Callers {
    load: Load,
    poller: Poller,
    callers: Vec<Caller>,
}

impl Callers {
    /// Connects all of them.
    ///
    /// # Errors
    /// When one is refused.
    pub fn connect(load: Load) -> io::Result<Self> {
        let poller = Poller::new()?;
        let mut callers = Vec::with_capacity(load.connections);
        for n in 0..load.connections {
            let connection = Connection::new(TcpStream::connect(load.target)?)?;
            poller.watch(connection.stream(), n)?;
            let request = match &load.provider {
                Some(provider) => load.work.call(provider, n),
                None => load.work.vendor_call(n),
            };
            callers.push(Caller {
                connection,
                request,
                first: None,
                begun: None,
            });
        }
        Ok(Self { load, poller, callers })
    }

    /// Asks on every connection once, a few at a time.
    ///
    /// # Errors
    /// As [`Callers::run`].
    pub fn once(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        for first in (0..self.callers.len()).step_by(FEW) {
            let some = first..self.callers.len().min(first + FEW);
            for n in some.clone() {
                self.ask(n, Instant::now())?;
            }
            let mut open = some.len();
            while open > 0 {
                self.poller.wait(Some(PATIENCE), &mut ready)?;
                if ready.is_empty() {
                    return Err(io::Error::other("no answer for two minutes"));
                }
                for &n in &ready {
                    open -= usize::from(self.answered(n)?.is_some());
                }
            }
        }
        Ok(())
    }

    /// Asks until all calls are answered.
    ///
    /// # Errors
    /// When an answer is wrong or missing, or a connection breaks.
    pub fn run(&mut self) -> io::Result<Outcome> {
        let requests = self.load.requests;
        let mut latencies = Vec::with_capacity(requests);
        let (mut ready, mut asked) = (Vec::new(), 0);
        let mut idle: VecDeque<usize> = (0..self.callers.len()).collect();
        let start = Instant::now();
        let interval = self.load.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        let due = |n: usize| interval.map_or(start, |interval| start + interval * u32::try_from(n).unwrap_or(u32::MAX));
        while latencies.len() < requests {
            let now = Instant::now();
            while asked < requests && due(asked) <= now {
                if self.callers.len() - idle.len() >= self.load.at_once {
                    break;
                }
                let Some(n) = idle.pop_front() else { break };
                let begun = if interval.is_some() { due(asked) } else { now };
                self.ask(n, begun)?;
                asked += 1;
            }
            // Until the next call is due; where none is, or none can be made, an answer has to come.
            let room = self.callers.len() - idle.len() < self.load.at_once;
            let patience = if asked < requests && !idle.is_empty() && room {
                due(asked).saturating_duration_since(Instant::now())
            } else {
                PATIENCE
            };
            self.poller.wait(Some(patience), &mut ready)?;
            if ready.is_empty() && patience == PATIENCE {
                return Err(io::Error::other("no answer for two minutes"));
            }
            for &n in &ready {
                let Some(begun) = self.answered(n)? else { continue };
                latencies.push(begun.elapsed());
                idle.push_back(n);
                if interval.is_none()
                    && asked < requests
                    && let Some(n) = idle.pop_front()
                {
                    self.ask(n, Instant::now())?;
                    asked += 1;
                }
            }
        }
        let elapsed = start.elapsed();
        latencies.sort_unstable();
        Ok(Outcome { elapsed, latencies })
    }

    fn ask(&mut self, n: usize, begun: Instant) -> io::Result<()> {
        let caller = &mut self.callers[n];
        caller.begun = Some(begun);
        caller.connection.write(&caller.request)
    }

    /// When the call began whose answer is whole now.
    fn answered(&mut self, n: usize) -> io::Result<Option<Instant>> {
        let caller = &mut self.callers[n];
        if !caller.connection.fill()? {
            return Err(io::Error::other("the gateway closed a connection"));
        }
        let Some((head, whole)) = message(caller.connection.read())? else {
            return Ok(None);
        };
        let (front, body) = caller.connection.read()[..whole].split_at(head);
        let right = match (&self.load.provider, &caller.first) {
            (None, _) => self.load.work.is_vendor_reply(n, front, body),
            (Some(_), _) if !front.starts_with(b"HTTP/1.1 202 ") => false,
            (Some(_), Some((first, own))) => {
                body.len() == first.len() && body[..own.start] == first[..own.start] && body[own.end..] == first[own.end..]
            }
            (Some(provider), None) => match self.load.work.told(provider, n, body) {
                Some(own) => {
                    caller.first = Some((body.to_vec(), own));
                    true
                }
                None => false,
            },
        };
        if !right || caller.connection.read().len() > whole {
            let text = String::from_utf8_lossy(caller.connection.read());
            return Err(io::Error::other(format!("a wrong answer to call {n}:\n{text}")));
        }
        caller.connection.consume(whole);
        Ok(caller.begun.take())
    }
}

/// A gateway that says nothing for so long has failed, also one that runs under callgrind on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Calls at once where only connections are to be opened.
const FEW: usize = 64;
