//! What was accepted is followed while the caller waits: by its job as long as that says something, then by looking at its task.
//!
//! **Invariants**: waiting never makes an answer worse: what was accepted stays accepted when the time is up, whatever the looks came to. A
//! request is sent once more only where the vendor's job says that it did nothing.

use std::sync::Arc;

use tokio::time::Instant;
use tower::Service;

use super::{Course, is_kept_back};
use crate::layer::errand::Ask;
use crate::layer::{CredentialUse, Exchange, Outbound};
use crate::mapping::job::{JobReading, JobRules};
use crate::mapping::look::{Settled, Settles, values_for_look};
use crate::mapping::request::Fresh;
use crate::model::answer::{Answer, Success, TaskState};
use crate::model::error::GatewayError;
use crate::route::Task;
use crate::telemetry::metrics;
use crate::telemetry::metrics::Purpose;

impl<U> Course<'_, U>
where
    U: Service<Outbound, Response = Exchange, Error = GatewayError> + Clone + Send + Sync + 'static,
    U::Future: Send + 'static,
{
    /// Follows what was accepted, where the caller wants to wait: by its job as long as that says something, then by looking.
    pub(super) async fn follow(&mut self, accepted: Answer, job: Option<String>) -> Result<Answer, GatewayError> {
        let Some(until) = self.until else { return Ok(accepted) };
        let route = Arc::clone(&self.call.route);
        let mut accepted = accepted;
        if let (Some(rules), Some(job)) = (&route.pursuit.job, job) {
            match self.follow_job(rules, accepted, job, until).await? {
                Followed::Ended(answer) => return Ok(answer),
                Followed::Lost(answer) => accepted = answer,
            }
        }
        match (&route.pursuit.settles, self.call.provider.task.clone()) {
            (Some(settles), Some(task)) => self.follow_task(settles, &task, accepted, until).await,
            _ => Ok(accepted),
        }
    }

    async fn follow_job(
        &mut self,
        rules: &JobRules,
        mut accepted: Answer,
        mut job: String,
        until: Instant,
    ) -> Result<Followed, GatewayError> {
        let mut beat = self.hub.beat(rules.every, until);
        let mut renewed = false;
        let mut unclear = 0;
        while beat.next().await {
            metrics::look_begins(&self.call.provider.name, Purpose::Job);
            let ask = Ask {
                call: &self.call,
                job: &job,
            };
            let asked = tokio::time::timeout_at(beat.until(), self.errands.run(self.context, ask)).await;
            match asked {
                Ok(Ok(JobReading::Pending)) => unclear = 0,
                Ok(Ok(JobReading::Settled(reading))) => {
                    let answer = self.settled(reading)?;
                    return Ok(match answer.success {
                        Success::Done => Followed::Ended(answer),
                        Success::Accepted => Followed::Lost(answer),
                    });
                }
                Ok(Ok(JobReading::Expired(_))) if self.acts && !renewed => {
                    // The job never got past the session, so the action was not carried out: once more, as a new call.
                    renewed = true;
                    self.call.values.call = Fresh::new(&uuid::Uuid::new_v4().simple().to_string());
                    let answer = self.send(CredentialUse::Renewed).await?;
                    let next = self.job.clone();
                    match (answer.success, next) {
                        (Success::Accepted, Some(next)) => job = next,
                        (Success::Accepted, None) => return Ok(Followed::Lost(answer)),
                        (Success::Done, _) => return Ok(Followed::Ended(answer)),
                    }
                    accepted = answer;
                    beat = self.hub.beat(rules.every, until);
                }
                Ok(Ok(JobReading::Expired(reading))) => return self.settled(reading).map(Followed::Ended),
                // Nobody was asked, so nothing is unclear.
                Ok(Err(failed)) if is_kept_back(&failed.error) => {}
                Ok(Ok(JobReading::Unclear) | Err(_)) if unclear < MAX_UNCLEAR => unclear += 1,
                Ok(Ok(JobReading::Unclear) | Err(_)) => return Ok(Followed::Lost(accepted)),
                Err(_time_is_up) => break,
            }
        }
        Ok(Followed::Ended(accepted))
    }

    async fn follow_task(&mut self, settles: &Settles, task: &Arc<Task>, accepted: Answer, until: Instant) -> Result<Answer, GatewayError> {
        let Ok(look) = self.look_errand(task) else { return Ok(accepted) };
        let mut watch = self.hub.watch(&look, &self.context.credentials.passed, until);
        let mut answer = accepted;
        let mut before: Option<TaskState> = None;
        loop {
            let (errands, context, look) = (self.errands, self.context, look.clone());
            let sight = watch
                .next(|| async move {
                    metrics::look_begins(&look.provider.name, Purpose::Follow);
                    let seen = errands.run(context, look).await;
                    seen.map(|seen| seen.page).map_err(|failed| failed.error)
                })
                .await;
            let Some(sight) = sight else { return Ok(answer) };
            // A look that fails, or does not show the task, proves nothing about the action.
            let Ok(sighting) = sight.as_ref().as_ref().map_err(drop).and_then(|page| {
                let values = values_for_look(&self.call.values, &task.route.schema).map_err(drop)?;
                task.rules.sight(page, &values).map_err(drop)
            }) else {
                continue;
            };
            match settles.judge(&sighting) {
                Settled::Done => {
                    // What was said of the beginning is not true of the end.
                    let already = answer.message.take().filter(|_| answer.already);
                    let message = settles.remark(sighting.state).or(already);
                    return Ok(sighting.to_answer(Success::Done, answer.already, message));
                }
                // The first look may show what was before the action; a failure that stays is one.
                Settled::Failed if before.is_some() => {
                    let detail = "the vendor took the request, but the action failed: `vendor` has its word for the state";
                    return Err(sighting.to_failure(detail));
                }
                Settled::No if before == Some(TaskState::Stopping) && runs(sighting.state) => {
                    let detail = "the task was being stopped and now runs again: the vendor gave up";
                    return Err(sighting.to_failure(detail));
                }
                Settled::Failed | Settled::No => {}
            }
            before = Some(sighting.state);
            if settles.judge(&sighting) == Settled::No && sighting.state != TaskState::Unknown {
                let message = answer.message.take();
                answer = sighting.to_answer(Success::Accepted, answer.already, message);
            }
        }
    }
}

/// What following a job came to.
enum Followed {
    /// The answer to the caller.
    Ended(Answer),
    /// The job says nothing (more); the task itself may.
    Lost(Answer),
}

fn runs(state: TaskState) -> bool {
    matches!(state, TaskState::Pending | TaskState::Running)
}

/// A job that says nothing three times in a row, forgotten or behind a broken proxy, is given up.
const MAX_UNCLEAR: u32 = 2;
