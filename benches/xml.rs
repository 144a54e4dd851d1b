//! XML, read under the shape of a schema and written: what vendors send, and documents that are large, deep or full of attributes.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use serde_json::json;
use taskgate::codec::shape::Shape;
use taskgate::codec::tree::Tree;
use taskgate::codec::xml::{decode, encode};
use taskgate::codec::{DEPTH_CEILING, Limits};
use taskgate::mapping::reply::ReplyBody;
use taskgate::mapping::request::BodyTemplate;

use crate::feed;

/// What no vendor's page exceeds by far.
const LARGE: usize = 64 * 1024;

pub(crate) fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("xml/read");
    let mut bench = |name: &str, bytes: &[u8], shape: &Shape| {
        assert!(decode(bytes, shape, &Limits::REPLY).is_ok(), "{name} cannot be read");
        group.throughput(Throughput::Bytes(u64::try_from(bytes.len()).unwrap_or(u64::MAX)));
        group.bench_function(name, |b| b.iter(|| decode(black_box(bytes), shape, &Limits::REPLY)));
    };
    for fed in feed::cases(feed::OK_AND_ERROR) {
        if let ReplyBody::Xml(shape) = &fed.route.reply.body {
            bench(&fed.name, &fed.exchange.reply.body, shape);
        }
    }
    for (name, document) in large() {
        bench(name, document.as_bytes(), &Shape::ANY);
    }
    group.finish();
}

pub(crate) fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("xml/write");
    for fed in feed::cases(feed::OK) {
        if let BodyTemplate::Xml(template) = &fed.route.request.body {
            let bindings = fed.values.bindings();
            if let Ok(Some(tree)) = template.render(&bindings) {
                group.bench_function(&fed.name, |b| b.iter(|| encode(black_box(&tree))));
            }
        }
    }
    let ids: Vec<u64> = (0..100).collect();
    let tree = Tree::from(json!({ "payload": { "ids": { "id": ids } } }));
    group.bench_function("hundred ids", |b| b.iter(|| encode(black_box(&tree))));
    group.finish();
}

fn large() -> [(&'static str, String); 3] {
    let record = "<record><id>15</id><message>a &amp; b &#x2603;</message><status>Success</status></record>";
    let deep = DEPTH_CEILING - 1;
    let mut attributes = String::from("<page>");
    while attributes.len() < LARGE {
        // Writing to a string cannot fail.
        let _ = write!(attributes, "<r a=\"1\" b=\"two\" c=\"3 &lt; 4\" d=\"\" e=\"five\" f=\"6\"/>");
    }
    attributes.push_str("</page>");
    [
        ("64KiB", format!("<page>{}</page>", record.repeat(LARGE / record.len()))),
        ("deep", format!("{}bottom{}", "<e>".repeat(deep), "</e>".repeat(deep))),
        ("attributes", attributes),
    ]
}
