//! The log: one line per request, on standard error.
//!
//! **Shape**: `RequestRecord { request_id, outcome, .. }` -> `{"timestamp":…,"level":"INFO","message":"request","request_id":…}`.
//!
//! **Invariants**: the message is constant; all the rest are fields, so that no value can pass for another line or field. The
//! record has no place for a body, a header or a secret.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

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

/// Writes the log of this process to standard error: `filter` is a level (`info`) or directives (`warn,taskgate=debug`).
///
/// # Errors
///
/// [`LogError`] when the filter cannot be read or the process has a log already.
pub fn install(format: Format, filter: &str) -> Result<(), LogError> {
    let json = match format {
        Format::Auto => !io::stderr().is_terminal(),
        Format::Json => true,
        Format::Text => false,
    };
    subscriber(json, io::stderr().is_terminal(), filter, io::stderr)?.try_init()?;
    Ok(())
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
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(if json {
        Box::new(
            builder
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .finish(),
        )
    } else if color {
        // The library's default: with colour, unless `NO_COLOR` is set.
        Box::new(builder.finish())
    } else {
        Box::new(builder.with_ansi(false).finish())
    })
}

/// What is said about one request when it has been answered.
#[derive(Clone, Copy, Default)]
pub struct RequestRecord<'a> {
    /// The id of the request.
    pub request_id: &'a str,
    /// The provider, where the path names a known one.
    pub provider: Option<&'a str>,
    /// The verb, where the path names a known one.
    pub action: Option<&'a str>,
    /// The task's id as the caller gave it.
    pub id: Option<&'a str>,
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
    tracing::info!(
        target: "taskgate::request",
        request_id = record.request_id,
        provider = record.provider,
        action = record.action,
        id = record.id,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(json: bool, color: bool, record: &RequestRecord<'_>) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(json, color, "info", move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || request_line(record));
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
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

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let error = subscriber(true, false, "taskgate=shout", io::sink).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "log filter `taskgate=shout` cannot be read");
    }
}
