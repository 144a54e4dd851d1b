//! The clock on the wall, for what is written down: the time stamps of log lines, and the time in the ids of requests.
//!
//! **Shape**: `2026-11-21T14:52:19.123456Z`.
//!
//! **Invariants**: nothing is decided by this clock. A time stamp has always six decimals, so that lines sort as texts.

use std::cell::Cell;
use std::time::SystemTime;

use jiff::Timestamp;

/// Now: milliseconds since 1970, and the nanoseconds beyond them.
#[must_use]
pub fn unix_time() -> (u64, u32) {
    let (seconds, nanoseconds) = now();
    (seconds * 1000 + u64::from(nanoseconds / 1_000_000), nanoseconds % 1_000_000)
}

/// Writes the time stamp of now (RFC 3339, UTC, microseconds).
pub(super) fn write(text: &mut String) {
    write_at(text, now());
}

fn write_at(text: &mut String, (second, nanoseconds): (u64, u32)) {
    let date = LAST.with(|last| {
        let (known, date) = last.get();
        if known == second {
            return date;
        }
        let date = date_of(second);
        last.set((second, date));
        date
    });
    text.push_str(str::from_utf8(&date).unwrap_or_default());
    text.push('.');
    // The digit in front keeps the zeros behind it.
    let mut buffer = itoa::Buffer::new();
    let microseconds = buffer.format(1_000_000 + nanoseconds / 1000);
    text.push_str(microseconds.get(1..).unwrap_or_default());
    text.push('Z');
}

fn now() -> (u64, u32) {
    // A clock before 1970 is wrong in any case.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (now.as_secs(), now.subsec_nanos())
}

/// `2026-11-21T14:52:19`: worked out once a second.
fn date_of(second: u64) -> [u8; DATE_BYTES] {
    let text = i64::try_from(second)
        .ok()
        .and_then(|second| Timestamp::from_second(second).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string();
    text.as_bytes()
        .get(..DATE_BYTES)
        .and_then(|date| date.try_into().ok())
        .unwrap_or(*b"1970-01-01T00:00:00")
}

thread_local! {
    /// The last second that was written on this thread.
    static LAST: Cell<(u64, [u8; DATE_BYTES])> = const { Cell::new((0, *b"1970-01-01T00:00:00")) };
}

/// Up to the year 9999.
const DATE_BYTES: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_have_six_decimals_whatever_came_before() {
        for (second, nanoseconds, expected) in [
            (1_795_272_739, 123_456_789, "2026-11-21T14:52:19.123456Z"),
            (1_795_272_739, 999, "2026-11-21T14:52:19.000000Z"),
            (1_795_272_740, 1_000, "2026-11-21T14:52:20.000001Z"),
            // A clock that was set back.
            (951_782_400, 999_999_999, "2000-02-29T00:00:00.999999Z"),
            (0, 0, "1970-01-01T00:00:00.000000Z"),
        ] {
            let mut text = String::new();
            write_at(&mut text, (second, nanoseconds));
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn seconds_have_their_dates() {
        for (second, date) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (4_102_444_799, "2099-12-31T23:59:59"),
        ] {
            assert_eq!(date_of(second), date.as_bytes(), "{second}");
        }
    }
}
