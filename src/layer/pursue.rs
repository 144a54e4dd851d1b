//! Pursue: [`ValidCall`] -> [`Completed`], by as many errands as it takes: looking before and after, acting, following.
//!
//! **Invariants**
//! - An action is one errand; a second one only when the vendor's job says that it did nothing, because the session had expired.
//! - Where its request was repeated after it may have acted, a refusal of the repetition is `unknown` and not `not_done`.
//! - A look never turns what is not known into something that is: after a lost answer nobody looks, and a look that fails
//!   leaves the vendor's refusal as it was.
//! - Waiting never makes an answer worse: what was accepted stays accepted when the time is up, whatever the looks came to.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tower::Service;

use super::errand::{Act, ActForAll, Acted, ActedForAll, Look};
use super::hub::Hub;
use super::resume::Operations;
use super::together::{Fellow, Led, Seat, Turn, Verdict};
use super::translate::Translate;
use super::{CallContext, Completed, CredentialUse, Exchange, Failed, Outbound, Stage, Trail, ValidCall};
use crate::mapping::look::{Settled, Settles, Sighting, values_for_look};
use crate::mapping::reply::Reading;
use crate::model::answer::{Answer, Success};
use crate::model::call::Resumed;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::route::Task;
use crate::telemetry::metrics;
use crate::telemetry::metrics::Purpose;

mod follow;
mod later;

/// The stage.
#[derive(Debug)]
pub struct Pursue<U> {
    errands: Translate<U>,
    hub: Arc<Hub>,
    operations: Operations,
}

impl<U> Pursue<U> {
    /// Pursues calls by these errands; who waits does so at this hub, and what is under way gets a name.
    #[must_use]
    pub fn new(hub: Arc<Hub>, operations: Operations, errands: Translate<U>) -> Self {
        Self { errands, hub, operations }
    }
}

impl<U> Stage<ValidCall> for Pursue<U>
where
    U: Service<Outbound, Response = Exchange, Error = GatewayError> + Clone + Send + Sync + 'static,
    U::Future: Send + 'static,
{
    type Done = Box<Completed>;
    type Failed = Box<Failed>;

    fn run<'a>(
        &'a self,
        context: &'a Arc<CallContext>,
        mut call: ValidCall,
    ) -> impl Future<Output = Result<Box<Completed>, Box<Failed>>> + Send {
        let resumed = call.resumed.take();
        let mut course = Course {
            errands: &self.errands,
            hub: &self.hub,
            operations: &self.operations,
            job: None,
            acts: resumed.is_none() && !call.route.is_look(),
            until: call.wait.filter(|wait| !wait.is_zero()).map(|wait| Instant::now() + wait),
            context,
            call,
            noted: Noted::default(),
            led: None,
        };
        // By itself, so that the futures around it are small.
        Box::pin(async move { course.run(resumed).await })
    }
}

/// One call on its way. What few calls do is boxed, so that the others are small.
struct Course<'a, U> {
    errands: &'a Translate<U>,
    hub: &'a Hub,
    operations: &'a Operations,
    context: &'a Arc<CallContext>,
    call: ValidCall,
    /// The vendor's job for the action, where it made one.
    job: Option<String>,
    /// May anything be sent that acts?
    acts: bool,
    /// Until when the caller wants to wait.
    until: Option<Instant>,
    noted: Noted,
    /// Those for whom it acts as well.
    led: Option<Box<Led>>,
}

/// What the errands tell the log.
#[derive(Default)]
struct Noted {
    waited: Option<Duration>,
    vendor_elapsed: Option<Duration>,
    drift: bool,
}

/// What comes after the action was sent.
type Next<'a> = Pin<Box<dyn Future<Output = Result<Answer, GatewayError>> + Send + 'a>>;

/// What a look said about the task, or why it said nothing.
type Glimpse = Result<Sighting, GatewayError>;

impl<U> Course<'_, U>
where
    U: Service<Outbound, Response = Exchange, Error = GatewayError> + Clone + Send + Sync + 'static,
    U::Future: Send + 'static,
{
    async fn run(&mut self, resumed: Option<Box<Resumed>>) -> Result<Box<Completed>, Box<Failed>> {
        let result = if let Some(resumed) = resumed {
            Box::pin(self.resume(*resumed)).await
        } else if self.call.route.is_look() {
            Box::pin(self.look()).await
        } else {
            let result = self.act().await;
            self.context.doubt.settle(result).map(|answer| self.named(answer))
        };
        let trail = Trail {
            waited: self.noted.waited,
            vendor_elapsed: self.noted.vendor_elapsed,
            drift: self.noted.drift,
            ..Trail::default()
        };
        match result {
            Ok(answer) => Ok(Box::new(Completed { answer, trail })),
            Err(error) => Err(Box::new(Failed { error, trail })),
        }
    }

    /// The caller only looks.
    async fn look(&mut self) -> Result<Answer, GatewayError> {
        match self.glimpse(Purpose::Look).await {
            Ok(sighting) => Ok(sighting.to_look()),
            // It cannot be said whether there is such a task: that is neither "not found" nor a failed look.
            Err(error) if error.reason == Reason::BadVendorResponse => Err(error),
            Err(error) => Err(look_failed(error)),
        }
    }

    async fn act(&mut self) -> Result<Answer, GatewayError> {
        let route = Arc::clone(&self.call.route);
        let plan = &route.pursuit;
        let can_follow = plan.job.is_some() || plan.settles.is_some();
        self.noted.waited = self.call.wait.filter(|_| can_follow);
        if let (true, Some(settles)) = (plan.look_before, &plan.settles) {
            let sighting = Box::pin(self.glimpse(Purpose::Before)).await.map_err(look_failed)?;
            if settles.judge(&sighting) == Settled::Done {
                return Ok(already(&sighting, settles));
            }
        }
        // What follows is boxed, and what was sent is gone by then, so that the others are small.
        let next: Next<'_> = {
            let sent = match self.context.member.as_ref().and_then(|member| member.seat.as_ref()) {
                None => self.send(CredentialUse::Normal).await,
                Some(seat) => Box::pin(self.send_together(seat)).await,
            };
            match sent {
                Ok(answer) if answer.success == Success::Accepted && self.until.is_some() => {
                    let job = self.job.clone();
                    Box::pin(self.follow(answer, job))
                }
                Err(refusal) if plan.look_after.contains(&refusal.reason) => Box::pin(self.after(refusal)),
                result => return result,
            }
        };
        next.await
    }

    /// An answer of what is under way has a name by which it can be asked for, where it can be followed.
    fn named(&self, mut answer: Answer) -> Answer {
        let plan = &self.call.route.pursuit;
        let job = self.job.as_deref().filter(|_| plan.job.is_some());
        let by_task = || {
            let task = self.call.provider.task.as_ref().filter(|_| plan.settles.is_some());
            task.is_some_and(|task| plan.always_seen || values_for_look(&self.call.values, &task.route.schema).is_ok())
        };
        if answer.success == Success::Accepted && self.operations.keys.is_some() && (job.is_some() || by_task()) {
            answer.operation = self.operations.name(&self.call, job, answer.vendor_status);
        }
        answer
    }

    /// Sends the action together with those of others, or has it sent.
    async fn send_together(&mut self, seat: &Seat) -> Result<Answer, GatewayError> {
        let fellow = || Fellow {
            id: self.call.id.clone(),
            values: self.call.values.clone(),
        };
        let Some(turn) = seat.take(fellow) else {
            return self.send(CredentialUse::Normal).await;
        };
        match turn.await {
            Ok(Turn::Lead(led)) => {
                self.led = Some(led);
                let result = self.send(CredentialUse::Normal).await;
                if let Some(led) = self.led.take() {
                    led.tell(result.as_ref().err(), &self.context.doubt);
                }
                result
            }
            Ok(Turn::Told(told)) => {
                self.context.doubt.share(&told.doubt);
                self.acted(told.verdict)
            }
            Err(_) => {
                let detail =
                    "something broke inside taskgate when this task was acted on together with others; the action may have happened";
                Err(GatewayError::new(Reason::Internal, detail))
            }
        }
    }

    /// Sends the action once. Where nobody knows whether the vendor is back, looks first: whatever the look shows, it tells the gate.
    async fn send(&mut self, credentials: CredentialUse) -> Result<Answer, GatewayError> {
        let unseen = self.call.provider.task.is_none();
        match self.try_to_send(credentials, unseen).await {
            Err(kept_back) if kept_back.look_first => Box::pin(self.look_first(credentials, kept_back)).await,
            result => result,
        }
    }

    async fn look_first(&mut self, credentials: CredentialUse, kept_back: GatewayError) -> Result<Answer, GatewayError> {
        let task = self.call.provider.task.clone();
        let looked = match task.map(|task| self.look_errand(&task)) {
            Some(Ok(_)) => Box::pin(self.glimpse(Purpose::Probe)).await,
            // What the call says is not enough to look at its task.
            Some(Err(_)) | None => return self.try_to_send(credentials, true).await,
        };
        match (self.try_to_send(credentials, false).await, looked) {
            // The look did not go out either: its word for how long to wait is the better one.
            (Err(error), Err(look)) if error.look_first => Err(if is_kept_back(&look) { look } else { kept_back }),
            (result, _) => result,
        }
    }

    async fn try_to_send(&mut self, credentials: CredentialUse, unseen: bool) -> Result<Answer, GatewayError> {
        let act = Act {
            call: &self.call,
            credentials,
            unseen,
        };
        let verdict = match &mut self.led {
            None => self.errands.run(self.context, act).await,
            Some(led) => {
                let fellows = &led.fellows;
                match Box::pin(self.errands.run(self.context, ActForAll { lead: act, fellows })).await {
                    Ok(ActedForAll { lead, fellows }) => {
                        led.verdicts = Some(fellows);
                        lead
                    }
                    Err(failed) => Err(failed),
                }
            }
        };
        self.acted(verdict)
    }

    fn acted(&mut self, verdict: Verdict) -> Result<Answer, GatewayError> {
        match verdict {
            Ok(Acted {
                answer,
                job,
                elapsed,
                drift,
            }) => {
                self.note(Some(elapsed), drift);
                self.job = job;
                Ok(answer)
            }
            Err(failed) => Err(self.failed(*failed)),
        }
    }

    /// The vendor refused: the task may have ended already, or be ending, or not be there.
    async fn after(&mut self, mut refusal: GatewayError) -> Result<Answer, GatewayError> {
        let route = Arc::clone(&self.call.route);
        let Some(settles) = &route.pursuit.settles else {
            return Err(refusal);
        };
        match self.glimpse(Purpose::After).await {
            Ok(sighting) if settles.judge(&sighting) == Settled::Done => Ok(already(&sighting, settles)),
            Ok(sighting) if settles.is_under_way(&sighting) => {
                let message = "the task was being stopped already".to_owned();
                self.follow(sighting.to_answer(Success::Accepted, true, Some(message)), None).await
            }
            Ok(sighting) => {
                if refusal.reason == Reason::TaskNotFound {
                    // The vendor refused, but there it is.
                    refusal.reason = Reason::TaskStateConflict;
                    refusal.detail = "the vendor does not find the task for this action, but shows it".to_owned();
                }
                Err(refusal.with_metadata("state", sighting.state.as_str()))
            }
            Err(error) if error.reason == Reason::TaskNotFound => {
                refusal.reason = Reason::TaskNotFound;
                error.detail.clone_into(&mut refusal.detail);
                Err(refusal)
            }
            Err(error) => {
                let why = error.internal.as_deref().unwrap_or(&error.detail);
                let note = format!("a look after the refusal failed with {}: {why}", error.reason.code());
                refusal.internal = Some(match refusal.internal.take() {
                    Some(internal) => format!("{internal}; {note}"),
                    None => note,
                });
                Err(refusal)
            }
        }
    }

    /// One look of this call alone.
    async fn glimpse(&mut self, purpose: Purpose) -> Glimpse {
        let look = look_request(&self.call, self.call.provider.task.as_ref())?;
        let task = Arc::clone(&look.task);
        let values = look.values.clone();
        metrics::look_begins(&self.call.provider.name, purpose);
        match self.errands.run(self.context, look).await {
            Ok(seen) => {
                self.note(Some(seen.elapsed), false);
                task.rules.sight(&seen.page, &values)
            }
            Err(failed) => Err(self.failed(*failed)),
        }
    }

    fn look_errand(&self, task: &Arc<Task>) -> Result<Look, GatewayError> {
        look_request(&self.call, Some(task))
    }

    /// What a job came to.
    fn settled(&mut self, reading: Reading) -> Result<Answer, GatewayError> {
        self.noted.drift |= reading.drift;
        reading.result
    }

    fn failed(&mut self, Failed { error, trail }: Failed) -> GatewayError {
        self.note(trail.vendor_elapsed, trail.drift);
        error
    }

    /// Adds what an errand tells to what the log will say.
    fn note(&mut self, vendor_elapsed: Option<Duration>, drift: bool) {
        self.noted.drift |= drift;
        if let Some(elapsed) = vendor_elapsed {
            self.noted.vendor_elapsed = Some(self.noted.vendor_elapsed.unwrap_or_default() + elapsed);
        }
    }
}

/// A look at the task of a call.
pub(super) fn look_request(call: &ValidCall, task: Option<&Arc<Task>>) -> Result<Look, GatewayError> {
    let Some(task) = task else {
        let detail = "the provider has no way to look at a task";
        return Err(GatewayError::new(Reason::MappingFailed, detail));
    };
    let values = values_for_look(&call.values, &task.route.schema)?;
    let rendered = task.route.request.render(&values.bindings());
    Ok(Look {
        provider: Arc::clone(&call.provider),
        task: Arc::clone(task),
        request: rendered.map_err(crate::mapping::request::RequestError::into_gateway_error)?,
        values,
    })
}

/// Did the gate of the provider keep the request back?
fn is_kept_back(error: &GatewayError) -> bool {
    matches!(
        error.reason,
        Reason::ProviderBusy | Reason::ProviderRateLimited | Reason::ProviderSuspended
    )
}

/// Nothing was left to do.
fn already(sighting: &Sighting, settles: &Settles) -> Answer {
    let message = settles.remark(sighting.state);
    sighting.to_answer(Success::Done, true, message)
}

/// A look failed, and nothing else was done. What says why nobody can look stays as it is; whatever speaks of an action, or
/// would leave its effect open, does not fit a look.
pub(super) fn look_failed(error: GatewayError) -> GatewayError {
    match error.reason {
        Reason::DeadlineExceeded
        | Reason::MappingFailed
        | Reason::Overloaded
        | Reason::ProviderBusy
        | Reason::ProviderNotConfigured
        | Reason::ProviderRateLimited
        | Reason::ProviderSuspended
        | Reason::TaskNotFound
        | Reason::UnrepresentableValue
        | Reason::VendorAuth
        | Reason::VendorPermissionDenied
        | Reason::VendorQuotaExceeded
        | Reason::VendorRateLimited
        | Reason::VendorTlsFailed
        | Reason::VendorUnavailable
        | Reason::VendorUnreachable => error,
        reason => {
            let detail = match reason {
                Reason::VendorTimeout | Reason::VendorConnectionLost => {
                    "the vendor did not answer when it was asked about the task; nothing was done"
                }
                _ => "the vendor's answer to a look at the task says nothing about it; nothing was done",
            };
            GatewayError {
                reason: Reason::LookFailed,
                detail: detail.to_owned(),
                retry_after: error.retry_after.or(Some(LOOK_RETRY_AFTER)),
                ..error
            }
            .with_metadata("cause", reason.code())
        }
    }
}

/// What keeps a vendor from showing a task mostly passes within seconds.
const LOOK_RETRY_AFTER: Duration = Duration::from_secs(5);
