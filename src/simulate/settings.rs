//! What can be set at a simulator while it runs: numbers, times and words, by name.
//!
//! **Shape.** A vendor declares its [`Setting`]s with their first values; `PUT /_simulator/settings/<name>`,
//! [`Simulators::set`](super::Simulators::set) and `--set` change them.
//!
//! **Errors.** [`SettingError`] says what was expected.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::UnknownVendor;

/// Why a setting cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The value is not of the setting's kind.
    #[error("expected {expected} for `{name}`, found `{value}`")]
    Invalid {
        /// The name of the setting.
        name: String,
        /// What it takes.
        expected: String,
        /// What was found.
        value: String,
    },
    /// The vendor has no such setting.
    #[error("no setting is called `{name}`, there are {}", known.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// There is no such vendor.
    #[error(transparent)]
    Vendor(#[from] UnknownVendor),
}

/// One setting as a vendor declares it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The first value, in the form in which it can be set.
    pub(super) start: &'static str,
}

/// What a setting takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Count,
    Time,
    Words(&'static [&'static str]),
    Zone,
}

/// The settings of one vendor.
#[derive(Debug)]
pub(super) struct Settings {
    declared: &'static [Setting],
    values: Mutex<BTreeMap<&'static str, String>>,
}

impl Settings {
    pub(super) fn new(declared: &'static [Setting]) -> Self {
        let values = declared.iter().map(|setting| (setting.name, setting.start.to_owned())).collect();
        Self {
            declared,
            values: Mutex::new(values),
        }
    }

    pub(super) fn set(&self, name: &str, value: &str) -> Result<(), SettingError> {
        let value = value.trim();
        let Some(setting) = self.declared.iter().find(|setting| setting.name == name) else {
            return Err(SettingError::Unknown {
                name: name.to_owned(),
                known: self.declared.iter().map(|setting| setting.name.to_owned()).collect(),
            });
        };
        if !setting.kind.takes(value) {
            return Err(SettingError::Invalid {
                name: name.to_owned(),
                expected: setting.kind.expected(),
                value: value.to_owned(),
            });
        }
        self.lock().insert(setting.name, value.to_owned());
        Ok(())
    }

    /// Every setting with its value.
    pub(super) fn all(&self) -> BTreeMap<String, String> {
        self.lock()
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }

    pub(super) fn count(&self, name: &str) -> u32 {
        self.word(name).parse().unwrap_or_default()
    }

    pub(super) fn time(&self, name: &str) -> Duration {
        read_time(&self.word(name)).unwrap_or_default()
    }

    pub(super) fn zone(&self, name: &str) -> TimeZone {
        TimeZone::get(&self.word(name)).unwrap_or(TimeZone::UTC)
    }

    /// The value as it was set; only values that fit get here.
    pub(super) fn word(&self, name: &str) -> String {
        self.lock().get(name).cloned().unwrap_or_default()
    }

    pub(super) fn is(&self, name: &str, word: &str) -> bool {
        self.lock().get(name).is_some_and(|value| value == word)
    }

    /// A panic elsewhere cannot leave a value half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    fn takes(self, value: &str) -> bool {
        match self {
            Self::Count => value.parse::<u32>().is_ok(),
            Self::Time => read_time(value).is_some(),
            Self::Words(words) => words.contains(&value),
            Self::Zone => TimeZone::get(value).is_ok(),
        }
    }

    fn expected(self) -> String {
        match self {
            Self::Count => "a number".to_owned(),
            Self::Time => TIME_RULE.to_owned(),
            Self::Words(words) => words.join(" or "),
            Self::Zone => "a time zone such as `Asia/Shanghai`".to_owned(),
        }
    }
}

/// `500ms`, `15m`, `24h`.
pub(super) fn read_time(text: &str) -> Option<Duration> {
    text.trim().parse::<SignedDuration>().ok()?.try_into().ok()
}

/// What [`read_time`] reads.
pub(super) const TIME_RULE: &str = "a time such as `500ms`, `15m` or `24h`";

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &[Setting] = &[
        Setting {
            name: "count",
            kind: Kind::Count,
            start: "1",
        },
        Setting {
            name: "time",
            kind: Kind::Time,
            start: "24h",
        },
        Setting {
            name: "word",
            kind: Kind::Words(&["off", "on"]),
            start: "off",
        },
        Setting {
            name: "zone",
            kind: Kind::Zone,
            start: "UTC",
        },
    ];

    #[track_caller]
    fn check(name: &str, value: &str, expected: &str) {
        let settings = Settings::new(DECLARED);
        let found = match settings.set(name, value) {
            Ok(()) => settings.word(name),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn settings_are_checked_when_they_are_set() {
        for (name, value, expected) in [
            ("count", " 7 ", "7"),
            ("count", "-1", "expected a number for `count`, found `-1`"),
            ("time", "90s", "90s"),
            (
                "time",
                "-1s",
                "expected a time such as `500ms`, `15m` or `24h` for `time`, found `-1s`",
            ),
            ("word", "on", "on"),
            ("word", "maybe", "expected off or on for `word`, found `maybe`"),
            ("zone", "Europe/Berlin", "Europe/Berlin"),
            (
                "zone",
                "Mars",
                "expected a time zone such as `Asia/Shanghai` for `zone`, found `Mars`",
            ),
            ("speed", "1", "no setting is called `speed`, there are count, time, word, zone"),
        ] {
            check(name, value, expected);
        }
        let settings = Settings::new(DECLARED);
        assert_eq!(settings.time("time"), Duration::from_secs(86_400));
        assert_eq!(settings.count("count"), 1);
        assert!(settings.is("word", "off"));
    }
}
