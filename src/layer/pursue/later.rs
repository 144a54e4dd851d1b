//! An accepted action that is asked for later: by its job as long as that says something, then by looking at its task.
//!
//! **Invariants**: nothing is sent that acts. What was accepted stays accepted until the vendor says otherwise: a look that fails, or shows
//! nothing, proves nothing about the action. Where it is not known whether the vendor took it, only what it was for can settle it.

use std::time::Duration;

use tower::Service;

use super::{Course, Glimpse};
use crate::layer::errand::Ask;
use crate::layer::{Exchange, Outbound};
use crate::mapping::job::JobReading;
use crate::mapping::look::{Settled, Settles};
use crate::model::answer::{Answer, Success, TaskState};
use crate::model::call::Resumed;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::telemetry::metrics;
use crate::telemetry::metrics::Purpose;

impl<U> Course<'_, U>
where
    U: Service<Outbound, Response = Exchange, Error = GatewayError> + Clone + Send + Sync + 'static,
    U::Future: Send + 'static,
{
    /// What became of an action, and where the caller wants to wait, what becomes of it until then.
    pub(super) async fn resume(&mut self, resumed: Resumed) -> Result<Answer, GatewayError> {
        self.noted.waited = self.call.wait;
        let Some(vendor_status) = resumed.vendor_status else {
            return self.reached().await;
        };
        let mut answer = accepted(vendor_status);
        let mut job = resumed.job;
        match self.ask_job(job.as_deref()).await? {
            Some(JobReading::Expired(reading)) => return self.settled(reading),
            Some(JobReading::Settled(reading)) => {
                answer = self.settled(reading)?;
                job = None;
            }
            Some(JobReading::Pending) => return self.follow(answer, job).await,
            Some(JobReading::Unclear) | None => {}
        }
        if answer.success == Success::Done {
            return Ok(answer);
        }
        let answer = self.seen(answer, resumed.age).await?;
        match answer.success {
            Success::Done => Ok(answer),
            Success::Accepted => self.follow(answer, job).await,
        }
    }

    /// Nobody knows whether the vendor took it: is what it was for so, whoever did it?
    async fn reached(&mut self) -> Result<Answer, GatewayError> {
        let route = std::sync::Arc::clone(&self.call.route);
        let unclear = || GatewayError::new(Reason::LookFailed, "a look does not say whether the action happened");
        let settles = route.pursuit.settles.as_ref().ok_or_else(unclear)?;
        let sighting = self.glimpse(Purpose::Follow).await?;
        match settles.judge(&sighting) {
            Settled::Done => Ok(super::already(&sighting, settles)),
            Settled::Failed | Settled::No => Err(unclear()),
        }
    }

    /// Asks the job, where there is one.
    async fn ask_job(&mut self, job: Option<&str>) -> Result<Option<JobReading>, GatewayError> {
        let (Some(_), Some(job)) = (&self.call.route.pursuit.job, job) else {
            return Ok(None);
        };
        metrics::look_begins(&self.call.provider.name, Purpose::Job);
        let ask = Ask { call: &self.call, job };
        match self.errands.run(self.context, ask).await {
            Ok(reading) => Ok(Some(reading)),
            Err(failed) if is_for_who_asks(&failed.error) => Err(failed.error),
            Err(_) => Ok(None),
        }
    }

    /// Looks at the task, where it can be looked at.
    async fn seen(&mut self, answer: Answer, age: Duration) -> Result<Answer, GatewayError> {
        let route = std::sync::Arc::clone(&self.call.route);
        let (Some(settles), Some(task)) = (&route.pursuit.settles, self.call.provider.task.clone()) else {
            return Ok(answer);
        };
        // A look that comes too soon may show what was before the action.
        let is_settled = age >= (task.every * 2).max(SETTLING);
        let glimpse = self.glimpse(Purpose::Follow).await;
        told(settles, glimpse, answer, is_settled)
    }
}

/// What a look says of an action that was accepted.
fn told(settles: &Settles, glimpse: Glimpse, answer: Answer, is_settled: bool) -> Result<Answer, GatewayError> {
    let sighting = match glimpse {
        Ok(sighting) => sighting,
        Err(error) if is_for_who_asks(&error) => return Err(error),
        Err(error) => {
            let message = Some(format!("what became of it cannot be seen for now: {}", error.detail));
            return Ok(Answer { message, ..answer });
        }
    };
    match settles.judge(&sighting) {
        Settled::Done => Ok(sighting.to_answer(Success::Done, false, settles.remark(sighting.state))),
        Settled::Failed if is_settled => {
            let detail = "the vendor took the request, but the action failed: `vendor` has its word for the state";
            Err(sighting.to_failure(detail))
        }
        Settled::Failed | Settled::No => Ok(sighting.to_answer(Success::Accepted, false, None)),
    }
}

/// What is known of what the vendor took before anybody looks.
fn accepted(vendor_status: u16) -> Answer {
    Answer {
        success: Success::Accepted,
        state: TaskState::Unknown,
        already: false,
        name: None,
        message: None,
        created_at: None,
        updated_at: None,
        operation: None,
        vendor_status,
        vendor_request_id: None,
    }
}

/// Is it about the request for the operation, and says nothing of the operation itself?
fn is_for_who_asks(error: &GatewayError) -> bool {
    matches!(error.reason, Reason::MappingFailed | Reason::Unauthenticated)
}

/// Vendors show within seconds what they have taken; a failure that is still shown then is the action's.
const SETTLING: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::look::Sighting;

    fn sighting(state: TaskState) -> Glimpse {
        Ok(Sighting {
            state,
            raw_state: None,
            name: None,
            created_at: None,
            updated_at: None,
            vendor_status: 200,
            vendor_request_id: None,
            item: serde_json::Value::Null,
        })
    }

    /// What is told of a stop: `done`, `accepted` or the reason why not.
    #[track_caller]
    fn check(glimpse: Glimpse, is_settled: bool, expected: &str) {
        let settles = Settles {
            done: vec![TaskState::Stopped, TaskState::Succeeded],
            failed: vec![TaskState::Failed],
            failed_when: None,
        };
        let shown = format!("{glimpse:?} {is_settled}");
        let word = match told(&settles, glimpse, accepted(202), is_settled) {
            Ok(answer) => answer.success.outcome().as_str(),
            Err(error) => error.reason.code(),
        };
        assert_eq!(word, expected, "{shown}");
    }

    #[test]
    fn accepted_stays_accepted_until_the_vendor_says_otherwise() {
        for is_settled in [false, true] {
            check(sighting(TaskState::Stopped), is_settled, "done");
            check(sighting(TaskState::Succeeded), is_settled, "done");
            check(sighting(TaskState::Stopping), is_settled, "accepted");
            check(sighting(TaskState::Running), is_settled, "accepted");
            check(sighting(TaskState::Unknown), is_settled, "accepted");
            for reason in Reason::ALL {
                let expected = match reason {
                    // Whoever asks has to do something about it.
                    Reason::MappingFailed | Reason::Unauthenticated => reason.code(),
                    _ => "accepted",
                };
                check(Err(GatewayError::new(reason, "as the test says")), is_settled, expected);
            }
        }
        check(sighting(TaskState::Failed), false, "accepted");
        check(sighting(TaskState::Failed), true, "ACTION_FAILED");
    }

    #[test]
    fn what_cannot_be_seen_is_said() {
        let settles = Settles {
            done: vec![TaskState::Stopped],
            failed: Vec::new(),
            failed_when: None,
        };
        let lost = GatewayError::new(Reason::TaskNotFound, "the vendor does not know a task with this id");
        let answer = told(&settles, Err(lost), accepted(202), true).unwrap();
        let message = "what became of it cannot be seen for now: the vendor does not know a task with this id";
        assert_eq!(
            (answer.message.as_deref(), answer.vendor_status, answer.state),
            (Some(message), 202, TaskState::Unknown)
        );
    }
}
