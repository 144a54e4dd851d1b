//! One expression: a plain chain of names, which is looked up, against CEL, which is evaluated (ADR 0003).

use std::hint::black_box;

use criterion::Criterion;
use serde_json::{Value, json};
use taskgate::codec::{Limits, json, xml};
use taskgate::mapping::expression::{Bindings, Expression};
use taskgate::mapping::reply::ReplyBody;

use crate::feed;

/// The same body for both kinds.
pub(crate) fn by_kind(c: &mut Criterion) {
    let mut group = c.benchmark_group("expression");
    let body = json!({ "result": "SUCCESS", "data": { "name": "test", "records": [{ "id": 15 }, { "id": 25 }] } });
    let page = json!({ "result": "SUCCESS", "records": vec![json!({ "id": "1dcddab3", "status": 2, "name": "capture" }); 100] });
    let status = json!(200);
    let bindings = Bindings::new().with("body", &body).with("page", &page).with("status", &status);
    for (name, source) in [
        ("reference", "body.data.name"),
        ("reference/index", "body.data.records[1].id"),
        ("cel/number", "status == 200"),
        ("cel/small body", "has(body.result) && body.result.lowerAscii() == 'success'"),
        ("cel/page of 100", "page.result == 'SUCCESS'"),
    ] {
        let Ok(expression) = Expression::parse(source) else {
            unreachable!("`{source}` is an expression");
        };
        assert!(expression.evaluate(&bindings).is_ok(), "`{source}` has no value");
        group.bench_function(name, |b| b.iter(|| expression.evaluate(black_box(&bindings)).is_ok()));
    }
    group.finish();
}

/// The conditions of the shipped routes over the replies of their own cases.
pub(crate) fn of_routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("condition");
    for fed in feed::cases(feed::OK) {
        let reply = &fed.exchange.reply;
        let body = match &fed.route.reply.body {
            ReplyBody::Empty | ReplyBody::Json => json::decode(&reply.body, &Limits::REPLY),
            ReplyBody::Xml(shape) => xml::decode(&reply.body, shape, &Limits::REPLY),
        };
        let (body, text, status) = (
            body.unwrap_or_else(|_| json!({})),
            Value::from(""),
            Value::from(reply.status.as_u16()),
        );
        let bindings = fed
            .values
            .bindings()
            .with("body", &body)
            .with("text", &text)
            .with("status", &status);
        for (number, rule) in fed.route.reply.outcome.iter().enumerate() {
            if let Some(condition) = &rule.when {
                group.bench_function(format!("{}/{number}", fed.name), |b| {
                    b.iter(|| condition.holds(black_box(&bindings)))
                });
            }
        }
    }
    group.finish();
}
