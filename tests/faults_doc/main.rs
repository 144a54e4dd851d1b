//! `docs/faults.md` is true: each of its rows is replayed through the compiled tables, and no code of the tables is missing there.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests say what must hold")]

use std::collections::BTreeSet;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};
use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::mapping::request::CallValues;
use taskgate::mapping::validate::validate;
use taskgate::model::call::{TaskCall, UpstreamReply};
use taskgate::model::reason::Reason;
use taskgate::route::RouteTable;

mod forms;
mod statuses;

const DOC: &str = include_str!("../../docs/faults.md");

/// One row, and the route and form that stand above its table.
#[derive(Debug)]
struct Row<'a> {
    provider: &'a str,
    action: &'a str,
    status: u16,
    cell: String,
    body: String,
    reason: &'a str,
    outcome: &'a str,
    caller: u16,
}

fn rows() -> Vec<Row<'static>> {
    let mut rows = Vec::new();
    let (mut provider, mut action, mut form) = ("", "", "");
    for line in DOC.lines() {
        if let Some(rest) = line.strip_prefix("Replayed at ") {
            // `provider` `action` as `form`.
            let (names, rest) = rest.split_once(" as ").unwrap();
            [provider, action] = names.split(' ').map(unquoted).collect::<Vec<_>>().try_into().unwrap();
            form = unquoted(rest.trim_end_matches('.'));
        }
        if !line.starts_with('|') || !line.contains("`") {
            continue;
        }
        let line = line.replace("\\|", "\u{1}").leak();
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [status, cell, _says, reason, outcome, caller] = match cells.as_slice() {
            [_, _, _, _] => continue, // of `statuses`
            six => six.try_into().unwrap_or_else(|_| panic!("six cells: {line}")),
        };
        let cell = unquoted(cell).replace('\u{1}', "|");
        let body = match cell.as_str() {
            "nothing" => String::new(),
            whole if whole.starts_with(['{', '<']) => whole.to_owned(),
            part => form.replace('$', part),
        };
        rows.push(Row {
            provider,
            action,
            status: status.parse().unwrap(),
            cell,
            body,
            reason: unquoted(reason),
            outcome: unquoted(outcome),
            caller: caller.parse().unwrap(),
        });
    }
    rows
}

fn unquoted(text: &str) -> &str {
    text.trim_matches('`')
}

fn table() -> std::sync::Arc<RouteTable> {
    compile(&shipped::sources(), shipped::ROUTES_FILE, &Environment::default())
        .unwrap()
        .table
}

/// A call that the route takes: its id and what its schema asks for.
fn call(table: &RouteTable, provider: &str, action: &str) -> (String, CallValues) {
    let provider = &table.providers[provider];
    let ids = ["15", "1dcddab3-7d79-4a56-9e67-4aa0962b98ad", "5ca9c15a50c53f0dac359a64841d7b2b"];
    let bodies = [
        json!({ "scope": { "project": "p", "instance": "ebf891cd-2163-48a0-9963-6309f99dd3c4" } }),
        json!({ "scope": { "project": "p" }, "parameters": { "task_type": "cluster_scan", "range": "all_failed" } }),
        json!({ "scope": { "project": "p" } }),
        json!({}),
    ];
    for id in ids {
        for body in &bodies {
            let call = TaskCall {
                provider: provider.name.clone(),
                id: id.to_owned(),
                action: Some(action.to_owned()),
                query: Vec::new(),
                wait: None,
                resumed: None,
                body: body.as_object().cloned().unwrap_or_else(Map::new),
            };
            if let Ok(values) = validate(&call, provider, &provider.actions[action], "33333333333333333333333333333333") {
                return (id.to_owned(), values);
            }
        }
    }
    panic!("no call fits {} {action}", provider.name)
}

fn reply(row: &Row<'_>) -> UpstreamReply {
    let mut headers = HeaderMap::new();
    let kind = match row.body.as_str() {
        page if page.starts_with("<html") => Some("text/html"),
        body if body.starts_with('{') => Some("application/json"),
        body if body.starts_with('<') => Some("application/xml"),
        _ => None,
    };
    headers.extend(kind.map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind))));
    UpstreamReply {
        status: StatusCode::from_u16(row.status).unwrap(),
        headers,
        body: Bytes::from(row.body.clone()),
    }
}

#[test]
fn each_row_is_true() {
    let table = table();
    let rows = rows();
    assert!(rows.len() > 150, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let (id, values) = call(&table, row.provider, row.action);
        let route = &table.providers[row.provider].actions[row.action];
        let found = match route.reply.normalize(&values, &id, &reply(row)).result {
            Ok(answer) => format!("success: {answer:?}"),
            Err(error) => error.reason.code().to_owned(),
        };
        if found != row.reason {
            wrong.push(format!(
                "{} {} `{}`: {} is said, {found} it is",
                row.provider, row.status, row.cell, row.reason
            ));
        }
        let facts = Reason::parse(row.reason).unwrap().facts();
        assert_eq!((facts.outcome.as_str(), facts.status), (row.outcome, row.caller), "{row:?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_code_is_missing() {
    let mut known = BTreeSet::new();
    for route in table().providers.values().flat_map(|provider| provider.actions.values()) {
        let faults = &route.reply.faults;
        known.extend(faults.codes.keys().cloned());
        for family in &faults.families {
            // One prefix stands for all.
            known.extend(family.codes.keys().map(|code| format!("{}{code}", family.prefixes[0])));
        }
    }
    let said: BTreeSet<String> = rows().into_iter().map(|row| row.cell).collect();
    let missing: Vec<&String> = known.difference(&said).collect();
    assert!(!known.is_empty() && missing.is_empty(), "not in docs/faults.md: {missing:?}");
}

#[test]
fn what_may_hold_a_signature_goes_to_nobody() {
    let table = table();
    let (id, values) = call(&table, "cfw", "stop");
    for (text, expected) in [
        (
            "x: verify aksk signature fail, canonicalRequest:POST|x-auth-token:secret|",
            "x: verify aksk signature fail…",
        ),
        ("x, CANONICALREQUEST:secret", "x, CANONICALREQUEST…"),
        (
            "Incorrect IAM authentication information: ak secret not exist",
            "Incorrect IAM authentication information: ak …",
        ),
        (
            "Incorrect IAM authentication information: decrypt token fail",
            "Incorrect IAM authentication information: decrypt token fail",
        ),
    ] {
        let document = json!({ "error_code": "APIGW.0301", "error_msg": text });
        let reply = UpstreamReply {
            status: StatusCode::UNAUTHORIZED,
            headers: HeaderMap::new(),
            body: Bytes::from(Value::to_string(&document)),
        };
        let error = table.providers["cfw"].actions["stop"]
            .reply
            .normalize(&values, &id, &reply)
            .result
            .unwrap_err();
        assert_eq!(error.vendor.as_ref().unwrap().message.as_deref(), Some(expected));
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}
