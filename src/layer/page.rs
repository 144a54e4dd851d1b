//! Page: requests for documents of the catalog are answered here, everything else goes on. No stage below sees them.
//!
//! **Invariants**: a page calls no vendor, takes no place among the calls, and is logged and counted like every other answer, with
//! neither provider nor action; what is wrong with a request for one is said in the same voice.

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, Request, Response};
use http_body_util::Full;
use tokio::time::Instant;

use super::admit::{self, AdmitLimits};
use super::observe::{X_REQUEST_ID, problem_response, request_id, without_content};
use super::rescue::instance;
use super::trace::Trace;
use crate::catalog::{Asked, Catalog, is_page};
use crate::model::answer::Outcome;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::telemetry::log::{self, RequestRecord};
use crate::telemetry::metrics::{InFlight, NONE, RequestMeter};

/// The pages of one configuration.
#[derive(Debug)]
pub struct Pages {
    catalog: Catalog,
    limits: AdmitLimits,
    in_flight: InFlight,
    meter: RequestMeter,
}

impl Pages {
    /// The pages of this catalog, for requests within these limits.
    #[must_use]
    pub fn new(catalog: Catalog, limits: AdmitLimits) -> Self {
        Self {
            catalog,
            limits,
            in_flight: InFlight::default(),
            meter: RequestMeter::new(NONE, NONE),
        }
    }

    /// The answer to a request for a page; nothing where the path belongs to somebody else.
    #[must_use]
    pub fn answer<B: http_body::Body>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        let path = request.uri().path();
        // Nearly no request is for a page, and the others need not be timed here.
        if !is_page(path) {
            return None;
        }
        let asked = Asked {
            method: request.method(),
            path,
            query: request.uri().query(),
            headers: request.headers(),
            has_body: !request.body().is_end_stream(),
        };
        let begun = Instant::now();
        let answer = self.catalog.answer(asked)?;
        Some(self.told(request, check_size(request, &self.limits).and(answer), begun))
    }

    fn told<B>(&self, request: &Request<B>, answer: Result<Response<Bytes>, GatewayError>, begun: Instant) -> Response<Full<Bytes>> {
        let _under_way = self.in_flight.begins();
        let request_id = request_id(request.headers());
        let trace = Trace::of(request.headers());
        let (mut response, error) = match answer {
            Ok(page) => (page.map(Full::new), None),
            Err(error) => (problem_response(&error, &instance(request.uri()), &request_id), Some(error)),
        };
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(X_REQUEST_ID, id);
        }
        let outcome = error.as_ref().map_or(Outcome::Done, |error| error.reason.facts().outcome);
        let reason = error.as_ref().map(|error| error.reason);
        self.meter.ended(outcome, reason, begun.elapsed());
        log::request_line(&RequestRecord {
            request_id: &request_id,
            trace: trace.is_callers().then(|| trace.ids()),
            validate_only: false,
            provider: None,
            action: None,
            id: None,
            outcome: outcome.as_str(),
            reason: reason.map(Reason::code),
            status: response.status().as_u16(),
            duration: begun.elapsed(),
            vendor_status: None,
            vendor_duration: None,
            vendor_request_id: None,
            caller_reason: None,
            error: error.as_ref().and_then(|error| error.internal.as_deref()),
        });
        if request.method() == Method::HEAD {
            without_content(response)
        } else {
            response
        }
    }
}

/// As large as for any other request, and no larger.
fn check_size<B>(request: &Request<B>, limits: &AdmitLimits) -> Result<(), GatewayError> {
    let headers = request.headers();
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    admit::check_size(request.uri(), headers.len(), bytes, limits)
}
