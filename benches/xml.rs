//! XML, read under the shape of a schema and written: what vendors send, and documents that are large, deep or full of attributes.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use serde_json::json;
use taskgate::codec::shape::Shape;
use taskgate::codec::tree::Tree;
use taskgate::codec::xml::{decode, encode};
use taskgate::codec::{DEPTH_CEILING, Limits};
use taskgate::mapping::reply::ReplyBody;
use taskgate::mapping::request::BodyTemplate;
use taskgate::route::{DEFAULT_MAX_REPLY_BYTES, IDS};
use tokio::time::Instant;

use crate::{attack, feed};

/// What no vendor's page exceeds by far.
const LARGE: usize = 64 * 1024;
/// No attack may hold a thread for longer.
const MOST: Duration = Duration::from_millis(50);
/// How many of the attacks are worth a figure.
const SLOWEST: usize = 5;

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
            // What takes lists renders one of one.
            let ids = serde_json::Value::Array(vec![fed.values.id.clone()]);
            let bindings = fed.values.bindings().with(IDS, &ids);
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

/// Every attack of `tests/hostile`, as large as an answer may be. The slowest ones are benched; one beyond the limit ends the bench.
pub(crate) fn attacks(c: &mut Criterion) {
    let mut timed: Vec<_> = attack::all(DEFAULT_MAX_REPLY_BYTES)
        .into_iter()
        .map(|attack| {
            let found = decode(&attack.document, &Shape::ANY, &Limits::REPLY).map(drop);
            assert_eq!(found.map_err(|error| error.fault()), attack.verdict, "{}", attack.name);
            let fastest = (0..5)
                .map(|_| {
                    let start = Instant::now();
                    let _ = black_box(decode(black_box(&attack.document), &Shape::ANY, &Limits::REPLY));
                    start.elapsed()
                })
                .min();
            (fastest.unwrap_or_default(), attack)
        })
        .collect();
    timed.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    for (time, attack) in &timed {
        assert!(*time <= MOST, "the attack `{}` takes {time:?}", attack.name);
    }
    let mut group = c.benchmark_group("xml/attacks");
    for (_, attack) in timed.iter().take(SLOWEST) {
        group.bench_function(attack.name, |b| {
            b.iter(|| decode(black_box(&attack.document), &Shape::ANY, &Limits::REPLY));
        });
    }
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
