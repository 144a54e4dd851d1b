//! The log: one line per request, on standard error.
//!
//! **Shape**: `RequestRecord { request_id, outcome, .. }` -> `{"timestamp":…,"level":"INFO","message":"request","request_id":…}`.
//!
//! **Invariants**: the message is constant; all the rest are fields, so that no value can pass for another line or field. The
//! record has no place for a body, a header or a secret. Nobody who logs waits for the reader of the log: lines go through a
//! bounded queue to a thread that writes them in their order; what finds no room there, or cannot be written, is counted. That thread
//! writes at once what comes after a quiet moment, and what comes in the moment after that together.
//!
//! The line of a request is no event where it is JSON: `request_line` writes it, and it is let through, queued and lost like any other.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use tracing::{Level, Subscriber, dispatcher};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use super::request_line;
use crate::layer::trace::TraceIds;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("log filter `{filter}` cannot be read")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// The process has a log already.
    #[error("the process has a log already")]
    Installed(#[from] TryInitError),
}

/// The log of this process, until [`Log::finish`].
#[derive(Debug)]
#[must_use = "lines that are under way when the process ends are lost without `finish`"]
pub struct Log {
    /// Dropped first: the writer does not pause any more.
    open: mpsc::Sender<()>,
    writer: WorkerGuard,
}

impl Log {
    /// Writes what has been logged, for a moment at most: who reads the log may be gone.
    pub async fn finish(self) {
        let Self { open, writer } = self;
        drop(open);
        let written = tokio::task::spawn_blocking(move || drop(writer));
        let _ = tokio::time::timeout(FINISH, written).await;
    }
}

/// Writes the log of this process to standard error: `filter` is a level (`info`) or directives (`warn,taskgate=debug`). Panics
/// are logged as well.
///
/// # Errors
///
/// [`LogError`] when the filter cannot be read or the process has a log already.
pub fn install(format: Format, filter: &str) -> Result<Log, LogError> {
    let json = match format {
        Format::Auto => !io::stderr().is_terminal(),
        Format::Json => true,
        Format::Text => false,
    };
    let (open, closed) = mpsc::channel();
    let stderr = Unhurried {
        writer: io::BufWriter::with_capacity(WRITE_BYTES, io::stderr()),
        closed,
    };
    let (queue, writer, lost) = queue(stderr, QUEUED_LINES);
    subscriber(json, io::stderr().is_terminal(), filter, queue)?.try_init()?;
    // The first one stays: there is no second log.
    let _ = LOST.set(lost);
    // The library's own hook writes to standard error and would wait where that is blocked.
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        tracing::error!(at, error = panic.payload_as_str(), "something broke inside taskgate");
    }));
    Ok(Log { open, writer })
}

/// How many lines of the log of this process have been given up.
#[must_use]
pub fn lost_lines() -> u64 {
    LOST.get().map_or(0, Lost::lines)
}

/// What found no room in the queue, and what could not be written.
struct Lost {
    queued: ErrorCounter,
    written: Arc<AtomicU64>,
}

impl Lost {
    fn lines(&self) -> u64 {
        let queued = u64::try_from(self.queued.dropped_lines()).unwrap_or(u64::MAX);
        queued.saturating_add(self.written.load(Ordering::Relaxed))
    }
}

/// A queue in front of a writer that may be slow, stuck or broken.
fn queue<W: io::Write + Send + 'static>(writer: W, lines: usize) -> (NonBlocking, WorkerGuard, Lost) {
    let written = Arc::new(AtomicU64::new(0));
    let writer = Counting {
        writer,
        lost: Arc::clone(&written),
    };
    let (queue, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(lines)
        .thread_name("log")
        .finish(writer);
    let queued = queue.error_counter();
    (queue, guard, Lost { queued, written })
}

/// Counts the lines that its writer does not take, and never fails.
struct Counting<W> {
    writer: W,
    lost: Arc<AtomicU64>,
}

impl<W: io::Write> io::Write for Counting<W> {
    /// One call is one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.writer.write_all(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What could not be written stays in the buffer and is written, or lost and counted, with the next line.
        let _ = self.writer.flush();
        Ok(())
    }
}

/// Pauses after each batch of lines, so that those that come meanwhile are one batch as well, and nobody has to wake its thread for each.
struct Unhurried<W> {
    writer: W,
    /// Ends the pause with the log.
    closed: mpsc::Receiver<()>,
}

impl<W: io::Write> io::Write for Unhurried<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.writer.flush();
        let _ = self.closed.recv_timeout(PAUSE);
        flushed
    }
}

/// What [`install`] installs, over any writer.
///
/// # Errors
///
/// [`LogError::Filter`] when the filter cannot be read.
pub fn subscriber<W>(json: bool, color: bool, filter: &str, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).map_err(|source| LogError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let writer = Shared(Arc::new(writer));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer.clone());
    Ok(if json {
        let json = builder.json().flatten_event(true).with_current_span(false).with_span_list(false);
        Box::new(json.finish().with(RequestLines::new(writer)))
    } else if color {
        // The library's default: with colour, unless `NO_COLOR` is set.
        Box::new(builder.finish())
    } else {
        Box::new(builder.with_ansi(false).finish())
    })
}

/// Where lines go, for events and for the lines of requests.
struct Shared<W>(Arc<W>);

impl<W> Clone for Shared<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Shared<W> {
    type Writer = W::Writer;

    fn make_writer(&'w self) -> W::Writer {
        self.0.make_writer()
    }
}

/// Takes one line, its end included.
type LineWriter = dyn Fn(&[u8]) + Send + Sync;

/// The way of the lines of requests past the formatter of events: a part of the subscriber, so that they go where its events go.
struct RequestLines {
    write: Box<LineWriter>,
    /// Does the filter let them through? It never changes.
    enabled: OnceLock<bool>,
}

impl<S: Subscriber> Layer<S> for RequestLines {}

impl RequestLines {
    fn new<W>(writer: Shared<W>) -> Self
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        Self {
            write: Box::new(move |line| {
                // As with events: whoever logs cannot do anything about a log that cannot be written.
                let _ = writer.make_writer().write_all(line);
            }),
            enabled: OnceLock::new(),
        }
    }

    fn write(&self, record: &RequestRecord<'_>) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            request_line::write(line, record);
            (self.write)(line.as_bytes());
            line.shrink_to(KEPT_BYTES);
        });
    }
}

/// Has the subscriber of this thread a way of its own for the lines of requests?
fn with_request_lines<T>(use_it: impl FnMut(&RequestLines) -> T) -> Option<T> {
    let mut use_it = use_it;
    dispatcher::get_default(|current| current.downcast_ref::<RequestLines>().map(&mut use_it))
}

/// What is said about one request when it has been answered.
#[derive(Clone, Copy, Default)]
pub struct RequestRecord<'a> {
    /// The id of the request.
    pub request_id: &'a str,
    /// The trace that it belongs to, where somebody else knows of it.
    pub trace: Option<TraceIds>,
    /// The provider, where the path names a known one.
    pub provider: Option<&'a str>,
    /// The verb, where the path names a known one.
    pub action: Option<&'a str>,
    /// The task's id as the caller gave it.
    pub id: Option<&'a str>,
    /// Was the vendor's request only shown, and nothing sent?
    pub validate_only: bool,
    /// What is known about the effect.
    pub outcome: &'a str,
    /// The code of the reason, unless it succeeded.
    pub reason: Option<&'a str>,
    /// The HTTP status of the answer.
    pub status: u16,
    /// From the head of the request to the head of its answer.
    pub duration: Duration,
    /// The vendor's HTTP status.
    pub vendor_status: Option<u16>,
    /// The vendor call.
    pub vendor_duration: Option<Duration>,
    /// The vendor's id for the exchange.
    pub vendor_request_id: Option<&'a str>,
    /// Why the caller asks: the member `reason` of the request.
    pub caller_reason: Option<&'a str>,
    /// Causes that only the log may know.
    pub error: Option<&'a str>,
}

/// Writes the one line of a request.
pub fn request_line(record: &RequestRecord<'_>) {
    let known = with_request_lines(|lines| match lines.enabled.get() {
        Some(true) => {
            lines.write(record);
            true
        }
        Some(false) => true,
        None => false,
    });
    match known {
        None => request_event(record),
        Some(true) => {}
        Some(false) => {
            let enabled = tracing::event_enabled!(
                target: REQUESTS,
                Level::INFO,
                message,
                request_id,
                trace_id,
                span_id,
                parent_span_id,
                provider,
                action,
                id,
                validate_only,
                outcome,
                reason,
                status,
                duration_ms,
                vendor_status,
                vendor_duration_ms,
                vendor_request_id,
                caller_reason,
                error
            );
            with_request_lines(|lines| {
                if *lines.enabled.get_or_init(|| enabled) {
                    lines.write(record);
                }
            });
        }
    }
}

/// The line of a request as an event.
pub(super) fn request_event(record: &RequestRecord<'_>) {
    tracing::info!(
        target: REQUESTS,
        request_id = record.request_id,
        trace_id = record.trace.map(|ids| tracing::field::display(ids.trace)),
        span_id = record.trace.map(|ids| tracing::field::display(ids.span)),
        parent_span_id = record.trace.and_then(|ids| ids.parent).map(tracing::field::display),
        provider = record.provider,
        action = record.action,
        id = record.id,
        validate_only = record.validate_only.then_some(true),
        outcome = record.outcome,
        reason = record.reason,
        status = record.status,
        duration_ms = millis(record.duration),
        vendor_status = record.vendor_status,
        vendor_duration_ms = record.vendor_duration.map(millis),
        vendor_request_id = record.vendor_request_id,
        caller_reason = record.caller_reason,
        error = record.error,
        "request"
    );
}

impl fmt::Debug for RequestRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestRecord")
            .field("request_id", &self.request_id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Milliseconds with three decimals: short calls take less than one.
fn millis(duration: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a request are far below 2^52")]
    let micros = duration.as_micros() as f64;
    micros / 1000.0
}

static LOST: OnceLock<Lost> = OnceLock::new();

thread_local! {
    /// The line that is being written.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What the lines of requests are called in filters.
const REQUESTS: &str = "taskgate::request";
/// Longer than nearly every line.
const KEPT_BYTES: usize = 4096;
/// A hundred batches a second; what is not yet written when the process is killed is what came in this time.
const PAUSE: Duration = Duration::from_millis(10);

/// A second of 16 000 calls a second, in some 8 MiB.
const QUEUED_LINES: usize = 16 * 1024;
/// A hundred lines and more in one write.
const WRITE_BYTES: usize = 64 * 1024;
/// A little longer than the library's own limit.
const FINISH: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::lines::Lines;
    use std::sync::mpsc;

    fn written(json: bool, color: bool, record: &RequestRecord<'_>) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(json, color, "info", move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || request_line(record));
        lines.text()
    }

    fn hostile() -> RequestRecord<'static> {
        RequestRecord {
            request_id: "r-1",
            provider: Some("cheese"),
            id: Some("a\"b\n{\"level\":\"ERROR\"}"),
            outcome: "not_done",
            status: 404,
            duration: Duration::from_micros(1500),
            vendor_duration: Some(Duration::from_secs(1)),
            caller_reason: Some("INC-1\r\n\u{1b}[31mred"),
            ..RequestRecord::default()
        }
    }

    #[test]
    fn json_is_one_object_on_one_line_with_the_values_as_they_are() {
        let text = written(true, false, &hostile());
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "request");
        assert_eq!(line["id"], "a\"b\n{\"level\":\"ERROR\"}");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["status"], 404);
        assert_eq!(line["duration_ms"], 1.5);
        assert_eq!(line["vendor_duration_ms"], 1000.0);
        assert_eq!(line.get("action"), None, "what does not apply is left out");
    }

    #[test]
    fn text_is_one_line_without_control_characters() {
        for color in [false, true] {
            let text = written(false, color, &hostile());
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.contains("\u{1b}[31mred") && !text.contains('\r'), "{text:?}");
        }
    }

    /// A pipe that nobody reads, until somebody does.
    struct Stuck(mpsc::Receiver<()>, mpsc::Sender<String>);

    impl io::Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Without a sender any more, all goes through.
            let _ = self.0.recv();
            self.1.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_stuck_reader_and_what_is_lost_is_counted() {
        let (open, stuck) = mpsc::channel();
        let (told, lines) = mpsc::channel();
        let (queue, guard, lost) = queue(Stuck(stuck, told), 8);
        let subscriber = subscriber(true, false, "info", queue).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..100_u32 {
                tracing::info!(number, "line");
            }
        });
        drop(open);
        drop(guard);
        let numbers: Vec<u64> = lines
            .iter()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(&line).unwrap()["number"]
                    .as_u64()
                    .unwrap()
            })
            .collect();
        // Eight wait; a ninth may have been taken out before.
        assert!(matches!(numbers.len(), 8 | 9), "{numbers:?}");
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert_eq!(lost.lines(), 100 - numbers.len() as u64);
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted() {
        struct Full;
        impl io::Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let (queue, guard, lost) = queue(Full, 8);
        let subscriber = subscriber(true, false, "info", queue).unwrap();
        tracing::subscriber::with_default(subscriber, || tracing::info!("line"));
        drop(guard);
        assert_eq!(lost.lines(), 1);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let error = subscriber(true, false, "taskgate=shout", io::sink).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "log filter `taskgate=shout` cannot be read");
    }
}
