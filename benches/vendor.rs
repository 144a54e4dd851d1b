//! The vendor of a case inside the process, and the caller's request: what the stack is fed with.

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use taskgate::cli::rehearsal::to_exchange;
use taskgate::layer::{BoxFuture, Exchange, Outbound};
use taskgate::model::error::GatewayError;
use taskgate::model::reason::Reason;
use tower::Service;

use crate::feed;

/// Answers every request as the case's turn with the same target does.
#[derive(Clone)]
pub(crate) struct Vendor {
    exchanges: Arc<[(String, Exchange)]>,
}

impl Vendor {
    pub(crate) fn new(fed: &feed::Fed) -> Self {
        let turns = fed.case.content.vendor.iter();
        let exchanges = turns.filter_map(|turn| Some((turn.request.target.clone(), to_exchange(&turn.reply).ok()?)));
        Self {
            exchanges: exchanges.collect(),
        }
    }
}

impl Service<Outbound> for Vendor {
    type Response = Exchange;
    type Error = GatewayError;
    type Future = BoxFuture<Exchange, GatewayError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outbound: Outbound) -> Self::Future {
        let outbound = black_box(outbound);
        let found = self.exchanges.iter().find(|(target, _)| *target == outbound.request.target);
        let unasked = || GatewayError::new(Reason::VendorUnreachable, "the case has no vendor for this");
        let answer = found.map(|(_, exchange)| exchange.clone()).ok_or_else(unasked);
        Box::pin(std::future::ready(answer))
    }
}

/// The request of the case's caller.
pub(crate) fn request(fed: &feed::Fed) -> Request<Full<Bytes>> {
    let body = fed.case.content.call.body.as_ref().map(ToString::to_string);
    let mut request = Request::new(body.clone().map_or_else(Full::default, Full::from));
    *request.method_mut() = http::Method::POST;
    let path = format!("/tasks/{}/{}:{}", fed.call.provider, fed.call.id, fed.case.action);
    *request.uri_mut() = path.parse().unwrap_or_default();
    if body.is_some() {
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
    }
    request
}
