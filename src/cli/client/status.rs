//! `taskgate status`: a task as its vendor reports it, or what became of an action that was accepted.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{Client, ClientArgs, exit_code, parse_pair, segment, shown};
use crate::cli::CliError;

/// What `status` takes.
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// The provider, or `operations/…` as an accepted action names it
    provider: String,
    /// The task's id
    id: Option<String>,
    /// Where the task lives, such as `instance=ebf891cd-…`; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    scope: Vec<(String, String)>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn run(args: StatusArgs) -> Result<ExitCode, CliError> {
    let client = Client::new(&args.client, std::time::Duration::ZERO)?;
    let is_operation = args.provider.starts_with("operations/");
    let mut target = match (&args.id, is_operation) {
        (None, true) => format!("/{}", args.provider),
        (Some(id), false) => format!("/tasks/{}/{}", segment(&args.provider), segment(id)),
        (None, false) => return Err(CliError::Refused("which task? taskgate status <PROVIDER> <ID>".to_owned())),
        (Some(_), true) => return Err(CliError::Refused("an operation needs no id".to_owned())),
    };
    for (index, (name, value)) in args.scope.iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(&format!("{}={}", segment(name), segment(value)));
    }
    let said = client.get(target, &[]).await?;
    shown::one(&said, args.client.output)?;
    // A task that is shown is an answer, whatever its state.
    let is_task = !is_operation && said.document.get("state").is_some_and(Value::is_string);
    Ok(if is_task { ExitCode::SUCCESS } else { exit_code(said.outcome) })
}
