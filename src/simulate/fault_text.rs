//! The text form of a fault: reading it, with an error that says what was expected, and writing it.
//!
//! **Shape.** `prime=latency:500ms`, `cfw=status:503,times=2`, `all=html:502`; what is written parses back to the same fault.
//!
//! **Errors.** [`FaultSyntaxError`], one variant for each way to be wrong.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;

use super::faults::{Effect, ErrorBody, Fault, FaultKind, FaultRule, ThrottledBy};

impl FromStr for Fault {
    type Err = FaultSyntaxError;

    /// # Errors
    /// The first part of the text that cannot be understood, with what was expected there.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim().split(',').map(str::trim);
        let mut fault = Self::new(parse_kind(parts.next().unwrap_or_default())?);
        for option in parts {
            let (name, value) = option
                .split_once('=')
                .ok_or_else(|| FaultSyntaxError::UnknownOption { option: option.to_owned() })?;
            match (name, value) {
                ("times", count) => {
                    fault.times = Some(
                        count
                            .parse()
                            .map_err(|_| FaultSyntaxError::InvalidTimes { value: count.to_owned() })?,
                    );
                }
                ("effect", "applied") => fault.effect = Effect::Applied,
                ("effect", "none") if fault.kind.passes_the_answer_on() => {
                    return Err(FaultSyntaxError::EffectNeeded { kind: fault.kind.name() });
                }
                ("effect", "none") => fault.effect = Effect::None,
                ("effect", other) => {
                    return Err(FaultSyntaxError::InvalidEffect { value: other.to_owned() });
                }
                ("path", part) if !part.is_empty() => fault.path = Some(part.to_owned()),
                ("body", value) => fault.kind = with_body(fault.kind, value)?,
                (_, _) => {
                    return Err(FaultSyntaxError::UnknownOption { option: option.to_owned() });
                }
            }
        }
        Ok(fault)
    }
}

impl fmt::Display for Fault {
    /// The text form, which parses back to the same fault.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        match self.kind {
            FaultKind::Drip { pause: time } | FaultKind::Latency { delay: time } => {
                write!(f, ":{}ms", time.as_millis())?;
            }
            FaultKind::Html { status } => write!(f, ":{}", status.as_u16())?,
            FaultKind::Status { status, body } => {
                write!(f, ":{}", status.as_u16())?;
                if body == ErrorBody::Empty {
                    f.write_str(",body=empty")?;
                }
            }
            FaultKind::Throttle { by: ThrottledBy::All } => f.write_str(":all")?,
            FaultKind::Throttle {
                by: ThrottledBy::Concurrent,
            } => f.write_str(":concurrent")?,
            FaultKind::Throttle { by: ThrottledBy::User }
            | FaultKind::Cut
            | FaultKind::Empty
            | FaultKind::Failure
            | FaultKind::Garbage
            | FaultKind::Hang
            | FaultKind::Redirect
            | FaultKind::Reset
            | FaultKind::Truncated => {}
        }
        if let Some(times) = self.times {
            write!(f, ",times={times}")?;
        }
        if self.effect != self.kind.usual_effect() {
            f.write_str(match self.effect {
                Effect::Applied => ",effect=applied",
                Effect::None => ",effect=none",
            })?;
        }
        match &self.path {
            Some(path) => write!(f, ",path={path}"),
            None => Ok(()),
        }
    }
}

impl FromStr for FaultRule {
    type Err = FaultSyntaxError;

    /// # Errors
    /// The first part of the text that cannot be understood, with what was expected there.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().split_once('=') {
            Some((vendor, fault)) if is_name(vendor) => Ok(Self {
                vendor: (vendor != ALL_VENDORS).then(|| vendor.to_owned()),
                fault: fault.parse()?,
            }),
            Some(_) | None => Err(FaultSyntaxError::MissingVendor {
                text: text.trim().to_owned(),
            }),
        }
    }
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vendor = self.vendor.as_deref().unwrap_or(ALL_VENDORS);
        write!(f, "{vendor}={}", self.fault)
    }
}

/// Why a text is no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultSyntaxError {
    /// The fault passes the vendor's answer on, so the vendor must act.
    #[error("`effect=none` makes no sense with `{kind}`, which passes the vendor's real answer on")]
    EffectNeeded {
        /// The kind.
        kind: &'static str,
    },
    /// A `body` that is not offered, or not with this kind.
    #[error("expected `body=vendor` or `body=empty` after a `status` fault, found `body={value}`")]
    InvalidBody {
        /// What was found.
        value: String,
    },
    /// A time that cannot be read.
    #[error("expected a time such as `{kind}:500ms` or `{kind}:2s`, found `{found}`")]
    InvalidDuration {
        /// The kind.
        kind: &'static str,
        /// What was found.
        found: String,
    },
    /// An effect that does not exist.
    #[error("expected `effect=applied` or `effect=none`, found `effect={value}`")]
    InvalidEffect {
        /// What was found.
        value: String,
    },
    /// A limit that no vendor has.
    #[error("expected `throttle:user`, `throttle:all` or `throttle:concurrent`, found `{found}`")]
    InvalidLimit {
        /// What was found.
        found: String,
    },
    /// A status that cannot be sent.
    #[error("expected a status from 200 to 599 such as `{kind}:503`, found `{found}`")]
    InvalidStatus {
        /// The kind.
        kind: &'static str,
        /// What was found.
        found: String,
    },
    /// A count that is no positive number.
    #[error("expected a count of at least 1 such as `times=2`, found `times={value}`")]
    InvalidTimes {
        /// What was found.
        value: String,
    },
    /// There is no vendor in front of the fault.
    #[error("expected `<vendor>=<fault>` or `all=<fault>` such as `prime=latency:500ms`, found `{text}`")]
    MissingVendor {
        /// What was found.
        text: String,
    },
    /// An argument after a kind that takes none.
    #[error("`{kind}` takes no argument, found `:{argument}`")]
    UnexpectedArgument {
        /// The kind.
        kind: String,
        /// What was found.
        argument: String,
    },
    /// A kind that does not exist.
    #[error("unknown fault `{kind}`, expected one of {}", KINDS.join(", "))]
    UnknownKind {
        /// What was found.
        kind: String,
    },
    /// An option that does not exist.
    #[error("unknown option `{option}`, expected `times=`, `effect=`, `path=` or `body=`")]
    UnknownOption {
        /// What was found.
        option: String,
    },
}

fn parse_kind(text: &str) -> Result<FaultKind, FaultSyntaxError> {
    let (name, argument) = match text.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (text, None),
    };
    let kind = match (name, argument) {
        ("cut", None) => FaultKind::Cut,
        ("drip", argument) => FaultKind::Drip {
            pause: parse_duration("drip", argument)?,
        },
        ("empty", None) => FaultKind::Empty,
        ("failure", None) => FaultKind::Failure,
        ("garbage", None) => FaultKind::Garbage,
        ("hang", None) => FaultKind::Hang,
        ("html", None) => FaultKind::Html { status: StatusCode::OK },
        ("html", argument) => FaultKind::Html {
            status: parse_status("html", argument)?,
        },
        ("latency", argument) => FaultKind::Latency {
            delay: parse_duration("latency", argument)?,
        },
        ("redirect", None) => FaultKind::Redirect,
        ("reset", None) => FaultKind::Reset,
        ("status", argument) => FaultKind::Status {
            status: parse_status("status", argument)?,
            body: ErrorBody::Vendor,
        },
        ("throttle", None | Some("user")) => FaultKind::Throttle { by: ThrottledBy::User },
        ("throttle", Some("all")) => FaultKind::Throttle { by: ThrottledBy::All },
        ("throttle", Some("concurrent")) => FaultKind::Throttle {
            by: ThrottledBy::Concurrent,
        },
        ("throttle", Some(other)) => {
            return Err(FaultSyntaxError::InvalidLimit { found: other.to_owned() });
        }
        ("truncated", None) => FaultKind::Truncated,
        (known, Some(argument)) if KINDS.contains(&known) => {
            return Err(FaultSyntaxError::UnexpectedArgument {
                kind: known.to_owned(),
                argument: argument.to_owned(),
            });
        }
        (unknown, _) => {
            return Err(FaultSyntaxError::UnknownKind { kind: unknown.to_owned() });
        }
    };
    Ok(kind)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn with_body(kind: FaultKind, value: &str) -> Result<FaultKind, FaultSyntaxError> {
    match (kind, value) {
        (FaultKind::Status { status, .. }, "empty") => Ok(FaultKind::Status {
            status,
            body: ErrorBody::Empty,
        }),
        (FaultKind::Status { .. }, "vendor") => Ok(kind),
        (_, other) => Err(FaultSyntaxError::InvalidBody { value: other.to_owned() }),
    }
}

fn parse_duration(kind: &'static str, text: Option<&str>) -> Result<Duration, FaultSyntaxError> {
    let text = text.unwrap_or_default();
    let parsed = if let Some(number) = text.strip_suffix("ms") {
        number.parse().ok().map(Duration::from_millis)
    } else if let Some(number) = text.strip_suffix('s') {
        number.parse().ok().map(Duration::from_secs)
    } else {
        None
    };
    parsed.ok_or_else(|| FaultSyntaxError::InvalidDuration {
        kind,
        found: text.to_owned(),
    })
}

/// Informational statuses are no final answer, so none of them is offered.
fn parse_status(kind: &'static str, text: Option<&str>) -> Result<StatusCode, FaultSyntaxError> {
    let text = text.unwrap_or_default();
    text.parse::<u16>()
        .ok()
        .filter(|status| (200..=599).contains(status))
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| FaultSyntaxError::InvalidStatus {
            kind,
            found: text.to_owned(),
        })
}

/// The word that stands for every vendor.
pub(super) const ALL_VENDORS: &str = "all";

/// Every kind, in the order in which they are offered.
const KINDS: [&str; 13] = [
    "cut",
    "drip",
    "empty",
    "failure",
    "garbage",
    "hang",
    "html",
    "latency",
    "redirect",
    "reset",
    "status",
    "throttle",
    "truncated",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match text.parse::<FaultRule>() {
            Ok(rule) => {
                assert_eq!(rule.to_string().parse(), Ok(rule.clone()), "round trip");
                rule.to_string()
            }
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn faults_are_read_from_text() {
        for (text, expected) in [
            ("prime=latency:500ms", "prime=latency:500ms"),
            ("prime=latency:2s", "prime=latency:2000ms"),
            ("cfw=status:503,times=2", "cfw=status:503,times=2"),
            ("cfw=status:503, body=empty", "cfw=status:503,body=empty"),
            ("hss=reset", "hss=reset"),
            ("prime=throttle", "prime=throttle"),
            ("prime=throttle:user,times=1", "prime=throttle,times=1"),
            ("prime=throttle:concurrent", "prime=throttle:concurrent"),
            ("all=throttle:all", "all=throttle:all"),
            ("all=html:502", "all=html:502"),
            ("all=html", "all=html:200"),
            ("zstack=hang,effect=none", "zstack=hang,effect=none"),
            ("zstack=hang,effect=applied", "zstack=hang"),
            (
                "zstack=failure,effect=applied,path=/api-jobs/",
                "zstack=failure,effect=applied,path=/api-jobs/",
            ),
            (" dbss=drip:10ms ", "dbss=drip:10ms"),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn a_wrong_text_says_what_was_expected() {
        for (text, expected) in [
            (
                "reset",
                "error: expected `<vendor>=<fault>` or `all=<fault>` such as `prime=latency:500ms`, found `reset`",
            ),
            (
                "hss=explode",
                "error: unknown fault `explode`, expected one of cut, drip, empty, failure, garbage, hang, html, latency, redirect, reset, status, throttle, truncated",
            ),
            (
                "hss=latency",
                "error: expected a time such as `latency:500ms` or `latency:2s`, found ``",
            ),
            (
                "hss=latency:5",
                "error: expected a time such as `latency:500ms` or `latency:2s`, found `5`",
            ),
            (
                "hss=status:101",
                "error: expected a status from 200 to 599 such as `status:503`, found `101`",
            ),
            (
                "hss=throttle:5",
                "error: expected `throttle:user`, `throttle:all` or `throttle:concurrent`, found `5`",
            ),
            ("hss=reset:1", "error: `reset` takes no argument, found `:1`"),
            (
                "hss=reset,times=0",
                "error: expected a count of at least 1 such as `times=2`, found `times=0`",
            ),
            (
                "hss=reset,effect=maybe",
                "error: expected `effect=applied` or `effect=none`, found `effect=maybe`",
            ),
            (
                "hss=latency:1s,effect=none",
                "error: `effect=none` makes no sense with `latency`, which passes the vendor's real answer on",
            ),
            (
                "hss=reset,body=empty",
                "error: expected `body=vendor` or `body=empty` after a `status` fault, found `body=empty`",
            ),
            (
                "hss=reset,often",
                "error: unknown option `often`, expected `times=`, `effect=`, `path=` or `body=`",
            ),
        ] {
            check(text, expected);
        }
    }
}
