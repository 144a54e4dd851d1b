//! The only functions that record metrics, and the recorder; the metrics themselves are in `metric_table`.
//!
//! **Shape**: `request_ended("acme", "stop", Outcome::Done, None, elapsed)` -> `taskgate_requests_total{provider="acme",…} 1`.
//!
//! **Invariants**: labels come from closed sets: providers and actions of the route table, outcomes, reasons. Who records a
//! request that names an unknown provider passes [`NONE`]. Never an id, a path or a text of the caller or vendor.
//!
//! What is recorded for every request goes through meters, [`RequestMeter`] and [`ProviderMeter`], which keep their handles: a label
//! is looked up once.
//!
//! In tests, record inside `metrics::with_local_recorder(&recorder()?, ..)`: a recorder that is local to the thread.
#![expect(clippy::disallowed_macros, reason = "this is the place that the ban points to")]

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use metrics::{Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub use super::metric_table::{Facts, Kind, Metric};
use crate::model::answer::Outcome;
use crate::model::reason::Reason;

/// The value of a label that does not apply: the provider of a request to an unknown path, the reason of a success.
pub const NONE: &str = "none";

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
pub struct UnderWay<'a>(Cow<'a, Gauge>);

/// The gauge of all requests that are being worked on.
#[derive(Debug, Default)]
pub struct InFlight(OnceLock<Gauge>);

impl InFlight {
    /// One more request is being worked on.
    pub fn begins(&self) -> UnderWay<'_> {
        UnderWay::begin(Cow::Borrowed(self.0.get_or_init(|| gauge!(Metric::InFlightRequests.name()))))
    }
}

/// One more request is being worked on.
pub fn request_begins() -> UnderWay<'static> {
    UnderWay::begin(Cow::Owned(gauge!(Metric::InFlightRequests.name())))
}

/// What the requests of one route are recorded with. Handles are made when they are first needed, so that nothing is exposed that
/// never happened.
#[derive(Debug)]
pub struct RequestMeter {
    provider: String,
    action: String,
    used: OnceLock<Box<RequestHandles>>,
}

#[derive(Debug)]
struct RequestHandles {
    done: OnceLock<Counter>,
    accepted: OnceLock<Counter>,
    /// In the order of [`Reason::ALL`], each with the outcome of its reason.
    refused: [OnceLock<Counter>; Reason::ALL.len()],
    duration: Histogram,
}

impl RequestMeter {
    /// For the requests of this route.
    #[must_use]
    pub fn new(provider: &str, action: &str) -> Self {
        Self {
            provider: provider.to_owned(),
            action: action.to_owned(),
            used: OnceLock::new(),
        }
    }

    /// A request was answered, with `reason` unless it succeeded.
    pub fn ended(&self, outcome: Outcome, reason: Option<Reason>, elapsed: Duration) {
        let handles = self
            .used
            .get_or_init(|| Box::new(RequestHandles::new(&self.provider, &self.action)));
        let kept = match (outcome, reason) {
            (Outcome::Done, None) => Some(&handles.done),
            (Outcome::Accepted, None) => Some(&handles.accepted),
            (_, Some(reason)) if outcome == reason.facts().outcome => handles.refused.get(reason as usize),
            _ => None,
        };
        let counter = || {
            counter!(
                Metric::Requests.name(),
                "provider" => self.provider.clone(),
                "action" => self.action.clone(),
                "outcome" => outcome.as_str(),
                "reason" => reason.map_or(NONE, Reason::code),
            )
        };
        match kept {
            Some(kept) => kept.get_or_init(counter).increment(1),
            None => counter().increment(1),
        }
        handles.duration.record(elapsed);
    }

    /// A vendor's answer did not fit its schema.
    pub fn drifted(&self) {
        schema_drifted(&self.provider, &self.action);
    }
}

impl RequestHandles {
    fn new(provider: &str, action: &str) -> Self {
        Self {
            done: OnceLock::new(),
            accepted: OnceLock::new(),
            refused: [const { OnceLock::new() }; Reason::ALL.len()],
            duration: histogram!(Metric::RequestDuration.name(), "provider" => provider.to_owned(), "action" => action.to_owned()),
        }
    }
}

/// A request was answered, with `reason` unless it succeeded.
pub fn request_ended(provider: &str, action: &str, outcome: Outcome, reason: Option<Reason>, elapsed: Duration) {
    RequestMeter::new(provider, action).ended(outcome, reason, elapsed);
}

/// A task of a batch was answered, with `reason` unless it succeeded.
pub fn batch_item_ended(provider: &str, action: &str, outcome: Outcome, reason: Option<Reason>) {
    counter!(
        Metric::BatchItems.name(),
        "provider" => provider.to_owned(),
        "action" => action.to_owned(),
        "outcome" => outcome.as_str(),
        "reason" => reason.map_or(NONE, Reason::code),
    )
    .increment(1);
}

/// What the calls to one provider are recorded with; handles are made when they are first needed.
#[derive(Debug)]
pub struct ProviderMeter {
    provider: String,
    in_flight: OnceLock<Gauge>,
    /// By action, in the order of their first calls. There are a few; more than have a place are looked up each time.
    durations: [OnceLock<(String, Histogram)>; KEPT_ACTIONS],
}

impl ProviderMeter {
    /// For the calls to this provider.
    #[must_use]
    pub fn new(provider: &str) -> Self {
        Self {
            provider: provider.to_owned(),
            in_flight: OnceLock::new(),
            durations: [const { OnceLock::new() }; KEPT_ACTIONS],
        }
    }

    /// One more call to this provider is under way.
    pub fn call_begins(&self) -> UnderWay<'_> {
        let gauge = || gauge!(Metric::VendorInFlight.name(), "provider" => self.provider.clone());
        UnderWay::begin(Cow::Borrowed(self.in_flight.get_or_init(gauge)))
    }

    /// An attempt at a call to the vendor ended, in whatever way.
    pub fn call_ended(&self, action: &str, elapsed: Duration) {
        let duration = || histogram!(Metric::VendorDuration.name(), "provider" => self.provider.clone(), "action" => action.to_owned());
        for place in &self.durations {
            let (known, kept) = place.get_or_init(|| (action.to_owned(), duration()));
            if known == action {
                return kept.record(elapsed);
            }
        }
        duration().record(elapsed);
    }
}

/// One more call to this provider is under way.
pub fn vendor_call_begins(provider: &str) -> UnderWay<'static> {
    UnderWay::begin(Cow::Owned(gauge!(Metric::VendorInFlight.name(), "provider" => provider.to_owned())))
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
#[cold]
pub fn vendor_retried(provider: &str, why: Rung) {
    counter!(Metric::VendorRetries.name(), "provider" => provider.to_owned(), "why" => why.as_str()).increment(1);
}

/// A request would go out again, but too many do.
#[cold]
pub fn vendor_retry_withheld(provider: &str, why: Rung) {
    counter!(Metric::VendorRetriesWithheld.name(), "provider" => provider.to_owned(), "why" => why.as_str()).increment(1);
}

/// An attempt at a call to a vendor ended, in whatever way.
pub fn vendor_call_ended(provider: &str, action: &str, elapsed: Duration) {
    ProviderMeter::new(provider).call_ended(action, elapsed);
}

/// One more call to this provider waits for a place.
pub fn vendor_call_waits(provider: &str) -> UnderWay<'static> {
    UnderWay::begin(Cow::Owned(gauge!(Metric::VendorQueued.name(), "provider" => provider.to_owned())))
}

/// What a request waits for before it goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// For one of those under way to end.
    Place,
    /// For its turn under a rate.
    Rate,
}

impl WaitFor {
    /// The value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Place => "place",
            Self::Rate => "rate",
        }
    }
}

/// A request had to wait before it went out, or was kept back.
#[cold]
pub fn gate_waited(provider: &str, cause: WaitFor, elapsed: Duration) {
    histogram!(Metric::GateWait.name(), "provider" => provider.to_owned(), "cause" => cause.as_str()).record(elapsed);
}

/// A limit or the breaker kept a request back.
#[cold]
pub fn gate_refused(provider: &str, reason: Reason) {
    counter!(Metric::GateRefused.name(), "provider" => provider.to_owned(), "reason" => reason.code()).increment(1);
}

/// The state of a provider's breaker, one of `states`; `changed` unless it is the first.
pub fn breaker_is(provider: &str, state: &'static str, states: &[&'static str], changed: bool) {
    for one in states {
        let value = if *one == state { 1.0 } else { 0.0 };
        gauge!(Metric::BreakerState.name(), "provider" => provider.to_owned(), "state" => *one).set(value);
    }
    if changed {
        counter!(Metric::BreakerChanges.name(), "provider" => provider.to_owned(), "state" => state).increment(1);
    }
}

/// A login at a vendor ended; `result` is a word of the table.
pub fn login_ended(credential: &str, result: &'static str) {
    counter!(Metric::Logins.name(), "credential" => credential.to_owned(), "result" => result).increment(1);
}

/// This configuration runs from now on, instead of another one; the files have been read without a fault.
pub fn config_runs(hash: &str, before: Option<&str>) {
    if let Some(before) = before.filter(|before| *before != hash) {
        gauge!(Metric::ConfigInfo.name(), "hash" => before.to_owned()).set(0);
    }
    gauge!(Metric::ConfigInfo.name(), "hash" => hash.to_owned()).set(1);
    gauge!(Metric::ConfigReloadSuccessful.name()).set(1);
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
    gauge!(Metric::ConfigReloadSucceededAt.name()).set(Timestamp::now().as_second() as f64);
}

/// A reload ended; `result` is a word of the table.
pub fn config_reloaded(result: &'static str, successful: bool) {
    counter!(Metric::ConfigReloads.name(), "result" => result).increment(1);
    if !successful {
        gauge!(Metric::ConfigReloadSuccessful.name()).set(0);
    }
}

/// So many lines of the log have been given up since the start.
pub fn log_lines_lost(total: u64) {
    counter!(Metric::LogLinesLost.name()).absolute(total);
}

/// A vendor's answer did not fit its schema.
#[cold]
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
    /// Before an action, when nobody knows whether the vendor is back.
    Probe,
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
            Self::Probe => "probe",
        }
    }
}

/// A look begins.
pub fn look_begins(provider: &str, purpose: Purpose) {
    counter!(Metric::Looks.name(), "provider" => provider.to_owned(), "purpose" => purpose.as_str()).increment(1);
}

/// What became of a request with an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyResult {
    /// The first call is under way.
    InUse,
    /// It was the first, and its answer is kept.
    Kept,
    /// A look has found out what the first call came to.
    Reconciled,
    /// It was the first and did nothing: the key is free.
    Released,
    /// The answer of the first call was said again.
    Replayed,
    /// The key was given for another request.
    Reused,
    /// The key could not be kept; nothing was done.
    Unavailable,
    /// Nobody knows what the first call came to.
    Unknown,
    /// It was the first, and its answer could not be recorded.
    Unrecorded,
}

impl KeyResult {
    /// That of a key which was refused for this reason.
    #[must_use]
    pub fn of_refusal(reason: Reason) -> Self {
        match reason {
            Reason::IdempotencyKeyInUse => Self::InUse,
            Reason::IdempotencyKeyReused => Self::Reused,
            _ => Self::Unavailable,
        }
    }

    /// The value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "in_use",
            Self::Kept => "kept",
            Self::Reconciled => "reconciled",
            Self::Released => "released",
            Self::Replayed => "replayed",
            Self::Reused => "reused",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Unrecorded => "unrecorded",
        }
    }
}

/// A request came with an idempotency key.
pub fn key_met(result: KeyResult) {
    counter!(Metric::IdempotencyKeys.name(), "result" => result.as_str()).increment(1);
}

/// How full the store of idempotency keys is, and how many were given up before their time since it began.
pub fn keys_kept(records: usize, bytes: usize, evicted: u64) {
    gauge!(Metric::IdempotencyRecords.name()).set(records as f64);
    gauge!(Metric::IdempotencyBytes.name()).set(bytes as f64);
    counter!(Metric::IdempotencyEvicted.name()).absolute(evicted);
}

/// The server refused something before any stage saw it.
pub fn http_refused(reason: Reason) {
    counter!(Metric::HttpRefused.name(), "reason" => reason.code()).increment(1);
}

impl<'a> UnderWay<'a> {
    fn begin(gauge: Cow<'a, Gauge>) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// Providers have one to three actions, and a look.
const KEPT_ACTIONS: usize = 8;
/// Upper bounds in seconds: the gateway's own work ends in the first, a healthy vendor in the middle, the default limit of
/// 10 seconds and longer ones in the last.
pub const DURATION_BUCKETS: [f64; 12] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::Unit;

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
    fn a_meter_counts_each_outcome_and_reason_for_itself() {
        let recorder = recorder().unwrap();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let (requests, calls) = (RequestMeter::new("cheese", "stop"), ProviderMeter::new("cheese"));
            for _ in 0..2 {
                requests.ended(Outcome::Done, None, Duration::ZERO);
                requests.ended(Outcome::Accepted, None, Duration::ZERO);
                for reason in Reason::ALL {
                    requests.ended(reason.facts().outcome, Some(reason), Duration::ZERO);
                }
                // An outcome that is not that of its reason is counted as it is.
                requests.ended(Outcome::Unknown, Some(Reason::TaskNotFound), Duration::ZERO);
                for action in 0..2 * KEPT_ACTIONS {
                    calls.call_ended(&action.to_string(), Duration::ZERO);
                }
            }
        });
        let text = handle.render();
        let mut expected = vec![("done", NONE), ("accepted", NONE), ("unknown", "TASK_NOT_FOUND")];
        expected.extend(Reason::ALL.map(|reason| (reason.facts().outcome.as_str(), reason.code())));
        for (outcome, reason) in expected {
            let line = format!(r#"taskgate_requests_total{{provider="cheese",action="stop",outcome="{outcome}",reason="{reason}"}} 2"#);
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        for action in 0..2 * KEPT_ACTIONS {
            let line = format!(r#"taskgate_vendor_duration_seconds_count{{provider="cheese",action="{action}"}} 2"#);
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
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
            batch_item_ended("cheese", "stop", Outcome::Unknown, Some(Reason::VendorTimeout));
            vendor_call_ended("cheese", "stop", Duration::from_secs(2));
            login_ended("cheese", "ok");
            config_runs("3f9c", None);
            config_runs("77ab", Some("3f9c"));
            config_reloaded("applied", true);
            config_reloaded("rejected", false);
            log_lines_lost(7);
            schema_drifted("cheese", "stop");
            http_refused(Reason::MalformedHttp);
            key_met(KeyResult::of_refusal(Reason::IdempotencyKeyReused));
            key_met(KeyResult::Replayed);
            keys_kept(3, 4096, 2);
            look_begins("cheese", Purpose::Follow);
            vendor_retried("cheese", Rung::Stale);
            vendor_retry_withheld("cheese", Rung::Unsent);
            gate_waited("cheese", WaitFor::Place, Duration::from_millis(3));
            gate_refused("cheese", Reason::ProviderBusy);
            breaker_is("cheese", "closed", &["closed", "open"], false);
            breaker_is("cheese", "open", &["closed", "open"], true);
            drop(vendor_call_waits("cheese"));
            (request_begins(), vendor_call_begins("cheese"))
        });
        let text = handle.render();
        for line in [
            r#"taskgate_requests_total{provider="cheese",action="stop",outcome="not_done",reason="TASK_NOT_FOUND"} 1"#,
            r#"taskgate_requests_total{provider="none",action="none",outcome="done",reason="none"} 1"#,
            r#"taskgate_batch_items_total{provider="cheese",action="stop",outcome="unknown",reason="VENDOR_TIMEOUT"} 1"#,
            r#"taskgate_request_duration_seconds_bucket{provider="cheese",action="stop",le="0.005"} 1"#,
            r#"taskgate_vendor_duration_seconds_bucket{provider="cheese",action="stop",le="1"} 0"#,
            r#"taskgate_vendor_in_flight{provider="cheese"} 1"#,
            "taskgate_in_flight_requests 1",
            r#"taskgate_logins_total{credential="cheese",result="ok"} 1"#,
            r#"taskgate_config_info{hash="3f9c"} 0"#,
            r#"taskgate_config_info{hash="77ab"} 1"#,
            r#"taskgate_config_reloads_total{result="rejected"} 1"#,
            "taskgate_config_last_reload_successful 0",
            "taskgate_log_lines_lost_total 7",
            r#"taskgate_schema_drift_total{provider="cheese",action="stop"} 1"#,
            r#"taskgate_http_refused_total{reason="MALFORMED_HTTP"} 1"#,
            r#"taskgate_idempotency_keys_total{result="reused"} 1"#,
            r#"taskgate_idempotency_keys_total{result="replayed"} 1"#,
            "taskgate_idempotency_records 3",
            "taskgate_idempotency_bytes 4096",
            "taskgate_idempotency_evicted_total 2",
            r#"taskgate_looks_total{provider="cheese",purpose="follow"} 1"#,
            r#"taskgate_vendor_retries_total{provider="cheese",why="stale"} 1"#,
            r#"taskgate_vendor_retries_withheld_total{provider="cheese",why="unsent"} 1"#,
            r#"taskgate_gate_wait_seconds_bucket{provider="cheese",cause="place",le="0.005"} 1"#,
            r#"taskgate_gate_refused_total{provider="cheese",reason="PROVIDER_BUSY"} 1"#,
            r#"taskgate_breaker_state{provider="cheese",state="closed"} 0"#,
            r#"taskgate_breaker_state{provider="cheese",state="open"} 1"#,
            r#"taskgate_breaker_changes_total{provider="cheese",state="open"} 1"#,
            r#"taskgate_vendor_queued{provider="cheese"} 0"#,
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
