//! From the vendor's reply to the canonical answer: decoding, outcome rules, schema, texts.

use std::hint::black_box;

use criterion::Criterion;

use crate::feed;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("normalize");
    for fed in feed::cases(feed::OK_AND_ERROR) {
        group.bench_function(&fed.name, |b| {
            b.iter(|| fed.route.reply.normalize(&fed.values, &fed.call.id, black_box(&fed.exchange.reply)));
        });
    }
    group.finish();
}
