//! `taskgate openapi`: the description of the interface, as a running gateway has it at `/openapi.json`.

use std::process::ExitCode;

use clap::Args;

use super::{CliError, RoutesArgs, print, rejected_text};
use crate::catalog;
use crate::config::compile::compile;
use crate::config::environment::Environment;

/// What `openapi` takes.
#[derive(Args, Debug)]
pub(super) struct OpenapiArgs {
    #[command(flatten)]
    routes: RoutesArgs,
}

pub(super) fn run(args: OpenapiArgs) -> Result<ExitCode, CliError> {
    let (sources, routes) = args.routes.sources()?;
    let compiled = compile(&sources, &routes, &Environment::default()).map_err(|rejected| rejected_text(&rejected))?;
    let compiled = compiled.with_examples(&sources);
    print(&catalog::openapi::print(&compiled.table))?;
    Ok(ExitCode::SUCCESS)
}
