//! Connections on one epoll, without a runtime: a buffer, one read per event, whole messages.
//!
//! **Shape**: `Poller::wait` -> tokens; `Connection::fill` -> bytes; [`message`] -> where the first whole message ends.
//!
//! **Invariants**: edge-triggered. One read per event is enough because a read that does not fill its buffer has emptied the
//! socket, and one that fills it is refused as too large.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Who became ready.
pub struct Poller {
    epoll: OwnedFd,
    ready: Vec<epoll::Event>,
}

impl Poller {
    /// An empty one.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            ready: Vec::with_capacity(READY_AT_ONCE),
        })
    }

    /// Watches a socket for what can be read.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn watch(&self, socket: impl AsFd, token: usize) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token as u64);
        Ok(epoll::add(
            &self.epoll,
            socket,
            data,
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?)
    }

    /// Waits, for so long at most, and puts the tokens of those that are ready into `tokens`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn wait(&mut self, timeout: Option<Duration>, tokens: &mut Vec<usize>) -> io::Result<()> {
        let timeout = timeout.map(|time| Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        self.ready.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        tokens.clear();
        tokens.extend(self.ready.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}

/// A connection and what was read from it.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    filled: usize,
}

impl Connection {
    /// Takes a connected stream over.
    ///
    /// # Errors
    /// When the system refuses its options.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; MAX_MESSAGE].into_boxed_slice(),
            filled: 0,
        })
    }

    /// Its socket.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads once; `false` when the other side has ended.
    ///
    /// # Errors
    /// When the connection breaks, or the message is too large.
    pub fn fill(&mut self) -> io::Result<bool> {
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => Ok(false),
            Ok(read) => {
                self.filled += read;
                if self.filled == self.buffer.len() {
                    return Err(io::Error::other("a message is larger than 4 KiB"));
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// What was read and not consumed.
    #[must_use]
    pub fn read(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// Forgets the first bytes.
    pub fn consume(&mut self, length: usize) {
        self.buffer.copy_within(length..self.filled, 0);
        self.filled -= length;
    }

    /// Writes all of it; messages are so small that the socket always has room.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.stream.write(bytes)? {
            written if written == bytes.len() => Ok(()),
            _ => Err(io::Error::other("the socket takes less than a message")),
        }
    }
}

/// Where the head of the first message ends, and where its body; nothing while it is not whole. Bodies have a length.
///
/// # Errors
/// When it has no length that can be read although it must have one.
pub fn message(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = &bytes[..end];
    let length = match memchr::memmem::find(head, b"ontent-").and_then(|_| length_in(head)) {
        Some(length) => length.ok_or_else(|| io::Error::other("a Content-Length that is no number"))?,
        None if memchr::memmem::find(head, b"chunked").is_some() => return Err(io::Error::other("a chunked message")),
        None => 0,
    };
    let whole = end + 4 + length;
    Ok((bytes.len() >= whole).then_some((end + 4, whole)))
}

fn length_in(head: &[u8]) -> Option<Option<usize>> {
    let at = memchr::memmem::find(head, b"ontent-Length: ").or_else(|| memchr::memmem::find(head, b"ontent-length: "))?;
    let digits = head[at + 15..].split(|byte| *byte == b'\r').next()?;
    Some(std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()))
}

/// More than any message of the race.
const MAX_MESSAGE: usize = 4096;
/// More than the connections that a round has.
const READY_AT_ONCE: usize = 256;
