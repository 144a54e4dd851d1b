//! From what the caller sent to a valid call: id, defaults, JSON Schema.

use std::hint::black_box;

use criterion::Criterion;
use taskgate::mapping::validate::validate;

use crate::feed;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("validate");
    for fed in feed::cases(feed::OK) {
        group.bench_function(&fed.name, |b| {
            b.iter(|| validate(black_box(&fed.call), &fed.provider, &fed.route, feed::UUID));
        });
    }
    group.finish();
}
