//! `taskgate check`: compiles the routes and plays every case. No network, no secrets.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{CliError, RoutesArgs, print, rehearsal};
use crate::config::case::{self, Case};
use crate::config::compile::{Rejected, compile};
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::environment::Environment;
use crate::config::files::FileSet;
use crate::config::sources::Sources;
use crate::route::{LOOK, RouteTable};

/// What `check` takes.
#[derive(Args, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    routes: RoutesArgs,
    /// Only the cases whose path contains this text
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// Name every case, not only those that fail
    #[arg(long, short)]
    verbose: bool,
}

/// A case that was played.
#[derive(Debug)]
pub struct Played {
    /// The case.
    pub case: Case,
    /// Where the play differs from the script; empty when it does not.
    pub differences: Vec<String>,
    /// What the caller was told.
    pub told: Option<rehearsal::Told>,
}

/// Checks and prints.
pub(super) async fn run(args: CheckArgs) -> Result<ExitCode, CliError> {
    let (sources, routes) = args.routes.sources()?;
    let played = play_all(&sources, &routes, args.filter.as_deref())
        .await
        .map_err(|rejected| super::rejected_text(&rejected))?;
    if let (Some(filter), true) = (&args.filter, played.is_empty()) {
        // Nothing played is nothing proven.
        return Err(CliError::Refused(format!("there is no case whose path contains `{filter}`")));
    }
    let failed = played.iter().filter(|played| !played.differences.is_empty()).count();
    let mut text = String::new();
    for Played { case, differences, .. } in &played {
        if !differences.is_empty() {
            text.push_str(&format!("FAIL {} ({})\n", case.path, case.content.title));
            for difference in differences {
                text.push_str(&format!("     {difference}\n"));
            }
        } else if args.verbose {
            text.push_str(&format!("ok   {} ({})\n", case.path, case.content.title));
        }
    }
    let named = if routes.is_empty() { "the routes" } else { routes.as_str() };
    text.push_str(&format!(
        "{named} is sound; {} cases passed, {failed} failed\n",
        played.len() - failed
    ));
    print(&text)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Compiles the routes and plays every case (or those whose path contains `filter`).
///
/// # Errors
/// [`Rejected`] where routes, schemas or cases have faults, a required case is missing, or a case is of nobody.
pub async fn play_all(sources: &Sources, routes: &str, filter: Option<&str>) -> Result<Vec<Played>, Box<Rejected>> {
    // Checking needs no secrets: without any variable every provider is loaded and none is configured.
    let table = compile(sources, routes, &Environment::default())?.table;
    let mut files = FileSet::default();
    let mut faults = Diagnostics::default();
    let cases = case::read_all(sources, &mut files, &mut faults);
    lint(&table, &cases, &mut faults);
    let mut environments = BTreeMap::new();
    for name in table.providers.keys() {
        environments.insert(name.clone(), case::environment(sources, name, &mut files, &mut faults));
    }
    if !faults.is_empty() {
        return Err(Box::new(Rejected { faults, files }));
    }
    let mut tables: Vec<(Environment, Arc<RouteTable>)> = Vec::new();
    let mut played = Vec::new();
    for case in cases
        .into_iter()
        .filter(|case| filter.is_none_or(|filter| case.path.contains(filter)))
    {
        let environment = environments
            .get(&case.provider)
            .cloned()
            .unwrap_or_default()
            .with(case.content.environment.clone());
        let table = match tables.iter().find(|(known, _)| *known == environment) {
            Some((_, table)) => Arc::clone(table),
            None => {
                let table = compile(sources, routes, &environment)?.table;
                tables.push((environment, Arc::clone(&table)));
                table
            }
        };
        let (differences, told) = rehearsal::play(&table, &case).await;
        played.push(Played { case, differences, told });
    }
    Ok(played)
}

/// Cases that are missing, and cases of nobody.
fn lint(table: &RouteTable, cases: &[Case], faults: &mut Diagnostics) {
    let actions: Vec<(&str, &str)> = table
        .providers
        .values()
        // The cases of a site are those of the provider that it is like.
        .filter(|provider| provider.actions_of.is_none())
        .flat_map(|provider| {
            let looks = provider.task.iter().map(|_| LOOK);
            let actions = provider.actions.keys().map(String::as_str).chain(looks);
            actions.map(|action| (provider.name.as_str(), action))
        })
        .collect();
    let offers = |case: &Case| {
        let provider = table.providers.get(&case.provider);
        provider.is_some_and(|provider| provider.actions.contains_key(&case.action) || provider.task.is_some() && case.action == LOOK)
    };
    for path in case::missing(actions.iter().copied(), cases) {
        faults
            .push(Diagnostic::without_place(format!("{path}: this case is missing")))
            .hint(format!("each action has at least the cases {}", case::REQUIRED.join(", ")));
    }
    for case in cases.iter().filter(|case| !offers(case)) {
        faults.push(Diagnostic::without_place(format!(
            "{}: no provider `{}` offers `{}`",
            case.path, case.provider, case.action
        )));
    }
}
