//! JSON, read and written: what callers and vendors send, and documents that are large, deep or wide.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use serde_json::{Value, json};
use taskgate::codec::json::{decode, encode};
use taskgate::codec::tree::Tree;
use taskgate::codec::{DEPTH_CEILING, Limits};
use taskgate::mapping::request::BodyTemplate;

use crate::feed;

/// What no vendor's page exceeds by far.
const LARGE: usize = 64 * 1024;

pub(crate) fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("json/read");
    let mut bench = |name: &str, bytes: &[u8], limits: &Limits| {
        assert!(decode(bytes, limits).is_ok(), "{name} cannot be read");
        group.throughput(Throughput::Bytes(u64::try_from(bytes.len()).unwrap_or(u64::MAX)));
        group.bench_function(name, |b| b.iter(|| decode(black_box(bytes), limits)));
    };
    for fed in feed::cases(feed::OK) {
        if let Some(body) = &fed.case.content.call.body {
            bench(&format!("{}/request", fed.name), body.to_string().as_bytes(), &Limits::REQUEST);
        }
    }
    for fed in feed::cases(feed::OK_AND_ERROR) {
        if let Some(body) = &fed.case.content.vendor.first().and_then(|turn| turn.reply.json.as_ref()) {
            bench(&format!("{}/reply", fed.name), body.to_string().as_bytes(), &Limits::REPLY);
        }
    }
    for (name, document) in large() {
        bench(name, document.to_string().as_bytes(), &Limits::REPLY);
    }
    group.finish();
}

pub(crate) fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("json/write");
    for fed in feed::cases(feed::OK) {
        if let BodyTemplate::Json(template) = &fed.route.request.body {
            let bindings = fed.values.bindings();
            if let Ok(Some(tree)) = template.render(&bindings) {
                group.bench_function(&fed.name, |b| b.iter(|| encode(black_box(&tree))));
            }
        }
    }
    for (name, document) in large() {
        let tree = Tree::from(document);
        group.bench_function(name, |b| b.iter(|| encode(black_box(&tree))));
    }
    group.finish();
}

fn large() -> [(&'static str, Value); 3] {
    let record =
        json!({ "task_id": "1dcddab3-7d79-4a56-9e67-4aa0962b98ad", "name": "capture", "status": 2, "size": 1_048_576, "tags": ["a", "b"] });
    let records = LARGE / record.to_string().len();
    let deep = (1..DEPTH_CEILING).fold(json!("bottom"), |inner, _| json!({ "inner": inner }));
    let wide: serde_json::Map<String, Value> = (0..LARGE / 24).map(|n| (format!("member_{n:05}"), json!(n))).collect();
    [
        ("64KiB", json!({ "records": vec![record; records] })),
        ("deep", deep),
        ("wide", Value::Object(wide)),
    ]
}
