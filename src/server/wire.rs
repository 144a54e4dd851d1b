//! Stands between the HTTP library and the socket: one voice, and one clock, for what never reaches a stage.
//!
//! The library answers a head that it cannot parse by itself, with a bare status and no body. Here such an answer is replaced
//! by a problem document, and a head that does not arrive in time is answered with one. What the library would take and RFC
//! 9112 forbids (`framing`) is cut off before the library has all of it: a head gets an end that it refuses, in the turn of the
//! request and behind every earlier answer, and a body ends with an error.
//!
//! **Shape** (the bytes that leave): `HTTP/1.1 431 …⏎content-length: 0⏎⏎` -> `HTTP/1.1 431 …⏎content-type:
//! application/problem+json⏎x-request-id: …⏎⏎{…}`.
//!
//! **Invariants**
//! - Only the library's own answer is replaced: 400, 414 or 431, no body, no `x-request-id`, and the last thing that it
//!   writes. Each of ours carries `x-request-id`. In hyper 1.12 (`proto/h1/role.rs`, `on_error`) these three are all there are.
//! - The library flattens what it writes (this is not a vectored writer), so its answer is the end of one write, whole.
//! - After an own answer nothing else is written.
//! - No byte behind a fault of the framing reaches the library.
//! - A connection is closed only after the caller has had time to read the answer: closing with unread bytes would reset it.

use std::future::Future as _;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::brake::{Brake, Rest};
use super::desk::Desk;
use super::framing::{Fault, Framing};
use super::refusal;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// How long what may take.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) linger: Duration,
    pub(super) write: Duration,
}

/// One connection.
pub(super) struct Wire<I> {
    socket: I,
    pace: Arc<Pace>,
    /// Where the requests of the connection are taken over.
    desk: Arc<Desk>,
    /// A request has begun that no answer was given to.
    head_began: bool,
    protocol: Protocol,
    /// Reads along with HTTP/1.1.
    framing: Framing,
    /// What came before the library was there.
    early: Bytes,
    /// What is wrong with what was read, once something is.
    fault: Option<Fault>,
    /// What the library still has to read instead of what is wrong.
    poison: &'static [u8],
    /// When the head, or the next request, has to be there.
    read_by: Alarm,
    /// When the caller has to take more of the answer.
    write_by: Alarm,
    /// The library has written something and not heard that it has left.
    unflushed: bool,
    /// What is left of an own answer.
    own: Bytes,
    /// An own answer was given: reads end, and what the library still writes is dropped.
    refused: bool,
    /// The caller waits, or has ended: nothing unread can be on its way.
    quiet: bool,
    /// Our side has been shut; what still arrives is dropped until this is over.
    linger_until: Option<Alarm>,
    /// Before the next request is read.
    rest: Rest,
}

impl<I> Wire<I> {
    pub(super) fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    pub(super) fn new(socket: I, desk: Arc<Desk>, pace: Arc<Pace>, brake: Brake) -> Self {
        Self {
            socket,
            pace,
            desk,
            head_began: false,
            protocol: Protocol::default(),
            framing: Framing::default(),
            early: Bytes::new(),
            fault: None,
            poison: b"",
            read_by: Alarm::default(),
            write_by: Alarm::default(),
            unflushed: false,
            own: Bytes::new(),
            refused: false,
            quiet: false,
            linger_until: None,
            rest: Rest::new(brake),
        }
    }

    /// Takes note of what was read; so much of it may be used.
    fn arrived(&mut self, bytes: &[u8]) -> usize {
        self.quiet = bytes.is_empty();
        if bytes.is_empty() {
            return 0;
        }
        let read = self.protocol.read(bytes, &mut self.framing);
        let is_http1 = self.protocol == Protocol::Http1;
        if is_http1 {
            self.desk.arrived(self.framing.whole_messages());
        }
        // Empty lines begin nothing.
        if !self.head_began && (self.framing.is_in_head() || !is_http1) {
            self.head_began = true;
            // From the first byte on, and not anew with each: one byte a second is no progress.
            self.read_by.set(self.pace.head);
        }
        let Err(fault) = read else { return bytes.len() };
        tracing::debug!(detail = fault.detail(), "the framing is not valid");
        self.fault = Some(fault);
        if !fault.in_body {
            self.poison = POISON;
        }
        fault.at
    }

    fn answered(&mut self) {
        if self.desk.answered() {
            self.rest.begin();
        }
        self.quiet = false;
        // The next request may have begun with the same read.
        self.head_began = self.framing.is_in_head();
        if self.head_began {
            self.read_by.set(self.pace.head);
        } else {
            self.read_by.clear();
        }
    }

    fn refuse(&mut self, reason: Reason) {
        let error = match reason {
            Reason::RequestTimeout => {
                let ms = u64::try_from(self.pace.head.as_millis()).unwrap_or(u64::MAX);
                GatewayError::new(reason, format!("the head of the request did not arrive within {ms} ms")).with_metadata("timeout_ms", ms)
            }
            Reason::TargetTooLong => GatewayError::new(reason, "the request line is longer than what is read of it"),
            Reason::MethodNotImplemented => GatewayError::new(reason, "no method is that long"),
            Reason::HeadersTooLarge => GatewayError::new(
                reason,
                format!(
                    "the head of the request is larger than {} bytes or has more than {} fields",
                    super::MAX_HEAD_BYTES,
                    super::MAX_HEADERS
                ),
            )
            .with_metadata("max_head_bytes", super::MAX_HEAD_BYTES)
            .with_metadata("max_header_fields", super::MAX_HEADERS),
            _ => match self.fault {
                Some(fault) => fault.to_error(),
                None => GatewayError::new(reason, "the head of the request is not valid HTTP/1.1"),
            },
        };
        self.own = refusal::refuse(&error);
        self.refused = true;
    }
}

impl<I> Wire<I> {
    /// What the library reads where something is wrong.
    fn read_behind(&mut self, fault: Fault, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        if fault.in_body {
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault.detail()));
        }
        let (now, later) = self.poison.split_at(self.poison.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.poison = later;
        Ok(())
    }
}

impl<I: AsyncWrite + Unpin> Wire<I> {
    /// Writes what is left of an own answer.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.own.is_empty() {
            let written = ready!(self.poll_socket_write(cx, None))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.own.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes `bytes`, or the own answer, within the caller's time to take it.
    fn poll_socket_write(&mut self, cx: &mut Context<'_>, bytes: Option<&[u8]>) -> Poll<io::Result<usize>> {
        let bytes = bytes.unwrap_or(&self.own);
        match Pin::new(&mut self.socket).poll_write(cx, bytes) {
            Poll::Ready(written) => {
                self.write_by.clear();
                Poll::Ready(written)
            }
            Poll::Pending => {
                ready!(self.write_by.poll(cx, self.pace.write));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Wire<I> {
    /// Waits for the first bytes of a request, which the library reads later, and says what is spoken.
    pub(super) fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Begun> {
        let mut space = [const { MaybeUninit::uninit() }; FIRST_BYTES];
        loop {
            let mut buffer = ReadBuf::uninit(&mut space);
            // What is broken is at its end.
            let _ = ready!(self.poll_socket_read(cx, &mut buffer));
            let bytes = buffer.filled();
            self.early = match self.early.is_empty() {
                true => Bytes::copy_from_slice(bytes),
                false => [&self.early, bytes].concat().into(),
            };
            if self.early.is_empty() {
                return Poll::Ready(Begun::Nothing);
            }
            match self.protocol {
                Protocol::Undecided(_) if !bytes.is_empty() => {}
                Protocol::Undecided(_) | Protocol::Http1 => return Poll::Ready(Begun::Http1),
                Protocol::Http2 => return Poll::Ready(Begun::Http2),
            }
        }
    }

    fn poll_socket_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self;
        if this.refused {
            return Poll::Ready(Ok(()));
        }
        if let Some(fault) = this.fault {
            return Poll::Ready(this.read_behind(fault, buffer));
        }
        ready!(this.rest.poll(cx));
        let before = buffer.filled().len();
        if Pin::new(&mut this.socket).poll_read(cx, buffer)?.is_ready() {
            let usable = this.arrived(buffer.filled().get(before..).unwrap_or_default());
            buffer.set_filled(before + usable);
            return Poll::Ready(match this.fault {
                // Nothing at all would be the end of the connection.
                Some(fault) if usable == 0 => this.read_behind(fault, buffer),
                _ => Ok(()),
            });
        }
        if this.desk.is_busy() || this.protocol == Protocol::Http2 {
            return Poll::Pending;
        }
        this.quiet = !this.head_began;
        this.desk.set_between(this.framing.is_between() && !this.unflushed);
        ready!(this.read_by.poll(cx, this.pace.idle));
        if this.head_began && !this.protocol.may_be_http2() {
            this.refuse(Reason::RequestTimeout);
            // Now or never: the library does not write to a connection that ended in the middle of a head.
            let _ = this.poll_own(cx)?;
        }
        // To the library this is the end of the connection.
        this.refused = true;
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.desk.set_between(false);
        if this.early.is_empty() || this.refused {
            return this.poll_socket_read(cx, buffer);
        }
        let now = this.early.split_to(this.early.len().min(buffer.remaining()));
        buffer.put_slice(&now);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.refused {
            return Poll::Ready(Ok(bytes.len()));
        }
        this.unflushed = true;
        let mut bytes = bytes;
        if !this.protocol.may_be_http2()
            && let Some((start, reason)) = find_library_answer(bytes, this.framing.request_line())
        {
            if start == 0 {
                this.refuse(reason);
                // What does not go out now does so in the flush that follows every write.
                let _ = this.poll_own(cx)?;
                return Poll::Ready(Ok(bytes.len()));
            }
            // An earlier answer goes first, unchanged.
            bytes = bytes.get(..start).unwrap_or_default();
        }
        let written = ready!(this.poll_socket_write(cx, Some(bytes)))?;
        if !bytes.starts_with(b"HTTP/1.1 1") {
            this.answered();
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_own(cx))?;
        ready!(Pin::new(&mut this.socket).poll_flush(cx))?;
        this.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger_until.is_none() {
            ready!(this.poll_own(cx))?;
            ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
            if this.quiet {
                return Poll::Ready(Ok(()));
            }
        }
        let alarm = this.linger_until.get_or_insert_default();
        let mut scratch = [0; 4096];
        for _ in 0..LINGER_READS {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.socket).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                // The caller has ended, in whatever way.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    ready!(alarm.poll(cx, this.pace.linger));
                    return Poll::Ready(Ok(()));
                }
            }
        }
        // The caller sends faster than this reads: others first, and the time runs.
        if alarm.poll(cx, this.pace.linger).is_pending() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

/// Where in `bytes` the library's own answer starts, and what it means; `None` for everything that a stage wrote.
///
/// `request_line`: the request line has not ended, and whether it is beyond its method.
fn find_library_answer(bytes: &[u8], request_line: Option<bool>) -> Option<(usize, Reason)> {
    // Answers of stages end with a JSON document or another text, so this is all that most writes pay.
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let start = bytes.windows(VERSION.len()).rposition(|window| window == VERSION)?;
    let head = std::str::from_utf8(bytes.get(start..)?).ok()?;
    let (status, fields) = head.get(VERSION.len()..)?.split_once("\r\n")?;
    let reason = match status.get(..4)? {
        "400 " => Reason::MalformedHttp,
        "414 " => Reason::TargetTooLong,
        // The library says this of every head that does not fit its buffer, whatever fills it.
        "431 " => match request_line {
            None => Reason::HeadersTooLarge,
            Some(true) => Reason::TargetTooLong,
            Some(false) => Reason::MethodNotImplemented,
        },
        _ => return None,
    };
    let has = |name: &str| {
        fields
            .split("\r\n")
            .any(|field| field.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name)))
    };
    let is_bare = fields.split("\r\n").any(|field| field.eq_ignore_ascii_case("content-length: 0"));
    (is_bare && !has("x-request-id")).then_some((start, reason))
}

/// What the first bytes are the beginning of.
pub(super) enum Begun {
    /// Of nothing: the caller has left, or may not ask any more.
    Nothing,
    Http1,
    Http2,
}

/// What is spoken, as far as the first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
    /// So many bytes of the preface of HTTP/2 have come, and nothing else.
    Undecided(usize),
}

impl Default for Protocol {
    fn default() -> Self {
        Self::Undecided(0)
    }
}

impl Protocol {
    /// Takes the next bytes; those of HTTP/1.1 go through the framing.
    fn read(&mut self, bytes: &[u8], framing: &mut Framing) -> Result<(), Fault> {
        if let Self::Undecided(seen) = *self {
            let (begun, expected) = HTTP2_PREFACE.split_at(seen.min(HTTP2_PREFACE.len()));
            let same = bytes.iter().zip(expected).take_while(|(byte, expected)| byte == expected).count();
            *self = match same {
                _ if same == expected.len() => Self::Http2,
                _ if same == bytes.len() => Self::Undecided(seen + same),
                _ => {
                    // What is wrong with bytes that the library has already, it finds by itself.
                    framing.feed(begun).map_err(Fault::at_start)?;
                    Self::Http1
                }
            };
        }
        match self {
            Self::Http1 => framing.feed(bytes),
            Self::Http2 | Self::Undecided(_) => Ok(()),
        }
    }

    /// It starts like HTTP/2 (RFC 9113 section 3.4); no method of HTTP/1.1 does.
    fn may_be_http2(self) -> bool {
        match self {
            Self::Http1 => false,
            Self::Http2 => true,
            Self::Undecided(seen) => seen >= b"PRI ".len(),
        }
    }
}

/// A timer that is made once per connection and moved after that.
#[derive(Debug, Default)]
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

impl Alarm {
    fn set(&mut self, after: Duration) {
        let at = Instant::now() + after;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(sleep_until(at))),
        }
        self.is_set = true;
    }

    fn clear(&mut self) {
        self.is_set = false;
    }

    /// Ready when the time is over; runs from the first poll unless it was set before.
    fn poll(&mut self, cx: &mut Context<'_>, after: Duration) -> Poll<()> {
        if !self.is_set {
            self.set(after);
        }
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// How an answer of HTTP/1.1 starts.
const VERSION: &[u8] = b"HTTP/1.1 ";

/// How a connection of HTTP/2 starts.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// No line may hold a NUL, and none may follow a CR, so the library refuses any head that goes on like this; it looks at a head
/// again when it ends.
const POISON: &[u8] = b"\0\r\n\r\n";

/// Most requests are shorter; of a longer one the library reads the rest. It takes that in two reads, so that a body that was answered before
/// it was asked for is still passed over and the connection lives on.
const FIRST_BYTES: usize = 16 * 1024;

/// Reads in a row before others get their turn.
const LINGER_READS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, request_line: Option<bool>, expected: Option<(usize, Reason)>) {
        assert_eq!(find_library_answer(written.as_bytes(), request_line), expected, "{written}");
    }

    #[test]
    fn only_the_librarys_own_answer_is_found() {
        let bare = |status: &str| format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n");
        check(&bare("400 Bad Request"), None, Some((0, Reason::MalformedHttp)));
        check(&bare("414 URI Too Long"), None, Some((0, Reason::TargetTooLong)));
        check(
            &bare("431 Request Header Fields Too Large"),
            None,
            Some((0, Reason::HeadersTooLarge)),
        );
        for (beyond_method, reason) in [(true, Reason::TargetTooLong), (false, Reason::MethodNotImplemented)] {
            let answer = bare("431 Request Header Fields Too Large");
            check(&answer, Some(beyond_method), Some((0, reason)));
        }
        check(&bare("200 OK"), None, None);
        check(&bare("404 Not Found"), None, None);
        check(&bare("400 Bad Request").replace("date: x", "X-Request-Id: 1"), None, None);
        check("HTTP/1.1 400 Bad Request\r\ncontent-length: 4\r\n\r\n\r\n\r\n", None, None);
        check("HTTP/1.1 100 Continue\r\n\r\n", None, None);
        check("", None, None);
        check("\r\n\r\n", None, None);
        let first = "HTTP/1.1 200 OK\r\nx-request-id: 1\r\ncontent-length: 2\r\n\r\n{}";
        check(first, None, None);
        check(
            &format!("{first}{}", bare("400 Bad Request")),
            None,
            Some((first.len(), Reason::MalformedHttp)),
        );
    }
}
