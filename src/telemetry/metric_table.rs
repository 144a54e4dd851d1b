//! Every metric, in one table: name, kind, unit, labels, meaning.
//!
//! **Shape**: `Metric::Logins` -> `Facts { name: "taskgate_logins_total", kind: Counter, .. }`.
//!
//! **Invariants**: the match in [`Metric::facts`] has no wildcard; `docs/metrics.md` is made of this table.

use metrics::Unit;

/// Every metric. One variant, one row of [`Metric::facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is described by its row in `facts`")]
pub enum Metric {
    BatchItems,
    BreakerChanges,
    BreakerState,
    BuildInfo,
    ConfigInfo,
    ConfigReloadSucceededAt,
    ConfigReloadSuccessful,
    ConfigReloads,
    GateRefused,
    GateWait,
    HttpRefused,
    IdempotencyBytes,
    IdempotencyEvicted,
    IdempotencyKeys,
    IdempotencyRecords,
    InFlightRequests,
    LogLinesLost,
    Logins,
    Looks,
    RequestDuration,
    Requests,
    SchemaDrift,
    VendorDuration,
    VendorInFlight,
    VendorQueued,
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
    pub const ALL: [Self; 27] = [
        Self::BatchItems,
        Self::BreakerChanges,
        Self::BreakerState,
        Self::BuildInfo,
        Self::ConfigInfo,
        Self::ConfigReloadSucceededAt,
        Self::ConfigReloadSuccessful,
        Self::ConfigReloads,
        Self::GateRefused,
        Self::GateWait,
        Self::HttpRefused,
        Self::IdempotencyBytes,
        Self::IdempotencyEvicted,
        Self::IdempotencyKeys,
        Self::IdempotencyRecords,
        Self::InFlightRequests,
        Self::LogLinesLost,
        Self::Logins,
        Self::Looks,
        Self::RequestDuration,
        Self::Requests,
        Self::SchemaDrift,
        Self::VendorDuration,
        Self::VendorInFlight,
        Self::VendorQueued,
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
            Self::BatchItems => row(
                "taskgate_batch_items_total",
                Kind::Counter,
                Unit::Count,
                &["provider", "action", "outcome", "reason"],
                "Tasks of batches that were answered; a batch itself is one of the requests",
            ),
            Self::BreakerChanges => row(
                "taskgate_breaker_changes_total",
                Kind::Counter,
                Unit::Count,
                &["provider", "state"],
                "Changes of a provider's breaker to this state",
            ),
            Self::BreakerState => row(
                "taskgate_breaker_state",
                Kind::Gauge,
                Unit::Count,
                &["provider", "state"],
                "1 for the state that a provider's breaker is in, 0 for the others",
            ),
            Self::BuildInfo => row(
                "taskgate_build_info",
                Kind::Gauge,
                Unit::Count,
                &["version"],
                "Always 1; the version that runs",
            ),
            Self::ConfigInfo => row(
                "taskgate_config_info",
                Kind::Gauge,
                Unit::Count,
                &["hash"],
                "1 for the configuration that runs, 0 for those that ran before it",
            ),
            Self::ConfigReloadSucceededAt => row(
                "taskgate_config_last_reload_success_timestamp_seconds",
                Kind::Gauge,
                Unit::Seconds,
                &[],
                "When the configuration was last read without a fault, in seconds since 1970",
            ),
            Self::ConfigReloadSuccessful => row(
                "taskgate_config_last_reload_successful",
                Kind::Gauge,
                Unit::Count,
                &[],
                "1 where the files as they were last read are what runs, 0 where they have faults",
            ),
            Self::ConfigReloads => row(
                "taskgate_config_reloads_total",
                Kind::Counter,
                Unit::Count,
                &["result"],
                "Reloads: `applied`, `unchanged`, `rejected` (the files have faults) or `failed`",
            ),
            Self::GateRefused => row(
                "taskgate_gate_refused_total",
                Kind::Counter,
                Unit::Count,
                &["provider", "reason"],
                "Requests to a vendor, looks included, that a limit or the breaker kept back",
            ),
            Self::GateWait => row(
                "taskgate_gate_wait_seconds",
                Kind::Histogram,
                Unit::Seconds,
                &["provider", "cause"],
                "Time that requests waited before they went out, where they had to",
            ),
            Self::HttpRefused => row(
                "taskgate_http_refused_total",
                Kind::Counter,
                Unit::Count,
                &["reason"],
                "Requests and connections that the server refused before any stage saw them",
            ),
            Self::IdempotencyBytes => row(
                "taskgate_idempotency_bytes",
                Kind::Gauge,
                Unit::Bytes,
                &[],
                "What the records of idempotency keys take, as this instance counts it",
            ),
            Self::IdempotencyEvicted => row(
                "taskgate_idempotency_evicted_total",
                Kind::Counter,
                Unit::Count,
                &[],
                "Records of idempotency keys that were given up before their time, as there was no room",
            ),
            Self::IdempotencyKeys => row(
                "taskgate_idempotency_keys_total",
                Kind::Counter,
                Unit::Count,
                &["result"],
                "Requests with an idempotency key: `kept` or `released` for the first, `replayed`, `reconciled`, `unknown`, `in_use` and `reused` for others, `unavailable`, `unrecorded`",
            ),
            Self::IdempotencyRecords => row(
                "taskgate_idempotency_records",
                Kind::Gauge,
                Unit::Count,
                &[],
                "Records of idempotency keys",
            ),
            Self::InFlightRequests => row(
                "taskgate_in_flight_requests",
                Kind::Gauge,
                Unit::Count,
                &[],
                "Requests that are being worked on",
            ),
            Self::LogLinesLost => row(
                "taskgate_log_lines_lost_total",
                Kind::Counter,
                Unit::Count,
                &[],
                "Lines of the log that were given up because standard error is blocked or cannot be written",
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
            Self::VendorQueued => row(
                "taskgate_vendor_queued",
                Kind::Gauge,
                Unit::Count,
                &["provider"],
                "Vendor calls that wait for a place",
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

    pub(super) const fn name(self) -> &'static str {
        self.facts().name
    }
}
