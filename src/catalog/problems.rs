//! `/problems/{slug}`: a kind of problem, for people as a page and for programs as JSON.
//!
//! **Shape**: `TASK_NOT_FOUND` -> `{"type":"urn:taskgate:problem:task-not-found","reason":"TASK_NOT_FOUND","status":404,…,"advice":"…"}`.
//!
//! **Invariants**: all of it comes from the table of reasons, from the table of advice and from cases; texts are escaped.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::advice::advice;
use super::example::{Example, problem};
use crate::model::answer::Outcome;
use crate::model::reason::{Reason, Source};

/// The reason with this slug.
pub(super) fn reason(slug: &str) -> Option<Reason> {
    Reason::ALL.into_iter().find(|reason| reason.slug() == slug)
}

/// The document of one kind of problem.
pub(super) fn one(reason: Reason, examples: &[Example]) -> Value {
    let facts = reason.facts();
    json!({
        "type": format!("urn:taskgate:problem:{}", reason.slug()),
        "url": format!("/problems/{}", reason.slug()),
        "title": facts.title,
        "status": facts.status,
        "reason": facts.code,
        "outcome": facts.outcome.as_str(),
        "retryable": facts.retryable,
        "source": facts.source.as_str(),
        "advice": advice(reason),
        "example": example(reason, examples),
    })
}

/// The document of all kinds.
pub(super) fn all() -> Value {
    let problems: Vec<Value> = Reason::ALL
        .into_iter()
        .map(|reason| {
            let facts = reason.facts();
            json!({ "reason": facts.code, "url": format!("/problems/{}", reason.slug()), "status": facts.status, "title": facts.title })
        })
        .collect();
    json!({ "problems": problems })
}

/// A problem of this kind, from a case where there is one.
pub(super) fn example(reason: Reason, examples: &[Example]) -> Value {
    let shown = examples.iter().find(|example| example.reason() == Some(reason));
    shown.map_or_else(|| problem(reason, NOWHERE), |example| example.document(&example.provider))
}

/// The page of one kind.
pub(super) fn one_page(reason: Reason, examples: &[Example]) -> String {
    let facts = reason.facts();
    let outcome = match facts.outcome {
        Outcome::Unknown => "unknown: the action may have happened",
        Outcome::Accepted | Outcome::Done | Outcome::NotDone => "not_done: nothing happened at the vendor",
    };
    let who = match facts.source {
        Source::Caller => "the caller",
        Source::Gateway => "whoever runs the gateway",
        Source::Vendor => "the vendor, or whoever runs the way to it",
    };
    let again = if facts.retryable { "yes, later" } else { "not as it is" };
    let sample = serde_json::to_string_pretty(&example(reason, examples)).unwrap_or_default();
    let body = format!(
        "<p class=\"trail\"><a href=\"../problems\">Problems</a></p>\n<h1>{title}</h1>\n<p class=\"code\"><code>{code}</code> · HTTP {status}</p>\n\
         <h2>What to do</h2>\n<p>{advice}</p>\n<h2>What it means</h2>\n<table>\n<tr><th>outcome</th><td>{outcome}</td></tr>\n\
         <tr><th>who has to act</th><td>{who}</td></tr>\n<tr><th>may the same call be sent again?</th><td>{again}</td></tr>\n\
         <tr><th>type</th><td><code>urn:taskgate:problem:{slug}</code></td></tr>\n</table>\n<h2>As a document</h2>\n<pre>{sample}</pre>\n",
        title = escaped(facts.title),
        code = facts.code,
        status = facts.status,
        advice = marked_up(advice(reason)),
        slug = reason.slug(),
        sample = escaped(&sample),
    );
    page(facts.title, "..", &body)
}

/// The page with all kinds.
pub(super) fn all_page() -> String {
    let mut body = "<h1>Problems</h1>\n<p>Every error is a problem document (RFC 9457); its member <code>reason</code> is one of these.</p>\n<table>\n\
                    <tr><th>reason</th><th>status</th><th>outcome</th><th>title</th></tr>\n"
        .to_owned();
    for reason in Reason::ALL {
        let facts = reason.facts();
        // Writing to a text does not fail.
        let _ = writeln!(
            body,
            "<tr><td><a href=\"problems/{}\"><code>{}</code></a></td><td>{}</td><td>{}</td><td>{}</td></tr>",
            reason.slug(),
            facts.code,
            facts.status,
            facts.outcome.as_str(),
            escaped(facts.title)
        );
    }
    body.push_str("</table>\n");
    page("Problems", ".", &body)
}

/// A page for people; `root` leads from it to the root of the gateway.
fn page(title: &str, root: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{} · taskgate</title>\n<link rel=\"stylesheet\" href=\"{root}/docs/page.css\">\n<link rel=\"icon\" href=\"data:,\">\n</head>\n<body>\n\
         <main>\n{body}</main>\n</body>\n</html>\n",
        escaped(title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Escaped, with what stands between backticks as code.
fn marked_up(text: &str) -> String {
    let parts = escaped(text);
    let mut marked = String::new();
    for (at, part) in parts.split('`').enumerate() {
        match at % 2 {
            0 => marked.push_str(part),
            _ => _ = write!(marked, "<code>{part}</code>"),
        }
    }
    marked
}

/// The instance of a problem that no case shows.
const NOWHERE: &str = "/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found_by_its_slug() {
        for known in Reason::ALL {
            assert_eq!(reason(&known.slug()), Some(known));
            let document = one(known, &[]);
            assert_eq!(document["example"]["type"], document["type"]);
            assert!(one_page(known, &[]).contains(known.code()));
        }
        assert_eq!(reason("TASK_NOT_FOUND"), None);
        assert_eq!(reason(""), None);
    }

    #[test]
    fn texts_are_escaped_and_code_is_marked() {
        assert_eq!(marked_up("a `b<c` & d"), "a <code>b&lt;c</code> &amp; d");
    }
}
