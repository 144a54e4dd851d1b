//! Errands: the single exchanges with a vendor that a call is made of: acting, looking at the task, looking at the job.
//!
//! **Shape**: [`Act`] -> [`Acted`], [`Look`] -> [`Seen`], [`Ask`] -> [`JobReading`]; each is sent once and read by its own rules.

use std::sync::Arc;
use std::time::Duration;

use super::together::{Fellow, Verdict};
use super::{Aim, CredentialUse, Exchange, Failed, Trail, ValidCall};
use crate::mapping::job::JobReading;
use crate::mapping::look::Page;
use crate::mapping::reply::Reading;
use crate::mapping::request::{CallValues, RequestError};
use crate::model::answer::Answer;
use crate::model::call::UpstreamRequest;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::route::{Provider, Route, Task};

/// One exchange with a vendor.
pub trait Errand: Send + Sync {
    /// What comes back where it went well.
    type Report: Send;

    /// Whose vendor.
    fn provider(&self) -> &Arc<Provider>;

    /// By which route.
    fn route(&self) -> &Arc<Route>;

    /// What it is to the vendor.
    fn aim(&self) -> Aim;

    /// With which credentials.
    fn credentials(&self) -> CredentialUse;

    /// What is sent.
    ///
    /// # Errors
    /// Where the route has no request for these values; then nothing may be sent.
    fn render(&self) -> Result<UpstreamRequest, GatewayError>;

    /// What the answer means.
    ///
    /// # Errors
    /// Where it is not what was hoped for.
    fn read(&self, exchange: &Exchange) -> Result<Self::Report, Box<Failed>>;
}

/// Acts on the task.
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// The call.
    pub call: &'a ValidCall,
    /// With which credentials.
    pub credentials: CredentialUse,
    /// Is there no way to look at the task with what the call says?
    pub unseen: bool,
}

/// Acts on many tasks with one request.
#[derive(Clone, Copy, Debug)]
pub struct ActForAll<'a> {
    /// The call of the first.
    pub lead: Act<'a>,
    /// The others.
    pub fellows: &'a [Fellow],
}

/// What the vendor said of many tasks.
#[derive(Debug)]
pub struct ActedForAll {
    /// Of the first.
    pub lead: Verdict,
    /// Of the others, in their order.
    pub fellows: Vec<Verdict>,
}

/// The vendor did it or took it.
#[derive(Debug)]
pub struct Acted {
    /// What it said.
    pub answer: Answer,
    /// Its job, where it made one.
    pub job: Option<String>,
    /// How long it took.
    pub elapsed: Duration,
    /// Was its answer outside the route's schema?
    pub drift: bool,
}

/// Looks at the task, or at the list that it is on.
#[derive(Clone, Debug)]
pub struct Look {
    /// The provider.
    pub provider: Arc<Provider>,
    /// How.
    pub task: Arc<Task>,
    /// What is sent: the same for all who look at the same list.
    pub request: UpstreamRequest,
    /// The values of one of those who look, for the fault table.
    pub values: CallValues,
}

/// The vendor showed something.
#[derive(Debug)]
pub struct Seen {
    /// What.
    pub page: Page,
    /// How long it took.
    pub elapsed: Duration,
}

/// Asks what became of a job.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The call that made it.
    pub call: &'a ValidCall,
    /// Its id, which nobody has checked.
    pub job: &'a str,
}

impl Errand for Act<'_> {
    type Report = Acted;

    fn provider(&self) -> &Arc<Provider> {
        &self.call.provider
    }

    fn route(&self) -> &Arc<Route> {
        &self.call.route
    }

    fn aim(&self) -> Aim {
        if self.unseen { Aim::ActUnseen } else { Aim::Act }
    }

    fn credentials(&self) -> CredentialUse {
        match self.call.route.request.bare {
            true => CredentialUse::None,
            false => self.credentials,
        }
    }

    fn render(&self) -> Result<UpstreamRequest, GatewayError> {
        let rendered = self.call.route.render(&self.call.values);
        rendered.map_err(RequestError::into_gateway_error)
    }

    fn read(&self, exchange: &Exchange) -> Result<Acted, Box<Failed>> {
        let reading = self.call.route.reply.normalize(&self.call.values, &self.call.id, &exchange.reply);
        let drift = reading.drift;
        verdict(reading, exchange.elapsed, drift)
    }
}

impl Errand for ActForAll<'_> {
    type Report = ActedForAll;

    fn provider(&self) -> &Arc<Provider> {
        self.lead.provider()
    }

    fn route(&self) -> &Arc<Route> {
        self.lead.route()
    }

    fn aim(&self) -> Aim {
        self.lead.aim()
    }

    fn credentials(&self) -> CredentialUse {
        self.lead.credentials()
    }

    fn render(&self) -> Result<UpstreamRequest, GatewayError> {
        let first = &self.lead.call.values;
        let ids = std::iter::once(&first.id).chain(self.fellows.iter().map(|fellow| &fellow.values.id));
        let rendered = self.lead.call.route.render_for(first, ids);
        rendered.map_err(RequestError::into_gateway_error)
    }

    fn read(&self, exchange: &Exchange) -> Result<ActedForAll, Box<Failed>> {
        let first = (&self.lead.call.values, self.lead.call.id.as_str());
        let calls = std::iter::once(first).chain(self.fellows.iter().map(|fellow| (&fellow.values, fellow.id.as_str())));
        let mut readings = self.lead.call.route.reply.normalize_each(calls, &exchange.reply).into_iter();
        let Some(lead) = readings.next() else {
            return Err(GatewayError::new(Reason::MappingFailed, "the vendor's answer was read for nobody").into());
        };
        let drift = lead.drift;
        Ok(ActedForAll {
            lead: verdict(lead, exchange.elapsed, drift),
            // It is one answer: that it has drifted is counted once.
            fellows: readings.map(|reading| verdict(reading, exchange.elapsed, false)).collect(),
        })
    }
}

fn verdict(reading: Reading, elapsed: Duration, drift: bool) -> Verdict {
    match reading.result {
        Ok(answer) => Ok(Acted {
            answer,
            job: reading.job,
            elapsed,
            drift,
        }),
        Err(error) => {
            let trail = trail(elapsed, drift);
            Err(Box::new(Failed { error, trail }))
        }
    }
}

impl Errand for Look {
    type Report = Seen;

    fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    fn route(&self) -> &Arc<Route> {
        &self.task.route
    }

    fn aim(&self) -> Aim {
        Aim::Look
    }

    fn credentials(&self) -> CredentialUse {
        match self.task.route.request.bare {
            true => CredentialUse::None,
            false => CredentialUse::Normal,
        }
    }

    fn render(&self) -> Result<UpstreamRequest, GatewayError> {
        Ok(self.request.clone())
    }

    fn read(&self, exchange: &Exchange) -> Result<Seen, Box<Failed>> {
        let elapsed = exchange.elapsed;
        match self.task.route.reply.page(&self.values, &exchange.reply) {
            Ok(page) => Ok(Seen { page, elapsed }),
            Err(reading) => {
                let Reading { result, drift, .. } = *reading;
                // A page that is no page is an error by its type; an answer in its place would be a mistake of the route.
                let error = result.err().unwrap_or_else(|| {
                    GatewayError::new(Reason::MappingFailed, "the route reads the answer to a look as that to an action")
                });
                let trail = trail(elapsed, drift);
                Err(Box::new(Failed { error, trail }))
            }
        }
    }
}

impl Errand for Ask<'_> {
    type Report = JobReading;

    fn provider(&self) -> &Arc<Provider> {
        &self.call.provider
    }

    fn route(&self) -> &Arc<Route> {
        &self.call.route
    }

    fn aim(&self) -> Aim {
        Aim::Ask
    }

    fn credentials(&self) -> CredentialUse {
        match self.call.route.pursuit.job.as_ref().is_some_and(|job| job.request.bare) {
            true => CredentialUse::None,
            false => CredentialUse::Normal,
        }
    }

    fn render(&self) -> Result<UpstreamRequest, GatewayError> {
        let Some(job) = &self.call.route.pursuit.job else {
            return Err(GatewayError::new(Reason::MappingFailed, "the route has no way to look at a job"));
        };
        let id = serde_json::Value::from(self.job);
        let bindings = self.call.values.bindings();
        let rendered = job.request.render(&bindings.with("job", &id));
        rendered.map_err(RequestError::into_gateway_error)
    }

    fn read(&self, exchange: &Exchange) -> Result<JobReading, Box<Failed>> {
        let (route, values) = (&self.call.route, &self.call.values);
        Ok(match &route.pursuit.job {
            Some(job) => job.read(&route.reply, values, &self.call.id, &exchange.reply),
            None => JobReading::Unclear,
        })
    }
}

fn trail(elapsed: Duration, drift: bool) -> Trail {
    Trail {
        vendor_elapsed: Some(elapsed),
        drift,
        ..Trail::default()
    }
}
