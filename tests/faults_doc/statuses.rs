//! Every status from 100 to 599 with every form of body, at every action: as the table in `docs/faults.md` has it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use taskgate::model::call::UpstreamReply;

use super::{DOC, call, table};

/// The bodies, by their names in the table.
const FORMS: [(&str, Option<&str>, &str); 5] = [
    ("nothing", None, ""),
    ("a page", Some("text/html"), "<html><h1>Bad Gateway</h1></html>"),
    ("half a JSON", Some("application/json"), r#"{"data":{"id":"1dc"#),
    ("another JSON", Some("application/json"), r#"{"hello":[1,2,{"world":null}]}"#),
    (
        "an XML fault",
        Some("application/xml"),
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault>\
         <faultcode>s:Server</faultcode><faultstring>no</faultstring></s:Fault></s:Body></s:Envelope>",
    ),
];

/// One line of the table.
struct Line {
    /// `provider action`; none of them stands for all.
    actions: Vec<String>,
    statuses: Vec<RangeInclusive<u16>>,
    /// None stands for all.
    form: Option<&'static str>,
    what: &'static str,
}

impl Line {
    fn read(line: &'static str) -> Option<Self> {
        let cells: Vec<_> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let [actions, statuses, form, what] = <[&str; 4]>::try_from(cells).ok()?;
        let what = what.trim_start_matches("success: ").strip_prefix('`')?.strip_suffix('`')?;
        let range = |text: &str| {
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            from.parse().unwrap()..=to.parse().unwrap()
        };
        Some(Self {
            actions: actions
                .split(", ")
                .filter(|name| *name != "any")
                .map(|name| name.replace('`', ""))
                .collect(),
            statuses: statuses.split(", ").map(range).collect(),
            form: FORMS.iter().map(|(name, ..)| *name).find(|name| *name == form),
            what,
        })
    }

    fn fits(&self, action: &str, status: u16, form: &str) -> bool {
        (self.actions.is_empty() || self.actions.iter().any(|name| name == action))
            && self.statuses.iter().any(|range| range.contains(&status))
            && self.form.is_none_or(|name| name == form)
    }
}

#[test]
fn each_status_with_each_body_is_what_the_table_says() {
    let lines: Vec<Line> = DOC.lines().filter_map(Line::read).collect();
    assert!(lines.len() > 3, "the table is not where it was");
    let table = table();
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for route in table.providers.values().flat_map(|provider| provider.actions.values()) {
        let action = format!("{} {}", route.provider, route.action);
        let (id, values) = call(&table, &route.provider, &route.action);
        for (form, kind, body) in FORMS {
            for status in 100..=599 {
                let mut headers = HeaderMap::new();
                headers.extend(kind.map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind))));
                let reply = UpstreamReply {
                    status: StatusCode::from_u16(status).unwrap(),
                    headers,
                    body: Bytes::from_static(body.as_bytes()),
                };
                let found = match route.reply.normalize(&values, &id, &reply).result {
                    Ok(answer) => answer.success.outcome().as_str(),
                    Err(error) => error.reason.code(),
                };
                let at = lines.iter().position(|line| line.fits(&action, status, form)).unwrap();
                used.insert(at);
                if found != lines[at].what {
                    wrong.push(format!("{action}, {status} with {form}: {} is said, {found} it is", lines[at].what));
                }
            }
        }
    }
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(used.len(), lines.len(), "a line of the table is never used");
}
