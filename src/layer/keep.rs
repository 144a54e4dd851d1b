//! Keep: [`Admitted`] -> [`Asked`]: what comes with an idempotency key is done once, however often it is asked for.
//!
//! **Invariants**: what is kept are the status and the words that the first caller gets. A call whose outcome nobody knows is never made
//! again: a repetition looks at its task, and hears what that shows or what the first one heard.
//!
//! **Source**: draft-ietf-httpapi-idempotency-key-header-07 section 2.6.

use std::sync::Arc;

use futures_util::future::Either;
use http::{HeaderValue, Method};
use tokio::time::Instant;

use super::rescue::{self, Spoken};
use super::resolve::{Meters, resolve};
use super::{Admitted, CallContext, Completed, Failed, Keyed, Reply, Stage, Trail, caller_reason};
use crate::idempotency::{Doubt, Entry, Fingerprint, IDEMPOTENCY_REPLAYED, Keeper, Kept, Scope, Settled};
use crate::model::call::{Asked, TaskCall};
use crate::model::error::GatewayError;
use crate::route::RouteTable;
use crate::telemetry::metrics;
use crate::telemetry::metrics::KeyResult;

/// The stage.
#[derive(Debug)]
pub struct Keep<S> {
    inner: S,
    keeper: Keeper,
    table: Arc<RouteTable>,
    meters: Arc<Meters>,
}

impl<S> Keep<S> {
    /// Keeps keys there; by the table answers that are said again are counted as those of their route.
    #[must_use]
    pub fn new(keeper: Keeper, table: Arc<RouteTable>, meters: Arc<Meters>, inner: S) -> Self {
        Self {
            inner,
            keeper,
            table,
            meters,
        }
    }
}

impl<S> Stage<Admitted> for Keep<S>
where
    S: Stage<Asked, Done = Reply, Failed = Box<Failed>>,
{
    type Done = Reply;
    type Failed = Box<Failed>;

    fn run<'a>(
        &'a self,
        context: &'a Arc<CallContext>,
        Admitted { asked, keyed }: Admitted,
    ) -> impl Future<Output = Result<Reply, Box<Failed>>> + Send {
        match keyed {
            None => Either::Left(self.inner.run(context, asked)),
            Some(keyed) => Either::Right(Box::pin(self.run_once(context, asked, keyed))),
        }
    }
}

impl<S> Keep<S>
where
    S: Stage<Asked, Done = Reply, Failed = Box<Failed>>,
{
    async fn run_once(&self, context: &Arc<CallContext>, asked: Asked, keyed: Box<Keyed>) -> Result<Reply, Box<Failed>> {
        let (scope, body) = match &asked {
            Asked::Task(call) => (scope(Some(&call.provider), call.action.as_deref().unwrap_or_default()), &call.body),
            Asked::Batch(call) => (scope(call.provider.as_deref(), &format!("batch {}", call.action)), &call.body),
            // Nothing that looks has a key.
            Asked::Preview(_) | Asked::PreviewMany(_) | Asked::Operation(_) => return self.inner.run(context, asked).await,
        };
        let fingerprint = Fingerprint::of(&Method::POST, &keyed.path, body, &context.credentials.passed);
        let lease = context.deadline.saturating_duration_since(Instant::now());
        let begun = self.keeper.begin(&scope, &keyed.key, fingerprint, lease).await;
        self.note_census();
        match begun {
            Err(error) => {
                metrics::key_met(KeyResult::of_refusal(error.reason));
                let trail = self.trail(&asked);
                Err(Box::new(Failed { error, trail }))
            }
            Ok(Entry::Replay(kept)) => {
                metrics::key_met(KeyResult::Replayed);
                Ok(again(kept, self.trail(&asked)))
            }
            Ok(Entry::Doubtful(doubt)) => self.reconcile(context, asked, doubt).await,
            Ok(Entry::Fresh(claim)) => {
                let claim = Arc::new(claim);
                let mut context = Arc::clone(context);
                Arc::make_mut(&mut context).claim = Some(Arc::clone(&claim));
                let spoken = match self.inner.run(&context, asked).await {
                    Ok(Reply::Completed(completed)) => rescue::speak(*completed, &context.request_id),
                    Ok(Reply::Spoken(spoken)) => *spoken,
                    Err(failed) => rescue::complain(*failed, &keyed.path, &context.request_id),
                };
                let settled = claim.settle(keep(&spoken), spoken.heard).await;
                metrics::key_met(match settled {
                    Settled::Kept => KeyResult::Kept,
                    Settled::Released => KeyResult::Released,
                    Settled::Unrecorded => KeyResult::Unrecorded,
                });
                self.note_census();
                Ok(Reply::Spoken(Box::new(spoken)))
            }
        }
    }

    /// Nobody knows what the first call came to: a look may show that what it was for is so.
    async fn reconcile(&self, context: &Arc<CallContext>, asked: Asked, doubt: Doubt) -> Result<Reply, Box<Failed>> {
        let trail = self.trail(&asked);
        let look = async {
            let Asked::Task(call) = asked else { return None };
            let resumed = TaskCall {
                wait: None,
                resumed: Some(Box::default()),
                ..call
            };
            match self.inner.run(context, Asked::Task(resumed)).await {
                Ok(Reply::Completed(completed)) => Some(keep(&rescue::speak(as_action(*completed), &context.request_id))),
                Ok(Reply::Spoken(_)) | Err(_) => None,
            }
        };
        match doubt.reconcile(look).await {
            Ok((kept, found)) => {
                metrics::key_met(match found {
                    true => KeyResult::Reconciled,
                    false => KeyResult::Unknown,
                });
                Ok(again(kept, trail))
            }
            Err(error) => {
                metrics::key_met(KeyResult::Unknown);
                Err(Box::new(Failed { error, trail }))
            }
        }
    }

    /// What a call that is not made is counted and logged as.
    fn trail(&self, asked: &Asked) -> Trail {
        let call = match asked {
            Asked::Task(call) => call,
            Asked::Batch(call) => return self.meters.trail_of_many(call),
            Asked::Preview(_) | Asked::PreviewMany(_) | Asked::Operation(_) => return Trail::default(),
        };
        let route = match resolve(&self.table, call.clone()) {
            Ok(routed) => routed.route,
            Err(_) => return Trail::default(),
        };
        Trail {
            meter: self.meters.of(&route),
            route: Some(route),
            id: Some(call.id.clone()),
            caller_reason: caller_reason(&call.body),
            ..Trail::default()
        }
    }

    fn note_census(&self) {
        if let Some(census) = self.keeper.census() {
            metrics::keys_kept(census.records, census.bytes, census.evicted);
        }
    }
}

fn scope(provider: Option<&str>, action: &str) -> Scope {
    Scope {
        // Nobody proves who they are to taskgate: all callers are one.
        caller: None,
        provider: provider.map(str::to_owned),
        action: action.to_owned(),
    }
}

fn keep(spoken: &Spoken) -> Kept {
    Kept {
        status: spoken.status,
        body: spoken.document.clone().into(),
        outcome: spoken.outcome,
        reason: spoken.error.as_ref().map(|error| error.reason),
    }
}

/// What was found by following is told as the action's own answer.
fn as_action(mut completed: Completed) -> Completed {
    completed.trail.resumed = false;
    completed
}

/// The first answer, said again.
fn again(kept: Kept, trail: Trail) -> Reply {
    let document = String::from_utf8_lossy(&kept.body).into_owned();
    Reply::Spoken(Box::new(Spoken {
        status: kept.status,
        document,
        error: kept.reason.map(|reason| GatewayError::new(reason, "")),
        outcome: kept.outcome,
        vendor: None,
        heard: false,
        trail,
        headers: vec![(IDEMPOTENCY_REPLAYED, REPLAYED)],
    }))
}

const REPLAYED: HeaderValue = HeaderValue::from_static("true");
