//! Page: requests for documents of the catalog are answered here, everything else goes on. No stage below sees them.
//!
//! **Invariants**: a page calls no vendor, takes no place among the calls, and is logged and counted like every other answer, with
//! neither provider nor action; what is wrong with a request for one is said in the same voice.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::Either;
use http::header::HeaderValue;
use http::{Method, Request, Response};
use http_body_util::Full;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::Trail;
use super::admit::AdmitLimits;
use super::observe::{X_REQUEST_ID, problem_response, record, request_id, without_content};
use super::rescue::{Spoken, instance};
use crate::catalog::{Asked, Catalog};
use crate::model::answer::Outcome;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;
use crate::telemetry::metrics;

/// Makes [`Pages`].
#[derive(Clone, Debug)]
pub struct PageLayer {
    catalog: Arc<Catalog>,
    limits: Arc<AdmitLimits>,
}

impl PageLayer {
    /// The pages of this catalog, for requests within these limits.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, limits: AdmitLimits) -> Self {
        Self {
            catalog,
            limits: Arc::new(limits),
        }
    }
}

impl<S> Layer<S> for PageLayer {
    type Service = Pages<S>;

    fn layer(&self, inner: S) -> Pages<S> {
        Pages {
            inner,
            catalog: Arc::clone(&self.catalog),
            limits: Arc::clone(&self.limits),
        }
    }
}

/// The stage.
#[derive(Clone, Debug)]
pub struct Pages<S> {
    inner: S,
    catalog: Arc<Catalog>,
    limits: Arc<AdmitLimits>,
}

impl<S, B> Service<Request<B>> for Pages<S>
where
    S: Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible>,
    B: http_body::Body<Data = Bytes>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Self::Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let begun = Instant::now();
        let asked = Asked {
            method: request.method(),
            path: request.uri().path(),
            query: request.uri().query(),
            headers: request.headers(),
            has_body: !request.body().is_end_stream(),
        };
        match self.catalog.answer(asked) {
            None => Either::Left(self.inner.call(request)),
            Some(answer) => {
                let answer = check_size(&request, &self.limits).and(answer);
                Either::Right(ready(Ok(told(&request, answer, begun))))
            }
        }
    }
}

/// As large as for any other request, and no larger.
fn check_size<B>(request: &Request<B>, limits: &AdmitLimits) -> Result<(), GatewayError> {
    let headers = request.headers();
    let header_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > limits.max_headers || header_bytes > limits.max_header_bytes {
        let (fields, bytes) = (limits.max_headers, limits.max_header_bytes);
        let detail = format!("at most {fields} header fields with {bytes} bytes are taken");
        return Err(GatewayError::new(Reason::HeadersTooLarge, detail));
    }
    if request.uri().path().len() > limits.max_target_bytes {
        let detail = format!("the request target has more than {} bytes", limits.max_target_bytes);
        return Err(GatewayError::new(Reason::TargetTooLong, detail));
    }
    Ok(())
}

fn told<B>(request: &Request<B>, answer: Result<Response<Bytes>, GatewayError>, begun: Instant) -> Response<Full<Bytes>> {
    let _under_way = metrics::request_begins();
    let request_id = request_id(request.headers());
    let (mut response, error) = match answer {
        Ok(page) => (page.map(Full::new), None),
        Err(error) => (problem_response(&error, &instance(request.uri()), &request_id), Some(error)),
    };
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    let spoken = Spoken {
        status: response.status().as_u16(),
        document: String::new(),
        outcome: error.as_ref().map_or(Outcome::Done, |error| error.reason.facts().outcome),
        error,
        vendor: None,
        trail: Trail::default(),
    };
    record(&spoken, &request_id, begun.elapsed());
    if request.method() == Method::HEAD {
        without_content(response)
    } else {
        response
    }
}
