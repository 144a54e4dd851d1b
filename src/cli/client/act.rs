//! `taskgate stop`, `retry` and `act`: one action on one task.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::header::HeaderName;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Client, ClientArgs, RequestArgs, Said, exit_code, prefer_wait, segment, shown};
use crate::cli::{CliError, parse_duration};
use crate::model::answer::Outcome;

/// What `stop` and `retry` take.
#[derive(Args, Debug)]
pub(crate) struct TaskArgs {
    /// The provider
    provider: String,
    /// The task's id
    id: String,
    #[command(flatten)]
    options: ActOptions,
}

/// What `act` takes.
#[derive(Args, Debug)]
pub(crate) struct ActArgs {
    /// The action, such as `stop`
    action: String,
    #[command(flatten)]
    task: TaskArgs,
}

#[derive(Args, Debug)]
struct ActOptions {
    /// Wait until the action has settled; beyond a minute by asking for its operation [default, where it is given without a time: 60s]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = parse_duration)]
    wait: Option<Duration>,
    /// A key of your own: the same call with the same key acts once, however often it is sent
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    idempotency_key: Option<String>,
    /// Show what the vendor would get; nothing is sent to it
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn act(args: ActArgs) -> Result<ExitCode, CliError> {
    run(&args.action, args.task).await
}

pub(crate) async fn run(action: &str, args: TaskArgs) -> Result<ExitCode, CliError> {
    let TaskArgs { provider, id, options } = args;
    let wait = options.wait.unwrap_or_default();
    let client = Client::new(&options.client, wait)?;
    let body = options.request.body()?;
    let mut target = format!("/tasks/{}/{}:{}", segment(&provider), segment(&id), segment(action));
    let mut headers: Vec<(HeaderName, String)> = Vec::new();
    if !wait.is_zero() {
        headers.push(prefer_wait(wait));
    }
    if let Some(key) = &options.idempotency_key {
        headers.push((HeaderName::from_static("idempotency-key"), format!("\"{key}\"")));
    }
    if options.validate_only {
        target.push_str("?validate_only=true");
    }
    let until = Instant::now() + wait;
    let said = client.post(target, &body, &headers).await?;
    if options.validate_only {
        return shown::preview(&said, options.client.output);
    }
    let said = follow(&client, said, until).await?;
    shown::one(&said, options.client.output)?;
    Ok(exit_code(said.outcome))
}

/// What became of an action that was accepted, as far as the time allows.
async fn follow(client: &Client, mut said: Said, until: Instant) -> Result<Said, CliError> {
    while said.outcome == Outcome::Accepted {
        let left = until.saturating_duration_since(Instant::now());
        let Some(operation) = said.document.get("operation").and_then(Value::as_str).filter(|_| !left.is_zero()) else {
            break;
        };
        let asked = Instant::now();
        let next = client.get(format!("/{operation}"), &[prefer_wait(left)]).await?;
        // What was accepted stays accepted, unless the vendor says what became of it.
        if next.document.get("task").is_none() && !next.document.get("vendor").is_some_and(Value::is_object) {
            break;
        }
        said = next;
        if said.outcome == Outcome::Accepted && asked.elapsed() < PAUSE {
            sleep(PAUSE.min(left)).await;
        }
    }
    Ok(said)
}

/// What stands between the quotes of a Structured Field String that needs no escapes (RFC 9651 section 3.3.3).
fn parse_key(text: &str) -> Result<String, String> {
    let is_plain = (1..=255).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\');
    if is_plain {
        Ok(text.to_owned())
    } else {
        Err("expected up to 255 printable ASCII characters without quotes".to_owned())
    }
}

/// Between two questions that are answered at once.
const PAUSE: Duration = Duration::from_secs(1);
