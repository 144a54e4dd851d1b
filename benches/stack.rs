//! The whole stack in-process: from an HTTP request to the bytes of the answer, over a vendor that answers at once from a case.
//!
//! No socket, no log subscriber and no metrics recorder: what is left is taskgate's own work. One thread.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use http::Response;
use http_body_util::Full;
use taskgate::stack::{self, Gateway, StackLimits};
use tower::ServiceExt as _;

use crate::feed;
use crate::vendor::{Vendor, request};

pub(crate) fn bench(c: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return;
    };
    let mut group = c.benchmark_group("stack");
    for fed in feed::cases(feed::OK_AND_ERROR) {
        let vendor = Vendor::new(&fed);
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
