//! Every metric, in one table, and the only functions that record them.
//!
//! **Shape**: `request_ended("acme", "stop", Outcome::Done, None, elapsed)` -> `taskgate_requests_total{provider="acme",…} 1`.
//!
//! **Invariants**: labels come from closed sets: providers and actions of the route table, outcomes, reasons. Who records a
//! request that names an unknown provider passes [`NONE`]. Never an id, a path or a text of the caller or vendor.
//!
//! In tests, record inside `metrics::with_local_recorder(&recorder()?, ..)`: a recorder that is local to the thread.
#![expect(clippy::disallowed_macros, reason = "this is the place that the ban points to")]

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::model::answer::Outcome;
use crate::model::reason::Reason;

/// The value of a label that does not apply: the provider of a request to an unknown path, the reason of a success.
pub const NONE: &str = "none";

/// Every metric. One variant, one row of [`Metric::facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is described by its row in `facts`")]
pub enum Metric {
    BuildInfo,
    HttpRefused,
    InFlightRequests,
    Logins,
    Looks,
    RequestDuration,
    Requests,
    SchemaDrift,
    VendorDuration,
    VendorInFlight,
    VendorRetries,
    VendorRetriesWithheld,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up.
    Counter,
    /// Up and down.
    Gauge,
    /// Counts of values in buckets.
    Histogram,
}

impl Kind {
    /// The word of the exposition format.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a metric is: the row of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// The name in the exposition.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What is counted or measured.
    pub unit: Unit,
    /// The labels, in the order of the exposition.
    pub labels: &'static [&'static str],
    /// One line for people.
    pub description: &'static str,
}

impl Metric {
    /// Every metric, in alphabetical order.
    pub const ALL: [Self; 12] = [
        Self::BuildInfo,
        Self::HttpRefused,
        Self::InFlightRequests,
        Self::Logins,
        Self::Looks,
        Self::RequestDuration,
        Self::Requests,
        Self::SchemaDrift,
        Self::VendorDuration,
        Self::VendorInFlight,
        Self::VendorRetries,
        Self::VendorRetriesWithheld,
    ];

    /// The row of this metric.
    ///
    /// ```
    /// use taskgate::telemetry::metrics::Metric;
    /// assert_eq!(Metric::Requests.facts().name, "taskgate_requests_total");
    /// ```
    #[must_use]
    pub const fn facts(self) -> Facts {
        const fn row(name: &'static str, kind: Kind, unit: Unit, labels: &'static [&'static str], description: &'static str) -> Facts {
            Facts {
                name,
                kind,
                unit,
                labels,
                description,
            }
        }
        match self {
            Self::BuildInfo => row(
                "taskgate_build_info",
                Kind::Gauge,
                Unit::Count,
                &["version"],
                "Always 1; the version that runs",
            ),
            Self::HttpRefused => row(
                "taskgate_http_refused_total",
                Kind::Counter,
                Unit::Count,
                &["reason"],
                "Requests and connections that the server refused before any stage saw them",
            ),
            Self::InFlightRequests => row(
                "taskgate_in_flight_requests",
                Kind::Gauge,
                Unit::Count,
                &[],
                "Requests that are being worked on",
            ),
            Self::Logins => row(
                "taskgate_logins_total",
                Kind::Counter,
                Unit::Count,
                &["credential", "result"],
                "Logins at vendors: `ok`, `rejected` (the secret is bad) or `failed`",
            ),
            Self::Looks => row(
                "taskgate_looks_total",
                Kind::Counter,
                Unit::Count,
                &["provider", "purpose"],
                "Looks at tasks and jobs that were begun",
            ),
            Self::RequestDuration => row(
                "taskgate_request_duration_seconds",
                Kind::Histogram,
                Unit::Seconds,
                &["provider", "action"],
                "Time from the head of a request to the head of its answer",
            ),
            Self::Requests => row(
                "taskgate_requests_total",
                Kind::Counter,
                Unit::Count,
                &["provider", "action", "outcome", "reason"],
                "Answered requests",
            ),
            Self::SchemaDrift => row(
                "taskgate_schema_drift_total",
                Kind::Counter,
                Unit::Count,
                &["provider", "action"],
                "Vendor answers that do not fit the schema of their route",
            ),
            Self::VendorDuration => row(
                "taskgate_vendor_duration_seconds",
                Kind::Histogram,
                Unit::Seconds,
                &["provider", "action"],
                "Time of one attempt at a vendor call, connecting included, whether it succeeded or not",
            ),
            Self::VendorInFlight => row(
                "taskgate_vendor_in_flight",
                Kind::Gauge,
                Unit::Count,
                &["provider"],
                "Vendor calls that are under way",
            ),
            Self::VendorRetries => row(
                "taskgate_vendor_retries_total",
                Kind::Counter,
                Unit::Count,
                &["provider", "why"],
                "Attempts beyond the first of a vendor call",
            ),
            Self::VendorRetriesWithheld => row(
                "taskgate_vendor_retries_withheld_total",
                Kind::Counter,
                Unit::Count,
                &["provider", "why"],
                "Attempts that were not repeated because the provider's budget was used up",
            ),
        }
    }

    const fn name(self) -> &'static str {
        self.facts().name
    }
}

/// A recorder with the buckets of the table, for a process or, in tests, for a thread.
///
/// # Errors
///
/// Only when [`DURATION_BUCKETS`] is empty, which a test excludes.
pub fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in Metric::ALL.into_iter().filter(|metric| metric.facts().kind == Kind::Histogram) {
        builder = builder.set_buckets_for_metric(Matcher::Full(metric.name().to_owned()), &DURATION_BUCKETS)?;
    }
    Ok(builder.build_recorder())
}

/// Makes a recorder the one of this process, describes every metric in it and hands out what renders it.
///
/// # Errors
///
/// When the process has a recorder already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let recorder = recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    describe();
    Ok(handle)
}

/// Tells the current recorder what each metric is, and which version runs.
pub fn describe() {
    for metric in Metric::ALL {
        let Facts {
            name,
            kind,
            unit,
            description,
            ..
        } = metric.facts();
        match kind {
            Kind::Counter => describe_counter!(name, unit, description),
            Kind::Gauge => describe_gauge!(name, unit, description),
            Kind::Histogram => describe_histogram!(name, unit, description),
        }
    }
    gauge!(Metric::BuildInfo.name(), "version" => env!("CARGO_PKG_VERSION")).set(1);
}

/// Something that is under way, counted until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the counting"]
pub struct UnderWay(metrics::Gauge);

/// One more request is being worked on.
pub fn request_begins() -> UnderWay {
    UnderWay::begin(gauge!(Metric::InFlightRequests.name()))
}

/// A request was answered, with `reason` unless it succeeded.
pub fn request_ended(provider: &str, action: &str, outcome: Outcome, reason: Option<Reason>, elapsed: Duration) {
    let (provider, action) = (provider.to_owned(), action.to_owned());
    counter!(
        Metric::Requests.name(),
        "provider" => provider.clone(),
        "action" => action.clone(),
        "outcome" => outcome.as_str(),
        "reason" => reason.map_or(NONE, Reason::code),
    )
    .increment(1);
    histogram!(Metric::RequestDuration.name(), "provider" => provider, "action" => action).record(elapsed);
}

/// One more call to this provider is under way.
pub fn vendor_call_begins(provider: &str) -> UnderWay {
    UnderWay::begin(gauge!(Metric::VendorInFlight.name(), "provider" => provider.to_owned()))
}

/// Why a request goes out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// The vendor refused it for its limits, before it acted.
    Limited,
    /// The connection broke, and the route says that a second one is safe.
    Lost,
    /// A kept connection was dead before anything left.
    Stale,
    /// The vendor was not available, and the route says that a second one is safe.
    Unavailable,
    /// Nothing of it left.
    Unsent,
}

impl Rung {
    /// The value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limited => "limited",
            Self::Lost => "lost",
            Self::Stale => "stale",
            Self::Unavailable => "unavailable",
            Self::Unsent => "unsent",
        }
    }
}

/// A request goes out again.
pub fn vendor_retried(provider: &str, why: Rung) {
    counter!(Metric::VendorRetries.name(), "provider" => provider.to_owned(), "why" => why.as_str()).increment(1);
}

/// A request would go out again, but too many do.
pub fn vendor_retry_withheld(provider: &str, why: Rung) {
    counter!(Metric::VendorRetriesWithheld.name(), "provider" => provider.to_owned(), "why" => why.as_str()).increment(1);
}

/// An attempt at a call to a vendor ended, in whatever way.
pub fn vendor_call_ended(provider: &str, action: &str, elapsed: Duration) {
    histogram!(Metric::VendorDuration.name(), "provider" => provider.to_owned(), "action" => action.to_owned()).record(elapsed);
}

/// A login at a vendor ended; `result` is a word of the table.
pub fn login_ended(credential: &str, result: &'static str) {
    counter!(Metric::Logins.name(), "credential" => credential.to_owned(), "result" => result).increment(1);
}

/// A vendor's answer did not fit its schema.
pub fn schema_drifted(provider: &str, action: &str) {
    counter!(Metric::SchemaDrift.name(), "provider" => provider.to_owned(), "action" => action.to_owned()).increment(1);
}

/// Why somebody looks at a task or a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A vendor refused; has the task ended already?
    After,
    /// Before an action: is the task there, has it ended already?
    Before,
    /// Somebody waits for the task to settle.
    Follow,
    /// Somebody waits for the job to end.
    Job,
    /// A caller asks for the task.
    Look,
}

impl Purpose {
    /// The value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::After => "after",
            Self::Before => "before",
            Self::Follow => "follow",
            Self::Job => "job",
            Self::Look => "look",
        }
    }
}

/// A look begins.
pub fn look_begins(provider: &str, purpose: Purpose) {
    counter!(Metric::Looks.name(), "provider" => provider.to_owned(), "purpose" => purpose.as_str()).increment(1);
}

/// The server refused something before any stage saw it.
pub fn http_refused(reason: Reason) {
    counter!(Metric::HttpRefused.name(), "reason" => reason.code()).increment(1);
}

impl UnderWay {
    fn begin(gauge: metrics::Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// Upper bounds in seconds: the gateway's own work ends in the first, a healthy vendor in the middle, the default limit of
/// 10 seconds and longer ones in the last.
pub const DURATION_BUCKETS: [f64; 12] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_tell_kind_and_unit() {
        let names: Vec<_> = Metric::ALL.iter().map(|metric| metric.facts().name).collect();
        for metric in Metric::ALL {
            let facts = metric.facts();
            assert!(facts.name.starts_with("taskgate_"), "{}", facts.name);
            assert_eq!(facts.name.ends_with("_total"), facts.kind == Kind::Counter, "{}", facts.name);
            assert_eq!(facts.name.ends_with("_seconds"), facts.unit == Unit::Seconds, "{}", facts.name);
        }
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
        assert!(DURATION_BUCKETS.is_sorted());
    }

    #[test]
    fn what_is_recorded_is_what_the_table_says() {
        let recorder = recorder().unwrap();
        let handle = recorder.handle();
        let _under_way = metrics::with_local_recorder(&recorder, || {
            describe();
            drop(request_begins());
            request_ended(
                "cheese",
                "stop",
                Outcome::NotDone,
                Some(Reason::TaskNotFound),
                Duration::from_millis(3),
            );
            request_ended(NONE, NONE, Outcome::Done, None, Duration::from_millis(3));
            vendor_call_ended("cheese", "stop", Duration::from_secs(2));
            login_ended("cheese", "ok");
            schema_drifted("cheese", "stop");
            http_refused(Reason::MalformedHttp);
            look_begins("cheese", Purpose::Follow);
            vendor_retried("cheese", Rung::Stale);
            vendor_retry_withheld("cheese", Rung::Unsent);
            (request_begins(), vendor_call_begins("cheese"))
        });
        let text = handle.render();
        for line in [
            r#"taskgate_requests_total{provider="cheese",action="stop",outcome="not_done",reason="TASK_NOT_FOUND"} 1"#,
            r#"taskgate_requests_total{provider="none",action="none",outcome="done",reason="none"} 1"#,
            r#"taskgate_request_duration_seconds_bucket{provider="cheese",action="stop",le="0.005"} 1"#,
            r#"taskgate_vendor_duration_seconds_bucket{provider="cheese",action="stop",le="1"} 0"#,
            r#"taskgate_vendor_in_flight{provider="cheese"} 1"#,
            "taskgate_in_flight_requests 1",
            r#"taskgate_logins_total{credential="cheese",result="ok"} 1"#,
            r#"taskgate_schema_drift_total{provider="cheese",action="stop"} 1"#,
            r#"taskgate_http_refused_total{reason="MALFORMED_HTTP"} 1"#,
            r#"taskgate_looks_total{provider="cheese",purpose="follow"} 1"#,
            r#"taskgate_vendor_retries_total{provider="cheese",why="stale"} 1"#,
            r#"taskgate_vendor_retries_withheld_total{provider="cheese",why="unsent"} 1"#,
            concat!(r#"taskgate_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        for metric in Metric::ALL {
            let facts = metric.facts();
            assert!(
                text.contains(&format!("# TYPE {} {}", facts.name, facts.kind.as_str())),
                "{}",
                facts.name
            );
            assert!(
                text.contains(&format!("# HELP {} {}", facts.name, facts.description)),
                "{}",
                facts.name
            );
        }
    }
}
