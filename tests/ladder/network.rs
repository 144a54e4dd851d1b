//! A network in memory whose vendors follow scripts to the byte, and that counts what they saw. No tasks, no sockets, no clock but
//! tokio's.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use taskgate::upstream::network::{Network, NetworkFuture, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// What becomes of a look-up. The last one serves all that follow.
#[derive(Clone, Debug)]
pub(crate) enum Lookup {
    Fails,
    Finds(&'static [&'static str]),
    Never,
    Takes(Duration, &'static [&'static str]),
}

/// What becomes of a connection. The last one of an address serves all that follow.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    /// No answer to the attempt: a black hole.
    Hole,
    /// The error of the system with this number.
    Errno(i32),
    Refused,
    Up(Script),
}

/// What the vendor does on a connection.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Bytes that are there before anybody asked.
    pub(crate) greeting: String,
    /// The answer to each request; nothing more after the last.
    pub(crate) says: Vec<String>,
    /// What comes behind the last answer.
    pub(crate) end: End,
    /// The connection breaks with the byte after so many that were written to it.
    pub(crate) takes: usize,
    /// It breaks with the byte after so many that were read from it.
    pub(crate) gives: usize,
    /// So long between two bytes that are read.
    pub(crate) drips: Option<Duration>,
}

/// What comes when all has been said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The end of the stream, as soon as somebody reads after so many readings that found nothing.
    ClosedAfter(usize),
    /// Nothing.
    Silence,
}

impl Script {
    pub(crate) fn says<S: Into<String>>(says: impl IntoIterator<Item = S>) -> Self {
        Self {
            greeting: String::new(),
            says: says.into_iter().map(Into::into).collect(),
            end: End::Silence,
            takes: usize::MAX,
            gives: usize::MAX,
            drips: None,
        }
    }

    /// A vendor that takes everything and never says anything.
    pub(crate) fn silent() -> Self {
        Self::says::<String>([])
    }

    /// A vendor that answers a hundred requests with 200.
    pub(crate) fn fine() -> Self {
        Self::says(std::iter::repeat_n(answer("200 OK", "", "{}"), 100))
    }
}

/// An answer with a length.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// What the vendors saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Names that were looked up.
    pub(crate) lookups: Vec<String>,
    /// Addresses that a connection was attempted to.
    pub(crate) attempts: Vec<SocketAddr>,
    /// Requests that arrived in full, with the number of their connection, counted from 0.
    pub(crate) requests: Vec<(usize, String)>,
    /// Bytes that arrived, by connection.
    pub(crate) bytes: Vec<usize>,
    /// Connections that are open.
    pub(crate) open: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Scripted {
    lookups: Mutex<VecDeque<Lookup>>,
    lines: Mutex<HashMap<SocketAddr, VecDeque<Line>>>,
    seen: Arc<Mutex<Seen>>,
}

pub(crate) const VENDOR: &str = "192.0.2.1:80";

impl Scripted {
    /// One address behind the name, with these connections.
    pub(crate) fn new(lines: impl IntoIterator<Item = Line>) -> Arc<Self> {
        let network = Self::default();
        network.looks_up([Lookup::Finds(&[VENDOR])]);
        network.at(VENDOR, lines);
        Arc::new(network)
    }

    pub(crate) fn looks_up(&self, lookups: impl IntoIterator<Item = Lookup>) {
        *self.lookups.lock().unwrap() = lookups.into_iter().collect();
    }

    pub(crate) fn at(&self, address: &str, lines: impl IntoIterator<Item = Line>) {
        let lines = lines.into_iter().collect();
        self.lines.lock().unwrap().insert(address.parse().unwrap(), lines);
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests arrived in full.
    pub(crate) fn requests(&self) -> usize {
        self.seen.lock().unwrap().requests.len()
    }
}

fn next<T: Clone>(queue: &mut VecDeque<T>) -> Option<T> {
    if queue.len() > 1 {
        queue.pop_front()
    } else {
        queue.front().cloned()
    }
}

impl Network for Scripted {
    fn lookup<'a>(&'a self, host: &'a str, _port: u16) -> NetworkFuture<'a, Vec<SocketAddr>> {
        self.seen.lock().unwrap().lookups.push(host.to_owned());
        let lookup = next(&mut self.lookups.lock().unwrap());
        let found = |texts: &[&str]| Ok(texts.iter().map(|text| text.parse().unwrap()).collect());
        Box::pin(async move {
            match lookup.unwrap() {
                Lookup::Fails => Err(io::Error::other("Name or service not known")),
                Lookup::Finds(texts) => found(texts),
                Lookup::Never => std::future::pending().await,
                Lookup::Takes(time, texts) => {
                    sleep(time).await;
                    found(texts)
                }
            }
        })
    }

    fn connect(&self, address: SocketAddr) -> NetworkFuture<'_, Box<dyn Transport>> {
        self.seen.lock().unwrap().attempts.push(address);
        let line = self.lines.lock().unwrap().get_mut(&address).and_then(next);
        let seen = Arc::clone(&self.seen);
        Box::pin(async move {
            match line {
                None | Some(Line::Hole) => std::future::pending().await,
                Some(Line::Errno(number)) => Err(io::Error::from_raw_os_error(number)),
                Some(Line::Refused) => Err(io::ErrorKind::ConnectionRefused.into()),
                Some(Line::Up(script)) => Ok(Box::new(Wire::new(script, seen)) as Box<dyn Transport>),
            }
        })
    }

    fn seed(&self) -> u64 {
        4711
    }
}

/// One connection.
struct Wire {
    number: usize,
    says: VecDeque<String>,
    script: Script,
    seen: Arc<Mutex<Seen>>,
    taken: usize,
    given: usize,
    /// What arrived and is no request yet.
    inbox: Vec<u8>,
    outbox: VecDeque<u8>,
    empty_readings: usize,
    /// It refused to take something.
    broken: bool,
    pause: Option<Pin<Box<Sleep>>>,
    reader: Option<Waker>,
}

impl Wire {
    fn new(script: Script, seen: Arc<Mutex<Seen>>) -> Self {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.open += 1;
            seen.bytes.push(0);
            seen.bytes.len() - 1
        };
        Self {
            number,
            says: script.says.clone().into(),
            outbox: script.greeting.bytes().collect(),
            script,
            seen,
            taken: 0,
            given: 0,
            inbox: Vec::new(),
            empty_readings: 0,
            broken: false,
            pause: None,
            reader: None,
        }
    }

    /// Takes what is a whole request out of the inbox, and answers it.
    fn serve(&mut self) {
        while let Some(length) = whole_request(&self.inbox) {
            let rest = self.inbox.split_off(length);
            let request = String::from_utf8(std::mem::replace(&mut self.inbox, rest)).unwrap();
            self.seen.lock().unwrap().requests.push((self.number, request));
            if let Some(answer) = self.says.pop_front() {
                self.outbox.extend(answer.bytes());
                self.empty_readings = 0;
            }
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.seen.lock().unwrap().open -= 1;
    }
}

fn whole_request(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    let end = text.find("\r\n\r\n")? + 4;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let total = end + length.map_or(0, |length| length.parse().unwrap());
    (bytes.len() >= total).then_some(total)
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.given >= this.script.gives {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if let Some(time) = this.script.drips
            && !this.outbox.is_empty()
        {
            let pause = this.pause.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + time)));
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let most = if this.script.drips.is_some() { 1 } else { buffer.remaining() };
        let count = most.min(this.outbox.len()).min(this.script.gives - this.given);
        if count > 0 {
            let bytes: Vec<u8> = this.outbox.drain(..count).collect();
            buffer.put_slice(&bytes);
            this.given += count;
            return Poll::Ready(Ok(()));
        }
        match this.script.end {
            _ if this.broken => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            End::ClosedAfter(readings) if this.says.is_empty() && this.empty_readings >= readings => Poll::Ready(Ok(())),
            End::ClosedAfter(_) | End::Silence => {
                // Before the first request nobody has said anything that could have ended.
                this.empty_readings += usize::from(this.taken > 0);
                this.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let room = this.script.takes.saturating_sub(this.taken);
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        if taken.is_empty() {
            this.broken = true;
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        this.inbox.extend_from_slice(taken);
        this.taken += taken.len();
        this.seen.lock().unwrap().bytes[this.number] += taken.len();
        this.serve();
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
