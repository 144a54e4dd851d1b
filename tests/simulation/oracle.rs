//! The oracle: what must be true after a run, whatever went wrong in it.
//!
//! **Shape**: a world -> everything in it that may not be.

use std::sync::LazyLock;

use serde_json::Value;
use taskgate::model::reason::Reason;
use taskgate::schema::Schema;

use crate::plan::{CALLERS, Fate, GATEWAYS, Plan, Service, Window};
use crate::world::{Books, Record, Told, World};

/// A rule that was broken; its first words say which one.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A task was acted upon twice.
    ActsOnce,
    /// What the caller was told is not what happened.
    TellsTheTruth,
    /// No answer, or too late.
    AnswersInTime,
    /// What the caller got is no document of ours.
    IsCanonical,
    /// What was broken works again.
    Recovers,
    /// Nothing runs, and nothing is counted, when nothing is asked.
    LeavesNothing,
    /// No panic.
    DoesNotPanic,
}

pub(crate) fn judge(world: &World, gauges: &[String], panics: &[String]) -> Vec<Violation> {
    let books = world.books();
    let mut found = Vec::new();
    let mut add = |rule: Rule, text: String| found.push(Violation { rule, text });
    for (key, task) in &books.tasks {
        let may_be_repeated = task.call.verb.service == Service::Steady;
        if task.effects.len() > 1 && !may_be_repeated {
            add(Rule::ActsOnce, format!("{key} was acted upon {} times", task.effects.len()));
        }
    }
    for record in &books.told {
        if let Told::Answer { .. } = record.told {
            if let Err(text) = is_canonical(record) {
                add(Rule::IsCanonical, format!("{}: {text}", record.line()));
                continue;
            }
            if let Err(text) = is_true(record, &books) {
                add(Rule::TellsTheTruth, format!("{}: {text}", record.line()));
            }
        } else if let Some(text) = acted_unasked(record, &books) {
            add(Rule::TellsTheTruth, format!("{}: {text}", record.line()));
        }
        if let Err(text) = is_in_time(record, &world.plan) {
            add(Rule::AnswersInTime, format!("{}: {text}", record.line()));
        }
    }
    for text in &books.not_recovered {
        add(Rule::Recovers, text.clone());
    }
    for left in books.left_behind.iter().filter(|left| **left > 0) {
        add(Rule::LeavesNothing, format!("{left} tasks of a gateway run on"));
    }
    for gauge in gauges {
        add(Rule::LeavesNothing, format!("still counted: {gauge}"));
    }
    for panic in panics {
        add(Rule::DoesNotPanic, panic.clone());
    }
    found
}

/// The words and the books agree.
fn is_true(record: &Record, books: &Books) -> Result<(), String> {
    let task = &books.tasks[&record.key];
    let (taken, effects) = (task.taken, task.effects.len());
    let document = document(record);
    if record.call.is_look {
        return (taken == 0).then_some(()).ok_or_else(|| "a look acted".to_owned());
    }
    let (outcome, reason) = (document["outcome"].as_str(), document["reason"].as_str());
    // Who asks for what has been done already is told so, whoever did it.
    let was_so = document["already"] == true && task.call.fate == Fate::Ended;
    let holds = match outcome {
        Some("done") => was_so || (effects > 0 && task.call.fate != Fate::GivesUp),
        Some("accepted") => was_so || taken > 0,
        Some("not_done") if task.call.fate == Fate::GivesUp && reason == Some("ACTION_FAILED") => true,
        Some("not_done") => effects == 0,
        Some("unknown") => true,
        _ => false,
    };
    holds
        .then_some(())
        .ok_or_else(|| format!("the vendor took it {taken} times and acted {effects} times"))
}

/// A call that reached no gateway cannot have done anything.
fn acted_unasked(record: &Record, books: &Books) -> Option<String> {
    let task = &books.tasks[&record.key];
    (matches!(record.told, Told::NotConnected) && task.taken > 0).then(|| "but the vendor acted".to_owned())
}

/// Every call whose connection was not disturbed has an answer in time.
fn is_in_time(record: &Record, plan: &Plan) -> Result<(), String> {
    let wait = 1_000 * record.call.wait.unwrap_or_default();
    let due = record.began + plan.deadline + wait + SLACK_MS + 2 * (plan.latency + 2 * plan.tick);
    if matches!(record.told, Told::Answer { .. }) {
        if record.ended <= due || was_disturbed(record, plan, record.ended) {
            return Ok(());
        }
        return Err(format!("the answer was due at {due}"));
    }
    if matches!(record.told, Told::HungUp) || was_disturbed(record, plan, due) {
        return Ok(());
    }
    Err(format!("an answer was due at {due}"))
}

/// Something happened to the connection of the call, or to its gateway, before `until`.
fn was_disturbed(record: &Record, plan: &Plan, until: u64) -> bool {
    let lifetime = Window {
        from: record.opened.saturating_sub(AROUND_MS),
        to: until,
    };
    let gateway = GATEWAYS[record.gateway];
    let by_the_network = plan
        .links
        .iter()
        .any(|fault| fault.between == (gateway, CALLERS) && fault.window.meets(lifetime));
    let by_an_end = plan.gateway_ends.iter().filter(|end| end.gateway == record.gateway).any(|end| {
        if !end.clean {
            return end.window.meets(lifetime);
        }
        // A clean end only hurts what comes when it has begun; everything before is answered.
        let away = Window {
            from: end.window.from.saturating_sub(AROUND_MS),
            to: end.window.to.max(end.window.from + plan.drain() + LOGOUT_MS) + AROUND_MS,
        };
        away.has(record.began)
    });
    by_the_network || by_an_end
}

/// A document of ours that agrees with its status line.
fn is_canonical(record: &Record) -> Result<(), String> {
    let Told::Answer { status, headers, .. } = &record.told else {
        return Ok(());
    };
    let document = document(record);
    let is_error = *status >= 400;
    let (media_type, schema) = if is_error {
        ("application/problem+json", &*PROBLEM)
    } else {
        ("application/json", &*ANSWER)
    };
    let same = |what: &str, is: String, should: String| {
        (is == should)
            .then_some(())
            .ok_or_else(|| format!("{what} is `{is}` and not `{should}`"))
    };
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    same("the media type", header("content-type"), media_type.to_owned())?;
    same("the request id", header("x-request-id"), format!("call-{}", record.call.number))?;
    let violations = schema.violations(&document);
    if let Some(first) = violations.first() {
        return Err(format!("the document does not fit its schema: {}", first.detail));
    }
    if !is_error {
        let outcome = if *status == 202 { "accepted" } else { "done" };
        same(
            "the status",
            status.to_string(),
            if *status == 202 { "202" } else { "200" }.to_owned(),
        )?;
        return same("the outcome", text(&document, "outcome"), outcome.to_owned());
    }
    let reason = Reason::parse(&text(&document, "reason")).ok_or("the reason is not known")?;
    let facts = reason.facts();
    same("the status", status.to_string(), facts.status.to_string())?;
    same("the outcome", text(&document, "outcome"), facts.outcome.as_str().to_owned())?;
    same("retryable", document["retryable"].to_string(), facts.retryable.to_string())?;
    match reason {
        Reason::Internal | Reason::MappingFailed => Err("that is a bug of ours".to_owned()),
        _ => Ok(()),
    }
}

fn document(record: &Record) -> Value {
    match &record.told {
        Told::Answer { body, .. } => serde_json::from_slice(body).unwrap_or_default(),
        _ => Value::Null,
    }
}

fn text(document: &Value, member: &str) -> String {
    document[member].as_str().unwrap_or_default().to_owned()
}

fn canonical(text: &str) -> Schema {
    Schema::compile(&serde_json::from_str(text).unwrap()).unwrap()
}

static ANSWER: LazyLock<Schema> = LazyLock::new(|| canonical(include_str!("../../schemas/canonical/answer.json")));
static PROBLEM: LazyLock<Schema> = LazyLock::new(|| canonical(include_str!("../../schemas/canonical/problem.json")));

/// What an answer may take beyond its deadline.
const SLACK_MS: u64 = 1_000;
/// What happens to a connection is noticed a little earlier or later.
const AROUND_MS: u64 = 300;
/// What a gateway takes to end its sessions.
const LOGOUT_MS: u64 = 3_000;
