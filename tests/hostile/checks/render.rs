//! Vendor requests of any values: a value stays a value. Whatever it is, the path has the segments, the query the parameters and the body
//! the members of the template, or nothing is sent.

use std::sync::LazyLock;

use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use taskgate::codec::shape::Shape;
use taskgate::codec::{Limits, json, xml};
use taskgate::mapping::request::{BodyTemplate, CallValues, RequestError};
use taskgate::mapping::validate::validate;
use taskgate::model::call::UpstreamRequest;

use super::body::UUID;
use super::shipped::{self, Ask};

/// `data` is a value. It stands for the id, then for every text of the call, whether the provider would take it or not.
pub(super) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for (ask, plain, expected) in &*PLAIN {
        let id = CallValues {
            id: Value::from(text),
            ..plain.clone()
        };
        let mut all = id.clone();
        all.body = hostile(&plain.body, text);
        for values in [id, all] {
            match ask.route.render(&values) {
                Ok(found) => compare(ask, text, expected, &found),
                Err(RequestError::Render(_) | RequestError::Segment | RequestError::Header(_) | RequestError::Encode(_)) => {}
                Err(error @ RequestError::Place(_)) => panic!("{error}"),
            }
        }
    }
}

/// Every route with the values and the request of its case.
static PLAIN: LazyLock<Vec<(&Ask, CallValues, UpstreamRequest)>> = LazyLock::new(|| {
    let rendered = |ask: &'static Ask| {
        let values = validate(&ask.call, &ask.provider, &ask.route, UUID).unwrap_or_else(|error| panic!("{error:?}"));
        let request = ask.route.render(&values).unwrap_or_else(|error| panic!("{error}"));
        (ask, values, request)
    };
    shipped::asks().iter().map(rendered).collect()
});

/// The same object with every text another one.
fn hostile(object: &Map<String, Value>, text: &str) -> Map<String, Value> {
    fn value(old: &Value, text: &str) -> Value {
        match old {
            Value::String(_) => Value::from(text),
            Value::Array(items) => items.iter().map(|item| value(item, text)).collect(),
            Value::Object(object) => Value::Object(hostile(object, text)),
            Value::Null | Value::Bool(_) | Value::Number(_) => old.clone(),
        }
    }
    object.iter().map(|(name, member)| (name.clone(), value(member, text))).collect()
}

fn compare(ask: &Ask, text: &str, expected: &UpstreamRequest, found: &UpstreamRequest) {
    let route = format!("{}/{}", ask.route.provider, ask.route.action);
    assert_eq!(found.method, expected.method, "{route}");
    let parsed = PathAndQuery::try_from(found.target.as_str());
    assert!(
        parsed.is_ok_and(|parsed| parsed.as_str() == found.target),
        "{route}: {}",
        found.target
    );
    let (path, query) = found.target.split_once('?').unwrap_or((&found.target, ""));
    let (expected_path, expected_query) = expected.target.split_once('?').unwrap_or((&expected.target, ""));
    assert_eq!(path.split('/').count(), expected_path.split('/').count(), "{route}: {path}");
    for (segment, old) in path.split('/').zip(expected_path.split('/')).skip(1) {
        let decoded = percent_decode_str(segment).decode_utf8().unwrap();
        assert!(!matches!(&*decoded, "" | "." | ".."), "{route}: {path}");
        assert!(segment == old || decoded.contains(text), "{route}: {path}");
    }
    let names = |query: &str| {
        query
            .split('&')
            .map(|pair| pair.split('=').next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(query), names(expected_query), "{route}: {query}");
    let headers = |request: &UpstreamRequest| request.headers.keys().map(|name| name.to_string()).collect::<Vec<_>>();
    assert_eq!(headers(found), headers(expected), "{route}");
    let read = |request: &UpstreamRequest| match &ask.route.request.body {
        BodyTemplate::Json(_) => json::decode(&request.body, &Limits::REPLY).unwrap_or_else(|error| panic!("{route}: {error}")),
        BodyTemplate::Xml(_) => xml::decode(&request.body, &Shape::ANY, &Limits::REPLY).unwrap_or_else(|error| panic!("{route}: {error}")),
        BodyTemplate::Form(_) | BodyTemplate::None => Value::Null,
    };
    alike(&read(expected), &read(found), text, &route);
}

/// The same members and items; texts are those of the template or the value, byte for byte.
fn alike(expected: &Value, found: &Value, text: &str, place: &str) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>(), "{place}");
            for (name, member) in expected {
                alike(member, &found[name], text, &format!("{place}.{name}"));
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            assert_eq!(expected.len(), found.len(), "{place}");
            expected
                .iter()
                .zip(found)
                .for_each(|(expected, found)| alike(expected, found, text, place));
        }
        (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_)) => panic!("{place}: {expected} became {found}"),
        // Compared as texts: an id that is a number otherwise is a text here.
        (_, Value::String(found)) => assert!(
            expected == found.as_str() || found.contains(text) || TRANSLATED.contains(&(text, found.as_str())),
            "{place}: {found:?}"
        ),
        _ => assert_eq!(expected, found, "{place}"),
    }
}

/// What a `map` of these routes makes of a word that it takes.
const TRANSLATED: [(&str, &str); 3] = [("start", "BEGIN"), ("failure", "LAST_FAILURE"), ("selected", "specific_cluster")];
