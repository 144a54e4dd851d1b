//! From a valid call to the vendor's request: target, headers and encoded body.

use std::hint::black_box;

use criterion::Criterion;

use crate::feed;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("render");
    for fed in feed::cases(feed::OK) {
        group.bench_function(&fed.name, |b| {
            b.iter(|| fed.route.render(black_box(&fed.values)));
        });
    }
    group.finish();
}
