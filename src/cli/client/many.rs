//! `taskgate batch`: one action on many tasks, in batches of the API, with a bar for who waits and a table of what came of each.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::{Client, ClientArgs, RequestArgs, Said, exit_code, is_watched, outcome_in, prefer_wait, segment, shown, worst};
use crate::cli::{CliError, parse_duration};
use crate::layer::prefer::MAX_WAIT;
use crate::model::answer::Outcome;

/// What `batch` takes.
#[derive(Args, Debug)]
pub(crate) struct BatchArgs {
    /// The action, such as `stop`
    action: String,
    /// The provider; without one each line names it: `acme/15`
    provider: Option<String>,
    /// The ids, one a line, `-` for standard input; blank lines and what follows a `#` at the beginning of a line are left out
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// How many go in one request
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    size: u16,
    /// Wait until the actions have settled, a minute at most for each request [default, where it is given without a time: 60s]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = parse_wait)]
    wait: Option<Duration>,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn run(args: BatchArgs) -> Result<ExitCode, CliError> {
    let wait = args.wait.unwrap_or_default();
    let client = Client::new(&args.client, wait)?;
    let shared = args.request.body()?;
    let tasks = read_tasks(&args.file, args.provider.as_deref())?;
    let headers: Vec<_> = (!wait.is_zero()).then(|| prefer_wait(wait)).into_iter().collect();
    let bar = if is_watched() {
        ProgressBar::new(tasks.len() as u64)
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let mut results: Vec<Value> = Vec::with_capacity(tasks.len());
    let mut unreachable = None;
    for chunk in tasks.chunks(usize::from(args.size)) {
        // Once nobody answers, nobody is asked further: what was not sent is told as not done.
        let said = match &unreachable {
            Some(said) => Said::clone(said),
            None => {
                let (target, body) = request(&args.action, args.provider.as_deref(), chunk, &shared);
                client.post(target, &body, &headers).await?
            }
        };
        match said.document.get("results").and_then(Value::as_array) {
            Some(items) if items.len() == chunk.len() => results.extend(items.iter().cloned()),
            _ => {
                results.extend(chunk.iter().map(|task| lost(task, &args.action, &said)));
                let is_unheard = said.document.get("reason").is_some_and(|reason| reason == "NO_ANSWER");
                if is_unheard && unreachable.is_none() {
                    unreachable = Some(Said {
                        document: json!({ "reason": "NO_ANSWER", "detail": "not sent, as taskgate did not answer before" }),
                        outcome: Outcome::NotDone,
                    });
                }
            }
        }
        bar.inc(chunk.len() as u64);
        bar.set_message(tally(&results));
    }
    bar.finish_and_clear();
    let document = json!({ "results": results, "summary": summary(&results) });
    shown::many(&document, args.client.output)?;
    Ok(exit_code(worst(&document)))
}

/// No longer than the gateway waits for a batch: the rest would be cut off in silence.
fn parse_wait(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        wait if wait <= MAX_WAIT => Ok(wait),
        _ => Err(format!("expected {} s at most", MAX_WAIT.as_secs())),
    }
}

/// A task of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    provider: String,
    id: String,
}

fn request(action: &str, provider: Option<&str>, chunk: &[Listed], shared: &Map<String, Value>) -> (String, Map<String, Value>) {
    let mut verb = action.chars();
    let verb: String = verb
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(verb)
        .collect();
    let mut body = shared.clone();
    match provider {
        Some(provider) => {
            body.insert("ids".to_owned(), chunk.iter().map(|task| Value::from(task.id.as_str())).collect());
            (format!("/tasks/{}:batch{}", segment(provider), segment(&verb)), body)
        }
        None => {
            let reason = body.remove("reason");
            let requests = chunk.iter().map(|task| {
                let mut request = body.clone();
                request.insert("task".to_owned(), format!("tasks/{}/{}", task.provider, task.id).into());
                Value::Object(request)
            });
            let mut all = Map::from_iter([("requests".to_owned(), requests.collect())]);
            all.extend(reason.map(|reason| ("reason".to_owned(), reason)));
            (format!("/tasks:batch{}", segment(&verb)), all)
        }
    }
}

/// What is said of a task of a batch that came to nothing as a whole.
fn lost(task: &Listed, action: &str, said: &Said) -> Value {
    json!({
        "task": format!("tasks/{}/{}", task.provider, task.id),
        "provider": task.provider,
        "id": task.id,
        "action": action,
        "outcome": said.outcome.as_str(),
        "state": null,
        "error": said.document,
    })
}

fn summary(results: &[Value]) -> Value {
    let count = |outcome: Outcome| results.iter().filter(|item| outcome_in(item) == outcome).count();
    json!({
        "done": count(Outcome::Done),
        "accepted": count(Outcome::Accepted),
        "not_done": count(Outcome::NotDone),
        "unknown": count(Outcome::Unknown),
    })
}

fn tally(results: &[Value]) -> String {
    let summary = summary(results);
    let parts = SUMMARY.iter().filter(|word| summary[**word] != json!(0));
    parts
        .map(|word| format!("{} {word}", summary[*word]))
        .collect::<Vec<_>>()
        .join(", ")
}

fn read_tasks(file: &Path, provider: Option<&str>) -> Result<Vec<Listed>, CliError> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    read.map_err(|error| CliError::system(format!("{} cannot be read", file.display()), error))?;
    parse_tasks(&text, provider).map_err(|why| CliError::Refused(format!("{}: {why}", file.display())))
}

fn parse_tasks(text: &str, provider: Option<&str>) -> Result<Vec<Listed>, String> {
    let mut tasks: Vec<Listed> = Vec::new();
    let mut lines: HashMap<(String, String), usize> = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), index + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (provider, id) = match provider {
            Some(provider) => (provider, line),
            None => line
                .strip_prefix("tasks/")
                .unwrap_or(line)
                .split_once('/')
                .filter(|(provider, id)| !provider.is_empty() && !id.is_empty())
                .ok_or_else(|| format!("line {number}: expected PROVIDER/ID, as no provider was named"))?,
        };
        if let Some(before) = lines.insert((provider.to_owned(), id.to_owned()), number) {
            return Err(format!("line {number} names the same task as line {before}"));
        }
        tasks.push(Listed {
            provider: provider.to_owned(),
            id: id.to_owned(),
        });
    }
    if tasks.is_empty() {
        Err("there is no id in it".to_owned())
    } else {
        Ok(tasks)
    }
}

/// The members of a summary, in the order of the API.
pub(super) const SUMMARY: [&str; 4] = ["done", "accepted", "not_done", "unknown"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let listed = |provider: &str, id: &str| Listed {
            provider: provider.to_owned(),
            id: id.to_owned(),
        };
        assert_eq!(
            parse_tasks("# those of today\n15\n\n 16 \r\n", Some("acme")),
            Ok(vec![listed("acme", "15"), listed("acme", "16")])
        );
        assert_eq!(
            parse_tasks("acme/15\ntasks/other/a/b\n", None),
            Ok(vec![listed("acme", "15"), listed("other", "a/b")])
        );
        for (text, provider, why) in [
            ("", Some("acme"), "there is no id in it"),
            ("15\n16\n15\n", Some("acme"), "line 3 names the same task as line 1"),
            ("acme/15\n15\n", None, "line 2: expected PROVIDER/ID, as no provider was named"),
            ("acme/\n", None, "line 1: expected PROVIDER/ID, as no provider was named"),
        ] {
            assert_eq!(parse_tasks(text, provider), Err(why.to_owned()));
        }
    }

    #[test]
    fn requests_are_those_of_the_api() {
        let shared = Map::from_iter([("reason".to_owned(), json!("INC-1")), ("force".to_owned(), json!(true))]);
        let tasks = parse_tasks("acme/15\nother/x y\n", None).unwrap();
        let (target, body) = request("stop", Some("acme"), &tasks[..1], &shared);
        assert_eq!(target, "/tasks/acme:batchStop");
        assert_eq!(Value::Object(body), json!({ "ids": ["15"], "reason": "INC-1", "force": true }));
        let (target, body) = request("stop", None, &tasks, &shared);
        assert_eq!(target, "/tasks:batchStop");
        let requests = json!([{ "task": "tasks/acme/15", "force": true }, { "task": "tasks/other/x y", "force": true }]);
        assert_eq!(Value::Object(body), json!({ "requests": requests, "reason": "INC-1" }));
    }

    #[test]
    fn a_batch_that_failed_as_a_whole_loses_no_task() {
        let said = Said {
            document: json!({ "reason": "OVERLOADED" }),
            outcome: Outcome::NotDone,
        };
        let task = &parse_tasks("15", Some("acme")).unwrap()[0];
        let items = [lost(task, "stop", &said)];
        assert_eq!(summary(&items), json!({ "done": 0, "accepted": 0, "not_done": 1, "unknown": 0 }));
        assert_eq!((items[0]["id"].as_str(), tally(&items).as_str()), (Some("15"), "1 not_done"));
    }
}
