//! The whole stack in-process: from an HTTP request to the bytes of the answer, over a vendor that answers at once from a case.
//!
//! No socket, no log subscriber and no metrics recorder: what is left is taskgate's own work. One thread.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body_util::Full;
use taskgate::layer::{BoxFuture, Exchange, Outbound};
use taskgate::model::error::GatewayError;
use taskgate::stack::{self, Gateway, StackLimits};
use tower::{Service, ServiceExt as _};

use crate::feed;

/// Answers every call with the same exchange.
#[derive(Clone)]
struct Vendor {
    exchange: Exchange,
}

impl Service<Outbound> for Vendor {
    type Response = Exchange;
    type Error = GatewayError;
    type Future = BoxFuture<Exchange, GatewayError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outbound: Outbound) -> Self::Future {
        black_box(outbound);
        Box::pin(std::future::ready(Ok(self.exchange.clone())))
    }
}

pub(crate) fn bench(c: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return;
    };
    let mut group = c.benchmark_group("stack");
    for fed in feed::cases(feed::OK_AND_ERROR) {
        let vendor = Vendor {
            exchange: fed.exchange.clone(),
        };
        let gateway: Gateway<Full<Bytes>> = stack::build(Arc::clone(&fed.table), &StackLimits::default(), vendor);
        let make = || request(&fed);
        let answer = runtime.block_on(gateway.clone().oneshot(make()));
        assert!(
            answer.is_ok_and(|answer| answer.status().as_u16() == fed.case.content.answer.status),
            "{} does not give the answer of its case",
            fed.name
        );
        group.bench_function(&fed.name, |b| {
            b.iter_batched(
                make,
                |request| -> Result<Response<Full<Bytes>>, Infallible> { runtime.block_on(gateway.clone().oneshot(request)) },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn request(fed: &feed::Fed) -> Request<Full<Bytes>> {
    let body = fed.case.content.call.body.as_ref().map(ToString::to_string);
    let mut request = Request::new(body.clone().map_or_else(Full::default, Full::from));
    *request.method_mut() = http::Method::POST;
    let path = format!("/tasks/{}/{}:{}", fed.call.provider, fed.call.id, fed.call.action);
    *request.uri_mut() = path.parse().unwrap_or_default();
    if body.is_some() {
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
    }
    request
}
