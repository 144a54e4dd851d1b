//! The line of a request as JSON, written by hand: the formatter of events takes ten times as long, and this line is most of the log.
//!
//! **Shape**: [`RequestRecord`] -> `{"timestamp":…,"level":"INFO","message":"request","request_id":…,"target":"taskgate::request"}`.
//!
//! **Invariants**: the bytes are those that the formatter writes for the same event; a property test compares them. A value stays
//! within its quotes whatever it holds.

use super::log::RequestRecord;
use super::stamp;
use crate::json_text;

/// Appends the line, its end included.
pub(super) fn write(line: &mut String, record: &RequestRecord<'_>) {
    line.push_str("{\"timestamp\":\"");
    stamp::write(line);
    text(
        line,
        "\",\"level\":\"INFO\",\"message\":\"request\",\"request_id\":\"",
        record.request_id,
    );
    if let Some(ids) = record.trace {
        hex(line, ",\"trace_id\":\"", ids.trace.bytes());
        hex(line, ",\"span_id\":\"", ids.span.bytes());
        if let Some(parent) = &ids.parent {
            hex(line, ",\"parent_span_id\":\"", parent.bytes());
        }
    }
    for (key, value) in [
        (",\"provider\":\"", record.provider),
        (",\"action\":\"", record.action),
        (",\"id\":\"", record.id),
    ] {
        optional(line, key, value);
    }
    if record.validate_only {
        line.push_str(",\"validate_only\":true");
    }
    text(line, ",\"outcome\":\"", record.outcome);
    optional(line, ",\"reason\":\"", record.reason);
    number(line, ",\"status\":", record.status);
    millis(line, ",\"duration_ms\":", record.duration);
    if let Some(status) = record.vendor_status {
        number(line, ",\"vendor_status\":", status);
    }
    if let Some(duration) = record.vendor_duration {
        millis(line, ",\"vendor_duration_ms\":", duration);
    }
    for (key, value) in [
        (",\"vendor_request_id\":\"", record.vendor_request_id),
        (",\"caller_reason\":\"", record.caller_reason),
        (",\"error\":\"", record.error),
    ] {
        optional(line, key, value);
    }
    line.push_str(",\"target\":\"taskgate::request\"}\n");
}

fn optional(line: &mut String, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(line, key, value);
    }
}

/// A text with its closing quote; `key` brings the opening one.
fn text(line: &mut String, key: &str, value: &str) {
    line.push_str(key);
    json_text::escaped(line, value);
    line.push('"');
}

fn hex(line: &mut String, key: &str, bytes: &[u8]) {
    line.push_str(key);
    json_text::hex(line, bytes);
    line.push('"');
}

fn number(line: &mut String, key: &str, value: u16) {
    line.push_str(key);
    json_text::number(line, value);
}

/// Milliseconds with one to three decimals: the shortest text of that decimal number.
fn millis(line: &mut String, key: &str, duration: std::time::Duration) {
    line.push_str(key);
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    json_text::number(line, micros / 1000);
    line.push('.');
    // The digit in front keeps the zeros behind it.
    let mut buffer = itoa::Buffer::new();
    let rest = buffer.format(1000 + micros % 1000).get(1..).unwrap_or_default();
    let shortest = rest.trim_end_matches('0');
    line.push_str(if shortest.is_empty() { "0" } else { shortest });
}

#[cfg(test)]
mod tests {
    use super::super::lines::Lines;
    use super::super::log::{request_event, subscriber};
    use super::*;
    use crate::layer::trace::{Hex, TraceIds};
    use proptest::prelude::*;
    use std::time::Duration;

    /// What the formatter of events makes of it.
    fn formatted(record: &RequestRecord<'_>) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(true, false, "info", move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || request_event(record));
        lines.text()
    }

    /// All behind the time stamp.
    fn behind_the_time(line: &str) -> &str {
        let (time, rest) = line.split_at("{\"timestamp\":\"2026-11-21T14:52:19.123456Z".len());
        assert!(time.ends_with('Z'), "{line}");
        rest
    }

    #[track_caller]
    fn check(record: &RequestRecord<'_>) {
        let mut line = String::new();
        write(&mut line, record);
        assert_eq!(behind_the_time(&line), behind_the_time(&formatted(record)));
    }

    #[test]
    fn every_character_is_written_as_the_formatter_does() {
        let all: String = (0..0x180_u32).filter_map(char::from_u32).chain("日本🙂\u{2028}".chars()).collect();
        check(&RequestRecord {
            request_id: &all,
            error: Some(&all),
            outcome: "",
            ..RequestRecord::default()
        });
    }

    #[test]
    fn every_duration_is_written_as_the_formatter_does() {
        let borders = [
            0,
            1,
            9,
            10,
            99,
            100,
            101,
            110,
            999,
            1000,
            1001,
            1010,
            1100,
            60_000_000,
            86_400_000_001,
            999_999_999_999,
        ];
        for micros in (0..3000).step_by(7).chain(borders) {
            check(&RequestRecord {
                duration: Duration::from_micros(micros),
                vendor_duration: Some(Duration::from_nanos(micros * 1000 + 999)),
                ..RequestRecord::default()
            });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_record_is_written_as_the_formatter_does(
            texts in prop::collection::vec(prop::option::of(any::<String>()), 9),
            (status, vendor_status) in (any::<u16>(), prop::option::of(any::<u16>())),
            (micros, vendor_micros) in (0..1_u64 << 40, prop::option::of(0..1_u64 << 40)),
            (trace, span, parent, validate_only) in (any::<Option<[u8; 16]>>(), any::<[u8; 8]>(), any::<Option<[u8; 8]>>(), any::<bool>()),
        ) {
            let text = |at: usize| texts[at].as_deref();
            check(&RequestRecord {
                request_id: text(0).unwrap_or_default(),
                trace: trace.map(|trace| TraceIds { trace: Hex::new(trace), span: Hex::new(span), parent: parent.map(Hex::new) }),
                validate_only,
                provider: text(1),
                action: text(2),
                id: text(3),
                outcome: text(4).unwrap_or_default(),
                reason: text(5),
                status,
                duration: Duration::from_micros(micros),
                vendor_status,
                vendor_duration: vendor_micros.map(Duration::from_micros),
                vendor_request_id: text(6),
                caller_reason: text(7),
                error: text(8),
            });
        }
    }
}
