//! The line of a request as JSON, written by hand: the formatter of events takes ten times as long, and this line is most of the log.
//!
//! **Shape**: [`RequestRecord`] -> `{"timestamp":…,"level":"INFO","message":"request","request_id":…,"target":"taskgate::request"}`.
//!
//! **Invariants**: the bytes are those that the formatter writes for the same event; a property test compares them. A value stays
//! within its quotes whatever it holds.

use super::log::RequestRecord;
use super::stamp;

/// Appends the line, its end included.
pub(super) fn write(line: &mut Vec<u8>, record: &RequestRecord<'_>) {
    line.extend_from_slice(b"{\"timestamp\":\"");
    stamp::write(line);
    text(
        line,
        "\",\"level\":\"INFO\",\"message\":\"request\",\"request_id\":\"",
        record.request_id,
    );
    for (key, value) in [
        (",\"provider\":\"", record.provider),
        (",\"action\":\"", record.action),
        (",\"id\":\"", record.id),
    ] {
        optional(line, key, value);
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
    line.extend_from_slice(b",\"target\":\"taskgate::request\"}\n");
}

fn optional(line: &mut Vec<u8>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(line, key, value);
    }
}

/// A text with its closing quote; `key` brings the opening one.
fn text(line: &mut Vec<u8>, key: &str, value: &str) {
    line.extend_from_slice(key.as_bytes());
    // Looked at as a whole, without an early end: most have nothing to escape, and so the processor takes many bytes at once.
    let is_plain = value.bytes().fold(true, |plain, byte| plain & !must_be_escaped(byte));
    if is_plain {
        line.extend_from_slice(value.as_bytes());
    } else {
        value.bytes().for_each(|byte| escape(line, byte));
    }
    line.push(b'"');
}

fn must_be_escaped(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Source: RFC 8259 section 7; the short forms where there are some, as serde_json.
fn escape(line: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        0x00..0x20 => {
            let digit = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
            line.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            return;
        }
        _ => return line.push(byte),
    };
    line.extend_from_slice(&[b'\\', short]);
}

fn number(line: &mut Vec<u8>, key: &str, value: u16) {
    line.extend_from_slice(key.as_bytes());
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds with one to three decimals: the shortest text of that decimal number.
fn millis(line: &mut Vec<u8>, key: &str, duration: std::time::Duration) {
    line.extend_from_slice(key.as_bytes());
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    line.extend_from_slice(itoa::Buffer::new().format(micros / 1000).as_bytes());
    line.push(b'.');
    let rest = u16::try_from(micros % 1000).unwrap_or(0);
    for scale in [100, 10, 1] {
        line.push(b'0' + u8::try_from(rest / scale % 10).unwrap_or(0));
        if rest % scale == 0 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::{request_event, subscriber};
    use super::*;
    use proptest::prelude::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

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

    /// What the formatter of events makes of it.
    fn formatted(record: &RequestRecord<'_>) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(true, false, "info", move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || request_event(record));
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// All behind the time stamp.
    fn behind_the_time(line: &str) -> &str {
        let (time, rest) = line.split_at("{\"timestamp\":\"2026-11-21T14:52:19.123456Z".len());
        assert!(time.ends_with('Z'), "{line}");
        rest
    }

    #[track_caller]
    fn check(record: &RequestRecord<'_>) {
        let mut line = Vec::new();
        write(&mut line, record);
        let line = String::from_utf8(line).unwrap();
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
        ) {
            let text = |at: usize| texts[at].as_deref();
            check(&RequestRecord {
                request_id: text(0).unwrap_or_default(),
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
