//! A vendor's times: read by the formats that the route knows, and handed on only when it is certain which moment they mean.
//!
//! **Shape**: `2024/08/31 10:17:30` by `%Y/%m/%d %H:%M:%S` in `Europe/Berlin` -> `2024-08-31T08:17:30Z`; without a zone: nothing.
//!
//! **Invariants**: a text that no format fits, a time without a zone where none is configured, and a time that the zone's
//! clocks showed twice or never, are left out: no moment is guessed.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

/// How the times of a vendor are written.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// The formats; the first that fits counts.
    pub formats: Vec<TimeFormat>,
    /// The zone of times that name none.
    pub zone: Option<TimeZone>,
}

/// One way to write a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// Milliseconds since 1970.
    EpochMillis,
    /// A format of `strftime`.
    Pattern(String),
    /// RFC 3339; the zone may be left out.
    Rfc3339,
}

impl TimeFormat {
    /// Reads a format as it stands in a routes file.
    ///
    /// ```
    /// use taskgate::mapping::moment::TimeFormat;
    /// assert_eq!(TimeFormat::parse("epoch-ms"), Some(TimeFormat::EpochMillis));
    /// assert_eq!(TimeFormat::parse("%Q"), None);
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "epoch-ms" => Some(Self::EpochMillis),
            "rfc3339" => Some(Self::Rfc3339),
            pattern => {
                // What it writes it can read: a format that cannot do both is of no use.
                let written = jiff::fmt::strtime::format(pattern, &SAMPLE.to_zoned(TimeZone::UTC)).ok()?;
                let read = BrokenDownTime::parse(pattern, &written).ok()?;
                (read.to_datetime().is_ok()).then(|| Self::Pattern(pattern.to_owned()))
            }
        }
    }
}

impl Times {
    /// The moment in RFC 3339, in UTC; nothing where it is not certain.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<String> {
        let text = text.trim();
        let moment = self.formats.iter().find_map(|format| match format {
            TimeFormat::EpochMillis => text.parse().ok().and_then(|millis| Timestamp::from_millisecond(millis).ok()),
            TimeFormat::Rfc3339 => match text.parse::<Timestamp>() {
                Ok(moment) => Some(moment),
                Err(_) => self.in_zone(text.parse().ok()?),
            },
            TimeFormat::Pattern(pattern) => {
                let parts = BrokenDownTime::parse(pattern, text).ok()?;
                match parts.offset() {
                    Some(_) => parts.to_timestamp().ok(),
                    None => self.in_zone(parts.to_datetime().ok()?),
                }
            }
        })?;
        // Zero is how many systems write "never", and a number of another unit lands far away.
        (moment >= EARLIEST && moment < LATEST).then(|| moment.to_string())
    }

    fn in_zone(&self, local: DateTime) -> Option<Timestamp> {
        let zone = self.zone.clone()?;
        let zoned = zone.into_ambiguous_zoned(local).unambiguous().ok()?;
        Some(zoned.timestamp())
    }
}

/// 2000-01-01: older than any of the vendors' products.
const EARLIEST: Timestamp = Timestamp::constant(946_684_800, 0);
/// 2100-01-01.
const LATEST: Timestamp = Timestamp::constant(4_102_444_800, 0);
/// 2024-08-31T10:17:30Z, for trying a format out.
const SAMPLE: Timestamp = Timestamp::constant(1_725_099_450, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: &str, zone: Option<&str>, text: &str, expected: Option<&str>) {
        let times = Times {
            formats: vec![TimeFormat::parse(format).unwrap()],
            zone: zone.map(|zone| TimeZone::get(zone).unwrap()),
        };
        assert_eq!(times.read(text).as_deref(), expected, "{format} {zone:?} {text}");
    }

    #[test]
    fn a_time_without_a_zone_needs_one() {
        let format = "%Y/%m/%d %H:%M:%S";
        check(format, None, "2024/08/31 10:17:30", None);
        check(format, Some("Europe/Berlin"), "2024/08/31 10:17:30", Some("2024-08-31T08:17:30Z"));
        check(format, Some("Asia/Shanghai"), "2024/08/31 10:17:30", Some("2024-08-31T02:17:30Z"));
        check(format, Some("UTC"), "2024-08-31 10:17:30", None);
        check(format, Some("UTC"), "", None);
    }

    #[test]
    fn hours_that_clocks_show_twice_or_never_are_left_out() {
        let format = "%Y/%m/%d %H:%M:%S";
        check(format, Some("Europe/Berlin"), "2024/10/27 02:30:00", None);
        check(format, Some("Europe/Berlin"), "2024/03/31 02:30:00", None);
    }

    #[test]
    fn formats() {
        check("rfc3339", None, "2024-08-31T10:17:30.000Z", Some("2024-08-31T10:17:30Z"));
        check("rfc3339", None, "2024-08-31T10:17:30.5+02:00", Some("2024-08-31T08:17:30.5Z"));
        check("rfc3339", None, "2024-08-31T10:17:30", None);
        check("rfc3339", Some("UTC"), "2024-08-31T10:17:30", Some("2024-08-31T10:17:30Z"));
        check("epoch-ms", None, "1725099450000", Some("2024-08-31T10:17:30Z"));
        check("epoch-ms", None, "1725099450", None);
        check("epoch-ms", None, "0", None);
        check(
            "%b %d, %Y %I:%M:%S %p",
            Some("UTC"),
            "Jan 6, 2017 3:51:16 AM",
            Some("2017-01-06T03:51:16Z"),
        );
        check(
            "%b %d, %Y, %I:%M:%S %p",
            Some("UTC"),
            "Jan 6, 2017, 3:51:16 PM",
            Some("2017-01-06T15:51:16Z"),
        );
        check(
            "%Y-%m-%d %H:%M:%S %z",
            None,
            "2024-08-31 10:17:30 +0200",
            Some("2024-08-31T08:17:30Z"),
        );
        for format in ["", "%", "%Q", "%H:%M", "soon"] {
            assert_eq!(TimeFormat::parse(format), None, "{format}");
        }
    }
}
