//! Preview: a call that is checked as if it were made, and shown in place of being sent (`validate_only`, AIP-163).
//!
//! **Shape**: `POST /tasks/prime/15:stop?validate_only=true` -> 200 with the vendor's request, its secrets masked, and the rules that
//! would apply; or the error that the call would get before anything is sent.
//!
//! Many calls are shown as one answer ([`many`]).
//!
//! **Invariants**: nothing is sent, to no vendor and no identity service, and nothing is counted against a limit: no way to a vendor is
//! known here. What it shows is made by the code that makes the requests that are sent; a secret is a sensitive header and shown as
//! asterisks, whatever its length.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use serde::Serialize;

use super::errand::{Act, ActForAll, Errand as _};
use super::pursue::{look_failed, look_request};
use super::rescue::Spoken;
use super::resolve::{configured, resolve};
use super::together::Fellow;
use super::validate::valid;
use super::{CallContext, CredentialUse, Failed, RoutedCall, Trail, ValidCall, caller_reason};
use crate::mapping::fault::StatusPattern;
use crate::mapping::reply::{OutcomeRule, Verdict};
use crate::model::answer::Outcome;
use crate::model::call::{TaskCall, UpstreamRequest};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::route::{Allowance, Credentials, Endpoint, Provider, Repeat, Route, RouteTable};
use crate::telemetry::metrics::{NONE, RequestMeter};

pub mod many;

/// The headers that credentials add to a request, secrets marked sensitive; what a login would give is made up. Fails where the call
/// would fail for its credentials or its headers before anything is sent. The last are the caller's headers that are handed on.
pub type Prove = fn(&Credentials, &mut UpstreamRequest, &Endpoint, &HeaderMap) -> Result<Vec<(HeaderName, HeaderValue)>, GatewayError>;

/// A vendor's request as people may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The vendor's method.
    pub method: Method,
    /// Scheme and authority.
    pub origin: String,
    /// Path and query.
    pub target: String,
    /// Names and values, sorted; secrets are masked.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Shown {
    /// A request of a route, with what `prove` makes of the credentials.
    ///
    /// # Errors
    /// Those of `prove`, and `PROVIDER_NOT_CONFIGURED`.
    pub fn of(
        provider: &Provider,
        route: &Route,
        mut request: UpstreamRequest,
        prove: impl FnOnce(&Credentials, &mut UpstreamRequest, &Endpoint) -> Result<Vec<(HeaderName, HeaderValue)>, GatewayError>,
    ) -> Result<Self, GatewayError> {
        configured(provider)?;
        let mut shown = Self {
            method: request.method.clone(),
            origin: String::new(),
            target: String::new(),
            headers: Vec::new(),
            body: Bytes::new(),
        };
        if let Ok(connection) = &provider.connection {
            let endpoint = &connection.endpoint;
            shown.origin = format!("{}://{}", endpoint.scheme, endpoint.authority);
            shown.target.clone_from(&endpoint.prefix);
            shown.headers.push(("host".to_owned(), endpoint.authority.to_string()));
            let bare = Credentials::None;
            let used = if route.request.bare { &bare } else { &connection.credentials };
            let applied = prove(used, &mut request, endpoint)?;
            shown
                .headers
                .extend(applied.iter().map(|(name, value)| (name.to_string(), text(value))));
        }
        if provider.limits.close {
            shown.headers.push(("connection".to_owned(), "close".to_owned()));
        }
        let own = request.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        shown.headers.extend(own);
        shown.headers.sort();
        shown.target.push_str(&request.target);
        shown.body = request.body;
        Ok(shown)
    }
}

fn text(value: &HeaderValue) -> String {
    match value.is_sensitive() {
        true => MASK.to_owned(),
        false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    }
}

/// The end of the way for a call that is not made.
pub struct Preview {
    table: Arc<RouteTable>,
    prove: Prove,
    /// What these calls are counted with, by provider; none for batches whose tasks name theirs.
    meters: HashMap<Option<String>, Arc<RequestMeter>>,
}

/// A call that would be made.
#[derive(Debug)]
pub struct Checked {
    call: ValidCall,
    /// What is known of it for the log.
    pub trail: Trail,
}

impl Preview {
    /// Shows the calls of a table.
    #[must_use]
    pub fn new(table: Arc<RouteTable>, prove: Prove) -> Self {
        let providers = table.providers.keys().cloned().map(Some).chain([None]);
        let meter = |name: Option<String>| {
            let meter = RequestMeter::new(name.as_deref().unwrap_or(NONE), VALIDATE_ONLY);
            (name, Arc::new(meter))
        };
        Self {
            meters: providers.map(meter).collect(),
            table,
            prove,
        }
    }

    /// Checks a call and shows what would be sent.
    ///
    /// # Errors
    /// As the call itself, as far as it gets before anything is sent.
    pub fn show(&self, context: &CallContext, call: TaskCall) -> Result<Spoken, Box<Failed>> {
        let checked = self.check(call)?;
        match self.document(context, &checked) {
            Ok(document) => Ok(Spoken {
                status: 200,
                document,
                error: None,
                outcome: Outcome::NotDone,
                vendor: None,
                heard: false,
                trail: checked.trail,
                headers: Vec::new(),
            }),
            Err(error) => {
                let trail = checked.trail;
                Err(Box::new(Failed { error, trail }))
            }
        }
    }

    /// Checks a call, up to the making of its request.
    ///
    /// # Errors
    /// As the call itself.
    pub fn check(&self, call: TaskCall) -> Result<Checked, Box<Failed>> {
        let mut trail = Trail {
            validated_only: true,
            ..Trail::default()
        };
        let routed = match resolve(&self.table, call) {
            Ok(routed) => routed,
            Err(error) => return Err(Box::new(Failed { error, trail })),
        };
        trail.meter = self.meters.get(&Some(routed.provider.name.clone())).cloned();
        trail.route = Some(Arc::clone(&routed.route));
        trail.id = Some(routed.call.id.clone());
        trail.caller_reason = caller_reason(&routed.call.body);
        match ready(routed) {
            Ok(call) => Ok(Checked { call, trail }),
            Err(error) => Err(Box::new(Failed { error, trail })),
        }
    }

    /// A batch is counted and logged as one call that was only checked.
    #[must_use]
    pub fn trail_of_many(&self, mut trail: Trail) -> Trail {
        trail.validated_only = true;
        let provider = trail.many.as_ref().map(|many| &many.provider);
        trail.meter = provider.and_then(|provider| self.meters.get(provider)).cloned();
        trail
    }

    fn document(&self, context: &CallContext, checked: &Checked) -> Result<String, GatewayError> {
        let shown = self.shown(context, &[checked])?;
        let ValidCall { provider, route, .. } = &checked.call;
        let document = Document {
            valid: checked.valid(),
            request: Request::of(&shown),
            rules: Rules::of(provider, route),
            request_id: &context.request_id,
        };
        Ok(written(&document))
    }

    /// The one request for all these calls, of one route and with the same values but for their ids.
    fn shown(&self, context: &CallContext, together: &[&Checked]) -> Result<Shown, GatewayError> {
        let Some((Checked { call, .. }, others)) = together.split_first() else {
            return Err(GatewayError::new(Reason::MappingFailed, "a request for nobody"));
        };
        let (provider, route) = (&call.provider, &call.route);
        let lead = Act {
            call,
            credentials: CredentialUse::Normal,
            unseen: provider.task.is_none(),
        };
        let fellow = |fellow: &&Checked| Fellow {
            id: fellow.call.id.clone(),
            values: fellow.call.values.clone(),
        };
        let fellows = Vec::from_iter(others.iter().map(fellow));
        let request = match fellows.as_slice() {
            [] => lead.render()?,
            fellows => ActForAll { lead, fellows }.render()?,
        };
        let passed = &context.credentials.passed;
        let prove = |credentials: &_, request: &mut _, endpoint: &_| (self.prove)(credentials, request, endpoint, passed);
        Shown::of(provider, route, request, prove)
    }
}

/// The call as far as it gets before its request is made.
fn ready(call: RoutedCall) -> Result<ValidCall, GatewayError> {
    configured(&call.provider)?;
    let call = valid(call)?;
    if call.route.pursuit.look_before && call.route.pursuit.settles.is_some() {
        // It is sent first, so what keeps it from being sent keeps the call.
        let task = call.provider.task.as_ref();
        look_request(&call, task).map_err(look_failed)?;
    }
    Ok(call)
}

impl Checked {
    fn name(&self) -> String {
        format!("tasks/{}/{}", self.call.provider.name, self.call.id)
    }

    fn valid(&self) -> Valid<'_> {
        Valid {
            task: self.name(),
            provider: &self.call.provider.name,
            id: &self.call.id,
            action: &self.call.route.action,
            validate_only: true,
            outcome: Outcome::NotDone.as_str(),
        }
    }
}

/// The text of a part of an answer.
fn written(part: &impl Serialize) -> String {
    serde_json::to_string(part).expect("members are texts, numbers and booleans, and names are texts")
}

impl fmt::Debug for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preview").finish_non_exhaustive()
    }
}

/// What is said of a call that would be made.
#[derive(Serialize)]
struct Valid<'a> {
    task: String,
    provider: &'a str,
    id: &'a str,
    action: &'a str,
    validate_only: bool,
    outcome: &'static str,
}

/// The answer, in the order in which people read it.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    valid: Valid<'a>,
    request: Request<'a>,
    rules: Rules<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Request<'a> {
    method: &'a str,
    url: String,
    headers: BTreeMap<&'a str, String>,
    body: Option<String>,
}

impl<'a> Request<'a> {
    fn of(shown: &'a Shown) -> Self {
        let mut headers: BTreeMap<&str, String> = BTreeMap::new();
        for (name, value) in &shown.headers {
            let text = headers.entry(name).or_default();
            // Lines of one name are one list (RFC 9110 section 5.3).
            let separator = if text.is_empty() { "" } else { ", " };
            *text = format!("{text}{separator}{value}");
        }
        Self {
            method: shown.method.as_str(),
            url: format!("{}{}", shown.origin, shown.target),
            headers,
            body: (!shown.body.is_empty()).then(|| String::from_utf8_lossy(&shown.body).into_owned()),
        }
    }
}

/// What would apply to the call.
#[derive(Serialize)]
struct Rules<'a> {
    look_before: bool,
    look_after: Vec<&'static str>,
    repeat: &'static str,
    limited_before_acting: bool,
    /// What a wait follows.
    follows: Vec<&'static str>,
    outcomes: Vec<Rule>,
    limits: Limits<'a>,
}

#[derive(Serialize)]
struct Rule {
    status: String,
    when: Option<String>,
    then: &'static str,
}

#[derive(Serialize)]
struct Limits<'a> {
    connect_timeout_ms: u64,
    timeout_ms: u64,
    in_flight: usize,
    queue: usize,
    queue_wait_ms: u64,
    rates: Vec<Named<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    rate: String,
}

impl<'a> Rules<'a> {
    fn of(provider: &'a Provider, route: &'a Route) -> Self {
        let (plan, limits) = (&route.pursuit, &provider.limits);
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let named = |allowance: &'a Arc<Allowance>| Named {
            name: &allowance.name,
            rate: allowance.rate.to_string(),
        };
        let follows = [
            ("job", plan.job.is_some()),
            ("task", plan.settles.is_some() && provider.task.is_some()),
        ];
        Self {
            look_before: plan.look_before,
            look_after: plan.look_after.iter().map(|reason| reason.code()).collect(),
            repeat: match route.repeat {
                Repeat::Never => "never",
                Repeat::SameKey => "same-key",
                Repeat::Safe => "safe",
            },
            limited_before_acting: route.limited_before_acting,
            follows: follows.into_iter().filter_map(|(what, does)| does.then_some(what)).collect(),
            outcomes: route.reply.outcome.iter().map(Rule::of).collect(),
            limits: Limits {
                connect_timeout_ms: ms(limits.connect_timeout),
                timeout_ms: ms(limits.timeout),
                in_flight: limits.in_flight,
                queue: limits.queue.length,
                queue_wait_ms: ms(limits.queue.wait),
                rates: limits.allowances.iter().chain(&route.allowances).map(named).collect(),
            },
        }
    }
}

impl Rule {
    fn of(rule: &OutcomeRule) -> Self {
        Self {
            status: statuses(&rule.status),
            when: rule.when.as_ref().map(ToString::to_string),
            then: match &rule.verdict {
                Verdict::Success(rule) => rule.success.outcome().as_str(),
                Verdict::Fault { reason: Some(reason), .. } => reason.code(),
                Verdict::Fault { reason: None, .. } => "fault",
            },
        }
    }
}

/// `200`, `2xx`, `any`, `200, 500-599`.
fn statuses(pattern: &StatusPattern) -> String {
    let one = |(first, last): &(u16, u16)| match (first, last) {
        (0, &u16::MAX) => "any".to_owned(),
        (first, last) if first == last => first.to_string(),
        (first, last) if first % 100 == 0 && *last == first + 99 => format!("{}xx", first / 100),
        (first, last) => format!("{first}-{last}"),
    };
    Vec::from_iter(pattern.ranges.iter().map(one)).join(", ")
}

/// The names of the headers alone: for those who have no ways to a vendor, and so no signatures.
///
/// # Errors
/// None.
pub fn names_only(
    credentials: &Credentials,
    _request: &mut UpstreamRequest,
    _endpoint: &Endpoint,
    _passed: &HeaderMap,
) -> Result<Vec<(HeaderName, HeaderValue)>, GatewayError> {
    let mut masked = HeaderValue::from_static(MASK);
    masked.set_sensitive(true);
    Ok(credentials.header_names().into_iter().map(|name| (name, masked.clone())).collect())
}

/// Stands for a secret, whatever its length.
pub const MASK: &str = "********";
/// What these calls are called where an action has its verb, in metrics. No verb is called so.
const VALIDATE_ONLY: &str = "validate_only";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_written_as_in_a_routes_file() {
        for (ranges, text) in [
            (vec![(200, 200)], "200"),
            (vec![(200, 299)], "2xx"),
            (vec![(0, u16::MAX)], "any"),
            (vec![(200, 200), (201, 204), (500, 599)], "200, 201-204, 5xx"),
        ] {
            assert_eq!(statuses(&StatusPattern { ranges }), text);
        }
    }
}
