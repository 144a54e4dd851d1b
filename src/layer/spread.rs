//! Spread: [`BatchCall`] -> one call per task, each through the stages of a single one, and one answer about all of them.
//!
//! **Invariants**
//! - Every task that was named is answered, in its place: what breaks one call, a panic too, is the result of that one.
//! - Nothing is sent where the batch itself is not valid, or what all its tasks share is not.
//! - Batches leave room: to a provider at most [`MOST_PLACES`] of their requests are under way, and never more than half of its places.
//! - Calls that one vendor request can carry are sent so (`together.rs`); in everything else each is for itself.
//!
//! **Errors**: those of the envelope, of the path, and `OVERLOADED`; all of them before anything is sent.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::observe::{log_line, rounded_up};
use super::preview::{Checked, Preview, many::Many};
use super::rescue::{MAX_INSTANCE_CHARS, Spoken, complain, panicked, speak};
use super::resolve::{Meters, configured, resolve};
use super::together::{Circle, Member, Seat};
use super::{CallContext, Doubt, Failed, Reply, Stage, Tasks, Trail, caller_reason};
use crate::idempotency::is_said_again;
use crate::mapping::envelope;
use crate::mapping::validate::check_body;
use crate::model::answer::Outcome;
use crate::model::batch::{Summary, Unsuccessful};
use crate::model::call::{BatchCall, TaskCall};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::path;
use crate::route::{Route, RouteTable};
use crate::telemetry::metrics::{NONE, batch_item_ended, schema_drifted};

/// The stage.
#[derive(Debug)]
pub struct Spread {
    tasks: Tasks,
    table: Arc<RouteTable>,
    /// What batches may have under way, by provider.
    places: HashMap<String, Arc<Semaphore>>,
    /// How many tasks of batches may be under way at all.
    room: Semaphore,
    meters: Arc<Meters>,
}

impl Spread {
    /// In front of the stages for tasks, which it shares with single calls; batches are counted by these meters.
    #[must_use]
    pub fn new(table: Arc<RouteTable>, meters: Arc<Meters>, tasks: Tasks) -> Self {
        let places = table.providers.iter().map(|(name, provider)| {
            let places = (provider.limits.in_flight / 2).clamp(1, MOST_PLACES);
            (name.clone(), Arc::new(Semaphore::new(places)))
        });
        Self {
            places: places.collect(),
            room: Semaphore::new(MOST_TASKS),
            meters,
            tasks,
            table,
        }
    }
}

impl Stage<BatchCall> for Spread {
    type Done = Reply;
    type Failed = Box<Failed>;

    async fn run(&self, context: &Arc<CallContext>, batch: BatchCall) -> Result<Reply, Box<Failed>> {
        let mut trail = self.meters.trail_of_many(&batch);
        let calls = match self.calls(batch) {
            Ok(calls) => calls,
            Err(error) => return Err(Box::new(Failed { error, trail })),
        };
        let Ok(_room) = self.room.try_acquire_many(u32::try_from(calls.len()).unwrap_or(u32::MAX)) else {
            let detail = "taskgate works on as many tasks of batches as it can; nothing was done";
            let error = GatewayError::new(Reason::Overloaded, detail).with_retry_after(RETRY_AFTER);
            return Err(Box::new(Failed { error, trail }));
        };
        if let Some(many) = &mut trail.many {
            many.traced = calls.iter().any(|call| self.route(call).is_some_and(|route| route.trace));
        }
        let seats = self.seats(&calls);
        let each = calls.into_iter().zip(seats).map(|(call, seat)| {
            let context = Arc::new(self.context(context, &call, seat));
            self.one(context, call).boxed()
        });
        let mut summary = Summary::default();
        let mut results = Vec::new();
        let mut heard = false;
        for told in join_all(Vec::from_iter(each)).await {
            summary.count(told.outcome);
            heard |= told.heard;
            trail.waited = trail.waited.or(told.waited);
            results.push(told.document);
        }
        Ok(Reply::Spoken(Box::new(Spoken {
            status: summary.status(),
            document: summary.to_document(&results, &context.request_id),
            error: None,
            outcome: summary.outcome(),
            vendor: None,
            heard,
            trail,
            headers: Vec::new(),
        })))
    }
}

/// What is told of one task.
struct Told {
    outcome: Outcome,
    /// Would it be said again, were it a call of its own with an idempotency key?
    heard: bool,
    document: String,
    waited: Option<Duration>,
}

impl Spread {
    /// Shows what would be sent: each call is checked as if it were made, and those that would share a request are shown with it.
    ///
    /// # Errors
    /// Those of the batch as a whole.
    pub async fn show(&self, context: &CallContext, batch: BatchCall, preview: &Preview) -> Result<Reply, Box<Failed>> {
        let trail = preview.trail_of_many(self.meters.trail_of_many(&batch));
        let calls = match self.calls(batch) {
            Ok(calls) => calls,
            Err(error) => return Err(Box::new(Failed { error, trail })),
        };
        let mut checked = Vec::with_capacity(calls.len());
        for call in &calls {
            // Others have their turn between two of a thousand.
            tokio::task::yield_now().await;
            let one = path::check_id(&call.id).map_err(Into::into);
            checked.push(one.and_then(|()| preview.check(call.clone())));
        }
        let mut shown = Many::default();
        for (most, members) in self.parties(&calls) {
            let valid = Vec::from_iter(members.into_iter().filter(|at| matches!(checked.get(*at), Some(Ok(_)))));
            for party in valid.chunks(most) {
                tokio::task::yield_now().await;
                let together = Vec::from_iter(party.iter().filter_map(|at| checked.get(*at)?.as_ref().ok()));
                let Err(error) = shown.request(preview, context, &together) else {
                    continue;
                };
                // Who would be sent together fails together.
                for at in party {
                    if let Some(one) = checked.get_mut(*at) {
                        refuse(one, &error);
                    }
                }
            }
        }
        let mut summary = Summary::default();
        for (call, one) in calls.iter().zip(checked) {
            let failed = match one {
                Ok(checked) => {
                    summary.count(Outcome::NotDone);
                    shown.valid(&checked);
                    continue;
                }
                Err(failed) => *failed,
            };
            let action = call.action.as_deref().unwrap_or_default();
            let spoken = complain(failed, &instance(&call.provider, &call.id, action), &context.request_id);
            summary.count(spoken.outcome);
            shown.refused(document(spoken, (&call.provider, &call.id, action), &context.request_id));
        }
        Ok(Reply::Spoken(Box::new(Spoken {
            status: shown.status(),
            document: shown.to_document(&summary, &context.request_id),
            error: None,
            outcome: Outcome::NotDone,
            vendor: None,
            heard: false,
            trail,
            headers: Vec::new(),
        })))
    }

    /// The calls of a batch that is valid as a whole.
    fn calls(&self, batch: BatchCall) -> Result<Vec<TaskCall>, GatewayError> {
        let shared = match &batch.provider {
            Some(provider) => {
                let call = TaskCall {
                    provider: provider.clone(),
                    action: Some(batch.action.clone()),
                    ..TaskCall::default()
                };
                let routed = resolve(&self.table, call)?;
                configured(&routed.provider)?;
                Some(routed)
            }
            None if self.table.verbs.contains(&batch.action) => None,
            None => {
                let verbs: Vec<&str> = self.table.verbs.iter().map(String::as_str).collect();
                let detail = format!("there is no such action; there are {}", verbs.join(", "));
                return Err(GatewayError::new(Reason::UnknownAction, detail).with_metadata("actions", verbs));
            }
        };
        let calls = envelope::calls(batch)?;
        if let (Some(routed), Some(first)) = (shared, calls.first()) {
            check_body(&routed.route.action, first.body.clone(), &routed.provider, &routed.route)?;
        }
        Ok(calls)
    }

    /// A seat for each call that can be sent together with others.
    fn seats(&self, calls: &[TaskCall]) -> Vec<Option<Seat>> {
        let mut seats: Vec<Option<Seat>> = calls.iter().map(|_| None).collect();
        for (most, members) in self.parties(calls).into_iter().filter(|(_, members)| members.len() > 1) {
            for (at, seat) in members.iter().zip(Circle::seats(members.len(), most)) {
                if let Some(place) = seats.get_mut(*at) {
                    *place = Some(seat);
                }
            }
        }
        seats
    }

    /// The places of the calls that can be sent together, those of the same route with the same values but for their ids, and how many
    /// of them one request carries; in the order of the first of each.
    fn parties(&self, calls: &[TaskCall]) -> Vec<(usize, Vec<usize>)> {
        let mut parties: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut known: HashMap<(&str, String), usize> = HashMap::new();
        for (at, call) in calls.iter().enumerate() {
            let next = parties.len();
            let (most, party) = match self.route(call).and_then(|route| route.batch) {
                Some(most) => (most, *known.entry((call.provider.as_str(), said(&call.body))).or_insert(next)),
                None => (1, next),
            };
            match parties.get_mut(party) {
                Some((_, members)) => members.push(at),
                None => parties.push((most, vec![at])),
            }
        }
        parties
    }

    fn route(&self, call: &TaskCall) -> Option<&Arc<Route>> {
        self.table.providers.get(&call.provider)?.actions.get(call.action.as_deref()?)
    }

    /// What one call of the batch travels with: its time and its caller are those of the batch, all else is its own.
    fn context(&self, batch: &CallContext, call: &TaskCall, seat: Option<Seat>) -> CallContext {
        let places = self.places.get(&call.provider).map(Arc::clone);
        CallContext {
            request_id: Arc::clone(&batch.request_id),
            deadline: batch.deadline,
            credentials: batch.credentials.clone(),
            doubt: Doubt::default(),
            trace: batch.trace.clone(),
            // The key of a batch is that of each of its calls: the first that acts marks it.
            claim: batch.claim.clone(),
            // A provider that is not known is not called.
            member: places.map(|places| Arc::new(Member { places, seat })),
        }
    }

    /// One call from here to its vendor and back, whatever comes of it.
    async fn one(&self, context: Arc<CallContext>, call: TaskCall) -> Told {
        let begun = Instant::now();
        let request_id = Arc::clone(&context.request_id);
        let is_told = self.route(&call).is_some_and(|route| route.trace);
        let ids = (context.trace.is_callers() || is_told).then(|| context.trace.ids());
        let (provider, id, action) = (call.provider.clone(), call.id.clone(), call.action.clone().unwrap_or_default());
        let place = instance(&provider, &id, &action);
        let known = Trail {
            route: self.route(&call).map(Arc::clone),
            // What is no id may be anything, and of any length.
            id: path::check_id(&id).is_ok().then(|| id.clone()),
            caller_reason: caller_reason(&call.body),
            ..Trail::default()
        };
        let below = async {
            path::check_id(&call.id)?;
            self.tasks.run(&context, call).await
        };
        let spoken = match AssertUnwindSafe(below).catch_unwind().await {
            Ok(Ok(completed)) => speak(*completed, &request_id),
            Ok(Err(failed)) => complain(*failed, &place, &request_id),
            Err(panic) => {
                let failed = Failed {
                    error: panicked(panic.as_ref()),
                    trail: known.clone(),
                };
                complain(failed, &place, &request_id)
            }
        };
        let mut spoken = spoken;
        // What was refused before its route was looked up is noted all the same.
        if spoken.trail.route.is_none() {
            spoken.trail = known;
        }
        let route = spoken.trail.route.as_ref();
        let reason = spoken.error.as_ref().map(|error| error.reason);
        batch_item_ended(route.map_or(NONE, |route| &route.provider), &action, spoken.outcome, reason);
        if let (true, Some(route)) = (spoken.trail.drift, route) {
            schema_drifted(&route.provider, &route.action);
        }
        log_line(&spoken, &request_id, ids, begun.elapsed());
        Told {
            outcome: spoken.outcome,
            heard: is_said_again(spoken.outcome, reason, spoken.heard),
            waited: spoken.trail.waited,
            document: document(spoken, (&provider, &id, &action), &request_id),
        }
    }
}

/// A call that cannot be shown, as it could not be sent.
fn refuse(one: &mut Result<Checked, Box<Failed>>, error: &GatewayError) {
    if let Ok(checked) = one {
        let trail = std::mem::take(&mut checked.trail);
        *one = Err(Box::new(Failed {
            error: error.clone(),
            trail,
        }));
    }
}

/// The result of one task, as it stands in the answer about all.
fn document(spoken: Spoken, (provider, id, action): (&str, &str, &str), request_id: &str) -> String {
    let Some(error) = &spoken.error else { return spoken.document };
    Unsuccessful {
        provider,
        id,
        action,
        outcome: spoken.outcome,
        vendor: spoken.vendor.as_ref().map(|(status, id)| (*status, id.as_deref())),
        retry_after: error.retry_after.map(rounded_up),
        problem: &spoken.document,
    }
    .to_document(request_id)
}

/// The path of a call for one task alone.
fn instance(provider: &str, id: &str, action: &str) -> String {
    let segment = |text| utf8_percent_encode(text, SEGMENT);
    let path = format!("/tasks/{}/{}:{action}", segment(provider), segment(id));
    path.chars().take(MAX_INSTANCE_CHARS).collect()
}

/// What a call says that its vendor is told of.
fn said(body: &Map<String, Value>) -> String {
    let told: BTreeMap<&String, &Value> = body.iter().filter(|(name, _)| *name != "reason").collect();
    serde_json::to_string(&told).unwrap_or_default()
}

/// More at once would be a vendor's whole capacity by default, and what a batch gains by them is little.
pub const MOST_PLACES: usize = 8;
/// Four of the largest batches at once; each task holds some KiB while its batch is under way.
pub const MOST_TASKS: usize = 4 * envelope::MAX_ITEMS;
/// Batches take seconds.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Everything in a segment that does not stand for itself (RFC 3986 section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
