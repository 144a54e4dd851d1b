//! Reading the path of a request: `/tasks/{provider}/{id}:{action}`.

use std::hint::black_box;

use criterion::Criterion;
use taskgate::path;

use crate::feed;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("path");
    for fed in feed::cases(feed::OK) {
        let text = format!("/tasks/{}/{}:{}", fed.call.provider, fed.call.id, fed.call.action);
        group.bench_function(&fed.name, |b| b.iter(|| path::parse(black_box(&text))));
    }
    group.finish();
}
