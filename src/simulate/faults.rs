//! Faults on demand: what can go wrong with a vendor's answer, and the text form that asks for it.
//!
//! **Shape.** `prime=latency:500ms`, `cfw=status:503,times=2`, `all=html:502`, `zstack=hang,effect=none,path=/disable/`:
//! a vendor or `all`, the kind with its argument, then options.
//!
//! | kind | what the caller meets | effect unless told |
//! |---|---|---|
//! | `cut` | half of the real answer, then a connection reset | applied |
//! | `drip:<duration>` | the real answer, one byte per duration | applied |
//! | `empty` | 200 without a body | applied |
//! | `failure` | the vendor's own 200 that failed, or a 200 with an error body | none |
//! | `garbage` | bytes that are not HTTP | applied |
//! | `hang` | no answer, ever | applied |
//! | `html:<status>` | an HTML page, status 200 unless told | none |
//! | `latency:<duration>` | the real answer, late | applied |
//! | `redirect` | 302 to a login page | none |
//! | `reset` | a connection reset before any byte of an answer | applied |
//! | `status:<status>` | that status with the vendor's error body, or with `body=empty` none | none |
//! | `throttle:<limit>` | the vendor's own words for one call too many: of this `user` unless told, of `all`, or `concurrent` | none |
//! | `truncated` | the real answer under a larger `Content-Length`, then the end of the connection | applied |
//!
//! **Invariants.** `effect=applied` lets the vendor act before the fault hides its answer; `effect=none` keeps the request away from it.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;

/// A fault and its circumstances.
///
/// ```
/// use taskgate::simulate::{Effect, Fault, FaultKind};
///
/// let fault: Fault = "hang,effect=none,times=2".parse()?;
/// assert_eq!(fault.kind, FaultKind::Hang);
/// assert_eq!(fault.effect, Effect::None);
/// assert_eq!(fault.to_string(), "hang,times=2,effect=none");
/// # Ok::<(), taskgate::simulate::FaultSyntaxError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// For how many calls; `None` is for all of them.
    pub times: Option<NonZeroU32>,
    /// Whether the vendor acts although its answer is lost. Latency and drip always let it act: theirs is the real answer.
    pub effect: Effect,
    /// Only calls whose path contains this text.
    pub path: Option<String>,
}

/// What goes wrong; the table at the top of the module says how each looks to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Half of the answer, then a reset.
    Cut,
    /// The answer byte by byte.
    Drip {
        /// The pause before every byte but the first.
        pause: Duration,
    },
    /// 200 without a body.
    Empty,
    /// A 200 that says the call failed.
    Failure,
    /// Bytes that are not HTTP.
    Garbage,
    /// No answer, ever.
    Hang,
    /// An HTML page.
    Html {
        /// Its status.
        status: StatusCode,
    },
    /// The answer, late.
    Latency {
        /// How late.
        delay: Duration,
    },
    /// 302 to a login page.
    Redirect,
    /// A reset before any byte of an answer.
    Reset,
    /// A status with an error body.
    Status {
        /// The status.
        status: StatusCode,
        /// What stands in the body.
        body: ErrorBody,
    },
    /// The vendor's own words for one call too many.
    Throttle {
        /// Which limit is said to be reached.
        by: ThrottledBy,
    },
    /// The answer under too large a `Content-Length`, then the end of the connection.
    Truncated,
}

/// The limit that a throttled call is said to have reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottledBy {
    /// The limit for all users together.
    All,
    /// The limit on calls at the same time.
    Concurrent,
    /// The limit for this user.
    User,
}

/// Whether the vendor acts on a call whose answer a fault replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The vendor acts, and its answer is lost.
    Applied,
    /// The vendor never sees the call.
    None,
}

/// The body of a [`FaultKind::Status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorBody {
    /// No body at all.
    Empty,
    /// The vendor's own error body.
    Vendor,
}

/// A fault for one vendor or for all of them, as `--fault` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultRule {
    /// The vendor's name; `None` is all of them.
    pub vendor: Option<String>,
    /// The fault.
    pub fault: Fault,
}

impl Fault {
    /// The fault for all calls, with the effect that the kind usually has.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            times: None,
            effect: kind.usual_effect(),
            path: None,
        }
    }

    /// The same fault for so many calls only.
    #[must_use]
    pub fn times(mut self, times: NonZeroU32) -> Self {
        self.times = Some(times);
        self
    }

    /// The same fault with the given effect.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// The same fault for calls only whose path contains `path`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }
}

impl FaultKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Drip { .. } => "drip",
            Self::Empty => "empty",
            Self::Failure => "failure",
            Self::Garbage => "garbage",
            Self::Hang => "hang",
            Self::Html { .. } => "html",
            Self::Latency { .. } => "latency",
            Self::Redirect => "redirect",
            Self::Reset => "reset",
            Self::Status { .. } => "status",
            Self::Throttle { .. } => "throttle",
            Self::Truncated => "truncated",
        }
    }

    /// Faults on the way back lose the answer of a vendor that has acted; faults of a front end mean that it never got the call.
    pub(super) fn usual_effect(self) -> Effect {
        match self {
            Self::Failure | Self::Html { .. } | Self::Redirect | Self::Status { .. } | Self::Throttle { .. } => Effect::None,
            Self::Cut
            | Self::Drip { .. }
            | Self::Empty
            | Self::Garbage
            | Self::Hang
            | Self::Latency { .. }
            | Self::Reset
            | Self::Truncated => Effect::Applied,
        }
    }

    /// Whether the caller gets the vendor's real answer in the end.
    pub(super) fn passes_the_answer_on(self) -> bool {
        matches!(self, Self::Drip { .. } | Self::Latency { .. })
    }
}

/// The fault that is armed at one vendor.
#[derive(Debug, Default)]
pub(super) struct Switch {
    armed: Mutex<Option<Fault>>,
}

impl Switch {
    pub(super) fn arm(&self, fault: Fault) {
        *self.lock() = Some(fault);
    }

    pub(super) fn disarm(&self) {
        *self.lock() = None;
    }

    pub(super) fn armed(&self) -> Option<Fault> {
        self.lock().clone()
    }

    /// The fault for a call to `path`; the last of its times disarms it.
    pub(super) fn take(&self, path: &str) -> Option<Fault> {
        let mut armed = self.lock();
        let fault = armed.as_mut()?;
        if fault.path.as_deref().is_some_and(|part| !path.contains(part)) {
            return None;
        }
        let played = fault.clone();
        if let Some(times) = fault.times {
            match NonZeroU32::new(times.get() - 1) {
                Some(left) => fault.times = Some(left),
                None => *armed = None,
            }
        }
        Some(played)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Fault>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_disarms_itself_and_minds_its_path() {
        let switch = Switch::default();
        switch.arm("reset,times=2,path=/stop".parse().unwrap());
        assert!(switch.take("/list").is_none());
        assert!(switch.take("/a/stop").is_some());
        assert!(switch.take("/a/stop").is_some());
        assert!(switch.take("/a/stop").is_none());
        assert!(switch.armed().is_none());
    }
}
